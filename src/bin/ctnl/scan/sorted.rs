//! Entries sorted by a field, up to a limit.

use std::cmp::Ordering;

use ctnl::age::IdleEstimator;
use ctnl::field::{Field, Subject};
use ctnl::model::Flow;

/// The field to sort by, and the direction.
#[derive(Debug, Clone, Copy)]
pub struct Order {
    /// The field.
    pub field: &'static Field,
    /// The largest first.
    pub descending: bool,
}

/// An entry in memory.
#[derive(Debug)]
pub struct Kept {
    flow: Box<Flow>,
    confirmed_idle: Option<u32>,
}

impl Kept {
    /// The entry as a subject.
    pub fn subject<'a>(&'a self, ages: &'a IdleEstimator) -> Subject<'a> {
        Subject { confirmed_idle: self.confirmed_idle, ..Subject::new(&self.flow, ages) }
    }
}

/// The first entries of an order.
#[derive(Debug)]
pub struct Sorted {
    order: Order,
    limit: usize,
    kept: Vec<Kept>,
    ages: Option<IdleEstimator>,
}

/// Entries beyond the limit before the rest is dropped.
const SLACK: usize = 4096;

impl Sorted {
    /// Keeps the first `limit` entries in `order`.
    pub fn new(order: Order, limit: u64) -> Self {
        let limit = usize::try_from(limit).unwrap_or(usize::MAX);
        Sorted { order, limit, kept: Vec::new(), ages: None }
    }

    /// Adds an entry.
    pub fn push(&mut self, subject: &Subject<'_>) {
        self.ages.get_or_insert_with(|| subject.ages.clone());
        self.kept.push(Kept { flow: Box::new(subject.flow.clone()), confirmed_idle: subject.confirmed_idle });
        if self.kept.len() >= self.limit.saturating_mul(2).saturating_add(SLACK) {
            self.prune();
        }
    }

    /// The entries in order.
    pub fn into_sorted(mut self) -> Vec<Kept> {
        self.prune();
        self.kept
    }

    fn prune(&mut self) {
        let Some(ages) = &self.ages else { return };
        let order = self.order;
        self.kept.sort_by(|a, b| order.compare(&a.subject(ages), &b.subject(ages)));
        self.kept.truncate(self.limit);
    }
}

impl Order {
    /// Entries whose value is absent or undecided come last in both directions.
    fn compare(self, a: &Subject<'_>, b: &Subject<'_>) -> Ordering {
        let (a, b) = ((self.field.value)(a), (self.field.value)(b));
        let unknown = |value: &ctnl::field::Value<'_>| {
            matches!(value, ctnl::field::Value::Absent | ctnl::field::Value::Undecided(_))
        };
        match (self.descending, unknown(&a) || unknown(&b)) {
            (true, false) => b.compare(&a),
            _ => a.compare(&b),
        }
    }
}
