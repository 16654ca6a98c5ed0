//! What a boot sets, and what the kernel has chosen itself.

use std::fs;

use ctnl::host::Host;

use crate::host::boot::{Boot, defaults};
use crate::host::conntrack_module::ConntrackModule;

/// What the files of the host set at boot, and what is needed to compare it with the values now.
#[derive(Debug)]
pub struct BootEvidence {
    /// What a boot sets.
    pub boot: Boot,
    /// The module now.
    pub module: ConntrackModule,
    /// `MemTotal` in bytes, from which the kernel computes the size of the table.
    pub memory: Option<u64>,
    /// Whether the values now are those of the first network namespace, which the files of the host set. In others,
    /// the maxima and the buckets are the same; the other settings have the defaults of the kernel at first.
    pub is_first_netns: bool,
}

impl BootEvidence {
    /// Reads the files of `host`.
    pub fn read(host: &Host, is_first_netns: bool) -> Self {
        BootEvidence {
            boot: Boot::read(host),
            module: ConntrackModule::read(host),
            memory: memory(host),
            is_first_netns,
        }
    }

    /// The values that the setting `name`, such as `nf_conntrack_max`, may have after a boot that does not set it;
    /// empty where that is unknown.
    pub fn defaults(&self, name: &str) -> Vec<u64> {
        match name {
            "nf_conntrack_max" => self.default_maxima(),
            "nf_conntrack_buckets" => self.memory.map(defaults::buckets).unwrap_or_default(),
            _ => defaults::of(name),
        }
    }

    /// The maximum follows the hash size that the module is loaded with.
    fn default_maxima(&self) -> Vec<u64> {
        let given = self.boot.hashsize_of_module().and_then(|size| size.number());
        let sizes = match given {
            Some(size) => vec![defaults::round_up(size)],
            None => self.defaults("nf_conntrack_buckets"),
        };
        sizes.into_iter().flat_map(|size| defaults::maxima(size, given.is_some())).collect()
    }
}

fn memory(host: &Host) -> Option<u64> {
    let text = fs::read_to_string(host.path("/proc/meminfo")).ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix("MemTotal:"))?;
    line.split_whitespace().next()?.parse::<u64>().ok()?.checked_mul(1024)
}
