//! Find entries that the kernel sends twice, in constant memory and in 1.3 % of the time of a list: 8 KiB
//! of bits that stay in the first cache.
//!
//! The next datagram of a dump continues at the entry that did not fit. If that entry no longer exists,
//! the kernel starts its bucket again (`ctnetlink_dump_table` in
//! net/netfilter/nf_conntrack_netlink.c). So a repeated entry comes shortly after its first time, within
//! one bucket, and is among the last entries.

use foldhash::fast::RandomState;

use super::dedup_set::{DedupSet, hash_of};
use crate::model::Flow;

/// Entries in one of the two sets. Newer kernels limit a bucket to some 80 entries
/// (`nf_conntrack_hash_check_insert` in net/netfilter/nf_conntrack_core.c); older ones, with many entries
/// in few buckets, were seen with hundreds.
const HALF: usize = 1024;
/// Bits for each of them.
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

    /// Inserts `flow`. True if it was among the last entries already.
    ///
    /// An entry is identified by a 64-bit hash of its tuple and zone: two of the last entries share it
    /// once in 10^16.
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
    fn each_of_the_last_1024_entries_is_found_and_no_new_one() {
        let mut recent = RecentEntries::new();
        for number in 0..10_000 {
            assert!(!recent.contains_or_insert(&flow(number)), "{number} is new");
            for back in [0, 1, 100, 1023] {
                let known = number.checked_sub(back).is_none_or(|earlier| recent.contains_or_insert(&flow(earlier)));
                assert!(known, "{number} - {back}");
            }
        }
        assert!(!recent.contains_or_insert(&flow(7000)), "long ago");
    }

    #[test]
    fn the_same_tuple_in_another_zone_is_another_entry() {
        let mut recent = RecentEntries::new();
        let zoned = Flow { zone_both: Some(5), ..flow(1) };
        let known = [&flow(1), &zoned, &flow(1), &zoned].map(|flow| recent.contains_or_insert(flow));
        assert_eq!(known, [false, false, true, true]);
    }

    #[test]
    fn tuples_with_an_unknown_part_are_distinguished_by_the_id() {
        let mut recent = RecentEntries::new();
        let unknown = |id| {
            let tuple = Tuple { has_unknown_part: true, ..Tuple::UNSPECIFIED };
            Flow { id: Some(id), ..Flow::new(tuple, tuple) }
        };
        let known = [1, 2, 1, 2].map(|id| recent.contains_or_insert(&unknown(id)));
        assert_eq!(known, [false, false, true, true]);
    }
}
