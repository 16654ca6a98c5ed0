//! Times in the two units of conntrack: whole seconds for timeouts, nanoseconds for
//! clocks and timestamps.

use std::time::Duration;

/// Whole seconds, as the kernel reports what is left of a timeout (`CTA_TIMEOUT`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Seconds(pub u64);

/// Nanoseconds, as in `CTA_TIMESTAMP` and in every clock of the kernel.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Nanos(pub u64);

impl Nanos {
    /// Nanoseconds of one second.
    pub const PER_SECOND: u64 = 1_000_000_000;

    /// The time from `earlier` to this, or 0 where it is not later.
    #[must_use]
    pub fn since(self, earlier: Nanos) -> Nanos {
        Nanos(self.0.saturating_sub(earlier.0))
    }

    /// This much later.
    #[must_use]
    pub fn plus(self, span: Nanos) -> Nanos {
        Nanos(self.0.saturating_add(span.0))
    }

    /// Whole seconds, rounded down.
    #[must_use]
    pub fn seconds(self) -> Seconds {
        Seconds(self.0 / Self::PER_SECOND)
    }

    /// Milliseconds, with their fraction.
    #[must_use]
    pub fn as_millis_f64(self) -> f64 {
        Duration::from_nanos(self.0).as_secs_f64() * 1000.0
    }
}

impl From<Seconds> for Nanos {
    fn from(seconds: Seconds) -> Self {
        Nanos(seconds.0.saturating_mul(Nanos::PER_SECOND))
    }
}

impl From<Duration> for Nanos {
    fn from(duration: Duration) -> Self {
        Nanos(u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX))
    }
}

impl From<Nanos> for Duration {
    fn from(nanos: Nanos) -> Self {
        Duration::from_nanos(nanos.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_span_between_two_times_is_never_negative_and_never_overflows() {
        assert_eq!(Nanos(5).since(Nanos(3)), Nanos(2));
        assert_eq!(Nanos(3).since(Nanos(5)), Nanos(0));
        assert_eq!(Nanos(u64::MAX).plus(Nanos(1)), Nanos(u64::MAX));
        assert_eq!(Nanos::from(Seconds(u64::MAX)), Nanos(u64::MAX));
    }

    #[test]
    fn seconds_are_rounded_down() {
        assert_eq!(Nanos(1_999_999_999).seconds(), Seconds(1));
        assert_eq!(Nanos::from(Duration::from_millis(1500)), Nanos(1_500_000_000));
    }
}
