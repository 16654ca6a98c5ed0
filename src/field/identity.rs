//! Family, protocol, zone, mark, labels and other identifying values.

use super::id::FieldId;
use super::kernel::{DumpFilter, EventFilter};
use super::row::Field;
use super::subject::NOT_SENT;
use super::value::{Numbers, Value};
use super::value_kind::ValueKind;
use crate::model::{Protocol, protocol_name};
use crate::netlink::Size;
use crate::wire::Family;
use crate::wire::uapi::{cta, cta_proto, cta_tuple};

pub(super) const ROWS: &[Field] = &[
    Field::new(FieldId::Family, "family", ValueKind::Family, "address family", "family ipv6", |s| {
        Value::Named(ValueKind::Family.named(s.flow.family.number().into()))
    })
    .dump_filter(DumpFilter::Number(|request, number| request.family = family_of(number)))
    .event_filter(EventFilter::Number { path: &[], size: Size::Byte }),
    Field::new(
        FieldId::Protocol,
        "proto",
        ValueKind::Protocol,
        "layer 4 protocol, by name or number",
        "proto tcp,udp,253",
        |s| Value::Named(ValueKind::Protocol.named(u8::from(s.flow.orig.protocol).into())),
    )
    .aliases(&["protocol"])
    .dump_filter(DumpFilter::Number(|request, number| {
        request.filter.orig.protocol = u8::try_from(number).ok().map(Protocol::from);
    }))
    .event_filter(EventFilter::Number { path: &[cta::TUPLE_ORIG, cta_tuple::PROTO, cta_proto::NUM], size: Size::Byte }),
    Field::new(
        FieldId::Zone,
        "zone",
        ValueKind::Number(65535),
        "zone of either direction; 0 is an entry without a zone in either",
        "zone 5",
        |s| {
            let zone = s.flow.zone();
            match (zone.orig(), zone.reply()) {
                (orig, reply) if orig == reply || reply == 0 => Value::Number(orig.into()),
                (0, reply) => Value::Number(reply.into()),
                (orig, reply) => Value::Numbers(Numbers::new([orig, reply])),
            }
        },
    )
    .one_or_two()
    // The kernel compares CTA_ZONE 0 with the zone of each direction; here 0 is an entry without a zone.
    .dump_filter(DumpFilter::Number(|request, number| {
        if number != 0 {
            request.filter.zone = u16::try_from(number).ok();
        }
    })),
    Field::new(
        FieldId::OrigZone,
        "orig-zone",
        ValueKind::Number(65535),
        "zone of the original direction",
        "orig-zone 5",
        |s| Value::Number(s.flow.zone().orig().into()),
    ),
    Field::new(
        FieldId::ReplyZone,
        "reply-zone",
        ValueKind::Number(65535),
        "zone of the reply direction",
        "reply-zone 0",
        |s| Value::Number(s.flow.zone().reply().into()),
    ),
    Field::new(
        FieldId::Mark,
        "mark",
        ValueKind::Masked,
        "packet mark: a number, VALUE/MASK (the bits of MASK only), a range, a list, or @FILE of these",
        "mark 0x10/0xff",
        |s| s.flow.mark.map_or(NOT_SENT, |mark| Value::Number(mark.into())),
    )
    .dump_filter(DumpFilter::Masked(|request, mark| request.filter.mark = Some(mark))),
    Field::new(
        FieldId::Label,
        "label",
        ValueKind::Label,
        "a connection label that is set, by name or number, or any, none; VALUE/MASK compares bits of all 128",
        "label 5",
        |s| {
            let labels = s.flow.labels.filter(|labels| !labels.is_empty());
            labels.map_or_else(|| s.absent_if_new(), Value::Labels)
        },
    )
    .aliases(&["labels"])
    .optional(),
    Field::new(
        FieldId::Helper,
        "helper",
        ValueKind::Text,
        "name of the helper (ALG) of the flow, or any, none",
        "helper ftp,sip",
        |s| s.flow.helper.as_ref().map_or_else(|| s.absent_unless_destroy(), |helper| Value::Text(helper.as_str())),
    )
    .optional(),
    Field::new(
        FieldId::Secctx,
        "secctx",
        ValueKind::Text,
        "security context",
        "secctx system_u:object_r:unlabeled_t:s0",
        |s| s.flow.secctx.as_deref().map_or_else(|| s.absent_unless_destroy(), Value::Text),
    )
    .optional(),
    Field::new(FieldId::Id, "id", ValueKind::Number(U32_MAX), "the kernel's id of the entry", "id 0x4be2a8f1", |s| {
        s.flow.id.map_or(NOT_SENT, |id| Value::Number(id.into()))
    })
    .quantity(),
    // The table holds a reference to each entry in it (`__nf_conntrack_confirm` and
    // `nf_conntrack_hash_check_insert` in net/netfilter/nf_conntrack_core.c).
    Field::new(FieldId::Use, "use", ValueKind::Number(U32_MAX), "reference count", "use > 1", |s| {
        s.flow.use_count.map_or(NOT_SENT, |count| Value::Number(count.into()))
    })
    .live(1, U32_MAX),
    Field::new(
        FieldId::Attribute,
        "attribute",
        ValueKind::Number(65535),
        "number of an attribute that this version does not decode (the first four)",
        "attribute 30",
        |s| match s.flow.unknown.numbers() {
            [] => Value::Absent,
            numbers => Value::Numbers(Numbers::new(numbers.iter().copied())),
        },
    )
    .optional()
    .multi(),
];

const U32_MAX: u64 = u32::MAX as u64;

pub(super) fn family_name(code: u16) -> Option<&'static str> {
    u8::try_from(code).ok().and_then(|number| Family::from(number).name())
}

pub(super) fn name_of_protocol(code: u16) -> Option<&'static str> {
    u8::try_from(code).ok().and_then(|number| protocol_name(Protocol::from(number)))
}

fn family_of(number: u64) -> Option<Family> {
    [Family::V4, Family::V6].into_iter().find(|family| u64::from(family.number()) == number)
}
