//! How long to wait before another try.

use std::hash::{BuildHasher, RandomState};
use std::time::Duration;

const FIRST: Duration = Duration::from_millis(100);
const LONGEST: Duration = Duration::from_secs(10);

/// Waits that double from 100 ms to 10 s, each shortened by chance by up to a half: many
/// hosts that lost the same server do not come back in one moment.
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
    /// The next wait.
    pub fn wait(&mut self) -> Duration {
        self.wait_by(RandomState::new().hash_one(0))
    }

    fn wait_by(&mut self, chance: u64) -> Duration {
        let most = self.next;
        self.next = (most * 2).min(LONGEST);
        most / 2 + most / 2 * u32::from(chance.to_le_bytes()[0]) / 255
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_up_to_ten_seconds_and_at_least_half_of_each_is_waited() {
        let mut long = Backoff::default();
        let waits: Vec<_> = (0..9).map(|_| long.wait_by(255).as_millis()).collect();
        assert_eq!(waits, [100, 200, 400, 800, 1600, 3200, 6400, 10_000, 10_000]);
        assert_eq!(Backoff::default().wait_by(0).as_millis(), 50);
    }
}
