//! The outcomes of terms with masks, such as `mark 0x10/0xff` and `label 0x10/0xff`.

use super::outcome::{MAX_OUTCOMES, Outcome, affordable};
use crate::field::EntryClasses;
use crate::filter::term::{Pattern, Term, Test};

pub(super) fn has_patterns(term: &Term) -> bool {
    matches!(&term.test, Test::Masked { patterns, .. } | Test::Labels { patterns, .. } if !patterns.is_empty())
}

/// The outcomes of values up to `greatest`, which has all of its low bits set. Bits that are
/// in the same masks are set together, to what a pattern requires or to something else. Ranges
/// are taken as independent of that, so there are also outcomes that no value has.
pub(super) fn masked(terms: &[&Term], greatest: u128) -> Option<Vec<Outcome>> {
    let (mut patterns, mut bounds): (Vec<Pattern>, Vec<u64>) = (Vec::new(), vec![0]);
    for term in terms {
        patterns.extend(own_patterns(term));
        bounds.extend(wide_ranges(term).flat_map(|(low, high)| [low, high.saturating_add(1)]));
    }
    bounds.retain(|bound| u128::from(*bound) <= greatest);
    let values = values(&patterns, greatest)?;
    affordable(values.len().saturating_mul(bounds.len()), terms.len())?;
    let answer = |term: &Term, value: u128, bound: u64| {
        own_patterns(term).any(|pattern| pattern.matches(value))
            || wide_ranges(term).any(|(low, high)| low <= bound && bound <= high)
    };
    let pairs = values.iter().flat_map(|value| bounds.iter().map(move |bound| (*value, *bound)));
    let outcome = |(value, bound)| Outcome {
        within: EntryClasses::ALL,
        answers: terms.iter().map(|term| answer(term, value, bound)).collect(),
    };
    Some(pairs.map(outcome).collect())
}

/// The outcomes of labels. That an entry with labels has at least one is not used, apart from `label any`.
pub(super) fn masked_labels(terms: &[&Term]) -> Option<Vec<Outcome>> {
    let patterns: Vec<Pattern> = terms.iter().flat_map(|term| label_patterns(term)).collect();
    let values = values(&patterns, u128::MAX)?;
    affordable(values.len().saturating_mul(patterns.len()), 1)?;
    let answer = |term: &Term, value: u128| {
        term.test == Test::Present || label_patterns(term).any(|pattern| pattern.matches(value))
    };
    let outcome = |value: u128| Outcome {
        within: EntryClasses::ALL,
        answers: terms.iter().map(|term| answer(term, value)).collect(),
    };
    Some(values.into_iter().map(outcome).collect())
}

/// The patterns of a term, and its single labels as patterns.
fn label_patterns(term: &Term) -> impl Iterator<Item = Pattern> {
    let (set, unset, patterns): (u128, u128, &[Pattern]) = match &term.test {
        Test::Labels { set, unset, patterns } => (*set, *unset, patterns),
        _ => (0, 0, &[]),
    };
    let single = (0..128).map(|number| 1u128 << number).flat_map(move |bit| {
        let is_set = (set & bit != 0).then_some(Pattern { value: bit, mask: bit });
        is_set.into_iter().chain((unset & bit != 0).then_some(Pattern { value: 0, mask: bit }))
    });
    patterns.iter().copied().chain(single)
}

/// Values up to `greatest`, such that each combination of answers of the patterns is that of one.
fn values(patterns: &[Pattern], greatest: u128) -> Option<Vec<u128>> {
    let mut values = vec![0];
    for atom in atoms(patterns) {
        let options = options(atom, patterns, greatest);
        values = values.iter().flat_map(|value| options.iter().map(move |option| value | option)).collect();
        if values.len() > MAX_OUTCOMES {
            return None;
        }
    }
    Some(values)
}

/// The patterns of a term, and its single values as patterns.
fn own_patterns(term: &Term) -> impl Iterator<Item = Pattern> {
    let (ranges, patterns): (&[(u64, u64)], &[Pattern]) = match &term.test {
        Test::Masked { ranges, patterns } => (ranges.as_slice(), patterns),
        _ => (&[], &[]),
    };
    let single = ranges.iter().filter(|(low, high)| low == high);
    let single = single.map(|(value, _)| Pattern { value: (*value).into(), mask: u32::MAX.into() });
    patterns.iter().copied().chain(single)
}

/// The ranges of more than one value.
fn wide_ranges(term: &Term) -> impl Iterator<Item = (u64, u64)> {
    let ranges: &[(u64, u64)] = match &term.test {
        Test::Masked { ranges, .. } => ranges.as_slice(),
        _ => &[],
    };
    ranges.iter().copied().filter(|(low, high)| low < high)
}

/// The bits, in groups such that every mask has all bits of a group or none.
fn atoms(patterns: &[Pattern]) -> Vec<u128> {
    let mut atoms = vec![u128::MAX];
    for pattern in patterns {
        let split = atoms.iter().flat_map(|atom| [atom & pattern.mask, atom & !pattern.mask]);
        atoms = split.filter(|atom| *atom != 0).collect();
    }
    atoms
}

/// The values of the bits of `atom`: those that patterns require, and one other value.
/// Bits outside of `allowed` are never set.
fn options(atom: u128, patterns: &[Pattern], allowed: u128) -> Vec<u128> {
    let own = patterns.iter().filter(|pattern| pattern.mask & atom != 0);
    let mut options: Vec<u128> = own.map(|pattern| pattern.value & atom).collect();
    options.retain(|option| option & !allowed == 0);
    options.sort_unstable();
    options.dedup();
    // At least one of these is not an option, since there is one more.
    let others = (0..).take(options.len() + 1).map(|number| spread(number, atom & allowed));
    let other = others.into_iter().find(|other| !options.contains(other));
    options.extend(other);
    options
}

/// The low bits of `number`, placed at the bits of `mask`.
fn spread(mut number: u128, mask: u128) -> u128 {
    let mut spread = 0;
    for bit in (0..128).map(|place| 1 << place).filter(|bit| mask & bit != 0) {
        spread |= if number & 1 == 1 { bit } else { 0 };
        number >>= 1;
    }
    spread
}
