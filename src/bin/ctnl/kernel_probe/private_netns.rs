//! The network namespace that the probes are sent to.
//!
//! A probe may delete everything that its connection reaches. So a [`PrivateNetns`] can only be made by
//! leaving the caller's namespace for a new one, and a connection of this folder comes from
//! [`PrivateNetns::connect`] alone (held by `tests/layers`). Where user namespaces are permitted, the
//! process has no capability over the namespace that it left: there the kernel would refuse it even
//! with a wrong connection.

use std::fs;
use std::io;
use std::marker::PhantomData;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;

use anyhow::{Context, Result, bail, ensure};
use ctnl::host::Host;
use ctnl::netlink::{Connection, Netns};
use ctnl::table;
use nix::sched::CloneFlags;

use crate::host::{new_namespaces, procfs};

/// A network namespace that this process has made and is in. The namespace of a thread is not that of
/// another one, so it cannot be sent to one.
#[derive(Debug)]
pub struct PrivateNetns {
    /// Pinned: a connection reaches this namespace, whatever thread uses it.
    netns: Netns,
    inode: u64,
    /// The file of the calling thread's namespace.
    path: PathBuf,
    settings: PathBuf,
    of_this_thread: PhantomData<*const ()>,
}

/// What the kernel records in entries that are created from then on. Both are settings of the namespace
/// (`nf_conntrack_standalone_init_sysctl` in net/netfilter/nf_conntrack_standalone.c); those that all
/// namespaces share are not among them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Recorded {
    Counters,
    Timestamps,
}

impl Recorded {
    fn setting(self) -> &'static str {
        match self {
            Recorded::Counters => "nf_conntrack_acct",
            Recorded::Timestamps => "nf_conntrack_timestamp",
        }
    }
}

impl PrivateNetns {
    /// Moves the process into a new network namespace, and a new user namespace where that is permitted.
    /// The process must have a single thread.
    ///
    /// # Errors
    /// Namespaces are not permitted; the new one is the old one, or has entries.
    pub fn enter(host: &Host) -> Result<Self> {
        procfs::require(host, "doctor --kernel")?;
        let path = host.proc().join("thread-self/ns/net");
        // Kept open until the comparison: no other namespace can have its number meanwhile.
        let (before, inode_before) = pinned(&path)?;
        new_namespaces::enter(CloneFlags::CLONE_NEWNET, host)?;
        let (netns, inode) = pinned(&path)?;
        ensure!(inode != inode_before, "the new network namespace is the old one (net:[{inode}]): nothing was probed");
        drop(before);
        let settings = host.netfilter().root().to_owned();
        let private = PrivateNetns { netns, inode, path, settings, of_this_thread: PhantomData };
        let entries = table::count(&mut private.connect()?)?.entries;
        ensure!(entries == 0, "the new network namespace has {entries} conntrack entries: nothing was probed");
        Ok(private)
    }

    /// Opens a connection to this namespace.
    ///
    /// # Errors
    /// The socket cannot be opened.
    pub fn connect(&self) -> Result<Connection> {
        let connection = Connection::open(&self.netns)?;
        match connection.netns() {
            Netns::Pinned(pinned) if pinned.inode()? == self.inode => Ok(connection),
            _ => bail!("the connection is not to the private network namespace: nothing was probed"),
        }
    }

    /// The inode number, as in `net:[4026531840]`.
    pub fn inode(&self) -> u64 {
        self.inode
    }

    /// The setting `name` of this namespace; `None` where the kernel does not have it.
    ///
    /// # Errors
    /// The settings are not there, or cannot be read.
    pub fn setting(&self, name: &str) -> Result<Option<u64>> {
        let Some(path) = self.setting_file(name)? else { return Ok(None) };
        let text = fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
        text.trim().parse().map(Some).with_context(|| format!("{} is no number", path.display()))
    }

    /// Whether root of this namespace may write the setting `name`; `None` where the kernel does not
    /// have it. Nothing is written.
    ///
    /// # Errors
    /// As [`PrivateNetns::setting`].
    pub fn may_write(&self, name: &str) -> Result<Option<bool>> {
        let Some(path) = self.setting_file(name)? else { return Ok(None) };
        let mode = fs::metadata(&path).with_context(|| format!("cannot read {}", path.display()))?.permissions().mode();
        Ok(Some(mode & 0o200 != 0))
    }

    /// Records more in entries that are created from now on. False where the kernel has no such setting.
    ///
    /// # Errors
    /// The settings are not there, or cannot be written.
    pub fn record(&self, what: Recorded) -> Result<bool> {
        let Some(path) = self.setting_file(what.setting())? else { return Ok(false) };
        fs::write(&path, "1").map(|()| true).with_context(|| format!("cannot write {}", path.display()))
    }

    /// The file of a setting. The kernel resolves the path in the namespace of the thread that opens it
    /// (`net_ctl_header_lookup` in net/sysctl_net.c).
    fn setting_file(&self, name: &str) -> Result<Option<PathBuf>> {
        let (_, inode) = pinned(&self.path)?;
        ensure!(inode == self.inode, "this thread is in net:[{inode}], not in the private network namespace");
        ensure!(self.settings.is_dir(), "{} is missing", self.settings.display());
        let path = self.settings.join(name);
        match fs::metadata(&path) {
            Ok(_) => Ok(Some(path)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error).with_context(|| format!("cannot read {}", path.display())),
        }
    }
}

/// The namespace of `path`, kept open, and its inode number.
fn pinned(path: &std::path::Path) -> Result<(Netns, u64)> {
    let netns = Netns::Path(path.to_owned()).pin()?;
    let Netns::Pinned(file) = &netns else { bail!("{} is no network namespace", path.display()) };
    let inode = file.inode().with_context(|| format!("cannot read {}", path.display()))?;
    Ok((netns, inode))
}
