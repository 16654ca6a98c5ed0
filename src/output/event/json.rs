//! `-o json` of an event stream: one JSON object per line, described by `docs/event.schema.json`.
//!
//! As in a list, every key has one type, and a key without a value is absent. The entry is the value of
//! `flow`; the record of an ended connection is flat.

use std::sync::Arc;

use super::context::{LineContext, SEQ};
use super::duration::duration;
use super::expectation::put_expectation;
use super::flat::{put_begin, put_end};
use super::heartbeat::{self, HeartbeatRecord};
use super::members::{put_clock, put_context, put_netns, put_start, put_synthetic, put_time};
use super::record::{CloseRecord, ExpectationRecord, FlowRecord, GapRecord, OpenRecord, Record, ResyncRecord};
use super::time_text::TimeText;
use super::write::WriteRecords;
use crate::model::{EventKind, LabelNames};
use crate::output::cursor::{Line, Scratch};
use crate::output::json::{number64, plain_string, put_flow, put_string};

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
