//! What is wrong with the name of an entry, and where.

use std::fmt;
use std::ops::Range;

use crate::text::underline;

const HINT: &str = "a tuple is PROTOCOL SRC[:PORT] DST[:PORT], or a line of an entry that ctnl or conntrack printed";

/// Where a row of a table lacks a part.
pub(super) const ROW_HINT: &str =
    "these columns do not have it: add it, or paste the line of 'ctnl list -o conntrack' or '-o json'";
/// For a line of a log, which has a time and a program in front of the entry.
pub(super) const PREFIX_HINT: &str = "remove what is in front of the protocol";
/// For a line of another format.
pub(super) const FORMAT_HINT: &str = "paste the line of '-o conntrack' or '-o json'";

/// A text that names no entry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NamedEntryError {
    /// The error, without its place.
    pub message: Box<str>,
    /// The text, as it was given.
    pub text: Box<str>,
    /// The bytes of the text that are at fault. Empty, at its end, where something is missing.
    pub span: Range<usize>,
    /// What to do about it.
    pub hint: &'static str,
}

/// What is wrong with a part of the text.
#[derive(Debug)]
pub(super) struct PartError {
    pub message: String,
    pub span: Range<usize>,
    pub hint: &'static str,
}

impl PartError {
    pub(super) fn new(span: Range<usize>, message: impl Into<String>) -> Self {
        PartError { message: message.into(), span, hint: HINT }
    }

    /// Whether the hint is that for any text.
    pub(super) fn has_default_hint(&self) -> bool {
        self.hint == HINT
    }

    /// The same fault with another hint.
    pub(super) fn with_hint(self, hint: &'static str) -> Self {
        PartError { hint, ..self }
    }
}

impl NamedEntryError {
    /// The error of `text`.
    pub(super) fn new(text: &str, fault: PartError) -> Self {
        let PartError { message, span, hint } = fault;
        NamedEntryError { message: message.into(), text: text.into(), span, hint }
    }

    /// The message, the text with a caret under the fault, and a hint; without a line feed
    /// at the end.
    #[must_use]
    pub fn render(&self) -> String {
        let lines = underline("", &self.text, self.span.clone());
        format!("{}\n{lines}\n  hint: {}", self.message, self.hint)
    }
}

impl fmt::Display for NamedEntryError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for NamedEntryError {}
