//! `-o xml`: the document that `conntrack -L -o xml` prints.
//!
//! Byte for byte, with three exceptions: SCTP and DCCP states have their own names (conntrack(8) prints the
//! TCP state with the same number), text is escaped, and an empty table is an empty document (conntrack(8)
//! prints nothing).

use jiff::Timestamp;
use jiff::tz::TimeZone;

use super::cursor::{Line, Scratch};
use super::escape;
use super::event::{Record, WriteRecords};
use super::local_time::SECOND;
use super::text::TextOptions;
use super::write::WriteEntries;
use crate::field::Subject;
use crate::model::{
    Counters, EventKind, Family, Flow, L4, LabelNames, Labels, ProtoInfo, Protocol, Status, Tuple, protocol_name,
};

const BEGINNING: &[u8] = b"<?xml version=\"1.0\" encoding=\"utf-8\"?>\n<conntrack>\n";

/// Writes entries as XML.
#[derive(Debug, Clone)]
pub(super) struct XmlWriter {
    options: TextOptions,
    scratch: Scratch,
}

impl XmlWriter {
    /// Of `options`, `ktimestamp` and `labels` have an effect; the id is always written.
    pub(super) fn new(options: TextOptions) -> Self {
        XmlWriter { options: options.without_empty_names(), scratch: Scratch::new() }
    }
}

impl WriteEntries for XmlWriter {
    fn begin(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(BEGINNING);
    }

    fn entry(&mut self, out: &mut Vec<u8>, subject: &Subject<'_>) {
        let mut line = self.scratch.cursor();
        line.put(b"<flow>");
        put_flow(&mut line, out, subject, subject.flow.mark, &self.options);
        put_end(&mut line, out, subject.flow);
    }

    fn end(&mut self, out: &mut Vec<u8>) {
        out.extend_from_slice(b"</conntrack>\n");
    }
}

/// The events of `conntrack -E -o xml`. It is no format of an event stream of ctnl: a file of it would have no end.
#[derive(Debug, Clone)]
pub(super) struct XmlEvents {
    options: TextOptions,
    scratch: Scratch,
}

impl XmlEvents {
    pub(super) fn new(options: TextOptions) -> Self {
        XmlEvents { options: options.without_empty_names(), scratch: Scratch::new() }
    }
}

impl WriteRecords for XmlEvents {
    fn is_line(&self, line: &[u8]) -> bool {
        line.starts_with(b"<flow type=\"")
    }

    fn begin(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(BEGINNING);
    }

    fn record(&mut self, out: &mut Vec<u8>, _seq: u64, record: &Record<'_>) -> bool {
        let Record::Flow(record) = record else { return false };
        let mut line = self.scratch.cursor();
        match record.kind {
            EventKind::New => line.put(b"<flow type=\"new\">"),
            EventKind::Update => line.put(b"<flow type=\"update\">"),
            EventKind::Destroy => line.put(b"<flow type=\"destroy\">"),
        }
        let mark = record.subject.flow.mark.filter(|_| !record.is_mark_implied);
        put_flow(&mut line, out, record.subject, mark, &self.options);
        if self.options.timestamp {
            put_when(&mut line, record.time.ns, &self.options);
        }
        put_end(&mut line, out, record.subject.flow);
        true
    }
}

/// Appends the three parts of an entry.
fn put_flow(line: &mut Line<'_>, out: &mut Vec<u8>, subject: &Subject<'_>, mark: Option<u32>, options: &TextOptions) {
    let flow = subject.flow;
    line.put(b"<meta direction=\"original\">");
    put_direction(line, flow.family, &flow.orig, flow.counters_orig);
    line.put(b"<meta direction=\"reply\">");
    put_direction(line, flow.family, &flow.reply, flow.counters_reply);
    line.put(b"<meta direction=\"independent\">");
    put_common(line, out, flow, mark, options.labels.as_deref());
    put_times(line, subject, options.ktimestamp);
    line.put(b"</meta>");
}

fn put_end(line: &mut Line<'_>, out: &mut Vec<u8>, flow: &Flow) {
    if let Some(helper) = &flow.helper {
        put_text(line, out, b"<helper>", helper.as_str(), b"</helper>");
    }
    line.put(b"</flow>\n");
    line.flush(out);
}

/// Appends the local time of an event, with the numbers of `struct tm`: Sunday is 1.
#[cold]
fn put_when(line: &mut Line<'_>, ns: u64, options: &TextOptions) {
    let zone = options.zone.clone().unwrap_or(TimeZone::UTC);
    let second = i64::try_from(ns / SECOND).unwrap_or(0);
    let time = Timestamp::from_second(second).unwrap_or_default().to_zoned(zone);
    let text = format!(
        "<when><hour>{}</hour><min>{:02}</min><sec>{:02}</sec><wday>{}</wday><day>{}</day><month>{}</month>\
         <year>{}</year></when>",
        time.hour(),
        time.minute(),
        time.second(),
        time.weekday().to_sunday_one_offset(),
        time.day(),
        time.month(),
        time.year()
    );
    line.text(text.as_bytes());
}

fn put_direction(line: &mut Line<'_>, family: Family, tuple: &Tuple, counters: Option<Counters>) {
    let family_name = family.name().unwrap_or("unknown");
    let protocol_name = protocol_name(tuple.protocol).unwrap_or("unknown");
    put_protocol(line, b"<layer3 protonum=\"", family.number(), family_name.as_bytes());
    line.put(b"<src>");
    line.address(&tuple.src);
    line.put(b"</src><dst>");
    line.address(&tuple.dst);
    line.put(b"</dst></layer3>");
    put_protocol(line, b"<layer4 protonum=\"", tuple.protocol.into(), protocol_name.as_bytes());
    put_l4(line, tuple);
    line.put(b"</layer4>");
    number(line, b"<zone>", tuple.zone.map(u32::from), b"</zone>");
    if let Some(counters) = counters {
        line.put(b"<counters>");
        number64(line, b"<packets>", counters.packets, b"</packets>");
        number64(line, b"<bytes>", counters.bytes, b"</bytes>");
        line.put(b"</counters>");
    }
    line.put(b"</meta>");
}

fn put_protocol(line: &mut Line<'_>, open: &[u8; 18], number: u8, name: &[u8]) {
    line.put(open);
    line.decimal(number.into());
    line.put(b"\" protoname=\"");
    line.text(name);
    line.put(b"\">");
}

/// Appends ports or keys. conntrack(8) writes no elements for ICMP.
fn put_l4(line: &mut Line<'_>, tuple: &Tuple) {
    let (src, dst) = if let L4::Ports { src, dst } = tuple.l4 { (src, dst) } else { (0, 0) };
    match tuple.protocol {
        Protocol::Tcp | Protocol::Udp | Protocol::UdpLite | Protocol::Sctp | Protocol::Dccp => {
            number(line, b"<sport>", Some(src.into()), b"</sport>");
            number(line, b"<dport>", Some(dst.into()), b"</dport>");
        }
        Protocol::Gre => {
            line.put(b"<srckey>0x");
            line.hex(src);
            line.put(b"</srckey><dstkey>0x");
            line.hex(dst);
            line.put(b"</dstkey>");
        }
        _ => {}
    }
}

fn put_common(line: &mut Line<'_>, out: &mut Vec<u8>, flow: &Flow, mark: Option<u32>, names: Option<&LabelNames>) {
    put_state(line, &flow.protoinfo);
    number(line, b"<timeout>", flow.timeout, b"</timeout>");
    number(line, b"<mark>", mark, b"</mark>");
    if let (Some(names), Some(labels)) = (names, flow.labels) {
        put_labels(line, out, names, labels);
    }
    if let Some(context) = &flow.secctx {
        put_text(line, out, b"<secctx>", context, b"</secctx>");
    }
    number(line, b"<zone>", flow.zone_both.map(u32::from), b"</zone>");
    number(line, b"<use>", flow.use_count, b"</use>");
    number(line, b"<id>", flow.id, b"</id>");
    if flow.status.contains(Status::Assured) {
        line.put(b"<assured/>");
    }
    if !flow.status.is_empty() && !flow.status.contains(Status::SeenReply) {
        line.put(b"<unreplied/>");
    }
}

fn put_state(line: &mut Line<'_>, info: &ProtoInfo) {
    let name = match info {
        ProtoInfo::Tcp(tcp) => tcp.state.name(),
        ProtoInfo::Sctp(sctp) => sctp.state.name(),
        ProtoInfo::Dccp(dccp) => dccp.state.name(),
        _ => return,
    };
    line.put(b"<state>");
    line.text(name.unwrap_or("NONE").as_bytes());
    line.put(b"</state>");
}

fn put_times(line: &mut Line<'_>, subject: &Subject<'_>, shown: bool) {
    let (start, stop) = (subject.flow.start, subject.flow.stop);
    if shown && (start.is_some() || stop.is_some()) {
        line.put(b"<timestamp>");
        if let Some(start) = start {
            number64(line, b"<start>", start, b"</start>");
        }
        if let Some(stop) = stop {
            number64(line, b"<stop>", stop, b"</stop>");
        }
        line.put(b"</timestamp>");
    }
    if let Some(start) = start {
        let seconds = (stop.unwrap_or(subject.ages.now) / SECOND).saturating_sub(start / SECOND);
        number64(line, b"<deltatime>", seconds, b"</deltatime>");
    }
}

fn put_labels(line: &mut Line<'_>, out: &mut Vec<u8>, names: &LabelNames, labels: Labels) {
    line.put(b"<labels>");
    for name in labels.numbers().filter_map(|number| names.name(number)) {
        put_text(line, out, b"<label>", name, b"</label>");
    }
    line.put(b"</labels>");
}

#[inline]
fn number<const N: usize, const M: usize>(line: &mut Line<'_>, open: &[u8; N], value: Option<u32>, close: &[u8; M]) {
    if let Some(value) = value {
        line.put(open);
        line.decimal(value);
        line.put(close);
    }
}

#[inline]
fn number64<const N: usize, const M: usize>(line: &mut Line<'_>, open: &[u8; N], value: u64, close: &[u8; M]) {
    line.put(open);
    line.decimal64(value);
    line.put(close);
}

#[cold]
fn put_text(line: &mut Line<'_>, out: &mut Vec<u8>, open: &[u8], text: &str, close: &[u8]) {
    line.text(open);
    line.flush(out);
    escape::xml_text(out, text);
    line.text(close);
}
