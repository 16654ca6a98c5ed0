//! Addresses of both directions, and what NAT makes of them.

use super::classes::EntryClasses;
use super::id::FieldId;
use super::kernel::{DumpFilter, EventFilter};
use super::row::Field;
use super::subject::{NOT_SENT, Subject};
use super::value::{Addresses, Value};
use super::value_kind::ValueKind;
use crate::model::{Flow, Status, Tuple};
use crate::wire::uapi::{cta, cta_ip, cta_tuple};

const BOTH_ENDS: u8 = Addresses::ORIG_SRC | Addresses::ORIG_DST;
const ALL_FOUR: u8 = BOTH_ENDS | Addresses::REPLY_SRC | Addresses::REPLY_DST;

const fn row(
    id: FieldId,
    name: &'static str,
    doc: &'static str,
    example: &'static str,
    value: for<'a> fn(&Subject<'a>) -> Value<'a>,
) -> Field {
    Field::new(id, name, ValueKind::Address, doc, example, value)
}

pub(super) const ROWS: &[Field] = &[
    row(FieldId::Src, "src", "source address of the original direction", "src 10.0.0.0/8", |s| {
        Value::Address(s.flow.orig.src)
    })
    .aliases(&["source"])
    .dump_filter(DumpFilter::Ipv4(|request, address| request.filter.orig.src = Some(address)))
    .event_filter(EventFilter::Address {
        v4: &[cta::TUPLE_ORIG, cta_tuple::IP, cta_ip::V4_SRC],
        v6: &[cta::TUPLE_ORIG, cta_tuple::IP, cta_ip::V6_SRC],
    }),
    row(FieldId::Dst, "dst", "destination address of the original direction", "dst 192.0.2.1,2001:db8::/32", |s| {
        Value::Address(s.flow.orig.dst)
    })
    .aliases(&["destination"])
    .dump_filter(DumpFilter::Ipv4(|request, address| request.filter.orig.dst = Some(address)))
    .event_filter(EventFilter::Address {
        v4: &[cta::TUPLE_ORIG, cta_tuple::IP, cta_ip::V4_DST],
        v6: &[cta::TUPLE_ORIG, cta_tuple::IP, cta_ip::V6_DST],
    }),
    row(FieldId::Addr, "addr", "source or destination of the original direction", "addr 10.0.0.0/8", |s| {
        Value::Addresses(Addresses::new(s.flow, BOTH_ENDS))
    })
    .parts(&[(FieldId::Src, EntryClasses::ALL), (FieldId::Dst, EntryClasses::ALL)])
    .multi()
    .grouped_by_each(),
    row(
        FieldId::ReplySrc,
        "reply-src",
        "source address of the replies: the destination after NAT",
        "reply-src 10.1.2.3",
        |s| Value::Address(s.flow.reply.src),
    ),
    row(
        FieldId::ReplyDst,
        "reply-dst",
        "destination address of the replies: the source after NAT",
        "reply-dst 203.0.113.5",
        |s| Value::Address(s.flow.reply.dst),
    ),
    row(
        FieldId::AnyAddr,
        "any-addr",
        "any of the four addresses, before or after NAT",
        "any-addr 203.0.113.0/24",
        |s| Value::Addresses(Addresses::new(s.flow, ALL_FOUR)),
    )
    .parts(&[
        (FieldId::Src, EntryClasses::ALL),
        (FieldId::Dst, EntryClasses::ALL),
        (FieldId::ReplySrc, EntryClasses::ALL),
        (FieldId::ReplyDst, EntryClasses::ALL),
    ])
    .multi()
    .grouped_by_each(),
    row(FieldId::NatAddr, "nat-addr", "an address that NAT put in place of another", "nat-addr 203.0.113.5", |s| {
        nat_addresses(s.flow)
    })
    .only_in(EntryClasses::SRC_NAT.union(EntryClasses::DST_NAT))
    .parts(&[(FieldId::ReplyDst, EntryClasses::SRC_NAT), (FieldId::ReplySrc, EntryClasses::DST_NAT)])
    .multi()
    .grouped_by_each(),
    row(FieldId::NatSrc, "nat-src", "the source address after source NAT", "nat-src 203.0.113.5", |s| {
        if s.flow.status.contains(Status::SrcNat) { Value::Address(s.flow.reply.dst) } else { Value::Absent }
    })
    .only_in(EntryClasses::SRC_NAT)
    .parts(&[(FieldId::ReplyDst, EntryClasses::SRC_NAT)]),
    row(FieldId::NatDst, "nat-dst", "the destination address after destination NAT", "nat-dst 10.1.2.3", |s| {
        if s.flow.status.contains(Status::DstNat) { Value::Address(s.flow.reply.src) } else { Value::Absent }
    })
    .only_in(EntryClasses::DST_NAT)
    .parts(&[(FieldId::ReplySrc, EntryClasses::DST_NAT)]),
    row(
        FieldId::MasterSrc,
        "master-src",
        "source address of the flow that expected this one",
        "master-src 10.1.2.3",
        |s| of_master(s.flow, |master| Value::Address(master.src)),
    )
    .only_in(EntryClasses::EXPECTED),
    row(
        FieldId::MasterDst,
        "master-dst",
        "destination address of the flow that expected this one",
        "master-dst 192.0.2.7",
        |s| of_master(s.flow, |master| Value::Address(master.dst)),
    )
    .only_in(EntryClasses::EXPECTED),
];

fn nat_addresses(flow: &Flow) -> Value<'_> {
    let mut which = 0;
    if flow.status.contains(Status::SrcNat) {
        which |= Addresses::REPLY_DST;
    }
    if flow.status.contains(Status::DstNat) {
        which |= Addresses::REPLY_SRC;
    }
    if which == 0 { Value::Absent } else { Value::Addresses(Addresses::new(flow, which)) }
}

/// A dump has `CTA_TUPLE_MASTER` exactly for flows with `IPS_EXPECTED` (`ctnetlink_dump_master`
/// in net/netfilter/nf_conntrack_netlink.c); UPDATE and DESTROY do not have it.
fn of_master<'a>(flow: &'a Flow, value: impl Fn(&'a Tuple) -> Value<'a>) -> Value<'a> {
    match &flow.master {
        Some(master) => value(master),
        None if flow.status.contains(Status::Expected) => NOT_SENT,
        None => Value::Absent,
    }
}
