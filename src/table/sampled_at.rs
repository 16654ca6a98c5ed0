//! When the kernel filled a datagram of a dump.

use crate::clock::{Clock, Time};
use crate::units::Nanos;

/// The span of `CLOCK_MONOTONIC` in which the kernel read an entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct SampledAt {
    /// Not before this.
    pub earliest: Nanos,
    /// Not after this.
    pub latest: Nanos,
}

/// When the kernel filled a datagram, by both clocks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct DatagramTime {
    /// By `CLOCK_MONOTONIC`.
    pub sampled: SampledAt,
    /// `CLOCK_REALTIME` at [`SampledAt::earliest`], for ages: an age computed with it is never too high.
    pub realtime: Nanos,
}

/// Stamps the datagrams of one dump.
///
/// The kernel fills one datagram ahead: the first one while it handles the request (`netlink_dump`,
/// called by `__netlink_dump_start` in net/netlink/af_netlink.c), each later one at the end of the
/// `recvmsg` that returned the one before it (`netlink_recvmsg` in the same file). So a datagram was
/// filled after the call that received the one before it had begun.
#[derive(Debug)]
pub(super) struct Stamps {
    clock: Clock,
    /// Before the last call but one.
    before_previous: Time,
    /// Before the last call: the request, or a receive.
    before_last: Time,
}

impl Stamps {
    /// To be made before the request is sent.
    pub(super) fn new(clock: &Clock) -> Self {
        let now = clock.now();
        Stamps { clock: clock.clone(), before_previous: now, before_last: now }
    }

    /// To be called before each receive.
    pub(super) fn before_receive(&mut self) {
        self.before_previous = std::mem::replace(&mut self.before_last, self.clock.now());
    }

    /// The stamp of the datagram that has just been received.
    #[cold]
    pub(super) fn received(&self) -> DatagramTime {
        let Time { monotonic: earliest, realtime } = self.before_previous;
        DatagramTime { sampled: SampledAt { earliest, latest: self.clock.now().monotonic }, realtime }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU64, Ordering};

    use super::*;

    #[test]
    fn a_datagram_was_filled_after_the_call_that_received_the_one_before_it() {
        let reads = AtomicU64::new(0);
        let clock = Clock::from_fn(move || {
            let number = reads.fetch_add(1, Ordering::Relaxed);
            Time { monotonic: Nanos(number), realtime: Nanos(1000 + number) }
        });
        let mut stamps = Stamps::new(&clock);
        let mut next = || {
            stamps.before_receive();
            let DatagramTime { sampled, realtime } = stamps.received();
            (sampled.earliest.0, sampled.latest.0, realtime.0)
        };
        // The request is 0; each receive takes two readings.
        assert_eq!([next(), next(), next()], [(0, 2, 1000), (1, 4, 1001), (3, 6, 1003)]);
    }
}
