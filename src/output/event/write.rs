//! The trait of formats that write the records of an event stream.

use std::fmt::Debug;

use super::record::Record;

/// Writes the records of an event stream in one format.
pub(in crate::output) trait WriteRecords: Debug + Send + CloneRecords {
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
