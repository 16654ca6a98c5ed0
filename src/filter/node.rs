//! Terms joined by and, or, not, with three-valued verdicts.

use super::error::ParseError;
use super::ranges::{AddressSet, Ranges};
use super::term::{Term, Test, Verdict};
use crate::field::FieldId;

/// An expression.
#[derive(Debug, Clone)]
pub(super) enum Node {
    All(Vec<Node>),
    Any(Vec<Node>),
    Not(Box<Node>),
    Term(Term),
}

/// The verdicts of terms: of a flow, or assumed.
pub(super) trait Answers {
    fn verdict(&self, term: &Term) -> Verdict;
}

impl Node {
    /// A conjunction. Nested conjunctions are flattened.
    pub(super) fn all(parts: Vec<Node>) -> Node {
        let mut flat = Vec::with_capacity(parts.len());
        for part in parts {
            match part {
                Node::All(inner) => flat.extend(inner),
                part => flat.push(part),
            }
        }
        // Costly terms are evaluated last; the order does not change the verdict.
        flat.sort_by_key(Node::is_costly);
        single(flat, Node::All)
    }

    /// A disjunction. Nested disjunctions are flattened; terms of one field are united.
    pub(super) fn any(parts: Vec<Node>) -> Node {
        let mut flat = Vec::with_capacity(parts.len());
        for part in parts {
            match part {
                Node::Any(inner) => flat.extend(inner),
                part => flat.push(part),
            }
        }
        let mut united = unite(flat);
        united.sort_by_key(Node::is_costly);
        single(united, Node::Any)
    }

    pub(super) fn not(part: Node) -> Node {
        match part {
            Node::Not(inner) => *inner,
            part => Node::Not(Box::new(part)),
        }
    }

    /// The verdict in Kleene's three-valued logic.
    pub(super) fn verdict<A: Answers>(&self, answers: &A) -> Verdict {
        match self {
            Node::Term(term) => answers.verdict(term),
            Node::Not(part) => part.verdict(answers).negated(),
            Node::All(parts) => fold(parts, answers, Verdict::NoMatch, Verdict::Match),
            Node::Any(parts) => fold(parts, answers, Verdict::Match, Verdict::NoMatch),
        }
    }

    /// Calls `visit` with every term, in order.
    pub(super) fn terms_mut(&mut self, visit: &mut impl FnMut(&mut Term)) {
        match self {
            Node::Term(term) => visit(term),
            Node::Not(part) => part.terms_mut(visit),
            Node::All(parts) | Node::Any(parts) => parts.iter_mut().for_each(|part| part.terms_mut(visit)),
        }
    }

    /// Every term, in order.
    pub(super) fn terms<'a>(&'a self, into: &mut Vec<&'a Term>) {
        match self {
            Node::Term(term) => into.push(term),
            Node::Not(part) => part.terms(into),
            Node::All(parts) | Node::Any(parts) => parts.iter().for_each(|part| part.terms(into)),
        }
    }

    /// Checks that the filter is restricted to the protocols of states that TCP does not have: by a term
    /// about the protocol in an `and` around them. `protocols` are the terms of this kind that are around
    /// this node.
    pub(super) fn check_rare_states(&self, protocols: &mut Vec<Ranges<u64>>) -> Result<(), ParseError> {
        match self {
            Node::Term(term) => term.rare_states.iter().try_for_each(|state| {
                state.check(|number| protocols.iter().all(|possible| possible.contains(number.into())))
            }),
            Node::Not(part) => part.check_rare_states(protocols),
            Node::Any(parts) => parts.iter().try_for_each(|part| part.check_rare_states(protocols)),
            Node::All(parts) => {
                let around = protocols.len();
                protocols.extend(parts.iter().filter_map(Node::protocols).cloned());
                parts.iter().try_for_each(|part| part.check_rare_states(protocols))?;
                protocols.truncate(around);
                Ok(())
            }
        }
    }

    /// The protocols of a term about the protocol.
    fn protocols(&self) -> Option<&Ranges<u64>> {
        match self {
            Node::Term(Term { field, test: Test::Numbers(ranges), .. }) if field.id == FieldId::Protocol => {
                Some(ranges)
            }
            _ => None,
        }
    }

    /// Whether a term that is true of no entry, since its files have no values, is negated.
    pub(super) fn negates_empty_set(&self, is_negated: bool) -> bool {
        match self {
            Node::Term(term) => is_negated && !term.empty_files.is_empty() && term.test.is_empty(),
            Node::Not(part) => part.negates_empty_set(!is_negated),
            Node::All(parts) | Node::Any(parts) => parts.iter().any(|part| part.negates_empty_set(is_negated)),
        }
    }

    /// Whether a term's value is computed from more than the flow.
    fn is_costly(&self) -> bool {
        match self {
            Node::Term(term) => term.field.needs.is_costly(),
            Node::Not(part) => part.is_costly(),
            Node::All(parts) | Node::Any(parts) => parts.iter().any(Node::is_costly),
        }
    }
}

/// `deciding` if a part has this verdict; else the first undecided verdict, if any; else
/// `otherwise`.
#[inline]
fn fold<A: Answers>(parts: &[Node], answers: &A, deciding: Verdict, otherwise: Verdict) -> Verdict {
    let mut verdict = otherwise;
    for part in parts {
        let found = part.verdict(answers);
        if found == deciding {
            return deciding;
        }
        if verdict == otherwise {
            verdict = found;
        }
    }
    verdict
}

fn single(mut parts: Vec<Node>, join: impl FnOnce(Vec<Node>) -> Node) -> Node {
    match (parts.len(), parts.pop()) {
        (1, Some(part)) => part,
        (_, last) => {
            parts.extend(last);
            join(parts)
        }
    }
}

/// Replaces alternatives for the same field by one term, at the position of the first.
fn unite(parts: Vec<Node>) -> Vec<Node> {
    let mut groups: Vec<Vec<Node>> = Vec::new();
    // The first term of each group that can grow: at most one per field.
    let mut open: Vec<(Term, usize)> = Vec::new();
    for part in parts {
        let found = match &part {
            Node::Term(term) => open.iter().find(|(first, _)| first.unites_with(term)).map(|(_, at)| *at),
            _ => None,
        };
        if let Some(group) = found.and_then(|at| groups.get_mut(at)) {
            group.push(part);
            continue;
        }
        if let Node::Term(term) = &part
            && term.unites_with(term)
        {
            open.push((term.clone(), groups.len()));
        }
        groups.push(vec![part]);
    }
    groups.into_iter().flat_map(union).collect()
}

fn union(group: Vec<Node>) -> Vec<Node> {
    if group.len() < 2 {
        return group;
    }
    let (mut numbers, mut v4, mut v6, mut words) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    let (mut rare_states, mut empty_files) = (Vec::new(), Vec::new());
    let mut first: Option<Term> = None;
    for part in group {
        let Node::Term(mut term) = part else { continue };
        words.append(&mut term.words);
        rare_states.append(&mut term.rare_states);
        empty_files.append(&mut term.empty_files);
        match &term.test {
            Test::Numbers(ranges) => numbers.extend_from_slice(ranges.as_slice()),
            Test::Addresses(set) => {
                v4.extend_from_slice(set.v4.as_slice());
                v6.extend_from_slice(set.v6.as_slice());
            }
            _ => {}
        }
        first.get_or_insert(term);
    }
    let united = first.map(|term| {
        let test = match term.test {
            Test::Addresses(_) => Test::Addresses(AddressSet { v4: Ranges::new(v4), v6: Ranges::new(v6) }),
            _ => Test::Numbers(Ranges::new(numbers)),
        };
        Node::Term(Term { test, words, rare_states, empty_files, ..term })
    });
    united.into_iter().collect()
}
