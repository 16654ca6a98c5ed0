//! The most frequent keys of a stream, counted in bounded memory.
//!
//! This is the algorithm of Misra and Gries ("Finding repeated elements", 1982) with the lowering of all counters done
//! in passes: each pass empties half of the table, so that its cost is spread over as many new keys.

use std::cmp::Reverse;
use std::hash::{BuildHasher, Hash};

use foldhash::fast::RandomState;
use hashbrown::HashTable;
use hashbrown::hash_table::Entry;

/// Counts of keys, of which those of the most frequent keys are known: at most so many counters as were given.
///
/// As long as there are no more keys than counters, every count is exact. A new key that exceeds that lowers all
/// counters by the median of them, and those that reach 0 are dropped. So [`FrequentItems::count`] is a lower
/// bound, which is too small by [`FrequentItems::error`] at most, and no key with a larger count than that is missing.
///
/// ```
/// use ctnl::group::FrequentItems;
///
/// let mut ports = FrequentItems::new(2);
/// for port in [443, 443, 80, 443, 22] {
///     ports.add(port);
/// }
/// // The third key lowered all by 1, which left 443 alone.
/// assert_eq!((ports.top(9), ports.error()), (vec![(443, 2)], 1));
/// ```
#[doc(alias = "Misra-Gries")]
#[doc(alias = "heavy hitters")]
#[derive(Debug, Clone)]
pub struct FrequentItems<K> {
    counters: HashTable<(K, u64)>,
    /// Seeded randomly, since the keys are chosen by whoever sends packets.
    hasher: RandomState,
    most: usize,
    error: u64,
    total: u64,
    /// The counters of a pass, to find their median.
    pass: Vec<u64>,
}

impl<K: Hash + Ord + Clone> FrequentItems<K> {
    /// At most `most` counters (at least 1). Memory grows with the keys up to that: a counter takes 8 bytes and a key,
    /// and the table is at most 7/8 full.
    #[must_use]
    pub fn new(most: usize) -> Self {
        let (counters, hasher) = (HashTable::new(), RandomState::default());
        FrequentItems { counters, hasher, most: most.max(1), error: 0, total: 0, pass: Vec::new() }
    }

    /// Counts `key` once.
    #[inline]
    pub fn add(&mut self, key: K) {
        self.add_weight(key, 1);
    }

    /// Counts `key` with a weight, such as the bytes of a flow.
    #[inline]
    pub fn add_weight(&mut self, key: K, weight: u64) {
        self.total = self.total.saturating_add(weight);
        let (hash, hasher) = (self.hasher.hash_one(&key), &self.hasher);
        match self.counters.entry(hash, |(known, _)| *known == key, |(known, _)| hasher.hash_one(known)) {
            Entry::Occupied(mut counter) => {
                let (_, count) = counter.get_mut();
                *count = count.saturating_add(weight);
            }
            Entry::Vacant(_) if weight == 0 => {}
            Entry::Vacant(place) => {
                place.insert((key, weight));
                if self.counters.len() > self.most {
                    self.lower();
                }
            }
        }
    }

    /// Lowers all counters by their median, which empties at least half of them.
    #[cold]
    fn lower(&mut self) {
        let lowered = self.median();
        self.error = self.error.saturating_add(lowered);
        self.counters.retain(|(_, count)| {
            *count = count.saturating_sub(lowered);
            *count > 0
        });
    }

    /// The counter that half of them do not exceed. Mostly that is 1, which is found without sorting.
    fn median(&mut self) -> u64 {
        let middle = self.counters.len().saturating_sub(1) / 2;
        if self.counters.iter().filter(|(_, count)| *count == 1).count() > middle {
            return 1;
        }
        self.pass.clear();
        self.pass.extend(self.counters.iter().map(|(_, count)| *count));
        *self.pass.select_nth_unstable(middle).1
    }

    /// The count of `key`: a lower bound, 0 for one that was not counted or has no counter.
    #[must_use]
    pub fn count(&self, key: &K) -> u64 {
        let found = self.counters.find(self.hasher.hash_one(key), |(known, _)| known == key);
        found.map_or(0, |(_, count)| *count)
    }

    /// The most by which a count may be too small. At most two parts of [`FrequentItems::total`] by the number of
    /// counters: each pass takes its median from half of them, and all passes take no more than was added.
    #[must_use]
    pub fn error(&self) -> u64 {
        self.error
    }

    /// Whether every count is exact, and every key has one.
    #[must_use]
    pub fn is_exact(&self) -> bool {
        self.error == 0
    }

    /// The sum of everything that was counted, exact.
    #[must_use]
    pub fn total(&self) -> u64 {
        self.total
    }

    /// The number of keys that have a counter; all keys as long as counts are exact.
    #[must_use]
    pub fn len(&self) -> usize {
        self.counters.len()
    }

    /// Whether no key has a counter.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.counters.is_empty()
    }

    /// The `count` keys with the largest counts, largest first; equal ones in the order of the keys.
    #[must_use]
    pub fn top(&self, count: usize) -> Vec<(K, u64)> {
        let mut all: Vec<_> = self.counters.iter().map(|(key, count)| (Reverse(*count), key)).collect();
        if count < all.len() {
            // Only those that are returned are sorted.
            all.select_nth_unstable(count);
            all.truncate(count);
        }
        all.sort_unstable();
        all.into_iter().map(|(Reverse(count), key)| (key.clone(), count)).collect()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_key_that_has_more_than_the_error_is_never_missing_however_many_others_there_are() {
        let mut items = FrequentItems::new(16);
        for number in 0..10_000_u32 {
            items.add(1_000_000 + number);
            if number % 4 == 0 {
                items.add(7);
            }
        }
        let (key, count) = items.top(1).into_iter().next().unwrap_or_default();
        assert_eq!(key, 7);
        assert!(count <= 2_500 && count + items.error() >= 2_500, "{count} + {}", items.error());
        assert!(items.error() <= 2 * items.total() / 16);
    }

    #[test]
    fn the_largest_come_first_and_equal_ones_in_the_order_of_their_keys() {
        let mut items = FrequentItems::new(8);
        for (key, weight) in [("c", 5), ("a", 5), ("b", 9), ("d", 1), ("nothing", 0)] {
            items.add_weight(key, weight);
        }
        assert_eq!(items.top(3), [("b", 9), ("a", 5), ("c", 5)]);
        assert_eq!((items.top(99).len(), items.len(), items.total()), (4, 4, 20));
    }

    proptest! {
        #[test]
        fn every_count_is_within_the_error_of_the_exact_one(
            keys in proptest::collection::vec((0_u8..40, 0_u64..5), 0..400),
            most in 0_usize..32,
        ) {
            let (mut items, mut exact) = (FrequentItems::new(most), BTreeMap::<u8, u64>::new());
            for (key, weight) in keys {
                items.add_weight(key, weight);
                *exact.entry(key).or_default() += weight;
            }
            let counters = most.max(1);
            prop_assert!(items.len() <= counters);
            prop_assert_eq!(items.total(), exact.values().sum::<u64>());
            prop_assert!(items.error() * counters as u64 <= 2 * items.total());
            for key in 0..40 {
                let (count, exact) = (items.count(&key), exact.get(&key).copied().unwrap_or(0));
                prop_assert!(count <= exact && exact <= count + items.error(), "{} {} {}", key, count, exact);
            }
            let keys = exact.values().filter(|weight| **weight > 0).count();
            if keys <= counters {
                prop_assert!(items.is_exact());
                prop_assert_eq!(items.len(), keys);
            }
        }
    }
}
