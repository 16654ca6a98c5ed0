//! Control characters, which could move a terminal's cursor or start an escape sequence.

use std::borrow::Cow;

/// `text` with each control character replaced by U+FFFD. For one line or one cell.
#[must_use]
pub fn printable(text: &str) -> Cow<'_, str> {
    replaced(text, &[])
}

/// `text` with each control character replaced by U+FFFD, apart from line feeds and tabs.
#[must_use]
pub fn printable_lines(text: &str) -> Cow<'_, str> {
    replaced(text, &['\n', '\t'])
}

/// `text` with each control character that is not in `kept` replaced by U+FFFD.
pub(super) fn replaced<'a>(text: &'a str, kept: &[char]) -> Cow<'a, str> {
    let is_replaced = |c: char| c.is_control() && !kept.contains(&c);
    if !text.contains(is_replaced) {
        return Cow::Borrowed(text);
    }
    text.chars().map(|c| if is_replaced(c) { char::REPLACEMENT_CHARACTER } else { c }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn control_characters_are_replaced() {
        assert_eq!(printable("a\x1b[2J\rb\u{9b}\n\tc\x7f"), "a\u{fffd}[2J\u{fffd}b\u{fffd}\u{fffd}\u{fffd}c\u{fffd}");
        assert!(matches!(printable("é ü"), Cow::Borrowed("é ü")));
    }

    #[test]
    fn lines_and_tabs_are_kept_where_there_are_several_lines() {
        assert_eq!(printable_lines("a\x1b[2J\rb\u{9b}\n\tc"), "a\u{fffd}[2J\u{fffd}b\u{fffd}\n\tc");
    }
}
