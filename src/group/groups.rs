//! One counter per combination of values.

use std::cmp::Ordering;
use std::collections::BTreeMap;
use std::collections::TryReserveError;
use std::hash::BuildHasher;

use foldhash::fast::RandomState;
use hashbrown::HashTable;

use super::by::{self, GroupBy};
use super::error::GroupError;
use super::key::{pack, unpack};
use super::order::{GroupOrder, OrderKey};
use super::totals::{Counter, Totals};
use crate::field::{Addresses, Subject, Value};
use crate::model::Undecided;

/// Counters of flows, by the values of some of their fields.
///
/// The keys are in one buffer and the counters in one array; the hash table has only their
/// positions. A million groups take about 80 MB.
#[derive(Debug, Clone)]
pub struct Groups {
    by: Vec<GroupBy>,
    /// The place of a field of which a flow has several addresses.
    addresses: Option<usize>,
    table: HashTable<Slot>,
    hasher: RandomState,
    counters: Vec<Counter>,
    keys: Vec<u8>,
    /// The key of the flow that is counted. Begins with the part in groups of several parts.
    scratch: Vec<u8>,
    /// Bytes of the part in each key.
    part_length: usize,
    total: Totals,
    most: usize,
    beyond: u64,
    is_out_of_memory: bool,
    /// Flows, by the place of the field and the reason.
    undecided: BTreeMap<(usize, Undecided), u64>,
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
    /// The number of its part, see [`Groups::start_part`]; 0 without parts.
    pub part: u32,
    /// Its place: see [`Groups::add`].
    pub place: usize,
    /// The values, in the order of the fields.
    pub values: Vec<Value<'a>>,
    /// What was counted.
    pub totals: Totals,
    /// Its share of all entries, from 0 to 1.
    pub share: f64,
}

/// Groups in an order.
#[derive(Debug)]
pub struct SortedGroups<'g> {
    groups: &'g Groups,
    places: Vec<u32>,
}

impl Groups {
    /// Groups by fields: names separated by commas, `src,dport`. An address field may be followed by the
    /// length of its networks: `src/24` groups IPv4 addresses by /24 and IPv6 addresses by /64, `src/48` IPv6
    /// addresses by /48, `src/16/48` both.
    ///
    /// # Errors
    /// A name is unknown, repeated, or of a field that is not groupable; a length is wrong.
    pub fn by(names: &str) -> Result<Self, GroupError> {
        by::parse(names).map(Self::of)
    }

    fn of(by: Vec<GroupBy>) -> Self {
        Groups {
            addresses: by.iter().position(GroupBy::has_several_values),
            by,
            table: HashTable::new(),
            // Seeded randomly, since the keys are chosen by whoever sends packets.
            hasher: RandomState::default(),
            counters: Vec::new(),
            keys: Vec::new(),
            scratch: Vec::with_capacity(64),
            part_length: 0,
            total: Totals::default(),
            most: usize::MAX,
            beyond: 0,
            is_out_of_memory: false,
            undecided: BTreeMap::new(),
        }
    }

    /// One group for each part ([`Groups::start_part`]), whatever the values of its flows are.
    #[must_use]
    pub fn by_part() -> Self {
        Self::of(Vec::new()).in_parts()
    }

    /// Separates the flows of several parts, such as network namespaces: equal values in two parts are two
    /// groups. Call it before a flow is counted.
    #[must_use]
    pub fn in_parts(mut self) -> Self {
        self.part_length = size_of::<u32>();
        self.start_part(0);
        self
    }

    /// The flows that follow are of part `part`. Without [`Groups::in_parts`], all are of one.
    pub fn start_part(&mut self, part: u32) {
        if self.part_length > 0 {
            self.scratch.clear();
            self.scratch.extend_from_slice(&part.to_be_bytes());
        }
    }

    /// Limits the number of groups, so that memory is bounded: the first `groups` are kept, with
    /// exact counts. The kernel dumps in hash order, with a random seed, so a group that is not
    /// kept is unlikely to have more than a thousandth of the entries.
    #[must_use]
    pub fn at_most(mut self, groups: usize) -> Self {
        self.most = groups;
        self
    }

    /// Flows of groups that were not kept, once for each such group, see [`Groups::at_most`], [`Groups::retain`] and
    /// [`Groups::is_out_of_memory`].
    #[must_use]
    pub fn beyond(&self) -> u64 {
        self.beyond
    }

    /// Whether memory ran out. From then on there are no new groups, as with [`Groups::at_most`].
    #[must_use]
    pub fn is_out_of_memory(&self) -> bool {
        self.is_out_of_memory
    }

    /// Counts a flow: in one group, or in that of each address of a field like `addr`, once each. Returns the place of the
    /// one group, below [`Groups::len`], which stays the same, so that a caller can count more of each group; `None` where
    /// the group is not kept, or there are several.
    pub fn add(&mut self, subject: &Subject<'_>) -> Option<usize> {
        self.total.add(subject.flow);
        match self.addresses.and_then(|place| Some((place, self.by.get(place)?.addresses(subject)?))) {
            None => self.add_to_group(subject, None, true),
            Some((place, addresses)) => {
                self.add_to_each(subject, place, addresses);
                None
            }
        }
    }

    #[cold]
    fn add_to_each(&mut self, subject: &Subject<'_>, place: usize, addresses: Addresses<'_>) {
        let Some(by) = self.by.get(place).copied() else { return };
        let mut counted = [None; Addresses::MOST];
        for (number, address) in addresses.iter().enumerate() {
            let value = by.of_address(address);
            if counted.contains(&Some(value)) {
                continue;
            }
            let _ = self.add_to_group(subject, Some((place, value)), number == 0);
            if let Some(slot) = counted.get_mut(number) {
                *slot = Some(value);
            }
        }
    }

    /// Counts a flow in the group of its values, with `replaced` in place of one of them. Undecided values are
    /// counted only if it `is_first`.
    #[inline]
    fn add_to_group(
        &mut self,
        subject: &Subject<'_>,
        replaced: Option<(usize, Value<'static>)>,
        is_first: bool,
    ) -> Option<usize> {
        self.scratch.truncate(self.part_length);
        for (place, by) in self.by.iter().enumerate() {
            let value = match replaced {
                Some((at, value)) if at == place => value,
                _ => by.value(subject),
            };
            if let Value::Undecided(why) = value
                && is_first
            {
                *self.undecided.entry((place, why)).or_default() += 1;
            }
            pack(value, &mut self.scratch);
        }
        let hash = (self.hasher.hash_one(self.scratch.as_slice()) >> 32) as u32;
        let (counters, keys, scratch) = (&self.counters, &self.keys, &self.scratch);
        let found = self.table.find(Slot::spread(hash), |slot| {
            slot.hash == hash && key_at(counters, keys, slot.at) == scratch.as_slice()
        });
        let at = match found {
            Some(slot) => Some(slot.at),
            None if self.counters.len() >= self.most => None,
            None => self.insert(hash),
        };
        match at.and_then(|at| self.counters.get_mut(at as usize)) {
            Some(counter) => counter.add(subject.flow),
            None => self.beyond += 1,
        }
        at.map(|at| at as usize)
    }

    /// Removes the groups at the places for which `keep` is false; their flows are counted as [`beyond`](Groups::beyond).
    /// The others keep their order, so that their places may become smaller.
    pub fn retain(&mut self, mut keep: impl FnMut(usize) -> bool) {
        const REMOVED: u32 = u32::MAX;
        let (mut places, mut kept, mut kept_bytes) = (Vec::with_capacity(self.counters.len()), 0, 0);
        for at in 0..self.counters.len() {
            let Some(counter) = self.counters.get(at).copied() else { break };
            if !keep(at) {
                self.beyond += counter.totals().entries;
                places.push(REMOVED);
                continue;
            }
            let start = counter.key as usize;
            let end = self.counters.get(at + 1).map_or(self.keys.len(), |next| next.key as usize);
            self.keys.copy_within(start..end, kept_bytes);
            if let Some(place) = self.counters.get_mut(kept) {
                *place = counter;
                place.key = kept_bytes as u64;
            }
            places.push(kept as u32);
            (kept, kept_bytes) = (kept + 1, kept_bytes + (end - start));
        }
        self.counters.truncate(kept);
        self.keys.truncate(kept_bytes);
        self.table.retain(|slot| {
            slot.at = places.get(slot.at as usize).copied().unwrap_or(REMOVED);
            slot.at != REMOVED
        });
    }

    /// The place of the group that has the same values as the one at `place` of `other`, which is grouped by the same
    /// fields.
    #[must_use]
    pub fn place_in(&self, other: &Groups, place: usize) -> Option<usize> {
        let key = key_at(&other.counters, &other.keys, u32::try_from(place).ok()?);
        if self.by != other.by || key.is_empty() {
            return None;
        }
        let hash = (self.hasher.hash_one(key) >> 32) as u32;
        let is_same = |slot: &Slot| slot.hash == hash && key_at(&self.counters, &self.keys, slot.at) == key;
        self.table.find(Slot::spread(hash), is_same).map(|slot| slot.at as usize)
    }

    /// What was counted of the group at `place`.
    #[must_use]
    pub fn totals_at(&self, place: usize) -> Option<Totals> {
        self.counters.get(place).map(Counter::totals)
    }

    /// The group at `place`.
    #[must_use]
    pub fn group_at(&self, place: usize) -> Option<Group<'_>> {
        self.group(u32::try_from(place).ok()?)
    }

    /// Adds a group for the key in `scratch`; `None` if there is no memory for it. Positions have 32 bits,
    /// as many as there can be entries.
    #[cold]
    fn insert(&mut self, hash: u32) -> Option<u32> {
        if self.reserve().is_err() {
            self.is_out_of_memory = true;
            self.most = self.counters.len();
            return None;
        }
        let at = u32::try_from(self.counters.len()).unwrap_or(u32::MAX);
        self.counters.push(Counter::of_key_at(self.keys.len() as u64));
        self.keys.extend_from_slice(&self.scratch);
        self.table.insert_unique(Slot::spread(hash), Slot { hash, at }, |slot| Slot::spread(slot.hash));
        Some(at)
    }

    fn reserve(&mut self) -> Result<(), NoMemory> {
        self.counters.try_reserve(1)?;
        self.keys.try_reserve(self.scratch.len())?;
        self.table.try_reserve(1, |slot| Slot::spread(slot.hash)).map_err(|_| NoMemory)
    }

    /// What is grouped by.
    #[must_use]
    pub fn fields(&self) -> &[GroupBy] {
        &self.by
    }

    /// The flows of which the value of a field cannot be determined, by field and reason.
    pub fn undecided(&self) -> impl Iterator<Item = (&GroupBy, Undecided, u64)> {
        self.undecided.iter().filter_map(|((place, why), flows)| Some((self.by.get(*place)?, *why, *flows)))
    }

    /// The key of an order by its name: `entries`, `evictable`, `packets`, `bytes`, or a field that is grouped
    /// by.
    #[must_use]
    pub fn order_key(&self, name: &str) -> Option<OrderKey> {
        OrderKey::of_name(name, &self.by)
    }

    /// The names of the keys that groups can be sorted by.
    pub fn order_names(&self) -> impl Iterator<Item = &'static str> {
        OrderKey::names(&self.by)
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
        let places = (0..self.count()).collect();
        let sorted = self.sort(places, count, GroupOrder::default());
        sorted.places.iter().filter_map(|at| self.group(*at)).collect()
    }

    /// The first `count` groups of an order; equal ones with the largest first, then in the order of their
    /// values.
    ///
    /// # Errors
    /// There is no memory for their places: 4 bytes for each group.
    pub fn first(&self, count: usize, order: GroupOrder) -> Result<SortedGroups<'_>, TryReserveError> {
        let mut places = Vec::new();
        places.try_reserve_exact(self.counters.len())?;
        places.extend(0..self.count());
        Ok(self.sort(places, count, order))
    }

    fn count(&self) -> u32 {
        u32::try_from(self.counters.len()).unwrap_or(u32::MAX)
    }

    fn sort(&self, mut places: Vec<u32>, count: usize, order: GroupOrder) -> SortedGroups<'_> {
        if count < places.len() {
            // Only the groups that are returned are sorted.
            places.select_nth_unstable_by(count, |a, b| self.compare(order, *a, *b));
            places.truncate(count);
        }
        places.sort_unstable_by(|a, b| self.compare(order, *a, *b));
        SortedGroups { groups: self, places }
    }

    fn compare(&self, order: GroupOrder, a: u32, b: u32) -> Ordering {
        let totals = |at: u32| self.counters.get(at as usize).map(Counter::totals).unwrap_or_default();
        let by_key = match order.key {
            OrderKey::Field(place) => match (self.value(a, place), self.value(b, place)) {
                (Some(a), Some(b)) => order.compare_values(&a, &b),
                _ => Ordering::Equal,
            },
            _ => order.compare_sums(&totals(a), &totals(b)),
        };
        let largest_first = || GroupOrder::default().compare_sums(&totals(a), &totals(b));
        let by_values = || key_at(&self.counters, &self.keys, a).cmp(key_at(&self.counters, &self.keys, b));
        by_key.then_with(largest_first).then_with(by_values)
    }

    fn value(&self, at: u32, place: usize) -> Option<Value<'_>> {
        self.values(at).nth(place)
    }

    fn values(&self, at: u32) -> impl Iterator<Item = Value<'_>> {
        let mut rest = key_at(&self.counters, &self.keys, at).get(self.part_length..).unwrap_or_default();
        self.by.iter().map_while(move |by| {
            let (value, behind) = unpack(by.field, rest)?;
            rest = behind;
            Some(value)
        })
    }

    fn group(&self, at: u32) -> Option<Group<'_>> {
        let totals = self.counters.get(at as usize)?.totals();
        let values = self.values(at).collect();
        let part =
            key_at(&self.counters, &self.keys, at).get(..self.part_length)?.try_into().map_or(0, u32::from_be_bytes);
        let place = at as usize;
        Some(Group { part, place, values, totals, share: totals.entries as f64 / self.total.entries.max(1) as f64 })
    }
}

impl SortedGroups<'_> {
    /// The groups, made one at a time.
    pub fn iter(&self) -> impl Iterator<Item = Group<'_>> {
        self.places.iter().filter_map(|at| self.groups.group(*at))
    }
}

/// The system has no memory left.
struct NoMemory;

impl From<TryReserveError> for NoMemory {
    fn from(_: TryReserveError) -> Self {
        NoMemory
    }
}

#[inline]
fn key_at<'a>(counters: &[Counter], keys: &'a [u8], at: u32) -> &'a [u8] {
    let at = at as usize;
    let start = counters.get(at).map_or(0, |counter| counter.key as usize);
    let end = counters.get(at + 1).map_or(keys.len(), |next| next.key as usize);
    keys.get(start..end).unwrap_or_default()
}
