//! The duration of a connection, with the bound that is certain.

use super::record::{Since, Stamp, Synthetic};
use crate::units::Nanos;

/// The duration of a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum DurationNanos {
    /// Start and end are known.
    Exactly(Nanos),
    /// It started before it was first seen.
    AtLeast(Nanos),
    /// It ended before a snapshot showed that it is gone.
    AtMost(Nanos),
}

/// From `since` to `end`; None where neither bound is known, 0 where the clock was set back in between.
#[inline]
pub(super) fn duration(since: Option<Since>, end: Stamp, synthetic: Option<Synthetic>) -> Option<DurationNanos> {
    let from = |start| Nanos(end.ns).since(Nanos(start));
    match (since?, synthetic) {
        (Since::Exactly(start), None) => Some(DurationNanos::Exactly(from(start))),
        (Since::Exactly(start), Some(_)) => Some(DurationNanos::AtMost(from(start))),
        (Since::Before(start), None) => Some(DurationNanos::AtLeast(from(start))),
        (Since::Before(_), Some(_)) => None,
    }
}
