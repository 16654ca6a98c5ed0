//! Tests that hold the lines to `docs/event.schema.json`, whatever the records contain.

use std::sync::Arc;

use proptest::prelude::*;
use serde_json::Value;

use super::recorded::{events, expectations};
use super::*;
use crate::field::Subject;
use crate::model::{Event, EventKind, Expectation, Flow, L4, LabelNames};
use crate::output::json_schema::{fill, fill_some, schema as flow_schema, validate};
use crate::output::{CONNTRACK, CSV, EventWriter, Format, JSON, TextOptions, WriterOptions};
use crate::output::{JsonWriter, sample};

fn schema() -> Value {
    serde_json::from_str(include_str!("../../../docs/event.schema.json")).unwrap()
}

fn labels() -> Option<Arc<LabelNames>> {
    Some(Arc::new(LabelNames::parse("0 zero\n77 x-y\n")))
}

fn writer(format: &Format) -> EventWriter {
    let text =
        TextOptions { extended: true, id: true, timestamp: true, ktimestamp: true, labels: labels(), zone: None };
    format.event_writer(WriterOptions { text, columns: None }).unwrap()
}

/// Everything around an entry that a record can have, by the bits of `set`.
#[derive(Debug, Clone)]
struct Circumstances {
    set: u32,
    n: u64,
    text: String,
}

impl Circumstances {
    fn all() -> Self {
        Circumstances { set: u32::MAX, n: u64::MAX, text: "a\n\"b\"\\".into() }
    }

    fn has(&self, bit: u32) -> bool {
        self.set >> bit & 1 == 1
    }

    fn kind(&self) -> EventKind {
        [EventKind::New, EventKind::Update, EventKind::Destroy][self.n as usize % 3]
    }

    fn time(&self) -> Stamp {
        Stamp { ns: self.n, clock: if self.has(0) { Clock::Kernel } else { Clock::Received } }
    }

    fn synthetic(&self) -> Option<Synthetic> {
        let all = [Synthetic::Seed, Synthetic::Resync, Synthetic::Reconcile, Synthetic::Netns];
        self.has(1).then(|| all[self.n as usize % 4])
    }

    fn since(&self) -> Option<Since> {
        let at = self.n / 2;
        self.has(2).then(|| if self.has(3) { Since::Exactly(at) } else { Since::Before(at) })
    }

    fn killed(&self) -> Option<bool> {
        self.has(4).then(|| self.has(5))
    }

    fn requester(&self) -> Option<Requester<'_>> {
        let process = self.has(7).then_some(&*self.text);
        self.has(6).then(|| Requester { port: self.n as u32, process, is_certain: self.has(9) })
    }

    fn netns(&self) -> Option<&str> {
        self.has(8).then_some(&self.text)
    }

    fn flow<'a>(&'a self, subject: &'a Subject<'a>) -> FlowRecord<'a> {
        FlowRecord {
            kind: self.kind(),
            synthetic: self.synthetic(),
            time: self.time(),
            subject,
            since: self.since(),
            killed: self.killed(),
            requester: self.requester(),
            netns: self.netns(),
            is_mark_implied: self.has(10),
        }
    }

    fn ended<'a>(&'a self, flow: &'a Flow) -> Ended<'a> {
        Ended {
            flow,
            start: self.since(),
            end: self.time(),
            synthetic: self.synthetic(),
            killed: self.killed(),
            requester: self.requester(),
            netns: self.netns(),
            is_mark_implied: self.has(10),
        }
    }

    fn expectation<'a>(&'a self, expectation: &'a Expectation) -> ExpectationRecord<'a> {
        let (kind, time) = (self.kind(), self.time());
        ExpectationRecord { kind, time, expectation, requester: self.requester(), netns: self.netns() }
    }

    /// Records without an entry.
    fn others(&self) -> [Record<'_>; 4] {
        let (netns, text, n) = (self.netns(), &*self.text, self.n);
        let causes = [GapCause::Kernel, GapCause::Queue, GapCause::Spool, GapCause::Unreadable, GapCause::Refused];
        let why = self.synthetic().unwrap_or(Synthetic::Resync);
        [
            Record::Opening(Opening { time: n, stream: text, version: text }),
            Record::Gap(Gap {
                cause: causes[n as usize % causes.len()],
                lost: self.has(11).then_some(n),
                from: n / 2,
                to: n,
                netns,
            }),
            Record::Resynced(Resynced { why, time: n, entries: n, added: n / 2, removed: 0, netns }),
            Record::Closing(Closing {
                time: n,
                reason: text,
                received: n,
                lost: 1,
                uncounted_losses: n,
                records: u64::MAX,
            }),
        ]
    }
}

/// The one line of a record, read back and held to the schema.
fn check(root: &Value, record: &Record<'_>, seq: u64) -> Value {
    let mut out = Vec::new();
    assert!(writer(&JSON).record(&mut out, seq, record));
    let text = String::from_utf8(out).unwrap();
    let line = text.strip_suffix('\n').unwrap();
    assert!(!line.contains(char::is_control), "{line}");
    let value: Value = serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"));
    assert_eq!(line.matches("\"event\":").count(), 1, "{line}");
    assert_eq!(value["seq"], seq);
    let kinds = root["oneOf"].as_array().unwrap().iter();
    let matching = kinds.filter(|kind| validate(root, kind, &value, "event").is_ok()).count();
    assert_eq!(matching, 1, "{:?}: {line}", validate(root, of_event(root, &value["event"]), &value, "event"));
    for format in [&CONNTRACK, &CSV] {
        one_line(format, record, seq);
    }
    value
}

/// What the schema says of this kind of event.
fn of_event<'a>(root: &'a Value, event: &Value) -> &'a Value {
    let kinds = root["$defs"].as_object().unwrap().values();
    let mut kinds =
        kinds.filter(|kind| kind["properties"]["event"]["enum"].as_array().is_some_and(|e| e.contains(event)));
    kinds.next().unwrap_or(&Value::Null)
}

/// Text and CSV: one line, or nothing at all.
fn one_line(format: &Format, record: &Record<'_>, seq: u64) {
    let mut out = b"before\n".to_vec();
    let written = writer(format).record(&mut out, seq, record);
    let end = if format == &CSV { "\r\n" } else { "\n" };
    let text = String::from_utf8_lossy(&out).into_owned();
    let rest = text.strip_prefix("before\n").unwrap();
    assert_eq!(written, !rest.is_empty());
    if written {
        let line = rest.strip_suffix(end).unwrap();
        assert!(!line.contains(['\n', '\r']), "{line}");
        assert!(format == &CSV || line.chars().all(|c| c == '\t' || !c.is_control()), "{line}");
    }
}

#[test]
fn recorded_events_are_written_as_the_schema_says() {
    let (root, ages) = (schema(), sample::ages(0));
    for Event { kind, port, flow, .. } in events() {
        let circumstances = Circumstances { set: 0, n: 1, text: String::new() };
        let requester = (port != 0).then_some(Requester { port, process: None, is_certain: false });
        let subject = Subject::new(&flow, &ages);
        let record = FlowRecord { kind, requester, ..circumstances.flow(&subject) };
        assert_eq!(check(&root, &Record::Flow(record), 1)["event"], kind.name());
        check(&root, &Record::Ended(circumstances.ended(&flow)), 1);
    }
    for event in &expectations() {
        let circumstances = Circumstances { set: 0, n: 1, text: String::new() };
        let record = ExpectationRecord { kind: event.kind, ..circumstances.expectation(&event.expectation) };
        let value = check(&root, &Record::Expectation(record), 1);
        assert_eq!(value["event"], format!("expect-{}", event.kind.name()));
    }
}

#[test]
fn the_entry_of_an_event_is_that_of_a_list_without_times() {
    let (flow_schema, root, ages) = (flow_schema(), schema(), sample::ages(0));
    for Event { flow, .. } in events() {
        let subject = Subject::new(&flow, &ages);
        let mut out = Vec::new();
        JsonWriter::new(labels()).flow(&mut out, &subject);
        let mut listed: Value = serde_json::from_slice(&out).unwrap();
        for key in ["v", "idle", "age", "event_ns"] {
            listed.as_object_mut().unwrap().remove(key);
        }
        let all = Circumstances::all();
        assert_eq!(check(&root, &Record::Flow(all.flow(&subject)), 1)["flow"], listed);
    }
    let mut listed = flow_schema["properties"].clone();
    for key in ["v", "idle", "age", "event_ns"] {
        listed.as_object_mut().unwrap().remove(key);
    }
    assert_eq!(root["$defs"]["entry"]["properties"], listed);
    for name in flow_schema["$defs"].as_object().unwrap().keys() {
        assert_eq!(root["$defs"][name], flow_schema["$defs"][name], "{name}");
    }
}

#[test]
fn every_key_of_the_schema_is_written_for_some_record() {
    let (root, ages) = (schema(), sample::ages(0));
    let mut lines: Vec<Value> = Vec::new();
    let mut flows: Vec<Flow> = events().into_iter().map(|event| event.flow).collect();
    for (protocol, l4) in [
        (6, L4::Ports { src: 1, dst: 2 }),
        (47, L4::Ports { src: 1, dst: 2 }),
        (1, L4::Icmp { kind: 8, code: 0, id: 3 }),
    ] {
        let mut flow = sample::flow("10.0.0.1", "10.0.0.2", protocol, l4);
        fill(&mut flow);
        flow.reply.zone = Some(5);
        flows.push(flow.clone());
        // A state without a name, then a tracker that is not known; both of another family.
        for tracker in [3, 15] {
            fill_some(&mut flow, tracker << 28 | 1 << 18, 250, "x");
            flows.push(flow.clone());
        }
    }
    for flow in &flows {
        let subject = Subject::new(flow, &ages);
        for set in [u32::MAX, !2, !10, !8] {
            let circumstances = Circumstances { set, ..Circumstances::all() };
            lines.push(check(&root, &Record::Flow(circumstances.flow(&subject)), 1));
            lines.push(check(&root, &Record::Ended(circumstances.ended(flow)), 1));
        }
    }
    let mut odd = expectations();
    odd[0].expectation.flags = u32::MAX;
    odd[0].expectation.family = crate::model::Family::Other(7);
    odd[0].expectation.zone = Some(3);
    if let Some(nat) = &mut odd[0].expectation.nat {
        nat.direction = 9;
    }
    let all = Circumstances::all();
    for event in &odd {
        lines.push(check(&root, &Record::Expectation(all.expectation(&event.expectation)), 1));
    }
    lines.extend(all.others().iter().map(|record| check(&root, record, 1)));
    for n in 0..5 {
        let some = Circumstances { n, ..Circumstances::all() };
        lines.extend(some.others().iter().map(|record| check(&root, record, 1)));
    }
    for cause in root["$defs"]["gap"]["properties"]["cause"]["enum"].as_array().unwrap() {
        assert!(lines.iter().any(|line| line["cause"] == *cause), "{cause}");
    }
    for kind in root["oneOf"].as_array().unwrap() {
        let kind = root.pointer(&kind["$ref"].as_str().unwrap()[1..]).unwrap();
        let words = kind["properties"]["event"]["enum"].as_array().unwrap();
        for key in kind["properties"].as_object().unwrap().keys() {
            let with = |line: &&Value| words.contains(&line["event"]) && line.get(key).is_some();
            assert!(lines.iter().any(|line| with(&line)), "{key} of {words:?}");
        }
    }
    for key in root["$defs"]["expectation"]["properties"].as_object().unwrap().keys() {
        // No kernel sends what we do not know.
        let some = lines.iter().any(|line| line["expectation"].get(key).is_some());
        assert!(some || key == "unknown_attributes", "{key}");
    }
}

#[test]
fn the_lines_shown_in_the_documentation_are_of_the_schema() {
    let root = schema();
    let blocks = include_str!("../../../docs/events.md").split("```json\n").skip(1);
    let blocks = blocks.map(|rest| rest.split("\n```").next().unwrap());
    let lines: Vec<Value> =
        blocks.flat_map(|block| serde_json::Deserializer::from_str(block).into_iter().map(Result::unwrap)).collect();
    assert_eq!(lines.len(), 3);
    for line in lines {
        validate(&root, of_event(&root, &line["event"]), &line, "shown").unwrap();
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]
    #[test]
    fn any_record_is_one_line_of_the_schema(
        protocol: u8, l4: (u8, u8, u16, u16), around: u32, set: u32, n: u64, shift in 0u32..64, seq: u64, text: String,
    ) {
        let l4 = match l4.0 % 3 {
            0 => L4::None,
            1 => L4::Ports { src: l4.2, dst: l4.3 },
            _ => L4::Icmp { kind: l4.0, code: l4.1, id: l4.2 },
        };
        let mut flow = sample::flow("2001:db8::1", "10.0.0.1", protocol, l4);
        fill_some(&mut flow, set, n >> shift, &text);
        let circumstances = Circumstances { set: around, n: n >> shift, text };
        let (root, ages) = (schema(), sample::ages(1 << 60));
        check(&root, &Record::Flow(circumstances.flow(&Subject::new(&flow, &ages))), seq);
        check(&root, &Record::Ended(circumstances.ended(&flow)), seq);
        circumstances.others().iter().for_each(|record| drop(check(&root, record, seq)));
        let mut event = expectations().swap_remove(n as usize % expectations().len());
        event.expectation.function = Some(circumstances.text.as_str().into());
        event.expectation.helper = Some(crate::model::HelperName::new(circumstances.text.as_bytes()));
        event.expectation.flags = set;
        check(&root, &Record::Expectation(circumstances.expectation(&event.expectation)), seq);
    }
}
