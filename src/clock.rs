//! The clock, as an argument: whoever needs the time is handed one, so that a test
//! can hold it.

use std::fmt;
use std::sync::Arc;

use nix::time::{ClockId, clock_gettime};

use crate::units::Nanos;

/// Both clocks of the kernel, read at one moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct Time {
    /// `CLOCK_MONOTONIC`: for spans between two moments. Like jiffies, in which the kernel counts
    /// timeouts, it stands still while the host is suspended.
    pub monotonic: Nanos,
    /// `CLOCK_REALTIME`: nanoseconds since 1970, the clock of `CTA_TIMESTAMP`. It can be set.
    pub realtime: Nanos,
}

/// Where the time comes from.
#[derive(Clone)]
pub struct Clock(Arc<dyn Fn() -> Time + Send + Sync>);

impl Clock {
    /// The kernel's clocks.
    #[must_use]
    pub fn system() -> Self {
        Clock(Arc::new(|| Time { monotonic: read(ClockId::CLOCK_MONOTONIC), realtime: read(ClockId::CLOCK_REALTIME) }))
    }

    /// A clock that shows what `read` returns, for tests.
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

/// A clock that the kernel does not have reads 0; both are in every kernel.
fn read(clock: ClockId) -> Nanos {
    let time = clock_gettime(clock).map(std::time::Duration::from).unwrap_or_default();
    Nanos::from(time)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_system_clock_runs_and_knows_the_year() {
        let first = Clock::system().now();
        let second = Clock::system().now();
        assert!(second.monotonic >= first.monotonic);
        assert!(first.realtime > Nanos(1_700_000_000 * Nanos::PER_SECOND));
    }

    #[test]
    fn a_test_holds_the_clock() {
        let held = Time { monotonic: Nanos(1), realtime: Nanos(2) };
        assert_eq!(Clock::from_fn(move || held).now(), held);
    }
}
