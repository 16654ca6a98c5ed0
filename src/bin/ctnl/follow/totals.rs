//! What has come and gone so far.

use std::collections::BTreeMap;
use std::time::Duration;

use ctnl::model::Undecided;

/// Sums since the stream began.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Totals {
    /// Events that were received.
    pub received: u64,
    /// Events that were lost in the kernel.
    pub lost: u64,
    /// Losses of which the kernel does not know the number.
    pub uncounted: u64,
    /// Events that could not be read.
    pub unreadable: u64,
    /// Events of which it is not certain whether they match, by reason.
    pub undecided: BTreeMap<Undecided, u64>,
}

/// How the stream stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Snapshot {
    /// Sums.
    pub totals: Totals,
    /// Records that were written.
    pub records: u64,
    /// Time since the snapshot before.
    pub interval: Duration,
    /// Events received since then.
    pub received: u64,
    /// Events lost since then.
    pub lost: u64,
    /// Bytes of the queues that are taken, all together.
    pub queued: u64,
    /// And that may be taken.
    pub capacity: u64,
    /// Entries that the consumer knows; None where they are not kept.
    pub entries: Option<u64>,
    /// Network namespaces.
    pub streams: usize,
}

impl Snapshot {
    /// Events a second.
    pub fn rate(&self) -> u64 {
        let milliseconds = self.interval.as_millis().max(1);
        u64::try_from(u128::from(self.received) * 1000 / milliseconds).unwrap_or(u64::MAX)
    }
}
