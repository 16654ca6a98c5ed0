//! How often frames are made: no more than one part of [`PARTS`] of one processor is used.
//!
//! After work that took some processor time, the next frame waits [`PARTS`] times as long. A
//! frame that a key requires may begin up to [`AHEAD`] before that, so that several keys are answered at once also where a
//! dump takes long, and a key that is held down makes no more dumps than these.

use std::time::Duration;

use ctnl::units::{Nanos, Seconds};
use nix::time::{ClockId, clock_gettime};

/// The part of one processor that is used.
pub const PARTS: u64 = 8;

/// How much earlier a frame may begin that a key requires: two dumps of half a second more than otherwise.
const AHEAD: Nanos = Nanos(8 * Nanos::PER_SECOND);

/// The longest time between two readings of events.
const TICK: Nanos = Nanos(Nanos::PER_SECOND / 10);

/// When frames begin.
#[derive(Debug, Clone, Copy)]
pub struct Pace {
    interval: Nanos,
    /// When the last frame began.
    began: Nanos,
    /// When the processor time that was used is no more than its part of the time that has passed.
    allowed: Nanos,
}

impl Pace {
    /// A frame each `interval`, or less often.
    pub fn of(interval: Seconds) -> Self {
        Pace { interval: interval.into(), began: Nanos(0), allowed: Nanos(0) }
    }

    /// A frame began, and took so much processor time.
    pub fn made(&mut self, began: Nanos, took: Nanos) {
        self.began = began;
        self.used(began, took);
    }

    /// Other work began, and took so much processor time.
    pub fn used(&mut self, began: Nanos, took: Nanos) {
        self.allowed = self.allowed.max(began).plus(Nanos(took.0.saturating_mul(PARTS)));
    }

    /// When the next frame begins by itself.
    pub fn next(&self) -> Nanos {
        self.began.plus(self.interval).max(self.allowed)
    }

    /// When a frame may begin that a key requires.
    pub fn next_required(&self) -> Nanos {
        self.allowed.since(AHEAD).min(self.next())
    }
}

/// A part of the time until the next frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rest {
    /// How long nothing is done.
    pub length: Duration,
    /// Then comes the frame, which reads what events there are. Otherwise they are read.
    pub is_last: bool,
}

/// The next part of the time from `now` until `due`. Reading events puts off the frame, since its time counts, too: so it is
/// never done right before that.
pub fn rest(due: Nanos, now: Nanos) -> Rest {
    let left = due.since(now);
    Rest { length: left.min(TICK).into(), is_last: left <= TICK }
}

/// The processor time of this thread, the kernel's included. While the process is stopped, it does not go on.
pub fn processor_time() -> Nanos {
    read(ClockId::CLOCK_THREAD_CPUTIME_ID)
}

/// The processor time of all threads of the process, those included that have ended.
pub fn process_time() -> Nanos {
    read(ClockId::CLOCK_PROCESS_CPUTIME_ID)
}

fn read(clock: ClockId) -> Nanos {
    let time = clock_gettime(clock);
    time.map_or(Nanos(0), |time| Nanos(u64::try_from(Duration::from(time).as_nanos()).unwrap_or(u64::MAX)))
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: u64 = Nanos::PER_SECOND;

    #[test]
    fn a_dump_that_takes_long_makes_frames_rarer() {
        let next = |took: u64| {
            let mut pace = Pace::of(Seconds(2));
            pace.made(Nanos(5), Nanos(took));
            pace.next().0 - 5
        };
        assert_eq!((next(0), next(SECOND / 4)), (2 * SECOND, 2 * SECOND));
        assert_eq!(next(SECOND), 8 * SECOND);
        let mut pace = Pace::of(Seconds(2));
        pace.made(Nanos(5), Nanos(u64::MAX));
        assert_eq!(pace.next(), Nanos(u64::MAX));
    }

    #[test]
    fn the_processor_time_goes_on_with_work_alone() {
        let began = processor_time();
        std::thread::sleep(std::time::Duration::from_millis(50));
        let slept = processor_time().since(began);
        assert!(slept.0 < 40_000_000, "{slept:?}");
        while processor_time().since(began).0 < 5_000_000 {}
    }

    #[test]
    fn the_time_of_work_between_two_frames_counts_too() {
        let mut pace = Pace::of(Seconds(2));
        pace.made(Nanos(0), Nanos(SECOND / 4));
        pace.used(Nanos(SECOND), Nanos(SECOND / 8));
        assert_eq!(pace.next(), Nanos(3 * SECOND));
    }

    /// Seconds of work within `seconds`, where each dump takes `took` and a key requires one as soon as it may begin, or with
    /// `is_held` false, none does; and when the second frame began.
    fn work(took: u64, seconds: u64, is_held: bool) -> (f64, u64) {
        let (mut pace, mut now, mut used, mut second) = (Pace::of(Seconds(2)), 0, 0, None);
        while now < seconds * SECOND {
            pace.made(Nanos(now), Nanos(took));
            used += took;
            let next = if is_held { pace.next_required() } else { pace.next() };
            now = next.0.max(now + took);
            second.get_or_insert(now);
        }
        (used as f64 / SECOND as f64, second.unwrap_or(0))
    }

    #[test]
    fn a_key_that_is_held_down_makes_dumps_at_once_and_then_no_more_than_the_share_allows() {
        for took in [SECOND / 1000, SECOND / 10, SECOND / 2, 3 * SECOND] {
            for seconds in [60, 600, 3600] {
                let (used, second) = work(took, seconds, true);
                // What was given at the start, and the dump that runs at the end.
                let most = (seconds as f64 + 8.0) / PARTS as f64 + took as f64 / SECOND as f64;
                assert!(used <= most, "{used} of {seconds} s, at {took}");
                assert!(took > SECOND / 2 || second <= 2 * took, "the first key is answered at once: {second}");
            }
        }
        let (used, second) = work(SECOND / 2, 600, false);
        assert!((used - 75.0).abs() <= 1.0 && second == 4 * SECOND, "{used} {second}");
    }

    #[test]
    fn reading_events_does_not_put_off_a_frame_again_and_again() {
        let mut pace = Pace::of(Seconds(1));
        pace.made(Nanos(0), Nanos(SECOND / 10));
        let (mut now, mut readings) = (SECOND / 10, 0);
        loop {
            let rest = rest(pace.next(), Nanos(now));
            now += u64::try_from(rest.length.as_nanos()).unwrap_or(u64::MAX);
            if rest.is_last {
                break;
            }
            let took = SECOND / 1000;
            pace.used(Nanos(now), Nanos(took));
            (now, readings) = (now + took, readings + 1);
        }
        assert!((8..=10).contains(&readings) && now < SECOND + SECOND / 10, "{readings} {now}");
        assert_eq!(rest(Nanos(5), Nanos(7)), Rest { length: Duration::ZERO, is_last: true });
    }

    #[test]
    fn keys_that_are_pressed_after_a_while_are_answered_at_once_again() {
        let mut pace = Pace::of(Seconds(2));
        let took = SECOND / 2;
        let mut now = 0;
        // Held down for a minute.
        while now < 60 * SECOND {
            pace.made(Nanos(now), Nanos(took));
            now = pace.next_required().0.max(now + took);
        }
        assert!(pace.next_required().0 > 60 * SECOND - took);
        let later = pace.next();
        pace.made(later, Nanos(took));
        assert!(pace.next_required() <= later.plus(Nanos(took)));
    }
}
