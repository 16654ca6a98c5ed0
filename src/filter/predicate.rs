//! A filter: an expression that has been understood.

use std::str::FromStr;

use super::error::{Origin, ParseError, Source};
use super::node::{Answers, Node};
use super::parse::{Context, Parser};
use super::prove;
use super::term::{Term, Verdict};
use crate::field::{Field, Needs, Subject};

/// Which flows are meant: an expression that was parsed.
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
    /// The text is no expression; the error says where.
    pub fn parse(expression: &str, context: &Context<'_>) -> Result<Self, ParseError> {
        let source = Source { text: expression, origin: Origin::Expression };
        Parser::new(source, context)?.expression().map(Filter::new)
    }

    pub(super) fn new(root: Option<Node>) -> Self {
        let mut filter = Filter { root, terms: 0 };
        if let Some(root) = &mut filter.root {
            root.terms_mut(&mut |term| {
                term.index = filter.terms;
                filter.terms += 1;
            });
        }
        filter
    }

    /// Whether the flow is meant. The empty filter means every flow.
    #[must_use]
    #[inline]
    pub fn matches(&self, subject: &Subject<'_>) -> Verdict {
        self.root.as_ref().map_or(Verdict::Match, |root| root.verdict(subject))
    }

    /// Whether nothing at all is asked.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.root.is_none()
    }

    /// Whether it was proven that no flow is left out for certain: the filter is
    /// empty, or each flow is a match or undecided (`tcp or not tcp`,
    /// `timeout >= 0`).
    ///
    /// True is a proof. False is none: fields are taken as independent of each
    /// other, apart from the address family, and a filter that takes too long to
    /// search is given up on. So `addr A or not src A` is not recognised.
    #[must_use]
    pub fn matches_everything(&self) -> bool {
        self.root.as_ref().is_none_or(|root| prove::is_certain(root, Verdict::Match))
    }

    /// Whether it was proven that no flow can be a match (`tcp and udp`). False
    /// proves nothing.
    #[must_use]
    pub fn never_matches(&self) -> bool {
        self.root.as_ref().is_some_and(|root| prove::is_certain(root, Verdict::NoMatch))
    }

    /// The fields that are asked for, each once.
    #[must_use]
    pub fn fields(&self) -> Vec<&'static Field> {
        let mut terms = Vec::with_capacity(self.terms);
        if let Some(root) = &self.root {
            root.terms(&mut terms);
        }
        let mut fields: Vec<&'static Field> = Vec::new();
        for term in terms {
            if !fields.contains(&term.field) {
                fields.push(term.field);
            }
        }
        fields
    }

    /// What has to be read before flows can be judged.
    #[must_use]
    pub fn needs(&self) -> Needs {
        self.fields().into_iter().map(|field| field.needs).fold(Needs::default(), Needs::union)
    }
}
