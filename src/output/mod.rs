//! Output formats of entries and event records: one file per format.
//!
//! A [`Writer`] appends entries to a `Vec<u8>`, an [`EventWriter`] appends the [`Record`]s of an event
//! stream; neither does I/O. A [`ChunkWriter`] writes the bytes on a second thread while the dump
//! continues. A new format is one file and one row in [`FORMATS`].
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
#[allow(clippy::unwrap_used, clippy::panic)]
mod names;
#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod recorded;
#[cfg(test)]
mod sample;
mod save;
#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)]
mod schema;
mod table;
mod text;
mod write;
mod writer;
mod xml;

pub use chunks::{CHUNK, ChunkWriter};
pub use columns::UnknownColumn;
pub use event::{
    BeginRecord, ClockSource, CloseRecord, EndRecord, EventTime, ExpectationRecord, FlowRecord, GapCause, GapRecord,
    HeartbeatRecord, LastPacket, LineContext, OpenRecord, Record, Requester, ResyncRecord, SinkState, StartTime,
    SyntheticCause, SysctlGroup, WaitingLine, expectation_json, expectation_line,
};
pub use format::{CONNTRACK, CSV, EventFormat, FORMATS, Format, FormatOption, JSON, SAVE, TABLE, XML, XML_EVENTS};
pub use text::TextOptions;
pub use writer::{EventWriter, Writer, WriterError, WriterOptions};
