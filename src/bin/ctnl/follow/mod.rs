//! Floor 9, the event stream: from the kernel's queues to chunks of lines, on one
//! thread.
//!
//! ```text
//! Source ─► Emitter: filter, live set, record ─► Lines ─► Outlet
//!    ▲         ▲
//!    │         └ pass: a dump, compared with the live set
//!    └ engine: which stream next, nap or wait, timers, the end
//! ```
//!
//! `engine` is the loop, `stream` one namespace, `emitter` what becomes of an event,
//! `pass` the one machine for seed, resync and reconciliation, `lines` the chunk
//! that is being filled, `stats` how it all stands. What it needs of the world comes in through
//! [`Environment`]: clock, signals, names of processes, who is told of what.

mod emitter;
mod engine;
mod lines;
mod options;
mod pass;
mod source;
mod stats;
mod stream;
#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic)]
mod tests;
mod totals;

pub use engine::{End, follow};
pub use lines::Lines;
pub use options::{Change, Environment, Kinds, Notification, OnGap, Options};
pub use stream::Stream;
pub use totals::Snapshot;
