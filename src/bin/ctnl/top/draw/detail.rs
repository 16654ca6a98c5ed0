//! All fields of a flow.

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::style::Style;
use ratatui::widgets::Widget;

use super::super::look::Look;
use super::super::screen::Detail;
use super::put;

/// The fields of one flow.
pub struct DetailTable<'a> {
    pub detail: &'a Detail,
    pub look: Look,
}

/// The width of the names.
const NAME: usize = 16;
/// What the frame does not have may have ended, or there may be too many before it.
const GONE: &str = "not in this frame: it ended, or is not among the first; as it was:";

impl Widget for DetailTable<'_> {
    fn render(self, area: Rect, buffer: &mut Buffer) {
        let Detail { row, is_gone, first } = self.detail;
        put::filled(buffer, area, 0, self.look.head());
        put::line(buffer, area, 0, &[(&row.text, self.look.head())]);
        if *is_gone {
            put::line(buffer, area, 1, &[(GONE, self.look.warning())]);
        }
        let fields = 1 + u16::from(*is_gone);
        for (line, (name, text)) in (fields..area.height).zip(row.fields.iter().skip(*first)) {
            let text = if self.look.is_utf8 { text.replace(" -> ", " → ") } else { text.clone() };
            put::line(buffer, area, line, &[(&format!("{name:<NAME$} "), self.look.name()), (&text, Style::new())]);
        }
    }
}
