//! One table, dumped over two sockets on two cores.
//!
//! Two kernel filters that exclude each other split the table: ASSURED, and not.
//! Every entry is in one half, except one whose bit flips while both halves are
//! being walked: it may come in both, or in none. An entry that flips is in use
//! at that moment. A kernel that ignores the filter (before 5.15) sends the whole
//! table twice; [`Seen`] leaves out what came before.

use std::hash::BuildHasher;
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

/// Parts of what was seen, each behind a lock of its own, so that two dumps
/// rarely wait for each other.
const SHARDS: usize = 64;

/// The entries that one of several dumps has handed out: some 20 bytes for each.
#[derive(Debug)]
pub struct Seen {
    hasher: RandomState,
    shards: Vec<Mutex<HashTable<u64>>>,
}

impl Seen {
    /// No entry yet, and room for `expected` of them: to grow costs as much again.
    #[must_use]
    pub fn with_room_for(expected: u64) -> Self {
        let room = usize::try_from(expected).unwrap_or(0) / SHARDS * 5 / 4;
        let shards = (0..SHARDS).map(|_| Mutex::new(HashTable::with_capacity(room))).collect();
        Seen { hasher: RandomState::default(), shards }
    }

    /// Takes `flow` in; true the first time.
    ///
    /// A tuple and its zone stand for the entry, by a 64-bit hash: in a table of
    /// a million, two entries share one once in some 40 million dumps.
    pub fn is_new(&self, flow: &Flow) -> bool {
        let hash = self.hasher.hash_one((&flow.orig, flow.zone_both));
        // Bits that the hash table does not look at first.
        let Some(shard) = self.shards.get((hash >> 40) as usize % SHARDS) else { return true };
        let mut known = shard.lock().unwrap_or_else(PoisonError::into_inner);
        if known.find(hash, |other| *other == hash).is_some() {
            return false;
        }
        known.insert_unique(hash, hash, |other| *other);
        true
    }
}
