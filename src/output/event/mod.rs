//! Records of an event stream, and the formats that write them: `-o json`, `-o conntrack`, `-o csv`.
//!
//! `docs/events.md` describes the lines for their readers.

mod context;
mod csv;
mod duration;
mod expectation;
mod flat;
#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod flat_lines;
mod heartbeat;
mod json;
#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod lines;
mod members;
mod record;
#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod recorded;
#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)]
mod schema;
mod text;
mod time_text;
mod write;

pub use context::LineContext;
pub use heartbeat::{HeartbeatRecord, SinkState, SysctlGroup, WaitingLine};
pub use record::{
    BeginRecord, ClockSource, CloseRecord, EndRecord, EventTime, ExpectationRecord, FlowRecord, GapCause, GapRecord,
    LastPacket, OpenRecord, Record, Requester, ResyncRecord, StartTime, SyntheticCause,
};

pub(super) use csv::EventCsv;
pub use expectation::expectation_json;
pub(super) use json::EventJson;
pub(super) use text::EventText;
pub use text::expectation_line;
pub(super) use write::WriteRecords;
