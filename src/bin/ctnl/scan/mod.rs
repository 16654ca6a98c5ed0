//! One filter, walked over the conntrack table.
//!
//! `walk` has the one loop over a dump, which calls a `Visitor`. `selection` judges entries and counts
//! the undecided ones, `settings` are the timeouts and policies by which it does, `matches` walks for commands that read, `samples` takes the first of the two
//! samples of `--confirm-idle`, `watch` shows progress and ends a walk at a signal, `printer` and
//! `sorted` (with the memory of `kept`) write entries, `two_sockets` is `--jobs 2`.

mod kept;
mod matches;
mod printer;
mod samples;
mod selection;
mod settings;
mod sorted;
pub mod two_sockets;
mod walk;
mod watch;

pub use matches::walk_matches;
pub use printer::{Printed, Printer, finish_chunks, stdout_in_chunks};
pub use samples::sample_and_wait;
pub use selection::{Selection, Tally};
pub use settings::Settings;
pub use sorted::{Order, Unsorted};
pub use walk::{End, Visitor, walk};
pub use watch::Watch;
