//! One scan of /proc: the mounts and the processes of each network namespace.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use super::mountinfo::{self, inode, network_namespaces};
use super::{HOST, Name, Namespace};

/// The folder in which ip-netns(8) mounts namespaces by name.
const NAMED: &str = "/run/netns/";

/// The mounts and the lowest process id of each namespace, by its inode number.
#[derive(Debug)]
pub(super) struct Scan {
    proc: PathBuf,
    own: u64,
    host: u64,
    mounts: BTreeMap<u64, PathBuf>,
    /// Those with a mount that another namespace is mounted over.
    covered: BTreeSet<u64>,
    processes: BTreeMap<u64, u32>,
    /// Processes whose namespace cannot be read.
    pub(super) unreadable: usize,
}

impl Scan {
    /// Scans `proc`.
    ///
    /// # Errors
    /// The mounts or the processes cannot be listed.
    pub(super) fn new(proc: &Path) -> io::Result<Self> {
        let own = netns_of(&proc.join("self"))?;
        let mut scan = Scan {
            proc: proc.to_owned(),
            own,
            // In a container the first process may be unreadable.
            host: netns_of(&proc.join("1")).unwrap_or(own),
            mounts: BTreeMap::new(),
            covered: BTreeSet::new(),
            processes: BTreeMap::new(),
            unreadable: 0,
        };
        scan.add_mounts()?;
        scan.add_processes()?;
        scan.processes.entry(own).or_insert_with(std::process::id);
        Ok(scan)
    }

    /// Whether the namespace has a process or a mount.
    pub(super) fn contains(&self, inode: u64) -> bool {
        self.mounts.contains_key(&inode) || self.processes.contains_key(&inode) || self.covered.contains(&inode)
    }

    /// The namespaces, by their inode number.
    pub(super) fn namespaces(&self) -> BTreeMap<u64, Namespace> {
        let inodes = self.processes.keys().chain(self.mounts.keys()).chain(&self.covered);
        inodes.map(|inode| (*inode, self.describe(*inode))).collect()
    }

    /// The namespace with its best name: `host`, a mount, or its lowest process. No two of a scan have
    /// the same.
    fn describe(&self, inode: u64) -> Namespace {
        let (mount, pid) = (self.mounts.get(&inode), self.processes.get(&inode).copied());
        let folder = pid.map(|pid| self.proc.join(pid.to_string()));
        let name = match mount {
            _ if inode == self.host => Name::Host,
            Some(mount) => name_of(mount),
            None => match pid {
                Some(pid) => Name::Process { pid, comm: folder.as_deref().map(comm).unwrap_or_default() },
                None => Name::Inode(inode),
            },
        };
        let path = mount.cloned().or_else(|| folder.map(|folder| folder.join("ns/net"))).unwrap_or_default();
        Namespace { inode, name, path, is_own: inode == self.own }
    }

    /// Adds the mounts. Of several mounts of one namespace, one of ip-netns(8) is preferred. A path
    /// that several namespaces are mounted on is the name of the one that it leads to.
    fn add_mounts(&mut self) -> io::Result<()> {
        let mountinfo = mountinfo::read(&self.proc.join("thread-self/mountinfo"))?;
        let mut by_path = BTreeMap::<PathBuf, Vec<u64>>::new();
        for (inode, mount_point) in network_namespaces(&mountinfo) {
            by_path.entry(mount_point).or_default().push(inode);
        }
        for (mount_point, inodes) in by_path {
            let Some(top) = uppermost(&mount_point, &inodes) else { continue };
            self.covered.extend(inodes.into_iter().filter(|inode| *inode != top));
            let rank = |path: &Path| (!path.starts_with(NAMED), path.to_owned());
            let known = self.mounts.entry(top).or_insert_with(|| mount_point.clone());
            if rank(&mount_point) < rank(known) {
                *known = mount_point;
            }
        }
        Ok(())
    }

    fn add_processes(&mut self) -> io::Result<()> {
        for entry in fs::read_dir(&self.proc)? {
            let entry = entry?;
            let Some(pid) = entry.file_name().to_str().and_then(|name| name.parse::<u32>().ok()) else { continue };
            match netns_of(&entry.path()) {
                Ok(inode) => {
                    let lowest = self.processes.entry(inode).or_insert(pid);
                    *lowest = pid.min(*lowest);
                }
                Err(error) if error.kind() == io::ErrorKind::PermissionDenied => self.unreadable += 1,
                // The process has ended.
                Err(_) => {}
            }
        }
        Ok(())
    }
}

/// The namespace that a path leads to, of those that are mounted there.
fn uppermost(path: &Path, inodes: &[u64]) -> Option<u64> {
    let last = *inodes.last()?;
    if inodes.iter().all(|inode| *inode == last) {
        return Some(last);
    }
    let found = fs::metadata(path).map(|metadata| metadata.ino()).ok();
    found.filter(|found| inodes.contains(found)).or(Some(last))
}

/// A name of ip-netns(8) that looks like that of another kind is written as a path.
fn name_of(mount: &Path) -> Name {
    let is_ambiguous = |name: &str| name == HOST || name.starts_with("pid:") || name.starts_with("net:[");
    match mount.strip_prefix(NAMED).ok().and_then(Path::to_str) {
        Some(name) if !is_ambiguous(name) => Name::Named(name.to_owned()),
        _ => Name::Mounted(mount.to_owned()),
    }
}

fn comm(folder: &Path) -> String {
    let name = fs::read(folder.join("comm")).unwrap_or_default();
    String::from_utf8_lossy(name.strip_suffix(b"\n").unwrap_or(&name)).into_owned()
}

/// The inode number of the network namespace of the process or thread whose folder in /proc this is.
pub fn netns_of(folder: &Path) -> io::Result<u64> {
    let link = fs::read_link(folder.join("ns/net"))?;
    inode(link.as_os_str().as_bytes()).ok_or_else(|| {
        let message = format!("'{}' is not a network namespace: expected net:[NUMBER]", link.display());
        io::Error::new(io::ErrorKind::InvalidData, message)
    })
}
