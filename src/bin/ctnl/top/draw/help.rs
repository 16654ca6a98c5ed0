//! The keys. Where they do not fit, they are scrolled.

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::style::Style;
use ratatui::widgets::Widget;

use super::super::keys::HELP;
use super::super::look::Look;
use super::super::view::View;
use super::put;

/// The help, from this line on.
pub struct Help {
    pub first: usize,
    pub look: Look,
}

/// A key, what it does, and the columns of both.
struct Entry {
    key: String,
    text: String,
    at: u16,
    width: u16,
}

/// The views stand beside the other keys on screens of this width.
const WIDE: u16 = 76;
/// The width of a view, and of a key that is none.
const VIEW: u16 = 24;
const KEY: u16 = 11;

/// The lines, for a screen of this width.
fn lines(width: u16) -> Vec<Vec<Entry>> {
    let views =
        View::ALL.map(|view| Entry { key: view.key().to_string(), text: view.head().to_lowercase(), at: 2, width: 2 });
    let views = views.into_iter().map(|entry| vec![entry]);
    if width < WIDE {
        return views.chain(keys(2, width)).collect();
    }
    let (mut views, mut keys) = (views, keys(2 + VIEW, width));
    let mut lines = Vec::new();
    loop {
        match (views.next(), keys.next()) {
            (None, None) => return lines,
            (view, key) => lines.push([view, key].into_iter().flatten().flatten().collect()),
        }
    }
}

/// The keys that are no views, from column `at` on. A text that is too long goes on in the next line.
fn keys(at: u16, width: u16) -> impl Iterator<Item = Vec<Entry>> {
    let left = usize::from(width.saturating_sub(at + KEY)).max(8);
    HELP.into_iter().flat_map(move |(key, text)| {
        let mut parts = vec![String::new()];
        for word in text.split(' ') {
            let Some(last) = parts.last_mut() else { break };
            if !last.is_empty() && last.len() + 1 + word.len() > left {
                parts.push(word.to_owned());
            } else {
                *last += if last.is_empty() { "" } else { " " };
                *last += word;
            }
        }
        parts.into_iter().enumerate().map(move |(place, text)| {
            let key = if place == 0 { key.to_owned() } else { String::new() };
            vec![Entry { key, text, at, width: KEY }]
        })
    })
}

impl Help {
    /// The last line that is the first one of the screen, in `area`.
    pub fn last_first(area: Rect) -> usize {
        lines(area.width).len().saturating_sub(usize::from(area.height.saturating_sub(1)))
    }
}

impl Widget for Help {
    fn render(self, area: Rect, buffer: &mut Buffer) {
        put::filled(buffer, area, 0, self.look.head());
        let lines = lines(area.width);
        let shown = self.first + usize::from(area.height.saturating_sub(1));
        let place = match shown < lines.len() || self.first > 0 {
            true => format!("  {} to {} of {}", self.first + 1, shown.min(lines.len()), lines.len()),
            false => String::new(),
        };
        put::line(buffer, area, 0, &[("KEYS", self.look.head()), (&place, self.look.head())]);
        for (row, line) in (1..area.height).zip(lines.iter().skip(self.first)) {
            for Entry { key, text, at, width } in line {
                let x = (*at).min(area.width);
                let part = Rect { x: area.x + x, width: area.width - x, ..area };
                let key = format!("{key:<width$}", width = usize::from(*width));
                put::line(buffer, part, row, &[(&key, self.look.name()), (text, Style::new())]);
            }
        }
    }
}
