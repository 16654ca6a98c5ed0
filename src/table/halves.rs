//! The table in two halves, dumped over two sockets on two processors: 0.52 to 0.65 of one dump.
//!
//! Two kernel filters that exclude each other split the table: ASSURED, and not. Every entry is in one
//! half, except one whose bit changes during the dumps: it may come in both, or in none. Such an entry is
//! active at that moment. A kernel that ignores the filter (before 5.15) sends the whole table twice;
//! [`SharedDedup`] finds the repetitions.

use std::sync::{Mutex, PoisonError};

use foldhash::fast::RandomState;

use super::dedup_set::{DedupSet, hash_of};
use super::dump::DumpRequest;
use super::kernel_filter::Masked;
use crate::model::{Flow, Status};

impl DumpRequest {
    /// This request in two halves. `None` if it filters by status bits already.
    #[must_use]
    pub fn halves(self) -> Option<[DumpRequest; 2]> {
        if self.filter.status.is_some() {
            return None;
        }
        let bit = Status::Assured.bits();
        Some([bit, 0].map(|value| {
            let mut half = self;
            half.filter.status = Some(Masked { value, mask: bit });
            half
        }))
    }
}

/// The entries of both halves, as 64-bit hashes: some 10 bytes for each.
///
/// The hashes that one half inserted are in the other processor's cache; fetching them one by one cost
/// more than decoding and formatting together. So the entries of a whole datagram are inserted at once:
/// the processor waits for many cache lines at a time.
#[derive(Debug)]
pub struct SharedDedup {
    hasher: RandomState,
    entries: Mutex<DedupSet>,
}

/// Bits for each expected entry of both halves.
const BITS: u64 = 8;
const LISTS: usize = 2048;

impl SharedDedup {
    /// An empty set with capacity for `expected` entries. More may be inserted; they take longer.
    #[must_use]
    pub fn with_capacity(expected: u64) -> Self {
        let entries = DedupSet::new(expected.min(1 << 40) * BITS, LISTS);
        SharedDedup { hasher: RandomState::default(), entries: Mutex::new(entries) }
    }

    /// The identity of an entry: a hash of its tuple and zone. In a table of a million, two entries share
    /// one once in some 40 million dumps.
    #[must_use]
    #[inline]
    pub fn hash(&self, flow: &Flow) -> u64 {
        hash_of(flow, &self.hasher)
    }

    /// Inserts the entries of a datagram, and calls `repeated` with the index of each that was inserted
    /// before.
    pub fn insert_batch(&self, hashes: &[u64], mut repeated: impl FnMut(usize)) {
        let mut entries = self.entries.lock().unwrap_or_else(PoisonError::into_inner);
        for (place, hash) in hashes.iter().enumerate() {
            if !entries.insert(*hash) {
                repeated(place);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::ops::Range;
    use std::thread;

    use super::*;
    use crate::table::dedup_set::numbered as flow;

    /// How many of `numbers` are new, `at_once` of them at a time.
    fn new(seen: &SharedDedup, numbers: Range<u32>, at_once: usize) -> Vec<u32> {
        let numbers: Vec<u32> = numbers.collect();
        let mut new = Vec::new();
        for datagram in numbers.chunks(at_once) {
            let hashes: Vec<u64> = datagram.iter().map(|number| seen.hash(&flow(*number))).collect();
            let mut repeated = Vec::new();
            seen.insert_batch(&hashes, |place| repeated.push(place));
            new.extend(datagram.iter().enumerate().filter(|(place, _)| !repeated.contains(place)).map(|(_, n)| *n));
        }
        new
    }

    #[test]
    fn an_entry_of_one_half_is_repeated_in_the_other_also_beyond_the_capacity() {
        for (expected, at_once) in [(0, 1), (100, 135), (20_000, 7)] {
            let seen = SharedDedup::with_capacity(expected);
            assert_eq!(new(&seen, 0..10_000, at_once).len(), 10_000);
            assert_eq!(new(&seen, 5_000..20_000, at_once), (10_000..20_000).collect::<Vec<_>>());
            assert!(new(&seen, 0..20_000, at_once).is_empty());
        }
    }

    #[test]
    fn two_threads_at_once_insert_each_entry_once() {
        for expected in [0, 100, 20_000] {
            let seen = SharedDedup::with_capacity(expected);
            let mut all = thread::scope(|scope| {
                let other = scope.spawn(|| new(&seen, 5_000..20_000, 135));
                [new(&seen, 0..15_000, 135), other.join().unwrap_or_default()].concat()
            });
            all.sort_unstable();
            assert!(all.into_iter().eq(0..20_000), "{expected}");
        }
    }

    #[test]
    fn the_same_tuple_in_another_zone_is_another_entry() {
        let seen = SharedDedup::with_capacity(8);
        let zoned = Flow { zone_both: Some(5), ..flow(1) };
        let mut repeated = Vec::new();
        let hashes = [&flow(1), &zoned, &flow(1), &zoned].map(|flow| seen.hash(flow));
        seen.insert_batch(&hashes, |place| repeated.push(place));
        assert_eq!(repeated, [2, 3]);
    }
}
