//! Decodes one entry of the binary format.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::bytes::Bytes;
use super::entry::{MAX_SECCTX, field, tracker, tuple};
use crate::model::{
    Counters, DccpInfo, Family, Flow, HelperName, L4, Labels, ProtoInfo, Protocol, SctpInfo, SequenceAdjustment,
    Status, Synproxy, TcpInfo, Tuple,
};

/// Decodes the next entry of `bytes` into `flow`. `None` where it is not possible.
#[inline]
pub(super) fn decode(bytes: &mut Bytes<'_>, flow: &mut Flow) -> Option<()> {
    let length = bytes.u16()?;
    let mut entry = Bytes(bytes.slice(length.into())?);
    let fields = entry.u32()?;
    if fields & !field::ALL != 0 {
        return None;
    }
    let status = Status::from_bits_retain(entry.u32()?);
    let orig = decode_tuple(&mut entry)?;
    let reply = if fields & field::REPLY != 0 { decode_tuple(&mut entry)? } else { orig.inverse() };
    *flow = Flow::new(orig, reply);
    flow.status = status;
    decode_values(&mut entry, fields, flow)?;
    if fields >= field::COUNTERS_ORIG {
        decode_rare(&mut entry, fields, flow)?;
    }
    entry.is_empty().then_some(())
}

fn decode_tuple(bytes: &mut Bytes<'_>) -> Option<Tuple> {
    let [flags, protocol] = bytes.array()?;
    if flags & !tuple::ALL != 0 {
        return None;
    }
    let (src, dst) = (address(bytes, flags & tuple::SRC_V6 != 0)?, address(bytes, flags & tuple::DST_V6 != 0)?);
    let l4 = match (flags & tuple::PORTS != 0, flags & tuple::ICMP != 0) {
        (false, false) => L4::None,
        (true, false) => L4::Ports { src: bytes.u16()?, dst: bytes.u16()? },
        (false, true) => L4::Icmp { kind: bytes.u8()?, code: bytes.u8()?, id: bytes.u16()? },
        (true, true) => return None,
    };
    let zone = if flags & tuple::ZONE != 0 { Some(bytes.u16()?) } else { None };
    let has_unknown_part = flags & tuple::UNKNOWN_PART != 0;
    Some(Tuple { src, dst, protocol: Protocol::from(protocol), l4, zone, has_unknown_part })
}

fn address(bytes: &mut Bytes<'_>, is_v6: bool) -> Option<IpAddr> {
    Some(if is_v6 { Ipv6Addr::from(bytes.array::<16>()?).into() } else { Ipv4Addr::from(bytes.array::<4>()?).into() })
}

fn decode_values(bytes: &mut Bytes<'_>, fields: u32, flow: &mut Flow) -> Option<()> {
    let has = |field| fields & field != 0;
    if has(field::FAMILY) {
        flow.family = Family::from(bytes.u8()?);
    }
    if has(field::TIMEOUT) {
        flow.timeout = Some(bytes.u32()?);
    }
    if has(field::MARK) {
        flow.mark = Some(bytes.u32()?);
    }
    if has(field::ZONE) {
        flow.zone_both = Some(bytes.u16()?);
    }
    if has(field::ID) {
        flow.id = Some(bytes.u32()?);
    }
    if has(field::PROTOINFO) {
        flow.protoinfo = decode_protoinfo(bytes)?;
    }
    Some(())
}

fn decode_protoinfo(bytes: &mut Bytes<'_>) -> Option<ProtoInfo> {
    let tracker = bytes.u8()?;
    if tracker == tracker::UNKNOWN {
        return Some(ProtoInfo::Unknown(bytes.u16()?));
    }
    let [state, are_set] = bytes.array()?;
    let is_set = |bit: u8| are_set >> bit & 1 == 1;
    let values = match tracker {
        tracker::TCP => 4,
        tracker::SCTP | tracker::DCCP => 2,
        _ => return None,
    };
    if are_set >> values != 0 {
        return None;
    }
    let byte = |bit, bytes: &mut Bytes<'_>| if is_set(bit) { bytes.u8().map(Some) } else { Some(None) };
    let word = |bit, bytes: &mut Bytes<'_>| if is_set(bit) { bytes.u32().map(Some) } else { Some(None) };
    Some(match tracker {
        tracker::TCP => ProtoInfo::Tcp(TcpInfo {
            state: state.into(),
            wscale_orig: byte(0, bytes)?,
            wscale_reply: byte(1, bytes)?,
            flags_orig: byte(2, bytes)?,
            flags_reply: byte(3, bytes)?,
        }),
        tracker::SCTP => {
            ProtoInfo::Sctp(SctpInfo { state: state.into(), vtag_orig: word(0, bytes)?, vtag_reply: word(1, bytes)? })
        }
        _ => ProtoInfo::Dccp(DccpInfo {
            state: state.into(),
            role: byte(0, bytes)?,
            handshake_seq: if is_set(1) { Some(bytes.u64()?) } else { None },
        }),
    })
}

#[inline(never)]
fn decode_rare(bytes: &mut Bytes<'_>, fields: u32, flow: &mut Flow) -> Option<()> {
    let has = |field| fields & field != 0;
    if has(field::COUNTERS_ORIG) {
        flow.counters_orig = Some(Counters { packets: bytes.u64()?, bytes: bytes.u64()? });
    }
    if has(field::COUNTERS_REPLY) {
        flow.counters_reply = Some(Counters { packets: bytes.u64()?, bytes: bytes.u64()? });
    }
    if has(field::START) {
        flow.start = Some(bytes.u64()?);
    }
    if has(field::HELPER) {
        let length = usize::from(bytes.u8()?);
        let name = bytes.slice(length).filter(|name| name.len() <= HelperName::CAPACITY)?;
        flow.helper = Some(HelperName::new(name));
    }
    if has(field::LABELS) {
        flow.labels = Some(Labels::from_bits(bytes.array().map(u128::from_le_bytes)?));
    }
    if has(field::MASTER) {
        flow.master = Some(decode_tuple(bytes)?);
    }
    let mut adjustment = |field| {
        if !has(field) {
            return Some(None);
        }
        Some(Some(SequenceAdjustment { position: bytes.u32()?, before: bytes.u32()?, after: bytes.u32()? }))
    };
    flow.seq_adj_orig = adjustment(field::SEQ_ADJ_ORIG)?;
    flow.seq_adj_reply = adjustment(field::SEQ_ADJ_REPLY)?;
    if has(field::SYNPROXY) {
        flow.synproxy = Some(Synproxy { isn: bytes.u32()?, its: bytes.u32()?, tsoff: bytes.u32()? });
    }
    if has(field::SECCTX) {
        let length = usize::from(bytes.u16()?);
        let context = bytes.slice(length).filter(|context| context.len() <= MAX_SECCTX)?;
        flow.secctx = Some(std::str::from_utf8(context).ok()?.into());
    }
    Some(())
}
