//! One table, dumped over two sockets on two cores.
//!
//! Two kernel filters that exclude each other split the table: ASSURED, and not.
//! Every entry is in one half, except one whose bit flips while both halves are
//! being walked: it may come in both, or in none. An entry that flips is in use
//! at that moment. A kernel that ignores the filter (before 5.15) sends the whole
//! table twice; [`Seen`] leaves out what came before.

use std::hash::BuildHasher;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use foldhash::fast::RandomState;
use hashbrown::HashTable;

use super::dump::DumpRequest;
use super::kernel_filter::Masked;
use crate::model::{Flow, Status};

impl DumpRequest {
    /// This request in two halves. None when it already asks for status bits.
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

/// The entries that one of several dumps has handed out: some 16 bytes for each.
///
/// Hashes stand where they fall in one array, or behind, and are put there without
/// a lock: two threads that take turns at a lock would wait for each other's cache.
#[derive(Debug)]
pub struct Seen {
    hasher: RandomState,
    places: Vec<AtomicU64>,
    /// What found no place near its own, in a table that has grown far beyond what was expected.
    crowded: Mutex<HashTable<u64>>,
}

/// Places that are looked at before a hash goes to the crowded ones.
const NEAR: usize = 64;

impl Seen {
    /// No entry yet, and room for `expected` of them.
    #[must_use]
    pub fn with_room_for(expected: u64) -> Self {
        let room = usize::try_from(expected).unwrap_or(0).saturating_mul(2).next_power_of_two();
        let places = (0..room.max(NEAR)).map(|_| AtomicU64::new(0)).collect();
        Seen { hasher: RandomState::default(), places, crowded: Mutex::default() }
    }

    /// Takes `flow` in; true the first time.
    ///
    /// A tuple and its zone stand for the entry, by a 64-bit hash: in a table of
    /// a million, two entries share one once in some 40 million dumps.
    pub fn is_new(&self, flow: &Flow) -> bool {
        // 0 is an empty place.
        let hash = self.hasher.hash_one((&flow.orig, flow.zone_both)).max(1);
        let near = (0..NEAR).map(|step| (hash as usize).wrapping_add(step) % self.places.len());
        for place in near.filter_map(|at| self.places.get(at)) {
            match place.compare_exchange(0, hash, Ordering::Relaxed, Ordering::Relaxed) {
                Ok(_) => return true,
                Err(known) if known == hash => return false,
                Err(_) => {}
            }
        }
        self.is_new_among_the_crowded(hash)
    }

    #[cold]
    fn is_new_among_the_crowded(&self, hash: u64) -> bool {
        let mut crowded = self.crowded.lock().unwrap_or_else(PoisonError::into_inner);
        if crowded.find(hash, |other| *other == hash).is_some() {
            return false;
        }
        crowded.insert_unique(hash, hash, |other| *other);
        true
    }
}

#[cfg(test)]
mod tests {
    use std::thread;

    use super::*;
    use crate::model::{L4, Tuple};

    fn flow(number: u32) -> Flow {
        let [a, b, c, d] = number.to_be_bytes();
        let l4 = L4::Ports { src: u16::from_be_bytes([a, b]), dst: u16::from_be_bytes([c, d]) };
        let tuple = Tuple { l4, ..Tuple::UNSPECIFIED };
        Flow::new(tuple, tuple)
    }

    #[test]
    fn of_two_threads_only_one_gets_an_entry_also_where_there_is_no_room() {
        for expected in [0, 100, 20_000] {
            let seen = Seen::with_room_for(expected);
            let new = || (0..10_000).filter(|number| seen.is_new(&flow(*number))).count();
            let counts = thread::scope(|scope| {
                let other = scope.spawn(new);
                [new(), other.join().unwrap_or(0)]
            });
            assert_eq!(counts.iter().sum::<usize>(), 10_000, "{expected}");
        }
    }

    #[test]
    fn the_same_tuple_in_another_zone_is_another_entry() {
        let seen = Seen::with_room_for(8);
        let zoned = Flow { zone_both: Some(5), ..flow(1) };
        assert!(seen.is_new(&flow(1)) && seen.is_new(&zoned) && !seen.is_new(&zoned));
    }
}
