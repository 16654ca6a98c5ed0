//! The keys.

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::style::Style;
use ratatui::widgets::Widget;

use super::super::keys::HELP;
use super::super::look::Look;
use super::super::view::View;
use super::put;

/// The help.
pub struct Help {
    pub look: Look,
}

impl Widget for Help {
    fn render(self, area: Rect, buffer: &mut Buffer) {
        put::filled(buffer, area, 0, self.look.head());
        put::line(buffer, area, 0, &[("KEYS", self.look.head())]);
        // Beside each other where the screen is wide or low.
        let is_wide = area.width >= 76;
        let views = View::ALL.map(|view| (view.key().to_string(), view.head().to_lowercase()));
        let (left, right) = (2, 26);
        for (row, (key, name)) in (1..).zip(&views) {
            let at = Rect { x: area.x + left, width: area.width.saturating_sub(left), ..area };
            put::line(buffer, at, row, &[(key, self.look.name()), (" ", Style::new()), (name, Style::new())]);
        }
        let below = if is_wide { 1 } else { views.len() as u16 + 1 };
        let x = if is_wide { right } else { left };
        let at = Rect { x: area.x + x.min(area.width), width: area.width.saturating_sub(x), ..area };
        for (row, (key, text)) in (below..).zip(HELP) {
            put::line(buffer, at, row, &[(&format!("{key:<11}"), self.look.name()), (text, Style::new())]);
        }
    }
}
