//! Delete or change the entries that a selection matches: which of them may be, the job and its summary,
//! for every command that deletes or changes by a filter.
//!
//! `options` is what a command asks for, `task` what is done, `chooser` decides entry by entry, `rechecker` once more for
//! entries that were judged too long ago, `job` walks the table and
//! deletes, `undo_file` has a copy of each entry before its delete is sent, `summary` counts the results,
//! `report` prints them.

mod chooser;
mod job;
mod options;
mod rechecker;
mod report;
mod skip_reason;
mod summary;
mod task;
mod undo_file;

pub use job::{Purge, Purged};
pub use options::Options;
pub use report::report;
pub use summary::Summary;
pub use task::Task;
pub use undo_file::UndoFile;
