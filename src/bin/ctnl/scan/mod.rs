//! Floor 9, a filter walked over the table: the same for every command that
//! reads or deletes many entries.
//!
//! `selection` says which entries are meant and counts the doubtful ones, `walk`
//! goes through the table (and `buckets` says whether it was resized meanwhile), `halves` does so on two processors, `sorted` keeps
//! entries in order.

mod halves;
mod selection;
mod sorted;
mod walk;

pub use halves::{HalfWork, halves, may_split, walk_halves};
pub use selection::{Selection, Tally};
pub use sorted::{Order, Sorted};
pub use walk::{Walked, Watch, look_and_wait, walk};
