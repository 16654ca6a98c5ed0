//! The last lines: the keys, a message, or the filter that is edited.

use ratatui::buffer::Buffer;
use ratatui::layout::{Position, Rect};
use ratatui::style::Style;
use ratatui::widgets::Widget;

use super::super::line::Line;
use super::super::look::Look;
use super::super::screen::{Overlay, Screen, Source};
use super::super::text::count;
use super::put;

/// The footer.
pub struct Footer<'a> {
    pub screen: &'a Screen,
    pub look: Look,
}

const PROMPT: &str = "/";
/// The length of the first two keys.
const MOST_IMPORTANT: usize = 16;
/// Lines of an error: message, filter, caret, hint, and some more.
const MOST_LINES: usize = 6;

impl Footer<'_> {
    /// The lines that it needs.
    pub fn height(screen: &Screen, area: Rect) -> u16 {
        let lines = match &screen.overlay {
            Overlay::Filter(line) => 1 + above(line).len(),
            _ => screen.message.as_ref().map_or(1, |message| message.lines().count().clamp(1, MOST_LINES)),
        };
        u16::try_from(lines).unwrap_or(1).min(area.height / 2).max(1)
    }

    /// The keys that fit, the most important ones first.
    fn keys(&self, width: u16) -> String {
        let keys: &[&str] = match (&self.screen.overlay, &self.screen.source) {
            (Overlay::Help(_), _) => &["Esc: back", "Up Down: scroll"],
            (Overlay::Detail(_), _) => &["Esc: back", "Up Down: scroll", "k: delete"],
            (Overlay::Kill(_), _) => &["Enter: preview", "Esc: leave", "Tab: soft", "0-9: most"],
            (_, Source::Recording(_)) => &["? help", "q quit", "Space pause", "Left Right frame", "[ ] minute"],
            _ => &["? help", "q quit", "/ filter", "Enter flows", "k delete", "< > sort", "Space pause"],
        };
        let width = usize::from(width);
        let waits = self.screen.waits.map(|seconds| format!("next dump in {seconds} s"));
        let mut text = waits.unwrap_or_default();
        // What is not in the table matters more than the keys behind the first two.
        let more = self.more().into_iter().find(|more| text.len() + MOST_IMPORTANT + more.len() <= width);
        let more = more.unwrap_or_default();
        for key in keys {
            if !text.is_empty() && text.len() + 2 + key.len() + more.len() > width {
                break;
            }
            text = if text.is_empty() { (*key).to_owned() } else { format!("{text}  {key}") };
        }
        text + &more
    }

    /// What is not in the table: all of it, and in short.
    fn more(&self) -> Vec<String> {
        let section = self.screen.frame.as_ref().and_then(|frame| frame.section(self.screen.view));
        let Some(section) = section.filter(|_| self.screen.overlay == Overlay::None) else { return Vec::new() };
        let hidden = section.groups.saturating_sub(section.rows.len() as u64);
        let more = if hidden > 0 { format!("  {} more", count(hidden)) } else { String::new() };
        let beyond = format!("  {} entries of others", count(section.beyond));
        if section.beyond > 0 { vec![format!("{more}{beyond}"), more] } else { vec![more] }
    }
}

/// The lines above the one that is edited.
fn above(line: &Line) -> Vec<String> {
    if let Some(error) = &line.error {
        return error.lines().take(MOST_LINES).map(str::to_owned).collect();
    }
    if line.candidates.is_empty() {
        return Vec::new();
    }
    vec![line.candidates.join(" ")]
}

/// The characters that are left out at the start of the line, so that the cursor is on the screen.
fn skipped(line: &Line, width: u16) -> usize {
    (line.cursor() + 1 + PROMPT.len()).saturating_sub(usize::from(width))
}

/// Where the cursor is.
pub fn cursor(line: &Line, area: Rect) -> Position {
    let column = PROMPT.len() + line.cursor() - skipped(line, area.width);
    Position {
        x: area.x + u16::try_from(column).unwrap_or(0).min(area.width.saturating_sub(1)),
        y: area.y + area.height.saturating_sub(1),
    }
}

impl Widget for Footer<'_> {
    fn render(self, area: Rect, buffer: &mut Buffer) {
        let last = area.height.saturating_sub(1);
        if let Overlay::Filter(line) = &self.screen.overlay {
            let lines = above(line);
            let first = lines.len().saturating_sub(usize::from(last));
            for (row, text) in (0..last).zip(lines.iter().skip(first)) {
                let style = if line.error.is_some() { self.look.warning() } else { Style::new() };
                put::line(buffer, area, row, &[(text, style)]);
            }
            let text: String = line.text().chars().skip(skipped(line, area.width)).collect();
            put::line(buffer, area, last, &[(PROMPT, self.look.name()), (&text, Style::new())]);
            return;
        }
        match &self.screen.message {
            Some(message) => {
                for (row, text) in (0..area.height).zip(message.lines()) {
                    put::line(buffer, area, row, &[(text, self.look.warning())]);
                }
            }
            None => put::line(buffer, area, last, &[(&self.keys(area.width), Style::new())]),
        }
    }
}
