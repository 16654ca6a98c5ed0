//! From the time left to the time idle: which timeouts each flow may have had.

use super::Idle;
use super::candidates::Candidates;
use super::previous_timeout::PreviousTimeout;
use crate::model::{
    DccpInfo, Flow, L4, OFFLOADED, Policies, ProtoInfo, Protocol, SctpInfo, Status, TcpInfo, TcpState, Timeouts, Timer,
    Undecided, tcp_flag,
};

/// Bits of flows whose timeout says nothing about packets.
const STANDS_STILL: Status = OFFLOADED.union(Status::Untracked).union(Status::FixedTimeout);

/// Helpers of the kernel that leave the timeouts of their own flow alone. The
/// others may set it at every packet: `sip` sets an hour, even for TCP.
const QUIET_HELPERS: [&[u8]; 4] = [b"ftp", b"tftp", b"irc", b"sane"];

const TCP: [Timer; 10] = [
    Timer::TcpSynSent, // NONE has no timeout: never looked at
    Timer::TcpSynSent,
    Timer::TcpSynRecv,
    Timer::TcpEstablished,
    Timer::TcpFinWait,
    Timer::TcpCloseWait,
    Timer::TcpLastAck,
    Timer::TcpTimeWait,
    Timer::TcpClose,
    Timer::TcpSynSent2,
];

const SCTP: [Option<Timer>; 10] = [
    None,
    Some(Timer::SctpClosed),
    Some(Timer::SctpCookieWait),
    Some(Timer::SctpCookieEchoed),
    Some(Timer::SctpEstablished),
    Some(Timer::SctpShutdownSent),
    Some(Timer::SctpShutdownRecd),
    Some(Timer::SctpShutdownAckSent),
    Some(Timer::SctpHeartbeatSent),
    Some(Timer::SctpHeartbeatAcked),
];

const DCCP: [Option<Timer>; 8] = [
    None,
    Some(Timer::DccpRequest),
    Some(Timer::DccpRespond),
    Some(Timer::DccpPartopen),
    Some(Timer::DccpOpen),
    Some(Timer::DccpClosereq),
    Some(Timer::DccpClosing),
    Some(Timer::DccpTimewait),
];

/// Everything that is looked up per flow, worked out once.
#[derive(Debug, Clone)]
pub(super) struct Table {
    tcp: [Candidates; 10],
    tcp_limited: Candidates,
    udp: [Candidates; 2],
    udp_uncertain: Candidates,
    udplite_stream: Candidates,
    gre: [Candidates; 2],
    icmp: Candidates,
    icmpv6: Candidates,
    sctp: [Candidates; 10],
    dccp: [Candidates; 8],
    generic: Candidates,
    policies: Policies,
}

impl Table {
    pub(super) fn new(context: &super::TimeoutContext) -> Self {
        let known = Known { timeouts: &context.timeouts, previous_timeouts: &context.previous_timeouts };
        let udp_uncertain = known.any_of(&[Timer::Udp, Timer::UdpStream]);
        let udp_stream = known.any_of(&[Timer::UdpStream]);
        Table {
            tcp: std::array::from_fn(|state| known.tcp(state)),
            tcp_limited: known.tcp_limited(),
            udp: [
                known.any_of(&[Timer::Udp]),
                if context.assured_udp_is_stream { udp_stream.clone() } else { udp_uncertain.clone() },
            ],
            udp_uncertain,
            udplite_stream: udp_stream,
            gre: [known.gre(Timer::Gre), known.gre(Timer::GreStream)],
            icmp: known.any_of(&[Timer::Icmp]),
            icmpv6: known.any_of(&[Timer::Icmpv6]),
            sctp: std::array::from_fn(|state| known.sctp(state)),
            dccp: std::array::from_fn(|state| known.dccp(state)),
            generic: known.any_of(&[Timer::Generic]),
            policies: context.policies.clone(),
        }
    }

    /// How long `flow` has been idle.
    #[inline]
    pub(super) fn idle(&self, flow: &Flow) -> Idle {
        if flow.status.intersects(STANDS_STILL) {
            return Idle::Unknown(why_it_stands_still(flow));
        }
        let Some(left) = flow.timeout else {
            return Idle::Unknown(Undecided::NotSent);
        };
        if flow.helper.as_ref().is_some_and(|helper| !QUIET_HELPERS.contains(&helper.as_bytes())) {
            return Idle::Unknown(Undecided::TimeoutOfHelper);
        }
        if !self.policies.is_empty() && self.may_have_policy(flow) {
            return Idle::Unknown(Undecided::TimeoutPolicy);
        }
        self.by_protocol(flow, left)
    }

    #[inline]
    fn by_protocol(&self, flow: &Flow, left: u32) -> Idle {
        let assured = flow.status.contains(Status::Assured);
        let [waiting, stream] = &self.gre;
        match flow.orig.protocol {
            Protocol::Tcp => self.tcp(flow).judge_beside(left, self.policies.flowtables),
            Protocol::Udp => self.udp(flow, assured).judge_beside(left, self.policies.flowtables),
            _ if flow.orig.l4 == L4::None => self.generic.judge(left),
            Protocol::Icmp => self.icmp.judge(left),
            Protocol::Ipv6Icmp => self.icmpv6.judge(left),
            Protocol::UdpLite if assured => self.udplite_stream.judge(left),
            Protocol::UdpLite => self.udp.first().map_or(UNKNOWN_STATE, |waiting| waiting.judge(left)),
            Protocol::Gre if flow.master.is_some() || flow.status.contains(Status::Expected) => {
                Idle::Unknown(Undecided::TimeoutOfHelper)
            }
            Protocol::Gre if assured => stream.judge(left),
            Protocol::Gre => waiting.judge(left),
            Protocol::Sctp => of_state(&self.sctp, sctp_state(flow)).judge(left),
            Protocol::Dccp => of_state(&self.dccp, dccp_state(flow)).judge(left),
            _ => self.generic.judge(left),
        }
    }

    #[inline]
    fn tcp(&self, flow: &Flow) -> &Candidates {
        let ProtoInfo::Tcp(info) = flow.protoinfo else {
            return &NO_STATE;
        };
        let flags = info.flags_orig.unwrap_or(0) | info.flags_reply.unwrap_or(0);
        let limited = flags & tcp_flag::DATA_UNACKNOWLEDGED != 0 || !flow.status.contains(Status::SeenReply);
        if limited && info.state == TcpState::Established {
            return &self.tcp_limited;
        }
        of_state(&self.tcp, Some(info.state.number()))
    }

    /// ASSURED says that the timeout is that of streams, unless user space has
    /// set it: entries that were made over netlink have SYN proxy data.
    #[inline]
    fn udp(&self, flow: &Flow, assured: bool) -> &Candidates {
        let [waiting, stream] = &self.udp;
        match (assured, flow.synproxy) {
            (false, _) => waiting,
            (true, None) => stream,
            (true, Some(_)) => &self.udp_uncertain,
        }
    }

    #[cold]
    fn may_have_policy(&self, flow: &Flow) -> bool {
        let number = u8::from(flow.orig.protocol);
        self.policies.may_bind(flow.family, number)
            || (!has_tracker(flow) && self.policies.may_bind(flow.family, Policies::GENERIC))
    }
}

const UNKNOWN_STATE: Idle = Idle::Unknown(Undecided::UnknownState);
static NO_STATE: Candidates = Candidates::None(Undecided::UnknownState);

#[inline]
fn of_state(table: &[Candidates], state: Option<u8>) -> &Candidates {
    state.and_then(|state| table.get(usize::from(state))).unwrap_or(&NO_STATE)
}

fn sctp_state(flow: &Flow) -> Option<u8> {
    match flow.protoinfo {
        ProtoInfo::Sctp(info) => Some(info.state.number()),
        _ => None,
    }
}

fn dccp_state(flow: &Flow) -> Option<u8> {
    match flow.protoinfo {
        ProtoInfo::Dccp(info) => Some(info.state.number()),
        _ => None,
    }
}

/// The state of a number that is an index of a table above.
fn state_of<S: From<u8>>(number: usize) -> S {
    S::from(u8::try_from(number).unwrap_or(u8::MAX))
}

/// Whether the kernel tracks the flow's protocol by itself. Where it does not,
/// the tuple has no ports; GRE, ICMP and those with ports have.
fn has_tracker(flow: &Flow) -> bool {
    flow.orig.l4 != L4::None
}

#[cold]
fn why_it_stands_still(flow: &Flow) -> Undecided {
    if flow.is_offloaded() {
        Undecided::Offloaded
    } else if flow.status.contains(Status::Untracked) {
        Undecided::NatClash
    } else {
        Undecided::FixedTimeout
    }
}

/// The timeouts that were in force, today's and earlier ones.
struct Known<'a> {
    timeouts: &'a Timeouts,
    previous_timeouts: &'a [PreviousTimeout],
}

impl Known<'_> {
    /// Today's value and earlier ones.
    fn values(&self, timer: Timer) -> Result<Vec<u32>, Undecided> {
        let today = self.timeouts.get(timer).ok_or(Undecided::UnknownTimeouts)?;
        let earlier = self.previous_timeouts.iter().filter(|base| base.timer == timer).map(|base| base.seconds);
        Ok(std::iter::once(today).chain(earlier).collect())
    }

    fn any_of(&self, timers: &[Timer]) -> Candidates {
        let values: Result<Vec<_>, _> = timers.iter().map(|timer| self.values(*timer)).collect();
        values.map_or_else(Candidates::None, |values| Candidates::of(values.concat()))
    }

    fn tcp(&self, state: usize) -> Candidates {
        let info = ProtoInfo::Tcp(TcpInfo { state: state_of(state), ..TcpInfo::default() });
        match info {
            ProtoInfo::Tcp(TcpInfo { state: TcpState::None | TcpState::Unknown(_), .. }) => {
                Candidates::None(Undecided::UnknownState)
            }
            _ if info.is_handshake() => Candidates::None(Undecided::NotRefreshed),
            _ => self.tcp_refreshed(state).map_or_else(Candidates::None, Candidates::of),
        }
    }

    /// The state's timeout, and what the tracker takes in its place where that
    /// is shorter: too many retransmissions, a closed window, data not
    /// acknowledged. An RST that is not believed sets the timeout of CLOSE and
    /// leaves the flow ESTABLISHED.
    fn tcp_refreshed(&self, state: usize) -> Result<Vec<u32>, Undecided> {
        let timer = *TCP.get(state).ok_or(Undecided::UnknownState)?;
        let values = self.values(timer)?;
        let close = (timer == Timer::TcpEstablished).then_some(Timer::TcpClose);
        self.with_shorter(values, [Timer::TcpMaxRetrans, Timer::TcpUnacknowledged].into_iter().chain(close))
    }

    /// ESTABLISHED with data that is not acknowledged, or without any answer
    /// (picked up in its middle): never longer than the timeout for that.
    fn tcp_limited(&self) -> Candidates {
        let values = || {
            let limit = self.values(Timer::TcpUnacknowledged)?.into_iter().max().unwrap_or(0);
            let mut values = self.values(Timer::TcpEstablished)?;
            values.iter_mut().for_each(|seconds| *seconds = limit.min(*seconds));
            self.with_shorter(values, [Timer::TcpMaxRetrans, Timer::TcpUnacknowledged, Timer::TcpClose])
        };
        values().map_or_else(Candidates::None, Candidates::of)
    }

    /// GRE keeps the timeouts with which it was made: today's, or those that the
    /// namespace started with.
    fn gre(&self, timer: Timer) -> Candidates {
        let values = self.values(timer).and_then(|values| self.with_shorter(values, [timer]));
        values.map_or_else(Candidates::None, Candidates::of)
    }

    /// `values`, and what is shorter than the longest of them: today's and
    /// earlier values of `others`, and the kernel's defaults, in case they were
    /// in force until just now. Another shorter one makes us say less, never
    /// more; another longer one could make an entry look idle that is not.
    fn with_shorter(
        &self,
        mut values: Vec<u32>,
        others: impl IntoIterator<Item = Timer>,
    ) -> Result<Vec<u32>, Undecided> {
        let longest = values.iter().copied().max().unwrap_or(0);
        let defaults = Timeouts::kernel_defaults();
        for timer in others {
            let possible = self.values(timer)?.into_iter().chain(defaults.get(timer));
            values.extend(possible.filter(|seconds| *seconds < longest));
        }
        Ok(values)
    }

    fn sctp(&self, state: usize) -> Candidates {
        let info = ProtoInfo::Sctp(SctpInfo { state: state_of(state), ..SctpInfo::default() });
        match SCTP.get(state).copied().flatten() {
            None => Candidates::None(Undecided::UnknownState),
            Some(_) if info.is_handshake() => Candidates::None(Undecided::NotRefreshed),
            Some(timer) => self.any_of(&[timer]),
        }
    }

    fn dccp(&self, state: usize) -> Candidates {
        let info = ProtoInfo::Dccp(DccpInfo { state: state_of(state), ..DccpInfo::default() });
        match DCCP.get(state).copied().flatten() {
            None => Candidates::None(Undecided::UnknownState),
            Some(_) if info.is_handshake() => Candidates::None(Undecided::NotRefreshed),
            Some(timer) => self.any_of(&[timer]),
        }
    }
}
