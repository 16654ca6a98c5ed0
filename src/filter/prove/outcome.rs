//! Sets of values by the answers of terms, and their unions and products.

use std::collections::HashMap;

use crate::field::{EntryClasses, Value};
use crate::filter::term::Term;

/// Outcomes of one choice; more leave its terms unknown.
pub(super) const MAX_OUTCOMES: usize = 1024;
/// Most outcomes of a field with several values, whose unions are all outcomes, too.
const MAX_OF_SEVERAL: usize = 128;
/// Answers of terms that are computed to find the outcomes of a choice.
const MAX_ANSWERS: usize = 4_000_000;

/// Values for which each term of the choice has the same answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Outcome {
    /// The classes of entries that have such values.
    pub within: EntryClasses,
    /// In the order of the terms of the choice.
    pub answers: Vec<bool>,
}

pub(super) fn outcome(terms: &[&Term], value: Value<'_>, within: EntryClasses) -> Outcome {
    Outcome { within, answers: terms.iter().map(|term| term.verdict(value).is_match()).collect() }
}

/// Merges outcomes with the same answers; `None` if there are too many.
pub(super) fn merged(outcomes: impl IntoIterator<Item = Outcome>) -> Option<Vec<Outcome>> {
    let mut places: HashMap<Vec<bool>, usize> = HashMap::new();
    let mut merged: Vec<Outcome> = Vec::new();
    for outcome in outcomes.into_iter().filter(|outcome| !outcome.within.is_empty()) {
        let place = *places.entry(outcome.answers.clone()).or_insert(merged.len());
        match merged.get_mut(place) {
            Some(known) => known.within = known.within.union(outcome.within),
            None => merged.push(outcome),
        }
        if merged.len() > MAX_OUTCOMES {
            return None;
        }
    }
    Some(merged)
}

/// The outcomes of entries with one outcome of each factor: a term matches where it matches
/// one of them.
pub(super) fn product(terms: usize, factors: Vec<Vec<Outcome>>) -> Option<Vec<Outcome>> {
    let mut product = vec![Outcome { within: EntryClasses::ALL, answers: vec![false; terms] }];
    for factor in factors {
        affordable(product.len().saturating_mul(factor.len()), terms)?;
        product = merged(product.iter().flat_map(|one| factor.iter().map(move |other| both(one, other))))?;
    }
    Some(product)
}

fn both(one: &Outcome, other: &Outcome) -> Outcome {
    let answers = one.answers.iter().zip(&other.answers).map(|(one, other)| *one || *other).collect();
    Outcome { within: one.within.intersection(other.within), answers }
}

/// Adds the outcomes of entries with several values.
pub(super) fn closed(mut outcomes: Vec<Outcome>) -> Option<Vec<Outcome>> {
    loop {
        if outcomes.len() > MAX_OF_SEVERAL {
            return None;
        }
        let unions = outcomes.iter().flat_map(|one| outcomes.iter().map(move |other| both(one, other)));
        let closed = merged(outcomes.iter().cloned().chain(unions))?;
        if closed == outcomes {
            return Some(closed);
        }
        outcomes = closed;
    }
}

pub(super) fn affordable(values: usize, terms: usize) -> Option<()> {
    (values.saturating_mul(terms) <= MAX_ANSWERS).then_some(())
}
