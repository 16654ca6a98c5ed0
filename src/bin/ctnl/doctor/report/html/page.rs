//! A page under construction: everything that is not written in this program is escaped.

use std::fmt::{Display, Write};

use ctnl::text::printable_lines;

/// HTML. Markup is a literal of the program, so what was read of a host can only be text or the value of an attribute.
#[derive(Debug, Default)]
pub struct Page(String);

impl Page {
    /// Adds markup.
    pub fn markup(&mut self, markup: &'static str) -> &mut Self {
        self.0.push_str(markup);
        self
    }

    /// Adds text, or the value of an attribute between double quotes.
    pub fn text(&mut self, text: impl Display) -> &mut Self {
        for c in printable_lines(&text.to_string()).chars() {
            match c {
                '&' => self.0.push_str("&amp;"),
                '<' => self.0.push_str("&lt;"),
                '>' => self.0.push_str("&gt;"),
                '"' => self.0.push_str("&quot;"),
                '\'' => self.0.push_str("&#39;"),
                // They reorder the text around them.
                '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' => self.0.push(char::REPLACEMENT_CHARACTER),
                c => self.0.push(c),
            }
        }
        self
    }

    /// Adds `text` between two pieces of markup.
    pub fn element(&mut self, open: &'static str, text: impl Display, close: &'static str) -> &mut Self {
        self.markup(open).text(text).markup(close)
    }

    /// Adds a number with two decimals, for a position in percent.
    pub fn position(&mut self, position: f64) -> &mut Self {
        // A String takes everything.
        let _ = write!(self.0, "{:.2}", if position.is_finite() { position } else { 0.0 });
        self
    }

    /// The page.
    pub fn finish(self) -> String {
        self.0
    }
}

/// A number with commas: `262,144`.
pub fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// The part that `number` is of `all`, in percent; 0 of nothing.
pub fn percent(number: u64, all: u64) -> f64 {
    if all == 0 { 0.0 } else { number as f64 * 100.0 / all as f64 }
}

/// A part in percent as people read it: `0 %`, `under 0.1 %`, `12.3 %`.
pub fn shown_percent(number: u64, all: u64) -> String {
    match percent(number, all) {
        part if part > 0.0 && part < 0.1 => "under 0.1 %".to_owned(),
        part => format!("{part:.1} %"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_cannot_become_markup() {
        let mut page = Page::default();
        page.markup("<p title=\"")
            .text("\" onload='x' \u{202e}")
            .markup("\">")
            .text("<script>&\x1b[2J\n")
            .markup("</p>");
        let expected = "<p title=\"&quot; onload=&#39;x&#39; \u{fffd}\">&lt;script&gt;&amp;\u{fffd}[2J\n</p>";
        assert_eq!(page.finish(), expected);
    }

    #[test]
    fn numbers_are_grouped_and_parts_of_nothing_are_zero() {
        assert_eq!([0, 999, 1000, 262_144, 1_000_000].map(grouped), ["0", "999", "1,000", "262,144", "1,000,000"]);
        assert_eq!(
            [(1, 3), (0, 0), (1, 100_000)].map(|(n, all)| shown_percent(n, all)),
            ["33.3 %", "0.0 %", "under 0.1 %"]
        );
        let mut page = Page::default();
        page.position(f64::NAN).markup(" ").position(12.345);
        assert_eq!(page.finish(), "0.00 12.35");
    }
}
