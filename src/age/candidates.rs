//! The timeouts that the last packet of a flow may have set.

use super::Idle;
use crate::model::Undecided;

/// The timeouts that the last packet may have set, or why they are not known.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Candidates {
    /// In seconds, ascending, without duplicates.
    OneOf(Box<[u32]>),
    /// The same, and those of them that a program wrote into entries and no packet sets.
    OrWritten(Box<[u32]>, Box<[u32]>),
    /// They are not known.
    None(Undecided),
}

impl Candidates {
    pub(super) fn of(mut seconds: Vec<u32>) -> Self {
        seconds.sort_unstable();
        seconds.dedup();
        Candidates::OneOf(seconds.into())
    }

    /// The candidates and `written`, the timeouts that a program wrote into entries. One that is
    /// longer than every other is left out: it could explain a remaining timeout that no setting of
    /// the kernel explains, and it makes no estimate smaller.
    pub(super) fn and_written(self, written: &[u32]) -> Self {
        let Candidates::OneOf(seconds) = self else { return self };
        let longest = seconds.last().copied().unwrap_or(0);
        let is_new = |written: &u32| *written < longest && !seconds.contains(written);
        let written: Box<[u32]> = written.iter().copied().filter(is_new).collect();
        if written.is_empty() {
            return Candidates::OneOf(seconds);
        }
        let mut all: Vec<u32> = seconds.iter().chain(&written).copied().collect();
        all.sort_unstable();
        all.dedup();
        Candidates::OrWritten(all.into(), written)
    }

    /// The idle time of a flow whose remaining timeout is `left` seconds.
    ///
    /// With timeout C and R = floor(remaining), the idle time lies in (C-R-1, C-R]. A timeout shorter
    /// than R cannot have been set.
    #[inline]
    pub(super) fn estimate(&self, left: u32) -> Idle {
        let seconds = match self {
            Candidates::OneOf(seconds) | Candidates::OrWritten(seconds, _) => seconds,
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
            Some(_) => Idle::AtLeast(at_least, self.why_ambiguous(*shortest)),
        }
    }

    /// Why the idle time is that of `shortest` at least.
    fn why_ambiguous(&self, shortest: u32) -> Undecided {
        match self {
            Candidates::OrWritten(_, written) if written.contains(&shortest) => Undecided::WrittenTimeout,
            _ => Undecided::AmbiguousTimeout,
        }
    }

    /// The same for a flow that may have been in a flowtable: packets that are forwarded there do not
    /// refresh the timeout, and after the teardown (`flow_offload_fixup_ct` in
    /// net/netfilter/nf_flow_table_core.c) the remaining timeout is not that of a packet.
    #[inline]
    pub(super) fn estimate_beside(&self, left: u32, flowtables: bool) -> Idle {
        match (self.estimate(left), flowtables) {
            (idle, false) | (idle @ Idle::Unknown(_), true) => idle,
            (_, true) => Idle::Unknown(Undecided::Flowtable),
        }
    }
}
