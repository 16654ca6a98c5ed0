//! The sums of a stream since its beginning.

use std::collections::BTreeMap;

use ctnl::model::Undecided;

/// Sums since the stream began.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Totals {
    /// Events received.
    pub received: u64,
    /// Events of entries that match the filter, or that had a record before.
    pub matched: u64,
    /// Events lost in the kernel, as far as it counted them.
    pub lost: u64,
    /// Losses that the kernel did not count: each is of an unknown number of events.
    pub uncounted_losses: u64,
    /// Messages that could not be decoded.
    pub unreadable: u64,
    /// Events for which the filter could not be decided, by reason.
    pub undecided: BTreeMap<Undecided, u64>,
}
