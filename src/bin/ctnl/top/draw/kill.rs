//! The dialog before a delete.

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::style::Style;
use ratatui::widgets::{Paragraph, Widget, Wrap};

use super::super::look::Look;
use super::super::screen::Kill;
use super::put;

/// What is going to be deleted.
pub struct KillDialog<'a> {
    pub kill: &'a Kill,
    pub look: Look,
}

impl Widget for KillDialog<'_> {
    fn render(self, area: Rect, buffer: &mut Buffer) {
        let Kill { filter, entries, is_soft, max, netns } = self.kill;
        put::filled(buffer, area, 0, self.look.head());
        put::line(buffer, area, 0, &[("DELETE: preview first, then a question", self.look.head())]);
        let what = if *is_soft { "lower the timeout to 10 s" } else { "delete" };
        let most = if max.is_empty() { "no maximum" } else { max };
        for (row, (name, value)) in (1..).zip([("action", what), ("at most", most)]) {
            put::line(buffer, area, row, &[(&format!("{name:<10}"), self.look.name()), (value, Style::new())]);
        }
        put::line(
            buffer,
            area,
            3,
            &[(&format!("{:<10}", "shown"), self.look.name()), (&format!("{entries} entries"), Style::new())],
        );
        let mut above = 4;
        if let Some(netns) = netns {
            put::line(buffer, area, 4, &[(&format!("{:<10}", "netns"), self.look.name()), (&netns.name, Style::new())]);
            above = 5;
        }
        let rest = Rect { y: area.y + above, height: area.height.saturating_sub(above), ..area };
        let text = format!("filter    {}", ctnl::text::printable(filter));
        Paragraph::new(text).wrap(Wrap { trim: false }).render(rest.intersection(area), buffer);
    }
}
