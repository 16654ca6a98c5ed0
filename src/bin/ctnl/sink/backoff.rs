//! The delay before the next attempt.

use std::hash::{BuildHasher, RandomState};
use std::time::Duration;

const FIRST: Duration = Duration::from_millis(100);
const MAX: Duration = Duration::from_secs(10);

/// Delays that double from 100 ms to 10 s. Each is reduced by a random amount of up to a half, so
/// that many hosts that lost the same server do not reconnect at the same time.
#[derive(Debug)]
pub struct Backoff {
    next: Duration,
}

impl Default for Backoff {
    fn default() -> Self {
        Backoff { next: FIRST }
    }
}

impl Backoff {
    /// The next delay.
    pub fn next_delay(&mut self) -> Duration {
        self.delay_for(RandomState::new().hash_one(0))
    }

    fn delay_for(&mut self, random: u64) -> Duration {
        let max = self.next;
        self.next = (max * 2).min(MAX);
        max / 2 + max / 2 * u32::from(random.to_le_bytes()[0]) / 255
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn delays_double_up_to_ten_seconds_and_lose_at_most_half_to_chance() {
        let mut longest = Backoff::default();
        let delays: Vec<_> = (0..9).map(|_| longest.delay_for(255).as_millis()).collect();
        assert_eq!(delays, [100, 200, 400, 800, 1600, 3200, 6400, 10_000, 10_000]);
        assert_eq!(Backoff::default().delay_for(0).as_millis(), 50);
    }
}
