//! The figures of an event stream.

use std::time::Duration;

use super::{Metric, MetricKind, MetricValue, Unit};

/// The state of an event stream at one moment. Sums begin at the start of the stream.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct StreamSnapshot {
    /// Time since the previous snapshot.
    pub interval: Duration,
    /// Events received in that time.
    pub received_in_interval: u64,
    /// Events received.
    pub received: u64,
    /// Events of entries that match the filter, or that had a record before.
    pub matched: u64,
    /// Events lost in the kernel, as far as it counted them.
    pub lost: u64,
    /// Losses that the kernel did not count: each is of an unknown number of events.
    pub uncounted_losses: u64,
    /// Messages that could not be decoded.
    pub unreadable: u64,
    /// Events for which the filter could not be decided.
    pub undecided: u64,
    /// Records written.
    pub records: u64,
    /// Bytes in the queues of all sockets.
    pub queued: u64,
    /// The limit of those queues in bytes, as the kernel counts (`sk_rcvbuf`).
    pub capacity: u64,
    /// Entries in the set of the reader; `None` where it is not kept.
    pub entries: Option<u64>,
    /// Network namespaces that are followed.
    pub namespaces: u64,
}

impl StreamSnapshot {
    /// Events received per second in the interval.
    #[must_use]
    pub fn rate(&self) -> u64 {
        let milliseconds = self.interval.as_millis().max(1);
        u64::try_from(u128::from(self.received_in_interval) * 1000 / milliseconds).unwrap_or(u64::MAX)
    }

    /// The part of the queues that is in use.
    fn queue_used(&self) -> MetricValue {
        if self.queued == 0 || self.capacity == 0 {
            return MetricValue::Integer(0);
        }
        MetricValue::Float(self.queued as f64 / self.capacity as f64)
    }
}

fn integer(value: u64) -> Option<MetricValue> {
    Some(MetricValue::Integer(value))
}

/// The figures of an event stream.
pub const STREAM: &[Metric<StreamSnapshot>] = &[
    Metric {
        name: "ctnl_events_received_per_second",
        short: "rate",
        kind: MetricKind::Gauge,
        unit: Unit::PerSecond,
        help: "Events received per second since the previous snapshot",
        value: |snapshot| integer(snapshot.rate()),
    },
    Metric {
        name: "ctnl_events_received_total",
        short: "received",
        kind: MetricKind::Counter,
        unit: Unit::Count,
        help: "Events received from the kernel",
        value: |snapshot| integer(snapshot.received),
    },
    Metric {
        name: "ctnl_events_matched_total",
        short: "matched",
        kind: MetricKind::Counter,
        unit: Unit::Count,
        help: "Events of entries that match the filter or had a record before",
        value: |snapshot| integer(snapshot.matched),
    },
    Metric {
        name: "ctnl_events_lost_total",
        short: "lost",
        kind: MetricKind::Counter,
        unit: Unit::Count,
        help: "Events lost in the kernel because the queue of the socket was full, as far as it counted them",
        value: |snapshot| integer(snapshot.lost),
    },
    Metric {
        name: "ctnl_events_uncounted_losses_total",
        short: "uncounted_losses",
        kind: MetricKind::Counter,
        unit: Unit::Count,
        help: "Losses of an unknown number of events: the kernel had no memory for them and did not count them",
        value: |snapshot| integer(snapshot.uncounted_losses),
    },
    Metric {
        name: "ctnl_events_unreadable_total",
        short: "unreadable",
        kind: MetricKind::Counter,
        unit: Unit::Count,
        help: "Messages of the kernel that could not be decoded",
        value: |snapshot| integer(snapshot.unreadable),
    },
    Metric {
        name: "ctnl_events_undecided_total",
        short: "undecided",
        kind: MetricKind::Counter,
        unit: Unit::Count,
        help: "Events for which the filter could not be decided, and which have no record",
        value: |snapshot| integer(snapshot.undecided),
    },
    Metric {
        name: "ctnl_events_queue_used_ratio",
        short: "queue",
        kind: MetricKind::Gauge,
        unit: Unit::Ratio,
        help: "Part of the sockets' queues that is in use",
        value: |snapshot| Some(snapshot.queue_used()),
    },
    Metric {
        name: "ctnl_events_receive_buffer_bytes",
        short: "buffer",
        kind: MetricKind::Gauge,
        unit: Unit::Bytes,
        help: "Size of the sockets' receive buffers",
        // The kernel doubles the size that was granted.
        value: |snapshot| integer(snapshot.capacity / 2),
    },
    Metric {
        name: "ctnl_events_records_total",
        short: "records",
        kind: MetricKind::Counter,
        unit: Unit::Count,
        help: "Records written to the stream",
        value: |snapshot| integer(snapshot.records),
    },
    Metric {
        name: "ctnl_events_entries",
        short: "entries",
        kind: MetricKind::Gauge,
        unit: Unit::Count,
        help: "Conntrack entries in the set that is compared with the table after a loss",
        value: |snapshot| snapshot.entries.map(MetricValue::Integer),
    },
    Metric {
        name: "ctnl_events_namespaces",
        short: "namespaces",
        kind: MetricKind::Gauge,
        unit: Unit::Count,
        help: "Network namespaces that are followed",
        value: |snapshot| integer(snapshot.namespaces),
    },
];

#[cfg(test)]
mod tests {
    use super::super::line;
    use super::*;

    fn snapshot() -> StreamSnapshot {
        StreamSnapshot {
            interval: Duration::from_secs(2),
            received_in_interval: 24,
            received: 100,
            matched: 90,
            lost: 3,
            records: 104,
            queued: 1 << 20,
            capacity: 16 << 20,
            namespaces: 1,
            ..StreamSnapshot::default()
        }
    }

    #[test]
    fn the_statistics_line_is_made_of_the_rows() {
        assert_eq!(
            line(STREAM, &snapshot()),
            "rate=12/s received=100 matched=90 lost=3 uncounted_losses=0 unreadable=0 undecided=0 queue=6.2% buffer=8MiB \
             records=104 namespaces=1"
        );
        assert!(line(STREAM, &StreamSnapshot { entries: Some(7), ..snapshot() }).contains(" entries=7 "));
    }

    #[test]
    fn a_loss_of_an_unknown_number_is_shown_beside_the_counted_ones() {
        let uncounted = StreamSnapshot { lost: 0, uncounted_losses: 2, ..snapshot() };
        assert!(line(STREAM, &uncounted).contains("lost=0 uncounted_losses=2"));
    }

    #[test]
    fn the_rate_of_an_empty_interval_is_a_number() {
        assert_eq!(StreamSnapshot::default().rate(), 0);
        assert_eq!(StreamSnapshot { received_in_interval: 5, ..StreamSnapshot::default() }.rate(), 5000);
    }
}
