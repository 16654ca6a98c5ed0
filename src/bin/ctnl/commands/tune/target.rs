//! The host, or the folder, and the network namespace that a subcommand works on.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use ctnl::host::Host;
use ctnl::netlink::Netns;
use nix::sys::statfs::{PROC_SUPER_MAGIC, statfs};
use nix::unistd::{Uid, User};

use super::super::args::CommonArgs;
use crate::term::console::Console;
use crate::tune::{HostPlaces, Log, Operation, boot_id};

/// Where the settings and files are.
#[derive(Debug, Clone, clap::Args)]
pub struct TargetArgs {
    /// Read and write the files below DIR (an image, a tree for tests), and not those of the running kernel
    #[arg(long, value_name = "DIR", conflicts_with = "netns")]
    root: Option<PathBuf>,

    /// JSON on stdout
    #[arg(long)]
    pub json: bool,

    #[command(flatten)]
    pub common: CommonArgs,
}

/// What [`TargetArgs`] name.
#[derive(Debug, Clone)]
pub struct Target {
    /// The host.
    pub host: Host,
    /// The namespace, pinned.
    pub netns: Netns,
    /// The folder of --root, absolute.
    pub root: Option<PathBuf>,
}

/// What every subcommand begins with.
pub struct Opened {
    /// Where.
    pub target: Target,
    /// The log of operations there.
    pub log: Log,
    /// Notes and questions.
    pub console: Console,
}

impl TargetArgs {
    /// The target with its log, of which nothing is read yet.
    ///
    /// # Errors
    /// As [`TargetArgs::target`].
    pub fn open(&self, host: &Host) -> Result<Opened> {
        let target = self.target(host)?;
        let log = Log::of(&target.host);
        Ok(Opened { target, log, console: self.common.console() })
    }

    /// The host and the namespace.
    ///
    /// # Errors
    /// Either does not exist.
    pub fn target(&self, host: &Host) -> Result<Target> {
        let Some(root) = &self.root else {
            return Ok(Target { host: host.clone(), netns: self.common.netns()?.pin()?, root: None });
        };
        Target::below(root, host)
    }
}

impl Target {
    /// The tree below `root`.
    ///
    /// # Errors
    /// It does not exist, or has the settings of the running kernel.
    pub fn below(root: &Path, host: &Host) -> Result<Self> {
        let root = fs::canonicalize(root).with_context(|| format!("--root {}", root.display()))?;
        if !root.is_dir() {
            bail!("--root {}: expected a folder", root.display());
        }
        let below = Host::at(&root, host.clock.clone());
        if statfs(&below.proc()).is_ok_and(|found| found.filesystem_type() == PROC_SUPER_MAGIC) {
            bail!(
                "--root {}: its proc is that of the running kernel, whose settings are not those of this folder\n  hint: \
                 umount {}",
                root.display(),
                below.proc().display()
            );
        }
        Ok(Target { host: below, netns: Netns::Current, root: Some(root) })
    }

    /// Whether the settings are those of the running kernel.
    pub fn is_live(&self) -> bool {
        self.root.is_none()
    }

    /// What is read and written.
    pub fn places(&self) -> HostPlaces {
        HostPlaces::new(&self.host, self.netns.clone())
    }

    /// The inode number of the namespace; `None` for a tree, and where it cannot be read.
    pub fn netns_inode(&self) -> Option<u64> {
        match &self.netns {
            _ if !self.is_live() => None,
            Netns::Pinned(pinned) => pinned.inode().ok(),
            _ => fs::metadata(self.host.path("/proc/thread-self/ns/net")).ok().map(|found| found.ino()),
        }
    }

    /// The namespace as it was named.
    pub fn netns_name(&self) -> Option<String> {
        match &self.netns {
            Netns::Pinned(pinned) => Some(pinned.path().display().to_string()),
            _ => None,
        }
    }

    /// The same with the namespace of `operation`, unless one is named.
    ///
    /// # Errors
    /// It is another one than that of the operation, or does not exist.
    pub fn for_operation(self, operation: &Operation) -> Result<Self> {
        let Some(inode) = operation.begun.netns_inode.filter(|_| self.is_live()) else { return Ok(self) };
        let number = operation.begun.op;
        let named = match (&self.netns, &operation.begun.netns) {
            (Netns::Pinned(_), _) | (_, None) => self,
            (_, Some(path)) => {
                let netns = Netns::Path(path.into()).pin();
                let netns = netns.with_context(|| format!("operation {number} is of another network namespace"))?;
                Target { netns, ..self }
            }
        };
        // After a reboot every namespace has another number; whether a value is that of the operation is looked at anyway.
        let boot = boot_id(&named.host);
        if boot.is_some() && operation.begun.boot_id.is_some() && boot != operation.begun.boot_id {
            return Ok(named);
        }
        if named.netns_inode() != Some(inode) {
            bail!(
                "operation {number} changed another network namespace (net:[{inode}])\n  hint: run it there, or name it with \
                 --netns; a namespace that is gone took its settings with it"
            );
        }
        Ok(named)
    }
}

/// The user, and the one who called sudo.
pub fn user() -> String {
    let uid = Uid::current();
    let name = User::from_uid(uid).ok().flatten().map_or_else(|| format!("uid {uid}"), |user| user.name);
    match std::env::var("SUDO_USER") {
        Ok(caller) if !caller.is_empty() && caller != name => format!("{name} ({caller})"),
        _ => name,
    }
}

/// The entries of the namespace now.
pub fn entries(target: &Target) -> Option<u64> {
    let host = &target.host;
    target.netns.run(|| host.netfilter().read("nf_conntrack_count").ok()).ok().flatten()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use ctnl::clock::Clock;

    use super::*;
    use crate::tune::Begun;

    #[test]
    fn the_number_of_a_namespace_is_compared_within_a_boot_alone() {
        let root = tempfile::tempdir().unwrap();
        let folder = root.path().join("proc/sys/kernel/random");
        fs::create_dir_all(&folder).unwrap();
        fs::write(folder.join("boot_id"), "b\n").unwrap();
        let host = Host::at(root.path(), Clock::system());
        let of_boot = |id: &str| {
            let begun = Begun { netns_inode: Some(7), boot_id: Some(id.into()), ..Begun::default() };
            let target = Target { host: host.clone(), netns: Netns::Current, root: None };
            target.for_operation(&Operation::new(begun))
        };
        assert!(of_boot("b").unwrap_err().to_string().contains("net:[7]"));
        assert!(of_boot("a").is_ok());
    }
}
