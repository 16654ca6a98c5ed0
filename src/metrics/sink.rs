//! The figures of one sink of an event stream. An exporter labels them with the sink's name.

use super::{Metric, MetricKind, MetricValue, Unit};

/// The state of a sink at one moment. Sums begin at the start of the stream.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct SinkSnapshot {
    /// Bytes of memory that waiting lines occupy.
    pub queued: u64,
    /// Bytes that wait on disk.
    pub spooled: u64,
    /// Lines delivered, repeated ones included.
    pub delivered: u64,
    /// Lines dropped; a gap record stands in their place.
    pub dropped: u64,
}

/// The figures of a sink.
pub const SINK: &[Metric<SinkSnapshot>] = &[
    Metric {
        name: "ctnl_sink_queue_bytes",
        short: "waiting",
        kind: MetricKind::Gauge,
        unit: Unit::Bytes,
        help: "Bytes of memory that lines waiting for delivery occupy",
        value: |sink| Some(MetricValue::Integer(sink.queued)),
    },
    Metric {
        name: "ctnl_sink_spool_bytes",
        short: "spooled",
        kind: MetricKind::Gauge,
        unit: Unit::Bytes,
        help: "Bytes that wait on disk for delivery",
        value: |sink| Some(MetricValue::Integer(sink.spooled)),
    },
    Metric {
        name: "ctnl_sink_delivered_lines_total",
        short: "delivered",
        kind: MetricKind::Counter,
        unit: Unit::Count,
        help: "Lines delivered, repeated ones included",
        value: |sink| Some(MetricValue::Integer(sink.delivered)),
    },
    Metric {
        name: "ctnl_sink_dropped_lines_total",
        short: "dropped",
        kind: MetricKind::Counter,
        unit: Unit::Count,
        help: "Lines dropped, each counted by a gap record in the stream of the sink",
        value: |sink| Some(MetricValue::Integer(sink.dropped)),
    },
];

#[cfg(test)]
mod tests {
    use super::super::line;
    use super::*;

    #[test]
    fn the_statistics_line_of_a_sink_is_made_of_the_rows() {
        let sink = SinkSnapshot { queued: 10, spooled: 9000, delivered: 5, dropped: 1 };
        assert_eq!(line(SINK, &sink), "waiting=10B spooled=8KiB delivered=5 dropped=1");
    }
}
