//! Proves that a filter has the same verdict for every entry, by a search for a
//! counterexample.
//!
//! The terms of one field divide its values into sets within which each term has one
//! answer; one value of each set stands for it (`choice`, `outcome`). The search goes through the
//! combinations of these sets, field by field, and skips what is decided already. It covers
//! every entry, and impossible entries too, since unrelated fields are combined freely. So "no
//! counterexample" is a proof, and a counterexample proves nothing. Undecided values need no
//! set of their own: an undecided value never turns a match into its opposite.
//!
//! Two facts about entries are used: fields that are parts of others (`addr` of `src` and
//! `dst`) have their values in common, and of a [`Population`] of live entries, which
//! classes of entries have a field at all and which values occur.
//!
//! Limit: the greatest timeout of a live entry is taken as that of a kernel with
//! `CONFIG_HZ=1000`, 24.8 days, since a program cannot query the rate. On a kernel with
//! fewer jiffies per second, a sysctl can set a longer one. There `timeout < 25d` counts as a
//! filter that matches everything although an entry with a longer timeout does not match. The
//! error is on the safe side: such a filter needs the confirmation of one that matches everything.

mod bits;
mod choice;
mod masked;
mod outcome;

use std::collections::HashSet;

use self::choice::{Choice, choices};
use super::node::{Answers, Node};
use super::term::{Term, Verdict};
use crate::field::EntryClasses;
use crate::model::Undecided;

/// Most verdicts of terms in a search. Eight million take 0.1 s; without a limit, the time doubles
/// with each field.
const BUDGET: usize = 8_000_000;

/// The flows that a proof covers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Population {
    /// Any flow, from a dump, an event or elsewhere.
    Any,
    /// Entries of a dump, with the properties that the kernel guarantees.
    Live,
}

/// Whether every entry whose verdict is decided gets the verdict `wanted`.
pub(super) fn is_certain(root: &Node, wanted: Verdict, population: Population) -> bool {
    prove(root, wanted, population, BUDGET).is_certain == Some(true)
}

/// The result of a search.
#[derive(Debug, PartialEq, Eq)]
struct Proof {
    /// `None` where the search was given up.
    is_certain: Option<bool>,
    /// Answers of terms that were evaluated.
    steps: usize,
}

fn prove(root: &Node, wanted: Verdict, population: Population, budget: usize) -> Proof {
    let mut terms = Vec::new();
    root.terms(&mut terms);
    let mut choices = choices(&terms, population);
    // Choices with the most terms first: they decide most.
    choices.sort_by_key(|choice| std::cmp::Reverse(choice.terms.len()));
    let mut search = Search { root, wanted, known: vec![UNKNOWN; terms.len()], steps: 0, budget };
    let mut is_certain = Some(true);
    for class in distinct_classes(&choices) {
        is_certain = search.holds(&choices, class);
        if is_certain != Some(true) {
            break;
        }
    }
    Proof { is_certain, steps: search.steps }
}

/// One class of entries for each set of classes that no outcome distinguishes.
fn distinct_classes(choices: &[Choice<'_>]) -> Vec<u8> {
    let mut known = HashSet::new();
    let outcomes = || choices.iter().flat_map(|choice| &choice.outcomes);
    let sets: HashSet<EntryClasses> = outcomes().map(|outcome| outcome.within).collect();
    let sets: Vec<EntryClasses> = sets.into_iter().collect();
    let memberships = |class| -> Vec<bool> { sets.iter().map(|set| set.contains(class)).collect() };
    (0..EntryClasses::COUNT).filter(|class| known.insert(memberships(*class))).collect()
}

const UNKNOWN: Verdict = Verdict::Undecided(Undecided::NotSent);

struct Search<'a> {
    root: &'a Node,
    wanted: Verdict,
    known: Vec<Verdict>,
    steps: usize,
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
    /// Whether each entry of a class has the wanted verdict whatever the remaining choices
    /// are; `None` when that takes more steps than the budget.
    fn holds(&mut self, choices: &[Choice<'_>], class: u8) -> Option<bool> {
        self.steps += self.known.len();
        if self.steps > self.budget {
            return None;
        }
        let verdict = self.root.verdict(&Assumed(&self.known));
        if verdict == self.wanted {
            return Some(true);
        }
        let Some((choice, rest)) = choices.split_first() else { return Some(false) };
        if !matches!(verdict, Verdict::Undecided(_)) {
            return Some(false);
        }
        for outcome in choice.outcomes.iter().filter(|outcome| outcome.within.contains(class)) {
            self.assume(choice, |place| outcome.answers.get(place).map_or(UNKNOWN, |answer| Verdict::from(*answer)));
            if !self.holds(rest, class)? {
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

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::filter::Filter;

    fn proof(expression: &str, budget: usize) -> Proof {
        let filter: Filter = expression.parse().unwrap();
        prove(filter.root.as_ref().unwrap(), Verdict::Match, Population::Live, budget)
    }

    /// Every entry matches, for which many combinations are searched.
    fn long_proof() -> String {
        let terms = ["mark 1", "zone 1", "id 1", "use 1", "helper x", "label 1", "assured", "packets 1", "bytes 1"];
        let all = terms.map(|term| format!("({term} or not {term})")).join(" and ");
        format!("{all} and not (orig-packets 1 and ({}) and orig-packets 2)", terms.join(" or "))
    }

    #[test]
    fn a_search_is_given_up_when_its_budget_is_spent() {
        let terms = 2 * 9 + 9 + 2;
        let whole = proof(&long_proof(), usize::MAX);
        assert_eq!(whole.is_certain, Some(true));
        for budget in [0, 1, 1000, whole.steps - 1] {
            let found = proof(&long_proof(), budget);
            assert_eq!(found.is_certain, None, "{budget}");
            assert!(found.steps > budget && found.steps <= budget + terms, "{budget}: {}", found.steps);
        }
        assert_eq!(proof(&long_proof(), whole.steps).is_certain, Some(true));
    }

    #[test]
    fn classes_of_entries_that_no_term_distinguishes_are_searched_once() {
        assert!(proof("mark 1 or not mark 1", BUDGET).steps <= 6);
        assert!(proof("sport 1 or not sport 1", BUDGET).steps <= 3 * 6);
    }
}
