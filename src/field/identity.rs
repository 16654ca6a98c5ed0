//! What kind of flow it is, and what administrators and the kernel mark it with.

use super::kind::Kind;
use super::row::{Field, NOT_SENT};
use super::value::{Numbers, Value};
use crate::model::{Protocol, protocol_name};
use crate::wire::Family;

pub(super) const ROWS: &[Field] = &[
    Field::new("family", Kind::Family, "address family", "family ipv6", |s| {
        Value::Named(Kind::Family.named(s.flow.family.number().into()))
    }),
    Field::new("proto", Kind::Protocol, "layer 4 protocol, by name or number", "proto tcp,udp,253", |s| {
        Value::Named(Kind::Protocol.named(u8::from(s.flow.orig.protocol).into()))
    })
    .aliases(&["protocol"]),
    Field::new(
        "zone",
        Kind::Number(65535),
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
    .one_or_two(),
    Field::new("orig-zone", Kind::Number(65535), "zone of the original direction", "orig-zone 5", |s| {
        Value::Number(s.flow.zone().orig().into())
    }),
    Field::new("reply-zone", Kind::Number(65535), "zone of the reply direction", "reply-zone 0", |s| {
        Value::Number(s.flow.zone().reply().into())
    }),
    Field::new("mark", Kind::Masked, "packet mark; VALUE/MASK looks at the bits of MASK only", "mark 0x10/0xff", |s| {
        s.flow.mark.map_or(NOT_SENT, |mark| Value::Number(mark.into()))
    }),
    Field::new("label", Kind::Label, "a connection label that is set, or any, none", "label 5", |s| {
        s.flow.labels.filter(|labels| !labels.is_empty()).map_or_else(|| s.without_change(), Value::Labels)
    })
    .aliases(&["labels"])
    .optional(),
    Field::new("helper", Kind::Text, "name of the helper (ALG) of the flow, or any, none", "helper ftp,sip", |s| {
        s.flow.helper.as_ref().map_or_else(|| s.without_end(), |helper| Value::Text(helper.as_str()))
    })
    .optional(),
    Field::new("secctx", Kind::Text, "security context", "secctx system_u:object_r:unlabeled_t:s0", |s| {
        s.flow.secctx.as_deref().map_or_else(|| s.without_change(), Value::Text)
    })
    .optional(),
    Field::new("id", Kind::Number(U32_MAX), "the kernel's id of the entry", "id 0x4be2a8f1", |s| {
        s.flow.id.map_or(NOT_SENT, |id| Value::Number(id.into()))
    })
    .quantity(),
    Field::new("use", Kind::Number(U32_MAX), "reference count", "use > 1", |s| {
        s.flow.use_count.map_or(NOT_SENT, |count| Value::Number(count.into()))
    }),
    Field::new(
        "attribute",
        Kind::Number(65535),
        "number of an attribute that this version does not know (the first four)",
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
