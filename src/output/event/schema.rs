//! Tests: every record as JSON matches `docs/event.schema.json`.

use std::sync::{Arc, LazyLock};
use std::time::Duration;

use proptest::prelude::*;
use serde_json::Value;

use super::expectation::expectation_json;
use super::recorded::{events, expectations};
use super::*;
use crate::field::Subject;
use crate::metrics::StreamSnapshot;
use crate::model::{Event, EventKind, Expectation, ExpectationEvent, Flow, L4, LabelNames};
use crate::output::json_schema::SCHEMA as ENTRY_SCHEMA;
use crate::output::sample;
use crate::output::schema::{Schema, with_unknown_keys};
use crate::output::{CONNTRACK, CSV, EventWriter, Format, JSON, TextOptions, WriterOptions};

/// The schema of a record.
static SCHEMA: LazyLock<Schema> = LazyLock::new(|| Schema::parse(include_str!("../../../docs/event.schema.json")));

/// What a heartbeat record has: with every key, and without those that may be absent.
static SNAPSHOT: StreamSnapshot = StreamSnapshot {
    interval: Duration::from_secs(1),
    received_in_interval: 1,
    received: u64::MAX,
    matched: 2,
    lost: 3,
    uncounted_losses: 0,
    unreadable: 4,
    undecided: 5,
    records: 6,
    queued: 7,
    capacity: 8,
    entries: Some(9),
    namespaces: 10,
};
static SINKS: LazyLock<Vec<SinkState>> = LazyLock::new(|| {
    let oldest = WaitingLine { stream: "a\n\"".into(), seq: u64::MAX, written_after: Some(1) };
    let why = Some("é\n".repeat(1000));
    let full =
        SinkState { name: "file:\n\"".into(), oldest: Some(oldest), down_since: Some(1), why, ..SinkState::default() };
    vec![full, SinkState::default()]
});
static SYSCTLS: LazyLock<Vec<SysctlGroup>> = LazyLock::new(|| {
    let netns = vec!["a\n".into(), "\"b".into()];
    let full = SysctlGroup { events: Some(0), acct: Some(1), timestamp: Some(1), namespaces: 2, netns };
    vec![full, SysctlGroup::default()]
});

fn labels() -> Option<Arc<LabelNames>> {
    Some(Arc::new(LabelNames::parse("0 zero\n77 x-y\n")))
}

fn writer(format: &Format) -> EventWriter {
    let text =
        TextOptions { extended: true, id: true, timestamp: true, ktimestamp: true, labels: labels(), zone: None };
    let mut writer = format.event_writer(WriterOptions { text, columns: None }).unwrap();
    let fields = vec![("a".into(), "\n\"b\"\\".into())];
    writer.set_context(&LineContext {
        stream: "s".into(),
        host: Some("h".into()),
        fields,
        zone: Some(jiff::tz::TimeZone::UTC),
    });
    writer
}

/// The values of a record apart from the entry: the bits of `set` choose which are present.
#[derive(Debug, Clone)]
struct RecordContext {
    set: u32,
    n: u64,
    text: String,
}

impl RecordContext {
    fn all() -> Self {
        RecordContext { set: u32::MAX, n: u64::MAX, text: "a\n\"b\"\\".into() }
    }

    fn has(&self, bit: u32) -> bool {
        self.set >> bit & 1 == 1
    }

    fn kind(&self) -> EventKind {
        [EventKind::New, EventKind::Update, EventKind::Destroy][self.n as usize % 3]
    }

    fn time(&self) -> EventTime {
        EventTime { ns: self.n, clock: if self.has(0) { ClockSource::Kernel } else { ClockSource::Received } }
    }

    fn synthetic(&self) -> Option<SyntheticCause> {
        let all = [SyntheticCause::Seed, SyntheticCause::Resync, SyntheticCause::Reconcile, SyntheticCause::Netns];
        self.has(1).then(|| all[self.n as usize % 4])
    }

    fn start(&self) -> Option<StartTime> {
        let at = self.n / 2;
        let start = match self.n % 4 {
            _ if self.has(3) => StartTime::Exact(at),
            0 => StartTime::After(at),
            _ => StartTime::Before(at),
        };
        self.has(2).then_some(start)
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
            start: self.start(),
            killed: self.killed(),
            requester: self.requester(),
            netns: self.netns(),
            is_mark_implied: self.has(10),
        }
    }

    fn last_packet(&self) -> Option<LastPacket> {
        self.has(12).then(|| LastPacket { after: self.has(13).then_some(self.n / 3), before: self.n / 2 })
    }

    fn begun<'a>(&'a self, flow: &'a Flow) -> BeginRecord<'a> {
        BeginRecord {
            flow,
            start: self.start(),
            time: self.time(),
            synthetic: self.synthetic(),
            requester: self.requester(),
            netns: self.netns(),
            is_mark_implied: self.has(10),
        }
    }

    fn ended<'a>(&'a self, flow: &'a Flow) -> EndRecord<'a> {
        EndRecord {
            flow,
            start: self.start(),
            end: self.time(),
            last_packet: self.last_packet(),
            synthetic: self.synthetic(),
            killed: self.killed(),
            requester: self.requester(),
            netns: self.netns(),
            is_mark_implied: self.has(10),
        }
    }

    fn expectation<'a>(&'a self, expectation: &'a Expectation) -> ExpectationRecord<'a> {
        let (kind, synthetic, time) = (self.kind(), self.synthetic(), self.time());
        ExpectationRecord { kind, synthetic, time, expectation, requester: self.requester(), netns: self.netns() }
    }

    /// Records without an entry.
    fn others(&self) -> [Record<'_>; 5] {
        let (netns, text, n) = (self.netns(), &*self.text, self.n);
        let causes = [
            GapCause::Kernel,
            GapCause::Queue,
            GapCause::Spool,
            GapCause::Unreadable,
            GapCause::Refused,
            GapCause::Disabled,
        ];
        let reason = self.synthetic().unwrap_or(SyntheticCause::Resync);
        [
            Record::Open(OpenRecord { time: n, version: text }),
            Record::Gap(GapRecord {
                cause: causes[n as usize % causes.len()],
                lost: self.has(11).then_some(n),
                from: n / 2,
                to: n,
                netns,
            }),
            Record::Resync(ResyncRecord {
                reason,
                time: n,
                entries: self.has(11).then_some(n),
                added: n / 2,
                removed: 0,
                netns,
            }),
            Record::Heartbeat(HeartbeatRecord {
                time: n,
                interval: n,
                stream: &SNAPSHOT,
                sinks: if self.has(2) { &SINKS } else { &[] },
                sysctls: if self.has(2) { &SYSCTLS } else { &[] },
            }),
            Record::Close(CloseRecord {
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

/// Writes a record in each format, checks that each is one line and that JSON matches the schema, and
/// returns the JSON.
fn check(record: &Record<'_>, seq: u64) -> Value {
    let mut out = Vec::new();
    assert!(writer(&JSON).record(&mut out, seq, record));
    let text = String::from_utf8(out).unwrap();
    let line = text.strip_suffix('\n').unwrap();
    assert!(!line.contains(char::is_control), "{line}");
    let value: Value = serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"));
    assert_eq!(line.matches("\"event\":").count(), 1, "{line}");
    assert_eq!(value["seq"], seq);
    SCHEMA.check(&value);
    for format in [&CONNTRACK, &CSV] {
        one_line(format, record, seq);
    }
    value
}

/// Checks that text and CSV are one line, or nothing.
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
fn recorded_events_match_the_schema() {
    let ages = sample::ages(0);
    for Event { kind, port, flow, .. } in events() {
        let context = RecordContext { set: 0, n: 1, text: String::new() };
        let requester = (port != 0).then_some(Requester { port, process: None, is_certain: false });
        let subject = Subject::new(&flow, &ages);
        let record = FlowRecord { kind, requester, ..context.flow(&subject) };
        assert_eq!(check(&Record::Flow(record), 1)["event"], kind.name());
        check(&Record::End(context.ended(&flow)), 1);
        check(&Record::Begin(context.begun(&flow)), 1);
    }
    for event in &expectations() {
        let context = RecordContext { set: 0, n: 1, text: String::new() };
        let record = ExpectationRecord { kind: event.kind, ..context.expectation(&event.expectation) };
        let value = check(&Record::Expectation(record), 1);
        assert_eq!(value["event"], format!("expect-{}", event.kind.name()));
        let mut listed = Vec::new();
        expectation_json(&mut listed, &event.expectation);
        let listed: Value = serde_json::from_slice(&listed).unwrap();
        assert_eq!(listed, serde_json::json!({ "v": 1, "expectation": value["expectation"] }));
    }
}

#[test]
fn the_entry_of_an_event_equals_that_of_a_list_without_idle_and_age() {
    let (root, entry_schema, ages) = (&SCHEMA.json, &ENTRY_SCHEMA.json, sample::ages(0));
    for Event { flow, .. } in events() {
        let subject = Subject::new(&flow, &ages);
        let mut out = Vec::new();
        let text = TextOptions { labels: labels(), ..TextOptions::default() };
        JSON.writer(WriterOptions { text, columns: None }).unwrap().flow(&mut out, &subject);
        let mut listed: Value = serde_json::from_slice(&out).unwrap();
        for key in ["v", "idle", "age", "event_ns"] {
            listed.as_object_mut().unwrap().remove(key);
        }
        let all = RecordContext::all();
        assert_eq!(check(&Record::Flow(all.flow(&subject)), 1)["flow"], listed);
    }
    let mut listed = entry_schema["properties"].clone();
    for key in ["v", "idle", "age", "event_ns"] {
        listed.as_object_mut().unwrap().remove(key);
    }
    assert_eq!(root["$defs"]["entry"]["properties"], listed);
    for name in entry_schema["$defs"].as_object().unwrap().keys() {
        assert_eq!(root["$defs"][name], entry_schema["$defs"][name], "{name}");
    }
}

/// Entries with every key.
fn complete_flows() -> Vec<Flow> {
    let mut flows: Vec<Flow> = events().into_iter().map(|event| event.flow).collect();
    for (protocol, l4) in [
        (6, L4::Ports { src: 1, dst: 2 }),
        (47, L4::Ports { src: 1, dst: 2 }),
        (1, L4::Icmp { kind: 8, code: 0, id: 3 }),
    ] {
        let mut flow = sample::flow("10.0.0.1", "10.0.0.2", protocol, l4);
        sample::fill(&mut flow);
        flow.reply.zone = Some(5);
        flows.push(flow.clone());
        // A state without a name, then an unknown tracker; both of another family.
        for tracker in [3, 15] {
            sample::fill_some(&mut flow, tracker << 28 | 1 << 18, 250, "x");
            flows.push(flow.clone());
        }
    }
    flows
}

/// Expectations with every key.
fn complete_expectations() -> Vec<ExpectationEvent> {
    let mut all = expectations();
    all[0].expectation.flags = u32::MAX;
    all[0].expectation.family = crate::model::Family::Other(7);
    all[0].expectation.zone = Some(3);
    if let Some(nat) = &mut all[0].expectation.nat {
        nat.direction = 9;
    }
    all
}

/// Records with every key and every word, as JSON.
fn complete_lines() -> Vec<Value> {
    let ages = sample::ages(0);
    let (flows, expectations, all) = (complete_flows(), complete_expectations(), RecordContext::all());
    let mut lines = Vec::new();
    for flow in &flows {
        let subject = Subject::new(flow, &ages);
        for set in [u32::MAX, !2, !10, !8] {
            let context = RecordContext { set, ..RecordContext::all() };
            lines.push(check(&Record::Flow(context.flow(&subject)), 1));
            lines.push(check(&Record::End(context.ended(flow)), 1));
            lines.push(check(&Record::Begin(context.begun(flow)), 1));
        }
    }
    for event in &expectations {
        lines.push(check(&Record::Expectation(all.expectation(&event.expectation)), 1));
    }
    lines.extend(all.others().iter().map(|record| check(record, 1)));
    let subject = Subject::new(&flows[0], &ages);
    // 60 is a multiple of the number of kinds, of synthetic causes and of causes of a gap.
    for (n, set) in (0..60).flat_map(|n| [(n, u32::MAX), (n, !0b1001)]) {
        let some = RecordContext { set, n, ..RecordContext::all() };
        lines.push(check(&Record::Flow(some.flow(&subject)), 1));
        lines.push(check(&Record::End(some.ended(&flows[0])), 1));
        lines.push(check(&Record::Begin(some.begun(&flows[0])), 1));
        lines.push(check(&Record::Expectation(some.expectation(&expectations[0].expectation)), 1));
        lines.extend(some.others().iter().map(|record| check(record, 1)));
    }
    lines
}

/// The schema of each kind of record.
fn kinds() -> impl Iterator<Item = &'static Value> {
    let references = SCHEMA.json["oneOf"].as_array().unwrap().iter();
    references.map(|kind| SCHEMA.json.pointer(&kind["$ref"].as_str().unwrap()[1..]).unwrap())
}

#[test]
fn every_key_and_every_word_of_the_schema_is_written_for_some_record() {
    let lines = complete_lines();
    for kind in kinds() {
        let names = kind["properties"]["event"]["enum"].as_array().unwrap();
        let of_kind: Vec<&Value> = lines.iter().filter(|line| names.contains(&line["event"])).collect();
        for (key, property) in kind["properties"].as_object().unwrap() {
            assert!(of_kind.iter().any(|line| line.get(key).is_some()), "{key} of {names:?}");
            // The protocols and families of the recorded entries are not all that have a name.
            if key == "protocol" || key == "family" {
                continue;
            }
            for word in property["enum"].as_array().into_iter().flatten() {
                assert!(of_kind.iter().any(|line| line[key] == *word), "{key}: {word} of {names:?}");
            }
        }
    }
    for key in SCHEMA.json["$defs"]["expectation"]["properties"].as_object().unwrap().keys() {
        // No recorded kernel sends an attribute that ctnl does not know.
        let some = lines.iter().any(|line| line["expectation"].get(key).is_some());
        assert!(some || key == "unknown_attributes", "{key}");
    }
}

#[test]
fn a_record_with_an_unknown_key_does_not_match_the_schema() {
    let all = RecordContext::all();
    let (flow, expectation, ages) = (&complete_flows()[0], &complete_expectations()[0].expectation, sample::ages(0));
    let subject = Subject::new(flow, &ages);
    let mut records = all.others().to_vec();
    records.push(Record::Flow(all.flow(&subject)));
    records.push(Record::End(all.ended(flow)));
    records.push(Record::Begin(all.begun(flow)));
    records.push(Record::Expectation(all.expectation(expectation)));
    assert_eq!(records.len(), kinds().count());
    for record in &records {
        for changed in with_unknown_keys(&check(record, 1)) {
            assert!(!SCHEMA.is_valid(&changed), "{changed}");
        }
    }
}

#[test]
fn the_lines_in_the_documentation_match_the_schema() {
    let blocks = include_str!("../../../docs/events.md").split("```json\n").skip(1);
    let blocks = blocks.map(|rest| rest.split("\n```").next().unwrap());
    let lines: Vec<Value> =
        blocks.flat_map(|block| serde_json::Deserializer::from_str(block).into_iter().map(Result::unwrap)).collect();
    assert_eq!(lines.len(), 4);
    for line in lines {
        SCHEMA.check(&line);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]
    #[test]
    fn any_record_is_one_line_that_matches_the_schema(
        protocol: u8, l4: (u8, u8, u16, u16), around: u32, set: u32, n: u64, shift in 0u32..64, seq: u64, text: String,
    ) {
        let l4 = match l4.0 % 3 {
            0 => L4::None,
            1 => L4::Ports { src: l4.2, dst: l4.3 },
            _ => L4::Icmp { kind: l4.0, code: l4.1, id: l4.2 },
        };
        let mut flow = sample::flow("2001:db8::1", "10.0.0.1", protocol, l4);
        sample::fill_some(&mut flow, set, n >> shift, &text);
        let context = RecordContext { set: around, n: n >> shift, text };
            let ages = sample::ages(1 << 60);
        check(&Record::Flow(context.flow(&Subject::new(&flow, &ages))), seq);
        check(&Record::End(context.ended(&flow)), seq);
        check(&Record::Begin(context.begun(&flow)), seq);
        context.others().iter().for_each(|record| drop(check(record, seq)));
        let mut event = expectations().swap_remove(n as usize % expectations().len());
        event.expectation.function = Some(context.text.as_str().into());
        event.expectation.helper = Some(crate::model::HelperName::new(context.text.as_bytes()));
        event.expectation.flags = set;
        check(&Record::Expectation(context.expectation(&event.expectation)), seq);
    }
}
