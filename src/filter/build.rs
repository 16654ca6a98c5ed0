//! Builds one filter from an expression and flags.

use super::context::Context;
use super::error::{Origin, ParseError, Source};
use super::node::Node;
use super::parse::Parser;
use super::predicate::Filter;
use super::token::Op;
use crate::field::{FIELDS, FieldId};

/// A `--NAME VALUE` flag that narrows a filter.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Flag {
    /// Without the dashes.
    pub name: &'static str,
    /// The placeholder of the value in help.
    pub value_name: &'static str,
    /// One line of help.
    pub doc: &'static str,
    field: FieldId,
    /// The comparison, for a flag whose value has no operator.
    op: Option<Op>,
}

/// Flags that are not the name of a field.
const SHORTHANDS: [Flag; 2] = [
    Flag {
        name: "older",
        value_name: "TIME",
        doc: "idle for at least this long, for certain (idle >= TIME)",
        field: FieldId::Idle,
        op: Some(Op::GreaterEqual),
    },
    Flag {
        name: "age-over",
        value_name: "TIME",
        doc: "created at least this long ago (age >= TIME)",
        field: FieldId::Age,
        op: Some(Op::GreaterEqual),
    },
];

/// All filter flags: one per field, and the shorthands.
pub fn flags() -> impl Iterator<Item = Flag> {
    let of_fields = FIELDS.iter().filter(|field| field.flag).map(|field| Flag {
        name: field.name,
        value_name: field.value_name(),
        doc: field.doc,
        field: field.id,
        op: None,
    });
    of_fields.chain(SHORTHANDS)
}

/// Combines an expression and flags: a flow has to match all of them.
#[derive(Debug)]
pub struct FilterBuilder<'a> {
    context: &'a Context<'a>,
    parts: Vec<Node>,
}

impl<'a> FilterBuilder<'a> {
    /// The empty filter.
    #[must_use]
    pub fn new(context: &'a Context<'a>) -> Self {
        FilterBuilder { context, parts: Vec::new() }
    }

    /// Narrows the filter by an expression; a blank one changes nothing.
    ///
    /// # Errors
    /// The text is not an expression.
    pub fn expression(mut self, text: &str) -> Result<Self, ParseError> {
        let source = Source { text, origin: Origin::Expression };
        self.parts.extend(Parser::new(source, self.context)?.expression()?);
        Ok(self)
    }

    /// Narrows the filter by a flag. The value has the syntax of what follows the field in an
    /// expression (`80,443`, `>10m`, `@FILE`).
    ///
    /// # Errors
    /// There is no such flag, or the value is not valid for its field.
    pub fn flag(mut self, name: &str, value: &str) -> Result<Self, ParseError> {
        let source = Source { text: value, origin: Origin::Flag(name.into()) };
        let Some(flag) = flags().find(|flag| flag.name == name) else {
            return Err(source.error(super::TextSpan { start: 0, end: 0 }, format!("unknown flag '--{name}'")));
        };
        let field = flag.field.field();
        let parser = Parser::new(source, self.context)?;
        let part = match flag.op {
            Some(op) => parser.single(field, op)?,
            None => parser.value(field)?,
        };
        self.parts.push(part);
        Ok(self)
    }

    /// The filter.
    ///
    /// # Errors
    /// A state that only some protocols have (`open`, `cookie_wait`), and neither the expression nor a
    /// flag restricts the filter to these.
    pub fn build(self) -> Result<Filter, ParseError> {
        Filter::new(if self.parts.is_empty() { None } else { Some(Node::all(self.parts)) })
    }
}
