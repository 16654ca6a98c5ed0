//! The entries of one address family, and what was destroyed during a pass.

use foldhash::fast::RandomState;
use hashbrown::hash_table::Entry as Place;
use hashbrown::{HashSet, HashTable};

use super::Known;
use super::entry::{Address, Entry, Key, Start};
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

    /// Puts an entry in; the one that stood in its place.
    pub(super) fn insert(&mut self, flow: &Flow, start: Start, pass: u8, is_added: bool) -> Option<Known> {
        let entry = Entry::new(flow, start, pass, is_added);
        let (hasher, key) = (&self.hasher, *entry.key());
        let rehash = |entry: &Entry<A>| entry.key().hash(hasher);
        match self.entries.entry(key.hash(hasher), |entry| *entry.key() == key, rehash) {
            Place::Occupied(mut place) => Some(std::mem::replace(place.get_mut(), entry).known()),
            Place::Vacant(place) => {
                place.insert(entry);
                None
            }
        }
    }

    pub(super) fn remove(&mut self, flow: &Flow) -> Option<Entry<A>> {
        let key = Key::of(flow);
        let place = self.entries.find_entry(key.hash(&self.hasher), |entry| *entry.key() == key).ok()?;
        Some(place.remove().0)
    }

    pub(super) fn bury(&mut self, flow: &Flow) {
        self.tombstones.insert(Key::of(flow));
    }

    pub(super) fn revive(&mut self, flow: &Flow) {
        if !self.tombstones.is_empty() {
            self.tombstones.remove(&Key::of(flow));
        }
    }

    pub(super) fn is_buried(&self, flow: &Flow) -> bool {
        self.tombstones.contains(&Key::of(flow))
    }

    /// Forgets what was destroyed, and gives the memory back.
    pub(super) fn exhume(&mut self) {
        self.tombstones = HashSet::default();
    }

    /// Takes out what was not seen in the pass.
    pub(super) fn sweep(&mut self, pass: u8, gone: &mut impl FnMut(Known)) {
        self.entries.extract_if(|entry| !entry.is_seen_in(pass)).for_each(|entry| gone(entry.known()));
        self.give_back();
    }

    /// No pass has seen any.
    pub(super) fn unsee(&mut self) {
        self.entries.iter_mut().for_each(|entry| entry.see(0));
    }

    pub(super) fn each(&self, each: &mut impl FnMut(Known)) {
        self.entries.iter().for_each(|entry| each(entry.known()));
    }

    pub(super) fn drain(&mut self, each: &mut impl FnMut(Known)) {
        self.entries.drain().for_each(|entry| each(entry.known()));
        *self = Table::default();
    }

    /// A table that has become much too large is made smaller: after a flood it would
    /// stay for months.
    fn give_back(&mut self) {
        if self.entries.capacity() > 8 * self.entries.len().max(1024) {
            let hasher = &self.hasher;
            self.entries.shrink_to(2 * self.entries.len(), |entry| entry.key().hash(hasher));
        }
    }
}
