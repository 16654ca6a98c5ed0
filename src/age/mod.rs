//! Floor 4, how long a flow has been idle and how old it is, each with its
//! certainty.
//!
//! The kernel keeps no time of the last packet. It keeps when an entry expires:
//! each packet that the tracker accepts sets that to now + C, where C depends on
//! protocol and state. So a flow with R seconds left has been idle for C - R.
//! What is said here is a lower bound that is certain, or that nothing is known:
//! where C is ambiguous the shortest counts, and where R says nothing about
//! packets (offloaded, fixed, bound to a policy, of a helper) neither do we.
//!
//! `candidates` is the arithmetic, `idle` says which timeouts each flow may have
//! had, `base` reads `--base-timeout`, `read` asks the kernel, `confirm` looks
//! twice.
//!
//! # What a single look cannot show
//! - **A sysctl that was raised.** An entry keeps the expiry that its last packet
//!   set. After `nf_conntrack_tcp_timeout_established` goes from 3600 to 432000,
//!   a busy flow looks idle for nearly five days until its next packet. Remedies:
//!   `--base-timeout tcp.established=3600`, or `--confirm-idle`, or to wait.
//! - **A sysctl that was lowered.** Entries with more time left than today's value
//!   are undecided ([`Undecided::LongerThanSysctl`]) until `--base-timeout` says
//!   the earlier value. Those with less left have been idle for longer than is
//!   said: the lower bound holds, [`Idle::Exact`]'s `at_most` does not.
//!   Lowering what replaces ESTABLISHED's timeout (`unacknowledged`,
//!   `max_retrans`, `close`) from a value that is not the kernel's default is like
//!   raising: a flow with unanswered keepalives looks idle until its next packet.
//! - **A timeout written by user space**: entries that conntrackd injected,
//!   `conntrack -U -t`, nfqueue programs, BPF. The first packet after that sets
//!   the entry right. The same goes for a timeout policy or a helper that is gone
//!   again, and for flows out of a tc flowtable.
//! - **Packets that the tracker did not accept**: invalid, out of the window, or
//!   of a flow in a flowtable. They do not count as activity.
//!
//! `--confirm-idle` is sound for all of these but the last.

mod candidates;
mod confirm;
mod context;
#[cfg(test)]
mod decision_table;
mod idle;
mod previous_timeout;
#[cfg(test)]
mod simulation;

pub use crate::table::SampledAt;
pub use confirm::{Confirm, Confirmed};
pub use previous_timeout::{PreviousTimeout, PreviousTimeoutError, PreviousTimeoutErrorKind};

use crate::model::{Flow, Policies, Timeouts, Undecided};

/// Time since the last packet that the tracker accepted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Idle {
    /// Known to the second: the truth lies between both, in seconds.
    Exact {
        /// Idle for this long for certain.
        at_least: u32,
        /// And not longer than this, unless a sysctl was lowered since the last packet.
        at_most: u32,
    },
    /// Idle for this many seconds for certain, perhaps much longer.
    AtLeast(u32, Undecided),
    /// Nothing is certain.
    Unknown(Undecided),
}

impl Idle {
    /// Seconds that the flow has been idle for certain.
    #[must_use]
    pub fn at_least(self) -> Option<u32> {
        match self {
            Idle::Exact { at_least, .. } => Some(at_least),
            Idle::AtLeast(seconds, _) => Some(seconds),
            Idle::Unknown(_) => None,
        }
    }
}

impl Idle {
    /// What is known after a second look has shown `seconds` without a packet.
    #[must_use]
    pub fn confirmed(self, seconds: u32) -> Self {
        match self {
            Idle::Exact { at_least, at_most } if seconds <= at_most => {
                Idle::Exact { at_least: at_least.max(seconds), at_most }
            }
            // Longer than the timeout allows: it was another one than today's.
            Idle::Exact { .. } => Idle::AtLeast(seconds, Undecided::LongerThanSysctl),
            Idle::AtLeast(at_least, reason) => Idle::AtLeast(at_least.max(seconds), reason),
            Idle::Unknown(reason) => Idle::AtLeast(seconds, reason),
        }
    }
}

/// Time since the flow was made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Age {
    /// Seconds, rounded down.
    Known(u64),
    /// Not known.
    Unknown(Undecided),
}

/// What is known of a namespace, for [`IdleEstimator`].
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct TimeoutContext {
    /// Today's timeouts.
    pub timeouts: Timeouts,
    /// Protocols some of whose flows may have timeouts of their own.
    pub policies: Policies,
    /// Timeouts that were in force earlier.
    pub previous_timeouts: Vec<PreviousTimeout>,
    /// A UDP flow becomes ASSURED only together with the timeout of streams:
    /// Linux 5.16. Before that it did at its second exchange, while the shorter
    /// timeout was still in force.
    pub assured_udp_is_stream: bool,
}

/// What idle and age are computed from, besides the flow.
#[derive(Debug, Clone)]
pub struct IdleEstimator {
    /// `CLOCK_REALTIME` of the dump, in nanoseconds.
    pub now: u64,
    table: idle::Table,
}

/// A flow may be made while the dump runs, after its clock was read.
const MADE_DURING_DUMP: u64 = 10 * NANOSECONDS;
const NANOSECONDS: u64 = 1_000_000_000;

impl IdleEstimator {
    /// IdleEstimator in a namespace of which `context` is known, at `now` (nanoseconds of
    /// `CLOCK_REALTIME`).
    #[must_use]
    pub fn new(context: &TimeoutContext, now: u64) -> Self {
        IdleEstimator { now, table: idle::Table::new(context) }
    }

    /// IdleEstimator where no timeout is known: idle times are undecided.
    #[must_use]
    pub fn without_timeouts(now: u64) -> Self {
        IdleEstimator::new(&TimeoutContext::default(), now)
    }

    /// How long `flow` has been idle.
    #[inline]
    #[must_use]
    pub fn idle(&self, flow: &Flow) -> Idle {
        self.table.idle(flow)
    }

    /// How old `flow` is. A clock that was set since distorts it, and only one
    /// that was set back can be seen.
    #[must_use]
    pub fn age(&self, flow: &Flow) -> Age {
        let Some(start) = flow.start else {
            return Age::Unknown(Undecided::NoTimestamp);
        };
        if start > self.now.saturating_add(MADE_DURING_DUMP) {
            return Age::Unknown(Undecided::ClockStep);
        }
        Age::Known(self.now.saturating_sub(start) / NANOSECONDS)
    }
}
