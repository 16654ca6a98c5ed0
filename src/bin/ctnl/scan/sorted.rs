//! Entries sorted by a field, up to a limit.

use std::cmp::Ordering;
use std::collections::BTreeMap;

use ctnl::age::IdleEstimator;
use ctnl::field::{Field, Subject, Value};
use ctnl::model::Undecided;

use super::kept::{Kept, OutOfMemory, Store};

/// The field to sort by, and the direction.
#[derive(Debug, Clone, Copy)]
pub struct Order {
    /// The field.
    pub field: &'static Field,
    /// The largest first.
    pub descending: bool,
}

/// Values by which entries could not be sorted, counted by reason.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Unsorted {
    /// Entries.
    pub entries: u64,
    /// Entries whose value is unknown: they come last.
    pub unknown: BTreeMap<Undecided, u64>,
    /// Entries of whose value only a lower bound is known, by which they are sorted.
    pub bounded: BTreeMap<Undecided, u64>,
}

/// The first entries of an order.
#[derive(Debug)]
pub struct Sorted {
    order: Order,
    limit: usize,
    store: Store,
    /// Places in the store.
    places: Vec<u32>,
    ages: Option<IdleEstimator>,
    unsorted: Unsorted,
}

/// Entries beyond the limit before the rest is dropped.
const SLACK: usize = 4096;

impl Sorted {
    /// Keeps the first `limit` entries in `order`.
    pub fn new(order: Order, limit: u64) -> Self {
        let limit = usize::try_from(limit).unwrap_or(usize::MAX);
        let (store, places) = (Store::default(), Vec::new());
        Sorted { order, limit, store, places, ages: None, unsorted: Unsorted::default() }
    }

    /// Adds an entry.
    ///
    /// # Errors
    /// There is no memory for it. All that were added before are released.
    pub fn push(&mut self, subject: &Subject<'_>) -> Result<(), OutOfMemory> {
        self.unsorted.add(&(self.order.field.value)(subject));
        self.try_push(subject).inspect_err(|_| self.release())
    }

    fn try_push(&mut self, subject: &Subject<'_>) -> Result<(), OutOfMemory> {
        self.ages.get_or_insert_with(|| subject.ages.clone());
        self.places.try_reserve(1)?;
        self.places.push(self.store.add(subject)?);
        if self.places.len() >= self.limit.saturating_mul(2).saturating_add(SLACK) { self.prune() } else { Ok(()) }
    }

    fn release(&mut self) {
        (self.store, self.places) = (Store::default(), Vec::new());
    }

    /// Sorts the entries, and removes those beyond the limit.
    ///
    /// # Errors
    /// There is no memory for it.
    pub fn prune(&mut self) -> Result<(), OutOfMemory> {
        let Some(ages) = &self.ages else { return Ok(()) };
        let (order, store) = (self.order, &self.store);
        let kept = |place: u32| store.get(place);
        // In place: a stable sort allocates.
        self.places.sort_unstable_by(|a, b| match (kept(*a), kept(*b)) {
            (Some(a), Some(b)) => order.compare_kept(a, b, ages),
            (a, b) => a.is_none().cmp(&b.is_none()),
        });
        while self.places.len() > self.limit {
            let Some(place) = self.places.pop() else { break };
            self.store.remove(place)?;
        }
        Ok(())
    }

    /// The entries, in order after [`Sorted::prune`].
    pub fn entries(&self) -> impl Iterator<Item = &Kept> {
        self.places.iter().filter_map(|place| self.store.get(*place))
    }

    /// The values by which entries could not be sorted.
    pub fn unsorted(&self) -> &Unsorted {
        &self.unsorted
    }
}

impl Order {
    /// Entries whose value is absent or undecided come last in both directions.
    fn compare(self, a: &Subject<'_>, b: &Subject<'_>) -> Ordering {
        let (a, b) = ((self.field.value)(a), (self.field.value)(b));
        if self.descending && a.is_known() && b.is_known() { b.compare(&a) } else { a.compare(&b) }
    }

    /// Equal entries come in the order of the table.
    fn compare_kept(self, a: &Kept, b: &Kept, ages: &IdleEstimator) -> Ordering {
        self.compare(&a.subject(ages), &b.subject(ages)).then(a.added.cmp(&b.added))
    }
}

impl Unsorted {
    fn add(&mut self, value: &Value<'_>) {
        self.entries += 1;
        match value {
            Value::Undecided(why) => *self.unknown.entry(*why).or_default() += 1,
            Value::Seconds(range) if range.at_most.is_none() => *self.bounded.entry(range.why).or_default() += 1,
            _ => {}
        }
    }

    /// A line for each reason, with what would decide it, for an order by `field`.
    pub fn lines(&self, field: &Field) -> Vec<String> {
        let (name, all) = (field.name, self.entries);
        let unknown = self.unknown.iter().map(|(why, count)| {
            format!("--sort {name}: {count} of {all} are unknown and come last: {why}: {}", why.hint())
        });
        let bounded = self.bounded.iter().map(|(why, count)| {
            format!("--sort {name}: {count} of {all} are sorted by a lower bound: {why}: {}", why.hint())
        });
        unknown.chain(bounded).collect()
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::indexing_slicing)]
mod tests {
    use ctnl::field::{FieldId, SecondsRange};
    use ctnl::model::{Counters, Flow};

    use super::*;

    /// The ids of the first entries by packets, of entries with these numbers of packets.
    fn first(limit: u64, descending: bool, packets: &[Option<u64>]) -> (Vec<u32>, Unsorted) {
        let ages = IdleEstimator::without_timeouts(0);
        let mut sorted = Sorted::new(Order { field: FieldId::OrigPackets.field(), descending }, limit);
        for (id, packets) in (0..).zip(packets) {
            let counters_orig = packets.map(|packets| Counters { packets, bytes: 0 });
            let flow = Flow { id: Some(id), counters_orig, ..Flow::blank() };
            sorted.push(&Subject::new(&flow, &ages)).unwrap();
        }
        sorted.prune().unwrap();
        let ids = sorted.entries().filter_map(|kept| kept.subject(&ages).flow.id).collect();
        (ids, sorted.unsorted.clone())
    }

    #[test]
    fn unknown_values_come_last_in_both_directions_and_are_counted_by_reason() {
        let packets = [None, Some(3), Some(0), None, Some(3)];
        let (ids, unsorted) = first(9, true, &packets);
        assert_eq!((ids, first(9, false, &packets).0), (vec![1, 4, 2, 0, 3], vec![2, 1, 4, 0, 3]));
        assert_eq!(unsorted.unknown, BTreeMap::from([(Undecided::NoAccounting, 2)]));
        let lines = unsorted.lines(FieldId::OrigPackets.field());
        assert!(
            lines[0].starts_with("--sort orig-packets: 2 of 5 are unknown and come last: no-accounting: created while"),
            "{lines:?}"
        );
    }

    #[test]
    fn only_the_first_entries_are_kept_also_where_places_are_used_again() {
        let packets: Vec<_> = (0..20_000).map(|number: u64| Some(number * 7919 % 20_000)).collect();
        let (ids, unsorted) = first(5, true, &packets);
        let found: Vec<_> = ids.iter().map(|id| packets[*id as usize].unwrap()).collect();
        assert_eq!((found, unsorted.entries), (vec![19_999, 19_998, 19_997, 19_996, 19_995], 20_000));
        assert_eq!(first(3, false, &[Some(1); 9000]).0, [0, 1, 2], "equal ones in the order of the table");
        assert!(first(0, false, &[Some(1); 9000]).0.is_empty());
    }

    #[test]
    fn a_lower_bound_is_no_exact_value_and_said_so() {
        let mut unsorted = Unsorted::default();
        let range = |at_most| Value::Seconds(SecondsRange { at_least: 5, at_most, why: Undecided::AmbiguousTimeout });
        unsorted.add(&range(None));
        unsorted.add(&range(Some(6)));
        unsorted.add(&Value::Absent);
        let lines = unsorted.lines(FieldId::Idle.field());
        assert_eq!(lines.len(), 1);
        assert!(
            lines[0].starts_with("--sort idle: 1 of 3 are sorted by a lower bound: ambiguous-timeout"),
            "{lines:?}"
        );
    }
}
