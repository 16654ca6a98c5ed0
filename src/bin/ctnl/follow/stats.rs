//! How the stream stands, said from time to time, also while it is held back.

use std::time::Duration;

use ctnl::live::Live;

use super::emitter::Emitter;
use super::options::Notification;
use super::source::Source;
use super::stream::Stream;
use super::totals::Snapshot;

/// A look is taken at least so often, also where nobody asked for statistics: the source counts
/// by it what the kernel refuses, whose own count would be full after hours of a full disk.
const LOOK_EVERY: Duration = Duration::from_secs(60);

/// What is seen of the streams themselves.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Seen {
    queued: u64,
    capacity: u64,
    entries: u64,
    streams: usize,
}

impl Seen {
    pub(super) fn of<'s>(streams: impl IntoIterator<Item = &'s Stream>) -> Self {
        streams.into_iter().fold(Seen::default(), |seen, stream| {
            seen.with(&*stream.source, stream.live.as_ref().map_or(0, Live::len) as u64)
        })
    }

    /// With one more stream, of which so many entries are known.
    pub(super) fn with(self, source: &dyn Source, entries: u64) -> Self {
        let (used, capacity) = source.queue().map_or((0, 0), |queue| (queue.used.into(), queue.capacity.into()));
        Seen {
            queued: self.queued + used,
            capacity: self.capacity + capacity,
            entries: self.entries + entries,
            streams: self.streams + 1,
        }
    }
}

/// What was said last.
#[derive(Debug)]
pub(super) struct Said {
    at: Duration,
    looked: Duration,
    received: u64,
    lost: u64,
    seen: Seen,
}

impl Said {
    pub(super) fn nothing(now: Duration) -> Self {
        Said { at: now, looked: now, received: 0, lost: 0, seen: Seen::default() }
    }
}

impl Emitter<'_> {
    /// When it is to be said how the stream stands.
    pub(super) fn next_stats(&self) -> Option<Duration> {
        self.options.stats_interval.map(|interval| self.said.at + interval)
    }

    /// Says how the stream stands, if it is time for that. `look` gets what was seen last,
    /// for where the streams are out of sight.
    pub(super) fn tell_stats(&mut self, look: impl FnOnce(Seen) -> Seen) {
        let now = self.world.elapsed();
        let is_due = self.next_stats().is_some_and(|at| at <= now);
        if !is_due && now < self.said.looked + LOOK_EVERY {
            return;
        }
        let seen = look(self.said.seen);
        self.said.looked = now;
        if !is_due {
            return;
        }
        let totals = self.totals.clone();
        let snapshot = Snapshot {
            records: self.lines.count(),
            interval: now.saturating_sub(self.said.at),
            received: totals.received - self.said.received,
            lost: totals.lost - self.said.lost,
            queued: seen.queued,
            capacity: seen.capacity,
            entries: self.options.keeps_entries().then_some(seen.entries),
            streams: seen.streams,
            totals,
        };
        self.said = Said { at: now, looked: now, received: snapshot.totals.received, lost: snapshot.totals.lost, seen };
        self.world.notice(Notification::Stats(&snapshot));
    }
}
