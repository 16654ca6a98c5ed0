//! A set of hashes, to find entries that come twice.
//!
//! In a large hash table, each lookup is a cache miss, which costs more than decoding an entry (20 ns).
//! Here a Bloom filter comes first, with all bits of a hash in one word of an
//! array that stays in the cache, and nearly always suffices. The hashes follow in insertion order, in
//! lists short enough to be searched.

use std::hash::BuildHasher;

use foldhash::fast::RandomState;

use crate::model::Flow;

/// The identity of an entry: a 64-bit hash of its tuple and zone. Where the tuple has an unknown part,
/// entries may differ in that part only, so the id is hashed too.
#[inline]
pub(super) fn hash_of(flow: &Flow, hasher: &RandomState) -> u64 {
    let identity = (&flow.orig, flow.zone_both);
    if flow.orig.has_unknown_part { hasher.hash_one((identity, flow.id)) } else { hasher.hash_one(identity) }
}

/// A set of hashes.
#[derive(Debug)]
pub(super) struct DedupSet {
    bits: Vec<u64>,
    lists: Vec<Vec<u64>>,
}

impl DedupSet {
    /// An empty set with `bits` bits (8 or more for each expected hash) and `lists` lists; both are rounded
    /// up to a power of two.
    pub(super) fn new(bits: u64, lists: usize) -> Self {
        let words = usize::try_from(bits.div_ceil(64)).unwrap_or(0).next_power_of_two();
        DedupSet { bits: vec![0; words], lists: vec![Vec::new(); lists.next_power_of_two()] }
    }

    /// Whether `hash` is in the set.
    #[inline]
    pub(super) fn contains(&self, hash: u64) -> bool {
        let word = self.bits.get(self.word_of(hash)).copied().unwrap_or(0);
        word & bloom_mask(hash) == bloom_mask(hash)
            && self.lists.get(self.list_of(hash)).is_some_and(|list| list.contains(&hash))
    }

    /// Inserts `hash`. False if it was in the set already.
    #[inline]
    pub(super) fn insert(&mut self, hash: u64) -> bool {
        let (word, list) = (self.word_of(hash), self.list_of(hash));
        let (Some(word), Some(list)) = (self.bits.get_mut(word), self.lists.get_mut(list)) else {
            return true;
        };
        if *word & bloom_mask(hash) == bloom_mask(hash) && list.contains(&hash) {
            return false;
        }
        *word |= bloom_mask(hash);
        list.push(hash);
        true
    }

    /// Removes all hashes and keeps the memory.
    pub(super) fn clear(&mut self) {
        self.bits.fill(0);
        self.lists.iter_mut().for_each(Vec::clear);
    }

    #[inline]
    fn word_of(&self, hash: u64) -> usize {
        (hash >> 6) as usize & (self.bits.len() - 1)
    }

    #[inline]
    fn list_of(&self, hash: u64) -> usize {
        (hash >> 48) as usize & (self.lists.len() - 1)
    }
}

/// Up to three bits of one word, so that one load is enough.
#[inline]
fn bloom_mask(hash: u64) -> u64 {
    1 << (hash & 63) | 1 << (hash >> 36 & 63) | 1 << (hash >> 42 & 63)
}

/// A flow, a different one for each number.
#[cfg(test)]
pub(super) fn numbered(number: u32) -> Flow {
    use crate::model::{L4, Tuple};
    let [a, b, c, d] = number.to_be_bytes();
    let l4 = L4::Ports { src: u16::from_be_bytes([a, b]), dst: u16::from_be_bytes([c, d]) };
    let tuple = Tuple { l4, ..Tuple::UNSPECIFIED };
    Flow::new(tuple, tuple)
}
