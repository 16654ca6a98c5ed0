//! The registry of formats, and the one type that stands for all of them.

use thiserror::Error;

use super::columns::{Columns, JsonColumnsWriter, UnknownColumn};
use super::csv::{CSV_COLUMNS, CsvWriter};
use super::json::JsonWriter;
use super::table::TableWriter;
use super::text::{TextOptions, TextWriter};
use super::xml::XmlWriter;
use crate::field::Subject;

/// A format of output.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Format {
    /// Aligned columns, for a person.
    Table,
    /// conntrack(8)'s line.
    Conntrack,
    /// One JSON object a line.
    Json,
    /// RFC 4180.
    Csv,
    /// conntrack(8)'s XML.
    Xml,
}

/// One row of the registry.
#[derive(Debug)]
pub struct FormatRow {
    /// The word after `-o`.
    pub name: &'static str,
    /// The format.
    pub format: Format,
    /// One line of help.
    pub doc: &'static str,
    /// Whether columns can be chosen.
    pub has_columns: bool,
}

/// The registry.
pub static FORMATS: &[FormatRow] = &[
    FormatRow {
        name: "table",
        format: Format::Table,
        doc: "aligned columns with a header, for a terminal",
        has_columns: true,
    },
    FormatRow {
        name: "conntrack",
        format: Format::Conntrack,
        doc: "the line that conntrack(8) prints, byte for byte",
        has_columns: false,
    },
    FormatRow {
        name: "json",
        format: Format::Json,
        doc: "one JSON object a line (docs/json.md); with columns, a flat object of these",
        has_columns: true,
    },
    FormatRow {
        name: "csv",
        format: Format::Csv,
        doc: "comma-separated values with a header (RFC 4180)",
        has_columns: true,
    },
    FormatRow {
        name: "xml",
        format: Format::Xml,
        doc: "the document that conntrack(8) prints with -o xml",
        has_columns: false,
    },
];

impl Format {
    /// The format of a name.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        FORMATS.iter().find(|row| row.name == name).map(|row| row.format)
    }

    /// Its row in the registry.
    #[must_use]
    pub fn row(self) -> Option<&'static FormatRow> {
        FORMATS.iter().find(|row| row.format == self)
    }

    /// Its name.
    #[must_use]
    pub fn name(self) -> &'static str {
        self.row().map_or("", |row| row.name)
    }
}

/// What a format is made with.
#[derive(Debug, Clone, Default)]
pub struct WriterOptions {
    /// The columns of table, csv and json; the format's own where not given.
    pub columns: Option<Vec<String>>,
    /// For conntrack and xml. `labels` also holds for json.
    pub text: TextOptions,
}

/// Why a writer cannot be made.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum WriterError {
    /// A column that is no field.
    #[error(transparent)]
    UnknownColumn(#[from] UnknownColumn),
    /// Columns were asked for, and the format has none to choose.
    #[error("the format '{0}' has no columns to choose")]
    NoColumns(&'static str),
    /// Columns were asked for in events, where csv alone has them.
    #[error("events have columns to choose in csv alone, not in '{0}'")]
    NoEventColumns(&'static str),
    /// A format of lists alone.
    #[error("events have no format '{0}': take json, conntrack or csv")]
    NotForEvents(&'static str),
}

/// Writes flows in one of the formats: call [`Writer::begin`] once, then
/// [`Writer::flow`] for each flow, then [`Writer::end`].
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum Writer {
    /// `-o table`.
    Table(TableWriter),
    /// `-o conntrack`.
    Conntrack(TextWriter),
    /// `-o json`.
    Json(JsonWriter),
    /// `-o json` with columns.
    JsonColumns(JsonColumnsWriter),
    /// `-o csv`.
    Csv(CsvWriter),
    /// `-o xml`.
    Xml(XmlWriter),
}

impl Writer {
    /// A writer of `format`.
    ///
    /// # Errors
    /// A column that does not exist, or columns for a format without them.
    pub fn new(format: Format, options: WriterOptions) -> Result<Self, WriterError> {
        let columns = options.columns.as_deref().map(Columns::resolve).transpose()?;
        Ok(match (format, columns) {
            (Format::Table, Some(columns)) => Writer::Table(TableWriter::new(&columns)),
            (Format::Table, None) => Writer::Table(TableWriter::with_default_columns()?),
            (Format::Csv, Some(columns)) => Writer::Csv(CsvWriter::new(columns)),
            (Format::Csv, None) => Writer::Csv(CsvWriter::new(Columns::resolve(CSV_COLUMNS)?)),
            (Format::Json, Some(columns)) => Writer::JsonColumns(JsonColumnsWriter::new(columns)),
            (Format::Json, None) => Writer::Json(JsonWriter::new(options.text.labels)),
            (Format::Conntrack, None) => Writer::Conntrack(TextWriter::new(options.text)),
            (Format::Xml, None) => Writer::Xml(XmlWriter::new(options.text)),
            (Format::Conntrack | Format::Xml, Some(_)) => return Err(WriterError::NoColumns(format.name())),
        })
    }

    /// Appends what comes before the first flow.
    pub fn begin(&mut self, out: &mut Vec<u8>) {
        match self {
            Writer::Csv(writer) => writer.begin(out),
            Writer::Xml(writer) => writer.begin(out),
            // The header of a table waits for the widths of its columns.
            Writer::Table(_) | Writer::Conntrack(_) | Writer::Json(_) | Writer::JsonColumns(_) => {}
        }
    }

    /// Appends one flow.
    #[inline]
    pub fn flow(&mut self, out: &mut Vec<u8>, subject: &Subject<'_>) {
        match self {
            Writer::Conntrack(writer) => writer.flow(out, subject),
            Writer::Json(writer) => writer.flow(out, subject),
            Writer::Table(writer) => writer.flow(out, subject),
            Writer::JsonColumns(writer) => writer.flow(out, subject),
            Writer::Csv(writer) => writer.flow(out, subject),
            Writer::Xml(writer) => writer.flow(out, subject),
        }
    }

    /// Appends what comes after the last flow.
    pub fn end(&mut self, out: &mut Vec<u8>) {
        match self {
            Writer::Table(writer) => writer.end(out),
            Writer::Xml(writer) => writer.end(out),
            Writer::Conntrack(_) | Writer::Json(_) | Writer::JsonColumns(_) | Writer::Csv(_) => {}
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn every_format_has_a_name_of_its_own_and_a_doc() {
        for (i, row) in FORMATS.iter().enumerate() {
            assert!(!row.doc.is_empty() && !row.name.is_empty());
            assert!(FORMATS.iter().skip(i + 1).all(|other| other.name != row.name && other.format != row.format));
            assert_eq!(Format::from_name(row.name), Some(row.format));
            assert_eq!(row.format.name(), row.name);
        }
    }

    #[test]
    fn columns_are_accepted_where_the_registry_says_so() {
        for row in FORMATS {
            let options = WriterOptions { columns: Some(vec!["src".into()]), ..WriterOptions::default() };
            assert_eq!(Writer::new(row.format, options).is_ok(), row.has_columns, "{}", row.name);
        }
    }

    #[test]
    fn a_column_that_does_not_exist_is_named() {
        let options = WriterOptions { columns: Some(vec!["sorce".into()]), ..WriterOptions::default() };
        let error = Writer::new(Format::Csv, options).unwrap_err();
        assert_eq!(error, WriterError::UnknownColumn(UnknownColumn("sorce".into())));
    }

    #[test]
    fn every_default_column_is_in_the_registry() {
        Writer::new(Format::Table, WriterOptions::default()).unwrap();
        Writer::new(Format::Csv, WriterOptions::default()).unwrap();
    }
}
