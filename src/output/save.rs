//! `-o save`: the line of conntrack(8) with `-o save`, byte for byte: the options with which `conntrack -R`
//! creates the entry again.
//!
//! One difference: for SCTP's states from HEARTBEAT_SENT on, conntrack(8) 1.4.7 and 1.4.9 print `(null)`.
//!
//! It has neither mark, helper, labels, counters nor the window scales of TCP, as conntrack's own has not
//! (`ct_save_snprintf` in its src/conntrack.c); the binary format of `ctnl save` has them.

use super::cursor::{Line, Scratch};
use super::write::WriteEntries;
use crate::field::Subject;
use crate::model::{Flow, L4, ProtoInfo, Protocol, Status, protocol_name};

/// Writes entries as `conntrack -o save` does.
#[derive(Debug, Clone)]
pub(super) struct SaveWriter(Scratch);

impl SaveWriter {
    pub(super) fn new() -> Self {
        SaveWriter(Scratch::new())
    }
}

impl WriteEntries for SaveWriter {
    fn entry(&mut self, out: &mut Vec<u8>, subject: &Subject<'_>) {
        let (mut line, flow) = (self.0.cursor(), subject.flow);
        line.put(b"-A ");
        put_generic(&mut line, flow);
        put_addresses(&mut line, flow);
        put_protocol(&mut line, flow);
        line.trim_space();
        line.put(b"\n");
        line.flush(out);
    }
}

/// The names that conntrack(8) has for status bits, in the order of the bits.
const STATUS: [(Status, &[u8]); 4] = [
    (Status::Expected, b"EXPECTED"),
    (Status::SeenReply, b"SEEN_REPLY"),
    (Status::Assured, b"ASSURED"),
    (Status::FixedTimeout, b"FIXED_TIMEOUT"),
];

#[inline(always)]
fn put_number(line: &mut Line<'_>, option: &[u8], value: impl Into<u32>) {
    line.text(option);
    line.decimal(value.into());
    line.put(b" ");
}

fn put_generic(line: &mut Line<'_>, flow: &Flow) {
    if let Some(timeout) = flow.timeout {
        put_number(line, b"-t ", timeout);
    }
    line.put(b"-u ");
    if flow.status.intersects(Status::Expected | Status::SeenReply | Status::Assured | Status::FixedTimeout) {
        for (_, name) in STATUS.into_iter().filter(|(bit, _)| flow.status.contains(*bit)) {
            line.text(name);
            line.put(b",");
        }
        line.trim_space();
    } else {
        line.put(b"UNSET");
    }
    line.put(b" ");
    let zones: [(&[u8], _); 3] =
        [(b"-w ", flow.zone_both), (b"--orig-zone ", flow.orig.zone), (b"--reply-zone ", flow.reply.zone)];
    for (option, zone) in zones {
        zone.into_iter().for_each(|zone| put_number(line, option, zone));
    }
}

/// Addresses. Those that NAT has changed have options of their own; a changed port alone has none.
fn put_addresses(line: &mut Line<'_>, flow: &Flow) {
    let (orig, reply) = (&flow.orig, &flow.reply);
    line.put(b"-s ");
    let src = line.address_or(&orig.src, None);
    line.put(b" -d ");
    let dst = line.address_or(&orig.dst, None);
    let is_dnat = flow.status.contains(Status::DstNatDone) && reply.src != orig.dst;
    line.put(if is_dnat { b" -g " } else { b" -r " });
    line.address_or(&reply.src, Some(dst));
    let is_snat = flow.status.contains(Status::SrcNatDone) && reply.dst != orig.src;
    line.put(if is_snat { b" -n " } else { b" -q " });
    line.address_or(&reply.dst, Some(src));
    line.put(b" ");
}

fn put_protocol(line: &mut Line<'_>, flow: &Flow) {
    let protocol = flow.orig.protocol;
    line.put(b"-p ");
    match protocol_name(protocol) {
        Some(name) => line.text(name.as_bytes()),
        None => line.decimal(u8::from(protocol).into()),
    }
    line.put(b" ");
    match protocol {
        Protocol::Gre => put_ports(line, flow, [b"--srckey ", b"--dstkey ", b"--reply-key-src ", b"--reply-key-dst "]),
        Protocol::Icmp => put_icmp(line, flow.orig.l4, [b"--icmp-type ", b"--icmp-code ", b"--icmp-id "]),
        Protocol::Ipv6Icmp => put_icmp(line, flow.orig.l4, [b"--icmpv6-type ", b"--icmpv6-code ", b"--icmpv6-id "]),
        _ if protocol_name(protocol).is_some() => {
            put_ports(line, flow, [b"--sport ", b"--dport ", b"--reply-port-src ", b"--reply-port-dst "]);
        }
        _ => {}
    }
    put_state(line, &flow.protoinfo);
}

fn put_ports(line: &mut Line<'_>, flow: &Flow, [sport, dport, reply_sport, reply_dport]: [&[u8]; 4]) {
    if let L4::Ports { src, dst } = flow.orig.l4 {
        put_number(line, sport, src);
        put_number(line, dport, dst);
    }
    if let L4::Ports { src, dst } = flow.reply.l4 {
        put_number(line, reply_sport, src);
        put_number(line, reply_dport, dst);
    }
}

fn put_icmp(line: &mut Line<'_>, l4: L4, [kind_option, code_option, id_option]: [&[u8]; 3]) {
    if let L4::Icmp { kind, code, id } = l4 {
        put_number(line, kind_option, kind);
        put_number(line, code_option, code);
        put_number(line, id_option, id);
    }
}

fn put_state(line: &mut Line<'_>, info: &ProtoInfo) {
    let name = match info {
        ProtoInfo::None | ProtoInfo::Unknown(_) => return,
        ProtoInfo::Tcp(tcp) => tcp.state.name(),
        ProtoInfo::Sctp(sctp) => sctp.state.name(),
        ProtoInfo::Dccp(dccp) => dccp.state.name(),
    };
    line.put(b"--state ");
    line.text(name.unwrap_or("NONE").as_bytes());
    line.put(b" ");
    match info {
        ProtoInfo::Sctp(sctp) => {
            let tags: [(&[u8], _); 2] = [(b"--orig-vtag ", sctp.vtag_orig), (b"--reply-vtag ", sctp.vtag_reply)];
            for (option, tag) in tags {
                // conntrack(8) prints the bytes of a tag as they are in memory, and reads them so.
                tag.into_iter().for_each(|tag| put_number(line, option, tag.to_be()));
            }
        }
        ProtoInfo::Dccp(dccp) => {
            if let Some(role) = dccp.role {
                line.put(if role == 0 { b"--role client " } else { b"--role server " });
            }
        }
        _ => {}
    }
}
