//! `-o json`: one JSON object per line, described by `docs/flow.schema.json`.
//!
//! Written by hand into a [`Line`], because it is the hot path of `list` and `events`: 51 ns per entry of
//! 295 bytes, against 255 ns with `serde_json::to_writer` and 100 ns with `itoa`.
//!
//! Every key has one type. A key whose value the kernel did not send is absent, never null. A number
//! without a name is written as a number under a key of its own. The key `v` is the version of the schema;
//! it changes when a key is removed or changes its meaning, not when a key is added.

use std::sync::Arc;

use super::cursor::{Ends, Line, Scratch};
use super::escape;
use super::write::WriteEntries;
use crate::age::{Age, Idle};
use crate::field::Subject;
use crate::model::{
    Counters, Family, Flow, L4, LabelNames, Labels, Nat, ProtoInfo, Protocol, STATUS_BITS, SequenceAdjustment, Status,
    Synproxy, TcpInfo, TcpState, Tuple, protocol_name,
};

/// Writes entries as JSON.
#[derive(Debug, Clone)]
pub(super) struct JsonWriter {
    labels: Option<Arc<LabelNames>>,
    scratch: Scratch,
}

impl JsonWriter {
    /// With `labels`, the names of labels are written, too.
    pub(super) fn new(labels: Option<Arc<LabelNames>>) -> Self {
        JsonWriter { labels, scratch: Scratch::new() }
    }
}

impl WriteEntries for JsonWriter {
    fn entry(&mut self, out: &mut Vec<u8>, subject: &Subject<'_>) {
        let flow = subject.flow;
        let mut line = self.scratch.cursor();
        line.put(b"{\"v\":1,");
        put_flow(&mut line, out, flow, self.labels.as_deref());
        number64(&mut line, b",\"event_ns\":", flow.event_time);
        put_idle(&mut line, subject);
        line.put(b"}\n");
        line.flush(out);
    }
}

/// Appends the members that lists and events have in common, without the braces.
#[inline(always)]
pub(super) fn put_flow(line: &mut Line<'_>, out: &mut Vec<u8>, flow: &Flow, names: Option<&LabelNames>) {
    put_protocols(line, flow.family, flow.orig.protocol);
    put_state(line, &flow.protoinfo);
    number(line, b",\"timeout\":", flow.timeout);
    line.put(b",\"orig\":");
    let ends = put_direction(line, &flow.orig, flow.counters_orig, None);
    line.put(b",\"reply\":");
    put_direction(line, &flow.reply, flow.counters_reply, Some(ends));
    put_status(line, flow.status);
    if flow.status.intersects(Status::SrcNat | Status::DstNat) {
        line.out_of_line(|line| put_nat(line, flow));
    }
    put_numbers(line, flow);
    put_rare(line, out, flow, names);
}

#[inline(always)]
pub(super) fn put_protocols(line: &mut Line<'_>, family: Family, protocol: Protocol) {
    match family {
        Family::V4 => line.put(b"\"family\":\"ipv4\",\"proto\":"),
        Family::V6 => line.put(b"\"family\":\"ipv6\",\"proto\":"),
        Family::Other(family) => {
            number(line, b"\"family_number\":", Some(family.into()));
            line.put(b",\"proto\":");
        }
    }
    match protocol {
        Protocol::Tcp => line.put(b"6,\"protocol\":\"tcp\""),
        Protocol::Udp => line.put(b"17,\"protocol\":\"udp\""),
        protocol => {
            line.decimal(u8::from(protocol).into());
            plain_string(line, b",\"protocol\":\"", protocol_name(protocol));
        }
    }
}

#[inline(always)]
pub(super) fn put_state(line: &mut Line<'_>, info: &ProtoInfo) {
    let (name, value) = match info {
        ProtoInfo::None => return,
        ProtoInfo::Tcp(TcpInfo { state: TcpState::Established, .. }) => return line.put(b",\"state\":\"ESTABLISHED\""),
        ProtoInfo::Tcp(tcp) => (tcp.state.name(), tcp.state.number()),
        ProtoInfo::Sctp(sctp) => (sctp.state.name(), sctp.state.number()),
        ProtoInfo::Dccp(dccp) => (dccp.state.name(), dccp.state.number()),
        ProtoInfo::Unknown(tracker) => return number(line, b",\"unknown_tracker\":", Some((*tracker).into())),
    };
    plain_string(line, b",\"state\":\"", name);
    if name.is_none() {
        number(line, b",\"state_number\":", Some(value.into()));
    }
}

#[inline(always)]
fn put_direction<'a>(
    line: &mut Line<'_>,
    tuple: &'a Tuple,
    counters: Option<Counters>,
    other: Option<Ends<'_>>,
) -> Ends<'a> {
    let ends = put_tuple(line, tuple, other);
    if let Some(counters) = counters {
        line.put(b",\"packets\":");
        line.decimal64(counters.packets);
        line.put(b",\"bytes\":");
        line.decimal64(counters.bytes);
    }
    line.put(b"}");
    ends
}

/// Appends the object of a tuple without its closing brace. `other` are the endpoints of the other
/// direction.
#[inline(always)]
pub(super) fn put_tuple<'a>(line: &mut Line<'_>, tuple: &'a Tuple, other: Option<Ends<'_>>) -> Ends<'a> {
    line.put(b"{\"src\":\"");
    let src = line.address_or(&tuple.src, other.map(|ends| ends.dst));
    line.put(b"\",\"dst\":\"");
    let dst = line.address_or(&tuple.dst, other.map(|ends| ends.src));
    line.put(b"\"");
    let mut ends = Ends { src, dst, ports: None };
    match tuple.l4 {
        L4::None => {}
        L4::Ports { src, dst } if tuple.protocol == Protocol::Gre => {
            number(line, b",\"srckey\":", Some(src.into()));
            number(line, b",\"dstkey\":", Some(dst.into()));
        }
        L4::Ports { src, dst } => {
            let other = other.and_then(|ends| ends.ports);
            line.put(b",\"sport\":");
            let sport = line.port_or(src, other.map(|(_, dport)| dport));
            line.put(b",\"dport\":");
            let dport = line.port_or(dst, other.map(|(sport, _)| sport));
            ends.ports = Some((sport, dport));
        }
        L4::Icmp { kind, code, id } => {
            number(line, b",\"type\":", Some(kind.into()));
            number(line, b",\"code\":", Some(code.into()));
            number(line, b",\"id\":", Some(id.into()));
        }
    }
    number(line, b",\"zone\":", tuple.zone.map(u32::from));
    if tuple.has_unknown_part {
        line.put(b",\"unknown_part\":true");
    }
    ends
}

/// `"name",` and its length for each status bit with a name, by bit number.
static STATUS_WORDS: [([u8; 17], u8); STATUS_BITS.len()] = status_words();

/// The same for every combination of the bits below `1 << USUAL`. Nearly every entry has two or three of
/// them, so that one copy replaces branches that would be mispredicted.
static USUAL_STATUS: [([u8; 48], u8); 1 << USUAL] = usual_status();
const USUAL: u32 = 4;

#[allow(clippy::indexing_slicing)] // At compile time.
const fn status_words() -> [([u8; 17], u8); STATUS_BITS.len()] {
    let mut table = [([b'"'; 17], 0); STATUS_BITS.len()];
    let mut row = 0;
    while row < STATUS_BITS.len() {
        let name = STATUS_BITS[row].name.as_bytes();
        let mut i = 0;
        while i < name.len() {
            table[row].0[i + 1] = name[i];
            i += 1;
        }
        table[row].0[i + 2] = b',';
        table[row].1 = i as u8 + 3;
        row += 1;
    }
    table
}

#[allow(clippy::indexing_slicing)] // At compile time.
const fn usual_status() -> [([u8; 48], u8); 1 << USUAL] {
    let words = status_words();
    let mut table = [([0; 48], 0); 1 << USUAL];
    let mut set = 0;
    while set < table.len() {
        let mut bit = 0;
        while bit < USUAL as usize {
            let (word, length) = words[bit];
            let mut i = 0;
            while set >> bit & 1 == 1 && i < length as usize {
                table[set].0[table[set].1 as usize] = word[i];
                table[set].1 += 1;
                i += 1;
            }
            bit += 1;
        }
        set += 1;
    }
    table
}

#[inline(always)]
fn put_status(line: &mut Line<'_>, status: Status) {
    line.put(b",\"status\":[");
    let bits = status.bits();
    if let Some((text, length)) = USUAL_STATUS.get((bits & ((1 << USUAL) - 1)) as usize) {
        line.write_partial(text, usize::from(*length));
    }
    let mut rest = bits >> USUAL << USUAL;
    while rest != 0 {
        let Some((text, length)) = STATUS_WORDS.get(rest.trailing_zeros() as usize) else { break };
        line.write_partial(text, usize::from(*length));
        rest &= rest - 1;
    }
    if rest != bits {
        line.trim_space();
    }
    line.put(b"]");
    if rest != 0 {
        line.put(b",\"unknown_status\":");
        line.out_of_line(|line| numbers(line, (0u8..32).filter(|bit| rest >> bit & 1 == 1).map(u16::from)));
    }
}

#[inline(never)]
fn put_nat(line: &mut Line<'_>, flow: &Flow) {
    let nat = Nat::of(flow);
    line.put(b",\"nat\":{\"src\":");
    boolean(line, nat.src);
    line.put(b",\"sport\":");
    boolean(line, nat.sport);
    line.put(b",\"dst\":");
    boolean(line, nat.dst);
    line.put(b",\"dport\":");
    boolean(line, nat.dport);
    line.put(b"}");
}

#[inline(always)]
fn put_numbers(line: &mut Line<'_>, flow: &Flow) {
    number(line, b",\"mark\":", flow.mark);
    number(line, b",\"zone\":", flow.zone_both.map(u32::from));
    number(line, b",\"id\":", flow.id);
    number(line, b",\"use\":", flow.use_count);
    number64(line, b",\"start_ns\":", flow.start);
    number64(line, b",\"stop_ns\":", flow.stop);
}

/// Appends the members that few entries have.
#[inline(always)]
fn put_rare(line: &mut Line<'_>, out: &mut Vec<u8>, flow: &Flow, names: Option<&LabelNames>) {
    if let Some(helper) = &flow.helper {
        line.out_of_line(|line| put_string(line, out, b",\"helper\":", &String::from_utf8_lossy(helper.as_bytes())));
    }
    if let Some(labels) = flow.labels {
        line.out_of_line(|line| put_labels(line, out, labels, names));
    }
    if let Some(master) = &flow.master {
        line.out_of_line(|line| put_master(line, master));
    }
    if let Some(context) = &flow.secctx {
        line.out_of_line(|line| put_string(line, out, b",\"secctx\":", context));
    }
    if flow.seq_adj_orig.is_some() || flow.seq_adj_reply.is_some() {
        line.out_of_line(|line| put_adjustments(line, flow));
    }
    // Entries created over netlink have one in which everything is 0.
    if let Some(synproxy) = flow.synproxy.filter(|synproxy| *synproxy != Synproxy::default()) {
        line.out_of_line(|line| put_synproxy(line, synproxy));
    }
    if flow.unknown.count() > 0 {
        line.put(b",\"unknown_attributes\":");
        line.out_of_line(|line| numbers(line, flow.unknown.numbers().iter().copied()));
    }
}

#[cold]
#[inline(never)]
fn put_master(line: &mut Line<'_>, master: &Tuple) {
    line.put(b",\"master\":");
    put_tuple(line, master, None);
    line.put(b"}");
}

#[cold]
#[inline(never)]
fn put_adjustments(line: &mut Line<'_>, flow: &Flow) {
    if let Some(adjustment) = flow.seq_adj_orig {
        line.put(b",\"seq_adj_orig\":");
        put_adjustment(line, adjustment);
    }
    if let Some(adjustment) = flow.seq_adj_reply {
        line.put(b",\"seq_adj_reply\":");
        put_adjustment(line, adjustment);
    }
}

#[cold]
#[inline(never)]
fn put_labels(line: &mut Line<'_>, out: &mut Vec<u8>, labels: Labels, names: Option<&LabelNames>) {
    line.put(b",\"labels\":");
    numbers(line, labels.numbers().map(u16::from));
    let Some(names) = names else { return };
    line.put(b",\"label_names\":");
    line.flush(out);
    let start = out.len();
    for name in labels.numbers().filter_map(|number| names.name(number)) {
        out.push(if out.len() == start { b'[' } else { b',' });
        escape::json_string(out, name);
    }
    out.extend_from_slice(if out.len() == start { b"[]" } else { b"]" });
}

#[cold]
fn put_adjustment(line: &mut Line<'_>, adjustment: SequenceAdjustment) {
    number(line, b"{\"position\":", Some(adjustment.position));
    number(line, b",\"before\":", Some(adjustment.before));
    number(line, b",\"after\":", Some(adjustment.after));
    line.put(b"}");
}

#[cold]
#[inline(never)]
fn put_synproxy(line: &mut Line<'_>, synproxy: Synproxy) {
    number(line, b",\"synproxy\":{\"isn\":", Some(synproxy.isn));
    number(line, b",\"its\":", Some(synproxy.its));
    number(line, b",\"tsoff\":", Some(synproxy.tsoff));
    line.put(b"}");
}

#[inline(always)]
fn put_idle(line: &mut Line<'_>, subject: &Subject<'_>) {
    match subject.idle() {
        Idle::Exact { at_least, at_most } => {
            number(line, b",\"idle\":{\"at_least\":", Some(at_least));
            number(line, b",\"at_most\":", Some(at_most));
        }
        Idle::AtLeast(seconds, why) => {
            number(line, b",\"idle\":{\"at_least\":", Some(seconds));
            plain_string(line, b",\"unknown\":\"", Some(why.name()));
        }
        Idle::Unknown(why) => plain_string(line, b",\"idle\":{\"unknown\":\"", Some(why.name())),
    }
    line.put(b"}");
    if let Age::Known(seconds) = subject.ages.age(subject.flow) {
        number64(line, b",\"age\":", Some(seconds));
    }
}

#[inline(always)]
pub(super) fn number<const N: usize>(line: &mut Line<'_>, key: &[u8; N], value: Option<u32>) {
    if let Some(value) = value {
        line.put(key);
        line.decimal(value);
    }
}

#[inline(always)]
pub(super) fn number64<const N: usize>(line: &mut Line<'_>, key: &[u8; N], value: Option<u64>) {
    if let Some(value) = value {
        line.put(key);
        line.decimal64(value);
    }
}

#[inline(never)]
pub(super) fn numbers(line: &mut Line<'_>, values: impl Iterator<Item = u16>) {
    line.put(b"[");
    let mut any = false;
    for value in values {
        line.decimal(value.into());
        line.put(b",");
        any = true;
    }
    if any {
        line.trim_space();
    }
    line.put(b"]");
}

#[inline(always)]
pub(super) fn boolean(line: &mut Line<'_>, value: bool) {
    if value { line.put(b"true") } else { line.put(b"false") }
}

/// Appends a name that needs no escape; `key` ends with the opening quote.
#[inline(always)]
pub(super) fn plain_string<const N: usize>(line: &mut Line<'_>, key: &[u8; N], value: Option<&str>) {
    if let Some(value) = value {
        line.put(key);
        line.text(value.as_bytes());
        line.put(b"\"");
    }
}

/// Appends a string that did not come from this program. Nearly all are short and need no escape.
#[inline(never)]
pub(super) fn put_string<const N: usize>(line: &mut Line<'_>, out: &mut Vec<u8>, key: &[u8; N], value: &str) {
    line.put(key);
    if value.len() <= 256 && value.bytes().all(|byte| matches!(byte, b' '..=b'~') && byte != b'"' && byte != b'\\') {
        line.put(b"\"");
        line.text(value.as_bytes());
        line.put(b"\"");
    } else {
        line.flush(out);
        escape::json_string(out, value);
    }
}
