//! The order of the rows.

use std::cmp::Ordering;

use super::model::{Figures, Row};

/// A column of the table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Column {
    /// The group, or the flow.
    Group,
    /// Entries.
    Entries,
    /// Entries that are not ASSURED.
    Evictable,
    /// Entries that began.
    New,
    /// Packets.
    Packets,
    /// Bytes.
    Bytes,
    /// Idle time.
    Idle,
}

impl Column {
    /// All, from left to right.
    pub const ALL: [Column; 7] =
        [Column::Group, Column::Entries, Column::Evictable, Column::New, Column::Packets, Column::Bytes, Column::Idle];

    /// Its name on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Column::Group => "group",
            Column::Entries => "entries",
            Column::Evictable => "evictable",
            Column::New => "new",
            Column::Packets => "packets",
            Column::Bytes => "bytes",
            Column::Idle => "idle",
        }
    }

    /// The column to the right, or to the left; the ends are joined.
    pub fn next(self, to_the_right: bool) -> Self {
        let count = Self::ALL.len();
        let place = Self::ALL.iter().position(|column| *column == self).unwrap_or(0);
        let next = if to_the_right { place + 1 } else { place + count - 1 } % count;
        Self::ALL.get(next).copied().unwrap_or(self)
    }
}

/// An order of rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SortOrder {
    /// What is compared.
    pub column: Column,
    /// The largest first.
    pub descending: bool,
}

impl Default for SortOrder {
    fn default() -> Self {
        SortOrder::of(Column::Entries)
    }
}

impl SortOrder {
    /// The usual direction: the largest first, but groups by their text.
    pub fn of(column: Column) -> Self {
        SortOrder { column, descending: column != Column::Group }
    }

    /// The order of two rows. Unknown values come last in both directions; equal ones with most entries first.
    pub fn compare(self, a: &Row, b: &Row) -> Ordering {
        match self.column {
            Column::Group => self.directed(a.text.cmp(&b.text)),
            _ => self.compare_figures(&a.figures, &b.figures),
        }
    }

    /// The same for figures. By [`Column::Group`] they are in no order.
    pub fn compare_figures(self, a: &Figures, b: &Figures) -> Ordering {
        let by_column = match (number(a, self.column), number(b, self.column)) {
            (Some(a), Some(b)) => self.directed(a.total_cmp(&b)),
            (a, b) => b.is_some().cmp(&a.is_some()),
        };
        by_column.then_with(|| b.entries.cmp(&a.entries))
    }

    fn directed(self, ordering: Ordering) -> Ordering {
        if self.descending { ordering.reverse() } else { ordering }
    }
}

fn number(figures: &Figures, column: Column) -> Option<f64> {
    match column {
        Column::Group => None,
        Column::Entries => Some(figures.entries as f64),
        Column::Evictable => Some(figures.evictable as f64),
        Column::New => figures.new.at_least(),
        Column::Packets => figures.packets.at_least(),
        Column::Bytes => figures.bytes.at_least(),
        Column::Idle => figures.idle.at_least().map(f64::from),
    }
}

#[cfg(test)]
mod tests {
    use super::super::model::Rate;
    use super::*;

    fn row(text: &str, entries: u64, bytes: Rate) -> Row {
        Row { text: text.into(), figures: Figures { entries, bytes, ..Figures::default() }, ..Row::default() }
    }

    fn texts(order: SortOrder) -> Vec<String> {
        let mut rows = vec![row("c", 5, Rate::Unknown), row("b", 1, Rate::AtLeast(7.0)), row("a", 1, Rate::Known(9.0))];
        rows.sort_by(|a, b| order.compare(a, b));
        rows.into_iter().map(|row| row.text).collect()
    }

    #[test]
    fn unknown_values_come_last_in_both_directions_and_equal_ones_keep_their_order() {
        assert_eq!(texts(SortOrder::of(Column::Bytes)), ["a", "b", "c"]);
        assert_eq!(texts(SortOrder { column: Column::Bytes, descending: false }), ["b", "a", "c"]);
        assert_eq!(texts(SortOrder::default()), ["c", "b", "a"]);
        assert_eq!(texts(SortOrder::of(Column::Idle)), ["c", "b", "a"]);
        assert_eq!(texts(SortOrder::of(Column::Group)), ["a", "b", "c"]);
    }

    #[test]
    fn the_columns_are_a_ring() {
        assert_eq!((Column::Idle.next(true), Column::Group.next(false)), (Column::Group, Column::Idle));
        assert_eq!((Column::Entries.next(true), Column::Evictable.next(false)), (Column::Evictable, Column::Entries));
    }
}
