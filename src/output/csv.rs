//! `-o csv`: RFC 4180, so with a header and with CR LF at the end of each line.
//!
//! A cell is empty where the flow has no such value, and where the value cannot
//! be known; where only bounds are known, it has the lower one, which is certain.
//! So a column of numbers stays a column of numbers.

use super::columns::{Columns, append_value};
use super::escape;
use super::write::WriteEntries;
use crate::field::{Subject, Value};

/// What is shown when no columns are asked for.
pub const CSV_COLUMNS: &[&str] = &[
    "proto",
    "state",
    "src",
    "sport",
    "dst",
    "dport",
    "reply-src",
    "reply-sport",
    "reply-dst",
    "reply-dport",
    "status",
    "timeout",
    "idle",
    "age",
    "packets",
    "bytes",
    "mark",
    "zone",
    "helper",
    "id",
];

/// Writes CSV.
#[derive(Debug, Clone)]
pub struct CsvWriter {
    columns: Columns,
    cell: Vec<u8>,
}

impl WriteEntries for CsvWriter {
    fn begin(&mut self, out: &mut Vec<u8>) {
        CsvWriter::begin(self, out);
    }

    #[inline]
    fn entry(&mut self, out: &mut Vec<u8>, subject: &Subject<'_>) {
        self.flow(out, subject);
    }
}

impl CsvWriter {
    /// A writer of these columns.
    #[must_use]
    pub fn new(columns: Columns) -> Self {
        CsvWriter { columns, cell: Vec::new() }
    }

    /// Appends the header.
    pub fn begin(&self, out: &mut Vec<u8>) {
        let names: Vec<&str> = self.columns.fields().iter().map(|field| field.name).collect();
        out.extend_from_slice(names.join(",").as_bytes());
        out.extend_from_slice(b"\r\n");
    }

    /// Appends one line.
    pub fn flow(&mut self, out: &mut Vec<u8>, subject: &Subject<'_>) {
        let mut separator: &[u8] = b"";
        for field in self.columns.fields() {
            out.extend_from_slice(separator);
            separator = b",";
            self.cell.clear();
            match (field.value)(subject) {
                Value::Absent | Value::Undecided(_) => {}
                Value::Seconds(span) => append_value(&mut self.cell, &Value::Number(span.at_least.into())),
                value => append_value(&mut self.cell, &value),
            }
            escape::csv_cell(out, &self.cell);
        }
        out.extend_from_slice(b"\r\n");
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::output::sample;

    #[test]
    fn cells_are_quoted_and_missing_ones_are_empty() {
        let mut writer = CsvWriter::new(Columns::from(sample::columns()));
        let mut out = Vec::new();
        writer.begin(&mut out);
        sample::each(|subject| writer.flow(&mut out, subject));
        assert_eq!(
            String::from_utf8(out).unwrap(),
            "src,sport,helper,age\r\n10.0.0.1,1234,\"f\"\"t,p\x1b\",\r\n2001:db8::1,,,\r\n"
        );
    }
}
