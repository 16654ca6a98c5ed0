//! Packets and bytes (`nf_conntrack_acct=1` when the entry was created).

use super::id::FieldId;
use super::row::Field;
use super::subject::Subject;
use super::value::Value;
use super::value_kind::ValueKind;
use crate::model::Undecided;

/// The kernel's counters are signed (`atomic64_t` in `struct nf_conn_counter`,
/// include/net/netfilter/nf_conntrack_acct.h).
const GREATEST: u64 = i64::MAX as u64;

const fn row(
    id: FieldId,
    name: &'static str,
    kind: ValueKind,
    doc: &'static str,
    example: &'static str,
    value: for<'a> fn(&Subject<'a>) -> Value<'a>,
) -> Field {
    Field::new(id, name, kind, doc, example, value).live(0, GREATEST).quantity()
}

pub(super) const ROWS: &[Field] = &[
    row(FieldId::Packets, "packets", ValueKind::Count, "packets of both directions", "packets > 1000", |s| {
        counted(s.flow.packets())
    }),
    row(
        FieldId::Bytes,
        "bytes",
        ValueKind::Size,
        "bytes of both directions, IP headers included",
        "bytes >= 10M",
        |s| counted(s.flow.bytes()),
    ),
    row(
        FieldId::OrigPackets,
        "orig-packets",
        ValueKind::Count,
        "packets of the original direction",
        "orig-packets = 1",
        |s| counted(s.flow.counters_orig.map(|counters| counters.packets)),
    ),
    row(
        FieldId::ReplyPackets,
        "reply-packets",
        ValueKind::Count,
        "packets of the reply direction",
        "reply-packets = 0",
        |s| counted(s.flow.counters_reply.map(|counters| counters.packets)),
    ),
    row(
        FieldId::OrigBytes,
        "orig-bytes",
        ValueKind::Size,
        "bytes of the original direction",
        "orig-bytes > 1Gi",
        |s| counted(s.flow.counters_orig.map(|counters| counters.bytes)),
    ),
    row(FieldId::ReplyBytes, "reply-bytes", ValueKind::Size, "bytes of the reply direction", "reply-bytes < 1k", |s| {
        counted(s.flow.counters_reply.map(|counters| counters.bytes))
    }),
];

fn counted(count: Option<u64>) -> Value<'static> {
    count.map_or(Value::Undecided(Undecided::NoAccounting), Value::Number)
}
