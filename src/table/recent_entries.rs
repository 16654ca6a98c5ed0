//! Entries that the kernel sends twice are counted once.
//!
//! A dump goes on, in its next datagram, from the entry that did not fit. When
//! that entry is gone by then, the kernel starts its bucket again. What comes
//! twice is therefore close behind its first time, within one bucket, and a
//! window over the last entries finds it in constant memory.

use foldhash::fast::RandomState;

use super::dedup_set::{DedupSet, hash_of};
use crate::model::Flow;

/// Entries in half a window. Newer kernels keep buckets under some 80 entries;
/// older ones, with many entries to few buckets, have been seen with hundreds.
const HALF: usize = 1024;
/// Bits for each of them: those of both halves are 8 KiB, and stay in the first cache.
const BITS: usize = 32;
const LISTS: usize = 16;

/// The last 1024 to 2047 entries of a dump.
#[derive(Debug)]
pub(super) struct RecentEntries {
    hasher: RandomState,
    newer: DedupSet,
    in_newer: usize,
    older: DedupSet,
}

impl RecentEntries {
    pub(super) fn new() -> Self {
        let half = || DedupSet::new((HALF * BITS) as u64, LISTS);
        RecentEntries { hasher: RandomState::default(), newer: half(), in_newer: 0, older: half() }
    }

    /// Takes `flow` in; true when it was in the window already.
    ///
    /// A tuple and its zone stand for the entry, by a 64-bit hash: two entries in
    /// one window share it once in 10^16.
    #[inline]
    pub(super) fn contains_or_insert(&mut self, flow: &Flow) -> bool {
        let hash = hash_of(flow, &self.hasher);
        if self.older.contains(hash) || !self.newer.insert(hash) {
            return true;
        }
        self.in_newer += 1;
        if self.in_newer == HALF {
            self.rotate();
        }
        false
    }

    #[cold]
    fn rotate(&mut self) {
        std::mem::swap(&mut self.newer, &mut self.older);
        self.newer.clear();
        self.in_newer = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Tuple;
    use crate::table::dedup_set::numbered as flow;

    #[test]
    fn each_of_the_last_1024_entries_is_known_again_and_none_that_is_new() {
        let mut window = RecentEntries::new();
        for number in 0..10_000 {
            assert!(!window.contains_or_insert(&flow(number)), "{number} is new");
            for back in [0, 1, 100, 1023] {
                let known = number.checked_sub(back).is_none_or(|earlier| window.contains_or_insert(&flow(earlier)));
                assert!(known, "{number} - {back}");
            }
        }
        assert!(!window.contains_or_insert(&flow(7000)), "long ago");
    }

    #[test]
    fn the_same_tuple_in_another_zone_is_another_entry() {
        let mut window = RecentEntries::new();
        let zoned = Flow { zone_both: Some(5), ..flow(1) };
        let known = [&flow(1), &zoned, &flow(1), &zoned].map(|flow| window.contains_or_insert(flow));
        assert_eq!(known, [false, false, true, true]);
    }

    #[test]
    fn tuples_that_may_differ_in_a_part_that_is_not_known_are_told_apart_by_the_id() {
        let mut window = RecentEntries::new();
        let unknown = |id| {
            let tuple = Tuple { has_unknown_part: true, ..Tuple::UNSPECIFIED };
            Flow { id: Some(id), ..Flow::new(tuple, tuple) }
        };
        let known = [1, 2, 1, 2].map(|id| window.contains_or_insert(&unknown(id)));
        assert_eq!(known, [false, false, true, true]);
    }
}
