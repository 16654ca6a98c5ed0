//! How long a connection lasted, and how certain that is.

use super::record::{Since, Stamp, Synthetic};

/// How long a connection lasted, in nanoseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Span {
    /// Both ends are known.
    Exactly(u64),
    /// It was there already when it was seen first.
    AtLeast(u64),
    /// It ended at some time before it was missed.
    AtMost(u64),
}

/// From `since` to `end`; None where neither bound is known. A clock that was set
/// back meanwhile makes it 0.
#[inline]
pub(super) fn duration(since: Option<Since>, end: Stamp, synthetic: Option<Synthetic>) -> Option<Span> {
    match (since?, synthetic) {
        (Since::Exactly(start), None) => Some(Span::Exactly(end.ns.saturating_sub(start))),
        (Since::Exactly(start), Some(_)) => Some(Span::AtMost(end.ns.saturating_sub(start))),
        (Since::Before(start), None) => Some(Span::AtLeast(end.ns.saturating_sub(start))),
        (Since::Before(_), Some(_)) => None,
    }
}
