//! A filter: a parsed expression.

use std::str::FromStr;

use super::context::Context;
use super::error::{Origin, ParseError, Source};
use super::node::{Answers, Node};
use super::parse::Parser;
use super::prove::{self, Population};
use super::term::{Term, Verdict};
use crate::field::{Field, Needs, Subject};

/// A predicate on flows, parsed from an expression.
#[derive(Debug, Clone, Default)]
pub struct Filter {
    pub(super) root: Option<Node>,
    terms: usize,
}

impl Answers for Subject<'_> {
    #[inline]
    fn verdict(&self, term: &Term) -> Verdict {
        term.verdict((term.field.value)(self))
    }
}

/// [`Filter::parse`] without names of ports or labels, and without files.
impl FromStr for Filter {
    type Err = ParseError;

    fn from_str(expression: &str) -> Result<Self, ParseError> {
        Filter::parse(expression, &Context::default())
    }
}

impl Filter {
    /// Parses an expression. A blank one is the empty filter.
    ///
    /// # Errors
    /// The text is not an expression; the error has the position.
    pub fn parse(expression: &str, context: &Context<'_>) -> Result<Self, ParseError> {
        let source = Source { text: expression, origin: Origin::Expression };
        Filter::new(Parser::new(source, context)?.expression()?)
    }

    /// The filter of a whole expression.
    pub(super) fn new(root: Option<Node>) -> Result<Self, ParseError> {
        if let Some(root) = &root {
            root.check_rare_states(&mut Vec::new())?;
        }
        let mut filter = Filter { root, terms: 0 };
        if let Some(root) = &mut filter.root {
            root.terms_mut(&mut |term| {
                term.index = filter.terms;
                filter.terms += 1;
            });
        }
        Ok(filter)
    }

    /// The verdict for a flow. The empty filter matches every flow.
    #[must_use]
    #[inline]
    pub fn matches(&self, subject: &Subject<'_>) -> Verdict {
        self.root.as_ref().map_or(Verdict::Match, |root| root.verdict(subject))
    }

    /// Whether the filter has no term, so that every flow matches.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.root.is_none()
    }

    /// Whether it was proven that no entry of a dump is certainly left out: the filter is
    /// empty, or each entry matches or is undecided (`tcp or not tcp`, `timeout >= 0`,
    /// `confirmed`).
    ///
    /// What the kernel guarantees of entries in its table is assumed: they are confirmed,
    /// neither dying nor templates, have a reference count of at least 1, no more remaining
    /// time than a timeout can be with `CONFIG_HZ=1000` (24.8 days; longer ones, which other
    /// kernels allow, are not considered), ports if they are TCP or UDP, and so on. The proof is for
    /// whoever deletes what matches: an entry that is being removed already, or that only a
    /// crafted packet can create (ICMP over IPv6), counts as none.
    ///
    /// True is a proof. False is not: a search that takes too long is given up, and fields
    /// are assumed to be independent of each other, apart from family, protocol, NAT, and those
    /// that are parts of others (`addr` of `src` and `dst`). So `packets >= 1 or
    /// orig-packets = 0` is not recognised, and neither is `not id 7`.
    #[must_use]
    pub fn matches_everything(&self) -> bool {
        self.root.as_ref().is_none_or(|root| prove::is_certain(root, Verdict::Match, Population::Live))
    }

    /// Whether it was proven that no flow can match, of a dump or of an event (`tcp and
    /// udp`). False proves nothing.
    #[must_use]
    pub fn never_matches(&self) -> bool {
        self.root.as_ref().is_some_and(|root| prove::is_certain(root, Verdict::NoMatch, Population::Any))
    }

    /// The files of `@FILE` that contain no values. A set of nothing else matches nothing.
    #[must_use]
    pub fn empty_files(&self) -> Vec<&str> {
        self.terms().into_iter().flat_map(|term| &term.empty_files).map(|path| &**path).collect()
    }

    /// Whether a set that is empty, since its files contain no values, is negated: what is around it
    /// then matches every entry (`not src @FILE`). The file may have lost its contents, so whoever deletes
    /// asks first.
    #[must_use]
    pub fn negates_empty_file(&self) -> bool {
        self.root.as_ref().is_some_and(|root| root.negates_empty_set(false))
    }

    fn terms(&self) -> Vec<&Term> {
        let mut terms = Vec::with_capacity(self.terms);
        if let Some(root) = &self.root {
            root.terms(&mut terms);
        }
        terms
    }

    /// The fields that are compared, each once.
    #[must_use]
    pub fn fields(&self) -> Vec<&'static Field> {
        let mut fields: Vec<&'static Field> = Vec::new();
        for term in self.terms() {
            if !fields.contains(&term.field) {
                fields.push(term.field);
            }
        }
        fields
    }

    /// What has to be read before the filter can be evaluated.
    #[must_use]
    pub fn needs(&self) -> Needs {
        self.fields().into_iter().map(|field| field.needs).fold(Needs::default(), Needs::union)
    }
}
