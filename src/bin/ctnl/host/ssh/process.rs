//! Processes as `/proc` shows them.

use std::collections::BTreeSet;
use std::ffi::{OsStr, OsString};
use std::fs;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

use nix::unistd::{geteuid, getuid};

use super::session::SshSession;

/// Variables of terminal multiplexers. A shell in one keeps the `SSH_CONNECTION` of the session that
/// started it; the session that is attached now is in the environment of another process.
const MULTIPLEXERS: [&str; 3] = ["TMUX", "STY", "ZELLIJ"];
/// Variables that sshd sets (`do_setup_env` in OpenSSH's session.c).
const SSH: [&str; 3] = ["SSH_CONNECTION", "SSH_CLIENT", "SSH_TTY"];
/// Variables with the user who started the command, that sudo(8) and pkexec(1) set.
const INVOKER: [&str; 2] = ["SUDO_UID", "PKEXEC_UID"];

/// The relevant variables of an environment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Environment {
    /// `SSH_CONNECTION`.
    pub session: Option<SshSession>,
    /// Whether the terminal was that of an SSH session when the environment was made.
    pub is_remote: bool,
    /// Whether it is that of a terminal multiplexer.
    pub is_multiplexed: bool,
    /// The user who had another one's program started, and whose variables these may be.
    pub invoker: Option<u32>,
}

impl Environment {
    /// The environment of this process. Its own `/proc` entry is not readable where it has file
    /// capabilities.
    pub fn of_this_process() -> Self {
        let environment: Self = std::env::vars_os().collect();
        // Of a program with set-user-ID, every variable is the real user's.
        let is_set_user_id = getuid() != geteuid();
        let invoker = if is_set_user_id { Some(getuid().as_raw()) } else { environment.invoker };
        Environment { invoker, ..environment }
    }
}

impl FromIterator<(OsString, OsString)> for Environment {
    fn from_iter<I: IntoIterator<Item = (OsString, OsString)>>(variables: I) -> Self {
        let mut environment = Environment::default();
        for (name, value) in variables {
            let is_one_of = |names: &[&str]| names.iter().any(|known| name == **known);
            environment.is_remote |= is_one_of(&SSH);
            environment.is_multiplexed |= is_one_of(&MULTIPLEXERS);
            if is_one_of(&INVOKER) {
                // What is no number is nobody's.
                let user = value.to_str().and_then(|user| user.parse().ok());
                environment.invoker = Some(user.unwrap_or(u32::MAX));
            }
            if name == "SSH_CONNECTION" {
                environment.session = value.to_str().and_then(SshSession::parse);
            }
        }
        environment
    }
}

/// A process.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Process {
    directory: PathBuf,
    /// The name of its program, cut to 15 bytes.
    pub name: String,
    /// Its parent; 0 where that is in another PID namespace or it has none.
    pub parent: u32,
    /// Real, effective and saved user.
    users: [u32; 3],
}

impl Process {
    /// Process `pid`.
    pub fn read(proc: &Path, pid: u32) -> Option<Self> {
        let directory = proc.join(pid.to_string());
        let status = fs::read_to_string(directory.join("status")).ok()?;
        let field = |name: &str| status.lines().find_map(|line| line.strip_prefix(name)).map(str::trim);
        let mut users = field("Uid:")?.split_ascii_whitespace().map(|user| user.parse().ok());
        let users = [users.next()??, users.next()??, users.next()??];
        Some(Process { name: field("Name:")?.to_owned(), parent: field("PPid:")?.parse().ok()?, users, directory })
    }

    /// Every process that `proc` shows.
    pub fn all(proc: &Path) -> impl Iterator<Item = Process> {
        let pids = fs::read_dir(proc).into_iter().flatten().flatten();
        pids.filter_map(|entry| entry.file_name().to_str()?.parse().ok()).filter_map(|pid| Process::read(proc, pid))
    }

    /// Whether it belongs to `user` alone. A program with set-user-ID belongs to two.
    pub fn is_of(&self, user: u32) -> bool {
        self.users == [user; 3]
    }

    /// Whether it is an SSH server, or one of its processes.
    pub fn is_ssh_server(&self) -> bool {
        self.name == "sshd" || self.name.starts_with("sshd-") || self.name == "dropbear"
    }

    /// Its environment when it started; empty where that may not be read.
    pub fn environment(&self) -> Environment {
        let environ = fs::read(self.directory.join("environ")).unwrap_or_default();
        let pair = |variable: &[u8]| {
            let at = variable.iter().position(|byte| *byte == b'=')?;
            let (name, value) = (variable.get(..at)?, variable.get(at + 1..)?);
            Some((OsStr::from_bytes(name).to_owned(), OsString::from_vec(value.to_vec())))
        };
        environ.split(|byte| *byte == 0).filter_map(pair).collect()
    }

    /// The inodes of its sockets; none where they may not be read.
    pub fn sockets(&self) -> BTreeSet<u32> {
        let descriptors = fs::read_dir(self.directory.join("fd")).into_iter().flatten().flatten();
        let inode = |target: PathBuf| target.to_str()?.strip_prefix("socket:[")?.strip_suffix(']')?.parse().ok();
        descriptors.filter_map(|entry| fs::read_link(entry.path()).ok()).filter_map(inode).collect()
    }
}
