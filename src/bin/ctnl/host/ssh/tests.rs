//! The search on a made-up `/proc` and made-up connections.

use std::net::SocketAddr;
use std::os::unix::fs::symlink;

use ctnl::model::{L4, Tuple};
use nix::errno::Errno;
use tempfile::TempDir;

use super::*;

const ALICE: u32 = 1000;
const OLD: &str = "192.0.2.7 50123 10.0.0.1 22";
/// Of a service, and named by a user as an SSH session.
const FORGED: &str = "198.51.100.9 4444 10.0.0.1 443";
const NEW: &str = "192.0.2.7 50999 10.0.0.1 22";

struct FakeSockets(Vec<TcpSocket>);

impl Sockets for FakeSockets {
    fn find(&mut self, local: SocketAddr, remote: SocketAddr) -> Result<Option<TcpSocket>, Error> {
        Ok(self.0.iter().find(|socket| (socket.local, socket.remote) == (local, remote)).copied())
    }

    fn are_available(&self) -> bool {
        true
    }

    fn for_each(&mut self, each: &mut dyn FnMut(&TcpSocket)) -> Result<(), Error> {
        self.0.iter().for_each(each);
        Ok(())
    }
}

/// A kernel without diagnostics for TCP.
struct NoSockets;

impl Sockets for NoSockets {
    fn find(&mut self, _: SocketAddr, _: SocketAddr) -> Result<Option<TcpSocket>, Error> {
        Ok(None)
    }

    fn are_available(&self) -> bool {
        false
    }

    fn for_each(&mut self, _: &mut dyn FnMut(&TcpSocket)) -> Result<(), Error> {
        Ok(())
    }
}

/// A kernel that refuses to list what it has.
struct RefusedSockets;

impl Sockets for RefusedSockets {
    fn find(&mut self, _: SocketAddr, _: SocketAddr) -> Result<Option<TcpSocket>, Error> {
        Ok(None)
    }

    fn are_available(&self) -> bool {
        true
    }

    fn for_each(&mut self, _: &mut dyn FnMut(&TcpSocket)) -> Result<(), Error> {
        Err(Error::Socket { operation: "list TCP connections", errno: Errno::ENOENT })
    }
}

/// A host with process 1 and sshd (10).
struct FakeHost {
    proc: TempDir,
    sockets: Vec<TcpSocket>,
}

impl FakeHost {
    fn new() -> Self {
        let host = FakeHost { proc: tempfile::tempdir().unwrap(), sockets: Vec::new() };
        host.process(1, 0, "systemd", ROOT, "");
        host.process(10, 1, "sshd", ROOT, "");
        symlink("30", host.proc.path().join("self")).unwrap();
        host
    }

    fn process(&self, pid: u32, parent: u32, name: &str, user: u32, environ: &str) {
        let directory = self.proc.path().join(pid.to_string());
        fs::create_dir_all(directory.join("ns")).unwrap();
        fs::create_dir_all(directory.join("fd")).unwrap();
        let status = format!("Name:\t{name}\nPPid:\t{parent}\nUid:\t{user}\t{user}\t{user}\t{user}\n");
        fs::write(directory.join("status"), status).unwrap();
        fs::write(directory.join("environ"), environ.replace(',', "\0")).unwrap();
        let _ = symlink(INITIAL_PID_NAMESPACE, directory.join("ns/pid"));
    }

    /// A connection that process `pid` holds; its inode.
    fn connection(&mut self, pid: u32, user: u32, local: &str, remote: &str) {
        let inode = 100 + u32::try_from(self.sockets.len()).unwrap();
        symlink(format!("socket:[{inode}]"), self.proc.path().join(format!("{pid}/fd/{inode}"))).unwrap();
        self.sockets.push(TcpSocket {
            local: local.parse().unwrap(),
            remote: remote.parse().unwrap(),
            uid: user,
            inode,
        });
    }

    fn search(&self, own: &str, user: u32) -> OwnSessions {
        self.search_in(FakeSockets(self.sockets.clone()), own, user).unwrap()
    }

    fn search_in(&self, sockets: impl Sockets, own: &str, user: u32) -> Result<OwnSessions, Error> {
        let pairs = own.split(',').filter_map(|variable| variable.split_once('='));
        let environment = pairs.map(|(name, value)| (name.into(), value.into())).collect();
        Search::new(self.proc.path().to_owned(), environment, user, sockets).run()
    }

    /// As after `ssh`, with this `SSH_CONNECTION`, and `sudo ctnl`.
    fn under_sudo(variable: &str) -> Self {
        let host = FakeHost::new();
        host.process(15, 10, "sshd", ALICE, "");
        host.process(20, 15, "bash", ALICE, &named(variable));
        host.process(25, 20, "sudo", ROOT, &named(variable));
        host.process(30, 25, "ctnl", ROOT, "");
        host
    }
}

fn session(text: &str) -> SshSession {
    SshSession::parse(text).unwrap()
}

fn named(text: &str) -> String {
    format!("SSH_CONNECTION={text}")
}

fn only(text: &str) -> OwnSessions {
    these([text])
}

fn these<const N: usize>(texts: [&str; N]) -> OwnSessions {
    OwnSessions { sessions: texts.map(session).into(), ..OwnSessions::default() }
}

#[test]
fn the_own_environment_is_enough_without_proc() {
    let empty = tempfile::tempdir().unwrap();
    let environment = [("SSH_CONNECTION".into(), OLD.into())].into_iter().collect();
    let live = TcpSocket { local: session(OLD).server, remote: session(OLD).client, uid: ROOT, inode: 7 };
    let search = Search::new(empty.path().to_owned(), environment, ROOT, FakeSockets(vec![live]));
    assert_eq!(search.run().unwrap(), only(OLD));
}

#[test]
fn without_proc_and_without_a_live_session_every_connection_to_the_port_of_sshd_is_spared() {
    let empty = tempfile::tempdir().unwrap();
    let socket = |local: &str, uid, inode| TcpSocket {
        local: local.parse().unwrap(),
        remote: "192.0.2.7:50999".parse().unwrap(),
        uid,
        inode,
    };
    let sockets =
        FakeSockets(vec![socket("10.0.0.1:22", ROOT, 1), socket("10.0.0.1:443", ROOT, 2), socket("10.0.0.1:22", 5, 3)]);
    let found = Search::new(empty.path().to_owned(), Environment::default(), ROOT, sockets).run().unwrap();
    assert_eq!(found.sessions, only(NEW).sessions);
    assert!(found.note().is_some_and(|note| note.contains("all 1 connections")));
}

#[test]
fn an_ancestor_s_session_is_found_where_sudo_dropped_the_variable() {
    let mut host = FakeHost::new();
    host.process(15, 10, "sshd", ALICE, "");
    host.process(20, 15, "bash", ALICE, &named(OLD));
    host.process(25, 20, "sudo", ROOT, &named(OLD));
    host.process(30, 25, "ctnl", ROOT, "");
    host.connection(10, ROOT, "10.0.0.1:22", "192.0.2.7:50123");
    host.connection(10, ROOT, "10.0.0.1:22", "192.0.2.7:50999");
    assert_eq!(host.search("", ROOT), only(OLD), "the other session is another's");
}

#[test]
fn a_user_cannot_make_root_spare_a_flow_that_is_no_session() {
    let mut host = FakeHost::new();
    host.process(15, 10, "sshd", ALICE, "");
    host.process(20, 15, "bash", ALICE, &named(FORGED));
    host.process(25, 20, "sudo", ROOT, &named(FORGED));
    host.process(30, 25, "ctnl", ROOT, "");
    host.process(40, 1, "nginx", ROOT, "");
    host.connection(40, ROOT, "10.0.0.1:443", "198.51.100.9:4444");
    host.connection(10, ROOT, "10.0.0.1:22", "192.0.2.7:50123");
    let found = host.search(&named(FORGED), ROOT);
    let not_verified = only(FORGED).sessions;
    assert_eq!(found, OwnSessions { all_of_server: Some(1), not_verified, ..only(OLD) });
    assert!(found.warning().is_some_and(|warning| warning.contains("198.51.100.9:4444 to 10.0.0.1:443")));
}

#[test]
fn in_root_s_multiplexer_a_process_with_a_made_up_session_is_of_no_effect() {
    let mut host = FakeHost::new();
    host.process(20, 1, "tmux", ROOT, "");
    host.process(30, 20, "ctnl", ROOT, "");
    host.process(40, 1, "sleep", ALICE, &format!("TMUX=x,{}", named(FORGED)));
    host.process(41, 1, "nginx", ROOT, "");
    host.connection(41, ROOT, "10.0.0.1:443", "198.51.100.9:4444");
    assert_eq!(host.search("TMUX=/tmp/tmux-0/default", ROOT), OwnSessions::default());
}

#[test]
fn under_a_multiplexer_the_session_that_attached_later_is_spared_too() {
    let mut host = FakeHost::new();
    host.process(20, 1, "tmux: server", ROOT, "");
    host.process(30, 20, "ctnl", ROOT, "");
    host.process(40, 10, "tmux: client", ROOT, &named(NEW));
    host.connection(10, ROOT, "10.0.0.1:22", "192.0.2.7:50999");
    let found = host.search(&format!("SSH_CONNECTION={OLD},TMUX=/tmp/tmux-0/default"), ROOT);
    assert_eq!(found, these([OLD, NEW]));
}

#[test]
fn where_the_named_session_is_over_every_connection_of_sshd_is_spared() {
    // As under dtach, which sets no variable.
    let mut host = FakeHost::new();
    host.process(20, 1, "dtach", ROOT, &named(OLD));
    host.process(30, 20, "ctnl", ROOT, "");
    host.process(40, 1, "nginx", ROOT, "");
    host.connection(10, ROOT, "10.0.0.1:22", "192.0.2.7:50999");
    host.connection(40, ROOT, "10.0.0.1:443", "192.0.2.7:50998");
    let found = host.search(&format!("SSH_CONNECTION={OLD}"), ROOT);
    assert_eq!(found, OwnSessions { all_of_server: Some(1), ..these([OLD, NEW]) });
}

#[test]
fn on_the_console_nothing_is_spared() {
    let mut host = FakeHost::new();
    host.process(20, 1, "bash", ROOT, "");
    host.process(30, 20, "ctnl", ROOT, "");
    host.connection(10, ROOT, "10.0.0.1:22", "192.0.2.7:50999");
    assert_eq!(host.search("", ROOT), OwnSessions::default());
}

#[test]
fn on_a_pseudo_terminal_without_an_ssh_server_among_the_ancestors_every_connection_of_sshd_is_spared() {
    // As under run0, and in a multiplexer that was started on the console.
    let mut host = FakeHost::new();
    host.process(20, 1, "bash", ROOT, "");
    host.process(30, 20, "ctnl", ROOT, "");
    host.connection(10, ROOT, "10.0.0.1:22", "192.0.2.7:50999");
    let sockets = FakeSockets(host.sockets.clone());
    let search = Search::new(host.proc.path().to_owned(), Environment::default(), ROOT, sockets);
    let found = Search { on_pseudo_terminal: true, ..search }.run().unwrap();
    assert_eq!(found, OwnSessions { all_of_server: Some(1), ..only(NEW) });
}

#[test]
fn in_another_pid_namespace_every_connection_of_the_server_s_port_is_spared() {
    let host = FakeHost::new();
    host.process(30, 1, "ctnl", ROOT, "");
    fs::remove_file(host.proc.path().join("30/ns/pid")).unwrap();
    symlink("pid:[4026532000]", host.proc.path().join("30/ns/pid")).unwrap();
    let mut host = host;
    host.connection(30, ROOT, "10.0.0.1:22", "192.0.2.7:50999");
    assert_eq!(host.search("", ROOT), OwnSessions { all_of_server: Some(1), ..only(NEW) });
}

#[test]
fn the_connection_that_carries_a_tunnelled_session_is_spared_with_it() {
    // `ssh -R 2222:localhost:22 jump` runs on this host, and the session came back through it.
    let mut host = FakeHost::new();
    host.process(20, 10, "bash", ROOT, &named("127.0.0.1 60000 127.0.0.1 22"));
    host.process(30, 20, "ctnl", ROOT, "");
    host.process(50, 1, "ssh", ROOT, "");
    host.connection(10, ROOT, "127.0.0.1:22", "127.0.0.1:60000");
    host.connection(50, ROOT, "127.0.0.1:60000", "127.0.0.1:22");
    host.connection(50, ROOT, "10.0.0.1:50000", "203.0.113.5:22");
    host.connection(10, ROOT, "10.0.0.1:22", "192.0.2.7:50999");
    let found = host.search("SSH_CONNECTION=127.0.0.1 60000 127.0.0.1 22", ROOT);
    assert_eq!(found, these(["127.0.0.1 60000 127.0.0.1 22", "203.0.113.5 22 10.0.0.1 50000"]));
}

#[test]
fn a_program_with_file_capabilities_finds_the_session_of_its_user() {
    // Neither the own entry in /proc nor what sshd has open can be read.
    let mut host = FakeHost::new();
    host.process(20, 10, "bash", ALICE, &named(OLD));
    host.process(30, 20, "ctnl", ALICE, "");
    fs::remove_file(host.proc.path().join("30/environ")).unwrap();
    host.connection(10, ROOT, "10.0.0.1:22", "192.0.2.7:50123");
    fs::remove_dir_all(host.proc.path().join("10/fd")).unwrap();
    assert_eq!(host.search(&format!("SSH_CONNECTION={OLD}"), ALICE), only(OLD));
}

#[test]
fn where_another_user_s_process_holds_the_tunnel_all_ssh_connections_are_spared_instead() {
    let mut host = FakeHost::new();
    host.process(20, 10, "bash", ROOT, &named("127.0.0.1 60000 127.0.0.1 22"));
    host.process(30, 20, "ctnl", ROOT, "");
    host.process(50, 1, "ssh", ALICE, "");
    host.connection(10, ROOT, "127.0.0.1:22", "127.0.0.1:60000");
    host.connection(50, ALICE, "127.0.0.1:60000", "127.0.0.1:22");
    host.connection(50, ALICE, "10.0.0.1:50000", "203.0.113.5:22");
    host.connection(50, ALICE, "10.0.0.1:50001", "203.0.113.9:6667");
    let found = host.search("SSH_CONNECTION=127.0.0.1 60000 127.0.0.1 22", ROOT);
    // Both ends of the tunnelled session, and the client's connection to another SSH server.
    assert_eq!(found.all_of_server, Some(3));
    assert!(found.sessions.contains(&session("203.0.113.5 22 10.0.0.1 50000")));
    assert!(!found.sessions.contains(&session("203.0.113.9 6667 10.0.0.1 50001")));
}

#[test]
fn without_socket_diagnostics_every_named_session_and_the_ports_of_sshd_are_spared() {
    let host = FakeHost::under_sudo(OLD);
    symlink("socket:[77]", host.proc.path().join("10/fd/3")).unwrap();
    fs::create_dir_all(host.proc.path().join("1/net")).unwrap();
    let listens = "0: 00000000:08AE 00000000:0000 0A 00000000:00000000 00:00000000 00000000 0 0 77 1";
    let others = "1: 00000000:01BB 00000000:0000 0A 00000000:00000000 00:00000000 00000000 0 0 78 1";
    let is_connected = "2: 0100007F:0016 0100007F:C350 01 00000000:00000000 00:00000000 00000000 0 0 77 1";
    let text = format!("  sl  local_address\n{listens}\n{others}\n{is_connected}\n");
    fs::write(host.proc.path().join("1/net/tcp"), text).unwrap();
    let found = host.search_in(NoSockets, "", ROOT).unwrap();
    assert_eq!(found, OwnSessions { ports: [22, 2222].into(), ..only(OLD) });
    assert!(found.include_all_of_server());
    assert!(found.note().is_some_and(|note| note.contains("every connection to port 22, 2222 is spared")));
}

#[test]
fn without_socket_diagnostics_nothing_is_spared_on_the_console() {
    let host = FakeHost::new();
    host.process(20, 1, "bash", ROOT, "");
    host.process(30, 20, "ctnl", ROOT, "");
    assert_eq!(host.search_in(NoSockets, "", ROOT).unwrap(), OwnSessions::default());
}

#[test]
fn a_flow_to_a_spared_port_is_included_before_and_after_nat_and_no_other_is() {
    let own = OwnSessions { ports: [22].into(), ..OwnSessions::default() };
    let tuple = |protocol, src: &str, dst: &str| {
        let (src, dst): (SocketAddr, SocketAddr) = (src.parse().unwrap(), dst.parse().unwrap());
        let l4 = L4::Ports { src: src.port(), dst: dst.port() };
        Tuple { src: src.ip(), dst: dst.ip(), protocol, l4, zone: None, has_unknown_part: false }
    };
    let flow = |protocol, before: &str, after: &str| {
        Flow::new(tuple(protocol, "192.0.2.7:50123", before), tuple(protocol, after, "192.0.2.7:50123"))
    };
    assert!(own.include(&flow(Protocol::Tcp, "10.0.0.1:22", "10.0.0.1:22")));
    assert!(own.include(&flow(Protocol::Tcp, "198.51.100.1:2222", "10.0.0.1:22")));
    assert!(!own.include(&flow(Protocol::Tcp, "10.0.0.1:443", "10.0.0.1:443")));
    assert!(!own.include(&flow(Protocol::Udp, "10.0.0.1:22", "10.0.0.1:22")));
}

#[test]
fn a_lookup_that_the_kernel_refuses_is_an_error() {
    let host = FakeHost::under_sudo(OLD);
    assert!(host.search_in(RefusedSockets, "", ROOT).is_err());
}

#[test]
fn a_user_who_starts_sudo_as_the_first_process_of_a_session_cannot_name_a_flow() {
    let mut host = FakeHost::new();
    host.process(15, 10, "sshd-session", ALICE, "");
    host.process(25, 15, "sudo", ROOT, &named(FORGED));
    host.process(30, 25, "ctnl", ROOT, "");
    host.process(40, 1, "nginx", ROOT, "");
    host.connection(40, ROOT, "10.0.0.1:443", "198.51.100.9:4444");
    host.connection(10, ROOT, "10.0.0.1:22", "192.0.2.7:50123");
    assert!(!host.search("", ROOT).sessions.contains(&session(FORGED)));
    assert!(!host.search(&named(FORGED), ROOT).sessions.contains(&session(FORGED)));
}

#[test]
fn a_user_whose_sudo_lost_its_parent_cannot_name_a_flow_or_a_port() {
    let mut host = FakeHost::new();
    host.process(25, 1, "sudo", ROOT, &named(FORGED));
    host.process(30, 25, "ctnl", ROOT, "");
    host.process(40, 1, "nginx", ROOT, "");
    host.connection(40, ROOT, "10.0.0.1:443", "198.51.100.9:4444");
    host.connection(40, ROOT, "10.0.0.1:443", "198.51.100.9:4445");
    host.connection(10, ROOT, "10.0.0.1:22", "192.0.2.7:50123");
    let expected = OwnSessions { all_of_server: Some(1), not_verified: only(FORGED).sessions, ..only(OLD) };
    assert_eq!(host.search("", ROOT), expected);
    let own = format!("SUDO_UID={ALICE},{}", named(FORGED));
    assert_eq!(host.search(&own, ROOT), expected, "sudo was configured to keep the variable");
}

#[test]
fn a_user_s_process_with_the_name_of_an_ssh_server_does_not_hide_its_parents() {
    let mut host = FakeHost::new();
    host.process(12, 10, "bash", ALICE, &named(OLD));
    host.process(15, 12, "sshd", ALICE, "");
    host.process(25, 15, "sudo", ROOT, &named(FORGED));
    host.process(30, 25, "ctnl", ROOT, "");
    host.process(40, 1, "nginx", ROOT, "");
    host.connection(40, ROOT, "10.0.0.1:443", "198.51.100.9:4444");
    host.connection(10, ROOT, "10.0.0.1:22", "192.0.2.7:50123");
    let found = host.search("", ROOT);
    assert_eq!(found, OwnSessions { not_verified: only(FORGED).sessions, ..only(OLD) });
}

#[test]
fn in_root_s_multiplexer_the_tunnel_of_another_user_is_no_carrier() {
    let mut host = FakeHost::new();
    host.process(20, 1, "tmux", ROOT, "");
    host.process(30, 20, "ctnl", ROOT, "");
    host.process(41, 1, "sh", ROOT, &named(NEW));
    host.connection(10, ROOT, "10.0.0.1:22", "192.0.2.7:50999");
    host.process(50, 1, "evil", ALICE, &named("127.0.0.1 50000 127.0.0.1 22"));
    host.connection(10, ROOT, "127.0.0.1:22", "127.0.0.1:50000");
    host.connection(50, ALICE, "127.0.0.1:50000", "127.0.0.1:22");
    host.connection(50, ALICE, "10.0.0.1:40000", "203.0.113.9:6667");
    let found = host.search("TMUX=x", ROOT);
    assert!(!found.sessions.contains(&session("203.0.113.9 6667 10.0.0.1 40000")));
    assert!(found.sessions.contains(&session(NEW)));
}

#[test]
fn in_root_s_multiplexer_every_connection_of_sshd_is_spared_also_where_another_user_s_session_is_live() {
    let mut host = FakeHost::new();
    host.process(20, 1, "tmux", ROOT, "");
    host.process(30, 20, "ctnl", ROOT, "");
    // Root's own session, which no environment names.
    host.connection(10, ROOT, "10.0.0.1:22", "192.0.2.7:50123");
    host.process(50, 1, "bash", ALICE, &named(NEW));
    host.connection(10, ROOT, "10.0.0.1:22", "192.0.2.7:50999");
    let found = host.search("TMUX=x", ROOT);
    assert_eq!(found, OwnSessions { all_of_server: Some(2), ..these([OLD, NEW]) });
}

#[test]
fn under_sudo_the_session_of_a_server_with_another_name_is_spared() {
    const OF_TELEPORT: &str = "192.0.2.7 50123 10.0.0.1 3022";
    let mut host = FakeHost::new();
    host.process(11, 1, "teleport", ROOT, "");
    host.process(20, 11, "bash", ALICE, &named(OF_TELEPORT));
    host.process(25, 20, "sudo", ROOT, &named(OF_TELEPORT));
    host.process(30, 25, "ctnl", ROOT, "");
    host.connection(11, ROOT, "10.0.0.1:3022", "192.0.2.7:50123");
    host.connection(11, ROOT, "10.0.0.1:3022", "192.0.2.7:50999");
    assert_eq!(host.search("", ROOT), only(OF_TELEPORT));
}

#[test]
fn a_later_lookup_adds_the_session_that_was_attached_since() {
    let mut own = OwnSessions { not_verified: only(NEW).sessions, ..only(OLD) };
    own.extend(OwnSessions { all_of_server: Some(1), ..only(NEW) });
    assert_eq!(own, OwnSessions { all_of_server: Some(1), ..these([OLD, NEW]) });
}
