//! What the terminal can show: colours, characters beyond ASCII.

use std::ffi::OsStr;

use ratatui::buffer::Buffer;
use ratatui::style::{Color, Modifier, Style};

/// What is used of the terminal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Look {
    /// Colours, besides bold and reverse.
    pub has_colour: bool,
    /// Characters beyond ASCII.
    pub is_utf8: bool,
}

impl Look {
    /// By the environment: `NO_COLOR`, `TERM`, and the first of `LC_ALL`, `LC_CTYPE`, `LANG` that is set.
    pub fn of_environment(variable: impl Fn(&str) -> Option<std::ffi::OsString>) -> Self {
        let is_set = |name: &str| variable(name).filter(|value| !value.is_empty());
        let term = is_set("TERM");
        let is_plain = term.as_deref().is_none_or(|term| term == OsStr::new("dumb") || starts_with(term, "vt"));
        let locale = ["LC_ALL", "LC_CTYPE", "LANG"].iter().find_map(|name| is_set(name)).unwrap_or_default();
        let locale = locale.to_string_lossy().to_ascii_lowercase();
        let is_utf8 = locale.contains("utf-8") || locale.contains("utf8");
        Look { has_colour: is_set("NO_COLOR").is_none() && !is_plain, is_utf8 }
    }

    /// The head of a table.
    pub fn head(self) -> Style {
        Style::new().add_modifier(Modifier::REVERSED)
    }

    /// The column that is sorted by, in the head.
    pub fn sorted(self) -> Style {
        self.head().add_modifier(Modifier::BOLD | Modifier::UNDERLINED)
    }

    /// The selected row.
    pub fn selected(self) -> Style {
        Style::new().add_modifier(Modifier::REVERSED)
    }

    /// What needs attention.
    pub fn warning(self) -> Style {
        self.coloured(Color::Red)
    }

    /// The used part of the bar, by the share that is used.
    pub fn bar(self, share: f64) -> Style {
        match share {
            share if share >= 0.95 => self.coloured(Color::Red),
            share if share >= 0.8 => self.coloured(Color::Yellow),
            _ if self.has_colour => Style::new().fg(Color::Green),
            _ => Style::new(),
        }
    }

    /// Keys and names.
    pub fn name(self) -> Style {
        Style::new().add_modifier(Modifier::BOLD)
    }

    fn coloured(self, colour: Color) -> Style {
        let style = Style::new().add_modifier(Modifier::BOLD);
        if self.has_colour { style.fg(colour) } else { style }
    }

    /// The characters of a curve, the lowest first.
    pub fn levels(self) -> [char; 8] {
        if self.is_utf8 {
            ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█']
        } else {
            ['_', '.', ',', '-', '=', '+', '*', '#']
        }
    }

    /// Replaces what the terminal cannot show.
    pub fn restrict(self, buffer: &mut Buffer) {
        if self.is_utf8 {
            return;
        }
        for cell in &mut buffer.content {
            if !cell.symbol().is_ascii() {
                cell.set_char('?');
            }
        }
    }
}

fn starts_with(text: &OsStr, prefix: &str) -> bool {
    text.to_str().is_some_and(|text| text.starts_with(prefix))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn look(variables: &[(&str, &str)]) -> (bool, bool) {
        let variable = |name: &str| variables.iter().find(|(known, _)| *known == name).map(|(_, value)| value.into());
        let look = Look::of_environment(variable);
        (look.has_colour, look.is_utf8)
    }

    #[test]
    fn the_environment_decides_what_is_shown() {
        assert_eq!(look(&[("TERM", "xterm-256color"), ("LANG", "de_DE.UTF-8")]), (true, true));
        assert_eq!(look(&[("TERM", "xterm"), ("NO_COLOR", "1"), ("LC_ALL", "C"), ("LANG", "C.UTF-8")]), (false, false));
        assert_eq!(look(&[("TERM", "vt220"), ("LC_ALL", ""), ("LC_CTYPE", "C.utf8")]), (false, true));
        assert_eq!(look(&[]), (false, false));
    }
}
