//! Create the entries of a save file: a first pass checks the whole file, a second one creates.
//!
//! `source` is the file, or a copy of what a pipe delivers; `zone_map` and `prepare` change what a saved entry is
//! created as, `job` has the two passes, `summary` counts the results and prints them.

mod job;
mod prepare;
mod source;
mod summary;
mod zone_map;

pub use job::{Options, Restore};
pub use source::{Source, unnamed};
pub use summary::report;
pub use zone_map::ZoneMapping;
