//! How often frames are made.

use ctnl::units::{Nanos, Seconds};

/// A frame takes one part of so many of an interval, so that no more than this part of one processor is used.
pub const PARTS: u64 = 8;

/// When the next frame begins, after one that took from `began` to `ended`: `interval` after it began, and later where
/// it took long.
pub fn next_frame(began: Nanos, ended: Nanos, interval: Seconds) -> Nanos {
    let took = ended.since(began).0;
    began.plus(Nanos::from(interval).max(Nanos(took.saturating_mul(PARTS))))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_dump_that_takes_long_makes_frames_rarer() {
        let next = |took: u64| next_frame(Nanos(5), Nanos(5 + took), Seconds(2)).0 - 5;
        assert_eq!((next(0), next(250_000_000)), (2_000_000_000, 2_000_000_000));
        assert_eq!(next(1_000_000_000), 8_000_000_000);
        assert_eq!(next_frame(Nanos(5), Nanos(u64::MAX), Seconds(2)), Nanos(u64::MAX));
    }
}
