//! Entries that the kernel sends twice are counted once.
//!
//! A dump goes on, in its next datagram, from the entry that did not fit. When
//! that entry is gone by then, the kernel starts its bucket again. What comes
//! twice is therefore close behind its first time, within one bucket, and a
//! window over the last entries finds it in constant memory.

use std::hash::BuildHasher;

use foldhash::fast::RandomState;
use hashbrown::HashTable;

use crate::model::Flow;

/// Entries in half a window. Newer kernels keep buckets under some 80 entries;
/// older ones, with many entries to few buckets, have been seen with hundreds.
const HALF: usize = 1024;

/// The last 1024 to 2048 entries of a dump.
#[derive(Debug)]
pub(super) struct Window {
    hasher: RandomState,
    newer: HashTable<u64>,
    older: HashTable<u64>,
}

impl Window {
    pub(super) fn new() -> Self {
        Window {
            hasher: RandomState::default(),
            newer: HashTable::with_capacity(HALF),
            older: HashTable::with_capacity(HALF),
        }
    }

    /// Takes `flow` in; true when it was in the window already.
    ///
    /// A tuple and its zone stand for the entry, by a 64-bit hash: two entries in
    /// one window share it once in 10^16.
    pub(super) fn contains_or_insert(&mut self, flow: &Flow) -> bool {
        let hash = self.hasher.hash_one((&flow.orig, flow.zone_both));
        let same = |known: &u64| *known == hash;
        if self.newer.find(hash, same).is_some() || self.older.find(hash, same).is_some() {
            return true;
        }
        if self.newer.len() == HALF {
            std::mem::swap(&mut self.newer, &mut self.older);
            self.newer.clear();
        }
        self.newer.insert_unique(hash, hash, |known| *known);
        false
    }
}
