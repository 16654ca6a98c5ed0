//! What the set yields: its entries, and the effects of events and dumps.

use crate::model::Flow;

/// When an entry was created, ns of `CLOCK_REALTIME`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Start {
    /// The kernel's start time (`nf_conntrack_timestamp=1` when the entry was created).
    Kernel(u64),
    /// The kernel's time of its `new` event (Linux 6.14).
    Event(u64),
    /// Its `new` event was received at `before`, and every event that was sent until `after` had been
    /// received by then. Kept in milliseconds, rounded outwards.
    Between {
        /// It was created after this time.
        after: u64,
        /// And before this time.
        before: u64,
    },
    /// It existed at this time; created earlier.
    Before(u64),
}

impl Start {
    /// The kernel's start time, or `fallback` where the flow has none.
    #[must_use]
    pub fn of(flow: &Flow, fallback: Start) -> Self {
        flow.start.map_or(fallback, Start::Kernel)
    }
}

/// An entry of the set, with what is stored of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LiveEntry {
    /// Tuples, zone, id and status; the other fields are not stored.
    pub flow: Flow,
    /// When the entry was created.
    pub start: Start,
}

/// The effect of a `new` event on the set.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NewOutcome {
    /// The entry was not in the set, and is now.
    New,
    /// The entry was in the set, by the dump or by an earlier delivery of this event.
    Known,
    /// An earlier entry of the same tuple was in the set. Its `destroy` event was lost, and
    /// its end is to be reported before the new entry.
    Recreated(Box<LiveEntry>),
    /// The entry has `IPS_DYING`: its `destroy` event may have been read before. It is not in
    /// the set. Some: an earlier entry of the same tuple was, and its end is to be reported.
    Dying(Option<Box<LiveEntry>>),
}

/// The effect of an entry of a dump on the set.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DumpOutcome {
    /// The entry is in the set.
    Known,
    /// The entry has ended: its `destroy` event was read after the dump contained it.
    Stale,
    /// The entry is not in the set. [`Live::insert_dumped`](super::Live::insert_dumped) inserts it.
    Unknown,
    /// An earlier entry of the same tuple was in the set and is removed from it. Its end is
    /// to be reported before the new entry.
    Recreated(Box<LiveEntry>),
}

/// The entries of the set that a dump contained and of which no event was received.
///
/// With `nf_conntrack_events=2`, an entry that was created while nobody was subscribed sends no event
/// for life, also none of its end (`nf_ct_ecache_ext_add` in net/netfilter/nf_conntrack_ecache.c). A
/// dump does not show which entries these are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Silent {
    /// Their number.
    pub entries: usize,
    /// The longest remaining timeout among them at the time of the dump, in seconds: without further
    /// packets, all of them have expired after this time.
    pub longest_timeout: u32,
}
