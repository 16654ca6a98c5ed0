//! The state of the kernel's protocol trackers (`CTA_PROTOINFO`).

use netlink_packet_core::NLA_F_NESTED;
use netlink_packet_netfilter::conntrack::TCPFlags;

use super::states::{DccpState, SctpState, TcpState};
use crate::wire::uapi::cta_protoinfo as cta;
use crate::wire::{Attribute, Attributes, DecodeError, DecodeErrorKind, NestTemplate, NestValues};

/// The state of the tracker of the flow's protocol.
#[doc(alias = "CTA_PROTOINFO")]
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum ProtoInfo {
    /// None: a protocol without states, or a flow in a flowtable.
    #[default]
    None,
    /// TCP.
    #[doc(alias = "CTA_PROTOINFO_TCP")]
    Tcp(TcpInfo),
    /// SCTP.
    #[doc(alias = "CTA_PROTOINFO_SCTP")]
    Sctp(SctpInfo),
    /// DCCP, on kernels that track it.
    #[doc(alias = "CTA_PROTOINFO_DCCP")]
    Dccp(DccpInfo),
    /// An unknown tracker, by its attribute number.
    Unknown(u16),
}

/// TCP: state, window scales and flags.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct TcpInfo {
    /// Connection state.
    #[doc(alias = "CTA_PROTOINFO_TCP_STATE")]
    pub state: TcpState,
    /// Window scale announced by the original side.
    #[doc(alias = "CTA_PROTOINFO_TCP_WSCALE_ORIGINAL")]
    pub wscale_orig: Option<u8>,
    /// Window scale announced by the reply side.
    #[doc(alias = "CTA_PROTOINFO_TCP_WSCALE_REPLY")]
    pub wscale_reply: Option<u8>,
    /// [`tcp_flag`] bits of the original side.
    #[doc(alias = "CTA_PROTOINFO_TCP_FLAGS_ORIGINAL")]
    pub flags_orig: Option<u8>,
    /// [`tcp_flag`] bits of the reply side.
    #[doc(alias = "CTA_PROTOINFO_TCP_FLAGS_REPLY")]
    pub flags_reply: Option<u8>,
}

/// Bits of `CTA_PROTOINFO_TCP_FLAGS_*` (`IP_CT_TCP_FLAG_*`).
pub mod tcp_flag {
    /// Window scaling was negotiated.
    #[doc(alias = "IP_CT_TCP_FLAG_WINDOW_SCALE")]
    pub const WINDOW_SCALE: u8 = 0x01;
    /// SACK is permitted.
    #[doc(alias = "IP_CT_TCP_FLAG_SACK_PERM")]
    pub const SACK_PERM: u8 = 0x02;
    /// This side sent the first FIN.
    #[doc(alias = "IP_CT_TCP_FLAG_CLOSE_INIT")]
    pub const CLOSE_INIT: u8 = 0x04;
    /// Window checks are disabled.
    #[doc(alias = "IP_CT_TCP_FLAG_BE_LIBERAL")]
    pub const BE_LIBERAL: u8 = 0x08;
    /// The other side has not acknowledged all data.
    #[doc(alias = "IP_CT_TCP_FLAG_DATA_UNACKNOWLEDGED")]
    pub const DATA_UNACKNOWLEDGED: u8 = 0x10;
}

/// SCTP: state and verification tags.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct SctpInfo {
    /// Association state.
    #[doc(alias = "CTA_PROTOINFO_SCTP_STATE")]
    pub state: SctpState,
    /// Verification tag of the original side.
    #[doc(alias = "CTA_PROTOINFO_SCTP_VTAG_ORIGINAL")]
    pub vtag_orig: Option<u32>,
    /// Verification tag of the reply side.
    #[doc(alias = "CTA_PROTOINFO_SCTP_VTAG_REPLY")]
    pub vtag_reply: Option<u32>,
}

/// DCCP: state, role and handshake sequence number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct DccpInfo {
    /// Connection state.
    #[doc(alias = "CTA_PROTOINFO_DCCP_STATE")]
    pub state: DccpState,
    /// Role of the original side: 0 client, 1 server.
    #[doc(alias = "CTA_PROTOINFO_DCCP_ROLE")]
    pub role: Option<u8>,
    /// Sequence number of the handshake.
    #[doc(alias = "CTA_PROTOINFO_DCCP_HANDSHAKE_SEQ")]
    pub handshake_seq: Option<u64>,
}

impl ProtoInfo {
    /// Whether the tracker is in a state of the handshake, in which a packet that is
    /// retransmitted refreshes neither the timeout nor the counters, so that neither shows
    /// when the last packet came.
    ///
    /// - TCP: `nf_conntrack_tcp_packet` in net/netfilter/nf_conntrack_proto_tcp.c accepts a
    ///   repeated SYN in SYN_SENT (since Linux 6.1) and a repeated SYN/ACK in SYN_RECV
    ///   (`TCP_CONNTRACK_IGNORE`) without `nf_ct_refresh_acct`.
    /// - SCTP: `nf_conntrack_sctp_packet` in net/netfilter/nf_conntrack_proto_sctp.c ignores a
    ///   repeated INIT in CLOSED.
    /// - DCCP: `nf_conntrack_dccp_packet` in net/netfilter/nf_conntrack_proto_dccp.c ignores
    ///   repeated packets of the handshake (`CT_DCCP_IGNORE`).
    #[must_use]
    pub fn is_handshake(&self) -> bool {
        match self {
            ProtoInfo::Tcp(tcp) => matches!(tcp.state, TcpState::SynSent | TcpState::SynRecv | TcpState::SynSent2),
            ProtoInfo::Sctp(sctp) => sctp.state == SctpState::Closed,
            ProtoInfo::Dccp(dccp) => matches!(dccp.state, DccpState::Request | DccpState::Respond),
            ProtoInfo::None | ProtoInfo::Unknown(_) => false,
        }
    }

    /// Decodes a `CTA_PROTOINFO` nest, in place.
    ///
    /// # Errors
    /// An attribute of the wrong size.
    #[inline]
    pub(super) fn decode_from(&mut self, nest: &Attribute<'_>) -> Result<(), DecodeError> {
        *self = match TCP.values(nest.value) {
            Some(values) => ProtoInfo::Tcp(TcpInfo::from_values(&values)),
            None => Self::decode_attributes(nest)?,
        };
        Ok(())
    }

    #[inline(never)]
    fn decode_attributes(nest: &Attribute<'_>) -> Result<Self, DecodeError> {
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

/// What `tcp_to_nlattr` in net/netfilter/nf_conntrack_proto_tcp.c writes.
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
    pub(super) fn from_values(values: &NestValues<'_, 44>) -> Self {
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
            cta::SCTP_STATE => info.state = attribute.u8()?.into(),
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
            cta::DCCP_STATE => info.state = attribute.u8()?.into(),
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
    fn a_handshake_is_over_when_each_side_has_answered() {
        let tcp = |state| ProtoInfo::Tcp(TcpInfo { state, ..TcpInfo::default() });
        let sctp = |state| ProtoInfo::Sctp(SctpInfo { state, ..SctpInfo::default() });
        let dccp = |state| ProtoInfo::Dccp(DccpInfo { state, ..DccpInfo::default() });
        let handshakes = |states: Vec<ProtoInfo>| states.iter().filter(|state| state.is_handshake()).count();
        assert_eq!(handshakes(TcpState::all().map(tcp).collect()), 3);
        assert_eq!(handshakes(SctpState::all().map(sctp).collect()), 1);
        assert_eq!(handshakes(DccpState::all().map(dccp).collect()), 2);
        assert!(sctp(SctpState::Closed).is_handshake() && dccp(DccpState::Request).is_handshake());
        assert!(!tcp(TcpState::Established).is_handshake() && !dccp(DccpState::Open).is_handshake());
        assert!(!ProtoInfo::None.is_handshake() && !ProtoInfo::Unknown(9).is_handshake());
    }

    #[test]
    fn a_tcp_nest_with_the_usual_offsets_decodes_like_any_other() {
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
            (TCP.values(&nest).is_some(), read.map(|()| info))
        };
        let ((usual, one), (unusual, other)) = (read(cta::TCP | NLA_F_NESTED), read(cta::TCP));
        assert!(usual && !unusual);
        assert_eq!(one, other);
        assert!(matches!(one, Ok(ProtoInfo::Tcp(TcpInfo { state: TcpState::Established, flags_reply: Some(7), .. }))));
    }
}
