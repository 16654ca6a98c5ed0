//! What follows the name of a field: an operator and values.

use super::context::{Context, MAX_FILE};
use super::cursor::TokenCursor;
use super::error::{ParseError, TextSpan};
use super::node::Node;
use super::term::{Term, Test};
use super::token::{Op, Sign};
use super::value::Values;
use super::value_file;
use crate::field::{Field, ValueKind};

/// The parser of a comparison of `field`.
pub(super) struct Comparison<'c, 'a> {
    pub cursor: &'c mut TokenCursor<'a>,
    pub context: &'c Context<'c>,
    pub field: &'static Field,
}

impl Comparison<'_, '_> {
    /// An operator and values, or values alone. `name` is the position of the field's name.
    pub(super) fn parse(self, name: TextSpan) -> Result<Node, ParseError> {
        let token = self.cursor.peek();
        let Sign::Op(op) = token.sign else {
            return self.values(name, false);
        };
        self.cursor.next();
        match op {
            Op::Equal => self.values(name, true),
            Op::NotEqual => self.values(name, true).map(Node::not),
            _ if self.field.kind.is_ordered() => self.ordered(op),
            _ => Err(self
                .cursor
                .source
                .error(token.span, format!("field '{}' does not support < and >", self.field.name))
                .hint(self.field.example)),
        }
    }

    /// One number after `<`, `<=`, `>` or `>=`.
    pub(super) fn ordered(self, op: Op) -> Result<Node, ParseError> {
        let token = self.cursor.next();
        let Sign::Word(word) = token.sign else {
            return Err(self.cursor.not_a_value(self.field, token));
        };
        let mut values = Values::new(self.field, self.context);
        values.add_at(word, token.span, || self.cursor.source.clone())?;
        if values.has_range || values.has_mask() || values.is_several() {
            return Err(self.cursor.source.error(token.span, "expected one number").hint(self.field.example));
        }
        if self.cursor.peek().sign == Sign::Comma {
            return Err(self.cursor.source.error(self.cursor.peek().span, "expected one number, not a list"));
        }
        Ok(Node::Term(values.compare(op)))
    }

    /// One or more values; the term matches any of them.
    fn values(mut self, name: TextSpan, has_op: bool) -> Result<Node, ParseError> {
        if let Some(node) = self.any_or_none() {
            return Ok(node);
        }
        let first = self.cursor.peek();
        let mut values = Values::new(self.field, self.context);
        if self.cursor.next_is(Sign::OpenSet) {
            self.set(first.span, &mut values)?;
        } else {
            self.add_value(&mut values)?;
            while self.cursor.next_is(Sign::Comma) {
                self.add_value(&mut values)?;
            }
        }
        if self.field.kind == ValueKind::Duration && !has_op && values.count == 1 && !values.has_range {
            let text = self.cursor.source.text.get(first.span.start..first.span.end).unwrap_or_default();
            return Err(self
                .cursor
                .source
                .error(name.to(first.span), format!("'{0}' needs a comparison, e.g. {0} >= {text}", self.field.name))
                .hint(format!("{0} >= {text}, or {0} < {text}", self.field.name)));
        }
        Ok(Node::Term(values.finish()))
    }

    /// `any` and `none`, for a field whose values are arbitrary names.
    fn any_or_none(&mut self) -> Option<Node> {
        let Sign::Word(word) = self.cursor.peek().sign else { return None };
        let has_names = matches!(self.field.kind, ValueKind::Text | ValueKind::Label);
        let presence = Node::Term(Term::new(self.field, Test::Present));
        let node = match &*word.to_ascii_lowercase() {
            "any" if has_names => presence,
            "none" if has_names => Node::not(presence),
            _ => return None,
        };
        self.cursor.next();
        Some(node)
    }

    fn set(&mut self, open: TextSpan, values: &mut Values<'_>) -> Result<(), ParseError> {
        if self.cursor.peek().sign == Sign::CloseSet {
            return Err(self
                .cursor
                .source
                .error(open.to(self.cursor.peek().span), "empty set: expected a value")
                .hint(self.field.example));
        }
        loop {
            self.add_value(values)?;
            let token = self.cursor.next();
            match token.sign {
                Sign::Comma => {}
                Sign::CloseSet => return Ok(()),
                Sign::End => return Err(self.cursor.source.error(open, "unclosed '{'")),
                _ => return Err(self.cursor.source.error(token.span, "expected ',' or '}'")),
            }
        }
    }

    fn add_value(&mut self, values: &mut Values<'_>) -> Result<(), ParseError> {
        let token = self.cursor.next();
        match token.sign {
            Sign::Word(word) if is_reserved(self.field, word) => {
                let message = format!("'{word}' cannot be in a list");
                Err(self.cursor.source.error(token.span, message).hint(format!("for the name, quote it: \"{word}\"")))
            }
            Sign::Word(word) => values.add_at(word, token.span, || self.cursor.source.clone()),
            Sign::Quoted(word) => {
                let added = values.add_at(word, token.span, || self.cursor.source.clone());
                added.map_err(|error| behind_quotation_mark(error, token.span))
            }
            Sign::File(path) => self.add_file(values, path, token.span),
            _ => Err(self.cursor.not_a_value(self.field, token)),
        }
    }

    /// The values of a file. Without any, the set stays as it is, which [`super::Filter::empty_files`] reports.
    fn add_file(&self, values: &mut Values<'_>, path: &str, span: TextSpan) -> Result<(), ParseError> {
        let read = (self.context.read_file)(path);
        let bytes = read.map_err(|error| self.cursor.source.error(span, format!("cannot read '{path}': {error}")))?;
        if bytes.len() > MAX_FILE {
            return Err(self.cursor.source.error(span, format!("'{path}' is larger than {} MiB", MAX_FILE >> 20)));
        }
        let before = values.count;
        value_file::add_values(values, path, &bytes)?;
        if values.count == before {
            values.empty_files.push(path.into());
        }
        Ok(())
    }
}

fn is_reserved(field: &Field, word: &str) -> bool {
    matches!(field.kind, ValueKind::Text | ValueKind::Label)
        && (word.eq_ignore_ascii_case("any") || word.eq_ignore_ascii_case("none"))
}

/// Moves the error in a part of a quoted word by the length of the quotation mark.
fn behind_quotation_mark(error: ParseError, word: TextSpan) -> ParseError {
    let span = TextSpan::new(error.span.start + 1, error.span.end + 1);
    if error.span == word { error } else { ParseError { span, ..error } }
}
