//! A line with carets under the part that is at fault.

use std::ops::Range;

use super::control::{printable, replaced};

/// Characters before and behind the fault that are shown of a long line.
const CONTEXT: usize = 60;

/// Two lines, indented by two spaces, without a line feed at the end: the line of `text`
/// with the start of `span`, behind `prefix`, and carets under the span.
///
/// `span` is in bytes. One that is empty or outside of the text gets one caret. A long line
/// is cut around the span. Control characters are replaced ([`printable`]); a tab is kept
/// and repeated in the second line, so that the carets are in the right column for any tab width.
///
/// ```
/// let lines = ctnl::text::underline("--by ", "src,dprot", 4..9);
/// assert_eq!(lines, "  --by src,dprot\n           ^^^^^");
/// ```
#[must_use]
pub fn underline(prefix: &str, text: &str, span: Range<usize>) -> String {
    let (line, span) = line_of(text, span);
    let Excerpt { skipped, shown, is_cut } = Excerpt::new(line, span.clone());
    let prefix = printable(prefix);
    let before = shown.get(..span.start - skipped).unwrap_or_default();
    let marked = shown.get(span.start - skipped..).unwrap_or_default();
    let marked = marked.get(..span.len()).unwrap_or(marked);
    let mut rendered = format!("  {prefix}");
    rendered.push_str(if skipped > 0 { "…" } else { "" });
    rendered.push_str(&replaced(shown, &['\t']));
    rendered.push_str(if is_cut { "…\n  " } else { "\n  " });
    rendered.extend(prefix.chars().map(|_| ' '));
    rendered.push_str(if skipped > 0 { " " } else { "" });
    rendered.extend(before.chars().map(|c| if c == '\t' { '\t' } else { ' ' }));
    rendered.extend(std::iter::repeat_n('^', marked.chars().count().max(1)));
    rendered
}

/// The line of `text` with the start of `span`, and the span within this line. Both ends of
/// the span are on boundaries of characters.
#[must_use]
pub fn line_of(text: &str, span: Range<usize>) -> (&str, Range<usize>) {
    let start = boundary(text, span.start);
    let line_start = text.get(..start).and_then(|before| before.rfind('\n')).map_or(0, |at| at + 1);
    let line = text.get(line_start..).and_then(|rest| rest.split('\n').next()).unwrap_or_default();
    let start = start - line_start;
    let end = boundary(line, span.end.saturating_sub(line_start)).max(start);
    (line, start..end)
}

/// The part of a line that is shown.
struct Excerpt<'a> {
    /// Bytes of the line before it.
    skipped: usize,
    shown: &'a str,
    /// The line continues after the part.
    is_cut: bool,
}

impl<'a> Excerpt<'a> {
    fn new(line: &'a str, span: Range<usize>) -> Self {
        let end = boundary(line, span.end.min(span.start + CONTEXT));
        let from = boundary(line, span.start.saturating_sub(CONTEXT));
        let to = boundary(line, end + CONTEXT);
        Excerpt { skipped: from, shown: line.get(from..to).unwrap_or_default(), is_cut: to < line.len() }
    }
}

/// The boundary of a character at or before byte `at`.
fn boundary(text: &str, at: usize) -> usize {
    let mut at = at.min(text.len());
    while !text.is_char_boundary(at) {
        at -= 1;
    }
    at
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn marked(text: &str, part: &str) -> String {
        let start = text.find(part).unwrap();
        underline("", text, start..start + part.len())
    }

    #[test]
    fn the_caret_is_under_the_fault_behind_letters_of_several_bytes() {
        assert_eq!(marked("helper \"ÄÖ\" and x", "x"), "  helper \"ÄÖ\" and x\n                  ^");
        assert_eq!(marked("helper \"ÄÖ\"", "ÄÖ"), "  helper \"ÄÖ\"\n          ^^");
    }

    #[test]
    fn a_tab_moves_the_caret_as_far_as_the_text() {
        assert_eq!(marked("tcp\tand yy", "yy"), "  tcp\tand yy\n     \t    ^^");
    }

    #[test]
    fn only_the_line_at_fault_is_shown() {
        assert_eq!(marked("tcp\nand yy\nor zz", "yy"), "  and yy\n      ^^");
        assert_eq!(marked("tcp\nand yy\nor zz", "yy\nor"), "  and yy\n      ^^");
    }

    #[test]
    fn control_characters_are_replaced_in_prefix_and_line() {
        assert_eq!(underline("\x1b: ", "a\x1b[2J x", 6..7), "  \u{fffd}: a\u{fffd}[2J x\n           ^");
    }

    #[test]
    fn a_long_line_is_cut_around_the_fault() {
        let rendered = marked(&format!("{}x{}", "é".repeat(500), "é".repeat(500)), "x");
        let (line, carets) = rendered.split_once('\n').unwrap();
        let column = |line: &str, c| line.chars().position(|found| found == c);
        assert_eq!(column(line, 'x'), column(carets, '^'));
        assert!(line.chars().count() < 200, "{line}");
        let long_fault = "y".repeat(1000);
        assert!(underline("", &long_fault, 0..1000).lines().all(|line| line.chars().count() < 200));
    }

    #[test]
    fn a_span_beyond_the_text_is_marked_at_its_end() {
        assert_eq!(underline("--src ", "tcp", 90..99), "  --src tcp\n           ^");
        assert_eq!(underline("", "", 0..0), "  \n  ^");
    }

    proptest! {
        #[test]
        fn any_span_of_any_text_is_rendered_as_two_lines(text: String, start in 0usize..40, end in 0usize..40) {
            let rendered = underline("-o ", &text, start..end);
            prop_assert_eq!(rendered.split('\n').count(), 2);
            prop_assert!(rendered.ends_with('^'));
            prop_assert!(!rendered.contains(|c: char| c.is_control() && c != '\n' && c != '\t'));
        }
    }
}
