//! When a namespace is compared with its table although no event was lost.
//!
//! An entry that was created while nobody was subscribed sends no event of its end with
//! `nf_conntrack_events=2` (`nf_ct_ecache_ext_add` in net/netfilter/nf_conntrack_ecache.c), and one
//! that was created with `nf_conntrack_events=0` never does. Only a dump shows that it has ended.

use std::time::Duration;

use ctnl::live::Silent;

use super::event_sysctl::EventMode;
use super::options::Reconcile;

/// The longest time between two dumps while there are entries that may end without an event.
const INTERVAL: Duration = Duration::from_secs(600);
/// The longest one where the sysctl says that there are none.
const LONGEST_INTERVAL: Duration = Duration::from_secs(86_400);

/// The time of the next comparison.
#[derive(Debug, Default)]
pub(super) struct ReconcileTimer {
    at: Option<Duration>,
    /// Consecutive comparisons that removed no entry.
    unchanged: u32,
}

impl ReconcileTimer {
    /// When the next comparison is due.
    pub(super) fn at(&self) -> Option<Duration> {
        self.at
    }

    /// The stream begins, or a pass does, which is a comparison whatever its reason.
    pub(super) fn restart(&mut self, reconcile: Reconcile, now: Duration) {
        self.at = match reconcile {
            Reconcile::Every(interval) => Some(now + interval),
            Reconcile::Auto | Reconcile::Off => None,
        };
    }

    /// A pass has removed this many entries; `silent` ones remain.
    pub(super) fn on_compared(
        &mut self,
        reconcile: Reconcile,
        mode: EventMode,
        removed: u64,
        silent: Option<Silent>,
        now: Duration,
    ) {
        self.unchanged = if removed == 0 { self.unchanged.saturating_add(1) } else { 0 };
        if reconcile == Reconcile::Auto {
            self.at = self.interval(mode, silent).map(|interval| now + interval);
        }
    }

    /// The first time when all silent entries can have expired: one dump finds them all then. After
    /// that every ten minutes. With `nf_conntrack_events=1` there are silent ones only if the sysctl was
    /// changed after they were created, which nothing shows: the interval doubles while none has ended.
    fn interval(&self, mode: EventMode, silent: Option<Silent>) -> Option<Duration> {
        let repeated = self.unchanged.saturating_sub(1);
        let interval = match mode {
            EventMode::Off => return Some(INTERVAL),
            EventMode::Auto => INTERVAL,
            EventMode::On => INTERVAL.saturating_mul(1 << repeated.min(10)).min(LONGEST_INTERVAL),
        };
        let Silent { longest_timeout, .. } = silent?;
        // A dump rounds the timeout down.
        let expiry = Duration::from_secs(u64::from(longest_timeout) + 1);
        Some(if repeated == 0 { expiry.min(interval) } else { interval })
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::indexing_slicing)]
mod tests {
    use super::*;

    fn silent(longest_timeout: u32) -> Option<Silent> {
        Some(Silent { entries: 1, longest_timeout })
    }

    /// The times of comparisons that remove nothing.
    fn times(mode: EventMode, timeout: u32, count: usize) -> Vec<u64> {
        let (mut timer, mut now) = (ReconcileTimer::default(), Duration::ZERO);
        let mut next = || {
            timer.on_compared(Reconcile::Auto, mode, 0, silent(timeout), now);
            now = timer.at().unwrap();
            now.as_secs()
        };
        (0..count).map(|_| next()).collect()
    }

    #[test]
    fn the_next_comparison_is_when_all_silent_entries_can_have_expired_or_after_ten_minutes() {
        // Those that have not expired then are in use.
        assert_eq!(times(EventMode::Auto, 29, 3), [30, 630, 1230]);
        assert_eq!(times(EventMode::Auto, 432_000, 3), [600, 1200, 1800]);
    }

    #[test]
    fn where_every_entry_should_send_events_the_interval_doubles_until_an_entry_has_ended() {
        assert_eq!(times(EventMode::On, 432_000, 4), [600, 1800, 4200, 9000]);
        let last = times(EventMode::On, 432_000, 40);
        assert_eq!(last[39] - last[38], 86_400);
        let mut timer = ReconcileTimer { at: None, unchanged: 5 };
        timer.on_compared(Reconcile::Auto, EventMode::On, 1, silent(432_000), Duration::ZERO);
        assert_eq!(timer.at(), Some(INTERVAL));
    }

    #[test]
    fn without_silent_entries_nothing_is_compared_unless_events_are_off() {
        let mut timer = ReconcileTimer::default();
        for (mode, at) in [(EventMode::Auto, None), (EventMode::On, None), (EventMode::Off, Some(INTERVAL))] {
            timer.on_compared(Reconcile::Auto, mode, 0, None, Duration::ZERO);
            assert_eq!(timer.at(), at, "{mode:?}");
        }
    }

    #[test]
    fn a_given_interval_does_not_depend_on_silent_entries_and_off_is_off() {
        for (reconcile, at) in
            [(Reconcile::Every(Duration::from_secs(7)), Some(Duration::from_secs(8))), (Reconcile::Off, None)]
        {
            let mut timer = ReconcileTimer::default();
            timer.restart(reconcile, Duration::from_secs(1));
            timer.on_compared(reconcile, EventMode::Auto, 0, silent(1), Duration::from_secs(2));
            assert_eq!(timer.at(), at);
        }
    }
}
