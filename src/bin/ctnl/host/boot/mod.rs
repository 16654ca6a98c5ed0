//! What a boot gives the sysctls of conntrack and the module nf_conntrack, with the file and the line that decides.
//!
//! Read from the files of the host, by the rules of the init system that they belong to: systemd, the initscripts
//! of CentOS 6, sysvinit of Debian, OpenRC, procd of OpenWrt.

mod applier;
mod assignment;
pub mod defaults;
mod file_line;
mod initramfs;
mod key;
mod loading;
mod modprobe;
mod reason;
mod rest_of_file;
mod scripts;
mod services;
mod settings;
mod shell;
mod sysctl_file;
#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)]
mod tests;
mod tree;
mod writers;

use ctnl::host::Host;

pub use applier::{Applier, Init};
pub use assignment::{Assignment, HASHSIZE, Stage};
pub use file_line::FileLine;
pub use initramfs::OldInitramfs;
pub use key::{CONNTRACK, canonical};
pub use loading::Loading;
pub use modprobe::Modprobe;
pub use reason::Reason;
pub use settings::WithoutEffect;
pub use tree::{PlannedFile, Unreadable};
pub use writers::Writer;

use settings::Settings;
use tree::Tree;

/// What a boot of a host sets.
#[derive(Debug, Clone)]
pub struct Boot {
    /// The init system.
    pub init: Init,
    /// The program that applies sysctl.conf and sysctl.d.
    pub applier: Applier,
    /// When nf_conntrack is loaded.
    pub loading: Loading,
    /// The lines of modprobe.d.
    pub modprobe: Modprobe,
    /// Lines that look as if they set something of conntrack, and do not.
    pub without_effect: Vec<WithoutEffect>,
    /// Programs besides that write settings of conntrack while the host runs.
    pub writers: Vec<Writer>,
    /// What unloads the module while the host runs, so that its settings fall back to the defaults.
    pub unloads: Vec<FileLine>,
    /// An initramfs that loads the module by older options than those of modprobe.d.
    pub old_initramfs: Option<OldInitramfs>,
    /// Major and minor version of the running kernel.
    pub kernel: Option<(u32, u32)>,
    /// Files that exist and could not be read: what they set is unknown.
    pub unreadable: Vec<Unreadable>,
    settings: Settings,
}

/// The first version in which the sysctl nf_conntrack_buckets can be written (`nf_conntrack_hash_sysctl` in
/// net/netfilter/nf_conntrack_standalone.c).
pub const BUCKETS_WRITABLE: (u32, u32) = (4, 7);

fn kernel(tree: &Tree<'_>) -> Option<(u32, u32)> {
    let release = tree.text("/proc/sys/kernel/osrelease")?;
    let mut numbers = release.split(['.', '-']).map_while(|part| part.trim().parse().ok());
    Some((numbers.next()?, numbers.next()?))
}

/// What a boot does with a line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Effect {
    /// The value is set.
    Applied,
    /// The sysctl does not exist when the line is applied, because the module is loaded later.
    TooEarly,
    /// Nothing shows whether the module is loaded before.
    Unknown,
    /// The kernel refuses the value.
    Refused,
}

impl Boot {
    /// Reads what the boot of `host` sets.
    pub fn read(host: &Host) -> Boot {
        Boot::read_with(host, &[])
    }

    /// The same as if `planned` were written already.
    pub fn read_with(host: &Host, planned: &[PlannedFile]) -> Boot {
        let tree = Tree::new(host, planned);
        let init = Init::of(&tree);
        let applier = Applier::of(init, &tree);
        let modprobe = Modprobe::read(&tree, init);
        let loading = Loading::of(&tree, init, &modprobe);
        let (settings, without_effect) = Settings::read(&tree, init, &applier, &modprobe, &loading);
        let writers = writers::find(&tree);
        let unloads = services::unloads(&tree);
        let kernel = kernel(&tree);
        let mut options: Vec<_> = modprobe.hashsizes().map(|line| line.file).collect();
        options.dedup();
        let old_initramfs = initramfs::find(&tree, &options);
        let unreadable = tree.unreadable();
        Boot {
            init,
            applier,
            loading,
            modprobe,
            without_effect,
            writers,
            unloads,
            old_initramfs,
            kernel,
            unreadable,
            settings,
        }
    }

    /// The line that decides on the sysctl `name`, such as `net.netfilter.nf_conntrack_max`, in any spelling;
    /// `None` where nothing sets it. [`Boot::effect`] has what comes of it.
    pub fn sysctl(&self, name: &str) -> Option<Assignment> {
        self.settings.decisive(&canonical(name), self.applier == Applier::Systemd)
    }

    /// The line that decides on the hash size that the module is loaded with, or that a script sets later.
    pub fn hashsize(&self) -> Option<Assignment> {
        self.settings.decisive(HASHSIZE, false)
    }

    /// The hash size that the module is loaded with.
    pub fn hashsize_of_module(&self) -> Option<Assignment> {
        let all = self.hashsize()?;
        let overrides = all.overrides.clone();
        [all].into_iter().chain(overrides).find(|line| line.stage == Stage::Module)
    }

    /// The maximum that follows from the hash size that the module is loaded with, and the line of that: it is in force
    /// where nothing sets the maximum.
    pub fn max_of_hashsize(&self) -> Option<(u64, Assignment)> {
        let line = self.hashsize_of_module()?;
        let buckets = line.number().filter(|buckets| *buckets > 0)?;
        let max = defaults::maxima(defaults::round_up(buckets), true).first().copied()?;
        Some((max, line))
    }

    /// Whether an option of modprobe.d gives the setting `name`, such as `nf_conntrack_acct`, its first value.
    pub fn sets_parameter(&self, name: &str) -> bool {
        match name {
            "nf_conntrack_acct" => self.modprobe.sets("acct"),
            "nf_conntrack_timestamp" => self.modprobe.sets("tstamp"),
            _ => false,
        }
    }

    /// The line that decides on the number of buckets: [`Boot::hashsize`], or the sysctl nf_conntrack_buckets where
    /// that is applied later.
    pub fn buckets(&self) -> Option<Assignment> {
        let sysctl =
            self.sysctl("net.netfilter.nf_conntrack_buckets").filter(|set| self.effect(set) == Effect::Applied);
        match (sysctl, self.hashsize()) {
            (Some(sysctl), Some(hashsize)) if hashsize.stage > sysctl.stage => Some(hashsize),
            (sysctl, hashsize) => sysctl.or(hashsize),
        }
    }

    /// The programs that write the sysctl `name`, such as `net.netfilter.nf_conntrack_max`, while the host runs.
    pub fn writers_of<'b>(&'b self, name: &'b str) -> impl Iterator<Item = &'b Writer> {
        self.writers.iter().filter(move |writer| writer.assignment.canonical() == name)
    }

    /// What a boot does with a line of [`Boot::sysctl`] or [`Boot::hashsize`].
    pub fn effect(&self, assignment: &Assignment) -> Effect {
        if assignment.number().is_none() && !assignment.is_computed() {
            return Effect::Refused;
        }
        match (&self.loading, assignment.stage) {
            (_, Stage::Module | Stage::Service | Stage::Script) => Effect::Applied,
            (Loading::BuiltIn { .. } | Loading::Before(_) | Loading::AppliedOnLoad(_), Stage::Sysctl) => {
                Effect::Applied
            }
            (Loading::Later(_), Stage::Sysctl) => Effect::TooEarly,
            (Loading::Unknown, Stage::Sysctl) => Effect::Unknown,
        }
    }

    /// Every sysctl of conntrack that the boot sets, each with the line that decides, by name.
    pub fn conntrack_sysctls(&self) -> Vec<Assignment> {
        let names = self.settings.names();
        names.iter().filter(|name| name.starts_with(CONNTRACK)).filter_map(|name| self.sysctl(name)).collect()
    }
}
