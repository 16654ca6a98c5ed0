//! Records of an event stream as lines: `-o json`, `-o conntrack`, `-o csv`.
//!
//! `docs/events.md` is for who reads them.

mod csv;
mod duration;
mod expectation;
mod json;
#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod lines;
mod record;
#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod recorded;
#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)]
mod schema;
mod text;

pub use record::{
    Clock, Closing, Ended, ExpectationRecord, FlowRecord, Gap, GapCause, Opening, Record, Requester, Resynced, Since,
    Stamp, Synthetic,
};

use super::columns::Columns;
use super::format::{Format, WriterError};
use super::text::TextOptions;
use csv::EventCsv;
use json::EventJson;
use text::EventText;

/// What an [`EventWriter`] is made with.
#[derive(Debug, Clone, Default)]
pub struct EventOptions {
    /// The columns of an entry in csv; the format's own where not given.
    pub columns: Option<Vec<String>>,
    /// For conntrack. `labels` also holds for json.
    pub text: TextOptions,
}

/// Writes records in one of the formats: call [`EventWriter::begin`] once, then
/// [`EventWriter::record`] for each record.
#[derive(Debug, Clone)]
pub struct EventWriter {
    lines: Lines,
}

#[derive(Debug, Clone)]
enum Lines {
    Json(EventJson),
    Text(EventText),
    Csv(Box<EventCsv>),
}

impl EventWriter {
    /// A writer of `format`.
    ///
    /// # Errors
    /// A format that event streams do not have, a column that does not exist, or
    /// columns for a format without them.
    pub fn new(format: Format, options: EventOptions) -> Result<Self, WriterError> {
        let lines = match (format, options.columns) {
            (Format::Json | Format::Conntrack, Some(_)) => return Err(WriterError::NoEventColumns(format.name())),
            (Format::Json, None) => Lines::Json(EventJson::new(options.text.labels)),
            (Format::Conntrack, None) => Lines::Text(EventText::new(options.text)),
            (Format::Csv, Some(columns)) => Lines::Csv(EventCsv::new(Columns::resolve(&columns)?).into()),
            (Format::Csv, None) => Lines::Csv(EventCsv::new(Columns::resolve(&csv::default_columns())?).into()),
            (Format::Table | Format::Xml, _) => return Err(WriterError::NotForEvents(format.name())),
        };
        Ok(EventWriter { lines })
    }

    /// Whether the format has a line for expectations.
    #[must_use]
    pub fn shows_expectations(&self) -> bool {
        !matches!(self.lines, Lines::Csv(_))
    }

    /// Appends what comes before the first record: the header of csv. It has no number.
    pub fn begin(&self, out: &mut Vec<u8>) {
        match &self.lines {
            Lines::Csv(writer) => writer.begin(out),
            Lines::Json(_) | Lines::Text(_) => {}
        }
    }

    /// Appends the line of a record, with this number. False where the format has no
    /// line for it: nothing is appended then, and the number is not used up.
    #[inline]
    pub fn record(&mut self, out: &mut Vec<u8>, seq: u64, record: &Record<'_>) -> bool {
        match &mut self.lines {
            Lines::Json(writer) => {
                writer.record(out, seq, record);
                true
            }
            Lines::Text(writer) => writer.record(out, record),
            Lines::Csv(writer) => writer.record(out, seq, record),
        }
    }
}
