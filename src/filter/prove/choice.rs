//! The sets of values of one field, or of fields that have values in common, by the
//! answers of its terms.

use super::Population;
use super::bits::{label_outcomes, status_outcomes};
use super::masked::{has_patterns, masked, masked_labels};
use super::outcome::{Outcome, affordable, closed, merged, outcome, product};
use crate::field::{EntryClasses, Field, FieldId, LiveNumbers, Tracker, Value, ValueKind};
use crate::filter::ranges::{v4, v6};
use crate::filter::term::{Term, Test};
use crate::wire::uapi::nfproto;

/// The outcomes of one field, or of fields that have values in common.
pub(super) struct Choice<'a> {
    pub terms: Vec<&'a Term>,
    pub outcomes: Vec<Outcome>,
}

/// The choices of a filter with these terms. A field whose outcomes are too many has no
/// choice: its terms stay unknown, which proves less.
pub(super) fn choices<'a>(terms: &[&'a Term], population: Population) -> Vec<Choice<'a>> {
    let groups = related(terms).into_iter();
    let choices = groups.filter_map(|terms| {
        let outcomes = outcomes(&terms, population)?;
        Some(Choice { terms, outcomes })
    });
    choices.collect()
}

/// The terms, in groups whose fields have values in common.
fn related<'a>(terms: &[&'a Term]) -> Vec<Vec<&'a Term>> {
    let mut groups: Vec<(Vec<FieldId>, Vec<&'a Term>)> = Vec::new();
    for term in terms {
        let (mut parts, mut members) = (parts(term.field).map(|(part, _)| part).collect::<Vec<_>>(), vec![*term]);
        let (connected, apart) = groups
            .into_iter()
            .partition(|(known, _): &(Vec<FieldId>, _)| known.iter().any(|part| parts.contains(part)));
        groups = apart;
        for (known, others) in connected {
            parts.extend(known.into_iter().filter(|part| !parts.contains(part)).collect::<Vec<_>>());
            members = others.into_iter().chain(members).collect();
        }
        groups.push((parts, members));
    }
    groups.into_iter().map(|(_, members)| members).collect()
}

/// The fields that a field has the values of, each in some classes of entries.
fn parts(field: &'static Field) -> impl Iterator<Item = (FieldId, EntryClasses)> {
    let own = field.parts.is_empty().then_some((field.id, EntryClasses::ALL));
    own.into_iter().chain(field.parts.iter().copied())
}

fn outcomes(terms: &[&Term], population: Population) -> Option<Vec<Outcome>> {
    let mut fields: Vec<FieldId> = Vec::new();
    for (part, _) in terms.iter().flat_map(|term| parts(term.field)) {
        if !fields.contains(&part) {
            fields.push(part);
        }
    }
    let [field] = *fields else {
        let factors = fields.into_iter().map(|field| of_part(field.field(), terms, population));
        return product(terms.len(), factors.collect::<Option<Vec<_>>>()?);
    };
    let outcomes = of_part(field.field(), terms, population)?;
    if field.field().multi { closed(outcomes) } else { Some(outcomes) }
}

/// The outcomes of one value of `field`. A term of another field that has this value as a part
/// has the answer for it.
fn of_part(field: &'static Field, terms: &[&Term], population: Population) -> Option<Vec<Outcome>> {
    let mut outcomes = of_values(field, terms, population)?;
    let (present, absent) = match population {
        Population::Live => (field.present_in, field.absent_in),
        Population::Any if field.absent_in.is_empty() => (EntryClasses::ALL, EntryClasses::NONE),
        Population::Any => (EntryClasses::ALL, EntryClasses::ALL),
    };
    for outcome in &mut outcomes {
        outcome.within = outcome.within.intersection(present);
    }
    outcomes.push(outcome(terms, Value::Absent, absent));
    let outcomes = outcomes.into_iter().flat_map(|outcome| restricted(field, terms, outcome));
    merged(outcomes)
}

/// An outcome, divided by the classes of entries in which each term's field has this part.
fn restricted(field: &'static Field, terms: &[&Term], outcome: Outcome) -> Vec<Outcome> {
    let mut outcomes = vec![outcome];
    for (place, term) in terms.iter().enumerate() {
        let own = parts(term.field).find(|(part, _)| *part == field.id);
        let own = own.map_or(EntryClasses::NONE, |(_, classes)| classes);
        if own == EntryClasses::ALL {
            continue;
        }
        let divided = outcomes.into_iter().flat_map(|outcome| divided(outcome, place, own));
        // Without this their number doubles with each term.
        outcomes = divided.filter(|outcome| !outcome.within.is_empty()).collect();
    }
    outcomes
}

/// The outcome within `own`, and outside of it, where the term at `place` does not match.
fn divided(outcome: Outcome, place: usize, own: EntryClasses) -> [Outcome; 2] {
    let inside = Outcome { within: outcome.within.intersection(own), ..outcome.clone() };
    let mut outside = Outcome { within: outcome.within.intersection(own.complement()), ..outcome };
    if let Some(answer) = outside.answers.get_mut(place) {
        *answer = false;
    }
    [inside, outside]
}

fn of_values(field: &'static Field, terms: &[&Term], population: Population) -> Option<Vec<Outcome>> {
    Some(match field.kind {
        ValueKind::Address => addresses(terms)?,
        ValueKind::Family => {
            let families = [(nfproto::IPV4, EntryClasses::V4), (nfproto::IPV6, EntryClasses::V6)];
            families.map(|(family, classes)| outcome(terms, Value::Number(family.into()), classes)).to_vec()
        }
        ValueKind::Status => status_outcomes(terms, population)?,
        ValueKind::Label if terms.iter().any(|term| has_patterns(term)) => masked_labels(terms)?,
        ValueKind::Label => label_outcomes(terms)?,
        ValueKind::Text => texts(terms),
        ValueKind::Masked if terms.iter().any(|term| has_patterns(term)) => masked(terms, greatest(field, population))?,
        _ => numbers(field, terms, population)?,
    })
}

fn addresses(terms: &[&Term]) -> Option<Vec<Outcome>> {
    let (mut of_v4, mut of_v6) = (vec![0], vec![0]);
    for term in terms {
        if let Test::Addresses(set) = &term.test {
            of_v4.extend(set.v4.as_slice().iter().flat_map(|(low, high)| [*low, high.saturating_add(1)]));
            of_v6.extend(set.v6.as_slice().iter().flat_map(|(low, high)| [*low, high.saturating_add(1)]));
        }
    }
    affordable(of_v4.len() + of_v6.len(), terms.len())?;
    let of_v4 = of_v4.into_iter().map(|bits| outcome(terms, Value::Address(v4(bits)), EntryClasses::V4));
    let of_v6 = of_v6.into_iter().map(|bits| outcome(terms, Value::Address(v6(bits)), EntryClasses::V6));
    Some(of_v4.chain(of_v6).collect())
}

/// The least number and the first number of each stretch inside and outside of the ranges,
/// for each set of numbers that entries have.
fn numbers(field: &Field, terms: &[&Term], population: Population) -> Option<Vec<Outcome>> {
    let mut bounds = Vec::new();
    for term in terms {
        if let Test::Numbers(ranges) | Test::Masked { ranges, .. } = &term.test {
            bounds.extend(ranges.as_slice().iter().flat_map(|(low, high)| [*low, high.saturating_add(1)]));
        }
    }
    affordable(bounds.len() + 3 * 256, terms.len())?;
    let values = match numbers_of(field, population) {
        Numbers::Each(numbers) => numbers,
        Numbers::Range(least, greatest) => {
            let values = bounds.into_iter().filter(|bound| (least..=greatest).contains(bound));
            values.chain([least]).map(|value| (value, EntryClasses::ALL)).collect()
        }
    };
    Some(values.into_iter().map(|(value, classes)| outcome(terms, Value::Number(value), classes)).collect())
}

enum Numbers {
    /// Both ends included.
    Range(u64, u64),
    /// Single numbers, each with its classes of entries.
    Each(Vec<(u64, EntryClasses)>),
}

/// The numbers that a field can have.
fn numbers_of(field: &Field, population: Population) -> Numbers {
    match (field.kind, field.live, population) {
        (ValueKind::Nat, ..) => Numbers::Each((0..4).map(|code| (code, nat_classes(code, population))).collect()),
        (ValueKind::Protocol, _, Population::Live) => {
            Numbers::Each((0..=u8::MAX).map(|number| (number.into(), EntryClasses::of_protocol(number))).collect())
        }
        (ValueKind::State, _, Population::Live) => Numbers::Each(states().collect()),
        // Three trackers with 256 numbers each.
        (ValueKind::State, _, Population::Any) => Numbers::Range(0, 0x2ff),
        (_, LiveNumbers::OneOf(numbers), Population::Live) => {
            let each = numbers.iter().flat_map(|(classes, numbers)| numbers.iter().map(|number| (*number, *classes)));
            Numbers::Each(each.collect())
        }
        (_, LiveNumbers::Range(least, greatest), Population::Live) => Numbers::Range(least, greatest),
        (kind, ..) => Numbers::Range(0, kind.max()),
    }
}

fn greatest(field: &Field, population: Population) -> u128 {
    match numbers_of(field, population) {
        Numbers::Range(_, greatest) => greatest.into(),
        Numbers::Each(_) => u32::MAX.into(),
    }
}

/// The classes with this code of `nat`: 1 source, 2 destination, 3 both.
fn nat_classes(code: u64, population: Population) -> EntryClasses {
    if population == Population::Any {
        return EntryClasses::ALL;
    }
    let with = |bit, classes: EntryClasses| if code & bit == 0 { classes.complement() } else { classes };
    with(1, EntryClasses::SRC_NAT).intersection(with(2, EntryClasses::DST_NAT))
}

/// The codes of the states that the kernel's trackers have.
fn states() -> impl Iterator<Item = (u64, EntryClasses)> {
    let all = Tracker::ALL.into_iter().flat_map(|tracker| (0..=u8::MAX).map(move |number| (tracker, number)));
    let known = all.filter(|(tracker, number)| tracker.state_name(*number).is_some());
    known.map(|(tracker, number)| (tracker.code(number).into(), EntryClasses::of_protocol(tracker.protocol().into())))
}

/// Every word that a term has, and one that none has.
fn texts(terms: &[&Term]) -> Vec<Outcome> {
    let mut words: Vec<&str> = Vec::new();
    for term in terms {
        if let Test::Texts(texts) = &term.test {
            words.extend(texts.iter().map(|text| &**text));
        }
    }
    // No word of an expression can contain a quotation mark.
    words.push("\"");
    words.into_iter().map(|word| outcome(terms, Value::Text(word), EntryClasses::ALL)).collect()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::filter::Filter;

    /// How many outcomes one value of `part` has.
    fn outcomes_of_one_value(expression: &str, part: FieldId) -> usize {
        let filter: Filter = expression.parse().unwrap();
        let mut terms = Vec::new();
        filter.root.as_ref().unwrap().terms(&mut terms);
        let one = outcome(&terms, Value::Absent, EntryClasses::ALL);
        restricted(part.field(), &terms, one).len()
    }

    #[test]
    fn the_outcomes_of_a_value_do_not_multiply_with_the_terms() {
        let repeated = |term: &str| [term; 12].join(" and ");
        assert_eq!(outcomes_of_one_value(&repeated("not addr 10.0.0.1"), FieldId::ReplySrc), 1);
        assert_eq!(outcomes_of_one_value(&repeated("not nat-src 10.0.0.1"), FieldId::ReplyDst), 2);
        let mixed =
            repeated("not nat-addr 10.0.0.1 and not nat-src 10.0.0.2 and not any-addr 10.0.0.3 and not src ::1");
        assert_eq!(outcomes_of_one_value(&mixed, FieldId::ReplySrc), 2);
    }
}
