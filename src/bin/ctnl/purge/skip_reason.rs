//! Entries that match and are skipped.

use ctnl::model::{Flow, Status};
use ctnl::table::{NotDeletable, Target};

/// Why an entry that matches is skipped.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum SkipReason {
    /// A delete cannot identify the entry.
    NotDeletable(NotDeletable),
    /// Linux 5.10 would set the short timeout, and no packet would restore the old one: see
    /// `IPS_FIXED_TIMEOUT_BIT` in `__nf_ct_refresh_acct` in net/netfilter/nf_conntrack_core.c.
    FixedTimeout,
    /// The kernel sets the timeout of an offloaded flow to a day again (`nf_ct_offload_timeout`, called by
    /// `gc_worker` in net/netfilter/nf_conntrack_core.c; in newer kernels by nf_flow_table_core.c).
    Offloaded,
}

impl SkipReason {
    /// The reason as one word, for summaries.
    pub fn name(self) -> &'static str {
        match self {
            SkipReason::NotDeletable(why) => why.name(),
            SkipReason::FixedTimeout => "fixed-timeout",
            SkipReason::Offloaded => "offloaded",
        }
    }
}

/// The target of `flow`, or why it is skipped.
pub fn target(flow: &Flow, is_soft: bool) -> Result<Target, SkipReason> {
    if is_soft && flow.status.contains(Status::FixedTimeout) {
        return Err(SkipReason::FixedTimeout);
    }
    if is_soft && flow.is_offloaded() {
        return Err(SkipReason::Offloaded);
    }
    Target::of(flow).map_err(SkipReason::NotDeletable)
}
