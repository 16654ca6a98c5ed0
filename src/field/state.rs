//! Protocol state, status bits, NAT.

use super::classes::EntryClasses;
use super::id::FieldId;
use super::identity::{family_name, name_of_protocol};
use super::kernel::DumpFilter;
use super::row::Field;
use super::tracker::Tracker;
use super::value::{Named, Value};
use super::value_kind::ValueKind;
use crate::model::{Flow, L4, ProtoInfo, Protocol, STATUS_BITS, Status, Undecided};
use crate::table::{DumpRequest, Masked};

pub(super) const ROWS: &[Field] = &[
    Field::new(
        FieldId::State,
        "state",
        ValueKind::State,
        "state of TCP, SCTP or DCCP, by name or number; a state that TCP does not have needs its protocol, too",
        "state established",
        |s| state(s.flow),
    )
    .some_in(
        EntryClasses::TCP.union(EntryClasses::SCTP).union(EntryClasses::DCCP),
        EntryClasses::TCP.union(EntryClasses::SCTP),
    ),
    Field::new(
        FieldId::Status,
        "status",
        ValueKind::Status,
        "a status bit that is set",
        "status assured,offload",
        |s| Value::Status(s.flow.status),
    )
    .dump_filter(DumpFilter::Bits(add_status)),
    Field::new(
        FieldId::Nat,
        "nat",
        ValueKind::Nat,
        "what NAT rewrites: source, destination, either, nothing",
        "nat any",
        |s| {
            let bit = |bit, value| if s.flow.status.contains(bit) { value } else { 0 };
            Value::Named(ValueKind::Nat.named(bit(Status::SrcNat, 1) | bit(Status::DstNat, 2)))
        },
    ),
    Field::new(
        FieldId::OrigTcpFlags,
        "orig-tcp-flags",
        ValueKind::Masked,
        "TCP tracking flags of the original side",
        "orig-tcp-flags 0x8/0x8",
        |s| tcp_flags(s.flow, |info| info.flags_orig),
    )
    .only_in(EntryClasses::TCP)
    .live(0, 0xff),
    Field::new(
        FieldId::ReplyTcpFlags,
        "reply-tcp-flags",
        ValueKind::Masked,
        "TCP tracking flags of the reply side",
        "reply-tcp-flags 0x8/0x8",
        |s| tcp_flags(s.flow, |info| info.flags_reply),
    )
    .only_in(EntryClasses::TCP)
    .live(0, 0xff),
];

/// Adds bits to the request, unless they contradict those in it.
fn add_status(request: &mut DumpRequest, bits: Masked) {
    let known = request.filter.status.unwrap_or_default();
    if (known.value ^ bits.value) & known.mask & bits.mask == 0 {
        request.filter.status = Some(Masked { value: known.value | bits.value, mask: known.mask | bits.mask });
    }
}

/// The bit with a name of [`STATUS_BITS`] (case is ignored, `_` equals `-`) or with a number
/// from 0 to 31.
#[must_use]
pub fn status_bit(word: &str) -> Option<Status> {
    let name = word.to_ascii_lowercase().replace('_', "-");
    if let Some(row) = STATUS_BITS.iter().find(|row| row.name == name) {
        return Some(row.bit);
    }
    let number: u32 = word.parse().ok().filter(|_| word.bytes().all(|byte| byte.is_ascii_digit()))?;
    1u32.checked_shl(number).map(Status::from_bits_retain)
}

impl ValueKind {
    /// The value of a code of this kind (families, protocols, states, NAT).
    #[must_use]
    pub fn named(self, code: u16) -> Named {
        Named { code, kind: self }
    }
}

impl Named {
    /// Its name; `None` where it has none.
    #[must_use]
    pub fn name(self) -> Option<&'static str> {
        match self.kind {
            ValueKind::Family => family_name(self.code),
            ValueKind::Protocol => name_of_protocol(self.code),
            ValueKind::Nat => nat_name(self.code),
            ValueKind::State => {
                let [_, number] = self.code.to_be_bytes();
                Tracker::of_code(self.code).and_then(|tracker| tracker.state_name(number))
            }
            _ => None,
        }
    }
}

fn nat_name(code: u16) -> Option<&'static str> {
    match code {
        0 => Some("none"),
        1 => Some("src"),
        2 => Some("dst"),
        3 => Some("src+dst"),
        _ => None,
    }
}

fn state(flow: &Flow) -> Value<'static> {
    let tracked = match flow.orig.protocol {
        Protocol::Tcp | Protocol::Sctp => true,
        // Kernels without a DCCP tracker (6.18) keep no ports either.
        Protocol::Dccp => flow.orig.l4 != L4::None,
        _ => false,
    };
    match flow.protoinfo {
        _ if flow.is_offloaded() && tracked => Value::Undecided(Undecided::Offloaded),
        ProtoInfo::Tcp(info) => named(Tracker::Tcp, info.state.number()),
        ProtoInfo::Sctp(info) => named(Tracker::Sctp, info.state.number()),
        ProtoInfo::Dccp(info) => named(Tracker::Dccp, info.state.number()),
        ProtoInfo::Unknown(_) => Value::Undecided(Undecided::UnknownState),
        ProtoInfo::None if tracked => Value::Undecided(Undecided::NotSent),
        ProtoInfo::None => Value::Absent,
    }
}

fn named(tracker: Tracker, number: u8) -> Value<'static> {
    Value::Named(ValueKind::State.named(tracker.code(number)))
}

fn tcp_flags(flow: &Flow, flags: impl Fn(crate::model::TcpInfo) -> Option<u8>) -> Value<'static> {
    let found = match flow.protoinfo {
        ProtoInfo::Tcp(info) => flags(info),
        _ => None,
    };
    match found {
        _ if flow.orig.protocol != Protocol::Tcp => Value::Absent,
        _ if flow.is_offloaded() => Value::Undecided(Undecided::Offloaded),
        Some(flags) => Value::Number(flags.into()),
        None => Value::Undecided(Undecided::NotSent),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_status_bit_has_a_name_or_a_number() {
        assert_eq!(status_bit("SEEN_REPLY"), Some(Status::SeenReply));
        assert_eq!(status_bit("31").map(|bit| bit.bits()), Some(1 << 31));
        assert_eq!((status_bit("32"), status_bit("+3"), status_bit("")), (None, None, None));
    }
}
