//! The number of entries before and after the window.

use ctnl::host::Host;
use ctnl::table::Occupancy;
use ctnl::units::Nanos;

/// Two samples of the number of entries.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct OccupancyChange {
    /// The first sample.
    pub before: Occupancy,
    /// The second one.
    pub after: Occupancy,
    /// The time between them.
    pub span: Nanos,
}

/// With the maximum of the sysctl, where the kernel has not sent one: before Linux 4.19. It is the same for all
/// namespaces.
pub fn with_maximum(host: &Host, occupancy: Occupancy) -> Occupancy {
    let sysctl = || host.netfilter().read_text("nf_conntrack_max").ok()?.parse().ok();
    Occupancy { max: occupancy.max.or_else(sysctl), ..occupancy }
}

impl OccupancyChange {
    /// The larger number of entries of both samples.
    pub fn peak(&self) -> u64 {
        self.before.entries.max(self.after.entries).into()
    }

    /// Whether so many percent of the maximum were in use; never where there is no maximum.
    pub fn is_at(&self, share: u64) -> bool {
        let max = self.after.max.map_or(0, u64::from);
        max > 0 && self.peak().saturating_mul(100) >= max.saturating_mul(share)
    }

    /// Entries now.
    pub fn entries(&self) -> u64 {
        self.after.entries.into()
    }

    /// What the number of entries grew by; negative where it shrank.
    pub fn growth(&self) -> i64 {
        i64::from(self.after.entries) - i64::from(self.before.entries)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::doctor::made_up::MadeUpHost;

    #[test]
    fn an_older_kernel_has_the_maximum_of_the_sysctl() {
        let mut host = MadeUpHost::new();
        let host = host.sysctl("nf_conntrack_max", 1_000).host();
        let max = |max| with_maximum(&host, Occupancy { entries: 1, max }).max;
        assert_eq!((max(None), max(Some(0)), max(Some(7))), (Some(1_000), Some(0), Some(7)));
        assert_eq!(with_maximum(&MadeUpHost::new().host(), Occupancy { entries: 1, max: None }).max, None);
    }
}
