//! What `--netns` takes for a network namespace that is open, at this time.

use std::path::Path;

use ctnl::netlink::Netns;

use crate::host::namespaces::{Namespaces, inode_of};

/// `known` if that leads to `netns`, or else the name that `netns` has now. `None` where no argument leads to it: a name may
/// belong to another namespace by now, a process may have ended, and a path may be no UTF-8. `proc` is where /proc is mounted.
pub fn argument_of(netns: &Netns, known: Option<&str>, proc: &Path) -> Option<String> {
    let inode = inode(netns)?;
    let leads_to_it = |argument: &String| self::inode(&Netns::parse(argument)) == Some(inode);
    let of_scan = || {
        let found = Namespaces::new(proc).refresh().ok()?.appeared;
        found.iter().find(|namespace| namespace.inode == inode)?.argument()
    };
    known.map(str::to_owned).filter(leads_to_it).or_else(|| of_scan().filter(leads_to_it))
}

/// The inode number, which no two namespaces have at the same time: [`Netns::pin`] opens files of nsfs only, and there is
/// one nsfs (`nsfs_mnt` in fs/nsfs.c).
fn inode(netns: &Netns) -> Option<u64> {
    match netns.pin().ok()? {
        Netns::Pinned(pinned) => pinned.inode().ok(),
        Netns::Current => inode_of(Path::new("/proc/thread-self")).ok(),
        Netns::Path(_) => None,
    }
}
