//! The writers of entries and of event records, whatever the format.
//!
//! A format implements [`WriteEntries`], and [`WriteRecords`] where it can write an event stream. The
//! call per entry is one indirect call, as cheap as the branch of an enum.

use thiserror::Error;

use super::columns::UnknownColumn;
use super::event::{Record, WriteRecords};
use super::text::TextOptions;
use super::write::WriteEntries;
use crate::field::Subject;

/// The options of a writer.
#[derive(Debug, Clone, Default)]
pub struct WriterOptions {
    /// The columns, for formats that have them; the default columns of the format where not given.
    pub columns: Option<Vec<String>>,
    /// The options after the name of the format. `labels` are also written by json.
    pub text: TextOptions,
}

/// Why a writer cannot be made.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum WriterError {
    /// A column that is no field.
    #[error(transparent)]
    UnknownColumn(#[from] UnknownColumn),
    /// Columns for a format without them.
    #[error("format '{0}' has no columns")]
    NoColumns(&'static str),
    /// Columns for a format that has none in an event stream.
    #[error("format '{0}' has no columns for events: expected csv")]
    NoEventColumns(&'static str),
    /// A format that cannot write an event stream.
    #[error("format '{name}' does not support events: expected one of {expected}")]
    NotForEvents {
        /// The name of the format.
        name: &'static str,
        /// The names of the formats that can.
        expected: String,
    },
}

/// Writes entries: call [`Writer::begin`] once, then [`Writer::flow`] for each entry, then
/// [`Writer::end`]. Made by [`super::Format::writer`].
#[derive(Debug)]
pub struct Writer(pub(super) Box<dyn WriteEntries>);

impl Clone for Writer {
    fn clone(&self) -> Self {
        Writer((*self.0).cloned())
    }
}

impl Writer {
    /// Appends what comes before the first entry.
    pub fn begin(&mut self, out: &mut Vec<u8>) {
        self.0.begin(out);
    }

    /// Appends one entry.
    #[inline]
    pub fn flow(&mut self, out: &mut Vec<u8>, subject: &Subject<'_>) {
        self.0.entry(out, subject);
    }

    /// Appends what comes after the last entry.
    pub fn end(&mut self, out: &mut Vec<u8>) {
        self.0.end(out);
    }
}

/// Writes the records of an event stream: call [`EventWriter::begin`] once, then
/// [`EventWriter::record`] for each record. Made by [`super::Format::event_writer`].
#[derive(Debug)]
pub struct EventWriter(pub(super) Box<dyn WriteRecords>);

impl Clone for EventWriter {
    fn clone(&self) -> Self {
        EventWriter((*self.0).cloned())
    }
}

impl EventWriter {
    /// Appends what comes before the first record: the header of csv. It has no number.
    pub fn begin(&self, out: &mut Vec<u8>) {
        self.0.begin(out);
    }

    /// Appends the line of a record, with this number. False where the format has no line for it: nothing
    /// is appended then, and the number remains unused.
    #[inline]
    pub fn record(&mut self, out: &mut Vec<u8>, seq: u64, record: &Record<'_>) -> bool {
        self.0.record(out, seq, record)
    }
}
