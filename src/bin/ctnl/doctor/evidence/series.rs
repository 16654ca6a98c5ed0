//! The course of the counters within the window.

use ctnl::units::{Nanos, Seconds};

/// A sample, compared with the first one.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SeriesPoint {
    /// The time since the first sample.
    pub at: Nanos,
    /// Entries; `None` where they could not be read.
    pub entries: Option<u64>,
    /// What each counter has counted since the first sample.
    pub changes: Vec<(String, u64)>,
}

impl SeriesPoint {
    /// What was counted of `name`; `None` where the kernel does not report it.
    pub fn change(&self, name: &str) -> Option<u64> {
        self.changes.iter().find(|(known, _)| known == name).map(|(_, change)| *change)
    }
}

/// The least time between two samples. One takes less than a millisecond.
const LEAST: Nanos = Nanos(Nanos::PER_SECOND / 2);
/// Most samples between the first and the last one.
const MOST: u64 = 59;

/// The times of the samples between the one at `start` and the one at the end of `window`.
pub fn sample_times(start: Nanos, window: Seconds) -> impl Iterator<Item = Nanos> {
    let window = Nanos::from(window);
    let step = Nanos(window.0 / (MOST + 1)).max(LEAST);
    let count = (window.0.saturating_sub(1) / step.0).min(MOST);
    (1..=count).map(move |index| start.plus(Nanos(index.saturating_mul(step.0))))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_window_has_a_sample_every_half_second_and_sixty_at_most() {
        let times = |seconds| sample_times(Nanos(7), Seconds(seconds)).map(|time| time.0 - 7).collect::<Vec<_>>();
        assert_eq!(times(0), Vec::<u64>::new());
        assert_eq!(times(2), [500_000_000, 1_000_000_000, 1_500_000_000]);
        let hour = times(3600);
        assert_eq!((hour.len(), hour.first(), hour.last()), (59, Some(&60_000_000_000), Some(&3_540_000_000_000)));
    }
}
