//! The network namespaces of the host: which exist, their names, and which have appeared or
//! vanished since the last scan.
//!
//! A namespace exists as long as something refers to it, including the sockets of this program
//! in it. It counts as vanished when no process is in it and no mount refers to it. The
//! kernel has no notification for either, so /proc is scanned at an interval. A scan does not
//! find a namespace that only a file descriptor of another process refers to, nor one that has
//! only threads of processes in other namespaces.

mod deletion;
mod mountinfo;
mod scan;
#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::io;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use ctnl::netlink::{Error, Netns};
use nix::errno::Errno;

pub use self::deletion::{KeptNamespace, Usage};
pub use self::mountinfo::unescape;
use self::scan::Scan;
pub use self::scan::netns_of as inode_of;

/// Time between two scans. A scan takes 7 µs per process, 35 ms with 5000 of them: about 2 % of
/// a processor, and too long for the receiving thread.
pub const POLL_INTERVAL: Duration = Duration::from_secs(2);

/// The name of the namespace of the first process.
const HOST: &str = "host";

/// The name of a namespace, in every record of it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Name {
    /// The namespace of the first process.
    Host,
    /// A name of ip-netns(8).
    Named(String),
    /// Another mount of it, as container engines keep them.
    Mounted(PathBuf),
    /// The process by which it was found. The name stays when the process ends.
    Process {
        /// Its id.
        pid: u32,
        /// Its name at that time.
        comm: String,
    },
    /// Only its inode number is known: another namespace is mounted over its mount.
    Inode(u64),
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Name::Host => f.write_str(HOST),
            Name::Named(name) => f.write_str(name),
            Name::Mounted(path) => write!(f, "{}", path.display()),
            Name::Process { pid, comm } => write!(f, "pid:{pid}({comm})"),
            Name::Inode(inode) => write!(f, "net:[{inode}]"),
        }
    }
}

/// A network namespace.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Namespace {
    /// Its inode number, which is unique while it exists.
    pub inode: u64,
    /// Its name.
    pub name: Name,
    path: PathBuf,
    is_own: bool,
}

impl Namespace {
    /// Whether this program is in it.
    pub fn is_own(&self) -> bool {
        self.is_own
    }

    /// What `--netns` takes for it; `None` where nothing that is reachable refers to it.
    pub fn argument(&self) -> Option<String> {
        let path = || self.path.to_str().map(str::to_owned);
        match &self.name {
            // A number is a process.
            Name::Named(name) if name.bytes().all(|byte| byte.is_ascii_digit()) => path(),
            Name::Named(name) => Some(name.clone()),
            Name::Mounted(_) => path(),
            Name::Host => Some("1".to_owned()),
            Name::Process { pid, .. } => Some(pid.to_string()),
            Name::Inode(_) => None,
        }
    }

    /// Opens the namespace, and verifies its inode number.
    ///
    /// # Errors
    /// It has vanished, or cannot be read.
    pub fn open(&self) -> Result<Netns> {
        if self.is_own {
            return Ok(Netns::Current);
        }
        let path = self.path.display();
        let netns = Netns::Path(self.path.clone()).pin()?;
        if let Netns::Pinned(pinned) = &netns {
            let inode = pinned.inode().with_context(|| format!("read the inode number of {path}"))?;
            if inode != self.inode {
                bail!("{path} refers to net:[{inode}] now, expected net:[{}]", self.inode);
            }
        }
        Ok(netns)
    }
}

/// Whether the error of [`Namespace::open`] is that its path does not exist any more.
pub fn has_vanished(error: &anyhow::Error) -> bool {
    let errno = error.downcast_ref::<Error>().and_then(Error::errno);
    matches!(errno, Some(Errno::ENOENT | Errno::ESRCH))
}

/// The differences from the last scan.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Changes {
    /// New namespaces.
    pub appeared: Vec<Namespace>,
    /// Namespaces with another name, each with the earlier one: a process was found in it before
    /// it was mounted, or another namespace has that name now. To be applied after `vanished`
    /// and before `appeared`, and all at once, since two may have swapped their names: then no two
    /// have the same name.
    pub renamed: Vec<(Name, Namespace)>,
    /// Namespaces without a process and a mount.
    pub vanished: Vec<Namespace>,
}

/// The set of namespaces.
#[derive(Debug)]
pub struct Namespaces {
    proc: PathBuf,
    tracked: BTreeMap<u64, Tracked>,
    unreadable: usize,
}

#[derive(Debug)]
struct Tracked {
    namespace: Namespace,
    /// The last scan did not find it.
    is_missed: bool,
}

impl Namespaces {
    /// An empty set. `proc` is where /proc is mounted.
    pub fn new(proc: impl Into<PathBuf>) -> Self {
        Namespaces { proc: proc.into(), tracked: BTreeMap::new(), unreadable: 0 }
    }

    /// Scans /proc and updates the set. A namespace has vanished when two scans did not find it:
    /// the list of processes is not a snapshot, and a process that forks and exits during
    /// the scan can be missed together with its child.
    ///
    /// # Errors
    /// Processes or mounts cannot be listed; the set is unchanged.
    pub fn refresh(&mut self) -> io::Result<Changes> {
        let scan = Scan::new(&self.proc)?;
        self.unreadable = scan.unreadable;
        let found = scan.namespaces();
        let mut changes = Changes::default();
        self.remove_vanished(&scan, &found, &mut changes);
        self.rename(&found, &mut changes);
        for (inode, namespace) in found {
            self.tracked.entry(inode).or_insert_with(|| {
                changes.appeared.push(namespace.clone());
                Tracked { namespace, is_missed: false }
            });
        }
        Ok(changes)
    }

    /// The number of processes whose namespace the last scan could not read, for want of
    /// CAP_SYS_PTRACE. A namespace that has only such processes is not found.
    pub fn unreadable(&self) -> usize {
        self.unreadable
    }

    /// Removes a namespace that could not be opened: the next scan finds it again.
    pub fn forget(&mut self, inode: u64) {
        self.tracked.remove(&inode);
    }

    /// One that was not found has vanished also if another one has its name now: a container was
    /// restarted, or a process id was reused.
    fn remove_vanished(&mut self, scan: &Scan, found: &BTreeMap<u64, Namespace>, changes: &mut Changes) {
        let names: BTreeSet<&Name> = found.values().map(|namespace| &namespace.name).collect();
        self.tracked.retain(|inode, tracked| {
            let is_found = scan.contains(*inode);
            let has_vanished = !is_found && (tracked.is_missed || names.contains(&tracked.namespace.name));
            tracked.is_missed = !is_found;
            if has_vanished {
                changes.vanished.push(tracked.namespace.clone());
            }
            !has_vanished
        });
    }

    /// Applies the names of the scan. A name stays where the scan has only a process or nothing in its
    /// place, unless another namespace has it now.
    fn rename(&mut self, found: &BTreeMap<u64, Namespace>, changes: &mut Changes) {
        let owners: BTreeMap<&Name, u64> = found.iter().map(|(inode, namespace)| (&namespace.name, *inode)).collect();
        for (inode, Tracked { namespace, .. }) in &mut self.tracked {
            let Some(now) = found.get(inode) else { continue };
            namespace.path.clone_from(&now.path);
            let is_name = !matches!(now.name, Name::Process { .. } | Name::Inode(_));
            let is_taken = owners.get(&namespace.name).is_some_and(|owner| owner != inode);
            if namespace.name != now.name && (is_name || is_taken) {
                let earlier = std::mem::replace(&mut namespace.name, now.name.clone());
                changes.renamed.push((earlier, namespace.clone()));
            }
        }
    }
}
