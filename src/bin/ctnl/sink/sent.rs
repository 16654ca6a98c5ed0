//! Delivered items that may have to be delivered again.
//!
//! Of an idle stream each line is a chunk: at 1,000 lines a second, ten seconds of them are 10,000 items. So their
//! sum is kept, and not counted for each delivery.

use std::collections::VecDeque;

use super::queue::Item;

/// The last delivered items, oldest first, each with its size in bytes.
#[derive(Debug, Default)]
pub struct SentItems {
    items: VecDeque<(Item, usize)>,
    bytes: usize,
}

impl SentItems {
    /// Adds an item that was delivered as `size` bytes.
    pub fn push(&mut self, item: Item, size: usize) {
        self.bytes += size;
        self.items.push_back((item, size));
    }

    /// Removes the oldest: all but those that make up the last `bytes`.
    pub fn keep_last(&mut self, bytes: usize) {
        while let Some((_, size)) = self.items.front().filter(|(_, size)| self.bytes - size >= bytes) {
            if self.bytes <= bytes {
                return;
            }
            self.bytes -= size;
            self.items.pop_front();
        }
    }

    /// Removes and returns all.
    pub fn take_all(&mut self) -> impl Iterator<Item = Item> + use<> {
        std::mem::take(self).items.into_iter().map(|(item, _)| item)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::chunk::Chunk;

    #[test]
    fn of_the_sent_items_those_are_kept_that_make_up_the_last_bytes() {
        let item = |first| Item::Chunk(Arc::new(Chunk { stream: "s".into(), first, lines: 1, bytes: Vec::new() }));
        for (bytes, kept) in [(0, 4..4), (1, 3..4), (30, 3..4), (31, 2..4), (50, 2..4), (51, 1..4), (1000, 1..4)] {
            let mut sent = SentItems::default();
            [(1, 10), (2, 20), (3, 30)].into_iter().for_each(|(first, size)| sent.push(item(first), size));
            sent.keep_last(bytes);
            sent.keep_last(bytes);
            let kept: Vec<u64> = if bytes == 0 { Vec::new() } else { kept.collect() };
            assert_eq!(sent.take_all().map(|item| item.first()).collect::<Vec<_>>(), kept, "{bytes}");
            assert_eq!(sent.bytes, 0);
        }
    }
}
