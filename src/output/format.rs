//! The registry of formats, with what each one writes and its options.

use super::columns::{Columns, JsonColumnsWriter};
use super::csv::{CSV_COLUMNS, CsvWriter};
use super::event::{EventCsv, EventJson, EventText, WriteRecords};
use super::json::JsonWriter;
use super::save::SaveWriter;
use super::table::TableWriter;
use super::text::TextWriter;
use super::write::WriteEntries;
use super::writer::{EventWriter, Writer, WriterError, WriterOptions};
use super::xml::{XmlEvents, XmlWriter};

/// A format: one row of the registry.
#[derive(Debug)]
pub struct Format {
    /// The name after `-o`.
    pub name: &'static str,
    /// One line of help.
    pub doc: &'static str,
    /// The options after the name for entries, as in `-o conntrack,id`. Each changes what is written.
    pub options: &'static [FormatOption],
    /// What it writes without an option, where other formats have one for it.
    pub always: &'static [FormatOption],
    /// Whether it supports `--columns`.
    pub has_columns: bool,
    /// Whether each line is an entry on its own, so that the lines of two writers can be interleaved.
    pub has_independent_lines: bool,
    /// Whether it writes the idle time and the age of an entry.
    pub shows_ages: bool,
    /// What it writes of an event stream; None if it does not support event streams.
    pub events: Option<EventFormat>,
    create: fn(WriterOptions) -> Result<Box<dyn WriteEntries>, WriterError>,
}

/// What a format writes of an event stream.
#[derive(Debug)]
pub struct EventFormat {
    /// The options after the name for events.
    pub options: &'static [FormatOption],
    /// Whether it supports `--columns`.
    pub has_columns: bool,
    /// Whether it writes the records of expectations.
    pub has_expectations: bool,
    /// Whether each line has what [`EventWriter::set_context`] sets.
    pub has_context: bool,
    create: fn(WriterOptions) -> Result<Box<dyn WriteRecords>, WriterError>,
}

/// An option after the name of a format.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum FormatOption {
    /// The layer 3 protocol.
    Extended,
    /// The id of the entry.
    Id,
    /// The time of an event; entries of a list have none.
    Timestamp,
    /// The start and stop time of the entry, read from the kernel.
    Ktimestamp,
    /// The names of labels.
    Labels,
}

impl FormatOption {
    /// The name, as in `-o conntrack,id`.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            FormatOption::Extended => "extended",
            FormatOption::Id => "id",
            FormatOption::Timestamp => "timestamp",
            FormatOption::Ktimestamp => "ktimestamp",
            FormatOption::Labels => "labels",
        }
    }
}

/// `-o table`: the default on a terminal.
pub static TABLE: Format = Format {
    name: "table",
    doc: "aligned columns with a header, for a terminal",
    options: &[],
    always: &[],
    has_columns: true,
    has_independent_lines: false,
    shows_ages: true,
    events: None,
    create: |options| match columns(&options)? {
        Some(columns) => Ok(Box::new(TableWriter::new(&columns))),
        None => Ok(Box::new(TableWriter::with_default_columns()?)),
    },
};

/// `-o conntrack`: the default in a pipe.
pub static CONNTRACK: Format = Format {
    name: "conntrack",
    doc: "the line of conntrack(8), byte for byte",
    options: &[FormatOption::Extended, FormatOption::Id, FormatOption::Ktimestamp, FormatOption::Labels],
    always: &[],
    has_columns: false,
    has_independent_lines: true,
    shows_ages: false,
    events: Some(EventFormat {
        options: &[
            FormatOption::Extended,
            FormatOption::Id,
            FormatOption::Timestamp,
            FormatOption::Ktimestamp,
            FormatOption::Labels,
        ],
        has_columns: false,
        has_expectations: true,
        has_context: false,
        create: |options| Ok(Box::new(EventText::new(options.text))),
    }),
    create: |options| Ok(Box::new(TextWriter::new(options.text))),
};

/// `-o json`: the default of an event stream.
pub static JSON: Format = Format {
    name: "json",
    doc: "one JSON object per line (docs/json.md, docs/events.md); with columns, a flat object of these",
    options: &[],
    always: &[
        FormatOption::Extended,
        FormatOption::Id,
        FormatOption::Timestamp,
        FormatOption::Ktimestamp,
        FormatOption::Labels,
    ],
    has_columns: true,
    has_independent_lines: true,
    shows_ages: true,
    events: Some(EventFormat {
        options: &[],
        has_columns: false,
        has_expectations: true,
        has_context: true,
        create: |options| Ok(Box::new(EventJson::new(options.text.labels))),
    }),
    create: |options| match columns(&options)? {
        Some(columns) => Ok(Box::new(JsonColumnsWriter::new(columns))),
        None => Ok(Box::new(JsonWriter::new(options.text.labels))),
    },
};

/// `-o csv`.
pub static CSV: Format = Format {
    name: "csv",
    doc: "comma-separated values with a header (RFC 4180)",
    options: &[],
    always: &[],
    has_columns: true,
    has_independent_lines: true,
    shows_ages: true,
    events: Some(EventFormat {
        options: &[],
        has_columns: true,
        has_expectations: false,
        has_context: true,
        create: |options| match columns(&options)? {
            Some(columns) => Ok(Box::new(EventCsv::new(columns))),
            None => Ok(Box::new(EventCsv::with_default_columns()?)),
        },
    }),
    create: |options| match columns(&options)? {
        Some(columns) => Ok(Box::new(CsvWriter::new(columns))),
        None => Ok(Box::new(CsvWriter::new(Columns::resolve(CSV_COLUMNS)?))),
    },
};

/// `-o xml`.
pub static XML: Format = Format {
    name: "xml",
    doc: "the document of conntrack(8) with -o xml",
    options: &[FormatOption::Ktimestamp, FormatOption::Labels],
    always: &[FormatOption::Extended, FormatOption::Id],
    has_columns: false,
    has_independent_lines: false,
    shows_ages: false,
    events: None,
    create: |options| Ok(Box::new(XmlWriter::new(options.text))),
};

/// `-o save`.
pub static SAVE: Format = Format {
    name: "save",
    doc: "the line of conntrack(8) with -o save, for conntrack -R and ctnl restore (without mark, labels, helper)",
    options: &[],
    always: &[],
    has_columns: false,
    has_independent_lines: true,
    shows_ages: false,
    events: None,
    create: |_| Ok(Box::new(SaveWriter::new())),
};

/// The events of `conntrack -E -o xml`: no format of ctnl, whose streams have more records than it can write.
pub static XML_EVENTS: Format = Format {
    name: "xml-events",
    doc: "the document of conntrack(8) -E with -o xml",
    options: &[],
    always: &[],
    has_columns: false,
    has_independent_lines: false,
    shows_ages: false,
    events: Some(EventFormat {
        options: &[FormatOption::Timestamp, FormatOption::Ktimestamp, FormatOption::Labels],
        has_columns: false,
        has_expectations: false,
        has_context: false,
        create: |options| Ok(Box::new(XmlEvents::new(options.text))),
    }),
    create: |options| Ok(Box::new(XmlWriter::new(options.text))),
};

/// The registry.
pub static FORMATS: &[&Format] = &[&TABLE, &CONNTRACK, &JSON, &CSV, &XML, &SAVE];

impl PartialEq for Format {
    fn eq(&self, other: &Self) -> bool {
        self.name == other.name
    }
}

impl Eq for Format {}

impl Format {
    /// The format of this name.
    #[must_use]
    pub fn from_name(name: &str) -> Option<&'static Format> {
        FORMATS.iter().copied().find(|format| format.name == name)
    }

    /// The options for entries or for events.
    #[must_use]
    pub fn options_for(&self, events: bool) -> &'static [FormatOption] {
        match &self.events {
            Some(format) if events => format.options,
            _ => self.options,
        }
    }

    /// A writer of entries.
    ///
    /// # Errors
    /// An unknown column, or columns for a format without them.
    pub fn writer(&self, options: WriterOptions) -> Result<Writer, WriterError> {
        if options.columns.is_some() && !self.has_columns {
            return Err(WriterError::NoColumns(self.name));
        }
        (self.create)(options).map(Writer)
    }

    /// A writer of the records of an event stream.
    ///
    /// # Errors
    /// A format that does not support events, an unknown column, or columns for a format without them.
    pub fn event_writer(&self, options: WriterOptions) -> Result<EventWriter, WriterError> {
        let Some(events) = &self.events else {
            let names: Vec<&str> = FORMATS.iter().filter(|row| row.events.is_some()).map(|row| row.name).collect();
            return Err(WriterError::NotForEvents { name: self.name, expected: names.join(", ") });
        };
        if options.columns.is_some() && !events.has_columns {
            return Err(WriterError::NoEventColumns(self.name));
        }
        (events.create)(options).map(EventWriter)
    }
}

fn columns(options: &WriterOptions) -> Result<Option<Columns>, WriterError> {
    Ok(options.columns.as_deref().map(Columns::resolve).transpose()?)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::field::Subject;
    use crate::model::{EventKind, L4, LabelNames};
    use crate::output::TextOptions;
    use crate::output::columns::UnknownColumn;
    use crate::output::{ClockSource, EventTime, FlowRecord, Record, sample};

    fn src() -> WriterOptions {
        WriterOptions { columns: Some(vec!["src".into()]), ..WriterOptions::default() }
    }

    #[test]
    fn every_format_has_a_unique_name_and_a_doc() {
        for (i, row) in FORMATS.iter().enumerate() {
            assert!(!row.doc.is_empty() && !row.name.is_empty());
            assert!(FORMATS.iter().skip(i + 1).all(|other| other.name != row.name));
            assert_eq!(Format::from_name(row.name), Some(*row));
            for options in [row.options_for(false), row.options_for(true)] {
                for (i, option) in options.iter().enumerate() {
                    assert!(Format::from_name(option.name()).is_none(), "{} is also a format", option.name());
                    assert!(!options.iter().skip(i + 1).any(|other| other == option), "{}", option.name());
                    assert!(!row.always.contains(option), "{} of {}", option.name(), row.name);
                }
            }
        }
    }

    #[test]
    fn columns_are_accepted_where_the_registry_says_so() {
        for row in FORMATS {
            assert_eq!(row.writer(src()).is_ok(), row.has_columns, "{}", row.name);
            let has_event_columns = row.events.as_ref().is_some_and(|events| events.has_columns);
            assert_eq!(row.event_writer(src()).is_ok(), has_event_columns, "{}", row.name);
        }
    }

    #[test]
    fn every_format_writes_entries_and_the_records_it_declares() {
        for row in FORMATS {
            let (mut out, mut writer) = (Vec::new(), row.writer(WriterOptions::default()).unwrap());
            sample::each(|subject| writer.flow(&mut out, subject));
            writer.end(&mut out);
            assert!(!out.is_empty(), "{}", row.name);
            let events = row.event_writer(WriterOptions::default());
            assert_eq!(events.is_ok(), row.events.is_some(), "{}", row.name);
            let Ok(mut events) = events else { continue };
            sample::each(|subject| {
                let mut out = Vec::new();
                assert!(events.record(&mut out, 1, &record(subject)) && !out.is_empty(), "{}", row.name);
            });
        }
    }

    /// The options of a writer with one option after the name of the format.
    fn with(option: Option<FormatOption>) -> WriterOptions {
        let mut text = TextOptions::default();
        match option {
            None => {}
            Some(FormatOption::Extended) => text.extended = true,
            Some(FormatOption::Id) => text.id = true,
            Some(FormatOption::Timestamp) => text.timestamp = true,
            Some(FormatOption::Ktimestamp) => text.ktimestamp = true,
            Some(FormatOption::Labels) => text.labels = Some(Arc::new(LabelNames::parse("0 zero"))),
        }
        WriterOptions { columns: None, text }
    }

    #[test]
    fn every_option_of_the_registry_changes_what_is_written() {
        let mut flow = sample::flow("10.0.0.1", "10.0.0.2", 6, L4::Ports { src: 1, dst: 2 });
        sample::fill(&mut flow);
        let ages = sample::ages(0);
        let subject = Subject::new(&flow, &ages);
        for row in FORMATS {
            let entry = |option| {
                let mut out = Vec::new();
                row.writer(with(option)).unwrap().flow(&mut out, &subject);
                out
            };
            let event = |option| {
                let mut out = Vec::new();
                row.event_writer(with(option)).unwrap().record(&mut out, 1, &record(&subject));
                out
            };
            for option in row.options {
                assert_ne!(entry(Some(*option)), entry(None), "{} of {}", option.name(), row.name);
            }
            for option in row.events.iter().flat_map(|events| events.options) {
                assert_ne!(event(Some(*option)), event(None), "{} of events of {}", option.name(), row.name);
            }
        }
    }

    fn record<'a>(subject: &'a Subject<'a>) -> Record<'a> {
        let time = EventTime { ns: 1, clock: ClockSource::Received };
        Record::Flow(FlowRecord {
            kind: EventKind::New,
            synthetic: None,
            time,
            subject,
            start: None,
            killed: None,
            requester: None,
            netns: None,
            is_mark_implied: false,
        })
    }

    #[test]
    fn an_unknown_column_is_named() {
        let options = WriterOptions { columns: Some(vec!["sorce".into()]), ..WriterOptions::default() };
        assert_eq!(CSV.writer(options).unwrap_err(), WriterError::UnknownColumn(UnknownColumn("sorce".into())));
    }
}
