//! `-o json` of an event stream: one JSON object per line, described by `docs/event.schema.json`.
//!
//! As in a list, every key has one type, and a key without a value is absent. The entry is the value of
//! `flow`; the record of an ended connection is flat.

use std::sync::Arc;

use super::context::{LineContext, SEQ};
use super::duration::{DurationNanos, duration};
use super::expectation::put_expectation;
use super::heartbeat::{self, HeartbeatRecord};
use super::record::{
    BeginRecord, ClockSource, CloseRecord, EndRecord, ExpectationRecord, FlowRecord, GapRecord, LastPacket, OpenRecord,
    Record, Requester, ResyncRecord, StartTime, SyntheticCause,
};
use super::time_text::TimeText;
use super::write::WriteRecords;
use crate::model::{EventKind, Flow, L4, LabelNames, Protocol, Status, Tuple};
use crate::output::cursor::{Line, Scratch};
use crate::output::json::{boolean, number, number64, plain_string, put_flow, put_protocols, put_state, put_string};
use crate::units::Nanos;

/// Every line of this version begins with it.
const VERSION: &[u8] = b"{\"v\":1,";

/// Writes records as JSON.
#[derive(Debug, Clone)]
pub(in crate::output) struct EventJson {
    labels: Option<Arc<LabelNames>>,
    scratch: Scratch,
    /// The beginning of each line, and its end: the same bytes for the whole stream.
    beginning: Vec<u8>,
    end: Vec<u8>,
    /// The beginning ends with the name of the stream, within `line_id`.
    has_line_id: bool,
    time: Option<TimeText>,
}

impl WriteRecords for EventJson {
    fn set_context(&mut self, context: &LineContext) {
        self.beginning = context.json_beginning();
        self.end = context.json_end();
        self.has_line_id = context.stream().is_some();
        self.time = context.zone.clone().map(TimeText::new);
    }

    fn is_line(&self, line: &[u8]) -> bool {
        // Of a torn line only the beginning may be there.
        let (common, version) = (line.len().min(VERSION.len()), VERSION);
        !line.is_empty() && line.get(..common) == version.get(..common)
    }

    #[inline]
    fn record(&mut self, out: &mut Vec<u8>, seq: u64, record: &Record<'_>) -> bool {
        EventJson::record(self, out, seq, record);
        true
    }
}

impl EventJson {
    pub(in crate::output) fn new(labels: Option<Arc<LabelNames>>) -> Self {
        let context = LineContext::default();
        let (beginning, end) = (context.json_beginning(), context.json_end());
        EventJson { labels, scratch: Scratch::new(), beginning, end, has_line_id: false, time: None }
    }

    /// Appends one line.
    #[inline]
    pub(super) fn record(&mut self, out: &mut Vec<u8>, seq: u64, record: &Record<'_>) {
        let mut line = self.scratch.cursor();
        line.text(&self.beginning);
        if self.has_line_id {
            line.decimal64(seq);
            line.put(b"\"");
            line.put(SEQ);
        }
        line.decimal64(seq);
        if let Some(time) = &mut self.time {
            line.out_of_line(|line| put_time_text(line, time, record));
        }
        match record {
            Record::Flow(record) => put_event(&mut line, out, record, self.labels.as_deref()),
            other => line.out_of_line(|line| put_other(line, out, other)),
        }
        line.text(&self.end);
        line.flush(out);
    }
}

#[inline(always)]
fn put_event(line: &mut Line<'_>, out: &mut Vec<u8>, record: &FlowRecord<'_>, names: Option<&LabelNames>) {
    match record.kind {
        EventKind::New => line.put(b",\"event\":\"new\""),
        EventKind::Update => line.put(b",\"event\":\"update\""),
        EventKind::Destroy => line.put(b",\"event\":\"destroy\""),
    }
    put_synthetic(line, record.synthetic);
    put_time(line, record.time.ns);
    put_clock(line, record.time.clock);
    put_context(line, out, record.netns, record.killed, record.requester);
    if let Some(start) = record.start {
        put_start(line, start, duration(Some(start), record.time, record.synthetic));
    }
    line.put(b",\"flow\":{");
    put_flow(line, out, record.subject.flow, names);
    line.put(b"}");
}

#[inline(never)]
fn put_time_text(line: &mut Line<'_>, time: &mut TimeText, record: &Record<'_>) {
    line.put(b",\"time\":\"");
    time.put(line, record.time());
    line.put(b"\"");
}

#[inline(never)]
fn put_other(line: &mut Line<'_>, out: &mut Vec<u8>, record: &Record<'_>) {
    match record {
        Record::Open(opening) => put_open(line, out, opening),
        Record::Begin(begun) => put_begin(line, out, begun),
        Record::End(ended) => put_end(line, out, ended),
        Record::Expectation(record) => put_expectation_event(line, out, record),
        Record::Gap(gap) => put_gap(line, out, gap),
        Record::Resync(resynced) => put_resync(line, out, resynced),
        Record::Heartbeat(heartbeat) => put_heartbeat(line, out, heartbeat),
        Record::Close(closing) => put_close(line, out, closing),
        Record::Flow(_) => {}
    }
}

fn put_open(line: &mut Line<'_>, out: &mut Vec<u8>, opening: &OpenRecord<'_>) {
    line.put(b",\"event\":\"open\"");
    put_time(line, opening.time);
    put_string(line, out, b",\"version\":", opening.version);
}

fn put_heartbeat(line: &mut Line<'_>, out: &mut Vec<u8>, record: &HeartbeatRecord<'_>) {
    line.put(b",\"event\":\"heartbeat\"");
    put_time(line, record.time);
    heartbeat::put_json(line, out, record);
}

fn put_close(line: &mut Line<'_>, out: &mut Vec<u8>, closing: &CloseRecord<'_>) {
    line.put(b",\"event\":\"close\"");
    put_time(line, closing.time);
    put_string(line, out, b",\"reason\":", closing.reason);
    number64(line, b",\"received\":", Some(closing.received));
    number64(line, b",\"lost\":", Some(closing.lost));
    number64(line, b",\"uncounted_losses\":", Some(closing.uncounted_losses));
    number64(line, b",\"records\":", Some(closing.records));
}

fn put_gap(line: &mut Line<'_>, out: &mut Vec<u8>, gap: &GapRecord<'_>) {
    line.put(b",\"event\":\"gap\"");
    put_time(line, gap.to);
    plain_string(line, b",\"cause\":\"", Some(gap.cause.name()));
    number64(line, b",\"lost\":", gap.lost);
    number64(line, b",\"from_ns\":", Some(gap.from));
    number64(line, b",\"to_ns\":", Some(gap.to));
    put_netns(line, out, gap.netns);
}

fn put_resync(line: &mut Line<'_>, out: &mut Vec<u8>, resynced: &ResyncRecord<'_>) {
    line.put(b",\"event\":\"resync\"");
    put_time(line, resynced.time);
    plain_string(line, b",\"reason\":\"", Some(resynced.reason.name()));
    number64(line, b",\"entries\":", resynced.entries);
    number64(line, b",\"added\":", Some(resynced.added));
    number64(line, b",\"removed\":", Some(resynced.removed));
    put_netns(line, out, resynced.netns);
}

fn put_expectation_event(line: &mut Line<'_>, out: &mut Vec<u8>, record: &ExpectationRecord<'_>) {
    match record.kind {
        EventKind::New => line.put(b",\"event\":\"expect-new\""),
        EventKind::Update => line.put(b",\"event\":\"expect-update\""),
        EventKind::Destroy => line.put(b",\"event\":\"expect-destroy\""),
    }
    put_synthetic(line, record.synthetic);
    put_time(line, record.time.ns);
    put_clock(line, record.time.clock);
    put_context(line, out, record.netns, None, record.requester);
    put_expectation(line, out, record.expectation);
}

/// The flat record of `--flows=both` at the beginning.
fn put_begin(line: &mut Line<'_>, out: &mut Vec<u8>, begun: &BeginRecord<'_>) {
    line.put(b",\"event\":\"begin\"");
    put_synthetic(line, begun.synthetic);
    put_time(line, begun.time.ns);
    put_clock(line, begun.time.clock);
    put_context(line, out, begun.netns, None, begun.requester);
    if let Some(start) = begun.start {
        put_start(line, start, None);
    }
    put_connection(line, begun.flow);
}

/// The flat record of `--flows`.
fn put_end(line: &mut Line<'_>, out: &mut Vec<u8>, ended: &EndRecord<'_>) {
    line.put(b",\"event\":\"end\"");
    put_synthetic(line, ended.synthetic);
    put_time(line, ended.end.ns);
    put_clock(line, ended.end.clock);
    put_context(line, out, ended.netns, ended.killed, ended.requester);
    if let Some(start) = ended.start {
        put_start(line, start, duration(Some(start), ended.end, ended.synthetic));
    }
    if let Some(LastPacket { after, before }) = ended.last_packet {
        number64(line, b",\"last_packet_after_ns\":", after);
        number64(line, b",\"last_packet_before_ns\":", Some(before));
    }
    put_connection(line, ended.flow);
}

/// The connection of a flat record.
fn put_connection(line: &mut Line<'_>, flow: &Flow) {
    line.put(b",");
    put_protocols(line, flow.family, flow.orig.protocol);
    put_state(line, &flow.protoinfo);
    put_original(line, &flow.orig);
    put_translation(line, flow);
    if let Some(counters) = flow.counters_orig {
        number64(line, b",\"packets_orig\":", Some(counters.packets));
        number64(line, b",\"bytes_orig\":", Some(counters.bytes));
    }
    if let Some(counters) = flow.counters_reply {
        number64(line, b",\"packets_reply\":", Some(counters.packets));
        number64(line, b",\"bytes_reply\":", Some(counters.bytes));
    }
    number(line, b",\"mark\":", flow.mark);
    number(line, b",\"zone\":", flow.zone_both.map(u32::from));
    number(line, b",\"zone_orig\":", flow.orig.zone.map(u32::from));
    number(line, b",\"zone_reply\":", flow.reply.zone.map(u32::from));
}

/// The original direction: addresses, and ports, keys or ICMP values.
fn put_original(line: &mut Line<'_>, tuple: &Tuple) {
    put_address(line, b",\"src\":\"", &tuple.src);
    put_address(line, b",\"dst\":\"", &tuple.dst);
    match tuple.l4 {
        L4::None => {}
        L4::Ports { src, dst } if tuple.protocol == Protocol::Gre => {
            number(line, b",\"srckey\":", Some(src.into()));
            number(line, b",\"dstkey\":", Some(dst.into()));
        }
        L4::Ports { src, dst } => {
            number(line, b",\"sport\":", Some(src.into()));
            number(line, b",\"dport\":", Some(dst.into()));
        }
        L4::Icmp { kind, code, id } => {
            number(line, b",\"icmp_type\":", Some(kind.into()));
            number(line, b",\"icmp_code\":", Some(code.into()));
            number(line, b",\"icmp_id\":", Some(id.into()));
        }
    }
}

/// The translated source and destination. For each that NAT rewrites, both address and port are written,
/// even if only one of them differs.
fn put_translation(line: &mut Line<'_>, flow: &Flow) {
    let (reply, is_gre) = (&flow.reply, flow.reply.protocol == Protocol::Gre);
    if flow.status.contains(Status::SrcNat) {
        put_address(line, b",\"nat_src\":\"", &reply.dst);
        match reply.l4 {
            L4::None => {}
            L4::Ports { dst, .. } if is_gre => number(line, b",\"nat_srckey\":", Some(dst.into())),
            L4::Ports { dst, .. } => number(line, b",\"nat_sport\":", Some(dst.into())),
            L4::Icmp { id, .. } => number(line, b",\"nat_icmp_id\":", Some(id.into())),
        }
    }
    if flow.status.contains(Status::DstNat) {
        put_address(line, b",\"nat_dst\":\"", &reply.src);
        match reply.l4 {
            L4::None | L4::Icmp { .. } => {}
            L4::Ports { src, .. } if is_gre => number(line, b",\"nat_dstkey\":", Some(src.into())),
            L4::Ports { src, .. } => number(line, b",\"nat_dport\":", Some(src.into())),
        }
    }
}

fn put_address<const N: usize>(line: &mut Line<'_>, key: &[u8; N], address: &std::net::IpAddr) {
    line.put(key);
    line.address(address);
    line.put(b"\"");
}

#[inline(always)]
fn put_time(line: &mut Line<'_>, ns: u64) {
    line.put(b",\"time_ns\":");
    line.decimal64(ns);
}

#[inline(always)]
fn put_clock(line: &mut Line<'_>, clock: ClockSource) {
    match clock {
        ClockSource::Kernel => line.put(b",\"clock\":\"kernel\""),
        ClockSource::Received => line.put(b",\"clock\":\"received\""),
    }
}

#[inline(always)]
fn put_synthetic(line: &mut Line<'_>, synthetic: Option<SyntheticCause>) {
    plain_string(line, b",\"synthetic\":\"", synthetic.map(SyntheticCause::name));
}

#[inline(always)]
fn put_context(
    line: &mut Line<'_>,
    out: &mut Vec<u8>,
    netns: Option<&str>,
    killed: Option<bool>,
    requester: Option<Requester<'_>>,
) {
    put_netns(line, out, netns);
    if let Some(killed) = killed {
        line.put(b",\"killed\":");
        boolean(line, killed);
    }
    if let Some(requester) = requester {
        line.out_of_line(|line| put_requester(line, out, requester));
    }
}

#[inline(never)]
fn put_requester(line: &mut Line<'_>, out: &mut Vec<u8>, requester: Requester<'_>) {
    number(line, b",\"requester\":{\"port\":", Some(requester.port));
    if let Some(process) = requester.process {
        put_string(line, out, b",\"process\":", process);
        if !requester.is_certain {
            line.put(b",\"guess\":true");
        }
    }
    line.put(b"}");
}

#[inline(always)]
fn put_start(line: &mut Line<'_>, start: StartTime, duration: Option<DurationNanos>) {
    match start {
        StartTime::Exact(ns) => {
            number64(line, b",\"since_ns\":", Some(ns));
            line.put(b",\"since_clock\":\"kernel\",\"since\":\"exactly\"");
        }
        StartTime::After(ns) => {
            number64(line, b",\"since_ns\":", Some(ns));
            line.put(b",\"since_clock\":\"received\",\"since\":\"after\"");
        }
        StartTime::Before(ns) => {
            number64(line, b",\"since_ns\":", Some(ns));
            line.put(b",\"since_clock\":\"received\",\"since\":\"before\"");
        }
    }
    match duration {
        Some(DurationNanos::Exact(Nanos(ns))) => number64(line, b",\"duration_ns\":", Some(ns)),
        Some(DurationNanos::AtLeast(Nanos(ns))) => number64(line, b",\"duration_at_least_ns\":", Some(ns)),
        Some(DurationNanos::AtMost(Nanos(ns))) => number64(line, b",\"duration_at_most_ns\":", Some(ns)),
        None => {}
    }
}

#[inline(always)]
fn put_netns(line: &mut Line<'_>, out: &mut Vec<u8>, netns: Option<&str>) {
    if let Some(netns) = netns {
        line.out_of_line(|line| put_string(line, out, b",\"netns\":", netns));
    }
}
