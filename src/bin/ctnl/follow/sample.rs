//! Samples of the queues and the live sets, and what was reported of them last.

use std::time::Duration;

use ctnl::live::Live;

use super::namespace::NamespaceStream;
use super::source::Source;

/// Sums over the namespaces.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct StreamSample {
    pub(super) queued: u64,
    pub(super) capacity: u64,
    pub(super) entries: u64,
    pub(super) namespaces: u64,
}

impl StreamSample {
    pub(super) fn of<'s>(streams: impl IntoIterator<Item = &'s NamespaceStream>) -> Self {
        streams.into_iter().fold(StreamSample::default(), |sample, stream| {
            sample.with(&*stream.source, stream.live.as_ref().map_or(0, Live::len) as u64)
        })
    }

    /// Adds a namespace with this number of entries in its live set.
    pub(super) fn with(self, source: &dyn Source, entries: u64) -> Self {
        let (used, capacity) = source.queue().map_or((0, 0), |queue| (queue.used.into(), queue.capacity.into()));
        StreamSample {
            queued: self.queued + used,
            capacity: self.capacity + capacity,
            entries: self.entries + entries,
            namespaces: self.namespaces + 1,
        }
    }
}

/// The statistics that were reported last.
#[derive(Debug, Clone, Copy)]
pub(super) struct ReportedStats {
    /// When they were reported.
    pub(super) at: Duration,
    /// When the status of the service was reported.
    pub(super) status_at: Duration,
    /// Events received until then.
    pub(super) status_received: u64,
    /// When the queues were sampled last.
    pub(super) sampled_at: Duration,
    /// Events received until then.
    pub(super) received: u64,
    /// The last sample.
    pub(super) sample: StreamSample,
}

impl ReportedStats {
    pub(super) fn none(now: Duration) -> Self {
        ReportedStats {
            at: now,
            status_at: now,
            status_received: 0,
            sampled_at: now,
            received: 0,
            sample: StreamSample::default(),
        }
    }
}
