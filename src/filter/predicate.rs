//! A filter: an expression that has been understood.

use super::error::{Origin, ParseError, Source};
use super::node::{Answers, Node};
use super::parse::{Context, Parser};
use super::prove;
use super::term::{Term, Verdict};
use crate::field::{Field, Subject};

/// Which flows are meant.
#[derive(Debug, Clone, Default)]
pub struct Filter {
    pub(super) root: Option<Node>,
    terms: usize,
}

/// What has to be known to evaluate a filter, beside the flow itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Needs {
    /// It asks for idle time: the timeouts in force have to be read.
    pub idle: bool,
    /// It asks for the age: the clock has to be read.
    pub age: bool,
}

impl Answers for Subject<'_> {
    #[inline]
    fn verdict(&self, term: &Term) -> Verdict {
        term.verdict((term.field.value)(self))
    }
}

impl Filter {
    /// Reads an expression. A blank one is the empty filter.
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
            if !fields.iter().any(|field| field.name == term.field.name) {
                fields.push(term.field);
            }
        }
        fields
    }

    /// What has to be read before flows can be judged.
    #[must_use]
    pub fn needs(&self) -> Needs {
        let fields = self.fields();
        let asks = |name| fields.iter().any(|field| field.name == name);
        Needs { idle: asks("idle"), age: asks("age") }
    }
}
