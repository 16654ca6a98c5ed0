//! What was delivered last: it is sent again when a connection broke.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use crate::chunk::Chunk;

/// What a process had read, or its kernel acknowledged, and what it had not worked on when it
/// died, is not older.
const AGE: Duration = Duration::from_secs(10);
/// Nor more: the largest receive buffer of TCP by default has 6 MiB.
const BYTES: usize = 8 << 20;

/// The chunks of the last ten seconds, 8 MiB at most, and all that have not arrived.
#[derive(Debug, Default)]
pub struct Recent {
    chunks: VecDeque<(Instant, u64, Chunk)>,
    bytes: usize,
    confirmed: u64,
}

impl Recent {
    /// A chunk was delivered, and ended at `end` of what went over the connection.
    pub fn push(&mut self, chunk: &Chunk, end: u64, now: Instant) {
        self.bytes += chunk.bytes.len();
        self.chunks.push_back((now, end, chunk.clone()));
        self.forget(now);
    }

    /// What went over the connection has arrived up to `offset`.
    pub fn confirm(&mut self, offset: u64) {
        self.confirmed = offset;
    }

    /// Forgets what has arrived, and is too old at `now` or too much.
    pub fn forget(&mut self, now: Instant) {
        while let Some((then, end, chunk)) = self.chunks.front() {
            let is_old = now.saturating_duration_since(*then) > AGE;
            if *end > self.confirmed || !is_old && self.bytes <= BYTES {
                return;
            }
            self.bytes -= chunk.bytes.len();
            self.chunks.pop_front();
        }
    }

    /// The chunks, oldest first, and where each ended.
    pub fn iter_mut(&mut self) -> impl Iterator<Item = (&Chunk, &mut u64)> {
        self.chunks.iter_mut().map(|(_, end, chunk)| (&*chunk, end))
    }

    /// Bytes of the chunks that may not have arrived.
    pub fn unconfirmed(&self) -> usize {
        let late = self.chunks.iter().filter(|(_, end, _)| *end > self.confirmed);
        late.map(|(_, _, chunk)| chunk.bytes.len()).sum()
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
    fn the_last_ten_seconds_and_eight_mebibytes_are_kept_and_what_has_not_arrived() {
        let start = Instant::now();
        let chunk = |first, length| Chunk { stream: "s".into(), first, lines: 1, bytes: vec![b'\n'; length] };
        let mut recent = Recent::default();
        recent.push(&chunk(1, 1), 10, start);
        recent.push(&chunk(2, 1), 20, start + Duration::from_secs(5));
        recent.push(&chunk(3, 1), 30, start + Duration::from_secs(11));
        let firsts = |recent: &Recent| recent.chunks.iter().map(|(_, _, chunk)| chunk.first).collect::<Vec<_>>();
        assert_eq!((firsts(&recent), recent.unconfirmed()), (vec![1, 2, 3], 3));
        recent.confirm(20);
        recent.forget(start + Duration::from_secs(11));
        assert_eq!((firsts(&recent), recent.unconfirmed()), (vec![2, 3], 1));
        recent.confirm(30);
        recent.push(&chunk(4, BYTES - 1), 40, start + Duration::from_secs(11));
        assert_eq!(firsts(&recent), [3, 4]);
        recent.confirm(40);
        recent.forget(start + Duration::from_secs(30));
        assert_eq!(firsts(&recent), [] as [u64; 0]);
    }
}
