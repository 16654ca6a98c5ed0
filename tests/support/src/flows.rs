//! Random flows.
//!
//! Values come from small pools, so that filters match some flows and not others, and every attribute
//! is sometimes missing.

use std::net::IpAddr;

use ctnl::age::{IdleEstimator, TimeoutContext};
use ctnl::model::{
    Counters, DccpInfo, DccpState, Flow, HelperName, L4, Labels, ProtoInfo, Protocol, SctpInfo, SctpState, Status,
    TcpInfo, TcpState, Timeouts, Tuple,
};
use proptest::option;
use proptest::prelude::*;
use proptest::sample::select;

/// `CLOCK_REALTIME` of every test, in nanoseconds.
pub const NOW: u64 = 1_700_000_000_000_000_000;

pub const V4: [&str; 6] = ["10.0.0.1", "10.0.0.2", "10.255.255.255", "11.0.0.0", "192.0.2.7", "203.0.113.5"];
pub const V6: [&str; 5] = ["2001:db8::1", "2001:db8::2", "2001:db9::", "fe80::1", "::ffff:10.0.0.1"];
pub const PORTS: [u16; 8] = [0, 53, 80, 443, 444, 1024, 32768, 65535];
pub const HELPERS: [&str; 3] = ["ftp", "sip", "any"];

/// What idle time and age are computed from: the kernel's default timeouts.
pub fn estimator() -> IdleEstimator {
    let timeouts = Timeouts::kernel_defaults();
    IdleEstimator::new(&TimeoutContext { timeouts, assured_udp_is_stream: true, ..TimeoutContext::default() }, NOW)
}

pub fn address(v6: bool) -> BoxedStrategy<IpAddr> {
    let parse = |text: &str| text.parse().unwrap();
    if v6 { select(&V6[..]).prop_map(parse).boxed() } else { select(&V4[..]).prop_map(parse).boxed() }
}

fn l4(protocol: u8) -> BoxedStrategy<L4> {
    let ports = || (select(&PORTS[..]), select(&PORTS[..])).prop_map(|(src, dst)| L4::Ports { src, dst });
    match protocol {
        6 | 17 | 132 | 136 | 47 => ports().boxed(),
        33 => prop_oneof![Just(L4::None), ports()].boxed(),
        1 | 58 => (select(vec![0, 8, 128]), select(vec![0u8, 1, 2, 200]), select(vec![1, 4711]))
            .prop_map(|(kind, code, id)| L4::Icmp { kind, code, id })
            .boxed(),
        _ => Just(L4::None).boxed(),
    }
}

fn tuple(v6: bool, protocol: u8) -> impl Strategy<Value = Tuple> {
    let zone = option::weighted(0.15, select(vec![0u16, 5, 7]));
    (address(v6), address(v6), l4(protocol), zone).prop_map(move |(src, dst, l4, zone)| Tuple {
        src,
        dst,
        protocol: Protocol::from(protocol),
        l4,
        zone,
        has_unknown_part: false,
    })
}

fn protoinfo(protocol: u8) -> BoxedStrategy<ProtoInfo> {
    let flags = || option::of(any::<u8>());
    match protocol {
        6 => (prop_oneof![0u8..11, Just(200)], flags(), flags())
            .prop_map(|(state, flags_orig, flags_reply)| {
                let state = TcpState::from(state);
                ProtoInfo::Tcp(TcpInfo { state, flags_orig, flags_reply, ..TcpInfo::default() })
            })
            .boxed(),
        132 => (0u8..11)
            .prop_map(|state| ProtoInfo::Sctp(SctpInfo { state: SctpState::from(state), ..SctpInfo::default() }))
            .boxed(),
        33 => (0u8..11)
            .prop_map(|state| ProtoInfo::Dccp(DccpInfo { state: DccpState::from(state), ..DccpInfo::default() }))
            .boxed(),
        _ => Just(ProtoInfo::None).boxed(),
    }
}

fn counters() -> impl Strategy<Value = Option<Counters>> {
    let count = || select(vec![0u64, 1, 2, 1000, 10_000, 1 << 40]);
    option::weighted(0.7, (count(), count()).prop_map(|(packets, bytes)| Counters { packets, bytes }))
}

/// Any flow that the kernel could send.
pub fn flow() -> impl Strategy<Value = Flow> {
    let protocols = select(vec![6u8, 6, 6, 17, 17, 1, 58, 132, 33, 47, 136, 50, 253]);
    (any::<bool>(), protocols).prop_flat_map(|(v6, protocol)| {
        let tuples = (tuple(v6, protocol), tuple(v6, protocol), option::weighted(0.2, tuple(v6, protocol)));
        let state = (
            prop_oneof![Just(ProtoInfo::None), protoinfo(protocol), protoinfo(protocol), Just(ProtoInfo::Unknown(9))],
            prop_oneof![4 => 0u32..1 << 9, 1 => any::<u32>()],
            option::weighted(0.9, select(vec![0u32, 1, 29, 30, 300, 431_999, 432_000])),
        );
        let numbers = (
            option::weighted(0.9, select(vec![0u32, 1, 5, 0x10, 0x1f, 0xff, u32::MAX])),
            option::weighted(0.3, select(vec![0u16, 5, 7])),
            option::weighted(0.9, select(vec![0u32, 7, u32::MAX])),
            option::weighted(0.9, 1u32..4),
            counters(),
            counters(),
            option::of(0u64..200_000),
        );
        let extras = (
            option::of(prop::collection::vec(select(vec![0u8, 1, 5, 127]), 0..3)),
            option::of(select(&HELPERS[..])),
            option::weighted(0.2, select(vec!["system_u:object_r:x:s0", "y"])),
        );
        (tuples, state, numbers, extras).prop_map(|(tuples, state, numbers, extras)| Flow {
            master: tuples.2,
            protoinfo: state.0,
            status: Status::from_bits_retain(state.1),
            timeout: state.2,
            mark: numbers.0,
            zone_both: numbers.1,
            id: numbers.2,
            use_count: numbers.3,
            counters_orig: numbers.4,
            counters_reply: numbers.5,
            start: numbers.6.map(|age| NOW - age * 1_000_000_000),
            labels: extras.0.map(Labels::from_numbers),
            helper: extras.1.map(|name| HelperName::new(name.as_bytes())),
            secctx: extras.2.map(Into::into),
            ..Flow::new(tuples.0, tuples.1)
        })
    })
}
