//! From the remaining timeout to the idle time: which timeouts the last packet of each flow may have set.

use std::ops::Range;

use super::Idle;
use super::candidates::Candidates;
use super::previous_timeout::PreviousTimeout;
use crate::model::{
    DccpInfo, Flow, L4, OFFLOADED, Policies, ProtoInfo, Protocol, SctpInfo, Status, Synproxy, TIMERS, TcpInfo,
    TcpState, Timeouts, Timer, Undecided, tcp_flag,
};

/// Status bits with which packets do not refresh the timeout (`__nf_ct_refresh_acct` in
/// net/netfilter/nf_conntrack_core.c skips `IPS_FIXED_TIMEOUT`).
const NOT_REFRESHED: Status = OFFLOADED.union(Status::Untracked).union(Status::FixedTimeout);

/// Helpers of the kernel that do not set the timeout of their own flow. Others do: `sip_help_tcp` and
/// `sip_help_udp` in net/netfilter/nf_conntrack_sip.c refresh with `sip_timeout` (3600 s, also for TCP),
/// `amanda_help` in nf_conntrack_amanda.c with `master_timeout`, `nf_conntrack_broadcast_help` in
/// nf_conntrack_broadcast.c (netbios-ns, snmp) with its `timeout`, `process_rcf` and `process_urq` in nf_conntrack_h323_main.c with the `timeToLive` of a registration and 30 s.
const HELPERS_WITHOUT_TIMEOUT: [&[u8]; 4] = [b"ftp", b"tftp", b"irc", b"sane"];

const TCP: [Timer; 10] = [
    Timer::TcpSynSent, // TCP_CONNTRACK_NONE has no timeout: not used
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

/// The candidates of every protocol and state, computed once.
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
    trust_netlink_timeouts: bool,
    /// The current settings, and those of merged contexts.
    in_force: Vec<Timeouts>,
}

impl Table {
    pub(super) fn new(context: &super::TimeoutContext) -> Self {
        let known = Known::of(context);
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
            trust_netlink_timeouts: context.trust_netlink_timeouts,
            in_force: std::iter::once(&context.timeouts).chain(&context.merged_timeouts).cloned().collect(),
        }
    }

    /// See [`IdleEstimator::may_set_timeout`](super::IdleEstimator::may_set_timeout).
    pub(super) fn may_set_timeout(&self, flow: &Flow, seconds: &Range<u32>) -> bool {
        let rows = TIMERS.iter().filter(|row| row.name.split('.').next() == Some(tracker(flow)));
        let in_force = |timer| self.in_force.iter().filter_map(move |timeouts| timeouts.get(timer));
        let mut known = rows.flat_map(|row| in_force(row.timer)).peekable();
        known.peek().is_none() || known.any(|timeout| seconds.contains(&timeout))
    }

    /// The idle time of `flow`.
    #[inline]
    pub(super) fn idle(&self, flow: &Flow) -> Idle {
        self.idle_with_timeout(flow, flow.timeout)
    }

    /// The idle time of `flow` if `left` seconds of its timeout remain.
    #[inline]
    pub(super) fn idle_with_timeout(&self, flow: &Flow, left: Option<u32>) -> Idle {
        if flow.status.intersects(NOT_REFRESHED) {
            return Idle::Unknown(why_not_refreshed(flow));
        }
        let Some(left) = left else {
            return Idle::Unknown(Undecided::NotSent);
        };
        if !self.trust_netlink_timeouts && is_made_over_netlink(flow) {
            return Idle::Unknown(Undecided::MadeOverNetlink);
        }
        if flow.helper.as_ref().is_some_and(|helper| !HELPERS_WITHOUT_TIMEOUT.contains(&helper.as_bytes())) {
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
            Protocol::Tcp => self.tcp(flow).estimate_beside(left, self.policies.flowtables),
            Protocol::Udp => self.udp(flow, assured).estimate_beside(left, self.policies.flowtables),
            _ if flow.orig.l4 == L4::None => self.generic.estimate(left),
            Protocol::Icmp => self.icmp.estimate(left),
            Protocol::Ipv6Icmp => self.icmpv6.estimate(left),
            Protocol::UdpLite if assured => self.udplite_stream.estimate(left),
            Protocol::UdpLite => self.udp.first().map_or(UNKNOWN_STATE, |waiting| waiting.estimate(left)),
            Protocol::Gre if flow.master.is_some() || flow.status.contains(Status::Expected) => {
                Idle::Unknown(Undecided::TimeoutOfHelper)
            }
            Protocol::Gre if assured => stream.estimate(left),
            Protocol::Gre => waiting.estimate(left),
            Protocol::Sctp => of_state(&self.sctp, sctp_state(flow)).estimate(left),
            Protocol::Dccp => of_state(&self.dccp, dccp_state(flow)).estimate(left),
            _ => self.generic.estimate(left),
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

    /// `udp_timeout_stream` sets ASSURED together with the timeout of streams
    /// (`nf_conntrack_udp_packet` in net/netfilter/nf_conntrack_proto_udp.c). An entry that was made over
    /// netlink may have had ASSURED before.
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

/// The state with the number of an index of a table above.
fn state_of<S: From<u8>>(number: usize) -> S {
    S::from(u8::try_from(number).unwrap_or(u8::MAX))
}

/// Whether the entry was made over netlink, by another program than the kernel. Such an entry has
/// all-zero SYN proxy data for its whole life: `nfct_synproxy_ext_add` in `ctnetlink_create_conntrack`
/// (net/netfilter/nf_conntrack_netlink.c), without CONFIG_NETFILTER_SYNPROXY none. A flow that a
/// SYNPROXY rule handles has numbers there (`ipv4_synproxy_hook` in net/netfilter/nf_synproxy_core.c).
#[inline]
fn is_made_over_netlink(flow: &Flow) -> bool {
    flow.synproxy == Some(Synproxy::default())
}

/// The first part of the names of the timers of the flow's protocol.
fn tracker(flow: &Flow) -> &'static str {
    match flow.orig.protocol {
        _ if !has_tracker(flow) => "generic",
        Protocol::Tcp => "tcp",
        Protocol::Udp | Protocol::UdpLite => "udp",
        Protocol::Icmp => "icmp",
        Protocol::Ipv6Icmp => "icmpv6",
        Protocol::Gre => "gre",
        Protocol::Sctp => "sctp",
        Protocol::Dccp => "dccp",
        _ => "generic",
    }
}

/// Whether the kernel has a tracker for the flow's protocol. Without one the tuple has only addresses
/// (`nf_ct_l4proto_find` in net/netfilter/nf_conntrack_proto.c returns `nf_conntrack_l4proto_generic`).
fn has_tracker(flow: &Flow) -> bool {
    flow.orig.l4 != L4::None
}

#[cold]
fn why_not_refreshed(flow: &Flow) -> Undecided {
    if flow.is_offloaded() {
        Undecided::Offloaded
    } else if flow.status.contains(Status::Untracked) {
        Undecided::NatClash
    } else {
        Undecided::FixedTimeout
    }
}

/// The timeouts that were in force: the current values, earlier ones, and written ones.
struct Known<'a> {
    timeouts: &'a Timeouts,
    merged_timeouts: &'a [Timeouts],
    previous_timeouts: &'a [PreviousTimeout],
    written: Vec<u32>,
    unknown_written_timeouts: bool,
}

impl<'a> Known<'a> {
    fn of(context: &'a super::TimeoutContext) -> Self {
        Known {
            timeouts: &context.timeouts,
            merged_timeouts: &context.merged_timeouts,
            previous_timeouts: &context.previous_timeouts,
            written: context.written.iter().map(|seconds| u32::try_from(seconds.0).unwrap_or(u32::MAX)).collect(),
            unknown_written_timeouts: context.unknown_written_timeouts,
        }
    }

    /// The current value, those of the merged contexts, and earlier ones.
    fn values(&self, timer: Timer) -> Result<Vec<u32>, Undecided> {
        let current = std::iter::once(self.timeouts).chain(self.merged_timeouts).map(|timeouts| timeouts.get(timer));
        let mut values = current.collect::<Option<Vec<u32>>>().ok_or(Undecided::UnknownTimeouts)?;
        values.extend(self.previous(timer));
        Ok(values)
    }

    /// The values that a `--base-timeout` gives.
    fn previous(&self, timer: Timer) -> impl Iterator<Item = u32> {
        self.previous_timeouts.iter().filter(move |previous| previous.timer == timer).map(|previous| previous.seconds)
    }

    /// Candidates of these values, if they are known, and the written ones.
    fn candidates(&self, values: Result<Vec<u32>, Undecided>) -> Candidates {
        match values {
            Err(reason) => Candidates::None(reason),
            Ok(_) if self.unknown_written_timeouts => Candidates::None(Undecided::UnknownWrittenTimeouts),
            Ok(values) => Candidates::of(values).and_written(&self.written),
        }
    }

    fn any_of(&self, timers: &[Timer]) -> Candidates {
        let values: Result<Vec<_>, _> = timers.iter().map(|timer| self.values(*timer)).collect();
        self.candidates(values.map(|values| values.concat()))
    }

    fn tcp(&self, state: usize) -> Candidates {
        let info = ProtoInfo::Tcp(TcpInfo { state: state_of(state), ..TcpInfo::default() });
        match info {
            ProtoInfo::Tcp(TcpInfo { state: TcpState::None | TcpState::Unknown(_), .. }) => {
                Candidates::None(Undecided::UnknownState)
            }
            _ if info.is_handshake() => Candidates::None(Undecided::NotRefreshed),
            _ => self.candidates(self.tcp_refreshed(state)),
        }
    }

    /// The state's timeout, and those that `nf_conntrack_tcp_packet` (net/netfilter/nf_conntrack_proto_tcp.c)
    /// uses instead where they are shorter: `TCP_CONNTRACK_RETRANS` after `tcp_max_retrans`
    /// retransmissions or with a closed window, `TCP_CONNTRACK_UNACK` with unacknowledged data. An RST
    /// whose sequence number is in the window but not the expected one sets the timeout of CLOSE and
    /// leaves the flow ESTABLISHED.
    fn tcp_refreshed(&self, state: usize) -> Result<Vec<u32>, Undecided> {
        let timer = *TCP.get(state).ok_or(Undecided::UnknownState)?;
        let values = self.values(timer)?;
        let close = (timer == Timer::TcpEstablished).then_some(Timer::TcpClose);
        self.with_shorter(values, [Timer::TcpMaxRetrans, Timer::TcpUnacknowledged].into_iter().chain(close))
    }

    /// ESTABLISHED with unacknowledged data, or without a reply (picked up in the middle, see
    /// `nf_conntrack_tcp_packet`): at most `TCP_CONNTRACK_UNACK`.
    fn tcp_limited(&self) -> Candidates {
        let values = || {
            let limit = self.values(Timer::TcpUnacknowledged)?.into_iter().max().unwrap_or(0);
            let mut values = self.values(Timer::TcpEstablished)?;
            values.iter_mut().for_each(|seconds| *seconds = limit.min(*seconds));
            self.with_shorter(values, [Timer::TcpMaxRetrans, Timer::TcpUnacknowledged, Timer::TcpClose])
        };
        self.candidates(values())
    }

    /// A GRE flow keeps the timeouts in force at its creation (`gre.stream_timeout` and `gre.timeout` of the
    /// entry, set in `nf_conntrack_gre_packet`, net/netfilter/nf_conntrack_proto_gre.c, or by
    /// `pptp_expectfn` in nf_conntrack_pptp.c). The kernel reports neither them nor whether the sysctls
    /// were changed since: current values that equal the defaults prove nothing. So only a
    /// `--base-timeout` decides, by which the operator states every value that was in force.
    ///
    /// No other tracker of Linux 5.10 to 6.18 copies a timeout into the entry: the others call
    /// `nf_ct_timeout_lookup` (include/net/netfilter/nf_conntrack_timeout.h) for each packet.
    fn gre(&self, timer: Timer) -> Candidates {
        if self.previous(timer).next().is_none() {
            return match self.values(timer) {
                Ok(_) => Candidates::None(Undecided::CopiedAtCreation),
                Err(reason) => Candidates::None(reason),
            };
        }
        self.candidates(self.values(timer).and_then(|values| self.with_shorter(values, [timer])))
    }

    /// `values`, and the candidates that are shorter than the longest of them: current and earlier values
    /// of `others`, and the kernel's defaults, which may have been in force until a moment ago. One more
    /// shorter candidate makes an estimate smaller; one more longer candidate could let a flow with
    /// traffic appear idle.
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
