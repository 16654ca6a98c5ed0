//! One term, a field and a test of its value, and the three verdicts.

use std::fmt;

use super::ranges::{AddressSet, Ranges};
use super::rare_state::RareState;
use crate::field::{Field, SecondsRange, Value, ValueKind};
use crate::model::Undecided;

/// The result of a filter for a flow.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// The flow matches.
    Match,
    /// It does not match.
    NoMatch,
    /// It cannot be determined. Commands do not list or delete such a flow.
    Undecided(Undecided),
}

impl Verdict {
    /// Whether the flow certainly matches.
    #[must_use]
    #[inline]
    pub fn is_match(self) -> bool {
        self == Verdict::Match
    }

    #[inline]
    pub(super) fn negated(self) -> Self {
        match self {
            Verdict::Match => Verdict::NoMatch,
            Verdict::NoMatch => Verdict::Match,
            undecided => undecided,
        }
    }
}

impl From<bool> for Verdict {
    #[inline]
    fn from(is_match: bool) -> Self {
        if is_match { Verdict::Match } else { Verdict::NoMatch }
    }
}

/// A field and the values that match.
#[derive(Debug, Clone)]
pub(super) struct Term {
    pub field: &'static Field,
    pub test: Test,
    /// The values as they were written, for tests that do not keep them.
    pub words: Vec<Box<str>>,
    /// The states among the values that only some protocols have.
    pub rare_states: Vec<RareState>,
    /// The files of values that contain none.
    pub empty_files: Vec<Box<str>>,
    /// Position among the terms of the filter.
    pub index: usize,
}

/// The test of a value.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Test {
    /// There is a value.
    Present,
    /// One of the numbers, or the code, is in these ranges.
    Numbers(Ranges<u64>),
    /// The number is in these ranges, or has one of these patterns.
    Masked { ranges: Ranges<u64>, patterns: Box<[Pattern]> },
    /// One of the addresses is in this set.
    Addresses(AddressSet),
    /// A bit of `set` is set, or a bit of `unset` is not.
    Status { set: u32, unset: u32 },
    /// A label of `set` is set, or one of `unset` is not, or all labels have one of these patterns.
    Labels { set: u128, unset: u128, patterns: Box<[Pattern]> },
    /// The text is one of these.
    Texts(Box<[Box<str>]>),
}

/// Bits under a mask; `value` has no bit outside of `mask`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Pattern {
    pub value: u128,
    pub mask: u128,
}

impl Pattern {
    #[inline]
    pub(super) fn matches(self, number: u128) -> bool {
        number & self.mask == self.value
    }
}

impl fmt::Display for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:#x}/{:#x}", self.value, self.mask)
    }
}

impl Test {
    /// Whether no value passes: a set without members.
    pub(super) fn is_empty(&self) -> bool {
        match self {
            Test::Present => false,
            Test::Numbers(ranges) => ranges.as_slice().is_empty(),
            Test::Masked { ranges, patterns } => ranges.as_slice().is_empty() && patterns.is_empty(),
            Test::Addresses(set) => set.v4.as_slice().is_empty() && set.v6.as_slice().is_empty(),
            Test::Status { set, unset } => set | unset == 0,
            Test::Labels { set, unset, patterns } => set | unset == 0 && patterns.is_empty(),
            Test::Texts(texts) => texts.is_empty(),
        }
    }
}

/// Whether these labels pass; an entry without labels has 0.
#[inline]
fn labels_verdict(labels: u128, set: u128, unset: u128, patterns: &[Pattern]) -> Verdict {
    (labels & set != 0 || !labels & unset != 0 || patterns.iter().any(|pattern| pattern.matches(labels))).into()
}

impl Term {
    /// A term with this test, without the words of its values.
    pub(super) fn new(field: &'static Field, test: Test) -> Self {
        Term { field, test, words: Vec::new(), rare_states: Vec::new(), empty_files: Vec::new(), index: 0 }
    }

    /// The verdict for a value of this term's field.
    #[inline]
    pub(super) fn verdict(&self, value: Value<'_>) -> Verdict {
        match (&self.test, value) {
            (_, Value::Undecided(why)) => Verdict::Undecided(why),
            (Test::Labels { set, unset, patterns }, Value::Absent) => labels_verdict(0, *set, *unset, patterns),
            (_, Value::Absent) => Verdict::NoMatch,
            (Test::Present, _) => Verdict::Match,
            (Test::Numbers(ranges), value) => number_verdict(ranges, value),
            (Test::Addresses(set), Value::Address(address)) => set.contains(address).into(),
            (Test::Addresses(set), Value::Addresses(addresses)) => {
                addresses.iter().any(|address| set.contains(address)).into()
            }
            (Test::Status { set, unset }, Value::Status(status)) => {
                (status.bits() & set != 0 || !status.bits() & unset != 0).into()
            }
            (Test::Masked { ranges, patterns }, Value::Number(number)) => {
                (ranges.contains(number) || patterns.iter().any(|pattern| pattern.matches(number.into()))).into()
            }
            (Test::Labels { set, unset, patterns }, Value::Labels(labels)) => {
                labels_verdict(labels.bits(), *set, *unset, patterns)
            }
            (Test::Texts(texts), Value::Text(text)) => texts.iter().any(|known| **known == *text).into(),
            _ => WRONG_TYPE,
        }
    }

    /// Whether `or` of both terms can be one term with the union of both sets. Durations are
    /// excluded: a union of ranges may be decided where each range is undecided.
    pub(super) fn unites_with(&self, other: &Term) -> bool {
        let same_form = matches!(
            (&self.test, &other.test),
            (Test::Numbers(_), Test::Numbers(_)) | (Test::Addresses(_), Test::Addresses(_))
        );
        same_form && self.field == other.field && self.field.kind != ValueKind::Duration
    }
}

/// The verdict for a value of a type that the test does not accept. The parser chooses the
/// test by the field's kind, so this does not happen; undecided is safe, since neither the term
/// nor its negation matches.
const WRONG_TYPE: Verdict = Verdict::Undecided(Undecided::NotSent);

#[inline]
fn number_verdict(ranges: &Ranges<u64>, value: Value<'_>) -> Verdict {
    match value {
        Value::Number(number) => ranges.contains(number).into(),
        Value::Named(named) => ranges.contains(named.code.into()).into(),
        Value::Numbers(numbers) => numbers.as_slice().iter().any(|number| ranges.contains((*number).into())).into(),
        Value::Seconds(span) => span_verdict(ranges, span),
        _ => WRONG_TYPE,
    }
}

/// Match if every possible value is in the ranges, no match if none is.
#[inline]
fn span_verdict(ranges: &Ranges<u64>, span: SecondsRange) -> Verdict {
    ranges.covers(span.at_least.into(), span.upper()).map_or(Verdict::Undecided(span.why), Verdict::from)
}

#[cfg(test)]
#[allow(clippy::indexing_slicing)]
mod tests {
    use super::*;

    const WHY: Undecided = Undecided::AmbiguousTimeout;

    fn idle(range: (u64, u64), at_least: u32, at_most: Option<u32>) -> Verdict {
        span_verdict(&Ranges::new(vec![range]), SecondsRange { at_least, at_most, why: WHY })
    }

    #[test]
    fn idle_for_at_least_a_time_is_decided_by_the_bound_that_is_certain() {
        let over_12h = (43_200, u64::MAX);
        assert_eq!(idle(over_12h, 43_200, Some(43_201)), Verdict::Match);
        assert_eq!(idle(over_12h, 43_200, None), Verdict::Match);
        assert_eq!(idle(over_12h, 43_199, Some(43_200)), Verdict::Undecided(WHY));
        assert_eq!(idle(over_12h, 43_198, Some(43_199)), Verdict::NoMatch);
        assert_eq!(idle(over_12h, 0, None), Verdict::Undecided(WHY));
    }

    #[test]
    fn idle_for_less_than_a_time_is_never_certain_without_an_upper_bound() {
        let below_10s = (0, 9);
        assert_eq!(idle(below_10s, 0, None), Verdict::Undecided(WHY));
        assert_eq!(idle(below_10s, 10, None), Verdict::NoMatch);
        assert_eq!(idle(below_10s, 8, Some(9)), Verdict::Match);
        assert_eq!(idle(below_10s, 9, Some(10)), Verdict::Undecided(WHY));
    }

    #[test]
    fn a_value_of_the_wrong_type_matches_neither_the_term_nor_its_negation() {
        let field = &crate::field::FIELDS[0];
        let term = Term::new(field, Test::Labels { set: 1, unset: 0, patterns: Box::default() });
        let verdict = term.verdict(Value::Number(1));
        assert!(!verdict.is_match() && !verdict.negated().is_match());
    }
}
