//! Whether a namespace that this program keeps open has been deleted.
//!
//! Nothing tells: to the kernel it exists for as long as its sockets and files are open, and with it its
//! devices. It has been deleted when its path leads elsewhere, and no process is in it and no mount refers
//! to it, as with all namespaces ([`super::Namespaces`]).

use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::{fs, mem};

use ctnl::netlink::PinnedNetns;

use super::scan::Scan;

/// What is known about a namespace.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Usage {
    /// Its path leads to it, or something else uses it.
    Used,
    /// Its path does not lead to it. Whether one of this number of processes is in it cannot be read (without
    /// CAP_SYS_PTRACE).
    Unknown(usize),
    /// Only this program uses it.
    Deleted,
}

/// A namespace that is kept open elsewhere.
#[derive(Debug)]
pub struct KeptNamespace {
    proc: PathBuf,
    path: PathBuf,
    inode: u64,
    /// The last scan did not find it.
    is_missed: bool,
}

impl KeptNamespace {
    /// The namespace, which stays open. `proc` is where /proc is mounted.
    ///
    /// # Errors
    /// An error of fstat(2).
    pub fn new(proc: &Path, netns: &PinnedNetns) -> io::Result<Self> {
        let (proc, path) = (proc.to_owned(), netns.path().to_owned());
        Ok(KeptNamespace { proc, path, inode: netns.inode()?, is_missed: false })
    }

    /// The path by which it was opened.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Its inode number.
    pub fn inode(&self) -> u64 {
        self.inode
    }

    /// Checks its path, and where that leads elsewhere, scans /proc. Two scans are needed to find that nothing
    /// uses it, since the list of processes is no snapshot.
    ///
    /// # Errors
    /// Processes or mounts cannot be listed.
    pub fn usage(&mut self) -> io::Result<Usage> {
        let was_missed = mem::take(&mut self.is_missed);
        if fs::metadata(&self.path).is_ok_and(|found| found.ino() == self.inode) {
            return Ok(Usage::Used);
        }
        let scan = Scan::new(&self.proc)?;
        if scan.contains(self.inode) {
            return Ok(Usage::Used);
        }
        if scan.unreadable > 0 {
            return Ok(Usage::Unknown(scan.unreadable));
        }
        self.is_missed = true;
        Ok(if was_missed { Usage::Deleted } else { Usage::Used })
    }
}
