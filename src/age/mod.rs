//! Floor 4, how long a flow has been idle and how old it is, each with its
//! certainty.

use crate::model::{Flow, Undecided};

/// Time since the last packet that the tracker accepted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Idle {
    /// Known to the second: the truth lies between both, in seconds.
    Exact {
        /// Idle for this long for certain.
        at_least: u32,
        /// And not longer than this.
        at_most: u32,
    },
    /// Idle for this many seconds for certain, perhaps much longer.
    AtLeast(u32, Undecided),
    /// Nothing is certain.
    Unknown(Undecided),
}

/// Time since the flow was made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Age {
    /// Seconds, rounded down.
    Known(u64),
    /// Not known.
    Unknown(Undecided),
}

/// What idle and age are computed from, besides the flow.
#[derive(Debug, Clone)]
pub struct Ages {
    /// `CLOCK_REALTIME` of the dump, in nanoseconds.
    pub now: u64,
}

impl Ages {
    /// How long `flow` has been idle.
    #[must_use]
    pub fn idle(&self, _flow: &Flow) -> Idle {
        Idle::Unknown(Undecided::UnknownTimeouts)
    }

    /// How old `flow` is.
    #[must_use]
    pub fn age(&self, flow: &Flow) -> Age {
        match flow.start {
            Some(start) => Age::Known(self.now.saturating_sub(start) / 1_000_000_000),
            None => Age::Unknown(Undecided::NoTimestamp),
        }
    }
}
