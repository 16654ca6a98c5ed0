//! One entry of the binary format: its fields as bits, then their values in the order of the bits.
//!
//! Some 45 bytes for a TCP entry of IPv4, where the kernel's message has 240. docs/save.md has the format.

use crate::model::{Flow, L4, ProtoInfo, SequenceAdjustment, Tuple};

/// Which fields of an entry follow.
pub(super) mod field {
    pub(in super::super) const REPLY: u32 = 1 << 0;
    pub(in super::super) const FAMILY: u32 = 1 << 1;
    pub(in super::super) const TIMEOUT: u32 = 1 << 2;
    pub(in super::super) const MARK: u32 = 1 << 3;
    pub(in super::super) const ZONE: u32 = 1 << 4;
    pub(in super::super) const ID: u32 = 1 << 5;
    pub(in super::super) const PROTOINFO: u32 = 1 << 6;
    pub(in super::super) const COUNTERS_ORIG: u32 = 1 << 7;
    pub(in super::super) const COUNTERS_REPLY: u32 = 1 << 8;
    pub(in super::super) const START: u32 = 1 << 9;
    pub(in super::super) const HELPER: u32 = 1 << 10;
    pub(in super::super) const LABELS: u32 = 1 << 11;
    pub(in super::super) const MASTER: u32 = 1 << 12;
    pub(in super::super) const SEQ_ADJ_ORIG: u32 = 1 << 13;
    pub(in super::super) const SEQ_ADJ_REPLY: u32 = 1 << 14;
    pub(in super::super) const SYNPROXY: u32 = 1 << 15;
    pub(in super::super) const SECCTX: u32 = 1 << 16;
    pub(in super::super) const ALL: u32 = (1 << 17) - 1;
}

/// The flags of a tuple.
pub(super) mod tuple {
    pub(in super::super) const SRC_V6: u8 = 1 << 0;
    pub(in super::super) const DST_V6: u8 = 1 << 1;
    pub(in super::super) const PORTS: u8 = 1 << 2;
    pub(in super::super) const ICMP: u8 = 1 << 3;
    pub(in super::super) const ZONE: u8 = 1 << 4;
    pub(in super::super) const UNKNOWN_PART: u8 = 1 << 5;
    pub(in super::super) const ALL: u8 = (1 << 6) - 1;
}

/// The trackers.
pub(super) mod tracker {
    pub(in super::super) const TCP: u8 = 1;
    pub(in super::super) const SCTP: u8 = 2;
    pub(in super::super) const DCCP: u8 = 3;
    pub(in super::super) const UNKNOWN: u8 = 255;
}

/// The longest security context, in bytes: the kernel's are shorter. A longer one is left out.
pub(super) const MAX_SECCTX: usize = 32 * 1024;

/// Appends `flow`, behind its length.
#[inline]
pub(super) fn encode(out: &mut Vec<u8>, flow: &Flow) {
    let start = out.len();
    let secctx = flow.secctx.as_deref().filter(|context| context.len() <= MAX_SECCTX);
    let has_reply = flow.reply != flow.orig.inverse();
    let fields = fields_of(flow, has_reply, secctx.is_some());
    out.extend_from_slice(&[0, 0]);
    out.extend_from_slice(&fields.to_le_bytes());
    out.extend_from_slice(&flow.status.bits().to_le_bytes());
    put_tuple(out, &flow.orig);
    if has_reply {
        put_tuple(out, &flow.reply);
    }
    if fields & field::FAMILY != 0 {
        out.push(flow.family.number());
    }
    for number in [flow.timeout, flow.mark].into_iter().flatten() {
        out.extend_from_slice(&number.to_le_bytes());
    }
    if let Some(zone) = flow.zone_both {
        out.extend_from_slice(&zone.to_le_bytes());
    }
    if let Some(id) = flow.id {
        out.extend_from_slice(&id.to_le_bytes());
    }
    put_protoinfo(out, &flow.protoinfo);
    if fields >= field::COUNTERS_ORIG {
        put_rare(out, flow, secctx);
    }
    // Its longest parts have 32 KiB and 32 bytes.
    let length = u16::try_from(out.len() - start - 2).unwrap_or(u16::MAX);
    if let Some(place) = out.get_mut(start..).and_then(|entry| entry.first_chunk_mut()) {
        *place = length.to_le_bytes();
    }
}

#[inline]
fn fields_of(flow: &Flow, has_reply: bool, has_secctx: bool) -> u32 {
    [
        (has_reply, field::REPLY),
        (flow.family != flow.orig.family(), field::FAMILY),
        (flow.timeout.is_some(), field::TIMEOUT),
        (flow.mark.is_some(), field::MARK),
        (flow.zone_both.is_some(), field::ZONE),
        (flow.id.is_some(), field::ID),
        (flow.protoinfo != ProtoInfo::None, field::PROTOINFO),
        (flow.counters_orig.is_some(), field::COUNTERS_ORIG),
        (flow.counters_reply.is_some(), field::COUNTERS_REPLY),
        (flow.start.is_some(), field::START),
        (flow.helper.is_some(), field::HELPER),
        (flow.labels.is_some(), field::LABELS),
        (flow.master.is_some(), field::MASTER),
        (flow.seq_adj_orig.is_some(), field::SEQ_ADJ_ORIG),
        (flow.seq_adj_reply.is_some(), field::SEQ_ADJ_REPLY),
        (flow.synproxy.is_some(), field::SYNPROXY),
        (has_secctx, field::SECCTX),
    ]
    .into_iter()
    .fold(0, |fields, (is_set, field)| fields | if is_set { field } else { 0 })
}

#[inline]
fn put_tuple(out: &mut Vec<u8>, tuple: &Tuple) {
    let flags = [
        (tuple.src.is_ipv6(), tuple::SRC_V6),
        (tuple.dst.is_ipv6(), tuple::DST_V6),
        (matches!(tuple.l4, L4::Ports { .. }), tuple::PORTS),
        (matches!(tuple.l4, L4::Icmp { .. }), tuple::ICMP),
        (tuple.zone.is_some(), tuple::ZONE),
        (tuple.has_unknown_part, tuple::UNKNOWN_PART),
    ]
    .into_iter()
    .fold(0, |flags, (is_set, flag)| flags | if is_set { flag } else { 0 });
    out.extend_from_slice(&[flags, u8::from(tuple.protocol)]);
    for address in [tuple.src, tuple.dst] {
        match address {
            std::net::IpAddr::V4(address) => out.extend_from_slice(&address.octets()),
            std::net::IpAddr::V6(address) => out.extend_from_slice(&address.octets()),
        }
    }
    match tuple.l4 {
        L4::None => {}
        L4::Ports { src, dst } => {
            let [s0, s1, d0, d1] = (u32::from(src) | u32::from(dst) << 16).to_le_bytes();
            out.extend_from_slice(&[s0, s1, d0, d1]);
        }
        L4::Icmp { kind, code, id } => {
            let [low, high] = id.to_le_bytes();
            out.extend_from_slice(&[kind, code, low, high]);
        }
    }
    if let Some(zone) = tuple.zone {
        out.extend_from_slice(&zone.to_le_bytes());
    }
}

/// The bits of the optional values that follow: the first of `are_set` is the lowest.
fn presence<const N: usize>(are_set: [bool; N]) -> u8 {
    are_set.into_iter().rev().fold(0, |bits, is_set| bits << 1 | u8::from(is_set))
}

fn put_protoinfo(out: &mut Vec<u8>, info: &ProtoInfo) {
    match info {
        ProtoInfo::None => {}
        ProtoInfo::Tcp(tcp) => {
            let values = [tcp.wscale_orig, tcp.wscale_reply, tcp.flags_orig, tcp.flags_reply];
            out.extend_from_slice(&[tracker::TCP, tcp.state.number(), presence(values.map(|value| value.is_some()))]);
            out.extend(values.into_iter().flatten());
        }
        ProtoInfo::Sctp(sctp) => {
            let values = [sctp.vtag_orig, sctp.vtag_reply];
            out.extend_from_slice(&[tracker::SCTP, sctp.state.number(), presence(values.map(|value| value.is_some()))]);
            values.into_iter().flatten().for_each(|tag| out.extend_from_slice(&tag.to_le_bytes()));
        }
        ProtoInfo::Dccp(dccp) => {
            let are_set = presence([dccp.role.is_some(), dccp.handshake_seq.is_some()]);
            out.extend_from_slice(&[tracker::DCCP, dccp.state.number(), are_set]);
            out.extend(dccp.role);
            dccp.handshake_seq.into_iter().for_each(|number| out.extend_from_slice(&number.to_le_bytes()));
        }
        ProtoInfo::Unknown(number) => {
            out.push(tracker::UNKNOWN);
            out.extend_from_slice(&number.to_le_bytes());
        }
    }
}

/// Appends what most entries do not have.
#[inline(never)]
fn put_rare(out: &mut Vec<u8>, flow: &Flow, secctx: Option<&str>) {
    for counters in [flow.counters_orig, flow.counters_reply].into_iter().flatten() {
        out.extend_from_slice(&counters.packets.to_le_bytes());
        out.extend_from_slice(&counters.bytes.to_le_bytes());
    }
    if let Some(start) = flow.start {
        out.extend_from_slice(&start.to_le_bytes());
    }
    if let Some(helper) = &flow.helper {
        let name = helper.as_bytes();
        out.push(u8::try_from(name.len()).unwrap_or(u8::MAX));
        out.extend_from_slice(name);
    }
    if let Some(labels) = flow.labels {
        out.extend_from_slice(&labels.bits().to_le_bytes());
    }
    if let Some(master) = &flow.master {
        put_tuple(out, master);
    }
    for SequenceAdjustment { position, before, after } in [flow.seq_adj_orig, flow.seq_adj_reply].into_iter().flatten()
    {
        [position, before, after].into_iter().for_each(|number| out.extend_from_slice(&number.to_le_bytes()));
    }
    if let Some(synproxy) = flow.synproxy {
        let numbers = [synproxy.isn, synproxy.its, synproxy.tsoff];
        numbers.into_iter().for_each(|number| out.extend_from_slice(&number.to_le_bytes()));
    }
    if let Some(context) = secctx {
        out.extend_from_slice(&u16::try_from(context.len()).unwrap_or(u16::MAX).to_le_bytes());
        out.extend_from_slice(context.as_bytes());
    }
}
