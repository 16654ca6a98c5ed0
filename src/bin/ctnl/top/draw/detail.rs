//! All fields of a flow.

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::style::Style;
use ratatui::widgets::Widget;

use super::super::look::Look;
use super::super::screen::Screen;
use super::put;

/// The fields of the selected flow.
pub struct Detail<'a> {
    pub screen: &'a Screen,
    pub first: usize,
    pub look: Look,
}

/// The width of the names.
const NAME: usize = 16;

impl Widget for Detail<'_> {
    fn render(self, area: Rect, buffer: &mut Buffer) {
        let Some(row) = self.screen.rows().get(self.screen.selected) else { return };
        put::filled(buffer, area, 0, self.look.head());
        put::line(buffer, area, 0, &[(&row.text, self.look.head())]);
        for (line, (name, text)) in (1..area.height).zip(row.fields.iter().skip(self.first)) {
            let text = if self.look.is_utf8 { text.replace(" -> ", " → ") } else { text.clone() };
            put::line(buffer, area, line, &[(&format!("{name:<NAME$} "), self.look.name()), (&text, Style::new())]);
        }
    }
}
