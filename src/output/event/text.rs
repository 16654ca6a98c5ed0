//! `-o conntrack` of an event stream: the line that `conntrack -E` prints, byte for byte.
//!
//! What conntrack(8) does not print is appended to its line (`netns=`, `[SEED]`) or is a line of its own
//! (`[GAP]`, `[HEARTBEAT]`). Open, resync and close records have no line. With `timestamp` the time is that of the
//! record: the kernel's if it sends one, while conntrack(8) always prints its own clock.

use super::context::LineContext;
use super::heartbeat;
use super::record::{
    BeginRecord, EndRecord, ExpectationRecord, FlowRecord, GapRecord, Record, Requester, SyntheticCause,
};
use super::time_text::TimeText;
use super::write::WriteRecords;
use crate::model::{EXPECTATION_FLAGS, EventKind, Expectation, Flow};
use crate::output::cursor::{Line, Scratch};
use crate::output::escape;
use crate::output::text::{TextOptions, put_entry, put_l4};

const MICROSECOND: u64 = 1_000;
const SECOND: u64 = 1_000_000_000;

/// What the line of a record begins with, behind the time.
const TAGS: [&[u8]; 5] = [b"    [NEW] ", b" [UPDATE] ", b"[DESTROY] ", b"    [GAP] ", b"[HEARTBEAT] "];

/// Writes records as `conntrack -E` does.
#[derive(Debug, Clone)]
pub(in crate::output) struct EventText {
    options: TextOptions,
    scratch: Scratch,
    /// Instead of the seconds of `timestamp`.
    time: Option<TimeText>,
}

impl WriteRecords for EventText {
    fn set_context(&mut self, context: &LineContext) {
        self.time = context.zone.clone().map(TimeText::new);
        self.options.timestamp &= self.time.is_none();
    }

    fn is_line(&self, line: &[u8]) -> bool {
        let is_time = |byte: &u8| byte.is_ascii_digit() || b".-+:TZ".contains(byte);
        let event = match line.strip_prefix(b"[").map(|rest| rest.iter().position(|byte| !is_time(byte))) {
            // `[1700000000.123456]`, or a time of RFC 3339, and a tab.
            Some(Some(length)) if length > 0 => line.get(length + 3..).unwrap_or_default(),
            _ => line,
        };
        TAGS.iter().any(|tag| event.starts_with(tag))
    }

    #[inline]
    fn record(&mut self, out: &mut Vec<u8>, _seq: u64, record: &Record<'_>) -> bool {
        EventText::record(self, out, record)
    }
}

impl EventText {
    pub(in crate::output) fn new(options: TextOptions) -> Self {
        EventText { options: options.without_empty_names(), scratch: Scratch::new(), time: None }
    }

    /// Appends one line; false if there is none for this record.
    #[inline]
    pub(super) fn record(&mut self, out: &mut Vec<u8>, record: &Record<'_>) -> bool {
        let mut line = self.scratch.cursor();
        let options = &self.options;
        if let Some(time) = &mut self.time {
            line.out_of_line(|line| put_time_text(line, time, record));
        }
        match record {
            Record::Flow(record) => put_event(&mut line, out, record, options),
            Record::Begin(begun) => line.out_of_line(|line| put_begin(line, out, begun, options)),
            Record::End(ended) => line.out_of_line(|line| put_end(line, out, ended, options)),
            Record::Expectation(record) => line.out_of_line(|line| put_expectation(line, out, record, options)),
            Record::Gap(gap) => line.out_of_line(|line| put_gap(line, out, gap, options)),
            Record::Heartbeat(heartbeat) => line.out_of_line(|line| {
                if options.timestamp {
                    put_timestamp(line, heartbeat.time);
                }
                heartbeat::put_text(line, out, heartbeat);
            }),
            Record::Open(_) | Record::Resync(_) | Record::Close(_) => return false,
        }
        line.put(b"\n");
        line.flush(out);
        true
    }
}

#[inline(always)]
fn put_event(line: &mut Line<'_>, out: &mut Vec<u8>, record: &FlowRecord<'_>, options: &TextOptions) {
    put_prefix(line, record.kind, record.time.ns, options);
    let flow = record.subject.flow;
    put_entry(line, out, flow, shown_mark(flow, record.is_mark_implied), record.time.ns, options);
    line.trim_space();
    put_context(line, out, record.requester, record.netns, record.synthetic);
}

/// Written as a new event.
#[inline(never)]
fn put_begin(line: &mut Line<'_>, out: &mut Vec<u8>, begun: &BeginRecord<'_>, options: &TextOptions) {
    let flow: &Flow = begun.flow;
    put_prefix(line, EventKind::New, begun.time.ns, options);
    put_entry(line, out, flow, shown_mark(flow, begun.is_mark_implied), begun.time.ns, options);
    line.trim_space();
    put_context(line, out, begun.requester, begun.netns, begun.synthetic);
}

/// Written as a destroy event.
#[inline(never)]
fn put_end(line: &mut Line<'_>, out: &mut Vec<u8>, ended: &EndRecord<'_>, options: &TextOptions) {
    let flow: &Flow = ended.flow;
    put_prefix(line, EventKind::Destroy, ended.end.ns, options);
    put_entry(line, out, flow, shown_mark(flow, ended.is_mark_implied), ended.end.ns, options);
    line.trim_space();
    put_context(line, out, ended.requester, ended.netns, ended.synthetic);
}

#[inline(always)]
fn shown_mark(flow: &Flow, is_implied: bool) -> Option<u32> {
    if is_implied { None } else { flow.mark }
}

#[inline(always)]
fn put_prefix(line: &mut Line<'_>, kind: EventKind, ns: u64, options: &TextOptions) {
    if options.timestamp {
        line.out_of_line(|line| put_timestamp(line, ns));
    }
    match kind {
        EventKind::New => line.put(b"    [NEW] "),
        EventKind::Update => line.put(b" [UPDATE] "),
        EventKind::Destroy => line.put(b"[DESTROY] "),
    }
}

#[inline(never)]
fn put_time_text(line: &mut Line<'_>, time: &mut TimeText, record: &Record<'_>) {
    line.put(b"[");
    time.put(line, record.time());
    line.put(b"]\t");
}

#[inline(never)]
fn put_timestamp(line: &mut Line<'_>, ns: u64) {
    line.put(b"[");
    put_seconds(line, ns);
    line.put(b"]\t");
}

/// Seconds with at least eight digits, and six after the point.
fn put_seconds(line: &mut Line<'_>, ns: u64) {
    put_padded(line, ns / SECOND, 8);
    line.put(b".");
    put_padded(line, ns % SECOND / MICROSECOND, 6);
}

fn put_padded(line: &mut Line<'_>, value: u64, digits: u32) {
    let found = value.checked_ilog10().unwrap_or(0) + 1;
    (found..digits).for_each(|_| line.put(b"0"));
    line.decimal64(value);
}

#[inline(always)]
fn put_context(
    line: &mut Line<'_>,
    out: &mut Vec<u8>,
    requester: Option<Requester<'_>>,
    netns: Option<&str>,
    synthetic: Option<SyntheticCause>,
) {
    if let Some(requester) = requester {
        line.out_of_line(|line| put_requester(line, out, requester));
    }
    if let Some(netns) = netns {
        line.out_of_line(|line| put_name(line, out, b" netns=", netns));
    }
    match synthetic {
        None => {}
        Some(SyntheticCause::Seed) => line.put(b" [SEED]"),
        Some(SyntheticCause::Resync) => line.put(b" [RESYNC]"),
        Some(SyntheticCause::Reconcile) => line.put(b" [RECONCILE]"),
        Some(SyntheticCause::Netns) => line.put(b" [NETNS]"),
    }
}

#[inline(never)]
fn put_requester(line: &mut Line<'_>, out: &mut Vec<u8>, requester: Requester<'_>) {
    line.put(b" [USERSPACE] portid=");
    line.decimal(requester.port);
    if let Some(process) = requester.process {
        put_name(line, out, b" progname=", process);
    }
}

/// Appends a name, with control characters escaped.
#[inline(never)]
fn put_name<const N: usize>(line: &mut Line<'_>, out: &mut Vec<u8>, key: &[u8; N], name: &str) {
    line.put(key);
    if name.len() <= 256 && name.bytes().all(|byte| matches!(byte, b' '..=b'~')) {
        line.text(name.as_bytes());
    } else {
        line.flush(out);
        escape::for_terminal(out, name);
    }
}

#[inline(never)]
fn put_gap(line: &mut Line<'_>, out: &mut Vec<u8>, gap: &GapRecord<'_>, options: &TextOptions) {
    if options.timestamp {
        put_timestamp(line, gap.to);
    }
    line.put(b"    [GAP] lost=");
    match gap.lost {
        Some(lost) => line.decimal64(lost),
        None => line.put(b"unknown"),
    }
    line.put(b" cause=");
    line.text(gap.cause.name().as_bytes());
    line.put(b" from=");
    put_seconds(line, gap.from);
    line.put(b" to=");
    put_seconds(line, gap.to);
    if let Some(netns) = gap.netns {
        put_name(line, out, b" netns=", netns);
    }
}

/// conntrack(8) prints neither id, family nor requester of an expectation, whatever the options.
#[inline(never)]
fn put_expectation(line: &mut Line<'_>, out: &mut Vec<u8>, record: &ExpectationRecord<'_>, options: &TextOptions) {
    put_prefix(line, record.kind, record.time.ns, options);
    put_expected(line, out, record.expectation);
    line.trim_space();
    put_context(line, out, None, record.netns, record.synthetic);
}

/// Appends the line of `conntrack -L expect`.
pub fn expectation_line(out: &mut Vec<u8>, expectation: &Expectation) {
    let mut scratch = Scratch::new();
    let mut line = scratch.cursor();
    put_expected(&mut line, out, expectation);
    line.trim_space();
    line.put(b"\n");
    line.flush(out);
}

#[inline(never)]
fn put_expected(line: &mut Line<'_>, out: &mut Vec<u8>, expectation: &Expectation) {
    if let Some(timeout) = expectation.timeout {
        line.decimal(timeout);
        line.put(b" ");
    }
    line.put(b"proto=");
    line.decimal(u8::from(expectation.tuple.protocol).into());
    for (src, dst, tuple) in [
        (&b" src="[..], &b" dst="[..], &expectation.tuple),
        (b"mask-src=", b" mask-dst=", &expectation.mask),
        (b"master-src=", b" master-dst=", &expectation.master),
    ] {
        line.text(src);
        line.address(&tuple.src);
        line.text(dst);
        line.address(&tuple.dst);
        line.put(b" ");
        put_l4(line, tuple, None);
    }
    if let Some(zone) = expectation.zone {
        line.put(b"zone=");
        line.decimal(zone.into());
        line.put(b" ");
    }
    put_flags(line, expectation.flags);
    if let Some(class) = expectation.class {
        line.put(b"class=");
        line.decimal(class);
        line.put(b" ");
    }
    if let Some(helper) = &expectation.helper {
        put_name(line, out, b"helper=", helper.as_str());
        line.put(b" ");
    }
}

/// `PERMANENT,INACTIVE `; nothing if no set flag has a name.
fn put_flags(line: &mut Line<'_>, flags: u32) {
    let mut any = false;
    for (_, name) in (0..).zip(EXPECTATION_FLAGS).filter(|(bit, _)| flags >> bit & 1 == 1) {
        if any {
            line.trim_space();
            line.put(b",");
        }
        line.text(name.to_ascii_uppercase().as_bytes());
        line.put(b" ");
        any = true;
    }
}
