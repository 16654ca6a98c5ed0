//! Floor 3, one kernel verb per file, streaming.
//!
//! `dump` walks the table, `get` asks for one entry, `count` for the number of
//! all; `create`, `delete` and `update` change entries in batches; `flush` is a
//! dump whose matches a second thread deletes. `timeouts` and `policies` read how
//! long the tracker waits. `events` subscribes to changes.
//!
//! A delete without a tuple is a flush of everything to the kernel. It cannot be
//! expressed here: what is deleted is a [`Target`], and a target is only made of
//! a whole dumped entry.

mod batch;
mod count;
mod create;
mod dedup_set;
mod delete;
mod dump;
mod events;
mod flush;
mod get;
mod halves;
mod kernel_filter;
mod losses;
mod policies;
mod recent_entries;
mod target;
mod timeouts;
mod update;

pub use crate::model::Family;
pub use batch::{BATCH, Outcome};
pub use count::{Occupancy, count};
pub use create::create;
pub use delete::delete;
pub use dump::{Dump, DumpRequest, DumpTotals, dump};
pub use events::{Buffer, Events, Queue, Step, Subscription};
pub use flush::{Action, Choose, Flush, Progress};
pub use get::get;
pub use halves::SharedDedup;
pub use kernel_filter::{KernelFilter, Masked, OrigFilter};
pub use policies::policies;
pub use target::{NotDeletable, Target};
pub use timeouts::timeouts;
pub use update::lower_timeout;
