//! Dump the table over two sockets, on two processors: `--jobs 2`.
//!
//! Two dumps with kernel filters that exclude each other (ASSURED, and not) take 0.52 to 0.65 of one
//! dump, and `list --jobs 2` 0.58 to 0.62 (ARCHITECTURE.md): that justifies this folder.

mod halves;
mod printer;

pub use halves::{halves, may_split, walk_halves};
pub use printer::{Part, SharedPrinter};
