//! The tokens of a text, one after the other, and the errors of an unexpected one.

use super::error::{ParseError, Source, TextSpan};
use super::token::{Sign, Token, tokens};
use super::{hint, mask_notation};
use crate::field::Field;

/// The position in the tokens of a text.
pub(super) struct TokenCursor<'a> {
    pub source: Source<'a>,
    tokens: Vec<Token<'a>>,
    at: usize,
}

impl<'a> TokenCursor<'a> {
    /// At the first token of `source`.
    pub(super) fn new(source: Source<'a>) -> Result<Self, ParseError> {
        let tokens = tokens(&source)?;
        Ok(TokenCursor { source, tokens, at: 0 })
    }

    /// The next token, which stays the next.
    pub(super) fn peek(&self) -> Token<'a> {
        let end = TextSpan::new(self.source.text.len(), self.source.text.len());
        self.tokens.get(self.at).copied().unwrap_or(Token { sign: Sign::End, span: end })
    }

    /// Moves past the next token and returns it.
    pub(super) fn next(&mut self) -> Token<'a> {
        let token = self.peek();
        self.at += 1;
        token
    }

    /// Moves past the next token if it is `sign`; returns whether it is.
    pub(super) fn next_is(&mut self, sign: Sign<'_>) -> bool {
        let found = self.peek().sign == sign;
        self.at += usize::from(found);
        found
    }

    /// Checks that no token is left.
    pub(super) fn expect_end(&mut self) -> Result<(), ParseError> {
        let token = self.next();
        if token.sign == Sign::End { Ok(()) } else { Err(self.not_joined(token)) }
    }

    /// The values from here on, as a list of a comparison: without signs of negation. `None` if there is none.
    fn values(&self) -> Option<String> {
        let mut tokens = self.tokens.get(self.at..).unwrap_or_default();
        if let [Token { sign: Sign::OpenSet, .. }, rest @ ..] = tokens {
            tokens = rest;
        }
        let mut values: Vec<&str> = Vec::new();
        loop {
            while let [Token { sign: Sign::Not, .. }, rest @ ..] = tokens {
                tokens = rest;
            }
            let [Token { sign: Sign::Word(_) | Sign::Quoted(_) | Sign::File(_), span }, rest @ ..] = tokens else {
                return None;
            };
            values.push(self.source.text.get(span.start..span.end)?);
            match rest {
                [Token { sign: Sign::Comma, .. }, rest @ ..] => tokens = rest,
                _ => return Some(values.join(",")),
            }
        }
    }

    /// `token`, which was the next one, is not a value of `field`.
    #[cold]
    pub(super) fn not_a_value(&self, field: &Field, token: Token<'_>) -> ParseError {
        let hint = match token.sign {
            Sign::Not => self.values().map(|list| hint::for_negated_values(field, &list)),
            Sign::And => mask_notation::as_term(self.source.text),
            _ => None,
        };
        let hint = hint.unwrap_or_else(|| field.example.to_owned());
        self.source.error(token.span, format!("expected a value of '{}'", field.name)).hint(hint)
    }

    /// `token` does not begin a term.
    #[cold]
    pub(super) fn not_a_term(&self, token: Token<'_>) -> ParseError {
        let message = match token.sign {
            Sign::End => "unexpected end: expected a term",
            Sign::Close => "unexpected ')': expected a term",
            Sign::Quoted(_) | Sign::File(_) => "expected a field before the value",
            _ => "expected a term",
        };
        self.source.error(token.span, message).hint("e.g. tcp, assured, dport 443, src 10.0.0.0/8, idle >= 12h")
    }

    /// `token` is not the expected `and`, `or` or end.
    #[cold]
    pub(super) fn not_joined(&self, token: Token<'_>) -> ParseError {
        match token.sign {
            Sign::Close => self.source.error(token.span, "unmatched ')'"),
            Sign::CloseSet => self.source.error(token.span, "unmatched '}'"),
            Sign::Comma => self.source.error(token.span, "expected a field before the list"),
            sign => {
                let hint = if let Sign::Word(word) = sign { hint::for_not_joined(word) } else { None };
                let hint = hint.unwrap_or_else(|| "join terms by 'and' or 'or'".to_owned());
                self.source.error(token.span, "expected 'and' or 'or'").hint(hint)
            }
        }
    }
}
