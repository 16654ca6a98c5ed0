//! Snapshots of the stream at an interval, also while no chunk can be written.

use std::time::Duration;

use ctnl::metrics::StreamSnapshot;

use super::emitter::Emitter;
use super::environment::Notification;
use super::sample::{ReportedStats, StreamSample};

/// The queues are sampled at least this often, also without `--stats-interval`: the kernel's
/// count of refused events (`sk_drops`) has 32 bits and can wrap within hours of a full disk.
const SAMPLE_INTERVAL: Duration = Duration::from_secs(60);

impl Emitter<'_> {
    /// When the next statistics are due.
    pub(super) fn next_stats(&self) -> Option<Duration> {
        self.options.stats_interval.map(|interval| self.reported.at + interval)
    }

    /// Reports statistics if they are due, and the status of the service. `sample` gets the last sample, for callers that
    /// cannot access the namespaces.
    pub(super) fn emit_stats(&mut self, sample: impl FnOnce(StreamSample) -> StreamSample) {
        let now = self.env.monotonic();
        let is_due = self.next_stats().is_some_and(|at| at <= now);
        let has_status = self.env.status_interval().is_some_and(|interval| now >= self.reported.status_at + interval);
        if !is_due && !has_status && now < self.reported.sampled_at + SAMPLE_INTERVAL {
            return;
        }
        let sample = sample(self.reported.sample);
        self.reported.sampled_at = now;
        self.reported.sample = sample;
        if has_status {
            self.reported.status_at = now;
            let snapshot = self.snapshot(sample, now);
            self.env.notify(Notification::Status(&snapshot));
        }
        if is_due {
            let snapshot = self.snapshot(sample, now);
            self.reported = ReportedStats { at: now, received: snapshot.received, ..self.reported };
            self.env.notify(Notification::Stats(&snapshot));
        }
    }

    fn snapshot(&self, sample: StreamSample, now: Duration) -> StreamSnapshot {
        let totals = &self.totals;
        StreamSnapshot {
            interval: now.saturating_sub(self.reported.at),
            received_in_interval: totals.received - self.reported.received,
            received: totals.received,
            lost: totals.lost,
            uncounted_losses: totals.uncounted_losses,
            unreadable: totals.unreadable,
            undecided: totals.undecided.values().sum(),
            records: self.lines.count(),
            queued: sample.queued,
            capacity: sample.capacity,
            entries: self.options.keeps_live_set().then_some(sample.entries),
            namespaces: sample.namespaces,
        }
    }
}
