//! The idle time and the age of a flow, each with its certainty.
//!
//! conntrack stores no last-packet time. It stores when an entry expires: each packet that the tracker
//! accepts sets that to now + C (`__nf_ct_refresh_acct` in net/netfilter/nf_conntrack_core.c), where C
//! depends on protocol and state. A flow whose remaining timeout is R has been idle for C - R. The result
//! is a lower bound that is certain, or undecided: where several C are possible the shortest counts, and
//! where R does not depend on packets (offloaded, fixed, bound to a policy, set by a helper or by a
//! program over netlink, kept from the creation) the idle time is undecided.
//!
//! ```no_run
//! use ctnl::age::{IdleEstimator, TimeoutContext};
//! use ctnl::host::Host;
//! use ctnl::model::Flow;
//! use ctnl::netlink::{Connection, Netns};
//!
//! let (host, mut connection) = (Host::system(), Connection::open(&Netns::Current)?);
//! let context = TimeoutContext::read(&mut connection, &host.netfilter(), &host.kernel(), Vec::new())?;
//! let estimator = IdleEstimator::new(&context, host.clock.now().realtime.0);
//! let has_been_idle_for_an_hour = |flow: &Flow| estimator.idle(flow).at_least() >= Some(3600);
//! # let _ = has_been_idle_for_an_hour(&Flow::blank());
//! # Ok::<(), ctnl::netlink::Error>(())
//! ```
//!
//! `candidates` has the arithmetic, `idle` the timeouts that each flow may have, `previous_timeout` parses
//! `--base-timeout`, `context` reads the settings from the kernel, `confirm` compares two samples.
//!
//! # What a single sample cannot show
//! - **A sysctl that was raised.** An entry keeps the expiry that its last packet set. After
//!   `nf_conntrack_tcp_timeout_established` goes from 3600 to 432000, a flow with traffic appears idle for
//!   nearly five days until its next packet. Remedies: `--base-timeout tcp.established=3600`,
//!   `--confirm-idle`, or to wait. A change between two reads of the settings is covered by
//!   [`TimeoutContext::merge`].
//! - **A sysctl that was lowered.** Entries whose remaining timeout exceeds the current value are
//!   undecided ([`Undecided::LongerThanSysctl`]) until `--base-timeout` gives the earlier one. For the
//!   others the lower bound holds, [`Idle::Exact`]'s `at_most` does not. Lowering what replaces
//!   ESTABLISHED's timeout (`unacknowledged`, `max_retrans`, `close`) from a value that is not the
//!   kernel's default is like raising: a flow with unanswered keepalives appears idle until its next packet.
//! - **A timeout written by another program**: `conntrack -U -t`, nfqueue programs, BPF. The first packet
//!   after that sets the kernel's timeout again. The same holds for a timeout policy or a helper that was
//!   removed, for flows that left a tc flowtable, and for entries that BPF created (`bpf_ct_insert_entry`)
//!   or that a kernel without CONFIG_NETFILTER_SYNPROXY created over netlink: those have no mark. Where
//!   the age is known, an estimate that exceeds it is undecided ([`Undecided::LongerThanAge`]).
//! - **Packets that the tracker did not accept**: invalid, out of the window, or of a flow in a flowtable.
//!   They do not count as activity.
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
pub use confirm::{Confirmed, IdleConfirmation};
pub use previous_timeout::{PreviousTimeout, PreviousTimeoutError, PreviousTimeoutErrorKind};

use std::ops::Range;

use crate::model::{Flow, Policies, Timeouts, Undecided};
use crate::units::Seconds;

/// Time since the last packet that the tracker accepted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Idle {
    /// Known to the second: between both, in seconds.
    Exact {
        /// Lower bound, certain.
        at_least: u32,
        /// Upper bound, unless a sysctl was lowered since the last packet.
        at_most: u32,
    },
    /// A lower bound in seconds that is certain; the idle time may be much longer.
    AtLeast(u32, Undecided),
    /// Undecided.
    Unknown(Undecided),
}

impl Idle {
    /// The lower bound in seconds.
    #[must_use]
    pub fn at_least(self) -> Option<u32> {
        match self {
            Idle::Exact { at_least, .. } => Some(at_least),
            Idle::AtLeast(seconds, _) => Some(seconds),
            Idle::Unknown(_) => None,
        }
    }

    /// The idle time after two samples have shown that there was no packet for `seconds`.
    #[must_use]
    pub fn confirmed(self, seconds: u32) -> Self {
        match self {
            Idle::Exact { at_least, at_most } if seconds <= at_most => {
                Idle::Exact { at_least: at_least.max(seconds), at_most }
            }
            // Longer than the timeout allows: it was another one than the current value.
            Idle::Exact { .. } => Idle::AtLeast(seconds, Undecided::LongerThanSysctl),
            Idle::AtLeast(at_least, reason) => Idle::AtLeast(at_least.max(seconds), reason),
            Idle::Unknown(reason) => Idle::AtLeast(seconds, reason),
        }
    }
}

/// Time since the entry was created.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Age {
    /// Seconds, rounded down.
    Known(u64),
    /// Not known.
    Unknown(Undecided),
}

/// The settings of a namespace that idle times depend on.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct TimeoutContext {
    /// The current timeouts.
    pub timeouts: Timeouts,
    /// Timeouts that other reads returned: see [`TimeoutContext::merge`].
    pub merged_timeouts: Vec<Timeouts>,
    /// Protocols of which some flows may be bound to a timeout policy.
    pub policies: Policies,
    /// Timeouts that were in force earlier (`--base-timeout`).
    pub previous_timeouts: Vec<PreviousTimeout>,
    /// Timeouts that a program wrote into entries of the namespace, and which may still be in force.
    pub written: Vec<Seconds>,
    /// Whether `written` could not be read. Idle times are then [`Undecided::UnknownWrittenTimeouts`].
    pub unknown_written_timeouts: bool,
    /// Whether entries that were made over netlink have the timeouts of the kernel's settings
    /// (`--trust-netlink-timeouts`). Otherwise their idle time is [`Undecided::MadeOverNetlink`].
    pub trust_netlink_timeouts: bool,
    /// A UDP flow becomes ASSURED only together with the timeout of streams:
    /// since Linux 5.16 (`nf_conntrack_udp_packet`). Before that it did at its second exchange, while
    /// the shorter timeout was still in force.
    pub assured_udp_is_stream: bool,
}

impl TimeoutContext {
    /// The settings of two reads, between which an entry was sampled. A timeout of either may have been
    /// set by its last packet, so the smallest candidate of both counts; what makes an idle time undecided
    /// in one of them makes it undecided.
    #[must_use]
    pub fn merge(&self, other: &Self) -> Self {
        let mut merged = self.clone();
        for timeouts in std::iter::once(&other.timeouts).chain(&other.merged_timeouts) {
            add_new(&mut merged.merged_timeouts, timeouts.clone());
        }
        merged.merged_timeouts.retain(|timeouts| *timeouts != self.timeouts);
        for (family, protocol) in other.policies.iter() {
            merged.policies.add(family, protocol);
        }
        merged.policies.flowtables |= other.policies.flowtables;
        other.previous_timeouts.iter().for_each(|previous| add_new(&mut merged.previous_timeouts, *previous));
        other.written.iter().for_each(|written| add_new(&mut merged.written, *written));
        merged.unknown_written_timeouts |= other.unknown_written_timeouts;
        merged.trust_netlink_timeouts &= other.trust_netlink_timeouts;
        merged.assured_udp_is_stream &= other.assured_udp_is_stream;
        merged
    }
}

fn add_new<T: PartialEq>(list: &mut Vec<T>, item: T) {
    if !list.contains(&item) {
        list.push(item);
    }
}

/// Computes the idle time and the age of flows.
#[derive(Debug, Clone)]
pub struct IdleEstimator {
    /// `CLOCK_REALTIME` of the dump, in nanoseconds.
    pub now: u64,
    table: idle::Table,
}

/// An entry may be created while the dump runs, after the clock was read.
const CREATED_DURING_DUMP: u64 = 10 * NANOSECONDS;
const NANOSECONDS: u64 = 1_000_000_000;

impl IdleEstimator {
    /// An estimator for a namespace with the settings `context`, at `now` (nanoseconds of
    /// `CLOCK_REALTIME`).
    #[must_use]
    pub fn new(context: &TimeoutContext, now: u64) -> Self {
        IdleEstimator { now, table: idle::Table::new(context) }
    }

    /// An estimator without timeouts: idle times are undecided.
    #[must_use]
    pub fn without_timeouts(now: u64) -> Self {
        IdleEstimator::new(&TimeoutContext::default(), now)
    }

    /// The idle time of `flow`. It does not exceed the age, where that is known.
    #[inline]
    #[must_use]
    pub fn idle(&self, flow: &Flow) -> Idle {
        let idle = self.table.idle(flow);
        match flow.start {
            None => idle,
            Some(_) => self.within_age(idle, flow),
        }
    }

    /// The idle time of `flow` if `left` seconds of its timeout remain, for an event that omits a timeout
    /// of 0. It may exceed the age.
    #[must_use]
    pub fn idle_with_timeout(&self, flow: &Flow, left: Seconds) -> Idle {
        self.table.idle_with_timeout(flow, Some(u32::try_from(left.0).unwrap_or(u32::MAX)))
    }

    /// An estimate that exceeds the age by more than the uncertainty of the age is of a timeout that no
    /// packet has set.
    fn within_age(&self, idle: Idle, flow: &Flow) -> Idle {
        let (Age::Known(age), Some(at_least)) = (self.age(flow), idle.at_least()) else {
            return idle;
        };
        if u64::from(at_least) > age.saturating_add(CREATED_DURING_DUMP / NANOSECONDS) {
            return Idle::Unknown(Undecided::LongerThanAge);
        }
        let age = u32::try_from(age).unwrap_or(u32::MAX);
        match idle {
            Idle::Exact { at_least, at_most } => Idle::Exact { at_least: at_least.min(age), at_most: at_most.min(age) },
            Idle::AtLeast(at_least, reason) => Idle::AtLeast(at_least.min(age), reason),
            Idle::Unknown(_) => idle,
        }
    }

    /// Whether a packet of `flow` may set a timeout of so many seconds, by the current settings and by those
    /// of merged contexts; true where none is known.
    pub(crate) fn may_set_timeout(&self, flow: &Flow, seconds: Range<u32>) -> bool {
        self.table.may_set_timeout(flow, &seconds)
    }

    /// The age of `flow`. A clock that was set since then distorts it; only one that was set back
    /// can be detected.
    #[must_use]
    pub fn age(&self, flow: &Flow) -> Age {
        let Some(start) = flow.start else {
            return Age::Unknown(Undecided::NoTimestamp);
        };
        if start > self.now.saturating_add(CREATED_DURING_DUMP) {
            return Age::Unknown(Undecided::ClockStep);
        }
        Age::Known(self.now.saturating_sub(start) / NANOSECONDS)
    }
}
