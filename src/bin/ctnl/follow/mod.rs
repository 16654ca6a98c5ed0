//! The event loop: from the kernel's queues to chunks of lines, on one thread.
//!
//! ```text
//! Source ─► Emitter: filter, live set, record ─► Lines ─► Outlet
//!    ▲         ▲
//!    │         └ pass: a dump, compared with the live set
//!    └ engine: order of the namespaces, sleep or wait, timers, the end
//! ```
//!
//! `engine` is the loop, `turn` one round of reading, `streams` which queues have something to read, `namespace` the stream of one
//! network namespace, `emitter` reads a queue, `events` applies an event to the live set, `records` writes records, `pass` is
//! seed, resync and reconciliation, `reconcile` when the latter is due, `polls` what is read every two
//! seconds, `lines` the chunk that is being filled, `stats` the
//! snapshots, `heartbeat` their record. Clock, signals, namespaces and messages come from the [`Environment`].

mod emitter;
mod engine;
mod environment;
mod event_sysctl;
mod events;
mod expectations;
mod heartbeat;
mod last_packet;
mod lines;
mod namespace;
mod options;
mod pass;
mod polls;
mod reconcile;
mod records;
mod sample;
mod source;
mod stats;
mod streams;
#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic)]
mod tests;
mod totals;
mod turn;

pub use engine::{DELETED, StreamEnd, follow};
pub use environment::{Environment, NamespaceChange, Notification};
pub use event_sysctl::ReportedSysctls;
pub use lines::Lines;
pub use namespace::NamespaceStream;
pub use options::{FollowOptions, OnGap, Reconcile, RecordKinds};
#[cfg(test)]
pub use totals::Totals;
