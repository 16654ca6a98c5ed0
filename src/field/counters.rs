//! Packets and bytes (`nf_conntrack_acct=1` when the entry was made).

use super::kind::Kind;
use super::row::{Field, Subject};
use super::value::Value;
use crate::model::Undecided;

const fn row(
    name: &'static str,
    kind: Kind,
    doc: &'static str,
    example: &'static str,
    value: for<'a> fn(&Subject<'a>) -> Value<'a>,
) -> Field {
    Field::new(name, kind, doc, example, value).quantity()
}

pub(super) const ROWS: &[Field] = &[
    row("packets", Kind::Count, "packets of both directions", "packets > 1000", |s| counted(s.flow.packets())),
    row("bytes", Kind::Size, "bytes of both directions, IP headers included", "bytes >= 10M", |s| {
        counted(s.flow.bytes())
    }),
    row("orig-packets", Kind::Count, "packets of the original direction", "orig-packets = 1", |s| {
        counted(s.flow.counters_orig.map(|counters| counters.packets))
    }),
    row("reply-packets", Kind::Count, "packets of the reply direction", "reply-packets = 0", |s| {
        counted(s.flow.counters_reply.map(|counters| counters.packets))
    }),
    row("orig-bytes", Kind::Size, "bytes of the original direction", "orig-bytes > 1Gi", |s| {
        counted(s.flow.counters_orig.map(|counters| counters.bytes))
    }),
    row("reply-bytes", Kind::Size, "bytes of the reply direction", "reply-bytes < 1k", |s| {
        counted(s.flow.counters_reply.map(|counters| counters.bytes))
    }),
];

fn counted(count: Option<u64>) -> Value<'static> {
    count.map_or(Value::Undecided(Undecided::NoAccounting), Value::Number)
}
