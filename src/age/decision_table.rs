//! Tests: the decision table, row by row, with the kernel's default timeouts.
#![allow(clippy::unwrap_used, clippy::panic)]

use super::{Age, Idle, IdleEstimator, PreviousTimeout, TimeoutContext};
use crate::model::{
    DccpInfo, Family, Flow, HelperName, L4, Policies, ProtoInfo, Protocol, SctpInfo, SctpState, Status, Synproxy,
    TcpInfo, TcpState, Timeouts, Timer, Tuple, Undecided, tcp_flag,
};
use crate::units::Seconds;

const REPLIED: Status = Status::SeenReply;
const BOTH: Status = Status::SeenReply.union(Status::Assured);

fn context() -> TimeoutContext {
    TimeoutContext { timeouts: Timeouts::kernel_defaults(), assured_udp_is_stream: true, ..TimeoutContext::default() }
}

pub(super) fn flow(protocol: u8, status: Status, left: u32) -> Flow {
    let l4 = match protocol {
        1 | 58 => L4::Icmp { kind: 8, code: 0, id: 7 },
        6 | 17 | 33 | 47 | 132 | 136 => L4::Ports { src: 40_000, dst: 443 },
        _ => L4::None,
    };
    let tuple = Tuple {
        src: [10, 0, 0, 1].into(),
        dst: [10, 0, 0, 2].into(),
        protocol: Protocol::from(protocol),
        l4,
        zone: None,
        has_unknown_part: false,
    };
    let mut flow = Flow::new(tuple, tuple);
    flow.status = status | Status::Confirmed;
    flow.timeout = Some(left);
    flow
}

pub(super) fn tcp(state: TcpState, status: Status, left: u32) -> Flow {
    let info = TcpInfo { state, ..TcpInfo::default() };
    Flow { protoinfo: ProtoInfo::Tcp(info), ..flow(6, status, left) }
}

fn sctp(state: u8, left: u32) -> Flow {
    let info = SctpInfo { state: SctpState::from(state), ..SctpInfo::default() };
    Flow { protoinfo: ProtoInfo::Sctp(info), ..flow(132, BOTH, left) }
}

fn dccp(state: u8, left: u32) -> Flow {
    Flow { protoinfo: ProtoInfo::Dccp(DccpInfo { state: state.into(), ..DccpInfo::default() }), ..flow(33, BOTH, left) }
}

fn unacknowledged(mut flow: Flow) -> Flow {
    if let ProtoInfo::Tcp(info) = &mut flow.protoinfo {
        info.flags_orig = Some(tcp_flag::DATA_UNACKNOWLEDGED);
    }
    flow
}

/// As an entry of conntrackd or `conntrack -I`.
fn injected(flow: Flow) -> Flow {
    Flow { synproxy: Some(Synproxy::default()), ..flow }
}

fn synproxied(flow: Flow) -> Flow {
    Flow { synproxy: Some(Synproxy { isn: 7, ..Synproxy::default() }), ..flow }
}

fn exact(at_least: u32) -> Idle {
    Idle::Exact { at_least, at_most: at_least + 1 }
}

const AMBIGUOUS: Undecided = Undecided::AmbiguousTimeout;
const LONGER: Idle = Idle::Unknown(Undecided::LongerThanSysctl);
const HANDSHAKE: Idle = Idle::Unknown(Undecided::NotRefreshed);
const NO_STATE: Idle = Idle::Unknown(Undecided::UnknownState);

#[test]
fn every_row_of_the_decision_table_gives_its_result() {
    use TcpState::*;
    let rows: &[(&str, Flow, Idle)] = &[
        ("normal, just seen", tcp(Established, BOTH, 431_999), exact(0)),
        ("normal, idle for 12 hours", tcp(Established, BOTH, 388_799), exact(43_200)),
        ("above what may replace its timeout", tcp(Established, BOTH, 301), exact(431_698)),
        ("as long as what may replace it", tcp(Established, BOTH, 300), Idle::AtLeast(0, AMBIGUOUS)),
        ("keepalives unanswered, zero window", tcp(Established, BOTH, 299), Idle::AtLeast(0, AMBIGUOUS)),
        ("long ago, or unanswered", tcp(Established, BOTH, 100), Idle::AtLeast(199, AMBIGUOUS)),
        ("RST not accepted", tcp(Established, BOTH, 9), Idle::AtLeast(0, AMBIGUOUS)),
        ("about to expire", tcp(Established, BOTH, 0), Idle::AtLeast(9, AMBIGUOUS)),
        ("more time than any timeout", tcp(Established, BOTH, 432_001), LONGER),
        ("data not acknowledged", unacknowledged(tcp(Established, BOTH, 299)), exact(0)),
        ("not acknowledged, RST", unacknowledged(tcp(Established, BOTH, 9)), Idle::AtLeast(0, AMBIGUOUS)),
        ("not acknowledged, longer", unacknowledged(tcp(Established, BOTH, 301)), LONGER),
        ("picked up, no answer", tcp(Established, Status::empty(), 299), exact(0)),
        ("picked up, long", tcp(Established, Status::empty(), 431_000), LONGER),
        ("SYN", tcp(SynSent, Status::empty(), 1), HANDSHAKE),
        ("SYN both ways", tcp(SynSent2, REPLIED, 1), HANDSHAKE),
        ("SYN/ACK", tcp(SynRecv, REPLIED, 1), HANDSHAKE),
        ("FIN", tcp(FinWait, BOTH, 100), exact(19)),
        ("FIN acknowledged", tcp(CloseWait, BOTH, 20), exact(39)),
        ("both FIN", tcp(LastAck, BOTH, 20), exact(9)),
        ("closed in order", tcp(TimeWait, BOTH, 119), exact(0)),
        ("reset", tcp(Close, BOTH, 4), exact(5)),
        ("no TCP state", tcp(None, BOTH, 10), NO_STATE),
        ("a state of the future", tcp(Unknown(12), BOTH, 10), NO_STATE),
        ("TCP without tracker data", flow(6, BOTH, 10), NO_STATE),
        ("UDP one way", flow(17, Status::empty(), 20), exact(9)),
        ("UDP replied within two seconds", flow(17, REPLIED, 29), exact(0)),
        ("UDP not assured, too long", flow(17, REPLIED, 31), LONGER),
        ("UDP stream", flow(17, BOTH, 10), exact(109)),
        ("UDP-lite one way", flow(136, Status::empty(), 20), exact(9)),
        ("UDP-lite stream", flow(136, BOTH, 20), exact(99)),
        ("ICMP", flow(1, REPLIED, 20), exact(9)),
        ("ICMPv6", flow(58, REPLIED, 20), exact(9)),
        ("GRE one way", flow(47, Status::empty(), 20), Idle::Unknown(Undecided::CopiedAtCreation)),
        ("GRE both ways", flow(47, BOTH, 20), Idle::Unknown(Undecided::CopiedAtCreation)),
        ("made over netlink", injected(tcp(Established, BOTH, 1799)), Idle::Unknown(Undecided::MadeOverNetlink)),
        ("UDP made over netlink", injected(flow(17, BOTH, 29)), Idle::Unknown(Undecided::MadeOverNetlink)),
        ("by a SYNPROXY rule", synproxied(tcp(Established, BOTH, 431_999)), exact(0)),
        ("GRE of PPTP", flow(47, BOTH | Status::Expected, 17_000), Idle::Unknown(Undecided::TimeoutOfHelper)),
        ("SCTP established", sctp(4, 200), exact(9)),
        ("SCTP INIT", sctp(1, 5), HANDSHAKE),
        ("SCTP heartbeat", sctp(8, 20), exact(9)),
        ("SCTP state of older kernels, without a timeout", sctp(9, 20), Idle::Unknown(Undecided::UnknownTimeouts)),
        ("SCTP state of the future", sctp(10, 20), NO_STATE),
        ("SCTP without state", sctp(0, 20), NO_STATE),
        ("DCCP request", dccp(1, 20), HANDSHAKE),
        ("DCCP open", dccp(4, 43_190), exact(9)),
        ("DCCP ignored state", dccp(8, 20), NO_STATE),
        ("ESP", flow(50, REPLIED, 590), exact(9)),
        (
            "offloaded, without timeout",
            Flow { timeout: Option::None, ..flow(6, BOTH | Status::Offload, 0) },
            Idle::Unknown(Undecided::Offloaded),
        ),
        ("offloaded, with timeout", tcp(Established, BOTH | Status::Offload, 5), Idle::Unknown(Undecided::Offloaded)),
        (
            "hardware",
            tcp(Established, BOTH | Status::from_bits_retain(1 << 15), 5),
            Idle::Unknown(Undecided::Offloaded),
        ),
        (
            "no timeout sent",
            Flow { timeout: Option::None, ..tcp(Established, BOTH, 0) },
            Idle::Unknown(Undecided::NotSent),
        ),
        ("fixed", flow(17, BOTH | Status::FixedTimeout, 5), Idle::Unknown(Undecided::FixedTimeout)),
        ("clash", flow(17, Status::Untracked | Status::FixedTimeout, 1), Idle::Unknown(Undecided::NatClash)),
    ];
    let estimator = IdleEstimator::new(&context(), 0);
    for (name, flow, expected) in rows {
        assert_eq!(estimator.idle(flow), *expected, "{name}");
    }
}

#[test]
fn dccp_without_ports_is_tracked_as_any_other_protocol() {
    let mut flow = flow(33, REPLIED, 590);
    flow.orig.l4 = L4::None;
    assert_eq!(IdleEstimator::new(&context(), 0).idle(&flow), exact(9));
}

#[test]
fn a_helper_that_sets_the_timeout_makes_the_idle_time_undecided() {
    let estimator = IdleEstimator::new(&context(), 0);
    // Busy: the sip helper sets an hour at every packet, for TCP as well.
    let sip = Flow { helper: Some(HelperName::new(b"sip")), ..tcp(TcpState::Established, BOTH, 3599) };
    assert_eq!(estimator.idle(&sip), Idle::Unknown(Undecided::TimeoutOfHelper));
    let ftp = Flow { helper: Some(HelperName::new(b"ftp")), ..tcp(TcpState::Established, BOTH, 431_989) };
    assert_eq!(estimator.idle(&ftp), exact(10));
}

#[test]
fn a_policy_makes_its_protocol_and_family_undecided_and_no_other() {
    let undecided = Idle::Unknown(Undecided::TimeoutPolicy);
    for (family, protocol, tcp4, udp4, esp4) in [
        (2, 6, true, false, false),
        (10, 6, false, false, false),
        (1, 6, true, false, false),
        (0, 17, false, true, false),
        (2, 255, false, false, true),
    ] {
        let mut policies = Policies::default();
        policies.add(Family::from(family), protocol);
        let estimator = IdleEstimator::new(&TimeoutContext { policies, ..context() }, 0);
        let is_undecided = |flow: &Flow| estimator.idle(flow) == undecided;
        assert_eq!(is_undecided(&tcp(TcpState::Established, BOTH, 400_000)), tcp4, "{family} {protocol}");
        assert_eq!(is_undecided(&flow(17, BOTH, 20)), udp4, "{family} {protocol}");
        assert_eq!(is_undecided(&flow(50, BOTH, 20)), esp4, "{family} {protocol}");
    }
}

#[test]
fn assured_udp_has_two_candidates_on_old_kernels_and_where_the_flow_was_made_over_netlink() {
    let old = IdleEstimator::new(&TimeoutContext { assured_udp_is_stream: false, ..context() }, 0);
    assert_eq!(old.idle(&flow(17, BOTH, 29)), Idle::AtLeast(0, AMBIGUOUS));
    assert_eq!(old.idle(&flow(17, BOTH, 31)), exact(88));
    assert_eq!(old.idle(&flow(136, BOTH, 29)), exact(90), "UDP-lite is as it always was");
    let trusting = IdleEstimator::new(&TimeoutContext { trust_netlink_timeouts: true, ..context() }, 0);
    assert_eq!(trusting.idle(&injected(flow(17, BOTH, 29))), Idle::AtLeast(0, AMBIGUOUS));
}

#[test]
fn flows_that_may_have_left_a_flowtable_are_undecided() {
    let mut policies = Policies::default();
    policies.flowtables = true;
    let estimator = IdleEstimator::new(&TimeoutContext { policies, ..context() }, 0);
    for flow in [tcp(TcpState::Established, BOTH, 431_990), tcp(TcpState::Established, BOTH, 1000), flow(17, BOTH, 19)]
    {
        assert_eq!(estimator.idle(&flow), Idle::Unknown(Undecided::Flowtable), "{flow:?}");
    }
    assert_eq!(estimator.idle(&flow(1, REPLIED, 20)), exact(9), "only TCP and UDP go there");
    assert_eq!(estimator.idle(&tcp(TcpState::Established, BOTH, 432_001)), LONGER);
}

#[test]
fn a_base_timeout_decides_what_a_lowered_sysctl_left_open() {
    let lowered = Timeouts::kernel_defaults().with(Timer::TcpEstablished, 3600);
    let previous_timeouts = vec![PreviousTimeout { timer: Timer::TcpEstablished, seconds: 432_000 }];
    let plain = IdleEstimator::new(&TimeoutContext { timeouts: lowered.clone(), ..context() }, 0);
    let with_base = IdleEstimator::new(&TimeoutContext { timeouts: lowered, previous_timeouts, ..context() }, 0);
    let live = tcp(TcpState::Established, BOTH, 431_990);
    assert_eq!((plain.idle(&live), with_base.idle(&live)), (LONGER, exact(9)));
    // Idle for an hour less 1000 s, or for nearly five days: the shorter counts.
    let either = tcp(TcpState::Established, BOTH, 1000);
    assert_eq!((plain.idle(&either), with_base.idle(&either)), (exact(2599), Idle::AtLeast(2599, AMBIGUOUS)));
}

#[test]
fn a_base_timeout_protects_flows_with_traffic_after_a_sysctl_was_raised() {
    let previous_timeouts = vec![PreviousTimeout { timer: Timer::TcpEstablished, seconds: 3600 }];
    let busy = tcp(TcpState::Established, BOTH, 3599);
    assert_eq!(IdleEstimator::new(&context(), 0).idle(&busy), exact(428_400), "one sample does not show it");
    assert_eq!(
        IdleEstimator::new(&TimeoutContext { previous_timeouts, ..context() }, 0).idle(&busy),
        Idle::AtLeast(0, AMBIGUOUS)
    );
}

#[test]
fn replacements_lowered_from_the_default_do_not_make_a_flow_appear_idle_for_days() {
    // Keepalives unanswered under the default of 300 s, which then became 100 s.
    let timeouts = Timeouts::kernel_defaults().with(Timer::TcpMaxRetrans, 100).with(Timer::TcpUnacknowledged, 100);
    let estimator = IdleEstimator::new(&TimeoutContext { timeouts, ..context() }, 0);
    assert_eq!(estimator.idle(&tcp(TcpState::Established, BOTH, 290)), Idle::AtLeast(9, AMBIGUOUS));
}

#[test]
fn an_established_timeout_below_the_replacements_stands_alone() {
    let timeouts = Timeouts::kernel_defaults().with(Timer::TcpEstablished, 60);
    let estimator = IdleEstimator::new(&TimeoutContext { timeouts, ..context() }, 0);
    assert_eq!(estimator.idle(&tcp(TcpState::Established, BOTH, 30)), exact(29));
    assert_eq!(estimator.idle(&tcp(TcpState::Established, BOTH, 290)), LONGER);
    assert_eq!(estimator.idle(&unacknowledged(tcp(TcpState::Established, BOTH, 30))), exact(29));
}

#[test]
fn gre_is_decided_only_by_a_base_timeout_because_it_keeps_the_timeout_of_its_creation() {
    // `nf_conntrack_gre_timeout_stream` was 20 and is 180: a flow with traffic appears idle for 160 s.
    let busy = flow(47, BOTH, 19);
    let idle =
        |previous_timeouts| IdleEstimator::new(&TimeoutContext { previous_timeouts, ..context() }, 0).idle(&busy);
    assert_eq!(idle(Vec::new()), Idle::Unknown(Undecided::CopiedAtCreation));
    let other = PreviousTimeout { timer: Timer::Gre, seconds: 20 };
    assert_eq!(idle(vec![other]), Idle::Unknown(Undecided::CopiedAtCreation));
    assert_eq!(idle(vec![PreviousTimeout { timer: Timer::GreStream, seconds: 20 }]), Idle::AtLeast(0, AMBIGUOUS));
    assert_eq!(idle(vec![PreviousTimeout { timer: Timer::GreStream, seconds: 180 }]), exact(160));
    assert_eq!(idle(Vec::new()).confirmed(5).at_least(), Some(5), "two samples decide it");
}

#[test]
fn an_entry_made_over_netlink_is_undecided_until_two_samples_or_the_operator_decide() {
    // Injected with 1800 s left, one second ago.
    let flow = injected(tcp(TcpState::Established, BOTH, 1799));
    let idle = IdleEstimator::new(&context(), 0).idle(&flow);
    assert_eq!(idle, Idle::Unknown(Undecided::MadeOverNetlink));
    assert_eq!(idle.confirmed(30).at_least(), Some(30));
    let trusting = IdleEstimator::new(&TimeoutContext { trust_netlink_timeouts: true, ..context() }, 0);
    assert_eq!(trusting.idle(&flow), exact(430_200));
    assert_eq!(trusting.idle(&synproxied(tcp(TcpState::Established, BOTH, 431_999))), exact(0));
}

#[test]
fn idle_time_never_exceeds_age() {
    let second = 1_000_000_000;
    let estimator = IdleEstimator::new(&context(), 1000 * second);
    let idle = |flow: Flow, age: u64| estimator.idle(&Flow { start: Some((1000 - age) * second), ..flow });
    assert_eq!(idle(tcp(TcpState::Established, BOTH, 1800), 1), Idle::Unknown(Undecided::LongerThanAge));
    assert_eq!(idle(tcp(TcpState::Established, BOTH, 100), 10), Idle::Unknown(Undecided::LongerThanAge));
    assert_eq!(idle(flow(17, BOTH, 100), 19), Idle::Exact { at_least: 19, at_most: 19 });
    assert_eq!(idle(flow(17, BOTH, 100), 18), Idle::Exact { at_least: 18, at_most: 18 });
    assert_eq!(idle(flow(17, BOTH, 100), 500), exact(19));
    assert_eq!(idle(tcp(TcpState::Established, BOTH, 9), 0), Idle::AtLeast(0, AMBIGUOUS));
    assert_eq!(idle(flow(17, BOTH | Status::FixedTimeout, 5), 1), Idle::Unknown(Undecided::FixedTimeout));
}

#[test]
fn a_written_timeout_is_one_more_candidate_of_every_protocol() {
    let estimator = IdleEstimator::new(&TimeoutContext { written: vec![Seconds(20)], ..context() }, 0);
    // Soft-flushed with 20 s a moment ago, and active until then.
    for flow in [tcp(TcpState::Established, BOTH, 19), flow(17, BOTH, 19), flow(1, REPLIED, 19), sctp(4, 19)] {
        assert_eq!(estimator.idle(&flow), Idle::AtLeast(0, Undecided::WrittenTimeout), "{:?}", flow.orig.protocol);
    }
    assert_eq!(estimator.idle(&flow(17, BOTH, 21)), exact(98), "longer than what was written");
    let longer = IdleEstimator::new(&TimeoutContext { written: vec![Seconds(900_000)], ..context() }, 0);
    assert_eq!(longer.idle(&tcp(TcpState::Established, BOTH, 500_000)), LONGER);
    let unknown = IdleEstimator::new(&TimeoutContext { unknown_written_timeouts: true, ..context() }, 0);
    assert_eq!(unknown.idle(&flow(17, BOTH, 21)), Idle::Unknown(Undecided::UnknownWrittenTimeouts));
}

#[test]
fn of_two_contexts_the_smallest_candidate_counts_and_each_may_make_a_flow_undecided() {
    let at = |seconds| TimeoutContext {
        timeouts: Timeouts::kernel_defaults().with(Timer::TcpEstablished, seconds),
        ..context()
    };
    // Raised from 3600 between the reads: a flow with traffic has 3599 s left.
    let busy = tcp(TcpState::Established, BOTH, 3599);
    for merged in [at(3600).merge(&at(432_000)), at(432_000).merge(&at(3600))] {
        assert_eq!(IdleEstimator::new(&merged, 0).idle(&busy), Idle::AtLeast(0, AMBIGUOUS));
    }
    assert_eq!(at(3600).merge(&at(3600)), at(3600));
    let mut policies = Policies::default();
    policies.add(Family::from(2), 6);
    let bound = TimeoutContext { policies, ..context() };
    let unread = TimeoutContext { timeouts: Timeouts::default(), ..context() };
    let idle = |merged: &TimeoutContext| IdleEstimator::new(merged, 0).idle(&busy);
    assert_eq!(idle(&context().merge(&bound)), Idle::Unknown(Undecided::TimeoutPolicy));
    assert_eq!(idle(&bound.merge(&context())), Idle::Unknown(Undecided::TimeoutPolicy));
    assert_eq!(idle(&context().merge(&unread)), Idle::Unknown(Undecided::UnknownTimeouts));
    assert_eq!(idle(&unread.merge(&context())), Idle::Unknown(Undecided::UnknownTimeouts));
    let trusting = TimeoutContext { trust_netlink_timeouts: true, ..context() };
    assert!(!trusting.merge(&context()).trust_netlink_timeouts);
}

#[test]
fn without_timeouts_the_idle_time_is_undecided() {
    let estimator = IdleEstimator::without_timeouts(0);
    for flow in [tcp(TcpState::Established, BOTH, 1000), flow(17, BOTH, 1), flow(50, BOTH, 1), flow(1, BOTH, 1)] {
        assert_eq!(estimator.idle(&flow), Idle::Unknown(Undecided::UnknownTimeouts));
    }
    let half = Timeouts::default().with(Timer::TcpEstablished, 432_000);
    let estimator = IdleEstimator::new(&TimeoutContext { timeouts: half, ..context() }, 0);
    assert_eq!(estimator.idle(&tcp(TcpState::Established, BOTH, 1000)), Idle::Unknown(Undecided::UnknownTimeouts));
}

#[test]
fn age_is_known_with_a_timestamp_that_is_not_in_the_future() {
    let second = 1_000_000_000;
    let estimator = IdleEstimator::new(&context(), 1000 * second);
    let age = |start| estimator.age(&Flow { start, ..flow(17, BOTH, 1) });
    assert_eq!(age(None), Age::Unknown(Undecided::NoTimestamp));
    assert_eq!(age(Some(900 * second + 1)), Age::Known(99));
    assert_eq!(age(Some(1001 * second)), Age::Known(0), "created during the dump");
    assert_eq!(age(Some(1100 * second)), Age::Unknown(Undecided::ClockStep));
}
