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
mod write;

pub use record::{
    Clock, Closing, Ended, ExpectationRecord, FlowRecord, Gap, GapCause, Opening, Record, Requester, Resynced, Since,
    Stamp, Synthetic,
};

pub(super) use csv::EventCsv;
pub(super) use json::EventJson;
pub(super) use text::EventText;
pub(super) use write::WriteRecords;
