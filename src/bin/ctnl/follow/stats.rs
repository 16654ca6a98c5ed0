//! Snapshots of the stream at an interval: statistics, also while no chunk can be written, and heartbeats.

use std::ops::Range;
use std::time::Duration;

use ctnl::metrics::StreamSnapshot;
use ctnl::output::{HeartbeatRecord, Record};

use super::emitter::Emitter;
use super::environment::Notification;
use super::sample::{ReportedStats, StreamSample};

/// The queues are sampled at least this often, also without `--stats-interval`: the kernel's
/// count of refused events (`sk_drops`) has 32 bits and can wrap within hours of a full disk.
const SAMPLE_INTERVAL: Duration = Duration::from_secs(60);

impl Emitter<'_> {
    /// When the next statistics or the next heartbeat are due.
    pub(super) fn next_stats(&self) -> Option<Duration> {
        self.next_report().into_iter().chain(self.heartbeat.at()).min()
    }

    /// When the next statistics are due.
    fn next_report(&self) -> Option<Duration> {
        self.options.stats_interval.map(|interval| self.reported.at + interval)
    }

    /// Reports statistics, writes the heartbeat record, and updates the status of the service, if they are due.
    /// `sample` gets the last sample, for callers that cannot access the namespaces.
    pub(super) fn emit_stats(&mut self, sample: impl FnOnce(StreamSample) -> StreamSample) {
        let now = self.env.monotonic();
        let is_due = self.next_report().is_some_and(|at| at <= now);
        let has_status = self.env.status_interval().is_some_and(|interval| now >= self.reported.status_at + interval);
        // While the chunk is full and no sink takes it, the heartbeat waits: memory is constant.
        let has_heartbeat = self.heartbeat.is_due(now) && (!self.lines.is_full() || self.lines.flush());
        if !is_due && !has_status && !has_heartbeat && now < self.reported.sampled_at + SAMPLE_INTERVAL {
            return;
        }
        let sample = sample(self.reported.sample);
        self.reported.sampled_at = now;
        self.reported.sample = sample;
        if has_status {
            let snapshot = self.snapshot(sample, self.reported.status_at..now, self.reported.status_received);
            (self.reported.status_at, self.reported.status_received) = (now, snapshot.received);
            self.env.notify(Notification::Status(&snapshot));
        }
        if is_due {
            let snapshot = self.snapshot(sample, self.reported.at..now, self.reported.received);
            self.reported = ReportedStats { at: now, received: snapshot.received, ..self.reported };
            self.env.notify(Notification::Stats(&snapshot));
        }
        if has_heartbeat {
            self.emit_heartbeat(sample, now);
        }
    }

    /// A snapshot at the end of an interval, at whose start `received_before` events had been received.
    fn snapshot(&self, sample: StreamSample, interval: Range<Duration>, received_before: u64) -> StreamSnapshot {
        let totals = &self.totals;
        StreamSnapshot {
            interval: interval.end.saturating_sub(interval.start),
            received_in_interval: totals.received.saturating_sub(received_before),
            received: totals.received,
            matched: totals.matched,
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

    /// Writes the heartbeat record.
    fn emit_heartbeat(&mut self, sample: StreamSample, now: Duration) {
        let Some(interval) = self.options.heartbeat else { return };
        let (last, received) = self.heartbeat.last();
        let snapshot = self.snapshot(sample, last..now, received);
        let (time, mut sinks) = (self.env.realtime(), self.env.sinks());
        sinks.iter_mut().for_each(|sink| self.heartbeat.date(sink, &self.options.stream));
        let interval = u64::try_from(interval.as_nanos()).unwrap_or(u64::MAX);
        let (stream, sysctls) = (&snapshot, self.heartbeat.sysctls());
        self.lines.record(&Record::Heartbeat(HeartbeatRecord { time, interval, stream, sinks: &sinks, sysctls }));
        self.heartbeat.on_written(self.lines.count(), time, snapshot.received, now);
    }
}
