//! The duration of a connection, exact or as a bound.

use super::record::{ClockSource, EventTime, StartTime, SyntheticCause};
use crate::units::Nanos;

/// The duration of a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum DurationNanos {
    /// Start and end are known.
    Exact(Nanos),
    /// It started before its entry was first seen.
    AtLeast(Nanos),
    /// It started after, or ended before, the time that is known.
    AtMost(Nanos),
}

/// The duration from `start` to `end`: None if neither bound is known, 0 if the clock was set back in
/// between. A time of receiving and the time of a synthetic record are those at the latest: an entry that
/// has expired ended before its event was sent.
#[inline]
pub(super) fn duration(
    start: Option<StartTime>,
    end: EventTime,
    synthetic: Option<SyntheticCause>,
) -> Option<DurationNanos> {
    let from = |start| Nanos(end.ns).since(Nanos(start));
    let is_exact = synthetic.is_none() && end.clock == ClockSource::Kernel;
    match (start?, is_exact) {
        (StartTime::Exact(start), true) => Some(DurationNanos::Exact(from(start))),
        (StartTime::Exact(start), false) | (StartTime::After(start), _) => Some(DurationNanos::AtMost(from(start))),
        (StartTime::Before(start), true) => Some(DurationNanos::AtLeast(from(start))),
        (StartTime::Before(_), false) => None,
    }
}
