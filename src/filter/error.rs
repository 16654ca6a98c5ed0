//! What is wrong with an expression, and where.

use std::fmt;

/// A part of a text, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TextSpan {
    /// First byte.
    pub start: usize,
    /// Behind the last byte.
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

/// A text that is no filter.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ParseError {
    /// What is wrong, without the place.
    pub message: Box<str>,
    /// What to write instead.
    pub hint: Option<Box<str>>,
    /// The part of `text` that is at fault.
    pub span: TextSpan,
    /// The text.
    pub text: Box<str>,
    /// Where it came from.
    pub origin: Origin,
}

/// A text that is being read, and where it came from.
#[derive(Debug, Clone)]
pub(super) struct Source<'a> {
    pub text: &'a str,
    pub origin: Origin,
}

/// What is wrong with a value, before its place in the text is known.
#[derive(Debug)]
pub(super) struct Fault {
    pub message: String,
    pub hint: Option<String>,
    /// The part of the value at fault; all of it where there is none.
    pub part: Option<TextSpan>,
}

/// Characters before and behind the fault that are shown of a long line.
const EXCERPT: usize = 60;

impl TextSpan {
    pub(super) fn new(start: usize, end: usize) -> Self {
        TextSpan { start, end }
    }

    pub(super) fn to(self, other: TextSpan) -> Self {
        TextSpan { start: self.start, end: other.end }
    }
}

impl Fault {
    pub(super) fn new(message: impl Into<String>) -> Self {
        Fault { message: message.into(), hint: None, part: None }
    }

    pub(super) fn hint(self, hint: impl Into<String>) -> Self {
        Fault { hint: Some(hint.into()), ..self }
    }

    pub(super) fn part(self, start: usize, end: usize) -> Self {
        Fault { part: Some(TextSpan { start, end }), ..self }
    }

    /// Message and hint, for where no caret is drawn.
    pub(super) fn into_text(self) -> String {
        match self.hint {
            Some(hint) => format!("{} ({hint})", self.message),
            None => self.message,
        }
    }

    /// Moves the part by `by` bytes, for a value that is a part of another.
    pub(super) fn shift(mut self, by: usize, length: usize) -> Self {
        let part = self.part.unwrap_or(TextSpan { start: 0, end: length });
        self.part = Some(TextSpan { start: part.start + by, end: part.end + by });
        self
    }
}

impl Source<'_> {
    #[cold]
    pub(super) fn error(&self, span: TextSpan, message: impl Into<Box<str>>) -> ParseError {
        let message = clean(&message.into());
        ParseError { message, hint: None, span, text: self.text.into(), origin: self.origin.clone() }
    }

    /// The error of a value that begins at byte `start`.
    #[cold]
    pub(super) fn fault(&self, value: TextSpan, fault: Fault) -> ParseError {
        let span = fault.part.map_or(value, |part| TextSpan::new(value.start + part.start, value.start + part.end));
        let error = self.error(span, fault.message);
        ParseError { hint: fault.hint.map(|hint| clean(&hint)), ..error }
    }
}

impl ParseError {
    pub(super) fn hint(self, hint: impl Into<Box<str>>) -> Self {
        ParseError { hint: Some(clean(&hint.into())), ..self }
    }

    /// The message, the line with a caret under the fault, and the hint; without
    /// a newline at the end. Control characters of the text are not passed on.
    #[must_use]
    pub fn render(&self) -> String {
        let (prefix, line, start, end) = self.line();
        let mut rendered = format!("{}\n  {prefix}", self.message);
        let (skipped, shown, cut) = excerpt(line, start, end);
        rendered.push_str(if skipped > 0 { "…" } else { "" });
        rendered.extend(shown.chars().map(printable));
        rendered.push_str(if cut { "…\n  " } else { "\n  " });
        rendered.extend(prefix.chars().map(|_| ' '));
        rendered.push_str(if skipped > 0 { " " } else { "" });
        let before = shown.get(..start - skipped).unwrap_or_default();
        // A tab is as wide as the terminal says: the same tab moves the caret.
        rendered.extend(before.chars().map(|c| if c == '\t' { '\t' } else { ' ' }));
        let marked = shown.get(start - skipped..end - skipped).unwrap_or_default();
        rendered.extend(std::iter::repeat_n('^', marked.chars().count().max(1)));
        if let Some(hint) = &self.hint {
            rendered.push_str("\n  hint: ");
            rendered.push_str(hint);
        }
        rendered
    }

    /// Byte column of the fault in its line, from 0.
    #[must_use]
    pub fn column(&self) -> usize {
        self.line().2
    }

    /// What stands before the line, the line with the fault, and the fault in it.
    fn line(&self) -> (String, &str, usize, usize) {
        let prefix = match &self.origin {
            Origin::Expression => String::new(),
            Origin::Flag(name) => format!("--{name} "),
            Origin::File { path, line } => format!("{path}:{line}: ").chars().map(printable).collect(),
        };
        let text = &*self.text;
        let start = floor_char(text, self.span.start);
        let before = text.get(..start).unwrap_or_default();
        let line_start = before.rfind('\n').map_or(0, |at| at + 1);
        let rest = text.get(line_start..).unwrap_or_default();
        let line = rest.split('\n').next().unwrap_or_default();
        let start = start - line_start;
        let end = floor_char(line, self.span.end.saturating_sub(line_start)).max(start);
        (prefix, line, start, end)
    }
}

/// The part of `line` around a fault: bytes skipped, the part, whether its end is cut.
fn excerpt(line: &str, start: usize, end: usize) -> (usize, &str, bool) {
    let end = if end - start > EXCERPT { floor_char(line, start + EXCERPT) } else { end };
    let from = if start > EXCERPT { floor_char(line, start - EXCERPT) } else { 0 };
    let to = floor_char(line, end + EXCERPT);
    (from, line.get(from..to).unwrap_or_default(), to < line.len())
}

fn floor_char(text: &str, at: usize) -> usize {
    let mut at = at.min(text.len());
    while !text.is_char_boundary(at) {
        at -= 1;
    }
    at
}

fn printable(c: char) -> char {
    if c.is_control() && c != '\t' { char::REPLACEMENT_CHARACTER } else { c }
}

/// Characters of a message: it may quote what was typed.
const MESSAGE: usize = 300;

/// A message without control characters, cut where it grows absurd.
fn clean(message: &str) -> Box<str> {
    let mut cleaned: String =
        message.chars().take(MESSAGE).map(|c| if c == '\t' { ' ' } else { printable(c) }).collect();
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
    fn the_caret_stands_under_the_fault_behind_letters_of_several_bytes() {
        assert_eq!(error("helper \"ÄÖ\" and x", "x").render(), "bad\n  helper \"ÄÖ\" and x\n                  ^");
    }

    #[test]
    fn a_tab_moves_the_caret_as_far_as_the_text() {
        assert_eq!(error("tcp\tand yy", "yy").render(), "bad\n  tcp\tand yy\n     \t    ^^");
    }

    #[test]
    fn only_the_line_at_fault_is_shown() {
        assert_eq!(error("tcp\nand yy\nor zz", "yy").render(), "bad\n  and yy\n      ^^");
    }

    #[test]
    fn control_characters_do_not_reach_the_terminal() {
        assert!(!error("tcp \x1b[2J x", "x").render().contains('\x1b'));
        let source = Source { text: "\x1b", origin: Origin::File { path: "\x1b".into(), line: 1 } };
        let fault = Fault::new("bad \x1b").hint("\x1b\n");
        assert!(!source.fault(TextSpan::new(0, 1), fault).render().contains('\x1b'));
    }

    #[test]
    fn a_long_line_is_cut_around_the_fault() {
        let text = format!("{}x{}", "é".repeat(500), "é".repeat(500));
        let rendered = error(&text, "x").render();
        let lines: Vec<&str> = rendered.lines().collect();
        let column = |line: &str, c| line.chars().position(|found| found == c);
        assert_eq!(column(lines.get(1).unwrap(), 'x'), column(lines.get(2).unwrap(), '^'));
        assert!(lines.get(1).unwrap().chars().count() < 200);
    }

    #[test]
    fn a_span_beyond_the_text_is_rendered_at_its_end() {
        let source = Source { text: "tcp", origin: Origin::Flag("src".into()) };
        assert_eq!(source.error(TextSpan::new(90, 99), "bad").render(), "bad\n  --src tcp\n           ^");
    }
}
