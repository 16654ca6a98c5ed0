//! What the kernel's protocol trackers know of a flow (`CTA_PROTOINFO`).

use netlink_packet_core::NLA_F_NESTED;
use netlink_packet_netfilter::conntrack::TCPFlags;

use crate::wire::uapi::cta_protoinfo as cta;
use crate::wire::{Attribute, Attributes, DecodeError, DecodeErrorKind, NestTemplate, Values};

/// What the tracker of the flow's protocol knows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum ProtoInfo {
    /// Nothing: a protocol without states, or a flow in a flowtable.
    #[default]
    None,
    /// TCP.
    Tcp(TcpInfo),
    /// SCTP.
    Sctp(SctpInfo),
    /// DCCP, on kernels that track it.
    Dccp(DccpInfo),
    /// A tracker that this version does not know, by its attribute number.
    Unknown(u16),
}

/// TCP: state and what was negotiated.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct TcpInfo {
    /// Connection state.
    pub state: TcpState,
    /// Window scale announced by the original side.
    pub wscale_orig: Option<u8>,
    /// Window scale announced by the reply side.
    pub wscale_reply: Option<u8>,
    /// [`tcp_flag`] bits of the original side.
    pub flags_orig: Option<u8>,
    /// [`tcp_flag`] bits of the reply side.
    pub flags_reply: Option<u8>,
}

/// Bits of `CTA_PROTOINFO_TCP_FLAGS_*` (`IP_CT_TCP_FLAG_*`).
pub mod tcp_flag {
    /// The window is scaled.
    pub const WINDOW_SCALE: u8 = 0x01;
    /// SACK is permitted.
    pub const SACK_PERM: u8 = 0x02;
    /// This side closed first.
    pub const CLOSE_INIT: u8 = 0x04;
    /// Window checks are off.
    pub const BE_LIBERAL: u8 = 0x08;
    /// The other side has not acknowledged everything.
    pub const DATA_UNACKNOWLEDGED: u8 = 0x10;
}

/// TCP connection states (`enum tcp_conntrack`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum TcpState {
    /// No state: made over netlink, or not seen yet.
    #[default]
    None,
    /// A SYN was seen.
    SynSent,
    /// A SYN/ACK was seen.
    SynRecv,
    /// The handshake is complete.
    Established,
    /// A FIN was seen.
    FinWait,
    /// The other side has acknowledged the FIN.
    CloseWait,
    /// Both sides have sent a FIN.
    LastAck,
    /// Closed in order.
    TimeWait,
    /// Reset.
    Close,
    /// A SYN from both sides.
    SynSent2,
    /// A state that this version does not know.
    Unknown(u8),
}

/// In the kernel's order; `SYN_SENT2` is printed as conntrack(8) does.
const TCP_STATES: [(TcpState, &str); 10] = [
    (TcpState::None, "NONE"),
    (TcpState::SynSent, "SYN_SENT"),
    (TcpState::SynRecv, "SYN_RECV"),
    (TcpState::Established, "ESTABLISHED"),
    (TcpState::FinWait, "FIN_WAIT"),
    (TcpState::CloseWait, "CLOSE_WAIT"),
    (TcpState::LastAck, "LAST_ACK"),
    (TcpState::TimeWait, "TIME_WAIT"),
    (TcpState::Close, "CLOSE"),
    (TcpState::SynSent2, "SYN_SENT2"),
];

impl TcpState {
    /// Every state that has a name.
    pub fn all() -> impl Iterator<Item = TcpState> {
        TCP_STATES.iter().map(|(state, _)| *state)
    }

    /// The kernel's name; `None` for a state without one.
    #[must_use]
    pub fn name(self) -> Option<&'static str> {
        TCP_STATES.get(usize::from(self.number())).map(|(_, name)| *name)
    }

    /// The kernel's number.
    #[must_use]
    pub fn number(self) -> u8 {
        match self {
            TcpState::None => 0,
            TcpState::SynSent => 1,
            TcpState::SynRecv => 2,
            TcpState::Established => 3,
            TcpState::FinWait => 4,
            TcpState::CloseWait => 5,
            TcpState::LastAck => 6,
            TcpState::TimeWait => 7,
            TcpState::Close => 8,
            TcpState::SynSent2 => 9,
            TcpState::Unknown(number) => number,
        }
    }
}

impl From<u8> for TcpState {
    fn from(number: u8) -> Self {
        TCP_STATES.get(usize::from(number)).map_or(TcpState::Unknown(number), |(state, _)| *state)
    }
}

/// SCTP: state and verification tags.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct SctpInfo {
    /// Association state.
    pub state: SctpState,
    /// Verification tag of the original side.
    pub vtag_orig: Option<u32>,
    /// Verification tag of the reply side.
    pub vtag_reply: Option<u32>,
}

/// The number of an SCTP state (`enum sctp_conntrack`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct SctpState(pub u8);

/// In the kernel's order.
const SCTP_STATES: [&str; 10] = [
    "NONE",
    "CLOSED",
    "COOKIE_WAIT",
    "COOKIE_ECHOED",
    "ESTABLISHED",
    "SHUTDOWN_SENT",
    "SHUTDOWN_RECD",
    "SHUTDOWN_ACK_SENT",
    "HEARTBEAT_SENT",
    // Up to Linux 6.2.
    "HEARTBEAT_ACKED",
];

impl SctpState {
    /// Every state that has a name.
    pub fn all() -> impl Iterator<Item = SctpState> {
        (0u8..).zip(SCTP_STATES).map(|(number, _)| SctpState(number))
    }

    /// The kernel's name; `None` for a state without one.
    #[must_use]
    pub fn name(self) -> Option<&'static str> {
        SCTP_STATES.get(usize::from(self.0)).copied()
    }
}

/// DCCP: state, role and handshake sequence number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct DccpInfo {
    /// `enum ct_dccp_states`.
    pub state: u8,
    /// 0 client, 1 server.
    pub role: Option<u8>,
    /// Sequence number of the handshake.
    pub handshake_seq: Option<u64>,
}

/// In the kernel's order.
const DCCP_STATES: [&str; 10] =
    ["NONE", "REQUEST", "RESPOND", "PARTOPEN", "OPEN", "CLOSEREQ", "CLOSING", "TIMEWAIT", "IGNORE", "INVALID"];

impl DccpInfo {
    /// The kernel's name of a DCCP state number.
    #[must_use]
    pub fn state_name(state: u8) -> Option<&'static str> {
        DCCP_STATES.get(usize::from(state)).copied()
    }

    /// Every DCCP state number that has a name.
    pub fn all_states() -> impl Iterator<Item = u8> {
        (0u8..).zip(DCCP_STATES).map(|(number, _)| number)
    }
}

impl ProtoInfo {
    /// Reads a `CTA_PROTOINFO` nest, in place.
    ///
    /// # Errors
    /// An attribute of the wrong size.
    #[inline]
    pub(super) fn decode_from(&mut self, nest: &Attribute<'_>) -> Result<(), DecodeError> {
        *self = match TCP.of(nest.value) {
            Some(values) => ProtoInfo::Tcp(TcpInfo::at(&values)),
            None => Self::decode_unusual(nest)?,
        };
        Ok(())
    }

    #[inline(never)]
    fn decode_unusual(nest: &Attribute<'_>) -> Result<Self, DecodeError> {
        let Some(tracker) = nest.nested().next().transpose()? else {
            return Ok(ProtoInfo::None);
        };
        match tracker.kind {
            cta::TCP => decode_tcp(tracker.nested()).map(ProtoInfo::Tcp),
            cta::SCTP => decode_sctp(tracker.nested()).map(ProtoInfo::Sctp),
            cta::DCCP => decode_dccp(tracker.nested()).map(ProtoInfo::Dccp),
            unknown => Ok(ProtoInfo::Unknown(unknown)),
        }
    }
}

/// What the kernel writes for TCP.
pub(super) const TCP: NestTemplate<44> = NestTemplate::new([
    (0, cta::TCP | NLA_F_NESTED, 44),
    (4, cta::TCP_STATE, 5),
    (12, cta::TCP_WSCALE_ORIG, 5),
    (20, cta::TCP_WSCALE_REPLY, 5),
    (28, cta::TCP_FLAGS_ORIG, 6),
    (36, cta::TCP_FLAGS_REPLY, 6),
]);

impl TcpInfo {
    #[inline]
    pub(super) fn at(values: &Values<'_, 44>) -> Self {
        let byte = |offset| u8::from_ne_bytes(values.at(offset));
        TcpInfo {
            state: byte(8).into(),
            wscale_orig: Some(byte(16)),
            wscale_reply: Some(byte(24)),
            flags_orig: Some(byte(32)),
            flags_reply: Some(byte(40)),
        }
    }
}

fn decode_tcp(attributes: Attributes<'_>) -> Result<TcpInfo, DecodeError> {
    let mut info = TcpInfo::default();
    for attribute in attributes {
        let attribute = attribute?;
        match attribute.kind {
            cta::TCP_STATE => info.state = attribute.u8()?.into(),
            cta::TCP_WSCALE_ORIG => info.wscale_orig = Some(attribute.u8()?),
            cta::TCP_WSCALE_REPLY => info.wscale_reply = Some(attribute.u8()?),
            cta::TCP_FLAGS_ORIG => info.flags_orig = Some(tcp_flags(&attribute)?),
            cta::TCP_FLAGS_REPLY => info.flags_reply = Some(tcp_flags(&attribute)?),
            _ => {}
        }
    }
    Ok(info)
}

fn tcp_flags(attribute: &Attribute<'_>) -> Result<u8, DecodeError> {
    let found = attribute.value.len();
    let flags = TCPFlags::parse(attribute.value);
    flags.map(|flags| flags.flags).map_err(|_| attribute.error(DecodeErrorKind::BadSize { expected: 2, found }))
}

fn decode_sctp(attributes: Attributes<'_>) -> Result<SctpInfo, DecodeError> {
    let mut info = SctpInfo::default();
    for attribute in attributes {
        let attribute = attribute?;
        match attribute.kind {
            cta::SCTP_STATE => info.state = SctpState(attribute.u8()?),
            cta::SCTP_VTAG_ORIG => info.vtag_orig = Some(attribute.be32()?),
            cta::SCTP_VTAG_REPLY => info.vtag_reply = Some(attribute.be32()?),
            _ => {}
        }
    }
    Ok(info)
}

fn decode_dccp(attributes: Attributes<'_>) -> Result<DccpInfo, DecodeError> {
    let mut info = DccpInfo::default();
    for attribute in attributes {
        let attribute = attribute?;
        match attribute.kind {
            cta::DCCP_STATE => info.state = attribute.u8()?,
            cta::DCCP_ROLE => info.role = Some(attribute.u8()?),
            cta::DCCP_HANDSHAKE_SEQ => info.handshake_seq = Some(attribute.be64()?),
            _ => {}
        }
    }
    Ok(info)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_tcp_state_number_survives_a_round_trip() {
        for number in 0..=255 {
            assert_eq!(TcpState::from(number).number(), number);
        }
        assert_eq!(TcpState::from(10).name(), None);
    }

    #[test]
    fn the_usual_layout_of_tcp_is_read_as_any_other_is() {
        let mut bytes = Vec::new();
        let kinds =
            [cta::TCP_STATE, cta::TCP_WSCALE_ORIG, cta::TCP_WSCALE_REPLY, cta::TCP_FLAGS_ORIG, cta::TCP_FLAGS_REPLY];
        for (value, kind) in (3_u8..).zip(kinds) {
            let length: u16 = if value < 6 { 5 } else { 6 };
            bytes.extend_from_slice(&length.to_ne_bytes());
            bytes.extend_from_slice(&kind.to_ne_bytes());
            bytes.extend_from_slice(&[value, 0, 0, 0]);
        }
        let read = |kind: u16| {
            let nest = [&44_u16.to_ne_bytes()[..], &kind.to_ne_bytes(), &bytes].concat();
            let mut info = ProtoInfo::None;
            let read = info.decode_from(&Attribute { kind: 4, value: &nest, offset: 0 });
            (TCP.of(&nest).is_some(), read.map(|()| info))
        };
        let ((usual, one), (unusual, other)) = (read(cta::TCP | NLA_F_NESTED), read(cta::TCP));
        assert!(usual && !unusual);
        assert_eq!(one, other);
        assert!(matches!(one, Ok(ProtoInfo::Tcp(TcpInfo { state: TcpState::Established, flags_reply: Some(7), .. }))));
    }
}
