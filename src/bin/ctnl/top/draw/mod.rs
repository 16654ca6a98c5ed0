//! The screen as ratatui draws it: one widget a file.
//!
//! `header` has the figures, `table` the rows, `footer` the keys, a message or the filter that is edited; `help`, `detail`
//! and `kill` cover the table.

mod detail;
mod footer;
mod header;
mod help;
mod kill;
mod put;
mod table;
#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::indexing_slicing)]
mod tests;

use jiff::tz::TimeZone;
use ratatui::Frame;
use ratatui::layout::Rect;
use ratatui::widgets::Widget;

use self::detail::DetailTable;
use self::footer::Footer;
use self::header::Header;
use self::help::Help;
use self::kill::KillDialog;
use self::table::Table;
use super::look::Look;
use super::screen::{Overlay, Screen};

/// The parts of a screen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Parts {
    header: Rect,
    table: Rect,
    footer: Rect,
}

impl Parts {
    fn of(area: Rect, header: u16, footer: u16) -> Self {
        let footer = footer.min(area.height);
        let header = header.min(area.height - footer);
        let table = area.height - footer - header;
        let at = |y: u16, height| Rect { x: area.x, y: area.y + y, width: area.width, height };
        Parts { header: at(0, header), table: at(header, table), footer: at(header + table, footer) }
    }
}

/// Draws `screen`. The rows that fit are stored in it.
pub fn draw(screen: &mut Screen, look: Look, zone: &TimeZone, frame: &mut Frame<'_>) {
    let area = frame.area();
    let parts = Parts::of(area, Header::height(area, screen), Footer::height(screen, area));
    screen.set_height(usize::from(parts.table.height.saturating_sub(1)));
    if let Overlay::Help(first) = &mut screen.overlay {
        *first = (*first).min(Help::last_first(parts.table));
    }
    let buffer = frame.buffer_mut();
    Header { screen, look, zone }.render(parts.header, buffer);
    match &screen.overlay {
        Overlay::Help(first) => Help { first: *first, look }.render(parts.table, buffer),
        Overlay::Detail(detail) => DetailTable { detail, look }.render(parts.table, buffer),
        Overlay::Kill(kill) => KillDialog { kill, look }.render(parts.table, buffer),
        Overlay::None | Overlay::Filter(_) => Table { screen, look }.render(parts.table, buffer),
    }
    Footer { screen, look }.render(parts.footer, buffer);
    look.restrict(buffer);
    if let Overlay::Filter(line) = &screen.overlay {
        frame.set_cursor_position(footer::cursor(line, parts.footer));
    }
}
