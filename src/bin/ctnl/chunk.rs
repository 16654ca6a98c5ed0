//! Chunks of whole lines, from the event loop to the sinks.

use std::sync::Arc;

/// Whole lines of an event stream, numbered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Chunk {
    /// The name of the stream, another one at each start of the program. With its number it
    /// identifies a line: lines that a spool kept of an earlier run have the name of that run.
    pub stream: Arc<str>,
    /// The number of the first line. Numbers are consecutive, within a chunk and from chunk to
    /// chunk.
    pub first: u64,
    /// The number of lines.
    pub lines: u32,
    /// The lines, each with its newline.
    pub bytes: Vec<u8>,
}

impl Chunk {
    /// Bytes of memory that it occupies.
    pub fn memory(&self) -> usize {
        size_of::<Self>() + self.bytes.capacity()
    }
}

/// Accepts chunks without blocking.
pub trait Outlet {
    /// Whether [`Outlet::put`] may be called. If not, the caller stops reading, and the kernel
    /// counts the events that it loses.
    fn has_capacity(&self) -> bool;

    /// Accepts a chunk. Lines that a sink cannot deliver are counted, and become a gap record in
    /// the stream of that sink.
    fn put(&mut self, chunk: Arc<Chunk>);
}
