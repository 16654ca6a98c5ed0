//! The timeouts that may have been set by a flow's last packet.

use super::Idle;
use crate::model::Undecided;

/// Timeouts that the last packet may have set, or why they are not known.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Candidates {
    /// In seconds, ascending, each once.
    OneOf(Box<[u32]>),
    /// Nothing can be said.
    None(Undecided),
}

impl Candidates {
    pub(super) fn of(mut seconds: Vec<u32>) -> Self {
        seconds.sort_unstable();
        seconds.dedup();
        Candidates::OneOf(seconds.into())
    }

    /// Idle time of a flow that has `left` seconds left.
    ///
    /// With timeout C and R = floor(left), the truth lies in (C-R-1, C-R].
    /// Timeouts shorter than R cannot have been set.
    #[inline]
    pub(super) fn judge(&self, left: u32) -> Idle {
        let seconds = match self {
            Candidates::OneOf(seconds) => seconds,
            Candidates::None(reason) => return Idle::Unknown(*reason),
        };
        let mut possible = seconds.iter().filter(|timeout| **timeout >= left);
        let Some(shortest) = possible.next() else {
            return Idle::Unknown(Undecided::LongerThanSysctl);
        };
        let at_most = shortest.saturating_sub(left);
        let at_least = at_most.saturating_sub(1);
        match possible.next() {
            None => Idle::Exact { at_least, at_most },
            Some(_) => Idle::AtLeast(at_least, Undecided::AmbiguousTimeout),
        }
    }

    /// The same for a flow that may have been in a flowtable: what passes there does
    /// not refresh, and what comes back keeps what was left of its timeout.
    #[inline]
    pub(super) fn judge_beside(&self, left: u32, flowtables: bool) -> Idle {
        match (self.judge(left), flowtables) {
            (idle, false) | (idle @ Idle::Unknown(_), true) => idle,
            (_, true) => Idle::Unknown(Undecided::Flowtable),
        }
    }
}
