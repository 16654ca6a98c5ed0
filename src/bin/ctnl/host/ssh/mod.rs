//! The SSH sessions of the user, which no delete may cut.
//!
//! Candidates are named by `SSH_CONNECTION`: in this process's own environment, in those of its
//! ancestors (sudo drops the variable), and in a terminal multiplexer in those of all processes, since
//! the session that is attached now started none of the ancestors. The kernel's socket diagnostics
//! show which candidate is a live connection of this host.
//!
//! Who may name a session. An environment is what the parent process made it. Where every process
//! between this one and sshd belongs to the user of this one, the user names their own session, and it
//! is spared even if its connection ends on another host. Where another user's process is among them
//! (sudo, su), and in the processes that a multiplexer makes relevant, a candidate counts only if its
//! connection is held by an SSH server of root: else an unprivileged user could make root spare any
//! flow. Without `/proc` only the own environment is left, and is trusted.
//!
//! Which flow carries a session. Where the client's end is on this host too (`ssh -R`, `ssh -L`), the
//! session runs in a tunnel: the other connections of the process that holds that end are spared with
//! it.
//!
//! Where the kernel has no socket diagnostics, nothing can be verified, and every candidate of an
//! ancestor is spared.
//!
//! Where the terminal is remote, or may be (a pseudo-terminal, another PID namespace, no `/proc`), and
//! none of the candidates is live (dtach, run0, mosh, a session that was resumed), all connections of
//! the host's SSH server are spared.

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

use ctnl::host::Host;
use ctnl::model::Flow;
use ctnl::netlink::{Error, TcpSocket};
use nix::unistd::geteuid;

use self::process::{Environment, Process};
pub use self::session::SshSession;
use self::sockets::{HostSockets, Sockets};

/// Most ancestors. A chain of sudo, shells and scripts is shorter.
const GENERATIONS: usize = 64;
/// Most tunnels in tunnels.
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
    pub sessions: Vec<SshSession>,
    /// None of them is certainly the user's, so this many are those of the host's SSH server: all that it
    /// has.
    pub all_of_server: Option<usize>,
}

impl OwnSessions {
    /// Whether `flow` carries one of them.
    pub fn include(&self, flow: &Flow) -> bool {
        self.sessions.iter().any(|session| session.is_carried_by(flow))
    }

    /// The message for the user, where they are not certainly the user's.
    pub fn note(&self) -> Option<String> {
        self.all_of_server.map(|count| {
            format!("found no live SSH session of yours: all {count} connections of this host's SSH server are spared")
        })
    }
}

/// The sessions that this process runs in.
///
/// # Errors
/// The system's resources do not allow the lookup: then nothing must be deleted.
pub fn own_sessions(host: &Host) -> Result<OwnSessions, Error> {
    let sockets = HostSockets::open(host)?;
    let on_pseudo_terminal = terminal::is_pseudo(&host.proc());
    let search = Search::new(host.proc(), Environment::of_this_process(), geteuid().as_raw(), sockets);
    Ok(Search { on_pseudo_terminal, ..search }.run())
}

/// The processes between this one and its session's SSH server.
#[derive(Debug, Default)]
struct Ancestry {
    environments: Vec<Environment>,
    /// An SSH server is among them.
    has_ssh_server: bool,
    /// It leads to an SSH server or to process 1 of the host.
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
    found: Vec<SshSession>,
}

impl<S: Sockets> Search<S> {
    fn new(proc: PathBuf, environment: Environment, user: u32, sockets: S) -> Self {
        let servers = Process::all(&proc).filter(|process| process.is_ssh_server() && process.is_of(ROOT));
        let of_servers = servers.flat_map(|server| server.sockets()).collect();
        Search { proc, environment, user, on_pseudo_terminal: false, sockets, of_servers, found: Vec::new() }
    }

    fn run(mut self) -> OwnSessions {
        let ancestry = self.ancestry();
        let environments: Vec<Environment> =
            std::iter::once(self.environment).chain(ancestry.environments.iter().copied()).collect();
        let mut ports = BTreeSet::from([SSH_PORT]);
        let mut any_live = false;
        for session in environments.iter().filter_map(|environment| environment.session) {
            let socket = self.socket_of(session);
            if ancestry.is_of_one_user {
                ports.insert(session.server.port());
            }
            let is_trusted = ancestry.is_of_one_user || !self.sockets.are_available();
            if is_trusted || socket.is_some_and(|socket| self.is_of_server(&socket)) {
                self.add(session);
                any_live |= socket.is_some();
            }
        }
        if environments.iter().any(|environment| environment.is_multiplexed) {
            any_live |= self.add_attached();
        }
        let is_remote = self.on_pseudo_terminal
            || ancestry.has_ssh_server
            || environments.iter().any(|environment| environment.is_remote);
        let misses_carrier = self.add_carriers();
        let needs_all = misses_carrier || !any_live && (is_remote || !ancestry.is_whole);
        let all_of_server =
            needs_all.then(|| self.add_all_of_server(&ports, misses_carrier)).filter(|added| *added > 0);
        OwnSessions { sessions: self.found, all_of_server }
    }

    fn ancestry(&self) -> Ancestry {
        let own = fs::read_link(self.proc.join("self")).ok().and_then(|own| own.to_str()?.parse().ok());
        let mut ancestry = Ancestry { is_of_one_user: true, ..Ancestry::default() };
        let mut next = own.and_then(|own| Process::read(&self.proc, own)).map(|own| own.parent);
        for _ in 0..GENERATIONS {
            let Some(process) = next.filter(|pid| *pid > 0).and_then(|pid| Process::read(&self.proc, pid)) else {
                break;
            };
            if process.is_ssh_server() {
                return Ancestry { has_ssh_server: true, is_whole: true, ..ancestry };
            }
            // Process 1 is not between this one and sshd.
            if process.parent == 0 {
                ancestry.is_whole = self.is_in_initial_namespace();
                return ancestry;
            }
            ancestry.is_of_one_user &= process.is_of(self.user);
            ancestry.environments.push(process.environment());
            next = Some(process.parent);
        }
        ancestry
    }

    fn is_in_initial_namespace(&self) -> bool {
        fs::read_link(self.proc.join("self/ns/pid")).is_ok_and(|link| link == Path::new(INITIAL_PID_NAMESPACE))
    }

    fn socket_of(&mut self, session: SshSession) -> Option<TcpSocket> {
        self.sockets.find(session.server, session.client)
    }

    fn is_of_server(&self, socket: &TcpSocket) -> bool {
        self.of_servers.contains(&socket.inode)
    }

    fn add(&mut self, session: SshSession) {
        if !self.found.contains(&session) {
            self.found.push(session);
        }
    }

    /// Adds the live sessions of all processes: one of them may have the multiplexer attached. Whether
    /// there is any.
    fn add_attached(&mut self) -> bool {
        let mut any = false;
        for process in Process::all(&self.proc.clone()) {
            let Some(session) = process.environment().session else { continue };
            let Some(socket) = self.socket_of(session) else { continue };
            // Root's processes may have the environment of others: su(1) has.
            let is_own = self.user != ROOT && process.is_of(self.user);
            if is_own || self.is_of_server(&socket) {
                self.add(session);
                any = true;
            }
        }
        any
    }

    /// Adds the connections that carry those whose client is on this host. Whether one of them has no
    /// such connection that can be found.
    fn add_carriers(&mut self) -> bool {
        let mut misses = false;
        for number in 0..TUNNELS {
            // The carriers are added behind, and may be carried themselves.
            let Some(session) = self.found.get(number).copied() else { break };
            let Some(client) = self.sockets.find(session.client, session.server) else { continue };
            let holders = Process::all(&self.proc).map(|process| process.sockets());
            let held: BTreeSet<u32> = holders.filter(|sockets| sockets.contains(&client.inode)).flatten().collect();
            let before = self.found.len();
            self.add_each(|socket| held.contains(&socket.inode) && socket.inode != client.inode);
            misses |= self.found.len() == before;
        }
        misses
    }

    /// Adds every connection of the host's SSH server, and with `also_clients` those to other SSH
    /// servers. How many there are.
    fn add_all_of_server(&mut self, ports: &BTreeSet<u16>, also_clients: bool) -> usize {
        let of_servers = std::mem::take(&mut self.of_servers);
        let before = self.found.len();
        self.add_each(|socket| {
            // Accepted by root: also where the process that holds it is not in this PID namespace.
            let is_servers = socket.uid == ROOT && ports.contains(&socket.local.port());
            let is_clients = also_clients && socket.remote.port() == SSH_PORT;
            of_servers.contains(&socket.inode) || is_servers || is_clients
        });
        self.found.len() - before
    }

    fn add_each(&mut self, is_meant: impl Fn(&TcpSocket) -> bool) {
        let mut found = std::mem::take(&mut self.found);
        self.sockets.for_each(&mut |socket| {
            let session = SshSession { client: socket.remote, server: socket.local };
            if is_meant(socket) && !found.contains(&session) {
                found.push(session);
            }
        });
        self.found = found;
    }
}
