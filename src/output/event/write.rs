//! The trait of formats that write the records of an event stream.

use std::fmt::Debug;

use super::context::LineContext;
use super::record::Record;

/// Writes the records of an event stream in one format.
pub(in crate::output) trait WriteRecords: Debug + Send + CloneRecords {
    /// Sets what stands on every line. A format that has no place for it ignores it.
    fn set_context(&mut self, _context: &LineContext) {}
    /// Whether `line`, without its newline, is one of this format, as far as its beginning shows.
    fn is_line(&self, line: &[u8]) -> bool;
    /// Appends the header.
    fn begin(&self, _out: &mut Vec<u8>) {}
    /// Appends the line of a record; returns false and appends nothing if the format has none for it.
    fn record(&mut self, out: &mut Vec<u8>, seq: u64, record: &Record<'_>) -> bool;
}

/// Clones a writer behind a pointer.
pub(in crate::output) trait CloneRecords {
    fn cloned(&self) -> Box<dyn WriteRecords>;
}

impl<T: WriteRecords + Clone + 'static> CloneRecords for T {
    fn cloned(&self) -> Box<dyn WriteRecords> {
        Box::new(self.clone())
    }
}
