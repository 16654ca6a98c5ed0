//! The chunks that were sent last: they are sent again after a connection broke.

use std::collections::VecDeque;
use std::time::Duration;

use ctnl::units::Nanos;

use crate::chunk::Chunk;

/// A receiver that crashes may lose what it had read in this time, or what its kernel had
/// acknowledged in it, because it had not processed it yet.
const MAX_AGE: Duration = Duration::from_secs(10);
/// It loses no more than this: the default maximum of a TCP receive buffer is 6 MiB (tcp_rmem).
const MAX_BYTES: usize = 8 << 20;

/// The chunks of the last ten seconds, 8 MiB at most, and all that are not confirmed.
#[derive(Debug, Default)]
pub struct RecentChunks {
    /// When each was sent, and where it ended in the bytes sent over the connection.
    chunks: VecDeque<(Nanos, u64, Chunk)>,
    bytes: usize,
    confirmed: u64,
}

impl RecentChunks {
    /// Adds a chunk that was sent and ended at `end`; `now` is monotonic.
    pub fn push(&mut self, chunk: &Chunk, end: u64, now: Nanos) {
        self.bytes += chunk.bytes.len();
        self.chunks.push_back((now, end, chunk.clone()));
        self.evict(now);
    }

    /// Sets how many bytes of the connection are confirmed.
    pub fn confirm(&mut self, offset: u64) {
        self.confirmed = offset;
    }

    /// Removes confirmed chunks that are too old or too much.
    pub fn evict(&mut self, now: Nanos) {
        while let Some((sent, end, chunk)) = self.chunks.front() {
            let is_old = now.since(*sent) > MAX_AGE.into();
            if *end > self.confirmed || !is_old && self.bytes <= MAX_BYTES {
                return;
            }
            self.bytes -= chunk.bytes.len();
            self.chunks.pop_front();
        }
    }

    /// The chunks, oldest first, when each was sent, and where it ends. They change when it is sent again: a
    /// peer that accepts connections and processes nothing does not make it older.
    pub fn iter_mut(&mut self) -> impl Iterator<Item = (&Chunk, &mut Nanos, &mut u64)> {
        self.chunks.iter_mut().map(|(sent, end, chunk)| (&*chunk, sent, end))
    }

    /// Bytes of the chunks that are not confirmed.
    pub fn unconfirmed(&self) -> usize {
        // The ends ascend, unless sending them again has failed: then none counts as confirmed.
        let unconfirmed = self.chunks.iter().rev().take_while(|(_, end, _)| *end > self.confirmed);
        unconfirmed.map(|(_, _, chunk)| chunk.bytes.len()).sum()
    }

    /// Bytes of all chunks.
    pub fn bytes(&self) -> usize {
        self.bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_ten_seconds_up_to_eight_mebibytes_are_kept_and_all_that_is_unconfirmed() {
        let at = |seconds: u64| Nanos(seconds * Nanos::PER_SECOND);
        let chunk = |first, length| Chunk { stream: "s".into(), first, lines: 1, bytes: vec![b'\n'; length] };
        let mut recent = RecentChunks::default();
        recent.push(&chunk(1, 1), 10, at(0));
        recent.push(&chunk(2, 1), 20, at(5));
        recent.push(&chunk(3, 1), 30, at(11));
        let firsts = |recent: &RecentChunks| recent.chunks.iter().map(|(_, _, chunk)| chunk.first).collect::<Vec<_>>();
        assert_eq!((firsts(&recent), recent.unconfirmed()), (vec![1, 2, 3], 3));
        recent.confirm(20);
        recent.evict(at(11));
        assert_eq!((firsts(&recent), recent.unconfirmed()), (vec![2, 3], 1));
        recent.confirm(30);
        recent.push(&chunk(4, MAX_BYTES - 1), 40, at(11));
        assert_eq!(firsts(&recent), [3, 4]);
        recent.confirm(40);
        recent.evict(at(30));
        assert_eq!(firsts(&recent), [] as [u64; 0]);
    }
}
