//! Ports, and what stands for them in ICMP and GRE.

use super::kind::Kind;
use super::row::{Field, Subject};
use super::value::{Numbers, Value};
use crate::model::{Flow, L4, Protocol, Status};

const fn port(
    name: &'static str,
    doc: &'static str,
    example: &'static str,
    value: for<'a> fn(&Subject<'a>) -> Value<'a>,
) -> Field {
    Field::new(name, Kind::Port, doc, example, value).optional()
}

const fn icmp(
    name: &'static str,
    max: u64,
    doc: &'static str,
    example: &'static str,
    value: for<'a> fn(&Subject<'a>) -> Value<'a>,
) -> Field {
    Field::new(name, Kind::Number(max), doc, example, value).optional()
}

pub(super) const ROWS: &[Field] = &[
    port("sport", "source port of the original direction", "sport 1024-65535", |s| one(s.flow.orig.sport())),
    port("dport", "destination port of the original direction", "dport 80,443", |s| one(s.flow.orig.dport())),
    port("port", "source or destination port of the original direction", "port 53", |s| {
        several(s.flow.orig.ports(), None)
    })
    .multi(),
    port("reply-sport", "source port of the replies: the destination port after NAT", "reply-sport 8080", |s| {
        one(s.flow.reply.sport())
    }),
    port("reply-dport", "destination port of the replies: the source port after NAT", "reply-dport 32768-60999", |s| {
        one(s.flow.reply.dport())
    }),
    port("any-port", "any of the four ports, before or after NAT", "any-port 8080", |s| {
        several(s.flow.orig.ports(), s.flow.reply.ports())
    })
    .multi(),
    port("nat-port", "a port of an end that NAT rewrites, after NAT", "nat-port 32768", |s| nat_ports(s.flow)).multi(),
    port("nat-sport", "the source port after source NAT", "nat-sport 32768", |s| {
        if s.flow.status.contains(Status::SrcNat) { one(s.flow.reply.dport()) } else { Value::Absent }
    }),
    port("nat-dport", "the destination port after destination NAT", "nat-dport 8080", |s| {
        if s.flow.status.contains(Status::DstNat) { one(s.flow.reply.sport()) } else { Value::Absent }
    }),
    icmp("icmp-type", 255, "ICMP or ICMPv6 type of the original direction", "icmp-type 8", |s| match s.flow.orig.l4 {
        L4::Icmp { kind, .. } => Value::Number(kind.into()),
        _ => Value::Absent,
    }),
    icmp("icmp-code", 255, "ICMP or ICMPv6 code of the original direction", "icmp-code 0", |s| match s.flow.orig.l4 {
        L4::Icmp { code, .. } => Value::Number(code.into()),
        _ => Value::Absent,
    }),
    icmp("icmp-id", 65535, "ICMP or ICMPv6 identifier of the original direction", "icmp-id 4711", |s| {
        match s.flow.orig.l4 {
            L4::Icmp { id, .. } => Value::Number(id.into()),
            _ => Value::Absent,
        }
    }),
    icmp("gre-key", 65535, "either GRE key of the original direction", "gre-key 0x10", |s| match s.flow.orig.l4 {
        L4::Ports { src, dst } if s.flow.orig.protocol == Protocol::Gre => Value::Numbers(Numbers::new([src, dst])),
        _ => Value::Absent,
    })
    .multi(),
];

fn one(port: Option<u16>) -> Value<'static> {
    port.map_or(Value::Absent, |port| Value::Number(port.into()))
}

#[inline]
fn several(orig: Option<(u16, u16)>, reply: Option<(u16, u16)>) -> Value<'static> {
    let numbers = match (orig, reply) {
        (Some((a, b)), Some((c, d))) => Numbers::new([a, b, c, d]),
        (Some((a, b)), None) | (None, Some((a, b))) => Numbers::new([a, b]),
        (None, None) => return Value::Absent,
    };
    Value::Numbers(numbers)
}

fn nat_ports(flow: &Flow) -> Value<'static> {
    let src = flow.reply.dport().filter(|_| flow.status.contains(Status::SrcNat));
    let dst = flow.reply.sport().filter(|_| flow.status.contains(Status::DstNat));
    if src.is_none() && dst.is_none() {
        return Value::Absent;
    }
    Value::Numbers(Numbers::new(src.into_iter().chain(dst)))
}
