//! Entries and columns for the tests of the formats.

use crate::age::IdleEstimator;
use crate::field::{Field, Subject, field};
use crate::model::{
    Counters, DccpInfo, DccpState, Family, Flow, HelperName, L4, Labels, ProtoInfo, Protocol, SctpInfo, SctpState,
    SequenceAdjustment, Status, Synproxy, TcpInfo, Tuple,
};

/// An entry whose reply tuple is the inverse of its original one.
pub(super) fn flow(src: &str, dst: &str, protocol: u8, l4: L4) -> Flow {
    let tuple = |src: &str, dst: &str, l4| Tuple {
        src: src.parse().unwrap_or([0; 4].into()),
        dst: dst.parse().unwrap_or([0; 4].into()),
        protocol: Protocol::from(protocol),
        l4,
        zone: None,
        has_unknown_part: false,
    };
    let reply = match l4 {
        L4::Ports { src, dst } => L4::Ports { src: dst, dst: src },
        other => other,
    };
    Flow::new(tuple(src, dst, l4), tuple(dst, src, reply))
}

/// Calls `check` with an entry that has ports and a helper, and with one that has neither.
pub(super) fn each(mut check: impl FnMut(&Subject<'_>)) {
    let ages = ages(0);
    let mut tcp = flow("10.0.0.1", "10.0.0.2", 6, L4::Ports { src: 1234, dst: 80 });
    tcp.helper = Some(HelperName::new(b"f\"t,p\x1b"));
    let other = flow("2001:db8::1", "2001:db8::2", 253, L4::None);
    for flow in [tcp, other] {
        check(&Subject::new(&flow, &ages));
    }
}

/// An estimator without timeouts, at `now` nanoseconds since 1970.
pub(super) fn ages(now: u64) -> IdleEstimator {
    IdleEstimator::without_timeouts(now)
}

/// An address, a number, a text, and a time that is unknown.
pub(super) fn columns() -> Vec<&'static Field> {
    ["src", "sport", "helper", "age"].into_iter().filter_map(field).collect()
}

/// Sets every value that an entry can have.
pub(super) fn fill(flow: &mut Flow) {
    let number = Some(u32::MAX);
    flow.protoinfo = ProtoInfo::Tcp(TcpInfo::default());
    flow.status = Status::from_bits_retain(u32::MAX);
    (flow.timeout, flow.mark, flow.id, flow.use_count) = (number, number, number, number);
    (flow.zone_both, flow.orig.zone) = (Some(u16::MAX), Some(u16::MAX));
    (flow.start, flow.stop, flow.event_time) = (Some(1), Some(u64::MAX), Some(u64::MAX));
    flow.counters_orig = Some(Counters { packets: u64::MAX, bytes: u64::MAX });
    flow.counters_reply = flow.counters_orig;
    flow.helper = Some(HelperName::new(&[b'"'; 32]));
    flow.labels = Some(Labels::from_numbers(0..128));
    flow.master = Some(flow.orig);
    flow.secctx = Some("\"\\\n\u{1f}".into());
    flow.seq_adj_orig = Some(SequenceAdjustment { position: 1, before: 2, after: u32::MAX });
    flow.seq_adj_reply = flow.seq_adj_orig;
    flow.synproxy = Some(Synproxy { isn: 1, its: 2, tsoff: 3 });
}

/// Sets the values that the bits of `set` select, with numbers from `n`.
pub(super) fn fill_some(flow: &mut Flow, set: u32, n: u64, text: &str) {
    let mut full = flow.clone();
    fill(&mut full);
    let has = |bit: u32| set >> bit & 1 == 1;
    flow.protoinfo = match set >> 28 {
        0..3 => ProtoInfo::None,
        3..8 => ProtoInfo::Tcp(TcpInfo { state: (n as u8).into(), ..TcpInfo::default() }),
        8..11 => ProtoInfo::Sctp(SctpInfo { state: SctpState::from(n as u8), ..SctpInfo::default() }),
        11..14 => ProtoInfo::Dccp(DccpInfo { state: DccpState::from(n as u8), ..DccpInfo::default() }),
        _ => ProtoInfo::Unknown(n as u16),
    };
    flow.status = Status::from_bits_retain(n as u32);
    flow.timeout = has(0).then_some(n as u32);
    flow.mark = has(1).then_some((n >> 9) as u32);
    flow.id = has(2).then_some((n >> 13) as u32);
    flow.use_count = has(3).then_some(n as u32 % 7);
    flow.zone_both = has(4).then_some(n as u16);
    flow.orig.zone = has(5).then_some(n as u16);
    flow.reply.zone = has(6).then_some(n as u16);
    flow.start = has(7).then_some(n);
    flow.stop = has(8).then_some(n.wrapping_mul(3));
    flow.counters_orig = has(9).then_some(Counters { packets: n, bytes: n >> 40 });
    flow.counters_reply = has(10).then_some(Counters { packets: n >> 20, bytes: n >> 1 });
    flow.helper = has(11).then(|| HelperName::new(text.as_bytes()));
    flow.labels = has(12).then(|| Labels::from_numbers([n as u8, 77]));
    flow.secctx = has(13).then(|| text.into());
    flow.master = full.master.filter(|_| has(14));
    flow.seq_adj_reply = full.seq_adj_reply.filter(|_| has(15));
    flow.synproxy = full.synproxy.filter(|_| has(16));
    flow.orig.has_unknown_part = has(17);
    flow.family = if has(18) { Family::from(n as u8) } else { flow.family };
}
