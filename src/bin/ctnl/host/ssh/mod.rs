//! The SSH sessions of the user, which no delete may cut.
//!
//! Candidates are named by `SSH_CONNECTION`: in this process's own environment, in those of its
//! ancestors (sudo drops the variable), and in a terminal multiplexer in those of all processes, since
//! the session that is attached now started none of the ancestors. The kernel's socket diagnostics
//! show which candidate is a live connection of this host.
//!
//! Who may name a session. An environment is what the user of the parent process made it, and an
//! unprivileged user must not choose what root spares.
//! - The own environment is trusted, also where its connection ends on another host, unless another
//!   user is known to have started this program: a process of another user is among those between this
//!   one and its SSH server, or `SUDO_UID`, `PKEXEC_UID` or the real user is another.
//! - The environments of ancestors are trusted only for a user who is not root, and where all these
//!   processes are that user's.
//! - Any other candidate counts only if its connection is held by an SSH server of root, or by an
//!   ancestor (a server of another name). One that is live and held by neither is reported.
//! - An SSH server is one by its name and its user: root, or the user of this process.
//!
//! Which flow carries a session. Where the client's end is on this host too (`ssh -R`, `ssh -L`), the
//! session runs in a tunnel: the other connections of the process that holds that end are spared with
//! it, if that process is root's or the user's.
//!
//! All connections of the host's SSH server are spared where it is not certain which is the user's:
//! - the terminal is remote, or may be (a pseudo-terminal, another PID namespace, no `/proc`), and none
//!   of the candidates is live, or none is known to be this terminal's: no SSH server is an ancestor
//!   (dtach, run0, mosh, a session that was resumed);
//! - root is in a multiplexer: the attached session may be one that no environment names;
//! - a session runs in a tunnel, and what carries it was not found. Then those to other SSH servers are
//!   spared, too.
//!
//! Where the kernel has no socket diagnostics for TCP, nothing can be verified: every candidate of this
//! process and its ancestors is spared, and where the terminal may be remote every connection to a port
//! of the SSH server. Where the lookup fails, there is an error, and nothing must be deleted.

mod process;
mod session;
mod sockets;
mod terminal;
#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests;

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::anyhow;
use ctnl::host::Host;
use ctnl::model::{Flow, Protocol};
use ctnl::netlink::{Error, TcpSocket};
use nix::unistd::geteuid;

use self::process::{Environment, Process};
pub use self::session::SshSession;
use self::sockets::{HostSockets, Sockets};

/// Most ancestors. A chain of sudo, shells and scripts is shorter.
const GENERATIONS: usize = 64;
/// Most sessions in tunnels: for each, the sockets of all processes are read.
const TUNNELS: usize = 8;
/// The port of SSH servers, unless `SSH_CONNECTION` has another.
const SSH_PORT: u16 = 22;
/// The initial PID namespace (`PROC_PID_INIT_INO` in include/linux/proc_ns.h).
const INITIAL_PID_NAMESPACE: &str = "pid:[4026531836]";
const ROOT: u32 = 0;

/// The connections to spare.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct OwnSessions {
    /// The user's sessions, and what carries them.
    pub sessions: BTreeSet<SshSession>,
    /// It is not certain which is the user's, so all connections of the host's SSH server are among them:
    /// this many.
    pub all_of_server: Option<usize>,
    /// The kernel has no socket diagnostics, so every connection to one of these ports is spared.
    pub ports: BTreeSet<u16>,
    /// Live connections that an environment names and that are not spared: neither an SSH server of root
    /// nor an ancestor holds them.
    pub not_verified: BTreeSet<SshSession>,
}

impl OwnSessions {
    /// Whether `flow` carries one of them.
    pub fn include(&self, flow: &Flow) -> bool {
        SshSession::carried_by(flow).any(|carried| self.sessions.contains(&carried)) || self.include_port_of(flow)
    }

    fn include_port_of(&self, flow: &Flow) -> bool {
        if self.ports.is_empty() || flow.orig.protocol != Protocol::Tcp {
            return false;
        }
        // Before and after NAT.
        let (before, after) = (flow.orig.ports().map(|(_, dport)| dport), flow.reply.ports().map(|(sport, _)| sport));
        before.into_iter().chain(after).any(|port| self.ports.contains(&port))
    }

    /// Whether more may be spared than the user's, since it is not certain which are.
    pub fn include_all_of_server(&self) -> bool {
        self.all_of_server.is_some() || !self.ports.is_empty()
    }

    /// Adds those of a later lookup.
    pub fn extend(&mut self, later: OwnSessions) {
        self.sessions.extend(later.sessions);
        self.all_of_server = self.all_of_server.max(later.all_of_server);
        self.ports.extend(later.ports);
        self.not_verified.extend(later.not_verified);
        self.not_verified.retain(|session| !self.sessions.contains(session));
    }

    /// The message for the user, where they are not certainly the user's.
    pub fn note(&self) -> Option<String> {
        if !self.ports.is_empty() {
            let ports: Vec<String> = self.ports.iter().map(u16::to_string).collect();
            return Some(format!(
                "cannot verify which SSH session is yours (this kernel has no socket diagnostics for TCP): every \
                 connection to port {} is spared",
                ports.join(", ")
            ));
        }
        self.all_of_server.map(|count| {
            format!(
                "no live SSH session is certainly yours: all {count} connections of this host's SSH server are spared"
            )
        })
    }

    /// The warning for the user about a connection that may be theirs and is not spared.
    pub fn warning(&self) -> Option<String> {
        let ends = |session: &SshSession| format!("{} to {}", session.client, session.server);
        let named: Vec<String> = self.not_verified.iter().map(ends).collect();
        (!named.is_empty()).then(|| {
            format!(
                "SSH_CONNECTION of a parent process names a live connection that neither an SSH server of root nor a \
                 parent process holds, and that is not spared: {}",
                named.join(", ")
            )
        })
    }
}

/// The sessions that this process runs in.
///
/// # Errors
/// The lookup failed: then nothing must be deleted.
pub fn own_sessions(host: &Host) -> anyhow::Result<OwnSessions> {
    look_up(host).map_err(|error| {
        anyhow!(
            "cannot look up your own SSH session, so nothing is deleted: {error}\n  hint: --no-spare-ssh deletes \
             without this lookup, and may cut the session that you are in"
        )
    })
}

fn look_up(host: &Host) -> Result<OwnSessions, Error> {
    let sockets = HostSockets::open(host)?;
    let on_pseudo_terminal = terminal::is_pseudo(&host.proc());
    let search = Search::new(host.proc(), Environment::of_this_process(), geteuid().as_raw(), sockets);
    Search { on_pseudo_terminal, ..search }.run()
}

/// The processes between this one and its session's SSH server.
#[derive(Debug, Default)]
struct Ancestry {
    environments: Vec<Environment>,
    /// Inodes of the sockets that they hold.
    sockets: BTreeSet<u32>,
    /// An SSH server is among them, whoever's it is.
    has_ssh_server: bool,
    /// It leads to an SSH server of root or of the user of this process, or to process 1 of the host.
    is_whole: bool,
    /// All belong to the user of this process.
    is_of_one_user: bool,
}

struct Search<S> {
    proc: PathBuf,
    environment: Environment,
    user: u32,
    on_pseudo_terminal: bool,
    sockets: S,
    /// Inodes of the sockets that SSH servers of root hold.
    of_servers: BTreeSet<u32>,
    found: BTreeSet<SshSession>,
}

impl<S: Sockets> Search<S> {
    fn new(proc: PathBuf, environment: Environment, user: u32, sockets: S) -> Self {
        let servers = Process::all(&proc).filter(|process| process.is_ssh_server() && process.is_of(ROOT));
        let of_servers = servers.flat_map(|server| server.sockets()).collect();
        Search { proc, environment, user, on_pseudo_terminal: false, sockets, of_servers, found: BTreeSet::new() }
    }

    fn run(mut self) -> Result<OwnSessions, Error> {
        let ancestry = self.ancestry();
        let is_available = self.sockets.are_available();
        let mut ports = BTreeSet::from([SSH_PORT]);
        let (mut any_live, mut not_verified) = (false, BTreeSet::new());
        for (environment, is_trusted) in self.environments(&ancestry) {
            let Some(session) = environment.session else { continue };
            let socket = self.socket_of(session)?;
            let is_of_server = socket.is_some_and(|socket| self.is_of_server(&socket));
            let is_of_ancestor = socket.is_some_and(|socket| ancestry.sockets.contains(&socket.inode));
            if is_trusted || is_of_server {
                ports.insert(session.server.port());
            }
            if is_trusted || is_of_server || is_of_ancestor || !is_available {
                self.found.insert(session);
                // Without a server above it the terminal may have been left, and be attached by another session.
                any_live |= socket.is_some() && (is_of_ancestor || ancestry.has_ssh_server);
            } else if socket.is_some() {
                not_verified.insert(session);
            }
        }
        let is_multiplexed = self.environments(&ancestry).any(|(environment, _)| environment.is_multiplexed);
        if is_multiplexed {
            any_live |= self.add_attached()?;
        }
        let is_remote = self.on_pseudo_terminal
            || ancestry.has_ssh_server
            || self.environments(&ancestry).any(|(environment, _)| environment.is_remote);
        let misses_carrier = self.add_carriers()?;
        let needs_all =
            misses_carrier || is_multiplexed && self.user == ROOT || !any_live && (is_remote || !ancestry.is_whole);
        let mut own = OwnSessions::default();
        if needs_all && is_available {
            own.all_of_server = self.add_all_of_server(&ports, misses_carrier)?;
        } else if needs_all {
            ports.extend(sockets::listening_ports(&self.proc, &self.of_servers));
            own.ports = ports;
        }
        own.extend(OwnSessions { sessions: self.found, not_verified, ..OwnSessions::default() });
        Ok(own)
    }

    /// The environments that may name a session of the user, and whether each is trusted.
    fn environments<'a>(&self, ancestry: &'a Ancestry) -> impl Iterator<Item = (Environment, bool)> + use<'a, S> {
        let is_invoker = self.environment.invoker.is_none_or(|invoker| invoker == self.user);
        let trusts_ancestors = ancestry.is_of_one_user && self.user != ROOT;
        let own = (self.environment, ancestry.is_of_one_user && is_invoker);
        let of_ancestors = ancestry.environments.iter().map(move |environment| (*environment, trusts_ancestors));
        std::iter::once(own).chain(of_ancestors)
    }

    fn ancestry(&self) -> Ancestry {
        let own = fs::read_link(self.proc.join("self")).ok().and_then(|own| own.to_str()?.parse().ok());
        let mut ancestry = Ancestry { is_of_one_user: true, ..Ancestry::default() };
        let mut next = own.and_then(|own| Process::read(&self.proc, own)).map(|own| own.parent);
        for _ in 0..GENERATIONS {
            let Some(process) = next.filter(|pid| *pid > 0).and_then(|pid| Process::read(&self.proc, pid)) else {
                break;
            };
            ancestry.has_ssh_server |= process.is_ssh_server();
            if process.is_ssh_server() && (process.is_of(ROOT) || process.is_of(self.user)) {
                ancestry.sockets.extend(process.sockets());
                ancestry.is_whole = true;
                break;
            }
            // Process 1 is not between this one and sshd.
            if process.parent == 0 {
                ancestry.is_whole = self.is_in_initial_namespace();
                break;
            }
            ancestry.is_of_one_user &= process.is_of(self.user);
            ancestry.environments.push(process.environment());
            ancestry.sockets.extend(process.sockets());
            next = Some(process.parent);
        }
        ancestry
    }

    fn is_in_initial_namespace(&self) -> bool {
        fs::read_link(self.proc.join("self/ns/pid")).is_ok_and(|link| link == Path::new(INITIAL_PID_NAMESPACE))
    }

    fn socket_of(&mut self, session: SshSession) -> Result<Option<TcpSocket>, Error> {
        self.sockets.find(session.server, session.client)
    }

    fn is_of_server(&self, socket: &TcpSocket) -> bool {
        self.of_servers.contains(&socket.inode)
    }

    /// Adds the live sessions of all processes: one of them may have the multiplexer attached. Whether
    /// there is any.
    fn add_attached(&mut self) -> Result<bool, Error> {
        let mut any = false;
        for process in Process::all(&self.proc.clone()) {
            let Some(session) = process.environment().session else { continue };
            let Some(socket) = self.socket_of(session)? else { continue };
            // Root's processes may have the environment of others: su(1) has.
            let is_own = self.user != ROOT && process.is_of(self.user);
            if is_own || self.is_of_server(&socket) {
                self.found.insert(session);
                any = true;
            }
        }
        Ok(any)
    }

    /// Adds the connections that carry those whose client is on this host. Whether one of them has no
    /// such connection that can be found.
    fn add_carriers(&mut self) -> Result<bool, Error> {
        let mut misses = false;
        let mut tunnels = 0;
        let mut pending: Vec<SshSession> = self.found.iter().copied().collect();
        while let Some(session) = pending.pop() {
            let Some(client) = self.sockets.find(session.client, session.server)? else { continue };
            tunnels += 1;
            if tunnels > TUNNELS {
                return Ok(true);
            }
            let held = self.held_with(client.inode);
            // A carrier may be carried itself.
            let added = self.add_each(|socket| held.contains(&socket.inode) && socket.inode != client.inode)?;
            misses |= added.is_empty();
            pending.extend(added);
        }
        Ok(misses)
    }

    /// Inodes of the sockets of the processes of root and of the user that hold the socket `inode`.
    fn held_with(&self, inode: u32) -> BTreeSet<u32> {
        let trusted = Process::all(&self.proc).filter(|process| process.is_of(ROOT) || process.is_of(self.user));
        trusted.map(|process| process.sockets()).filter(|sockets| sockets.contains(&inode)).flatten().collect()
    }

    /// Adds every connection of the host's SSH server, and with `also_clients` those to other SSH
    /// servers. How many there are, if any of them was not found before.
    fn add_all_of_server(&mut self, ports: &BTreeSet<u16>, also_clients: bool) -> Result<Option<usize>, Error> {
        let of_servers = std::mem::take(&mut self.of_servers);
        let mut count = 0;
        let added = self.add_each(|socket| {
            // Accepted by root: also where the process that holds it is not in this PID namespace.
            let is_servers = socket.uid == ROOT && ports.contains(&socket.local.port());
            let is_clients = also_clients && socket.remote.port() == SSH_PORT;
            let is_meant = of_servers.contains(&socket.inode) || is_servers || is_clients;
            count += usize::from(is_meant);
            is_meant
        })?;
        Ok((!added.is_empty()).then_some(count))
    }

    /// Adds each connection that `is_meant`; those that were not found before.
    fn add_each(&mut self, mut is_meant: impl FnMut(&TcpSocket) -> bool) -> Result<Vec<SshSession>, Error> {
        let (found, mut added) = (&mut self.found, Vec::new());
        self.sockets.for_each(&mut |socket| {
            let session = SshSession { client: socket.remote, server: socket.local };
            if is_meant(socket) && found.insert(session) {
                added.push(session);
            }
        })?;
        Ok(added)
    }
}
