//! The user's own SSH sessions, which no delete may cut.

use std::fs;
use std::net::{IpAddr, SocketAddr};
use std::path::Path;

use ctnl::host::Host;
use ctnl::model::{Flow, Protocol, Tuple};

/// Ancestors to look at. A chain of sudo, shells and scripts is shorter.
const GENERATIONS: usize = 64;

/// Variables of terminal multiplexers. Their shells keep the `SSH_CONNECTION` of
/// the session that they were started in; the one that a person looks through
/// today is in the environment of another process, that which attaches.
const MULTIPLEXERS: [&[u8]; 3] = [b"TMUX=", b"STY=", b"ZELLIJ="];

/// One SSH connection, as `SSH_CONNECTION` names it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SshSession {
    client: SocketAddr,
    server: SocketAddr,
}

impl SshSession {
    /// Reads `CLIENT PORT SERVER PORT`.
    pub fn parse(variable: &str) -> Option<Self> {
        let mut words = variable.split_ascii_whitespace();
        let mut endpoint = || -> Option<SocketAddr> {
            let address: IpAddr = words.next()?.split('%').next()?.parse().ok()?;
            Some(SocketAddr::new(address.to_canonical(), words.next()?.parse().ok()?))
        };
        Some(SshSession { client: endpoint()?, server: endpoint()? })
    }

    /// Whether `flow` carries this session, before or after NAT.
    pub fn is_carried_by(&self, flow: &Flow) -> bool {
        flow.orig.protocol == Protocol::Tcp && [flow.orig, flow.reply].iter().any(|tuple| self.is_named_by(tuple))
    }

    fn is_named_by(&self, tuple: &Tuple) -> bool {
        let Some((sport, dport)) = tuple.ports() else { return false };
        let ends = (SocketAddr::new(tuple.src, sport), SocketAddr::new(tuple.dst, dport));
        ends == (self.client, self.server) || ends == (self.server, self.client)
    }
}

/// The SSH sessions that this process runs in.
pub fn own_sessions(host: &Host) -> Vec<SshSession> {
    sessions_of(std::process::id(), &host.proc())
}

/// The SSH sessions that process `pid` runs in: from the environment of it and
/// of each of its ancestors, since sudo drops the variable. Under a terminal
/// multiplexer those of every process, since any of them may show it. `proc` is
/// `/proc`.
pub fn sessions_of(pid: u32, proc: &Path) -> Vec<SshSession> {
    let (mut sessions, mut multiplexed) = (Vec::new(), false);
    let mut next = Some(pid);
    for _ in 0..GENERATIONS {
        let Some(pid) = next.filter(|pid| *pid > 0) else { break };
        let directory = proc.join(pid.to_string());
        let environ = fs::read(directory.join("environ")).unwrap_or_default();
        let has = |name: &[u8]| environ.split(|byte| *byte == 0).any(|entry| entry.starts_with(name));
        multiplexed |= MULTIPLEXERS.into_iter().any(has);
        add(&mut sessions, &environ);
        next = fs::read_to_string(directory.join("stat")).ok().and_then(|stat| parent(&stat));
    }
    if multiplexed {
        for process in fs::read_dir(proc).into_iter().flatten().flatten() {
            add(&mut sessions, &fs::read(process.path().join("environ")).unwrap_or_default());
        }
    }
    sessions
}

fn add(sessions: &mut Vec<SshSession>, environ: &[u8]) {
    if let Some(session) = in_environment(environ).filter(|session| !sessions.contains(session)) {
        sessions.push(session);
    }
}

fn in_environment(environ: &[u8]) -> Option<SshSession> {
    let variable = environ.split(|byte| *byte == 0).find_map(|entry| entry.strip_prefix(b"SSH_CONNECTION="))?;
    SshSession::parse(std::str::from_utf8(variable).ok()?)
}

/// The parent in `/proc/PID/stat`. The name before it may hold spaces and brackets.
fn parent(stat: &str) -> Option<u32> {
    let (_, rest) = stat.rsplit_once(')')?;
    rest.split_ascii_whitespace().nth(1)?.parse().ok()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use ctnl::model::L4;

    fn tcp(src: &str, dst: &str) -> Tuple {
        let (src, dst): (SocketAddr, SocketAddr) = (src.parse().unwrap(), dst.parse().unwrap());
        let l4 = L4::Ports { src: src.port(), dst: dst.port() };
        let (src, dst) = (src.ip(), dst.ip());
        Tuple { src, dst, protocol: Protocol::Tcp, l4, zone: None, has_unknown_part: false }
    }

    #[test]
    fn the_session_is_found_in_its_flow_also_behind_destination_nat() {
        let session = SshSession::parse("192.0.2.7 50123 10.0.0.1 22").unwrap();
        let plain = Flow::new(tcp("192.0.2.7:50123", "10.0.0.1:22"), tcp("10.0.0.1:22", "192.0.2.7:50123"));
        let dnat = Flow::new(tcp("192.0.2.7:50123", "198.51.100.1:2222"), tcp("10.0.0.1:22", "192.0.2.7:50123"));
        let other = Flow::new(tcp("192.0.2.7:50124", "10.0.0.1:22"), tcp("10.0.0.1:22", "192.0.2.7:50124"));
        assert!(session.is_carried_by(&plain));
        assert!(session.is_carried_by(&dnat));
        assert!(!session.is_carried_by(&other));
    }

    #[test]
    fn an_ipv4_session_on_an_ipv6_socket_is_the_same_session() {
        let mapped = SshSession::parse("::ffff:192.0.2.7 50123 ::ffff:10.0.0.1 22");
        assert_eq!(mapped, SshSession::parse("192.0.2.7 50123 10.0.0.1 22"));
        assert!(SshSession::parse("fe80::1%eth0 50123 fe80::2%eth0 22").is_some());
        assert_eq!(SshSession::parse("192.0.2.7 50123"), None);
    }

    #[test]
    fn an_ancestor_s_session_is_found_where_sudo_dropped_the_variable() {
        let proc = tempfile::tempdir().unwrap();
        for (pid, parent, environ) in
            [(30, 20, "PATH=/bin\0"), (20, 10, "A=b\0"), (10, 1, "X=y\0SSH_CONNECTION=192.0.2.7 50123 10.0.0.1 22\0")]
        {
            let directory = proc.path().join(pid.to_string());
            fs::create_dir(&directory).unwrap();
            fs::write(directory.join("environ"), environ).unwrap();
            fs::write(directory.join("stat"), format!("{pid} (a) b (c) S {parent} 1 1")).unwrap();
        }
        let found = sessions_of(30, proc.path());
        assert_eq!(found, [SshSession::parse("192.0.2.7 50123 10.0.0.1 22").unwrap()]);
    }

    #[test]
    fn under_a_multiplexer_the_session_that_attached_later_is_spared_too() {
        let proc = tempfile::tempdir().unwrap();
        let (old, new) = ("192.0.2.7 50123 10.0.0.1 22", "192.0.2.7 50999 10.0.0.1 22");
        let attached = format!("SSH_CONNECTION={new}\0");
        let pane = format!("SSH_CONNECTION={old}\0TMUX=/tmp/tmux-0/default,20,0\0");
        for (pid, parent, environ) in [(30, 20, &*pane), (20, 1, "A=b\0"), (40, 1, &*attached)] {
            let directory = proc.path().join(pid.to_string());
            fs::create_dir(&directory).unwrap();
            fs::write(directory.join("environ"), environ).unwrap();
            fs::write(directory.join("stat"), format!("{pid} (a) S {parent} 1 1")).unwrap();
        }
        fs::create_dir(proc.path().join("sys")).unwrap();
        assert_eq!(sessions_of(30, proc.path()), [old, new].map(|session| SshSession::parse(session).unwrap()));
        assert_eq!(sessions_of(20, proc.path()), [], "outside of it, others' sessions are others'");
    }
}
