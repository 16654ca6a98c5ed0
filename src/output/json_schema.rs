//! Tests that hold the JSON to its schema, and to a struct that knows every key.

use std::collections::BTreeMap;
use std::sync::Arc;

use proptest::prelude::*;
use serde::Deserialize;
use serde_json::Value;

use super::*;
use crate::field::Subject;
use crate::model::{
    Counters, DccpInfo, DccpState, Family, Flow, HelperName, L4, LabelNames, Labels, ProtoInfo, SctpInfo, SctpState,
    SequenceAdjustment, Status, Synproxy, TcpInfo,
};

/// What a program that reads the JSON would declare.
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

pub(super) fn schema() -> Value {
    serde_json::from_str(include_str!("../../docs/flow.schema.json")).unwrap()
}

/// As much of JSON Schema as the file uses. `Err` names the place.
pub(super) fn validate(root: &Value, schema: &Value, value: &Value, place: &str) -> Result<(), String> {
    if let Some(reference) = schema["$ref"].as_str() {
        return validate(root, root.pointer(&reference[1..]).unwrap(), value, place);
    }
    let wrong = |what: &str| Err(format!("{place}: {what}: {value}"));
    if schema.get("const").is_some_and(|constant| constant != value) {
        return wrong("not the constant");
    }
    if schema["enum"].as_array().is_some_and(|words| !words.contains(value)) {
        return wrong("not one of the words");
    }
    match schema["type"].as_str() {
        None => Ok(()),
        Some("string") if value.is_string() => Ok(()),
        Some("boolean") if value.is_boolean() => Ok(()),
        Some("integer") if value.as_u64().is_some_and(|n| n <= schema["maximum"].as_u64().unwrap()) => Ok(()),
        Some("array") if value.is_array() => {
            let mut items = value.as_array().unwrap().iter();
            items.try_for_each(|item| validate(root, &schema["items"], item, &format!("{place}[]")))
        }
        Some("object") if value.is_object() => validate_object(root, schema, value, place),
        Some(kind) => wrong(kind),
    }
}

fn validate_object(root: &Value, schema: &Value, value: &Value, place: &str) -> Result<(), String> {
    assert_eq!(schema["additionalProperties"], false, "{place}");
    for key in schema["required"].as_array().into_iter().flatten() {
        if value.get(key.as_str().unwrap()).is_none() {
            return Err(format!("{place}: {key} is missing"));
        }
    }
    for (key, value) in value.as_object().unwrap() {
        let place = format!("{place}.{key}");
        let property = schema["properties"].get(key).ok_or(format!("{place} is not in the schema"))?;
        validate(root, property, value, &place)?;
    }
    Ok(())
}

fn json(flow: &Flow) -> String {
    let names = LabelNames::parse("0 zero\n77 x-y\n");
    let mut out = Vec::new();
    JsonWriter::new(Some(Arc::new(names))).flow(&mut out, &Subject::new(flow, &sample::ages(1 << 60)));
    let text = String::from_utf8(out).unwrap();
    assert!(text.ends_with('\n') && text.lines().count() == 1);
    text
}

fn check(flow: &Flow) -> Object {
    let text = json(flow);
    let schema = schema();
    validate(&schema, &schema, &serde_json::from_str(&text).unwrap(), "flow").unwrap();
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
fn recorded_flows_are_written_as_the_schema_says() {
    for flow in recorded::flows() {
        check(&flow);
    }
}

#[test]
fn every_key_of_the_schema_is_written_for_some_flow() {
    let mut flow = sample::flow("10.0.0.1", "10.0.0.2", 6, L4::Ports { src: 1, dst: 2 });
    fill(&mut flow);
    let mut text: String = recorded::flows().iter().map(json).collect();
    text.push_str(&json(&flow));
    flow.family = Family::Other(7);
    text.push_str(&json(&flow));
    for key in schema()["properties"].as_object().unwrap().keys() {
        assert!(text.contains(&format!("\"{key}\":")), "{key}");
    }
    assert!(text.contains("\"unknown_attributes\":[99,101]"));
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

/// Sets everything that a flow can have.
pub(super) fn fill(flow: &mut Flow) {
    let number = Some(u32::MAX);
    flow.protoinfo = ProtoInfo::Tcp(TcpInfo::default());
    flow.status = Status::from_bits_retain(u32::MAX);
    (flow.timeout, flow.mark, flow.id, flow.use_count) = (number, number, number, number);
    (flow.zone_both, flow.orig.zone) = (Some(u16::MAX), Some(u16::MAX));
    (flow.start, flow.stop, flow.event_time) = (Some(1), Some(u64::MAX), Some(u64::MAX));
    flow.counters_orig = Some(Counters { packets: u64::MAX, bytes: u64::MAX });
    flow.counters_reply = flow.counters_orig;
    flow.helper = Some(HelperName::new(&[b'"'; 32]));
    flow.labels = Some(Labels::from_numbers(0..128));
    flow.master = Some(flow.orig);
    flow.secctx = Some("\"\\\n\u{1f}".into());
    flow.seq_adj_orig = Some(SequenceAdjustment { position: 1, before: 2, after: u32::MAX });
    flow.seq_adj_reply = flow.seq_adj_orig;
    flow.synproxy = Some(Synproxy { isn: 1, its: 2, tsoff: 3 });
}

/// Sets or leaves out each thing, by the bits of `set`, with values from `n`.
pub(super) fn fill_some(flow: &mut Flow, set: u32, n: u64, text: &str) {
    let mut full = flow.clone();
    fill(&mut full);
    let has = |bit: u32| set >> bit & 1 == 1;
    flow.protoinfo = match set >> 28 {
        0..3 => ProtoInfo::None,
        3..8 => ProtoInfo::Tcp(TcpInfo { state: (n as u8).into(), ..TcpInfo::default() }),
        8..11 => ProtoInfo::Sctp(SctpInfo { state: SctpState::from(n as u8), ..SctpInfo::default() }),
        11..14 => ProtoInfo::Dccp(DccpInfo { state: DccpState::from(n as u8), ..DccpInfo::default() }),
        _ => ProtoInfo::Unknown(n as u16),
    };
    flow.status = Status::from_bits_retain(n as u32);
    flow.timeout = has(0).then_some(n as u32);
    flow.mark = has(1).then_some((n >> 9) as u32);
    flow.id = has(2).then_some((n >> 13) as u32);
    flow.use_count = has(3).then_some(n as u32 % 7);
    flow.zone_both = has(4).then_some(n as u16);
    flow.orig.zone = has(5).then_some(n as u16);
    flow.reply.zone = has(6).then_some(n as u16);
    flow.start = has(7).then_some(n);
    flow.stop = has(8).then_some(n.wrapping_mul(3));
    flow.counters_orig = has(9).then_some(Counters { packets: n, bytes: n >> 40 });
    flow.counters_reply = has(10).then_some(Counters { packets: n >> 20, bytes: n >> 1 });
    flow.helper = has(11).then(|| HelperName::new(text.as_bytes()));
    flow.labels = has(12).then(|| Labels::from_numbers([n as u8, 77]));
    flow.secctx = has(13).then(|| text.into());
    flow.master = full.master.filter(|_| has(14));
    flow.seq_adj_reply = full.seq_adj_reply.filter(|_| has(15));
    flow.synproxy = full.synproxy.filter(|_| has(16));
    flow.orig.has_unknown_part = has(17);
    flow.family = if has(18) { Family::from(n as u8) } else { flow.family };
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(500))]
    #[test]
    fn any_flow_is_written_as_the_schema_says(
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
        fill_some(&mut flow, set, n >> shift, &text);
        check(&flow);
        every_format_is_one_line(&flow);
    }
}

/// Text and XML of any flow: one line, no control characters, nothing cut.
fn every_format_is_one_line(flow: &Flow) {
    let names = Some(Arc::new(LabelNames::parse("0 zero\n77 x-y\n")));
    let options = TextOptions { extended: true, id: true, ktimestamp: true, labels: names, ..TextOptions::default() };
    let ages = sample::ages(1 << 60);
    for format in [&CONNTRACK, &XML] {
        let options = WriterOptions { text: options.clone(), columns: None };
        let mut out = Vec::new();
        format.writer(options).unwrap().flow(&mut out, &Subject::new(flow, &ages));
        let text = String::from_utf8(out).unwrap();
        let line = text.strip_suffix('\n').unwrap();
        assert!(!line.contains(char::is_control), "{line}");
        assert!(format != &XML || line.ends_with("</flow>"), "{line}");
    }
}
