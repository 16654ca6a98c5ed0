//! The record that is written at an interval whether or not anything happens, for monitoring.

use crate::metrics::{SINK, STREAM, SinkSnapshot, StreamSnapshot, line as metrics_line};
use crate::output::cursor::Line;
use crate::output::escape;
use crate::output::json::{number64, put_string};

/// The longest text of an error that a record has, in bytes.
const MAX_WHY: usize = 200;

/// The state of the stream at one moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HeartbeatRecord<'a> {
    /// When, in ns of `CLOCK_REALTIME`.
    pub time: u64,
    /// Time between two of these records, in ns.
    pub interval: u64,
    /// Sums since the start of the stream, and the queue of the sockets.
    pub stream: &'a StreamSnapshot,
    /// Every sink, in the order of `--to`.
    pub sinks: &'a [SinkState],
    /// The sysctls of the namespaces, grouped by their values.
    pub sysctls: &'a [SysctlGroup],
}

/// The state of a sink at one moment.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SinkState {
    /// The argument of `--to`, without a password.
    pub name: String,
    /// Its figures.
    pub snapshot: SinkSnapshot,
    /// The line that is delivered next, if one is waiting.
    pub oldest: Option<WaitingLine>,
    /// Since when it is down, in ns of `CLOCK_REALTIME`.
    pub down_since: Option<u64>,
    /// Why it is down.
    pub why: Option<String>,
}

/// A line that is waiting for delivery.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct WaitingLine {
    /// The name of its stream: that of an earlier run, if the line was in the spool.
    pub stream: String,
    /// Its sequence number.
    pub seq: u64,
    /// It was written at this time or later, in ns of `CLOCK_REALTIME`; None if that is unknown.
    pub written_after: Option<u64>,
}

/// Namespaces whose sysctls have the same values; None for one that cannot be read.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct SysctlGroup {
    /// `net.netfilter.nf_conntrack_events`.
    pub events: Option<u64>,
    /// `net.netfilter.nf_conntrack_acct`.
    pub acct: Option<u64>,
    /// `net.netfilter.nf_conntrack_timestamp`.
    pub timestamp: Option<u64>,
    /// The number of namespaces.
    pub namespaces: u64,
    /// The names of some of them, if the stream covers several.
    pub netns: Vec<String>,
}

impl HeartbeatRecord<'_> {
    /// The number of namespaces that send no events of entries that are created now.
    pub(super) fn disabled(&self) -> u64 {
        self.sysctls.iter().filter(|group| group.events == Some(0)).map(|group| group.namespaces).sum()
    }
}

/// Appends the members of a JSON line behind its time.
pub(super) fn put_json(line: &mut Line<'_>, out: &mut Vec<u8>, record: &HeartbeatRecord<'_>) {
    let stream = record.stream;
    number64(line, b",\"interval_ns\":", Some(record.interval));
    number64(line, b",\"received\":", Some(stream.received));
    number64(line, b",\"matched\":", Some(stream.matched));
    number64(line, b",\"lost\":", Some(stream.lost));
    number64(line, b",\"uncounted_losses\":", Some(stream.uncounted_losses));
    number64(line, b",\"unreadable\":", Some(stream.unreadable));
    number64(line, b",\"undecided\":", Some(stream.undecided));
    number64(line, b",\"records\":", Some(stream.records));
    number64(line, b",\"entries\":", stream.entries);
    number64(line, b",\"namespaces\":", Some(stream.namespaces));
    number64(line, b",\"buffer_used_bytes\":", Some(stream.queued));
    number64(line, b",\"buffer_limit_bytes\":", Some(stream.capacity));
    line.put(b",\"sinks\":[");
    put_items(line, out, record.sinks, put_sink);
    line.put(b"],\"sysctls\":[");
    put_items(line, out, record.sysctls, put_sysctls);
    line.put(b"]");
}

/// Appends objects, separated by commas.
fn put_items<T>(line: &mut Line<'_>, out: &mut Vec<u8>, items: &[T], put: fn(&mut Line<'_>, &mut Vec<u8>, &T)) {
    for (index, item) in items.iter().enumerate() {
        if index > 0 {
            line.put(b",");
        }
        line.put(b"{");
        put(line, out, item);
        line.put(b"}");
        // The number of items has no limit, the line has one.
        line.flush(out);
    }
}

fn put_sink(line: &mut Line<'_>, out: &mut Vec<u8>, sink: &SinkState) {
    put_string(line, out, b"\"name\":", &sink.name);
    number64(line, b",\"queue_bytes\":", Some(sink.snapshot.queued));
    number64(line, b",\"spool_bytes\":", Some(sink.snapshot.spooled));
    number64(line, b",\"delivered\":", Some(sink.snapshot.delivered));
    number64(line, b",\"dropped\":", Some(sink.snapshot.dropped));
    if let Some(oldest) = &sink.oldest {
        put_string(line, out, b",\"oldest\":", &format!("{}-{}", oldest.stream, oldest.seq));
        number64(line, b",\"oldest_after_ns\":", oldest.written_after);
    }
    number64(line, b",\"down_since_ns\":", sink.down_since);
    if let Some(why) = &sink.why {
        put_string(line, out, b",\"why\":", shortened(why));
    }
}

fn put_sysctls(line: &mut Line<'_>, out: &mut Vec<u8>, group: &SysctlGroup) {
    number64(line, b"\"namespaces\":", Some(group.namespaces));
    number64(line, b",\"nf_conntrack_events\":", group.events);
    number64(line, b",\"nf_conntrack_acct\":", group.acct);
    number64(line, b",\"nf_conntrack_timestamp\":", group.timestamp);
    if let Some((first, others)) = group.netns.split_first() {
        put_string(line, out, b",\"netns\":[", first);
        others.iter().for_each(|name| put_string(line, out, b",", name));
        line.put(b"]");
    }
}

/// The beginning of `text`, of at most [`MAX_WHY`] bytes.
fn shortened(text: &str) -> &str {
    let end = (0..=MAX_WHY.min(text.len())).rev().find(|at| text.is_char_boundary(*at));
    text.get(..end.unwrap_or(0)).unwrap_or_default()
}

/// Appends the line of `-o conntrack` behind its time: the statistics line of the stream and of each sink.
pub(super) fn put_text(line: &mut Line<'_>, out: &mut Vec<u8>, record: &HeartbeatRecord<'_>) {
    line.put(b"[HEARTBEAT] ");
    line.text(metrics_line(STREAM, record.stream).as_bytes());
    line.put(b" disabled=");
    line.decimal64(record.disabled());
    for sink in record.sinks {
        line.flush(out);
        escape::for_terminal(out, &format!(" {}: {}", sink.name, metrics_line(SINK, &sink.snapshot)));
        if let Some(why) = &sink.why {
            escape::for_terminal(out, &format!(" down ({})", shortened(why)));
        }
    }
}
