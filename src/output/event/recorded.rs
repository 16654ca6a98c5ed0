//! Tests with recorded events (`tests/data`) and what `conntrack -E` printed for them.

use std::sync::Arc;

use super::*;
use crate::field::Subject;
use crate::model::{Event, EventKind, Expectation, ExpectationEvent, Flow, LabelNames};
use crate::output::sample;
use crate::output::{CONNTRACK, FORMATS, TextOptions, WriterOptions};
use crate::wire::{Message, Messages};

const EVENTS: &[u8] = include_bytes!("../../../tests/data/events.bin");
const EXPECTATIONS: &[u8] = include_bytes!("../../../tests/data/expectations.bin");

fn messages(recording: &'static [u8]) -> impl Iterator<Item = Message<'static>> {
    Messages::new(recording).map(Result::unwrap)
}

/// The recorded events.
pub(super) fn events() -> Vec<Event> {
    let kind = |message: &Message<'_>| match (message.kind, message.flags) {
        (0x102, _) => EventKind::Destroy,
        (_, 0) => EventKind::Update,
        _ => EventKind::New,
    };
    let event = |message: Message<'_>| {
        let mut event = Event::blank();
        event.decode_from(kind(&message), &message).unwrap();
        event
    };
    messages(EVENTS).map(event).collect()
}

/// The recorded events of expectations.
pub(super) fn expectations() -> Vec<ExpectationEvent> {
    messages(EXPECTATIONS)
        .inspect(|message| assert!(Expectation::is_in(message) && !Flow::is_in(message)))
        .map(|message| ExpectationEvent::decode(&message).unwrap())
        .collect()
}

/// What is not in the datagram: the time at which conntrack(8) received it, and the name of the process.
fn time_and_process(line: &str) -> (EventTime, Option<&str>) {
    let time = line.strip_prefix('[').and_then(|line| line.split_once("]\t"));
    let digits = time.map_or_else(String::new, |(time, _)| time.replace('.', "") + "000");
    let stamp = EventTime { ns: digits.parse().unwrap_or(0), clock: ClockSource::Received };
    (stamp, line.split_once(" progname=").map(|(_, name)| name))
}

fn compare(expected: &str, options: TextOptions) {
    let mut lines = expected.lines();
    let mut writer = CONNTRACK.event_writer(WriterOptions { text: options, columns: None }).unwrap();
    let ages = sample::ages(0);
    for Event { kind, port, flow, is_mark_implied } in events() {
        let line = lines.next().unwrap();
        let (time, process) = time_and_process(line);
        let requester = (port != 0).then_some(Requester { port, process, is_certain: true });
        let subject = &Subject::of_event(&flow, &ages, kind);
        let (synthetic, start, killed, netns) = (None, None, None, None);
        let record = FlowRecord { kind, synthetic, time, subject, start, killed, requester, netns, is_mark_implied };
        let mut out = Vec::new();
        assert!(writer.record(&mut out, 1, &Record::Flow(record)));
        assert_eq!(std::str::from_utf8(&out).unwrap(), format!("{line}\n"));
    }
    assert_eq!(lines.next(), None);
}

#[test]
#[cfg(target_endian = "little")]
fn the_text_is_what_conntrack_printed_for_the_same_events() {
    compare(include_str!("../../../tests/data/events.conntrack"), TextOptions::default());
    let names = LabelNames::parse("3 important\n127 last\n");
    let all = TextOptions {
        extended: true,
        id: true,
        timestamp: true,
        ktimestamp: true,
        labels: Some(Arc::new(names)),
        zone: None,
    };
    compare(include_str!("../../../tests/data/events.conntrack-all"), all);
}

#[test]
#[cfg(target_endian = "little")]
fn the_text_of_expectations_is_what_conntrack_printed_for_the_same_events() {
    let mut writer = CONNTRACK.event_writer(WriterOptions::default()).unwrap();
    let time = EventTime { ns: 0, clock: ClockSource::Received };
    let mut out = Vec::new();
    for ExpectationEvent { kind, expectation, .. } in &expectations() {
        let record =
            ExpectationRecord { kind: *kind, synthetic: None, time, expectation, requester: None, netns: None };
        assert!(writer.record(&mut out, 1, &Record::Expectation(record)));
    }
    assert_eq!(String::from_utf8(out).unwrap(), include_str!("../../../tests/data/expectations.conntrack"));
}

#[test]
fn a_format_writes_expectations_if_its_registry_row_says_so() {
    let recorded = expectations();
    let time = EventTime { ns: 0, clock: ClockSource::Received };
    for format in FORMATS {
        let Some(events) = &format.events else { continue };
        let mut writer = format.event_writer(WriterOptions::default()).unwrap();
        for ExpectationEvent { kind, expectation, .. } in &recorded {
            let record =
                ExpectationRecord { kind: *kind, synthetic: None, time, expectation, requester: None, netns: None };
            let mut out = Vec::new();
            let is_written = writer.record(&mut out, 1, &Record::Expectation(record));
            assert_eq!(is_written, events.has_expectations, "{}", format.name);
            assert_eq!(is_written, !out.is_empty(), "{}", format.name);
        }
    }
}
