//! The queue in memory of one sink: chunks, and gaps in place of chunks that were dropped.
//!
//! All sinks share the same chunks, and each queue holds the newest of them, so that all queues
//! together use no more memory than the longest one. The limit is one of memory, not of line bytes: of
//! an idle stream each chunk is one line, and what surrounds it may be more than the line.

use std::collections::VecDeque;
use std::sync::Arc;

use crate::chunk::Chunk;

/// Why lines are missing in the stream of one sink.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DropCause {
    /// The queue was full.
    Queue,
    /// The spool was full, or could not be written or read.
    Spool,
    /// The destination rejects them for good.
    Refused,
}

/// Lines that are missing in the stream of one sink.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Gap {
    /// The stream they belong to.
    pub stream: Arc<str>,
    /// Why they are missing.
    pub cause: DropCause,
    /// The number of the first missing line. The line that reports the gap has the same number.
    pub first: u64,
    /// Number of missing lines.
    pub lines: u64,
    /// When the last chunk before the gap was queued, ns of `CLOCK_REALTIME`; 0 if unknown.
    pub from: u64,
    /// When the last missing chunk was dropped, ns of `CLOCK_REALTIME`.
    pub to: u64,
}

impl Gap {
    /// The gap for one dropped chunk.
    pub fn for_chunk(chunk: &Chunk, cause: DropCause, from: u64, to: u64) -> Self {
        Gap { stream: Arc::clone(&chunk.stream), cause, first: chunk.first, lines: chunk.lines.into(), from, to }
    }

    /// Extends this gap by `next` if that has the same cause and begins where this one ends.
    /// Returns whether it did.
    pub fn merge(&mut self, next: &Gap) -> bool {
        let is_adjacent =
            self.stream == next.stream && self.cause == next.cause && self.first + self.lines == next.first;
        if is_adjacent {
            self.lines += next.lines;
            self.to = next.to;
        }
        is_adjacent
    }
}

/// A chunk, or the gap in place of one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Item {
    /// Lines.
    Chunk(Arc<Chunk>),
    /// Missing lines.
    Gap(Gap),
}

impl Item {
    /// The stream it belongs to.
    pub fn stream(&self) -> &Arc<str> {
        match self {
            Item::Chunk(chunk) => &chunk.stream,
            Item::Gap(gap) => &gap.stream,
        }
    }

    /// The number of its first line, or of the first missing line.
    pub fn first(&self) -> u64 {
        match self {
            Item::Chunk(chunk) => chunk.first,
            Item::Gap(gap) => gap.first,
        }
    }

    /// The number of the line that follows it.
    pub fn end(&self) -> u64 {
        match self {
            Item::Chunk(chunk) => chunk.first.saturating_add(chunk.lines.into()),
            Item::Gap(gap) => gap.first.saturating_add(gap.lines),
        }
    }

    /// Number of lines; 0 for a gap.
    pub fn lines(&self) -> u64 {
        match self {
            Item::Chunk(chunk) => chunk.lines.into(),
            Item::Gap(_) => 0,
        }
    }

    /// Bytes of memory that it occupies in a queue; 0 for a gap: there is at most one for each chunk.
    pub fn memory(&self) -> usize {
        match self {
            Item::Chunk(chunk) => size_of::<Self>() + chunk.memory(),
            Item::Gap(_) => 0,
        }
    }

    /// Bytes of lines; 0 for a gap.
    pub fn bytes(&self) -> usize {
        match self {
            Item::Chunk(chunk) => chunk.bytes.len(),
            Item::Gap(_) => 0,
        }
    }
}

/// A queue with a limit in bytes of memory, which its last chunk may exceed.
#[derive(Debug)]
pub struct Queue {
    items: VecDeque<Item>,
    memory: usize,
    limit: usize,
    last_push: u64,
}

impl Queue {
    /// An empty queue for `limit` bytes; `now` is in ns of `CLOCK_REALTIME`.
    pub fn new(limit: usize, now: u64) -> Self {
        Queue { items: VecDeque::new(), memory: 0, limit, last_push: now }
    }

    /// Whether it is below its limit.
    pub fn has_capacity(&self) -> bool {
        self.memory < self.limit
    }

    /// The limit in bytes.
    pub fn limit(&self) -> usize {
        self.limit
    }

    /// Bytes of memory in use.
    pub fn memory(&self) -> usize {
        self.memory
    }

    /// Whether nothing is queued, not even a gap.
    pub fn is_empty(&self) -> bool {
        self.items.is_empty()
    }

    /// Appends a chunk, whatever the limit.
    pub fn push(&mut self, chunk: Arc<Chunk>, now: u64) {
        self.last_push = now;
        self.push_back(Item::Chunk(chunk));
    }

    /// Appends a gap in place of a chunk.
    pub fn push_gap(&mut self, dropped: &Chunk, cause: DropCause, now: u64) {
        let gap = Gap::for_chunk(dropped, cause, self.last_push, now);
        let is_merged = match self.items.back_mut() {
            Some(Item::Gap(last)) => last.merge(&gap),
            _ => false,
        };
        if !is_merged {
            self.push_back(Item::Gap(gap));
        }
    }

    fn push_back(&mut self, item: Item) {
        self.memory += item.memory();
        self.items.push_back(item);
    }

    /// Removes the oldest item.
    pub fn pop(&mut self) -> Option<Item> {
        let item = self.items.pop_front()?;
        self.memory -= item.memory();
        Some(item)
    }

    /// Removes everything; returns the number of lines.
    pub fn clear(&mut self) -> u64 {
        self.memory = 0;
        std::mem::take(&mut self.items).iter().map(Item::lines).sum()
    }

    /// Reverts [`Queue::pop`].
    pub fn push_front(&mut self, item: Item) {
        self.memory += item.memory();
        self.items.push_front(item);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chunk(first: u64, lines: u32) -> Arc<Chunk> {
        Arc::new(Chunk { stream: "s".into(), first, lines, bytes: b"x\n".repeat(lines as usize) })
    }

    #[test]
    fn consecutive_dropped_chunks_become_one_gap_at_their_position() {
        let mut queue = Queue::new(4, 100);
        queue.push(chunk(1, 3), 110);
        assert!(!queue.has_capacity());
        queue.push_gap(&chunk(4, 2), DropCause::Queue, 120);
        queue.push_gap(&chunk(6, 1), DropCause::Queue, 130);
        assert_eq!(queue.pop(), Some(Item::Chunk(chunk(1, 3))));
        assert!(queue.has_capacity());
        queue.push(chunk(7, 1), 140);
        queue.push_gap(&chunk(8, 1), DropCause::Spool, 150);
        let gap = |first, lines, cause, from, to| Item::Gap(Gap { stream: "s".into(), cause, first, lines, from, to });
        assert_eq!(queue.pop(), Some(gap(4, 3, DropCause::Queue, 110, 130)));
        assert_eq!(queue.pop(), Some(Item::Chunk(chunk(7, 1))));
        assert_eq!(queue.pop(), Some(gap(8, 1, DropCause::Spool, 140, 150)));
        assert_eq!((queue.pop(), queue.memory(), queue.is_empty()), (None, 0, true));
    }
    #[test]
    fn the_limit_counts_the_memory_that_chunks_occupy_and_not_only_their_lines() {
        let mut queue = Queue::new(1 << 20, 0);
        let mut chunks = 0;
        while queue.has_capacity() {
            let mut bytes = Vec::with_capacity(256 << 10);
            bytes.extend_from_slice(b"x\n");
            queue.push(Arc::new(Chunk { stream: "s".into(), first: chunks + 1, lines: 1, bytes }), 0);
            chunks += 1;
        }
        assert_eq!(chunks, 4);
        while queue.pop().is_some() {}
        // A line of two bytes needs a chunk and its place in the queue, too.
        let mut lines = 0;
        while queue.has_capacity() {
            queue.push(chunk(lines + 1, 1), 0);
            lines += 1;
        }
        assert!(lines < (1 << 20) / 100, "{lines}");
    }
}
