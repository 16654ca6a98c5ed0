//! The rows of every subject, joined in one array, and the lookup by id and by name.

use super::id::FieldId;
use super::row::Field;
use super::{addresses, counters, identity, ports, state, time};

const PARTS: [&[Field]; 6] = [addresses::ROWS, ports::ROWS, identity::ROWS, state::ROWS, time::ROWS, counters::ROWS];

const COUNT: usize = count(&PARTS);

static ALL: [Field; COUNT] = join(&PARTS);

/// The registry, in the order of help and documentation.
pub static FIELDS: &[Field] = &ALL;

/// The field of a name or an alias, both lower case.
#[must_use]
pub fn field(name: &str) -> Option<&'static Field> {
    FIELDS.iter().find(|field| field.name == name || field.aliases.contains(&name))
}

const fn count(mut parts: &[&[Field]]) -> usize {
    let mut count = 0;
    while let Some((first, rest)) = parts.split_first() {
        count += first.len();
        parts = rest;
    }
    count
}

#[expect(clippy::indexing_slicing, reason = "evaluated by the compiler, where a wrong index is a build error")]
const fn join<const N: usize>(mut parts: &[&[Field]]) -> [Field; N] {
    let mut joined = [addresses::ROWS[0]; N];
    let mut at = 0;
    while let Some((part, rest)) = parts.split_first() {
        let mut rows: &[Field] = part;
        while let Some((row, others)) = rows.split_first() {
            joined[at] = *row;
            at += 1;
            rows = others;
        }
        parts = rest;
    }
    joined
}

impl FieldId {
    /// The row of this field.
    #[must_use]
    #[expect(clippy::indexing_slicing, reason = "the compiler checks that each variant is the place of its row")]
    pub fn field(self) -> &'static Field {
        &FIELDS[self as usize]
    }
}

/// A row that is not at the position of its variant is a compile error.
const _: () = {
    let mut rows: &[Field] = FIELDS;
    let mut place = 0;
    while let Some((row, rest)) = rows.split_first() {
        assert!(row.id as usize == place, "the variants of FieldId and the rows have another order");
        place += 1;
        rows = rest;
    }
    assert!(FieldId::ReplyBytes as usize + 1 == place, "a variant of FieldId without a row");
};

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::super::classes::EntryClasses;
    use super::super::kernel::{DumpFilter, EventFilter};
    use super::super::keyword::{keyword, keywords};
    use super::super::subject::Subject;
    use super::super::value::Value;
    use super::super::value_kind::ValueKind;
    use super::*;

    #[test]
    fn names_aliases_and_keywords_are_unique() {
        let mut seen = HashSet::new();
        for name in FIELDS.iter().flat_map(|field| [field.name].into_iter().chain(field.aliases.iter().copied())) {
            assert!(seen.insert(name), "{name} twice");
        }
        for word in keywords() {
            assert!(seen.insert(word.name), "{} is a field, or a keyword twice", word.name);
        }
    }

    #[test]
    fn an_attribute_that_an_event_does_not_carry_is_undecided_and_not_absent() {
        use crate::age::IdleEstimator;
        use crate::model::{EventKind, Flow, Undecided};
        let (flow, ages) = (Flow::blank(), IdleEstimator::without_timeouts(0));
        for (name, is_in_updates) in [("label", false), ("secctx", true), ("helper", true)] {
            let is = |subject, value: Value<'_>| field(name).is_some_and(|field| (field.value)(&subject) == value);
            let of_event = |kind| Subject::of_event(&flow, &ages, kind);
            let not_sent = Value::Undecided(Undecided::NotSent);
            assert!(is(Subject::new(&flow, &ages), Value::Absent), "{name}");
            assert!(is(of_event(EventKind::New), Value::Absent), "{name}");
            assert!(is(of_event(EventKind::Update), if is_in_updates { Value::Absent } else { not_sent }), "{name}");
            assert!(is(of_event(EventKind::Destroy), not_sent), "{name}");
        }
    }

    #[test]
    fn every_row_and_word_is_documented_and_lower_case() {
        for field in FIELDS {
            assert!(!field.doc.is_empty() && !field.example.is_empty(), "{}", field.name);
            assert!(!field.doc.ends_with('.'), "{}: {}", field.name, field.doc);
            assert!(!field.kind.value_name().is_empty(), "{}", field.name);
        }
        for (name, doc) in FIELDS.iter().map(|f| (f.name, f.doc)).chain(keywords().map(|w| (w.name, w.doc))) {
            assert!(!doc.is_empty(), "{name}");
            assert!(name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-'), "{name}");
            assert!(name.starts_with(|c: char| c.is_ascii_lowercase()), "{name}");
        }
    }

    #[test]
    fn each_row_is_the_field_of_its_id() {
        for field in FIELDS {
            assert_eq!(field.id.field().name, field.name);
        }
    }

    #[test]
    fn every_field_that_the_kernel_compares_changes_the_request() {
        use crate::table::{DumpRequest, Masked};
        for field in FIELDS {
            let mut request = DumpRequest::default();
            match field.dump_filter {
                Some(DumpFilter::Number(add)) => add(&mut request, 2),
                Some(DumpFilter::Ipv4(add)) => add(&mut request, std::net::Ipv4Addr::LOCALHOST),
                Some(DumpFilter::Masked(add) | DumpFilter::Bits(add)) => {
                    add(&mut request, Masked { value: 1, mask: 1 })
                }
                None => continue,
            }
            assert_ne!(request, DumpRequest::default(), "{}", field.name);
        }
    }

    #[test]
    fn the_kernel_compares_values_of_the_kind_of_their_field() {
        for field in FIELDS {
            let is_address = field.kind == ValueKind::Address;
            match field.dump_filter {
                Some(DumpFilter::Ipv4(_)) => assert!(is_address, "{}", field.name),
                Some(DumpFilter::Masked(_)) => assert_eq!(field.kind, ValueKind::Masked, "{}", field.name),
                Some(DumpFilter::Bits(_)) => assert_eq!(field.kind, ValueKind::Status, "{}", field.name),
                _ => {}
            }
            match field.event_filter {
                Some(EventFilter::Address { v4, v6 }) => {
                    assert!(is_address && !v4.is_empty() && !v6.is_empty() && v4 != v6, "{}", field.name);
                }
                Some(EventFilter::Number { .. }) => assert!(!is_address, "{}", field.name),
                None => {}
            }
        }
    }

    #[test]
    fn every_class_has_entries_with_or_without_each_field() {
        for field in FIELDS {
            assert_eq!(field.present_in.union(field.absent_in), EntryClasses::ALL, "{}", field.name);
            assert!(!field.present_in.is_empty(), "{}", field.name);
        }
    }

    #[test]
    fn a_part_is_a_field_of_the_same_kind_without_parts() {
        for field in FIELDS {
            for (part, classes) in field.parts {
                let part = part.field();
                assert!(part.kind == field.kind && part.parts.is_empty() && !part.multi, "{}", field.name);
                assert!(!classes.is_empty(), "{}", field.name);
            }
        }
    }

    #[test]
    fn no_field_has_the_name_of_a_word_of_the_grammar() {
        for reserved in ["and", "or", "not", "older", "age-over", "all", "any", "none"] {
            assert!(field(reserved).is_none() && keyword(reserved).is_none(), "{reserved}");
        }
    }

    #[test]
    fn a_field_is_found_by_its_aliases() {
        assert_eq!(field("protocol").map(|field| field.name), Some("proto"));
        assert!(field("no-such-field").is_none());
    }
}
