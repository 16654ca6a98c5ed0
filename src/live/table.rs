//! The entries of one address family, and the tuples of those that were destroyed during a
//! pass (tombstones).

use foldhash::fast::RandomState;
use hashbrown::hash_table::Entry as Slot;
use hashbrown::{HashSet, HashTable};

use super::entry::{Address, Entry, Key};
use super::outcome::{LiveEntry, Start};
use crate::model::Flow;

#[derive(Debug)]
pub(super) struct Table<A> {
    hasher: RandomState,
    entries: HashTable<Entry<A>>,
    tombstones: HashSet<Key<A>, RandomState>,
}

impl<A> Default for Table<A> {
    fn default() -> Self {
        Table { hasher: RandomState::default(), entries: HashTable::new(), tombstones: HashSet::default() }
    }
}

impl<A: Address> Table<A> {
    pub(super) fn len(&self) -> usize {
        self.entries.len()
    }

    pub(super) fn bytes(&self) -> usize {
        self.entries.allocation_size()
    }

    pub(super) fn find(&mut self, flow: &Flow) -> Option<&mut Entry<A>> {
        let key = Key::of(flow);
        self.entries.find_mut(key.hash(&self.hasher), |entry| *entry.key() == key)
    }

    /// Inserts an entry; returns the one of the same key that it replaces.
    pub(super) fn insert(&mut self, flow: &Flow, start: Start, pass: u8, is_inserted: bool) -> Option<LiveEntry> {
        let entry = Entry::new(flow, start, pass, is_inserted);
        let (hasher, key) = (&self.hasher, *entry.key());
        let rehash = |entry: &Entry<A>| entry.key().hash(hasher);
        match self.entries.entry(key.hash(hasher), |entry| *entry.key() == key, rehash) {
            Slot::Occupied(mut slot) => Some(std::mem::replace(slot.get_mut(), entry).restore()),
            Slot::Vacant(slot) => {
                slot.insert(entry);
                None
            }
        }
    }

    pub(super) fn remove(&mut self, flow: &Flow) -> Option<Entry<A>> {
        let key = Key::of(flow);
        let slot = self.entries.find_entry(key.hash(&self.hasher), |entry| *entry.key() == key).ok()?;
        Some(slot.remove().0)
    }

    pub(super) fn add_tombstone(&mut self, flow: &Flow) {
        self.tombstones.insert(Key::of(flow));
    }

    pub(super) fn remove_tombstone(&mut self, flow: &Flow) {
        if !self.tombstones.is_empty() {
            self.tombstones.remove(&Key::of(flow));
        }
    }

    pub(super) fn has_tombstone(&self, flow: &Flow) -> bool {
        self.tombstones.contains(&Key::of(flow))
    }

    /// Removes all tombstones and frees their memory.
    pub(super) fn clear_tombstones(&mut self) {
        self.tombstones = HashSet::default();
    }

    /// Removes the entries that the pass did not mark, or the silent ones among them, and calls `removed`
    /// with each. Returns the number of silent entries that stay.
    pub(super) fn remove_unmarked(
        &mut self,
        pass: u8,
        only_silent: bool,
        removed: &mut impl FnMut(LiveEntry),
    ) -> usize {
        let mut silent = 0;
        let has_ended = |entry: &mut Entry<A>| {
            let has_ended = !entry.is_marked_by(pass) && (entry.is_silent() || !only_silent);
            silent += usize::from(!has_ended && entry.is_silent());
            has_ended
        };
        self.entries.extract_if(has_ended).for_each(|entry| removed(entry.restore()));
        self.shrink();
        silent
    }

    /// Removes the mark of every entry.
    pub(super) fn unmark(&mut self) {
        self.entries.iter_mut().for_each(|entry| entry.mark(0));
    }

    pub(super) fn for_each(&self, each: &mut impl FnMut(LiveEntry)) {
        self.entries.iter().for_each(|entry| each(entry.restore()));
    }

    pub(super) fn drain(&mut self, each: &mut impl FnMut(LiveEntry)) {
        self.entries.drain().for_each(|entry| each(entry.restore()));
        *self = Table::default();
    }

    /// Shrinks a table with less than an eighth of its capacity in use, e.g. after a flood.
    fn shrink(&mut self) {
        if self.entries.capacity() > 8 * self.entries.len().max(1024) {
            let hasher = &self.hasher;
            self.entries.shrink_to(2 * self.entries.len(), |entry| entry.key().hash(hasher));
        }
    }
}
