//! `-o json` of an event stream: one JSON object on each line, as
//! `docs/event.schema.json` has it.
//!
//! As in a list, every key has one type, and a key without a value is absent. What
//! an entry has is under `flow`; the record of a connection that is over is flat.

use std::sync::Arc;

use super::duration::{DurationNanos, duration};
use super::expectation::put_expectation;
use super::record::{
    Clock, Closing, Ended, ExpectationRecord, FlowRecord, Gap, Opening, Record, Requester, Resynced, Since, Synthetic,
};
use super::write::WriteRecords;
use crate::model::{EventKind, Flow, L4, LabelNames, Protocol, Status, Tuple};
use crate::output::cursor::{Line, Scratch};
use crate::output::escape;
use crate::output::json::{boolean, number, number64, put_flow, put_protocols, put_state, word};
use crate::units::Nanos;

/// Writes records as JSON.
#[derive(Debug, Clone)]
pub(in crate::output) struct EventJson {
    labels: Option<Arc<LabelNames>>,
    scratch: Scratch,
}

impl WriteRecords for EventJson {
    #[inline]
    fn record(&mut self, out: &mut Vec<u8>, seq: u64, record: &Record<'_>) -> bool {
        EventJson::record(self, out, seq, record);
        true
    }
}

impl EventJson {
    pub(in crate::output) fn new(labels: Option<Arc<LabelNames>>) -> Self {
        EventJson { labels, scratch: Scratch::new() }
    }

    /// Appends one line.
    #[inline]
    pub(super) fn record(&mut self, out: &mut Vec<u8>, seq: u64, record: &Record<'_>) {
        let mut line = self.scratch.cursor();
        line.put(b"{\"v\":1,\"seq\":");
        line.decimal64(seq);
        match record {
            Record::Flow(record) => put_event(&mut line, out, record, self.labels.as_deref()),
            other => line.out_of_line(|line| put_other(line, out, other)),
        }
        line.put(b"}\n");
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
    put_circumstances(line, out, record.netns, record.killed, record.requester);
    if let Some(since) = record.since {
        put_since(line, since, duration(Some(since), record.time, record.synthetic));
    }
    line.put(b",\"flow\":{");
    put_flow(line, out, record.subject.flow, names);
    line.put(b"}");
}

#[inline(never)]
fn put_other(line: &mut Line<'_>, out: &mut Vec<u8>, record: &Record<'_>) {
    match record {
        Record::Opening(opening) => put_opening(line, out, opening),
        Record::Ended(ended) => put_ended(line, out, ended),
        Record::Expectation(record) => put_expectation_event(line, out, record),
        Record::Gap(gap) => put_gap(line, out, gap),
        Record::Resynced(resynced) => put_resynced(line, out, resynced),
        Record::Closing(closing) => put_closing(line, out, closing),
        Record::Flow(_) => {}
    }
}

fn put_opening(line: &mut Line<'_>, out: &mut Vec<u8>, opening: &Opening<'_>) {
    line.put(b",\"event\":\"open\"");
    put_time(line, opening.time);
    put_name(line, out, b",\"stream\":", opening.stream);
    put_name(line, out, b",\"version\":", opening.version);
}

fn put_closing(line: &mut Line<'_>, out: &mut Vec<u8>, closing: &Closing<'_>) {
    line.put(b",\"event\":\"close\"");
    put_time(line, closing.time);
    put_name(line, out, b",\"reason\":", closing.reason);
    number64(line, b",\"received\":", Some(closing.received));
    number64(line, b",\"lost\":", Some(closing.lost));
    number64(line, b",\"uncounted_losses\":", Some(closing.uncounted_losses));
    number64(line, b",\"records\":", Some(closing.records));
}

fn put_gap(line: &mut Line<'_>, out: &mut Vec<u8>, gap: &Gap<'_>) {
    line.put(b",\"event\":\"gap\"");
    put_time(line, gap.to);
    word(line, b",\"cause\":\"", Some(gap.cause.name()));
    number64(line, b",\"lost\":", gap.lost);
    number64(line, b",\"from_ns\":", Some(gap.from));
    number64(line, b",\"to_ns\":", Some(gap.to));
    put_netns(line, out, gap.netns);
}

fn put_resynced(line: &mut Line<'_>, out: &mut Vec<u8>, resynced: &Resynced<'_>) {
    line.put(b",\"event\":\"resync\"");
    put_time(line, resynced.time);
    word(line, b",\"reason\":\"", Some(resynced.why.name()));
    number64(line, b",\"entries\":", Some(resynced.entries));
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
    put_time(line, record.time.ns);
    put_clock(line, record.time.clock);
    put_circumstances(line, out, record.netns, None, record.requester);
    put_expectation(line, out, record.expectation);
}

/// The line of `--flows`: flat, for a log of who had which address.
fn put_ended(line: &mut Line<'_>, out: &mut Vec<u8>, ended: &Ended<'_>) {
    let flow = ended.flow;
    line.put(b",\"event\":\"end\"");
    put_synthetic(line, ended.synthetic);
    put_time(line, ended.end.ns);
    put_clock(line, ended.end.clock);
    put_circumstances(line, out, ended.netns, ended.killed, ended.requester);
    if let Some(start) = ended.start {
        put_since(line, start, duration(Some(start), ended.end, ended.synthetic));
    }
    line.put(b",");
    put_protocols(line, flow.family, flow.orig.protocol);
    put_state(line, &flow.protoinfo);
    put_ends(line, &flow.orig);
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

/// Who spoke to whom, as the one who opened it sees it.
fn put_ends(line: &mut Line<'_>, tuple: &Tuple) {
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

/// What the other side saw instead: of each rewritten end the address and the port,
/// also where only one of them was rewritten.
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
fn put_clock(line: &mut Line<'_>, clock: Clock) {
    match clock {
        Clock::Kernel => line.put(b",\"clock\":\"kernel\""),
        Clock::Received => line.put(b",\"clock\":\"received\""),
    }
}

#[inline(always)]
fn put_synthetic(line: &mut Line<'_>, synthetic: Option<Synthetic>) {
    word(line, b",\"synthetic\":\"", synthetic.map(Synthetic::name));
}

#[inline(always)]
fn put_circumstances(
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
        put_name(line, out, b",\"process\":", process);
        if !requester.is_certain {
            line.put(b",\"guess\":true");
        }
    }
    line.put(b"}");
}

#[inline(always)]
fn put_since(line: &mut Line<'_>, since: Since, duration: Option<DurationNanos>) {
    match since {
        Since::Exactly(ns) => {
            number64(line, b",\"since_ns\":", Some(ns));
            line.put(b",\"since\":\"exactly\"");
        }
        Since::Before(ns) => {
            number64(line, b",\"since_ns\":", Some(ns));
            line.put(b",\"since\":\"before\"");
        }
    }
    match duration {
        Some(DurationNanos::Exactly(Nanos(ns))) => number64(line, b",\"duration_ns\":", Some(ns)),
        Some(DurationNanos::AtLeast(Nanos(ns))) => number64(line, b",\"duration_at_least_ns\":", Some(ns)),
        Some(DurationNanos::AtMost(Nanos(ns))) => number64(line, b",\"duration_at_most_ns\":", Some(ns)),
        None => {}
    }
}

#[inline(always)]
fn put_netns(line: &mut Line<'_>, out: &mut Vec<u8>, netns: Option<&str>) {
    if let Some(netns) = netns {
        line.out_of_line(|line| put_name(line, out, b",\"netns\":", netns));
    }
}

/// A name from outside. Nearly all are short and plain.
#[inline(never)]
pub(super) fn put_name<const N: usize>(line: &mut Line<'_>, out: &mut Vec<u8>, key: &[u8; N], name: &str) {
    line.put(key);
    if name.len() <= 256 && name.bytes().all(|byte| matches!(byte, b' '..=b'~') && byte != b'"' && byte != b'\\') {
        line.put(b"\"");
        line.text(name.as_bytes());
        line.put(b"\"");
    } else {
        line.flush(out);
        escape::json_string(out, name);
    }
}
