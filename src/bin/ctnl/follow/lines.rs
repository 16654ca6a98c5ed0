//! The chunk of lines that is being filled.

use std::sync::Arc;
use std::time::Duration;

use ctnl::output::{EventWriter, Record};

use crate::chunk::{Chunk, Outlet};

/// Bytes of a chunk. With 64 KiB the cost of passing chunks to the sinks was measurable, with
/// 256 KiB it is not (ARCHITECTURE.md).
const CHUNK: usize = 256 * 1024;
/// Capacity beyond that, for the record that completes a chunk.
const LAST_RECORD: usize = 4 * 1024;
/// Under load, a partial chunk is passed on after this time.
const MAX_AGE: Duration = Duration::from_millis(10);

/// Numbers records, formats them as lines, and passes full chunks to the outlet.
pub struct Lines<'o> {
    stream: Arc<str>,
    writer: EventWriter,
    outlet: &'o mut dyn Outlet,
    bytes: Vec<u8>,
    lines: u32,
    /// The number of the next line.
    next: u64,
    /// The first call of [`Lines::flush_old`] with this chunk.
    begun: Option<Duration>,
}

impl<'o> Lines<'o> {
    /// Lines of the stream of this name, numbered from 1 and formatted by `writer`. The header of
    /// CSV is not a line of the stream: each sink writes it.
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

    /// The number of lines written.
    pub fn count(&self) -> u64 {
        self.next - 1
    }

    /// Whether the chunk is complete.
    #[inline]
    pub fn is_full(&self) -> bool {
        self.bytes.len() >= CHUNK
    }

    /// Passes the chunk on; false if the outlet has no capacity.
    pub fn flush(&mut self) -> bool {
        self.lines == 0 || self.outlet.has_capacity() && self.put()
    }

    /// Passes the chunk on if it is complete or old; false if the outlet has no capacity.
    pub fn flush_old(&mut self, now: Duration) -> bool {
        if self.lines == 0 {
            return true;
        }
        let begun = *self.begun.get_or_insert(now);
        if self.is_full() || now.saturating_sub(begun) >= MAX_AGE { self.flush() } else { true }
    }

    /// Passes the chunk on without regard to capacity: at the end.
    pub fn put(&mut self) -> bool {
        if self.lines > 0 {
            let bytes = self.take_bytes();
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

    /// The bytes of the chunk. A short one is copied, so that it does not occupy the memory of a full one
    /// while it waits in a queue.
    fn take_bytes(&mut self) -> Vec<u8> {
        if self.bytes.len() > CHUNK / 2 {
            return std::mem::replace(&mut self.bytes, Vec::with_capacity(CHUNK + LAST_RECORD));
        }
        let bytes = self.bytes.as_slice().to_vec();
        self.bytes.clear();
        bytes
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use ctnl::output::{JSON, OpenRecord, WriterOptions};

    use super::*;

    #[derive(Default)]
    struct Taken(Vec<Arc<Chunk>>);

    impl Outlet for Taken {
        fn has_capacity(&self) -> bool {
            true
        }

        fn put(&mut self, chunk: Arc<Chunk>) {
            self.0.push(chunk);
        }
    }

    #[test]
    fn a_chunk_occupies_at_most_twice_the_memory_of_its_lines() {
        let mut taken = Taken::default();
        let mut lines = Lines::new("s".into(), JSON.event_writer(WriterOptions::default()).unwrap(), &mut taken);
        for records in [1, 10, 1000, 3000] {
            (0..records).for_each(|_| lines.record(&Record::Open(OpenRecord { time: 1, version: "0" })));
            lines.put();
        }
        assert_eq!(taken.0.iter().map(|chunk| chunk.lines).collect::<Vec<_>>(), [1, 10, 1000, 3000]);
        for chunk in &taken.0 {
            assert!(chunk.memory() < 2 * chunk.bytes.len() + 200, "{} for {}", chunk.memory(), chunk.bytes.len());
        }
    }
}
