//! Text tables: numbers aligned right, words left.

use ctnl::text::printable;

/// A table.
#[derive(Debug)]
pub struct Columns {
    rows: Vec<Vec<String>>,
    numbers: usize,
}

impl Columns {
    /// An empty table with these column headers; the first `numbers` columns are numbers.
    pub fn new(heads: Vec<String>, numbers: usize) -> Self {
        Columns { rows: vec![heads], numbers }
    }

    /// Adds a row.
    pub fn push(&mut self, row: Vec<String>) {
        self.rows.push(row);
    }

    /// The lines, without control characters: cells come from the kernel and from files.
    pub fn to_text(&self) -> String {
        let count = self.rows.first().map_or(0, Vec::len);
        let width = |column: usize| {
            self.rows.iter().filter_map(|row| row.get(column)).map(|cell| cell.chars().count()).max().unwrap_or(0)
        };
        let widths: Vec<usize> = (0..count).map(width).collect();
        self.rows.iter().map(|row| self.line(row, &widths)).collect()
    }

    fn line(&self, row: &[String], widths: &[usize]) -> String {
        let cells = row.iter().zip(widths).enumerate().map(|(column, (cell, width))| {
            let cell = printable(cell);
            if column < self.numbers { format!("{cell:>width$}") } else { format!("{cell:<width$}") }
        });
        let line = cells.collect::<Vec<_>>().join("  ");
        format!("{}\n", line.trim_end())
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
