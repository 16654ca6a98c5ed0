//! The grammar.
//!
//! ```text
//! any      all (or all)*                    also ||
//! all      part (and part)*                 also &&
//! part     not part | ( any ) | term        also !
//! term     WORD | FIELD [=|==|!=] values | FIELD <|<=|>|>= value
//! values   value (, value)* | { value (, value)* }
//! value    word | "word" | @FILE
//! ```

use super::comparison::Comparison;
use super::context::Context;
use super::cursor::TokenCursor;
use super::error::{ParseError, Source, TextSpan};
use super::hint;
use super::node::Node;
use super::token::{Op, Sign, Token};
use super::value::Values;
use crate::field::{Field, field, keyword};

/// Most nested parentheses and negations: the parser is recursive.
const MAX_DEPTH: usize = 64;
/// Most bytes of an expression.
const MAX_LENGTH: usize = 1 << 20;

/// The parser of one text.
pub(super) struct Parser<'a> {
    cursor: TokenCursor<'a>,
    context: &'a Context<'a>,
    depth: usize,
}

impl<'a> Parser<'a> {
    pub(super) fn new(source: Source<'a>, context: &'a Context<'a>) -> Result<Self, ParseError> {
        if source.text.len() > MAX_LENGTH {
            let message = format!("expression is longer than {MAX_LENGTH} bytes");
            return Err(source.error(TextSpan::new(0, 0), message).hint("read the values from a file: src @FILE"));
        }
        Ok(Parser { cursor: TokenCursor::new(source)?, context, depth: 0 })
    }

    /// The whole text as an expression; `None` when it is blank.
    pub(super) fn expression(mut self) -> Result<Option<Node>, ParseError> {
        if self.cursor.peek().sign == Sign::End {
            return Ok(None);
        }
        let node = self.any()?;
        self.cursor.expect_end()?;
        Ok(Some(node))
    }

    /// The whole text as an operator and values of `field`.
    pub(super) fn value(mut self, field: &'static Field) -> Result<Node, ParseError> {
        let start = self.cursor.peek().span;
        let node = self.comparison(field).parse(start)?;
        self.cursor.expect_end()?;
        Ok(node)
    }

    /// The whole text as one value, which `field` is compared with by `op`.
    pub(super) fn single(mut self, field: &'static Field, op: Op) -> Result<Node, ParseError> {
        let node = self.comparison(field).ordered(op)?;
        self.cursor.expect_end()?;
        Ok(node)
    }

    fn comparison(&mut self, field: &'static Field) -> Comparison<'_, 'a> {
        Comparison { cursor: &mut self.cursor, context: self.context, field }
    }

    fn any(&mut self) -> Result<Node, ParseError> {
        let mut parts = vec![self.all()?];
        while self.cursor.next_is(Sign::Or) {
            parts.push(self.all()?);
        }
        Ok(Node::any(parts))
    }

    fn all(&mut self) -> Result<Node, ParseError> {
        let mut parts = vec![self.part()?];
        while self.cursor.next_is(Sign::And) {
            parts.push(self.part()?);
        }
        Ok(Node::all(parts))
    }

    fn part(&mut self) -> Result<Node, ParseError> {
        let token = self.cursor.next();
        self.depth += 1;
        if self.depth > MAX_DEPTH {
            return Err(self
                .cursor
                .source
                .error(token.span, format!("more than {MAX_DEPTH} levels of parentheses and negations")));
        }
        let node = match token.sign {
            Sign::Not => Node::not(self.part()?),
            Sign::Open => self.bracket(token)?,
            Sign::Word(name) => self.term(name, token.span)?,
            _ => return Err(self.cursor.not_a_term(token)),
        };
        self.depth -= 1;
        Ok(node)
    }

    fn bracket(&mut self, open: Token<'a>) -> Result<Node, ParseError> {
        let node = self.any()?;
        let token = self.cursor.next();
        match token.sign {
            Sign::Close => Ok(node),
            Sign::End => Err(self.cursor.source.error(open.span, "unclosed '('")),
            _ => Err(self.cursor.not_joined(token)),
        }
    }

    fn term(&mut self, name: &str, span: TextSpan) -> Result<Node, ParseError> {
        let lower = name.to_ascii_lowercase();
        if let Some(field) = field(&lower) {
            return self.comparison(field).parse(span);
        }
        let Some(keyword) = keyword(&lower) else {
            return Err(self.unknown(name, span));
        };
        let field = keyword.field.field();
        let mut values = Values::new(field, self.context);
        values.add_at(keyword.name, span, || self.cursor.source.clone())?;
        Ok(Node::Term(values.finish()))
    }

    #[cold]
    fn unknown(&self, name: &str, span: TextSpan) -> ParseError {
        let error = self.cursor.source.error(span, format!("unknown field '{name}'"));
        match hint::for_unknown(name) {
            Some(hint) => error.hint(hint),
            None => error,
        }
    }
}
