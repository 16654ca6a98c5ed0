//! Addresses of both directions, and what NAT makes of them.

use super::kind::Kind;
use super::row::{Field, Subject};
use super::value::{Addresses, Value};
use crate::model::{Flow, Status, Tuple};

const BOTH_ENDS: u8 = Addresses::ORIG_SRC | Addresses::ORIG_DST;
const ALL_FOUR: u8 = BOTH_ENDS | Addresses::REPLY_SRC | Addresses::REPLY_DST;

const fn row(
    name: &'static str,
    doc: &'static str,
    example: &'static str,
    value: for<'a> fn(&Subject<'a>) -> Value<'a>,
) -> Field {
    Field::new(name, Kind::Address, doc, example, value)
}

pub(super) const ROWS: &[Field] = &[
    row("src", "source address of the original direction", "src 10.0.0.0/8", |s| Value::Address(s.flow.orig.src))
        .aliases(&["source"]),
    row("dst", "destination address of the original direction", "dst 192.0.2.1,2001:db8::/32", |s| {
        Value::Address(s.flow.orig.dst)
    })
    .aliases(&["destination"]),
    row("addr", "source or destination of the original direction", "addr 10.0.0.0/8", |s| {
        Value::Addresses(Addresses::new(s.flow, BOTH_ENDS))
    })
    .multi(),
    row("reply-src", "source address of the replies: the destination after NAT", "reply-src 10.1.2.3", |s| {
        Value::Address(s.flow.reply.src)
    }),
    row("reply-dst", "destination address of the replies: the source after NAT", "reply-dst 203.0.113.5", |s| {
        Value::Address(s.flow.reply.dst)
    }),
    row("any-addr", "any of the four addresses, before or after NAT", "any-addr 203.0.113.0/24", |s| {
        Value::Addresses(Addresses::new(s.flow, ALL_FOUR))
    })
    .multi(),
    row("nat-addr", "an address that NAT put in place of another", "nat-addr 203.0.113.5", |s| nat_addresses(s.flow))
        .optional()
        .multi(),
    row("nat-src", "the source address after source NAT", "nat-src 203.0.113.5", |s| {
        if s.flow.status.contains(Status::SrcNat) { Value::Address(s.flow.reply.dst) } else { Value::Absent }
    })
    .optional(),
    row("nat-dst", "the destination address after destination NAT", "nat-dst 10.1.2.3", |s| {
        if s.flow.status.contains(Status::DstNat) { Value::Address(s.flow.reply.src) } else { Value::Absent }
    })
    .optional(),
    row("master-src", "source address of the flow that expected this one", "master-src 10.1.2.3", |s| {
        of_master(s.flow, |master| Value::Address(master.src))
    })
    .optional(),
    row("master-dst", "destination address of the flow that expected this one", "master-dst 192.0.2.7", |s| {
        of_master(s.flow, |master| Value::Address(master.dst))
    })
    .optional(),
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

/// The kernel sends a master exactly for expected flows.
fn of_master<'a>(flow: &'a Flow, value: impl Fn(&'a Tuple) -> Value<'a>) -> Value<'a> {
    match &flow.master {
        Some(master) => value(master),
        None if flow.status.contains(Status::Expected) => Value::Undecided(crate::model::Undecided::NotSent),
        None => Value::Absent,
    }
}
