//! Protocol state, status bits, NAT.

use super::classes::EntryClasses;
use super::id::FieldId;
use super::identity::{family_name, name_of_protocol};
use super::kernel::DumpFilter;
use super::row::Field;
use super::value::{Named, Value};
use super::value_kind::ValueKind;
use crate::model::{DccpState, Flow, L4, ProtoInfo, Protocol, STATUS_BITS, SctpState, Status, TcpState, Undecided};
use crate::table::{DumpRequest, Masked};

pub(super) const ROWS: &[Field] = &[
    Field::new(
        FieldId::State,
        "state",
        ValueKind::State,
        "state of TCP, SCTP or DCCP, by name or number",
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

/// The trackers with states. The code of a state has the tracker's number in the high byte and
/// the kernel's state number in the low byte.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tracker {
    /// TCP.
    Tcp,
    /// SCTP.
    Sctp,
    /// DCCP.
    Dccp,
}

impl Tracker {
    /// Every tracker.
    pub const ALL: [Tracker; 3] = [Tracker::Tcp, Tracker::Sctp, Tracker::Dccp];

    /// The code of this tracker's state of that number.
    #[must_use]
    pub fn code(self, number: u8) -> u16 {
        u16::from_be_bytes([self as u8, number])
    }

    /// The kernel's name of a state of this tracker.
    #[must_use]
    pub fn state_name(self, number: u8) -> Option<&'static str> {
        match self {
            Tracker::Tcp => TcpState::from(number).name(),
            Tracker::Sctp => SctpState::from(number).name(),
            Tracker::Dccp => DccpState::from(number).name(),
        }
    }

    fn named(self, number: u8) -> Named {
        ValueKind::State.named(self.code(number))
    }
}

/// The codes of the states with the name `word`, of every tracker that has it: `established` is
/// a state of TCP and one of SCTP. Case is ignored, `-` equals `_`. A number is that state of
/// every tracker. Empty if there is no such state.
#[must_use]
pub fn state_codes(word: &str) -> Vec<u16> {
    if word.bytes().all(|byte| byte.is_ascii_digit()) {
        return word.parse().map_or(Vec::new(), |number| Tracker::ALL.map(|tracker| tracker.code(number)).to_vec());
    }
    let name = word.to_ascii_uppercase().replace('-', "_");
    let all = Tracker::ALL.into_iter().flat_map(|tracker| (0..=u8::MAX).map(move |number| tracker.named(number)));
    all.filter(|state| state.name() == Some(&name)).map(|state| state.code).collect()
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
                let [tracker, number] = self.code.to_be_bytes();
                let tracker = Tracker::ALL.into_iter().find(|known| *known as u8 == tracker);
                tracker.and_then(|tracker| tracker.state_name(number))
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
        ProtoInfo::Tcp(info) => Value::Named(Tracker::Tcp.named(info.state.number())),
        ProtoInfo::Sctp(info) => Value::Named(Tracker::Sctp.named(info.state.number())),
        ProtoInfo::Dccp(info) => Value::Named(Tracker::Dccp.named(info.state.number())),
        ProtoInfo::Unknown(_) => Value::Undecided(Undecided::UnknownState),
        ProtoInfo::None if tracked => Value::Undecided(Undecided::NotSent),
        ProtoInfo::None => Value::Absent,
    }
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
    fn a_name_is_the_states_of_every_tracker_that_has_it() {
        assert_eq!(state_codes("established"), [Tracker::Tcp.code(3), Tracker::Sctp.code(4)]);
        assert_eq!(state_codes("Time-Wait"), [Tracker::Tcp.code(7)]);
        assert_eq!(state_codes("200"), Tracker::ALL.map(|tracker| tracker.code(200)));
        assert!(state_codes("256").is_empty() && state_codes("estab").is_empty() && state_codes("").is_empty());
    }

    #[test]
    fn a_status_bit_has_a_name_or_a_number() {
        assert_eq!(status_bit("SEEN_REPLY"), Some(Status::SeenReply));
        assert_eq!(status_bit("31").map(|bit| bit.bits()), Some(1 << 31));
        assert_eq!((status_bit("32"), status_bit("+3"), status_bit("")), (None, None, None));
    }
}
