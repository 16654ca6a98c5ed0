//! Text tables: numbers aligned right, words left.

use ctnl::text::printable;

/// The widths of the columns of a table: for tables that are too large to be kept, which are gone through twice.
#[derive(Debug)]
pub struct Widths {
    widths: Vec<usize>,
    numbers: usize,
}

impl Widths {
    /// The widths of these column headers; the first `numbers` columns are numbers.
    pub fn of(heads: &[String], numbers: usize) -> Self {
        let mut widths = Widths { widths: vec![0; heads.len()], numbers };
        widths.fit(heads);
        widths
    }

    /// Widens the columns so that the row fits.
    pub fn fit(&mut self, row: &[String]) {
        for (width, cell) in self.widths.iter_mut().zip(row) {
            *width = (*width).max(cell.chars().count());
        }
    }

    /// The line of a row, without control characters: cells come from the kernel and from files.
    pub fn line(&self, row: &[String]) -> String {
        let cells = row.iter().zip(&self.widths).enumerate().map(|(column, (cell, width))| {
            let cell = printable(cell);
            if column < self.numbers { format!("{cell:>width$}") } else { format!("{cell:<width$}") }
        });
        let line = cells.collect::<Vec<_>>().join("  ");
        format!("{}\n", line.trim_end())
    }
}

/// A table.
#[derive(Debug)]
pub struct Columns {
    rows: Vec<Vec<String>>,
    widths: Widths,
}

impl Columns {
    /// An empty table with these column headers; the first `numbers` columns are numbers.
    pub fn new(heads: Vec<String>, numbers: usize) -> Self {
        Columns { widths: Widths::of(&heads, numbers), rows: vec![heads] }
    }

    /// Adds a row.
    pub fn push(&mut self, row: Vec<String>) {
        self.widths.fit(&row);
        self.rows.push(row);
    }

    /// The lines.
    pub fn to_text(&self) -> String {
        self.rows.iter().map(|row| self.widths.line(row)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_aligned_right_and_words_left() {
        let mut columns = Columns::new(vec!["N".into(), "WORD".into()], 1);
        columns.push(vec!["100".into(), "a".into()]);
        assert_eq!(columns.to_text(), "  N  WORD\n100  a\n");
    }
}
