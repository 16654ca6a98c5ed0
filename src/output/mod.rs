//! Floor 7, flows and events as bytes: one file for each format.
//!
//! A [`Writer`] appends to a `Vec<u8>` and does no input or output; a
//! [`ChunkWriter`] brings the bytes to where they go while the dump continues.
//! Adding a format is one file and one row in [`FORMATS`]. An [`EventWriter`] does the
//! same for the [`Record`]s of an event stream.

mod address;
mod chunks;
mod columns;
mod csv;
mod cursor;
mod escape;
mod event;
mod format;
mod json;
#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)]
mod json_schema;
mod local_time;
#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod recorded;
#[cfg(test)]
mod sample;
mod table;
mod text;
mod xml;

pub use address::append_address;
pub use chunks::{CHUNK, ChunkWriter};
pub use columns::{Columns, JsonColumnsWriter, UnknownColumn};
pub use csv::{CSV_COLUMNS, CsvWriter};
pub use event::{
    Clock, Closing, Ended, EventOptions, EventWriter, ExpectationRecord, FlowRecord, Gap, GapCause, Opening, Record,
    Requester, Resynced, Since, Stamp, Synthetic,
};
pub use format::{FORMATS, Format, FormatRow, Writer, WriterError, WriterOptions};
pub use json::{JSON_VERSION, JsonWriter};
pub use table::{TABLE_COLUMNS, TableWriter};
pub use text::{TextOptions, TextWriter};
pub use xml::XmlWriter;
