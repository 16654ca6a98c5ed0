//! The timeouts of a namespace, read again and again while a stream runs.

use std::time::Duration;

use ctnl::age::{IdleEstimator, TimeoutContext};
use ctnl::host::Host;
use ctnl::netlink::{Connection, Error};
use ctnl::units::Seconds;

use super::timeout_notes::TimeoutNotes;
use super::timeout_options::TimeoutOptions;

/// Time between two reads.
const INTERVAL: Duration = Duration::from_secs(10);
/// The different settings that are kept: an entry keeps the expiry that its last packet set. After so many
/// changes idle times are undecided.
const MAX_SETTINGS: usize = 16;

/// Every timeout that was in force since the first read.
#[derive(Debug)]
pub struct TimeoutRefresh {
    options: TimeoutOptions,
    host: Host,
    notes: TimeoutNotes,
    context: TimeoutContext,
    /// The written timeouts of the last read.
    written: Vec<Seconds>,
    next: Option<Duration>,
}

impl TimeoutRefresh {
    /// Reads the settings of the connection's namespace.
    ///
    /// # Errors
    /// As [`TimeoutContext::read`].
    pub fn begin(options: TimeoutOptions, host: Host, connection: &mut Connection) -> Result<Self, Error> {
        let notes = TimeoutNotes::of(connection.netns(), &host);
        notes.identify();
        let context = options.read_with(connection, &host, &notes)?;
        let written = context.written.clone();
        Ok(TimeoutRefresh { options, host, notes, context, written, next: None })
    }

    /// The estimator with what was read until now.
    pub fn estimator(&self) -> IdleEstimator {
        IdleEstimator::new(&self.context, 0)
    }

    /// When the settings are to be read again.
    pub fn due_at(&self) -> Duration {
        self.next.unwrap_or_default()
    }

    /// Reads the settings again. The estimator, if they have changed.
    pub fn refresh(&mut self, connection: &mut Connection, now: Duration) -> Option<IdleEstimator> {
        self.next = Some(now + INTERVAL);
        let read = self.options.read_again(connection, &self.host, &self.notes, &self.context).ok()?;
        let merged = merge(&self.context, &self.written, &read);
        self.written = read.written;
        (merged != self.context).then(|| {
            self.context = merged;
            self.estimator()
        })
    }
}

/// Which of several reads is the next one, if one is due: that which has waited longest, so that all have a turn
/// however many there are.
pub fn longest_due(due_at: impl Iterator<Item = Duration>, now: Duration) -> Option<usize> {
    let due = due_at.enumerate().filter(|(_, at)| *at <= now);
    due.min_by_key(|(_, at)| *at).map(|(index, _)| index)
}

/// What was read now, with what was read before. A written timeout ends by itself: only those of the last
/// read, which may have ended since then, are kept.
fn merge(before: &TimeoutContext, written: &[Seconds], now: &TimeoutContext) -> TimeoutContext {
    let (written, unknown_written_timeouts) = (written.to_vec(), false);
    let mut merged = now.merge(&TimeoutContext { written, unknown_written_timeouts, ..before.clone() });
    if merged.merged_timeouts.len() > MAX_SETTINGS {
        merged.merged_timeouts.truncate(MAX_SETTINGS);
        merged.unknown_written_timeouts = true;
    }
    merged
}

#[cfg(test)]
#[allow(clippy::indexing_slicing)]
mod tests {
    use ctnl::model::{Timeouts, Timer};

    use super::*;

    fn udp(seconds: u32) -> TimeoutContext {
        TimeoutContext { timeouts: Timeouts::default().with(Timer::Udp, seconds), ..TimeoutContext::default() }
    }

    #[test]
    fn earlier_timeouts_stay_possible_and_after_many_changes_nothing_is_certain() {
        let mut context = udp(0);
        for seconds in 1..=u32::try_from(MAX_SETTINGS).unwrap_or(0) {
            context = merge(&context, &[], &udp(seconds));
            assert_eq!(context, merge(&context, &[], &udp(seconds)), "a read without a change");
            assert!(context.timeouts == udp(seconds).timeouts && context.merged_timeouts.contains(&udp(0).timeouts));
            assert!(!context.unknown_written_timeouts);
        }
        context = merge(&context, &[], &udp(100));
        assert!(context.unknown_written_timeouts && context.merged_timeouts.len() == MAX_SETTINGS);
    }

    #[test]
    fn of_more_namespaces_than_can_be_read_in_time_each_has_its_turn() {
        let (mut due_at, mut reads) = (vec![Duration::ZERO; 1000], vec![0; 1000]);
        for round in 0..500 {
            let now = Duration::from_millis(200 * round);
            for _ in 0..8 {
                if let Some(index) = longest_due(due_at.iter().copied(), now) {
                    due_at[index] = now + INTERVAL;
                    reads[index] += 1;
                }
            }
        }
        assert_eq!((reads.iter().min(), reads.iter().max()), (Some(&4), Some(&4)));
        assert_eq!(longest_due(std::iter::once(INTERVAL), Duration::ZERO), None);
    }

    #[test]
    fn a_written_timeout_stays_possible_for_one_read_more() {
        let written = TimeoutContext { written: vec![Seconds(7)], ..udp(1) };
        let once = merge(&written, &written.written, &udp(1));
        assert_eq!(once.written, [Seconds(7)]);
        assert_eq!(merge(&once, &[], &udp(1)).written, []);
    }
}
