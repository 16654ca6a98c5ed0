//! What is wrong with the name of an entry, and where.

use std::fmt;
use std::ops::Range;

use crate::text::underline;

/// A text that names no entry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NamedEntryError {
    /// The error, without its place.
    pub message: Box<str>,
    /// The text, as it was given.
    pub text: Box<str>,
    /// The bytes of the text that are at fault. Empty, at its end, where something is missing.
    pub span: Range<usize>,
}

/// What is wrong with a part of the text.
#[derive(Debug)]
pub(super) struct Fault {
    pub message: String,
    pub span: Range<usize>,
}

impl Fault {
    pub(super) fn new(span: Range<usize>, message: impl Into<String>) -> Self {
        Fault { message: message.into(), span }
    }
}

impl NamedEntryError {
    /// The message, the text with a caret under the fault, and a hint; without a line feed
    /// at the end.
    #[must_use]
    pub fn render(&self) -> String {
        let lines = underline("", &self.text, self.span.clone());
        format!(
            "{}\n{lines}\n  hint: a tuple is PROTOCOL SRC[:PORT] DST[:PORT], or a line that ctnl list or conntrack \
             printed",
            self.message
        )
    }
}

impl fmt::Display for NamedEntryError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for NamedEntryError {}
