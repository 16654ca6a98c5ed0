//! The duration of a connection, exact or as a bound.

use super::record::{EventTime, StartTime, SyntheticCause};
use crate::units::Nanos;

/// The duration of a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum DurationNanos {
    /// Start and end are known.
    Exact(Nanos),
    /// It started before its entry was first seen.
    AtLeast(Nanos),
    /// It ended before a dump showed that its entry is missing.
    AtMost(Nanos),
}

/// The duration from `start` to `end`: None if neither bound is known, 0 if the clock was set back in
/// between.
#[inline]
pub(super) fn duration(
    start: Option<StartTime>,
    end: EventTime,
    synthetic: Option<SyntheticCause>,
) -> Option<DurationNanos> {
    let from = |start| Nanos(end.ns).since(Nanos(start));
    match (start?, synthetic) {
        (StartTime::Exact(start), None) => Some(DurationNanos::Exact(from(start))),
        (StartTime::Exact(start), Some(_)) => Some(DurationNanos::AtMost(from(start))),
        (StartTime::Before(start), None) => Some(DurationNanos::AtLeast(from(start))),
        (StartTime::Before(_), Some(_)) => None,
    }
}
