//! `-o csv`: RFC 4180, with a header, and with CR LF at the end of each line.
//!
//! A cell is empty if the entry has no such value or if the value is unknown. If only bounds are known, the
//! cell is the lower bound, so that a column of numbers contains only numbers.

use super::columns::{Columns, append_value};
use super::escape;
use super::write::WriteEntries;
use crate::field::{Subject, Value};

/// The default columns.
pub(super) const CSV_COLUMNS: &[&str] = &[
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

/// Writes entries as CSV.
#[derive(Debug, Clone)]
pub(super) struct CsvWriter {
    columns: Columns,
    cell: Vec<u8>,
}

impl CsvWriter {
    pub(super) fn new(columns: Columns) -> Self {
        CsvWriter { columns, cell: Vec::new() }
    }
}

impl WriteEntries for CsvWriter {
    fn begin(&self, out: &mut Vec<u8>) {
        let names: Vec<&str> = self.columns.fields().iter().map(|field| field.name).collect();
        out.extend_from_slice(names.join(",").as_bytes());
        out.extend_from_slice(b"\r\n");
    }

    fn entry(&mut self, out: &mut Vec<u8>, subject: &Subject<'_>) {
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
        sample::each(|subject| writer.entry(&mut out, subject));
        assert_eq!(
            String::from_utf8(out).unwrap(),
            "src,sport,helper,age\r\n10.0.0.1,1234,\"f\"\"t,p\x1b\",\r\n2001:db8::1,,,\r\n"
        );
    }
}
