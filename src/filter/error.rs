//! Errors in an expression, with their position.

use std::fmt;

use crate::text::{line_of, printable, underline};
use crate::units::QuantityError;

/// A part of a text, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TextSpan {
    /// First byte.
    pub start: usize,
    /// The byte after the last one.
    pub end: usize,
}

/// Where a text came from.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Origin {
    /// The expression.
    Expression,
    /// The value of the flag of this name.
    Flag(Box<str>),
    /// A line of a file of values.
    File {
        /// Path, as it was given.
        path: Box<str>,
        /// Line, from 1.
        line: usize,
    },
}

/// A text that is not a filter.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ParseError {
    /// What is wrong, without the position.
    pub message: Box<str>,
    /// What to write instead.
    pub hint: Option<Box<str>>,
    /// The part of `text` that the error is about.
    pub span: TextSpan,
    /// The text.
    pub text: Box<str>,
    /// Where it came from.
    pub origin: Origin,
}

/// A text that is parsed, and its origin.
#[derive(Debug, Clone)]
pub(super) struct Source<'a> {
    pub text: &'a str,
    pub origin: Origin,
}

/// An error in a value, before the position of the value in the text is known.
#[derive(Debug)]
pub(super) struct ValueError {
    pub message: String,
    pub hint: Option<String>,
    /// The part of the value that the error is about; `None`: the whole value.
    pub part: Option<TextSpan>,
}

impl TextSpan {
    pub(super) fn new(start: usize, end: usize) -> Self {
        TextSpan { start, end }
    }

    pub(super) fn to(self, other: TextSpan) -> Self {
        TextSpan { start: self.start, end: other.end }
    }
}

impl ValueError {
    pub(super) fn new(message: impl Into<String>) -> Self {
        ValueError { message: message.into(), hint: None, part: None }
    }

    pub(super) fn hint(self, hint: impl Into<String>) -> Self {
        ValueError { hint: Some(hint.into()), ..self }
    }

    pub(super) fn part(self, start: usize, end: usize) -> Self {
        ValueError { part: Some(TextSpan { start, end }), ..self }
    }

    /// Moves the part by `by` bytes, for a value that is part of another.
    pub(super) fn shift(mut self, by: usize, length: usize) -> Self {
        let part = self.part.unwrap_or(TextSpan { start: 0, end: length });
        self.part = Some(TextSpan { start: part.start + by, end: part.end + by });
        self
    }
}

impl From<QuantityError> for ValueError {
    fn from(error: QuantityError) -> Self {
        ValueError::new(error.to_string())
    }
}

impl Source<'_> {
    #[cold]
    pub(super) fn error(&self, span: TextSpan, message: impl Into<Box<str>>) -> ParseError {
        let message = clean(&message.into());
        ParseError { message, hint: None, span, text: self.text.into(), origin: self.origin.clone() }
    }

    /// The error in a value at `value`.
    #[cold]
    pub(super) fn value_error(&self, value: TextSpan, error: ValueError) -> ParseError {
        let span = error.part.map_or(value, |part| TextSpan::new(value.start + part.start, value.start + part.end));
        let hint = error.hint.map(|hint| clean(&hint));
        ParseError { hint, ..self.error(span, error.message) }
    }
}

impl ParseError {
    pub(super) fn hint(self, hint: impl Into<Box<str>>) -> Self {
        ParseError { hint: Some(clean(&hint.into())), ..self }
    }

    /// The same error in the value of a flag with another name, for a command that has the flag under that name.
    #[must_use]
    pub fn of_flag(self, name: &str) -> Self {
        match self.origin {
            Origin::Flag(_) => ParseError { origin: Origin::Flag(name.into()), ..self },
            _ => self,
        }
    }

    /// The message, the line with a caret under the error, and the hint, without a newline at
    /// the end. Control characters of the text are replaced.
    #[must_use]
    pub fn render(&self) -> String {
        let prefix = match &self.origin {
            Origin::Expression => String::new(),
            Origin::Flag(name) => format!("--{name} "),
            Origin::File { path, line } => format!("{path}:{line}: "),
        };
        let lines = underline(&prefix, &self.text, self.span.start..self.span.end);
        let hint = self.hint.as_ref().map(|hint| format!("\n  hint: {hint}")).unwrap_or_default();
        format!("{}\n{lines}{hint}", self.message)
    }

    /// Byte column of the error in its line, from 0.
    #[must_use]
    pub fn column(&self) -> usize {
        line_of(&self.text, self.span.start..self.span.end).1.start
    }
}

/// Most characters of a message, which may quote the input.
const MESSAGE: usize = 300;

/// A message without control characters, shortened to [`MESSAGE`].
fn clean(message: &str) -> Box<str> {
    let mut cleaned: String = printable(message).chars().take(MESSAGE).collect();
    if message.chars().nth(MESSAGE).is_some() {
        cleaned.push('…');
    }
    cleaned.into()
}

impl fmt::Display for ParseError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for ParseError {}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn error(text: &str, part: &str) -> ParseError {
        let start = text.find(part).unwrap();
        let source = Source { text, origin: Origin::Expression };
        source.error(TextSpan::new(start, start + part.len()), "bad")
    }

    #[test]
    fn control_characters_do_not_reach_the_terminal() {
        assert!(!error("tcp \x1b[2J x", "x").render().contains('\x1b'));
        let source = Source { text: "\x1b", origin: Origin::File { path: "\x1b".into(), line: 1 } };
        let error = ValueError::new("bad \x1b").hint("\x1b\n");
        assert!(!source.value_error(TextSpan::new(0, 1), error).render().contains('\x1b'));
    }

    #[test]
    fn a_span_beyond_the_text_is_rendered_at_its_end() {
        let source = Source { text: "tcp", origin: Origin::Flag("src".into()) };
        assert_eq!(source.error(TextSpan::new(90, 99), "bad").render(), "bad\n  --src tcp\n           ^");
    }
}
