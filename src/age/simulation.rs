//! Tests: simulated flows. The lower bound never exceeds the true idle time.
#![allow(clippy::unwrap_used)]

use proptest::prelude::*;

use super::decision_table::{flow, tcp};
use super::{Confirmed, Idle, IdleConfirmation, IdleEstimator, PreviousTimeout, SampledAt, TimeoutContext};
use crate::model::{Flow, ProtoInfo, Status, TcpState, Timeouts, Timer, tcp_flag};
use crate::units::Seconds;

const BOTH: Status = Status::SeenReply.union(Status::Assured);

/// The kernel counts in jiffies, here of 4 ms: a time may be counted one longer.
const JIFFY: u64 = 4;

/// The kinds of packets of an established flow with different timeouts.
#[derive(Debug, Clone, Copy)]
enum Packet {
    Plain,
    Unacknowledged,
    Retransmitted,
    NoWindow,
    WrongReset,
}

#[derive(Debug, Clone, Copy)]
struct Sysctls {
    established: u32,
    unacknowledged: u32,
    max_retrans: u32,
    close: u32,
}

impl Sysctls {
    /// The timeout that `nf_conntrack_tcp_packet` chooses.
    fn timeout(self, packet: Packet) -> u32 {
        match packet {
            Packet::Retransmitted | Packet::NoWindow => self.established.min(self.max_retrans),
            Packet::Unacknowledged => self.established.min(self.unacknowledged),
            Packet::WrongReset => self.close,
            Packet::Plain => self.established,
        }
    }

    fn timeouts(self) -> Timeouts {
        Timeouts::kernel_defaults()
            .with(Timer::TcpEstablished, self.established)
            .with(Timer::TcpUnacknowledged, self.unacknowledged)
            .with(Timer::TcpMaxRetrans, self.max_retrans)
            .with(Timer::TcpClose, self.close)
    }

    fn previous_timeouts(self) -> [PreviousTimeout; 4] {
        let base = |timer, seconds| PreviousTimeout { timer, seconds };
        [
            base(Timer::TcpEstablished, self.established),
            base(Timer::TcpUnacknowledged, self.unacknowledged),
            base(Timer::TcpMaxRetrans, self.max_retrans),
            base(Timer::TcpClose, self.close),
        ]
    }
}

fn packet() -> impl Strategy<Value = Packet> {
    use Packet::*;
    prop_oneof![Just(Plain), Just(Unacknowledged), Just(Retransmitted), Just(NoWindow), Just(WrongReset)]
}

/// Timeouts in every order of size.
fn sysctls() -> impl Strategy<Value = Sysctls> {
    (1..2000u32, 1..500u32, 1..500u32, 1..100u32).prop_map(|(established, unacknowledged, max_retrans, close)| {
        Sysctls { established, unacknowledged, max_retrans, close }
    })
}

/// Settings that replace each other's defaults, each not longer than before.
fn lowered() -> impl Strategy<Value = (Sysctls, Sysctls)> {
    let defaults = Sysctls { established: 0, unacknowledged: 300, max_retrans: 300, close: 10 };
    (1..432_000u32, 1..=300u32, 1..=300u32, 1..=10u32, 1..=1000u32).prop_map(
        move |(established, unacknowledged, max_retrans, close, part)| {
            let lower = u32::try_from(u64::from(established) * u64::from(part) / 1000).unwrap().max(1);
            (Sysctls { established, ..defaults }, Sysctls { established: lower, unacknowledged, max_retrans, close })
        },
    )
}

/// The dumped flow `idle` milliseconds after `packet`; `None` once it has expired.
fn dumped(packet: Packet, timeout: u32, idle: u64) -> Option<Flow> {
    let left = (u64::from(timeout) * 1000).checked_sub(idle.div_ceil(JIFFY) * JIFFY)?;
    let mut flow = tcp(TcpState::Established, BOTH, u32::try_from(left / 1000).unwrap());
    if let (Packet::Unacknowledged, ProtoInfo::Tcp(info)) = (packet, &mut flow.protoinfo) {
        info.flags_reply = Some(tcp_flag::DATA_UNACKNOWLEDGED);
    }
    (left > 0).then_some(flow)
}

/// A random moment before the timeout expires.
fn moment(timeout: u32, part: u32) -> u64 {
    u64::from(timeout) * u64::from(part)
}

fn is_no_overestimate(context: &TimeoutContext, flow: &Flow, idle: u64) -> Result<Idle, TestCaseError> {
    let verdict = IdleEstimator::new(context, 0).idle(flow);
    let bound = u64::from(verdict.at_least().unwrap_or(0)) * 1000;
    prop_assert!(bound <= idle, "{verdict:?} of a flow idle for {idle} ms with {:?} s left", flow.timeout);
    Ok(verdict)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn with_constant_timeouts_the_bound_holds_and_an_exact_verdict_is_right(
        sysctls in sysctls(), packet in packet(), part in 0..1000u32,
    ) {
        let timeout = sysctls.timeout(packet);
        let idle = moment(timeout, part);
        if let Some(flow) = dumped(packet, timeout, idle) {
            let context = TimeoutContext { timeouts: sysctls.timeouts(), ..TimeoutContext::default() };
            // A close timeout longer than that of ESTABLISHED cannot be distinguished from it.
            if let Idle::Exact { at_most, .. } = is_no_overestimate(&context, &flow, idle)?
                && sysctls.close < sysctls.established.min(sysctls.unacknowledged)
            {
                prop_assert!(idle < (u64::from(at_most) + 1) * 1000);
            }
        }
    }

    #[test]
    fn after_sysctls_were_lowered_the_bound_holds(
        (before, now) in lowered(), packet in packet(), part in 0..1000u32,
    ) {
        let timeout = before.timeout(packet);
        let idle = moment(timeout, part);
        if let Some(flow) = dumped(packet, timeout, idle) {
            is_no_overestimate(&TimeoutContext { timeouts: now.timeouts(), ..TimeoutContext::default() }, &flow, idle)?;
        }
    }

    #[test]
    fn after_any_change_the_bound_holds_when_the_earlier_values_are_given(
        history in prop::collection::vec(sysctls(), 1..4), now in sysctls(), packet in packet(),
        part in 0..1000u32,
    ) {
        let timeout = history.first().unwrap().timeout(packet);
        let idle = moment(timeout, part);
        if let Some(flow) = dumped(packet, timeout, idle) {
            let previous_timeouts = history.iter().flat_map(|sysctls| sysctls.previous_timeouts()).collect();
            is_no_overestimate(&TimeoutContext { timeouts: now.timeouts(), previous_timeouts, ..TimeoutContext::default() }, &flow, idle)?;
        }
    }

    #[test]
    fn sysctls_that_change_between_two_reads_give_no_overestimate(
        before in sysctls(), after in sysctls(), by_first in any::<bool>(), packet in packet(), part in 0..1000u32,
    ) {
        // The last packet came before or after the change; the entry is sampled between the reads.
        let timeout = if by_first { before } else { after }.timeout(packet);
        let idle = moment(timeout, part);
        let context = |sysctls: Sysctls| TimeoutContext { timeouts: sysctls.timeouts(), ..TimeoutContext::default() };
        if let Some(flow) = dumped(packet, timeout, idle) {
            let (first, second) = (context(before), context(after));
            let estimate = is_no_overestimate(&first.merge(&second), &flow, idle)?;
            prop_assert_eq!(is_no_overestimate(&second.merge(&first), &flow, idle)?, estimate);
        }
    }

    #[test]
    fn a_written_timeout_gives_no_overestimate(
        sysctls in sysctls(), written in 1..2000u32, part in 0..1000u32,
    ) {
        // Without a packet since the timeout was written.
        let idle = moment(written, part);
        if let Some(flow) = dumped(Packet::Plain, written, idle) {
            let context = TimeoutContext {
                timeouts: sysctls.timeouts(), written: vec![Seconds(written.into())], ..TimeoutContext::default()
            };
            is_no_overestimate(&context, &flow, idle)?;
        }
    }

    #[test]
    fn udp_of_every_kernel_is_never_over_estimated(
        waiting in 1..400u32, stream in 1..400u32, old in any::<bool>(), replied in any::<bool>(),
        young in any::<bool>(), part in 0..1000u32,
    ) {
        let timeout = if replied && !young { stream } else { waiting };
        let assured = replied && (old || !young);
        let idle = moment(timeout, part);
        let left = (u64::from(timeout) * 1000).saturating_sub(idle.div_ceil(JIFFY) * JIFFY) / 1000;
        let mut status = Status::empty();
        status.set(Status::SeenReply, replied);
        status.set(Status::Assured, assured);
        let timeouts = Timeouts::default().with(Timer::Udp, waiting).with(Timer::UdpStream, stream);
        let context = TimeoutContext { timeouts, assured_udp_is_stream: !old, ..TimeoutContext::default() };
        is_no_overestimate(&context, &flow(17, status, u32::try_from(left).unwrap()), idle)?;
    }

    #[test]
    fn two_samples_never_confirm_more_than_the_time_since_the_last_packet(
        timeouts in prop_oneof![(1..1000u64).prop_map(|same| (same, same)), (1..200u64, 1..200u64)],
        packets in prop::collection::vec(0..60_000u64, 1..6), from in 0..30_000u64, changed in 0..90_000u64,
        distance in 0..30_000u64, skew in (0..2000u64, 0..2000u64, 0..2000u64, 0..2000u64), counted in any::<bool>(),
    ) {
        // Packets before and after `changed` set different timeouts; the first may be another program's.
        let set = |at: u64| if at < 30_000 + changed { timeouts.0 } else { timeouts.1 };
        let current = Timeouts::default().with(Timer::UdpStream, u32::try_from(timeouts.1).unwrap());
        let estimator = IdleEstimator::new(&TimeoutContext { timeouts: current, ..TimeoutContext::default() }, 0);
        let first = 60_000 + from;
        let second = first + distance;
        let mut confirmation = IdleConfirmation::new();
        // Packets before and between the samples.
        let packets: Vec<u64> = packets.into_iter().map(|at| 30_000 + at % (second - 30_000)).collect();
        let sample = |at: u64, before: u64, after: u64| {
            let last = packets.iter().copied().filter(|packet| *packet <= at).max().unwrap_or(0);
            let left = (last + set(last) * 1000).saturating_sub(at) / 1000;
            let mut flow = flow(17, BOTH, u32::try_from(left).unwrap());
            if counted {
                let packets = packets.iter().filter(|packet| **packet <= at).count();
                flow.counters_orig = Some(crate::model::Counters { packets: packets as u64, bytes: 0 });
            }
            (flow, sampled((at - before) * 1_000_000, (at + after) * 1_000_000), at - last)
        };
        let (flow, taken, _) = sample(first, skew.0, skew.1);
        confirmation.first(&flow, taken).unwrap();
        let (flow, taken, idle) = sample(second, skew.2, skew.3);
        // An expired flow is not dumped.
        if flow.timeout > Some(0) && let Confirmed::Idle { at_least } = confirmation.second(&flow, taken, &estimator) {
            prop_assert!(u64::from(at_least) * 1000 <= idle, "{at_least} s confirmed, {idle} ms true");
        }
    }
}

#[test]
fn an_idle_flow_is_confirmed_for_nearly_the_time_between_the_samples() {
    let at = |seconds: u64| sampled(seconds * 1_000_000_000, seconds * 1_000_000_000);
    let mut confirmation = IdleConfirmation::new();
    let sample = |left| tcp(TcpState::Established, BOTH, left);
    confirmation.first(&sample(200), at(100)).unwrap();
    let estimator = defaults();
    let second = |flow: &Flow| confirmation.second(flow, at(130), &estimator);
    assert_eq!(second(&sample(170)), Confirmed::Idle { at_least: 28 });
    assert_eq!(second(&sample(200)), Confirmed::Active);
    assert_eq!(second(&tcp(TcpState::FinWait, BOTH, 170)), Confirmed::Active);
    assert_eq!(second(&flow(17, BOTH, 170)), Confirmed::Active, "absent from the first sample");
}

/// By the kernel's default timeouts.
fn defaults() -> IdleEstimator {
    IdleEstimator::new(&TimeoutContext { timeouts: Timeouts::kernel_defaults(), ..TimeoutContext::default() }, 0)
}

#[test]
fn a_packet_that_sets_just_the_remaining_timeout_is_possible_and_nothing_is_confirmed() {
    let at = |seconds: u64| sampled(seconds * 1_000_000_000, seconds * 1_000_000_000);
    let confirmed = |first: u32, second: u32, estimator: &IdleEstimator| {
        let mut confirmation = IdleConfirmation::new();
        confirmation.first(&flow(17, BOTH, first), at(0)).unwrap();
        confirmation.second(&flow(17, BOTH, second), at(u64::from(first - second)), estimator)
    };
    // Of a stream: 120 s; a program had written 180 s.
    assert_eq!(confirmed(130, 115, &defaults()), Confirmed::Active);
    assert_eq!(confirmed(135, 122, &defaults()), Confirmed::Idle { at_least: 11 });
    assert_eq!(confirmed(110, 95, &defaults()), Confirmed::Idle { at_least: 13 });
    // Lowered from 120 to 100 s between the samples.
    let stream = |seconds| Timeouts::kernel_defaults().with(Timer::UdpStream, seconds);
    let [before, after] =
        [120, 100].map(|seconds| TimeoutContext { timeouts: stream(seconds), ..TimeoutContext::default() });
    assert_eq!(confirmed(110, 95, &IdleEstimator::new(&after.merge(&before), 0)), Confirmed::Active);
    assert_eq!(confirmed(110, 95, &IdleEstimator::without_timeouts(0)), Confirmed::Active, "none is known");
}

#[test]
fn flows_that_packets_do_not_refresh_cannot_be_confirmed() {
    let at = sampled(0, 0);
    let mut confirmation = IdleConfirmation::new();
    for flow in [
        tcp(TcpState::SynSent, Status::empty(), 100),
        tcp(TcpState::SynRecv, Status::SeenReply, 50),
        tcp(TcpState::Established, BOTH | Status::Offload, 50),
        flow(17, BOTH | Status::FixedTimeout, 50),
        Flow { timeout: None, ..flow(17, BOTH, 0) },
    ] {
        confirmation.first(&flow, at).unwrap_err();
        assert!(matches!(confirmation.second(&flow, at, &defaults()), Confirmed::Unknown(_)));
    }
    assert!(confirmation.is_empty());
}

fn sampled(earliest: u64, latest: u64) -> SampledAt {
    SampledAt { earliest: crate::units::Nanos(earliest), latest: crate::units::Nanos(latest) }
}
