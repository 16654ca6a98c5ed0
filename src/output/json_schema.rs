//! Tests: every entry as JSON matches `docs/flow.schema.json`, and a struct with every key.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, LazyLock};

use proptest::prelude::*;
use serde::Deserialize;

use super::schema::{Schema, add_keys, with_unknown_keys};
use super::*;
use crate::age::{IdleEstimator, TimeoutContext};
use crate::field::Subject;
use crate::model::{Family, Flow, L4, LabelNames, Labels, Status, Timeouts, Tuple};

/// The types that a program reading the JSON would declare.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
#[allow(dead_code)]
struct Object {
    v: u32,
    family: Option<String>,
    family_number: Option<u8>,
    proto: u8,
    protocol: Option<String>,
    state: Option<String>,
    state_number: Option<u8>,
    unknown_tracker: Option<u16>,
    timeout: Option<u32>,
    orig: Direction,
    reply: Direction,
    status: Vec<String>,
    unknown_status: Option<Vec<u8>>,
    nat: Option<BTreeMap<String, bool>>,
    mark: Option<u32>,
    zone: Option<u16>,
    id: Option<u32>,
    r#use: Option<u32>,
    start_ns: Option<u64>,
    stop_ns: Option<u64>,
    event_ns: Option<u64>,
    helper: Option<String>,
    labels: Option<Vec<u8>>,
    label_names: Option<Vec<String>>,
    master: Option<Direction>,
    secctx: Option<String>,
    seq_adj_orig: Option<BTreeMap<String, u32>>,
    seq_adj_reply: Option<BTreeMap<String, u32>>,
    synproxy: Option<BTreeMap<String, u32>>,
    unknown_attributes: Option<Vec<u16>>,
    idle: Idle,
    age: Option<u64>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
#[allow(dead_code)]
struct Direction {
    src: std::net::IpAddr,
    dst: std::net::IpAddr,
    sport: Option<u16>,
    dport: Option<u16>,
    r#type: Option<u8>,
    code: Option<u8>,
    id: Option<u16>,
    srckey: Option<u16>,
    dstkey: Option<u16>,
    zone: Option<u16>,
    unknown_part: Option<bool>,
    packets: Option<u64>,
    bytes: Option<u64>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
#[allow(dead_code)]
struct Idle {
    at_least: Option<u32>,
    at_most: Option<u32>,
    unknown: Option<String>,
}

/// The schema of an entry.
pub(super) static SCHEMA: LazyLock<Schema> =
    LazyLock::new(|| Schema::parse(include_str!("../../docs/flow.schema.json")));

fn writer(format: &Format, text: TextOptions) -> Writer {
    format.writer(WriterOptions { text, columns: None }).unwrap()
}

fn json(flow: &Flow) -> String {
    json_with(flow, &sample::ages(1 << 60))
}

fn json_with(flow: &Flow, ages: &IdleEstimator) -> String {
    let names = LabelNames::parse("0 zero\n77 x-y\n");
    let mut out = Vec::new();
    writer(&JSON, TextOptions { labels: Some(Arc::new(names)), ..TextOptions::default() })
        .flow(&mut out, &Subject::new(flow, ages));
    let text = String::from_utf8(out).unwrap();
    assert!(text.ends_with('\n') && text.lines().count() == 1);
    text
}

fn check(flow: &Flow) -> Object {
    let text = json(flow);
    SCHEMA.check(&serde_json::from_str(&text).unwrap());
    let object: Object = serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error}: {text}"));
    assert_eq!(object.orig.src, flow.orig.src);
    assert_eq!(object.reply.dst, flow.reply.dst);
    assert_eq!(object.proto, u8::from(flow.orig.protocol));
    assert_eq!((object.timeout, object.mark, object.id), (flow.timeout, flow.mark, flow.id));
    assert_eq!((object.start_ns, object.zone), (flow.start, flow.zone_both));
    assert_eq!(object.orig.bytes, flow.counters_orig.map(|counters| counters.bytes));
    assert_eq!(object.secctx.as_deref(), flow.secctx.as_deref());
    object
}

#[test]
fn recorded_entries_match_the_schema() {
    for flow in recorded::flows() {
        check(&flow);
    }
}

/// Entries with every key.
fn complete_flows() -> Vec<Flow> {
    let mut flows = recorded::flows();
    for (protocol, l4) in [
        (6, L4::Ports { src: 1, dst: 2 }),
        (47, L4::Ports { src: 1, dst: 2 }),
        (1, L4::Icmp { kind: 8, code: 0, id: 3 }),
    ] {
        let mut flow = sample::flow("10.0.0.1", "10.0.0.2", protocol, l4);
        flow.orig.has_unknown_part = true;
        sample::fill(&mut flow);
        flow.family = Family::Other(7);
        flow.reply = Tuple { zone: Some(5), ..flow.orig };
        flows.push(flow.clone());
        // A state without a name, then an unknown tracker.
        for tracker in [3, 15] {
            sample::fill_some(&mut flow, tracker << 28 | 1 << 18, 250, "x");
            flows.push(flow.clone());
        }
    }
    flows
}

#[test]
fn every_key_of_the_schema_is_written_for_some_entry() {
    let context = TimeoutContext { timeouts: Timeouts::kernel_defaults(), ..TimeoutContext::default() };
    let ages = IdleEstimator::new(&context, 1 << 62);
    let (mut text, mut keys) = (String::new(), BTreeSet::new());
    for flow in complete_flows() {
        let line = json_with(&flow, &ages);
        let value = serde_json::from_str(&line).unwrap();
        SCHEMA.check(&value);
        add_keys(&value, "", &mut keys);
        text.push_str(&line);
    }
    assert_eq!(SCHEMA.keys(), keys);
    assert!(text.contains("\"unknown_attributes\":[99,101]"));
}

#[test]
fn an_entry_with_an_unknown_key_does_not_match_the_schema() {
    let mut flow = sample::flow("10.0.0.1", "10.0.0.2", 6, L4::Ports { src: 1, dst: 2 });
    sample::fill(&mut flow);
    let value = serde_json::from_str(&json(&flow)).unwrap();
    let changed = with_unknown_keys(&value);
    // The entry, both directions, NAT, the master, two adjustments, synproxy and the idle time.
    assert_eq!(changed.len(), 9);
    assert!(SCHEMA.is_valid(&value) && changed.iter().all(|value| !SCHEMA.is_valid(value)));
}

#[test]
fn the_entry_shown_in_the_documentation_matches_the_schema() {
    let (_, rest) = include_str!("../../docs/json.md").split_once("```json\n").unwrap();
    SCHEMA.check(&serde_json::from_str(rest.split("\n```").next().unwrap()).unwrap());
}

#[test]
fn a_whole_object_is_written_as_documented() {
    let mut flow = sample::flow("10.0.0.1", "::1.2.3.4", 47, L4::Ports { src: 1, dst: 65535 });
    flow.timeout = Some(0);
    flow.status = Status::from_bits_retain(0x8000_000e);
    flow.labels = Some(Labels::from_numbers([0, 5, 77]));
    assert_eq!(
        json(&flow),
        "{\"v\":1,\"family\":\"ipv4\",\"proto\":47,\"protocol\":\"gre\",\"timeout\":0,\
         \"orig\":{\"src\":\"10.0.0.1\",\"dst\":\"::1.2.3.4\",\"srckey\":1,\"dstkey\":65535},\
         \"reply\":{\"src\":\"::1.2.3.4\",\"dst\":\"10.0.0.1\",\"srckey\":65535,\"dstkey\":1},\
         \"status\":[\"seen-reply\",\"assured\",\"confirmed\"],\"unknown_status\":[31],\
         \"labels\":[0,5,77],\"label_names\":[\"zero\",\"x-y\"],\
         \"idle\":{\"unknown\":\"unknown-timeouts\"}}\n"
    );
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(500))]
    #[test]
    fn any_entry_matches_the_schema(
        addresses: (u128, u128, u32), six: bool, protocol: u8, l4: (u8, u8, u8, u16, u16),
        set: u32, n: u64, shift in 0u32..64, text: String,
    ) {
        let (a, b) = if six {
            (std::net::Ipv6Addr::from(addresses.0).to_string(), std::net::Ipv6Addr::from(addresses.1).to_string())
        } else {
            (std::net::Ipv4Addr::from(addresses.2).to_string(), "10.0.0.1".to_owned())
        };
        let l4 = match l4.0 % 3 {
            0 => L4::None,
            1 => L4::Ports { src: l4.3, dst: l4.4 },
            _ => L4::Icmp { kind: l4.1, code: l4.2, id: l4.3 },
        };
        let mut flow = sample::flow(&a, &b, protocol, l4);
        sample::fill_some(&mut flow, set, n >> shift, &text);
        check(&flow);
        every_format_is_one_line(&flow);
    }
}

/// Checks that text and XML are one complete line without control characters.
fn every_format_is_one_line(flow: &Flow) {
    let names = Some(Arc::new(LabelNames::parse("0 zero\n77 x-y\n")));
    let options = TextOptions { extended: true, id: true, ktimestamp: true, labels: names, ..TextOptions::default() };
    let ages = sample::ages(1 << 60);
    for format in [&CONNTRACK, &XML] {
        let mut out = Vec::new();
        writer(format, options.clone()).flow(&mut out, &Subject::new(flow, &ages));
        let text = String::from_utf8(out).unwrap();
        let line = text.strip_suffix('\n').unwrap();
        assert!(!line.contains(char::is_control), "{line}");
        assert!(format != &XML || line.ends_with("</flow>"), "{line}");
    }
}
