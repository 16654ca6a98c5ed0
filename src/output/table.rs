//! `-o table`: aligned columns for a terminal.
//!
//! The first rows are buffered and determine the widths. Later rows are written at once, and a wider cell
//! shifts the rest of its row, so that memory does not depend on the size of the table. Durations are written
//! in two units; the other formats write seconds.

use std::io::Write as _;

use super::columns::{Columns, UnknownColumn, append_value};
use super::escape;
use super::write::WriteEntries;
use crate::field::{Field, Named, Subject, Value, ValueKind, field};

/// The default columns. Two names with a colon between them are an address and its port.
const TABLE_COLUMNS: &[&str] =
    &["proto", "state", "src:sport", "dst:dport", "nat", "idle", "timeout", "packets", "bytes"];

/// Default columns that are omitted if no buffered row has a value: without accounting, or without NAT.
const OPTIONAL: &[&str] = &["nat", "packets", "bytes"];

/// The number of rows that determine the widths: a few screens.
const BUFFERED_ROWS: usize = 256;

/// Writes entries as a table.
#[derive(Debug, Clone)]
pub(super) struct TableWriter {
    columns: Vec<Column>,
    /// Rows that are buffered until the widths are known, then empty.
    buffered: Vec<Vec<Cell>>,
    widths_known: bool,
    spare: Vec<Cell>,
    raw: Vec<u8>,
}

#[derive(Debug, Clone)]
struct Column {
    title: String,
    source: Source,
    optional: bool,
    shown: bool,
    width: usize,
    right: bool,
}

#[derive(Debug, Clone, Copy)]
enum Source {
    Field(&'static Field),
    /// Address and port.
    Endpoint(&'static Field, &'static Field),
}

#[derive(Debug, Clone, Default)]
struct Cell {
    text: Vec<u8>,
    kind: CellKind,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
enum CellKind {
    #[default]
    Absent,
    Unknown,
    Number,
    Text,
}

impl TableWriter {
    /// A table with exactly these columns.
    pub(super) fn new(columns: &Columns) -> Self {
        let column = |field: &&'static Field| Column::new(field.name, Source::Field(field), false);
        Self::with(columns.fields().iter().map(column).collect())
    }

    /// A table with the columns of [`TABLE_COLUMNS`].
    ///
    /// # Errors
    /// A name that is not in the registry of fields.
    pub(super) fn with_default_columns() -> Result<Self, UnknownColumn> {
        let find = |name: &str| field(name).ok_or_else(|| UnknownColumn(name.to_owned()));
        let column = |title: &&str| {
            let source = match title.split_once(':') {
                Some((address, port)) => Source::Endpoint(find(address)?, find(port)?),
                None => Source::Field(find(title)?),
            };
            Ok(Column::new(title, source, OPTIONAL.contains(title)))
        };
        TABLE_COLUMNS.iter().map(column).collect::<Result<_, _>>().map(Self::with)
    }

    fn with(columns: Vec<Column>) -> Self {
        TableWriter { columns, buffered: Vec::new(), widths_known: false, spare: Vec::new(), raw: Vec::new() }
    }

    /// Determines the widths and appends header and rows.
    fn write_buffered(&mut self, out: &mut Vec<u8>) {
        for (i, column) in self.columns.iter_mut().enumerate() {
            column.fit(self.buffered.iter().filter_map(|row| row.get(i)));
        }
        let title = |column: &Column| Cell { text: column.title.to_uppercase().into_bytes(), kind: CellKind::Text };
        append_row(out, &self.columns, &self.columns.iter().map(title).collect::<Vec<_>>());
        for row in std::mem::take(&mut self.buffered) {
            append_row(out, &self.columns, &row);
        }
        self.widths_known = true;
    }
}

impl WriteEntries for TableWriter {
    fn entry(&mut self, out: &mut Vec<u8>, subject: &Subject<'_>) {
        let mut row = if self.widths_known { std::mem::take(&mut self.spare) } else { Vec::new() };
        row.resize_with(self.columns.len(), Cell::default);
        for (column, cell) in self.columns.iter().zip(&mut row) {
            column.source.fill(cell, subject, &mut self.raw);
        }
        if self.widths_known {
            append_row(out, &self.columns, &row);
            self.spare = row;
            return;
        }
        self.buffered.push(row);
        if self.buffered.len() >= BUFFERED_ROWS {
            self.write_buffered(out);
        }
    }

    /// Appends the buffered rows: only the header if there was no row.
    fn end(&mut self, out: &mut Vec<u8>) {
        if !self.widths_known {
            self.write_buffered(out);
        }
    }
}

impl Column {
    fn new(title: &str, source: Source, optional: bool) -> Self {
        Column { title: title.to_owned(), source, optional, shown: true, width: 0, right: false }
    }

    fn fit<'a>(&mut self, cells: impl Iterator<Item = &'a Cell> + Clone) {
        let has = |kind| cells.clone().any(|cell| cell.kind == kind);
        self.shown = !self.optional || has(CellKind::Number) || has(CellKind::Text);
        self.right = !has(CellKind::Text) && (has(CellKind::Number) || has(CellKind::Unknown));
        self.width = cells.map(Cell::width).chain([self.title.chars().count()]).max().unwrap_or(0);
    }
}

impl Source {
    fn fill(self, cell: &mut Cell, subject: &Subject<'_>, raw: &mut Vec<u8>) {
        raw.clear();
        match self {
            Source::Field(field) => {
                let value = (field.value)(subject);
                cell.kind = CellKind::of(&value);
                match value {
                    Value::Number(seconds) if field.kind == ValueKind::Duration => append_duration(raw, seconds),
                    Value::Seconds(span) => {
                        append_duration(raw, span.at_least.into());
                        raw.extend_from_slice(if span.at_most.is_none() { b"+" } else { b"" });
                    }
                    value => append_value(raw, &value),
                }
            }
            Source::Endpoint(address, port) => {
                cell.kind = append_endpoint(raw, (address.value)(subject), (port.value)(subject));
            }
        }
        cell.text.clear();
        escape::for_terminal(&mut cell.text, &String::from_utf8_lossy(raw));
    }
}

/// `17s`, `5m03s`, `12h05m`, `4d23h`: the two largest units, rounded down.
fn append_duration(raw: &mut Vec<u8>, seconds: u64) {
    let (minutes, hours, days) = (seconds / 60, seconds / 3600, seconds / 86_400);
    // Appending to a Vec cannot fail.
    drop(match (days, hours, minutes) {
        (0, 0, 0) => write!(raw, "{seconds}s"),
        (0, 0, _) => write!(raw, "{minutes}m{:02}s", seconds % 60),
        (0, ..) => write!(raw, "{hours}h{:02}m", minutes % 60),
        _ => write!(raw, "{days}d{:02}h", hours % 24),
    });
}

/// `10.0.0.1:80`, `[2001:db8::1]:80`, or an address alone.
fn append_endpoint(raw: &mut Vec<u8>, address: Value<'_>, port: Value<'_>) -> CellKind {
    let bracket = port != Value::Absent && matches!(address, Value::Address(address) if address.is_ipv6());
    if bracket {
        raw.push(b'[');
    }
    append_value(raw, &address);
    if bracket {
        raw.push(b']');
    }
    if port != Value::Absent {
        raw.push(b':');
        append_value(raw, &port);
    }
    CellKind::Text
}

impl CellKind {
    fn of(value: &Value<'_>) -> Self {
        match value {
            Value::Absent => CellKind::Absent,
            Value::Undecided(_) => CellKind::Unknown,
            Value::Number(_) | Value::Seconds(_) => CellKind::Number,
            Value::Named(Named { code: 0, kind: ValueKind::Nat }) => CellKind::Absent,
            _ => CellKind::Text,
        }
    }
}

impl Cell {
    fn width(&self) -> usize {
        // Counts characters: all bytes except UTF-8 continuation bytes.
        self.text.iter().filter(|byte| **byte & 0xc0 != 0x80).count()
    }
}

fn append_row(out: &mut Vec<u8>, columns: &[Column], cells: &[Cell]) {
    let start = out.len();
    for (column, cell) in columns.iter().zip(cells).filter(|(column, _)| column.shown) {
        if out.len() > start {
            out.extend_from_slice(b"  ");
        }
        let blanks = std::iter::repeat_n(b' ', column.width.saturating_sub(cell.width()));
        if column.right {
            out.extend(blanks.clone());
        }
        out.extend_from_slice(&cell.text);
        if !column.right {
            out.extend(blanks);
        }
    }
    let end = out.iter().rposition(|byte| *byte != b' ').map_or(0, |last| last + 1);
    out.truncate(end.max(start));
    out.push(b'\n');
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::output::sample;

    #[test]
    fn columns_are_aligned_and_control_characters_escaped() {
        let mut writer = TableWriter::new(&Columns::from(sample::columns()));
        let mut out = Vec::new();
        sample::each(|subject| writer.entry(&mut out, subject));
        assert!(out.is_empty());
        writer.end(&mut out);
        let expected = "SRC          SPORT  HELPER     AGE\n\
                        10.0.0.1      1234  f\"t,p\\x1b    ?\n\
                        2001:db8::1      -  -            ?\n";
        assert_eq!(String::from_utf8(out).unwrap(), expected);
    }

    #[test]
    fn rows_after_the_buffered_ones_are_written_at_once_and_may_be_wider() {
        let mut writer = TableWriter::new(&Columns::from(sample::columns()));
        let ages = sample::ages(0);
        let mut out = Vec::new();
        let narrow = sample::flow("10.0.0.1", "10.0.0.2", 6, crate::model::L4::Ports { src: 1, dst: 2 });
        (0..BUFFERED_ROWS).for_each(|_| writer.entry(&mut out, &Subject::new(&narrow, &ages)));
        assert_eq!(out.iter().filter(|byte| **byte == b'\n').count(), BUFFERED_ROWS + 1);
        let wide = sample::flow("2001:db8:1:2:3:4:5:6", "::1", 6, crate::model::L4::Ports { src: 60000, dst: 2 });
        out.clear();
        writer.entry(&mut out, &Subject::new(&wide, &ages));
        assert_eq!(String::from_utf8(out).unwrap(), "2001:db8:1:2:3:4:5:6  60000  -         ?\n");
    }

    #[test]
    fn an_ipv6_endpoint_has_brackets_and_a_flow_without_ports_has_none() {
        let text = |address: &str, port| {
            let mut raw = Vec::new();
            append_endpoint(&mut raw, Value::Address(address.parse().unwrap()), port);
            String::from_utf8(raw).unwrap()
        };
        assert_eq!(text("::1", Value::Number(80)), "[::1]:80");
        assert_eq!(text("::1", Value::Absent), "::1");
        assert_eq!(text("10.0.0.1", Value::Number(80)), "10.0.0.1:80");
    }

    #[test]
    fn durations_have_two_units() {
        for (seconds, text) in [(0, "0s"), (59, "59s"), (303, "5m03s"), (43_500, "12h05m"), (431_999, "4d23h")] {
            let mut raw = Vec::new();
            append_duration(&mut raw, seconds);
            assert_eq!(String::from_utf8(raw).unwrap(), text);
        }
    }

    #[test]
    fn optional_columns_without_a_value_are_omitted() {
        let mut writer = TableWriter::with_default_columns().unwrap();
        let mut out = Vec::new();
        sample::each(|subject| writer.entry(&mut out, subject));
        writer.end(&mut out);
        let text = String::from_utf8(out).unwrap();
        let ends: Vec<&str> = text.lines().skip(1).filter_map(|row| row.split_whitespace().nth(2)).collect();
        assert_eq!(ends, ["10.0.0.1:1234", "2001:db8::1"], "{text}");
        assert!(!["NAT", "PACKETS", "BYTES"].iter().any(|title| text.contains(title)), "{text}");
        assert!(text.lines().next().unwrap().starts_with("PROTO"), "{text}");
    }

    #[test]
    fn optional_columns_with_a_value_are_shown() {
        let mut flow = sample::flow("10.0.0.1", "10.0.0.2", 6, crate::model::L4::Ports { src: 1, dst: 2 });
        flow.counters_orig = Some(crate::model::Counters { packets: 3, bytes: 180 });
        let mut writer = TableWriter::with_default_columns().unwrap();
        let mut out = Vec::new();
        writer.entry(&mut out, &Subject::new(&flow, &sample::ages(0)));
        writer.end(&mut out);
        let text = String::from_utf8(out).unwrap();
        let header: Vec<&str> = text.lines().next().unwrap().split_whitespace().collect();
        assert!(header.ends_with(&["PACKETS", "BYTES"]) && !header.contains(&"NAT"), "{text}");
        assert!(text.lines().nth(1).unwrap().ends_with("3    180"), "{text}");
    }

    #[test]
    fn an_empty_table_is_a_header() {
        let mut writer = TableWriter::new(&Columns::from(sample::columns()));
        let mut out = Vec::new();
        writer.end(&mut out);
        assert_eq!(out, b"SRC  SPORT  HELPER  AGE\n");
    }
}
