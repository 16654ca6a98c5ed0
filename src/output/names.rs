//! Tests: a line of an entry that is written is read as the name of that entry.

use crate::field::Subject;
use crate::model::{EventKind, Flow, L4, NamedEntry, NamedEntryError, Tuple, Zone, protocol_name};
use crate::output::{
    BeginRecord, CONNTRACK, ClockSource, EndRecord, EventTime, FlowRecord, Format, JSON, Record, Requester,
    SyntheticCause, TABLE, TextOptions, WriterOptions, recorded, sample,
};

const TIME: EventTime = EventTime { ns: 1_700_000_000_123_456_789, clock: ClockSource::Kernel };

fn options() -> WriterOptions {
    let text = TextOptions { extended: true, id: true, timestamp: true, ktimestamp: true, ..TextOptions::default() };
    WriterOptions { text, columns: None }
}

/// The recorded entries that a kernel can have: not those that were written by hand with three zones, or with
/// ports of a protocol that has none.
fn flows() -> Vec<Flow> {
    let flows = recorded::flows();
    assert!(flows.len() > 100, "{}", flows.len());
    let has_own_parts = |tuple: &Tuple| protocol_name(tuple.protocol).is_some() || tuple.l4 == L4::None;
    let is_possible = |flow: &Flow| {
        let tuples = [&flow.orig, &flow.reply];
        tuples.into_iter().all(|tuple| tuple.is_complete() && has_own_parts(tuple))
            && !matches!(flow.zone(), Zone::Each(..))
    };
    flows.into_iter().filter(is_possible).collect()
}

/// Fails unless `line` names `flow` and no other entry.
fn assert_names(line: &str, flow: &Flow, id: Option<u32>) {
    let named: NamedEntry = line.parse().unwrap_or_else(|error: NamedEntryError| panic!("{}", error.render()));
    assert!(named.is(flow) && !named.lacks_zone, "{line}");
    assert_eq!((named.zone.unwrap_or(0), named.id), (flow.zone().orig(), id), "{line}");
}

fn written(format: &Format, flow: &Flow) -> String {
    let (mut out, ages) = (Vec::new(), sample::ages(0));
    let mut writer = format.writer(options()).unwrap();
    writer.flow(&mut out, &Subject::new(flow, &ages));
    writer.end(&mut out);
    String::from_utf8(out).unwrap()
}

#[test]
fn every_line_of_a_list_names_its_entry() {
    for flow in flows() {
        for format in [&JSON, &CONNTRACK] {
            assert_names(&written(format, &flow), &flow, flow.id);
        }
    }
}

#[test]
fn a_row_of_the_table_names_its_entry_or_what_it_lacks() {
    let mut named = 0;
    for flow in flows() {
        let table = written(&TABLE, &flow);
        let row = table.lines().nth(1).unwrap();
        match row.parse::<NamedEntry>() {
            Ok(entry) => {
                assert!(NamedEntry { reply: None, ..entry.clone() }.is(&flow), "{row}");
                assert!(entry.lacks_zone && entry.zone.is_none(), "{row}");
                named += 1;
            }
            Err(error) => assert!(error.to_string().starts_with("incomplete "), "{row}: {error}"),
        }
    }
    assert!(named > 100, "{named}");
}

fn event_written(format: &Format, record: &Record<'_>) -> String {
    let mut out = Vec::new();
    assert!(format.event_writer(options()).unwrap().record(&mut out, 1, record));
    String::from_utf8(out).unwrap()
}

#[test]
fn every_line_of_an_event_stream_names_its_entry_and_its_namespace() {
    let ages = sample::ages(0);
    for flow in flows() {
        for (kind, synthetic, netns, process) in [
            (EventKind::New, None, None, None),
            (EventKind::Update, Some(SyntheticCause::Seed), Some("blue"), None),
            (EventKind::Destroy, None, Some("pid:77(tmux: server)"), Some("tmux: server")),
            (EventKind::Destroy, Some(SyntheticCause::Resync), None, Some("kworker/0:1 [x]")),
        ] {
            let requester = process.map(|name| Requester { port: 7, process: Some(name), is_certain: false });
            let subject = &Subject::of_event(&flow, &ages, kind);
            let (time, start, killed, is_mark_implied) = (TIME, None, Some(true), false);
            let record =
                FlowRecord { kind, synthetic, time, subject, start, killed, requester, netns, is_mark_implied };
            for format in [&JSON, &CONNTRACK] {
                let line = event_written(format, &Record::Flow(record));
                assert_names(&line, &flow, flow.id);
                assert_eq!(line.parse::<NamedEntry>().unwrap().netns.as_deref(), netns, "{line}");
            }
        }
    }
}

#[test]
fn the_record_of_a_connection_names_its_entry() {
    for flow in &flows() {
        let (synthetic, start, killed, requester, netns) = (None, None, None, None, None);
        let (end, is_mark_implied) = (TIME, false);
        let last_packet = None;
        let record = EndRecord { flow, start, end, last_packet, synthetic, killed, requester, netns, is_mark_implied };
        // It has no id, and the tuple of the original direction only.
        assert_names(&event_written(&JSON, &Record::End(record)), flow, None);
        let time = TIME;
        let begun = BeginRecord { flow, start, time, synthetic, requester, netns, is_mark_implied };
        assert_names(&event_written(&JSON, &Record::Begin(begun)), flow, None);
    }
}
