//! Does a filter say the same of every flow? A search for a counterexample.
//!
//! The terms of one field cut its values into classes within which all of them
//! answer alike; one value beside each boundary stands for each class. The
//! search goes through the combinations of classes, field by field, and leaves
//! out what is decided already. It finds every flow's answer, and those of
//! impossible flows too, since fields are taken as independent of each other
//! (but all addresses are of one family). So "no counterexample" is a proof, and
//! a counterexample is none. Flows whose values cannot be known need no class
//! of their own: knowing less never turns a match into its opposite.

use super::node::{Answers, Node};
use super::ranges::{v4, v6};
use super::term::{Pattern, Term, Test, Verdict};
use crate::field::{Field, Value, ValueKind};
use crate::model::{Labels, Status, Undecided};
use crate::wire::Family;

/// Answers of terms that are looked at before the search is given up.
const BUDGET: usize = 4_000_000;
/// Classes of one field.
const MAX_CLASSES: usize = 1024;
/// Bits of which all combinations are looked at.
const MAX_BITS: usize = 9;

/// Whether every flow that is decided gets the answer `wanted`.
pub(super) fn is_certain(root: &Node, wanted: Verdict) -> bool {
    let mut terms = Vec::new();
    root.terms(&mut terms);
    let Some(mut choices) = by_field(&terms) else { return false };
    // What is asked most often decides most.
    choices.sort_by_key(|choice| std::cmp::Reverse(choice.terms.len()));
    let mut search = Search { root, wanted, known: vec![UNKNOWN; terms.len()], budget: BUDGET };
    [Family::V4, Family::V6].into_iter().all(|family| search.holds(&choices, family) == Some(true))
}

const UNKNOWN: Verdict = Verdict::Undecided(Undecided::NotSent);

/// The classes of one field's values.
struct Choice<'a> {
    terms: Vec<&'a Term>,
    classes: Vec<Class>,
}

/// Values to which all terms of their field give the same answers.
#[derive(Clone, PartialEq, Eq)]
struct Class {
    /// The address family that these values belong to, where they do.
    family: Option<Family>,
    answers: Vec<bool>,
}

struct Search<'a> {
    root: &'a Node,
    wanted: Verdict,
    known: Vec<Verdict>,
    budget: usize,
}

/// The answers that are assumed, by the terms' numbers.
struct Assumed<'a>(&'a [Verdict]);

impl Answers for Assumed<'_> {
    fn verdict(&self, term: &Term) -> Verdict {
        self.0.get(term.index).copied().unwrap_or(UNKNOWN)
    }
}

impl Search<'_> {
    /// Whether the answer is the wanted one whatever the remaining fields are;
    /// `None` when it takes too long to find out.
    fn holds(&mut self, choices: &[Choice<'_>], family: Family) -> Option<bool> {
        self.budget = self.budget.checked_sub(self.known.len())?;
        let verdict = self.root.verdict(&Assumed(&self.known));
        if verdict == self.wanted {
            return Some(true);
        }
        let Some((choice, rest)) = choices.split_first() else { return Some(false) };
        if !matches!(verdict, Verdict::Undecided(_)) {
            return Some(false);
        }
        for class in choice.classes.iter().filter(|class| class.family.is_none_or(|own| own == family)) {
            self.assume(choice, |place| class.answers.get(place).map_or(UNKNOWN, |answer| Verdict::from(*answer)));
            if !self.holds(rest, family)? {
                return Some(false);
            }
        }
        self.assume(choice, |_| UNKNOWN);
        Some(true)
    }

    fn assume(&mut self, choice: &Choice<'_>, answer: impl Fn(usize) -> Verdict) {
        for (place, term) in choice.terms.iter().enumerate() {
            if let Some(known) = self.known.get_mut(term.index) {
                *known = answer(place);
            }
        }
    }
}

/// The terms by field, each field with its classes; `None` when they are too many.
fn by_field<'a>(terms: &[&'a Term]) -> Option<Vec<Choice<'a>>> {
    let mut choices: Vec<Choice<'a>> = Vec::new();
    for term in terms {
        match choices.iter_mut().find(|choice| choice.terms.iter().any(|known| known.field == term.field)) {
            Some(choice) => choice.terms.push(term),
            None => choices.push(Choice { terms: vec![term], classes: Vec::new() }),
        }
    }
    for choice in &mut choices {
        let field = choice.terms.first()?.field;
        choice.classes = classes(field, &choice.terms)?;
    }
    Some(choices)
}

fn classes(field: &Field, terms: &[&Term]) -> Option<Vec<Class>> {
    let mut classes = match field.kind {
        ValueKind::Address => addresses(terms)?,
        ValueKind::Family => {
            let both = [Family::V4, Family::V6];
            both.map(|family| class(terms, Value::Number(family.number().into()), Some(family))).to_vec()
        }
        ValueKind::Status => bits(terms, |term| match term.test {
            Test::Status { set, unset } => (set | unset).into(),
            _ => 0,
        })?
        .into_iter()
        .map(|bits| class(terms, Value::Status(Status::from_bits_retain(bits as u32)), None))
        .collect(),
        ValueKind::Label => labels(terms)?,
        ValueKind::Text => texts(terms),
        ValueKind::Masked if terms.iter().any(|term| has_patterns(term)) => masked(terms)?,
        _ => numbers(field, terms)?,
    };
    if !field.absent_in.is_empty() {
        classes.push(class(terms, Value::Absent, None));
    }
    let classes = distinct(classes)?;
    if field.multi { closed(classes) } else { Some(classes) }
}

fn class(terms: &[&Term], value: Value<'_>, family: Option<Family>) -> Class {
    Class { family, answers: terms.iter().map(|term| term.verdict(value).is_match()).collect() }
}

fn distinct(classes: Vec<Class>) -> Option<Vec<Class>> {
    let mut distinct: Vec<Class> = Vec::new();
    for class in classes {
        if !distinct.contains(&class) {
            distinct.push(class);
        }
        if distinct.len() > MAX_CLASSES {
            return None;
        }
    }
    Some(distinct)
}

/// Adds the classes of flows that have several values, of one family.
fn closed(mut classes: Vec<Class>) -> Option<Vec<Class>> {
    let mut at = 0;
    while let Some(one) = classes.get(at).cloned() {
        for other in classes.clone().into_iter().filter(|other| other.family == one.family) {
            let answers = one.answers.iter().zip(&other.answers).map(|(a, b)| *a || *b).collect();
            let both = Class { family: one.family, answers };
            if !classes.contains(&both) {
                classes.push(both);
            }
        }
        at += 1;
        if classes.len() > MAX_CLASSES / 8 {
            return None;
        }
    }
    Some(classes)
}

fn addresses(terms: &[&Term]) -> Option<Vec<Class>> {
    let (mut of_v4, mut of_v6) = (vec![0], vec![0]);
    for term in terms {
        if let Test::Addresses(set) = &term.test {
            of_v4.extend(set.v4.as_slice().iter().flat_map(|(low, high)| [*low, high.saturating_add(1)]));
            of_v6.extend(set.v6.as_slice().iter().flat_map(|(low, high)| [*low, high.saturating_add(1)]));
        }
    }
    affordable(of_v4.len() + of_v6.len(), terms)?;
    let of_v4 = of_v4.into_iter().map(|bits| class(terms, Value::Address(v4(bits)), Some(Family::V4)));
    let of_v6 = of_v6.into_iter().map(|bits| class(terms, Value::Address(v6(bits)), Some(Family::V6)));
    Some(of_v4.chain(of_v6).collect())
}

/// 0 and the first number of each stretch inside and outside of the ranges.
fn numbers(field: &Field, terms: &[&Term]) -> Option<Vec<Class>> {
    let max = match field.kind {
        // Three trackers with 256 numbers each; source, destination, both, none.
        ValueKind::State => 0x2ff,
        ValueKind::Nat => 3,
        kind => kind.max(),
    };
    let mut values = vec![0];
    for term in terms {
        if let Test::Numbers(ranges) | Test::Masked { ranges, .. } = &term.test {
            values.extend(ranges.as_slice().iter().flat_map(|(low, high)| [*low, high.saturating_add(1)]));
        }
    }
    affordable(values.len(), terms)?;
    let values = values.into_iter().filter(|value| *value <= max);
    Some(values.map(|value| class(terms, Value::Number(value), None)).collect())
}

fn affordable(values: usize, terms: &[&Term]) -> Option<()> {
    (values.saturating_mul(terms.len()) <= BUDGET).then_some(())
}

/// Every combination of the bits that are asked for.
fn bits(terms: &[&Term], asked: impl Fn(&Term) -> u128) -> Option<Vec<u128>> {
    let asked = terms.iter().fold(0, |bits, term| bits | asked(term));
    let mut combinations = vec![0];
    for bit in (0..128).map(|number| 1u128 << number).filter(|bit| asked & bit != 0) {
        combinations.extend(combinations.clone().into_iter().map(|bits| bits | bit));
        if combinations.len() > 1 << MAX_BITS {
            return None;
        }
    }
    Some(combinations)
}

/// What is there has at least one label: one that nobody asks for, if no other.
fn labels(terms: &[&Term]) -> Option<Vec<Class>> {
    let combinations = bits(terms, |term| if let Test::Labels(bits) = term.test { bits } else { 0 })?;
    let of = |bits: u128| Labels::from_numbers((0..128).filter(|number| bits >> number & 1 == 1));
    Some(combinations.into_iter().map(|bits| class(terms, Value::Labels(of(bits)), None)).collect())
}

/// Every word that is asked for, and one that is not.
fn texts(terms: &[&Term]) -> Vec<Class> {
    let mut words: Vec<&str> = Vec::new();
    for term in terms {
        if let Test::Texts(texts) = &term.test {
            words.extend(texts.iter().map(|text| &**text));
        }
    }
    // No word can contain a quotation mark.
    words.push("\"");
    words.into_iter().map(|word| class(terms, Value::Text(word), None)).collect()
}

fn has_patterns(term: &Term) -> bool {
    matches!(&term.test, Test::Masked { patterns, .. } if !patterns.is_empty())
}

/// The classes of values under masks: bits that the same masks look at are set
/// together, to what a pattern wants of them or to something else. Ranges are
/// taken as independent of that, so there are also classes of no value.
fn masked(terms: &[&Term]) -> Option<Vec<Class>> {
    let (mut patterns, mut bounds): (Vec<Pattern>, Vec<u64>) = (Vec::new(), vec![0]);
    for term in terms {
        patterns.extend(own_patterns(term));
        bounds.extend(wide_ranges(term).flat_map(|(low, high)| [low, high.saturating_add(1)]));
    }
    let mut values = vec![0];
    for atom in atoms(&patterns) {
        let options = options(atom, &patterns);
        values = values.iter().flat_map(|value| options.iter().map(move |option| value | option)).collect();
        if values.len() > MAX_CLASSES {
            return None;
        }
    }
    affordable(values.len().saturating_mul(bounds.len()), terms)?;
    let answer = |term: &Term, value: u32, bound: u64| {
        own_patterns(term).any(|pattern| pattern.fits(value.into()))
            || wide_ranges(term).any(|(low, high)| low <= bound && bound <= high)
    };
    let pairs = values.iter().flat_map(|value| bounds.iter().map(move |bound| (*value, *bound)));
    let class =
        |(value, bound)| Class { family: None, answers: terms.iter().map(|term| answer(term, value, bound)).collect() };
    Some(pairs.map(class).collect())
}

/// The patterns that a term asks for, and its single values as such.
fn own_patterns(term: &Term) -> impl Iterator<Item = Pattern> {
    let (ranges, patterns): (&[(u64, u64)], &[Pattern]) = match &term.test {
        Test::Masked { ranges, patterns } => (ranges.as_slice(), patterns),
        _ => (&[], &[]),
    };
    let single = ranges.iter().filter(|(low, high)| low == high);
    let single = single.filter_map(|(value, _)| u32::try_from(*value).ok());
    patterns.iter().copied().chain(single.map(|value| Pattern { value, mask: u32::MAX }))
}

/// The ranges of more than one value.
fn wide_ranges(term: &Term) -> impl Iterator<Item = (u64, u64)> {
    let ranges: &[(u64, u64)] = match &term.test {
        Test::Masked { ranges, .. } => ranges.as_slice(),
        _ => &[],
    };
    ranges.iter().copied().filter(|(low, high)| low < high)
}

/// The bits, in groups of which every mask has all or none.
fn atoms(patterns: &[Pattern]) -> Vec<u32> {
    let mut atoms = vec![u32::MAX];
    for pattern in patterns {
        let split = atoms.iter().flat_map(|atom| [atom & pattern.mask, atom & !pattern.mask]);
        atoms = split.filter(|atom| *atom != 0).collect();
    }
    atoms
}

fn options(atom: u32, patterns: &[Pattern]) -> Vec<u32> {
    let asking = patterns.iter().filter(|pattern| pattern.mask & atom != 0);
    let mut options: Vec<u32> = asking.map(|pattern| pattern.value & atom).collect();
    options.sort_unstable();
    options.dedup();
    // One more than there are options cannot all be among them.
    let others = (0..).take(options.len() + 1).map(|number| spread(number, atom));
    let other = others.into_iter().find(|other| !options.contains(other));
    options.extend(other);
    options
}

/// The low bits of `number`, placed at the bits of `mask`.
fn spread(mut number: u32, mask: u32) -> u32 {
    let mut spread = 0;
    for bit in (0..32).map(|place| 1 << place).filter(|bit| mask & bit != 0) {
        spread |= if number & 1 == 1 { bit } else { 0 };
        number >>= 1;
    }
    spread
}
