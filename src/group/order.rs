//! The order of groups.

use std::cmp::{Ordering, Reverse};

use super::by::{self, GroupBy};
use super::totals::Totals;
use crate::field::Value;

/// An order of groups. Groups whose value is unknown or absent come last in both directions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct GroupOrder {
    /// What is compared.
    pub key: OrderKey,
    /// The largest first.
    pub descending: bool,
}

/// What an order compares.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum OrderKey {
    /// The number of flows.
    Entries,
    /// Flows that are not ASSURED.
    Evictable,
    /// Packets; of a group in which not all flows are counted, those that are known.
    Packets,
    /// Bytes, likewise.
    Bytes,
    /// The value of the field that is at this place among those grouped by.
    Field(usize),
}

/// The largest groups first.
impl Default for GroupOrder {
    fn default() -> Self {
        GroupOrder { key: OrderKey::Entries, descending: true }
    }
}

/// The names of the sums, beside which there are those of the fields.
const SUMS: [(&str, OrderKey); 4] = [
    ("entries", OrderKey::Entries),
    ("evictable", OrderKey::Evictable),
    ("packets", OrderKey::Packets),
    ("bytes", OrderKey::Bytes),
];

impl OrderKey {
    /// The key of this name: a sum, or one of the fields grouped by.
    pub(super) fn of_name(name: &str, by: &[GroupBy]) -> Option<Self> {
        let sum = SUMS.iter().find(|(known, _)| *known == name).map(|(_, key)| *key);
        let with_prefixes = by::parse(name).ok();
        let is_named = |by: &GroupBy| {
            by.field.name == name
                || by.field.aliases.contains(&name)
                || with_prefixes.as_ref().is_some_and(|parsed| *parsed == [*by])
        };
        sum.or_else(|| by.iter().position(is_named).map(OrderKey::Field))
    }

    /// The names of all keys.
    pub(super) fn names(by: &[GroupBy]) -> impl Iterator<Item = &'static str> {
        SUMS.iter().map(|(name, _)| *name).chain(by.iter().map(|by| by.field.name))
    }

    /// Whether it is a sum, which is usually sorted with the largest first, and no field.
    #[must_use]
    pub fn is_sum(self) -> bool {
        !matches!(self, OrderKey::Field(_))
    }

    /// Whether it is a sum that needs `nf_conntrack_acct`.
    #[must_use]
    pub fn needs_accounting(self) -> bool {
        matches!(self, OrderKey::Packets | OrderKey::Bytes)
    }
}

impl GroupOrder {
    pub(super) fn compare_sums(self, a: &Totals, b: &Totals) -> Ordering {
        let sum = |totals: &Totals| match self.key {
            OrderKey::Entries | OrderKey::Field(_) => Some(totals.entries),
            OrderKey::Evictable => Some(totals.evictable),
            OrderKey::Packets => totals.packets,
            OrderKey::Bytes => totals.bytes,
        };
        match (sum(a), sum(b)) {
            (Some(a), Some(b)) => self.directed(a.cmp(&b)),
            (a, b) => Reverse(a.is_some()).cmp(&Reverse(b.is_some())),
        }
    }

    pub(super) fn compare_values(self, a: &Value<'_>, b: &Value<'_>) -> Ordering {
        if a.is_known() && b.is_known() { self.directed(a.compare(b)) } else { a.compare(b) }
    }

    fn directed(self, ordering: Ordering) -> Ordering {
        if self.descending { ordering.reverse() } else { ordering }
    }
}
