//! One counter per combination of values.

use std::cmp::Reverse;

use foldhash::fast::RandomState;
use hashbrown::HashTable;
use std::hash::BuildHasher;

use super::error::GroupError;
use super::key::{pack, unpack};
use crate::field::{Field, Subject, Value, field};
use crate::model::{Flow, Status};

/// Counters of flows, by the values of some of their fields.
///
/// The keys are in one buffer and the counters in one array; the hash table has only their
/// positions. A million groups take about 80 MB.
#[derive(Debug, Clone)]
pub struct Groups {
    fields: Vec<&'static Field>,
    table: HashTable<Slot>,
    hasher: RandomState,
    counters: Vec<Counter>,
    keys: Vec<u8>,
    scratch: Vec<u8>,
    total: Totals,
    most: usize,
    beyond: u64,
}

/// The counters of a group, or of all flows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Totals {
    /// Flows.
    pub entries: u64,
    /// Flows that are not ASSURED: the kernel evicts these when the table is full.
    pub evictable: u64,
    /// Flows whose packets and bytes were counted (`nf_conntrack_acct`).
    pub counted: u64,
    /// Packets of these, both directions.
    pub packets: u64,
    /// Bytes of these, both directions.
    pub bytes: u64,
}

/// [`Totals`] in less memory. A table never has more than 2³² entries.
#[derive(Debug, Clone, Copy, Default)]
struct Counter {
    /// Offset of the key, which ends at the offset of the next one.
    key: u64,
    packets: u64,
    bytes: u64,
    entries: u32,
    evictable: u32,
    counted: u32,
}

/// The position of a counter, and its hash, so that the table can grow without reading keys.
#[derive(Debug, Clone, Copy)]
struct Slot {
    hash: u32,
    at: u32,
}

impl Slot {
    /// The hash table uses the low bits for the bucket and the high bits for the tag.
    #[inline]
    fn spread(hash: u32) -> u64 {
        u64::from(hash) << 32 | u64::from(hash)
    }
}

/// One group.
#[derive(Debug, Clone, PartialEq)]
pub struct Group<'a> {
    /// The values, in the order of the fields.
    pub values: Vec<Value<'a>>,
    /// What was counted.
    pub totals: Totals,
    /// Its share of all entries, from 0 to 1.
    pub share: f64,
}

impl Groups {
    /// Groups by fields: names separated by commas, `src,dport`.
    ///
    /// # Errors
    /// A name is unknown, repeated, or of a field that is not groupable.
    pub fn by(names: &str) -> Result<Self, GroupError> {
        let mut fields: Vec<&'static Field> = Vec::new();
        for name in names.split(',').map(str::trim).filter(|name| !name.is_empty()) {
            let found = field(&name.to_ascii_lowercase()).ok_or_else(|| GroupError::Unknown(name.into()))?;
            if !found.groupable {
                return Err(GroupError::NotGroupable(found.name));
            }
            if fields.iter().any(|known| known.name == found.name) {
                return Err(GroupError::Twice(found.name));
            }
            fields.push(found);
        }
        if fields.is_empty() {
            return Err(GroupError::Empty);
        }
        Ok(Groups {
            fields,
            table: HashTable::new(),
            // Seeded randomly, since the keys are chosen by whoever sends packets.
            hasher: RandomState::default(),
            counters: Vec::new(),
            keys: Vec::new(),
            scratch: Vec::with_capacity(64),
            total: Totals::default(),
            most: usize::MAX,
            beyond: 0,
        })
    }

    /// Limits the number of groups, so that memory is bounded: the first `groups` are kept, with
    /// exact counts. The kernel dumps in hash order, with a random seed, so a group that is not
    /// kept is unlikely to have more than a thousandth of the entries.
    #[must_use]
    pub fn at_most(mut self, groups: usize) -> Self {
        self.most = groups;
        self
    }

    /// Flows of groups that were not kept, see [`Groups::at_most`].
    #[must_use]
    pub fn beyond(&self) -> u64 {
        self.beyond
    }

    /// Counts a flow.
    pub fn add(&mut self, subject: &Subject<'_>) {
        self.scratch.clear();
        for field in &self.fields {
            pack((field.value)(subject), &mut self.scratch);
        }
        self.total.add(subject.flow);
        let hash = (self.hasher.hash_one(self.scratch.as_slice()) >> 32) as u32;
        let (counters, keys, scratch) = (&self.counters, &self.keys, &self.scratch);
        let found = self.table.find(Slot::spread(hash), |slot| {
            slot.hash == hash && key_at(counters, keys, slot.at) == scratch.as_slice()
        });
        let at = match found {
            Some(slot) => slot.at,
            None if self.counters.len() >= self.most => {
                self.beyond += 1;
                return;
            }
            None => self.insert(hash),
        };
        if let Some(counter) = self.counters.get_mut(at as usize) {
            counter.add(subject.flow);
        }
    }

    /// Adds a group for the key in `scratch`. Positions have 32 bits, as many as there can be
    /// entries.
    #[cold]
    fn insert(&mut self, hash: u32) -> u32 {
        let at = u32::try_from(self.counters.len()).unwrap_or(u32::MAX);
        self.counters.push(Counter { key: self.keys.len() as u64, ..Counter::default() });
        self.keys.extend_from_slice(&self.scratch);
        self.table.insert_unique(Slot::spread(hash), Slot { hash, at }, |slot| Slot::spread(slot.hash));
        at
    }

    /// The fields that are grouped by.
    #[must_use]
    pub fn fields(&self) -> &[&'static Field] {
        &self.fields
    }

    /// Number of groups.
    #[must_use]
    pub fn len(&self) -> usize {
        self.counters.len()
    }

    /// Whether no flow was counted.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.counters.is_empty()
    }

    /// All flows.
    #[must_use]
    pub fn total(&self) -> Totals {
        self.total
    }

    /// The `count` groups with the most entries, largest first; equal ones in the order of their
    /// values.
    #[must_use]
    pub fn top(&self, count: usize) -> Vec<Group<'_>> {
        let mut order: Vec<u32> = (0..u32::try_from(self.counters.len()).unwrap_or(u32::MAX)).collect();
        let rank = |at: &u32| {
            let entries = self.counters.get(*at as usize).map_or(0, |counter| counter.entries);
            (Reverse(entries), key_at(&self.counters, &self.keys, *at))
        };
        if count < order.len() {
            // Only the groups that are returned are sorted.
            order.select_nth_unstable_by(count, |a, b| rank(a).cmp(&rank(b)));
            order.truncate(count);
        }
        order.sort_unstable_by(|a, b| rank(a).cmp(&rank(b)));
        order.into_iter().filter_map(|at| self.group(at)).collect()
    }

    fn group(&self, at: u32) -> Option<Group<'_>> {
        let counter = self.counters.get(at as usize)?;
        let mut rest = key_at(&self.counters, &self.keys, at);
        let mut values = Vec::with_capacity(self.fields.len());
        for field in &self.fields {
            let (value, behind) = unpack(field, rest)?;
            values.push(value);
            rest = behind;
        }
        let totals = counter.totals();
        Some(Group { values, totals, share: totals.entries as f64 / self.total.entries.max(1) as f64 })
    }
}

#[inline]
fn key_at<'a>(counters: &[Counter], keys: &'a [u8], at: u32) -> &'a [u8] {
    let at = at as usize;
    let start = counters.get(at).map_or(0, |counter| counter.key as usize);
    let end = counters.get(at + 1).map_or(keys.len(), |next| next.key as usize);
    keys.get(start..end).unwrap_or_default()
}

impl Totals {
    #[inline]
    fn add(&mut self, flow: &Flow) {
        self.entries += 1;
        self.evictable += u64::from(is_evictable(flow));
        if let (Some(packets), Some(bytes)) = (flow.packets(), flow.bytes()) {
            self.counted += 1;
            self.packets = self.packets.saturating_add(packets);
            self.bytes = self.bytes.saturating_add(bytes);
        }
    }
}

impl Counter {
    #[inline]
    fn add(&mut self, flow: &Flow) {
        self.entries = self.entries.saturating_add(1);
        self.evictable = self.evictable.saturating_add(u32::from(is_evictable(flow)));
        if let (Some(packets), Some(bytes)) = (flow.packets(), flow.bytes()) {
            self.counted = self.counted.saturating_add(1);
            self.packets = self.packets.saturating_add(packets);
            self.bytes = self.bytes.saturating_add(bytes);
        }
    }

    fn totals(&self) -> Totals {
        Totals {
            entries: self.entries.into(),
            evictable: self.evictable.into(),
            counted: self.counted.into(),
            packets: self.packets,
            bytes: self.bytes,
        }
    }
}

#[inline]
fn is_evictable(flow: &Flow) -> bool {
    !flow.status.contains(Status::Assured)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::age::IdleEstimator;
    use crate::field::FIELDS;

    #[test]
    fn exactly_the_groupable_fields_can_be_grouped_by() {
        for field in FIELDS {
            let expected = if field.groupable { None } else { Some(GroupError::NotGroupable(field.name)) };
            assert_eq!(Groups::by(field.name).err(), expected);
        }
    }

    #[test]
    fn with_more_groups_than_the_limit_the_kept_ones_are_counted_exactly() {
        let mut groups = Groups::by("mark").unwrap().at_most(2);
        let ages = IdleEstimator::without_timeouts(0);
        for mark in [7, 8, 9, 7, 10, 7, 9] {
            let flow = Flow { mark: Some(mark), ..Flow::blank() };
            groups.add(&Subject::new(&flow, &ages));
        }
        let entries: Vec<_> = groups.top(9).iter().map(|group| group.totals.entries).collect();
        assert_eq!(entries, [3, 1]);
        assert_eq!((groups.beyond(), groups.total().entries), (3, 7));
    }

    #[test]
    fn a_wrong_list_of_fields_is_an_error_with_a_hint() {
        assert_eq!(Groups::by(" , ").err(), Some(GroupError::Empty));
        assert_eq!(Groups::by("src,dport,src").err(), Some(GroupError::Twice("src")));
        assert_eq!(Groups::by("dprot").err().unwrap().hint(), "did you mean dport?");
        assert_eq!(Groups::by("host").err().unwrap().hint(), "src or dst");
        assert!(Groups::by("addr").err().unwrap().hint().contains("nat-src"));
    }
}
