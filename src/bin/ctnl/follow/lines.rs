//! The chunk of lines that is being filled.

use std::sync::Arc;
use std::time::Duration;

use ctnl::output::{EventWriter, Record};

use crate::chunk::{Chunk, Outlet};

/// Bytes of a chunk. With 64 KiB the hand-over was seen in measurements, with this not.
const CHUNK: usize = 256 * 1024;
/// Room for the record that makes a chunk full.
const LAST_RECORD: usize = 4 * 1024;
/// Under load, a chunk that is not full goes out after this time.
const OLDEST: Duration = Duration::from_millis(10);

/// Numbers records, writes them as lines, and hands full chunks on.
pub struct Lines<'o> {
    stream: Arc<str>,
    writer: EventWriter,
    outlet: &'o mut dyn Outlet,
    bytes: Vec<u8>,
    lines: u32,
    /// The number of the next line.
    next: u64,
    /// When the chunk got its first line.
    begun: Option<Duration>,
}

impl<'o> Lines<'o> {
    /// Lines of the stream of this name as `writer` writes them, numbered from 1, to `outlet`.
    /// The header of csv is no line of the stream: each place begins with it.
    pub fn new(stream: Arc<str>, writer: EventWriter, outlet: &'o mut dyn Outlet) -> Self {
        let bytes = Vec::with_capacity(CHUNK + LAST_RECORD);
        Lines { stream, writer, outlet, bytes, lines: 0, next: 1, begun: None }
    }

    /// Appends the line of a record.
    #[inline]
    pub fn record(&mut self, record: &Record<'_>) {
        if self.writer.record(&mut self.bytes, self.next, record) {
            self.next += 1;
            self.lines += 1;
        }
    }

    /// Lines so far.
    pub fn count(&self) -> u64 {
        self.next - 1
    }

    /// Whether the chunk should go.
    #[inline]
    pub fn is_full(&self) -> bool {
        self.bytes.len() >= CHUNK
    }

    /// Hands the chunk on if there is room for it; false if there is not.
    pub fn flush(&mut self) -> bool {
        self.lines == 0 || self.outlet.has_room() && self.put()
    }

    /// Hands on a chunk that is full or has waited for long; false if there is no room.
    pub fn flush_old(&mut self, now: Duration) -> bool {
        if self.lines == 0 {
            return true;
        }
        let begun = *self.begun.get_or_insert(now);
        if self.is_full() || now.saturating_sub(begun) >= OLDEST { self.flush() } else { true }
    }

    /// Hands the chunk on, room or not: at the end.
    pub fn put(&mut self) -> bool {
        if self.lines > 0 {
            let bytes = std::mem::replace(&mut self.bytes, Vec::with_capacity(CHUNK + LAST_RECORD));
            let lines = std::mem::take(&mut self.lines);
            self.begun = None;
            self.outlet.put(Arc::new(Chunk {
                stream: Arc::clone(&self.stream),
                first: self.next - u64::from(lines),
                lines,
                bytes,
            }));
        }
        true
    }
}
