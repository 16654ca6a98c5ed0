//! Whole lines on their way from who makes them to where they go.

use std::sync::Arc;

/// Whole lines of an event stream, each with a number.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Chunk {
    /// The name of the stream, another one at each start of the program. Together with a
    /// line's number it names the line: what a spool kept of an earlier run has the name
    /// of that run.
    pub stream: Arc<str>,
    /// The number of the first line. The lines are numbered without a hole, within
    /// a chunk and from chunk to chunk.
    pub first: u64,
    /// How many lines.
    pub lines: u32,
    /// The lines, each with its newline.
    pub bytes: Vec<u8>,
}

/// Takes chunks and never blocks.
pub trait Outlet {
    /// Whether [`Outlet::put`] can be called. Where it cannot, the caller stops reading:
    /// the kernel counts what is lost then, exactly.
    fn has_room(&self) -> bool;

    /// Takes a chunk. What cannot be brought to its place is counted, and becomes a
    /// record in the stream of that place.
    fn put(&mut self, chunk: Arc<Chunk>);
}
