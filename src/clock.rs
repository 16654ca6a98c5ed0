//! The clock as an argument, so that tests control it.

use std::fmt;
use std::sync::Arc;

use nix::time::{ClockId, clock_gettime};

use crate::units::Nanos;

/// Both clocks of the kernel at one moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct Time {
    /// `CLOCK_MONOTONIC`, for durations. Like the jiffies in which the kernel counts timeouts, it
    /// does not advance while the host is suspended.
    #[doc(alias = "CLOCK_MONOTONIC")]
    pub monotonic: Nanos,
    /// `CLOCK_REALTIME`, the clock of `CTA_TIMESTAMP`: nanoseconds since 1970. It can be set.
    #[doc(alias = "CLOCK_REALTIME")]
    pub realtime: Nanos,
}

/// A source of time.
#[derive(Clone)]
pub struct Clock(Arc<dyn Fn() -> Time + Send + Sync>);

impl Clock {
    /// The kernel's clocks.
    #[must_use]
    pub fn system() -> Self {
        Clock(Arc::new(|| Time { monotonic: read(ClockId::CLOCK_MONOTONIC), realtime: read(ClockId::CLOCK_REALTIME) }))
    }

    /// A clock that returns the result of `read`, for tests.
    pub fn from_fn(read: impl Fn() -> Time + Send + Sync + 'static) -> Self {
        Clock(Arc::new(read))
    }

    /// The time now.
    #[must_use]
    pub fn now(&self) -> Time {
        (self.0)()
    }
}

impl Default for Clock {
    fn default() -> Self {
        Clock::system()
    }
}

impl fmt::Debug for Clock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Clock").field(&self.now()).finish()
    }
}

/// 0 for a clock that the kernel does not have; every kernel has both.
fn read(clock: ClockId) -> Nanos {
    let time = clock_gettime(clock).map(std::time::Duration::from).unwrap_or_default();
    Nanos::from(time)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_system_clock_advances_and_is_set() {
        let first = Clock::system().now();
        let second = Clock::system().now();
        assert!(second.monotonic >= first.monotonic);
        assert!(first.realtime > Nanos(1_700_000_000 * Nanos::PER_SECOND));
    }

    #[test]
    fn a_test_controls_the_clock() {
        let time = Time { monotonic: Nanos(1), realtime: Nanos(2) };
        assert_eq!(Clock::from_fn(move || time).now(), time);
    }
}
