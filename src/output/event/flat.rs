//! The flat records of `--flows` as JSON: a connection in one object, with its NAT.

use super::duration::duration;
use super::members::{put_clock, put_context, put_start, put_synthetic, put_time};
use super::record::{BeginRecord, EndRecord, LastPacket};
use crate::model::{Flow, L4, Protocol, Status, Tuple};
use crate::output::cursor::Line;
use crate::output::json::{number, number64, put_protocols, put_state};

/// The flat record of `--flows=both` at the beginning.
pub(super) fn put_begin(line: &mut Line<'_>, out: &mut Vec<u8>, begun: &BeginRecord<'_>) {
    line.put(b",\"event\":\"begin\"");
    put_synthetic(line, begun.synthetic);
    put_time(line, begun.time.ns);
    put_clock(line, begun.time.clock);
    put_context(line, out, begun.netns, None, begun.requester);
    if let Some(start) = begun.start {
        put_start(line, start, None);
    }
    put_connection(line, begun.flow);
}

/// The flat record of `--flows`.
pub(super) fn put_end(line: &mut Line<'_>, out: &mut Vec<u8>, ended: &EndRecord<'_>) {
    line.put(b",\"event\":\"end\"");
    put_synthetic(line, ended.synthetic);
    put_time(line, ended.end.ns);
    put_clock(line, ended.end.clock);
    put_context(line, out, ended.netns, ended.killed, ended.requester);
    if let Some(start) = ended.start {
        put_start(line, start, duration(Some(start), ended.end, ended.synthetic));
    }
    if let Some(LastPacket { after, before }) = ended.last_packet {
        number64(line, b",\"last_packet_after_ns\":", after);
        number64(line, b",\"last_packet_before_ns\":", Some(before));
    }
    put_connection(line, ended.flow);
}

/// The connection of a flat record.
fn put_connection(line: &mut Line<'_>, flow: &Flow) {
    line.put(b",");
    put_protocols(line, flow.family, flow.orig.protocol);
    put_state(line, &flow.protoinfo);
    put_original(line, &flow.orig);
    put_translation(line, flow);
    if let Some(counters) = flow.counters_orig {
        number64(line, b",\"packets_orig\":", Some(counters.packets));
        number64(line, b",\"bytes_orig\":", Some(counters.bytes));
    }
    if let Some(counters) = flow.counters_reply {
        number64(line, b",\"packets_reply\":", Some(counters.packets));
        number64(line, b",\"bytes_reply\":", Some(counters.bytes));
    }
    number(line, b",\"mark\":", flow.mark);
    number(line, b",\"zone\":", flow.zone_both.map(u32::from));
    number(line, b",\"zone_orig\":", flow.orig.zone.map(u32::from));
    number(line, b",\"zone_reply\":", flow.reply.zone.map(u32::from));
}

/// The original direction: addresses, and ports, keys or ICMP values.
fn put_original(line: &mut Line<'_>, tuple: &Tuple) {
    put_address(line, b",\"src\":\"", &tuple.src);
    put_address(line, b",\"dst\":\"", &tuple.dst);
    match tuple.l4 {
        L4::None => {}
        L4::Ports { src, dst } if tuple.protocol == Protocol::Gre => {
            number(line, b",\"srckey\":", Some(src.into()));
            number(line, b",\"dstkey\":", Some(dst.into()));
        }
        L4::Ports { src, dst } => {
            number(line, b",\"sport\":", Some(src.into()));
            number(line, b",\"dport\":", Some(dst.into()));
        }
        L4::Icmp { kind, code, id } => {
            number(line, b",\"icmp_type\":", Some(kind.into()));
            number(line, b",\"icmp_code\":", Some(code.into()));
            number(line, b",\"icmp_id\":", Some(id.into()));
        }
    }
}

/// The translated source and destination. For each that NAT rewrites, both address and port are written,
/// even if only one of them differs.
fn put_translation(line: &mut Line<'_>, flow: &Flow) {
    let (reply, is_gre) = (&flow.reply, flow.reply.protocol == Protocol::Gre);
    if flow.status.contains(Status::SrcNat) {
        put_address(line, b",\"nat_src\":\"", &reply.dst);
        match reply.l4 {
            L4::None => {}
            L4::Ports { dst, .. } if is_gre => number(line, b",\"nat_srckey\":", Some(dst.into())),
            L4::Ports { dst, .. } => number(line, b",\"nat_sport\":", Some(dst.into())),
            L4::Icmp { id, .. } => number(line, b",\"nat_icmp_id\":", Some(id.into())),
        }
    }
    if flow.status.contains(Status::DstNat) {
        put_address(line, b",\"nat_dst\":\"", &reply.src);
        match reply.l4 {
            L4::None | L4::Icmp { .. } => {}
            L4::Ports { src, .. } if is_gre => number(line, b",\"nat_dstkey\":", Some(src.into())),
            L4::Ports { src, .. } => number(line, b",\"nat_dport\":", Some(src.into())),
        }
    }
}

fn put_address<const N: usize>(line: &mut Line<'_>, key: &[u8; N], address: &std::net::IpAddr) {
    line.put(key);
    line.address(address);
    line.put(b"\"");
}
