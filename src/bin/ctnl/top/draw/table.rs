//! The rows.

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::style::Style;
use ratatui::widgets::Widget;

use super::super::look::Look;
use super::super::model::{Frame, Row};
use super::super::order::Column;
use super::super::screen::{Screen, Source};
use super::super::text::{bound, count, cut, idle, rate};
use super::super::view::View;
use super::put;
use crate::term::console::percent;

/// The table of groups, or of flows.
pub struct Table<'a> {
    pub screen: &'a Screen,
    pub look: Look,
}

/// A column of figures: its head, its width, and the column that it is sorted by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Shown {
    head: &'static str,
    width: usize,
    column: Option<Column>,
}

const ENTRIES: Shown = Shown { head: "ENTRIES", width: 8, column: Some(Column::Entries) };
const SHARE: Shown = Shown { head: "SHARE", width: 8, column: None };
const EVICTABLE: Shown = Shown { head: "EVICTABLE", width: 10, column: Some(Column::Evictable) };
const NEW: Shown = Shown { head: "NEW/S", width: 8, column: Some(Column::New) };
const PACKETS: Shown = Shown { head: "PACKETS/S", width: 10, column: Some(Column::Packets) };
const BYTES: Shown = Shown { head: "BYTES/S", width: 8, column: Some(Column::Bytes) };
const IDLE: Shown = Shown { head: "IDLE", width: 9, column: Some(Column::Idle) };

/// The least width of the group, behind the figures.
const GROUP: usize = 19;

/// The columns that fit, from left to right: what is left out first stands last in the order of importance.
fn columns(view: View, width: usize) -> Vec<Shown> {
    let (important, all): (&[Shown], &[Shown]) = if view == View::Flows {
        (&[BYTES, IDLE, PACKETS], &[PACKETS, BYTES, IDLE])
    } else {
        (
            &[ENTRIES, SHARE, NEW, EVICTABLE, IDLE, BYTES, PACKETS],
            &[ENTRIES, SHARE, EVICTABLE, NEW, PACKETS, BYTES, IDLE],
        )
    };
    let mut left = width.saturating_sub(GROUP);
    let mut fitting = Vec::new();
    for shown in important {
        let Some(rest) = left.checked_sub(shown.width) else { break };
        left = rest;
        fitting.push(*shown);
    }
    all.iter().filter(|shown| fitting.contains(shown)).copied().collect()
}

impl Table<'_> {
    fn value(&self, row: &Row, shown: Shown) -> String {
        let figures = &row.figures;
        let matched = self.screen.frame.as_ref().map_or(0, |frame| frame.matched);
        match shown {
            ENTRIES => bound(count(figures.entries), figures.missing),
            SHARE => percent(figures.entries, matched),
            EVICTABLE => bound(count(figures.evictable), figures.missing),
            NEW => rate(figures.new),
            PACKETS => rate(figures.packets),
            BYTES => rate(figures.bytes),
            _ => idle(figures.idle),
        }
    }

    fn head(&self, columns: &[Shown], area: Rect, buffer: &mut Buffer) {
        let order = self.screen.order;
        put::filled(buffer, area, 0, self.look.head());
        let style = |column: Option<Column>| {
            if column == Some(order.column) { self.look.sorted() } else { self.look.head() }
        };
        let padded: Vec<(String, String, Style)> = columns
            .iter()
            .map(|shown| {
                let space = " ".repeat(shown.width.saturating_sub(shown.head.len()));
                (space, shown.head.to_owned(), style(shown.column))
            })
            .collect();
        let group = self.screen.view.head();
        let mut parts: Vec<(&str, Style)> = Vec::new();
        for (space, head, style) in &padded {
            parts.extend([(&**space, self.look.head()), (&**head, *style)]);
        }
        parts.extend([(" ", self.look.head()), (group, style(Some(Column::Group)))]);
        put::line(buffer, area, 0, &parts);
    }

    /// Why there is no row, if there is none.
    fn empty(&self) -> Option<String> {
        let frame = self.screen.frame.as_ref()?;
        match frame.section(self.screen.view) {
            None => Some(self.awaited(frame)),
            Some(section) if section.rows.is_empty() && frame.seen == 0 => Some("the table is empty".to_owned()),
            Some(section) if section.rows.is_empty() => Some("nothing matches the filter".to_owned()),
            Some(_) => None,
        }
    }

    /// When the rows come that `frame` does not have.
    fn awaited(&self, frame: &Frame) -> String {
        match (self.screen.waits, &self.screen.source) {
            (_, Source::Recording(_)) => "the recording does not have this view".to_owned(),
            (None, _) => "reading the table".to_owned(),
            (Some(seconds), _) => {
                let took = frame.took as f64 / 1000.0;
                format!("the next dump begins in {seconds} s, since one takes {took:.1} s")
            }
        }
    }
}

impl Widget for Table<'_> {
    fn render(self, area: Rect, buffer: &mut Buffer) {
        let width = usize::from(area.width);
        let columns = columns(self.screen.view, width);
        self.head(&columns, area, buffer);
        if let Some(why) = self.empty() {
            put::line(buffer, area, 1, &[(&why, Style::new())]);
        }
        let group_width = width.saturating_sub(columns.iter().map(|shown| shown.width).sum::<usize>() + 1);
        let (rows, first) = (self.screen.rows(), self.screen.first);
        let selected = self.screen.selected_row().map(|_| self.screen.selected);
        for (place, row) in rows.iter().enumerate().skip(first).take(self.screen.height) {
            let mut text = String::new();
            for shown in &columns {
                text += &format!("{:>width$}", self.value(row, *shown), width = shown.width);
            }
            text += &format!(" {}", cut(&row.text, group_width));
            let style = if Some(place) == selected { self.look.selected() } else { Style::new() };
            let line = u16::try_from(place - first + 1).unwrap_or(u16::MAX);
            put::filled(buffer, area, line, style);
            put::line(buffer, area, line, &[(&text, style)]);
        }
    }
}
