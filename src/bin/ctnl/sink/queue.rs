//! What stands before a place: chunks, and gaps where chunks had to be left out.
//!
//! All places get the same chunks and each queue holds the newest of them, so that
//! together they take no more memory than the longest of them.

use std::collections::VecDeque;
use std::sync::Arc;

use ctnl::output::GapCause;

use crate::chunk::Chunk;

/// Lines that were left out of the stream to one place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Gap {
    /// The stream they belonged to.
    pub stream: Arc<str>,
    /// Why.
    pub cause: GapCause,
    /// The number of the first line that is missing. The line that stands for them has it.
    pub first: u64,
    /// How many are missing.
    pub lines: u64,
    /// When the last chunk before them came, ns of `CLOCK_REALTIME`.
    pub from: u64,
    /// When the last one that was left out came, ns.
    pub to: u64,
}

impl Gap {
    /// The gap that one chunk leaves.
    pub fn of(chunk: &Chunk, cause: GapCause, from: u64, to: u64) -> Self {
        Gap { stream: Arc::clone(&chunk.stream), cause, first: chunk.first, lines: chunk.lines.into(), from, to }
    }

    /// Stands for `next` too, where that is missing for the same reason and no number is between.
    pub fn join(&mut self, next: &Gap) -> bool {
        let joins = self.stream == next.stream && self.cause == next.cause && self.first + self.lines == next.first;
        if joins {
            self.lines += next.lines;
            self.to = next.to;
        }
        joins
    }
}

/// One step of the stream to a place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Item {
    /// Lines.
    Chunk(Arc<Chunk>),
    /// Lines that are missing.
    Gap(Gap),
}

impl Item {
    /// The stream that it belongs to.
    pub fn stream(&self) -> &Arc<str> {
        match self {
            Item::Chunk(chunk) => &chunk.stream,
            Item::Gap(gap) => &gap.stream,
        }
    }

    /// The number of its first line, or of the first that is missing.
    pub fn first(&self) -> u64 {
        match self {
            Item::Chunk(chunk) => chunk.first,
            Item::Gap(gap) => gap.first,
        }
    }

    /// The number of the line behind it.
    pub fn next(&self) -> u64 {
        match self {
            Item::Chunk(chunk) => chunk.first.saturating_add(chunk.lines.into()),
            Item::Gap(gap) => gap.first.saturating_add(gap.lines),
        }
    }

    /// How many lines.
    pub fn lines(&self) -> u64 {
        match self {
            Item::Chunk(chunk) => chunk.lines.into(),
            Item::Gap(_) => 0,
        }
    }

    /// How many bytes of lines.
    pub fn bytes(&self) -> usize {
        match self {
            Item::Chunk(chunk) => chunk.bytes.len(),
            Item::Gap(_) => 0,
        }
    }
}

/// A queue with a bound in bytes; the last chunk may go over it.
#[derive(Debug)]
pub struct Queue {
    items: VecDeque<Item>,
    bytes: usize,
    limit: usize,
    last: u64,
}

impl Queue {
    /// An empty queue for `limit` bytes; the time is now `now`.
    pub fn new(limit: usize, now: u64) -> Self {
        Queue { items: VecDeque::new(), bytes: 0, limit, last: now }
    }

    /// Whether a chunk can be taken without leaving it out.
    pub fn has_room(&self) -> bool {
        self.bytes < self.limit
    }

    /// How many bytes it has room for.
    pub fn limit(&self) -> usize {
        self.limit
    }

    /// How many bytes wait.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// Whether nothing waits, not even a gap.
    pub fn is_empty(&self) -> bool {
        self.items.is_empty()
    }

    /// Takes a chunk, room or not.
    pub fn push(&mut self, chunk: Arc<Chunk>, now: u64) {
        self.last = now;
        self.bytes += chunk.bytes.len();
        self.items.push_back(Item::Chunk(chunk));
    }

    /// Leaves a chunk out: a gap stands in its place.
    pub fn leave_out(&mut self, chunk: &Chunk, cause: GapCause, now: u64) {
        let gap = Gap::of(chunk, cause, self.last, now);
        let joined = match self.items.back_mut() {
            Some(Item::Gap(last)) => last.join(&gap),
            _ => false,
        };
        if !joined {
            self.items.push_back(Item::Gap(gap));
        }
    }

    /// The oldest item.
    pub fn pop(&mut self) -> Option<Item> {
        let item = self.items.pop_front()?;
        self.bytes -= item.bytes();
        Some(item)
    }

    /// Forgets all that waits; how many lines that was.
    pub fn clear(&mut self) -> u64 {
        self.bytes = 0;
        std::mem::take(&mut self.items).iter().map(Item::lines).sum()
    }

    /// Puts back what [`Queue::pop`] gave.
    pub fn put_back(&mut self, item: Item) {
        self.bytes += item.bytes();
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
    fn chunks_left_out_one_after_another_are_one_gap_in_their_place() {
        let mut queue = Queue::new(4, 100);
        queue.push(chunk(1, 3), 110);
        assert!(!queue.has_room());
        queue.leave_out(&chunk(4, 2), GapCause::Queue, 120);
        queue.leave_out(&chunk(6, 1), GapCause::Queue, 130);
        assert_eq!(queue.pop(), Some(Item::Chunk(chunk(1, 3))));
        assert!(queue.has_room());
        queue.push(chunk(7, 1), 140);
        queue.leave_out(&chunk(8, 1), GapCause::Spool, 150);
        let gap = |first, lines, cause, from, to| Item::Gap(Gap { stream: "s".into(), cause, first, lines, from, to });
        assert_eq!(queue.pop(), Some(gap(4, 3, GapCause::Queue, 110, 130)));
        assert_eq!(queue.pop(), Some(Item::Chunk(chunk(7, 1))));
        assert_eq!(queue.pop(), Some(gap(8, 1, GapCause::Spool, 140, 150)));
        assert_eq!((queue.pop(), queue.bytes(), queue.is_empty()), (None, 0, true));
    }
}
