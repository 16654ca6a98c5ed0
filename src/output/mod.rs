//! Entries and event records as bytes: one file per format.
//!
//! A [`Writer`] appends entries to a `Vec<u8>`, an [`EventWriter`] the [`Record`]s of an event stream;
//! neither does input or output. A [`ChunkWriter`] writes the bytes while the dump continues. A new
//! format is one file and one row in [`FORMATS`].
//!
//! ```
//! use ctnl::age::IdleEstimator;
//! use ctnl::field::Subject;
//! use ctnl::model::Flow;
//! use ctnl::output::{JSON, WriterError, WriterOptions};
//!
//! fn print(flows: &[Flow], ages: &IdleEstimator) -> Result<Vec<u8>, WriterError> {
//!     let mut out = Vec::new();
//!     let mut writer = JSON.writer(WriterOptions::default())?;
//!     writer.begin(&mut out);
//!     for flow in flows {
//!         writer.flow(&mut out, &Subject::new(flow, ages));
//!     }
//!     writer.end(&mut out);
//!     Ok(out)
//! }
//! assert!(print(&[], &IdleEstimator::without_timeouts(0)).is_ok_and(|out| out.is_empty()));
//! ```

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
mod write;
mod writer;
mod xml;

pub use address::append_address;
pub use chunks::{CHUNK, ChunkWriter};
pub use columns::{Columns, JsonColumnsWriter, UnknownColumn};
pub use csv::{CSV_COLUMNS, CsvWriter};
pub use event::{
    Clock, Closing, Ended, ExpectationRecord, FlowRecord, Gap, GapCause, Opening, Record, Requester, Resynced, Since,
    Stamp, Synthetic,
};
pub use format::{CONNTRACK, CSV, EventFormat, FORMATS, Format, FormatOption, JSON, TABLE, XML};
pub use json::{JSON_VERSION, JsonWriter};
pub use table::{TABLE_COLUMNS, TableWriter};
pub use text::{TextOptions, TextWriter};
pub use writer::{EventWriter, Writer, WriterError, WriterOptions};
pub use xml::XmlWriter;
