//! Ports, and the corresponding values of ICMP and GRE.

use super::classes::EntryClasses;
use super::icmp_types::ICMP_TYPES;
use super::id::FieldId;
use super::kernel::{DumpFilter, EventFilter};
use super::row::Field;
use super::subject::Subject;
use super::value::{Numbers, Value};
use super::value_kind::ValueKind;
use crate::model::{Flow, L4, Protocol, Status};
use crate::netlink::Size;
use crate::wire::uapi::{cta, cta_proto, cta_tuple};

/// TCP and UDP entries have ports on every kernel. Those of the other protocols have them
/// where the tracker is built in (`CONFIG_NF_CT_PROTO_SCTP`, `_DCCP`, `_UDPLITE`).
const fn port(
    id: FieldId,
    name: &'static str,
    doc: &'static str,
    example: &'static str,
    value: for<'a> fn(&Subject<'a>) -> Value<'a>,
) -> Field {
    Field::new(id, name, ValueKind::Port, doc, example, value)
        .some_in(EntryClasses::WITH_PORTS, EntryClasses::TCP.union(EntryClasses::UDP))
}

/// A port that entries of the classes `nat` have, if they have ports.
const fn nat_port(
    id: FieldId,
    name: &'static str,
    doc: &'static str,
    example: &'static str,
    nat: EntryClasses,
    value: for<'a> fn(&Subject<'a>) -> Value<'a>,
) -> Field {
    let row = port(id, name, doc, example, value);
    row.some_in(row.present_in.intersection(nat), row.absent_in.complement().intersection(nat))
}

const fn icmp(
    id: FieldId,
    name: &'static str,
    kind: ValueKind,
    doc: &'static str,
    example: &'static str,
    value: for<'a> fn(&Subject<'a>) -> Value<'a>,
) -> Field {
    Field::new(id, name, kind, doc, example, value).only_in(EntryClasses::ICMP)
}

const fn gre(
    id: FieldId,
    name: &'static str,
    doc: &'static str,
    example: &'static str,
    value: for<'a> fn(&Subject<'a>) -> Value<'a>,
) -> Field {
    Field::new(id, name, ValueKind::Number(65535), doc, example, value).some_in(EntryClasses::GRE, EntryClasses::NONE)
}

pub(super) const ROWS: &[Field] = &[
    port(FieldId::Sport, "sport", "source port of the original direction", "sport 1024-65535", |s| {
        one(s.flow.orig.sport())
    })
    .dump_filter(DumpFilter::Number(|request, number| request.filter.orig.sport = u16::try_from(number).ok()))
    .event_filter(EventFilter::Number {
        path: &[cta::TUPLE_ORIG, cta_tuple::PROTO, cta_proto::SRC_PORT],
        size: Size::Half,
    }),
    port(FieldId::Dport, "dport", "destination port of the original direction", "dport 80,443", |s| {
        one(s.flow.orig.dport())
    })
    .dump_filter(DumpFilter::Number(|request, number| request.filter.orig.dport = u16::try_from(number).ok()))
    .event_filter(EventFilter::Number {
        path: &[cta::TUPLE_ORIG, cta_tuple::PROTO, cta_proto::DST_PORT],
        size: Size::Half,
    }),
    port(FieldId::Port, "port", "source or destination port of the original direction", "port 53", |s| {
        several(s.flow.orig.ports(), None)
    })
    .parts(&[(FieldId::Sport, EntryClasses::ALL), (FieldId::Dport, EntryClasses::ALL)])
    .multi(),
    port(
        FieldId::ReplySport,
        "reply-sport",
        "source port of the replies: the destination port after NAT",
        "reply-sport 8080",
        |s| one(s.flow.reply.sport()),
    ),
    port(
        FieldId::ReplyDport,
        "reply-dport",
        "destination port of the replies: the source port after NAT",
        "reply-dport 32768-60999",
        |s| one(s.flow.reply.dport()),
    ),
    port(FieldId::AnyPort, "any-port", "any of the four ports, before or after NAT", "any-port 8080", |s| {
        several(s.flow.orig.ports(), s.flow.reply.ports())
    })
    .parts(&[
        (FieldId::Sport, EntryClasses::ALL),
        (FieldId::Dport, EntryClasses::ALL),
        (FieldId::ReplySport, EntryClasses::ALL),
        (FieldId::ReplyDport, EntryClasses::ALL),
    ])
    .multi(),
    nat_port(
        FieldId::NatPort,
        "nat-port",
        "a port of an end that NAT rewrites, after NAT",
        "nat-port 32768",
        EntryClasses::SRC_NAT.union(EntryClasses::DST_NAT),
        |s| nat_ports(s.flow),
    )
    .parts(&[(FieldId::ReplyDport, EntryClasses::SRC_NAT), (FieldId::ReplySport, EntryClasses::DST_NAT)])
    .multi(),
    nat_port(
        FieldId::NatSport,
        "nat-sport",
        "the source port after source NAT",
        "nat-sport 32768",
        EntryClasses::SRC_NAT,
        |s| if s.flow.status.contains(Status::SrcNat) { one(s.flow.reply.dport()) } else { Value::Absent },
    )
    .parts(&[(FieldId::ReplyDport, EntryClasses::SRC_NAT)]),
    nat_port(
        FieldId::NatDport,
        "nat-dport",
        "the destination port after destination NAT",
        "nat-dport 8080",
        EntryClasses::DST_NAT,
        |s| if s.flow.status.contains(Status::DstNat) { one(s.flow.reply.sport()) } else { Value::Absent },
    )
    .parts(&[(FieldId::ReplySport, EntryClasses::DST_NAT)]),
    icmp(
        FieldId::IcmpType,
        "icmp-type",
        ValueKind::IcmpType,
        "ICMP or ICMPv6 type of the original direction, by number or name (echo-request is 8 and 128)",
        "icmp-type echo-request",
        |s| match s.flow.orig.l4 {
            L4::Icmp { kind, .. } => Value::Number(kind.into()),
            _ => Value::Absent,
        },
    )
    .live_one_of(ICMP_TYPES),
    icmp(
        FieldId::IcmpCode,
        "icmp-code",
        ValueKind::Number(255),
        "ICMP or ICMPv6 code of the original direction",
        "icmp-code 0",
        |s| match s.flow.orig.l4 {
            L4::Icmp { code, .. } => Value::Number(code.into()),
            _ => Value::Absent,
        },
    ),
    icmp(
        FieldId::IcmpId,
        "icmp-id",
        ValueKind::Number(65535),
        "ICMP or ICMPv6 identifier of the original direction",
        "icmp-id 4711",
        |s| match s.flow.orig.l4 {
            L4::Icmp { id, .. } => Value::Number(id.into()),
            _ => Value::Absent,
        },
    ),
    Field::new(
        FieldId::GreKey,
        "gre-key",
        ValueKind::Number(65535),
        "either GRE key of the original direction",
        "gre-key 0x10",
        |s| match s.flow.orig.l4 {
            L4::Ports { src, dst } if s.flow.orig.protocol == Protocol::Gre => Value::Numbers(Numbers::new([src, dst])),
            _ => Value::Absent,
        },
    )
    .some_in(EntryClasses::GRE, EntryClasses::NONE)
    .parts(&[(FieldId::GreSrcKey, EntryClasses::ALL), (FieldId::GreDstKey, EntryClasses::ALL)])
    .multi(),
    gre(
        FieldId::GreSrcKey,
        "gre-srckey",
        "GRE key of the source, of the original direction (srckey of conntrack(8))",
        "gre-srckey 0x10",
        |s| one(gre_keys(s.flow).map(|(src, _)| src)),
    ),
    gre(
        FieldId::GreDstKey,
        "gre-dstkey",
        "GRE key of the destination, of the original direction (dstkey of conntrack(8))",
        "gre-dstkey 0x10",
        |s| one(gre_keys(s.flow).map(|(_, dst)| dst)),
    ),
];

/// The keys of the original direction.
fn gre_keys(flow: &Flow) -> Option<(u16, u16)> {
    match flow.orig.l4 {
        L4::Ports { src, dst } if flow.orig.protocol == Protocol::Gre => Some((src, dst)),
        _ => None,
    }
}

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
