//! The trait of formats that write entries.

use std::fmt::Debug;

use crate::field::Subject;

/// Writes entries in one format.
pub(super) trait WriteEntries: Debug + Send + CloneEntries {
    /// Appends the header.
    fn begin(&self, _out: &mut Vec<u8>) {}
    /// Appends one entry.
    fn entry(&mut self, out: &mut Vec<u8>, subject: &Subject<'_>);
    /// Appends the end of the document, and rows that are still buffered.
    fn end(&mut self, _out: &mut Vec<u8>) {}
}

/// Clones a writer behind a pointer.
pub(super) trait CloneEntries {
    fn cloned(&self) -> Box<dyn WriteEntries>;
}

impl<T: WriteEntries + Clone + 'static> CloneEntries for T {
    fn cloned(&self) -> Box<dyn WriteEntries> {
        Box::new(self.clone())
    }
}
