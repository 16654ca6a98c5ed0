//! The entries of each protocol.

use ctnl::model::{
    Flow, L4, ProtoInfo, Protocol, SctpInfo, SctpState, Status, TcpInfo, TcpState, Timeouts, Timer, Tuple, tcp_flag,
};

use super::addresses::{self, EntryAddresses};
use super::sampler::Sampler;

/// The inputs from which one entry is generated.
pub struct FlowTemplate<'a> {
    pub sampler: &'a mut Sampler,
    pub addresses: EntryAddresses,
    pub timeouts: &'a Timeouts,
}

/// Protocol numbers with their probability in 1000; the rest is TCP. 1 is ICMP or ICMPv6; ESP (50)
/// and 253 have no tracker of their own.
const PROTOCOLS: [(u32, u8); 7] = [(240, 17), (30, 1), (12, 47), (10, 132), (5, 136), (6, 50), (4, 253)];

/// TCP states with their probability in 1000; the rest is ESTABLISHED.
const TCP_STATES: [(u32, TcpState); 9] = [
    (130, TcpState::TimeWait),
    (60, TcpState::SynSent),
    (30, TcpState::CloseWait),
    (25, TcpState::FinWait),
    (15, TcpState::SynRecv),
    (15, TcpState::Close),
    (12, TcpState::LastAck),
    (3, TcpState::SynSent2),
    (3, TcpState::None),
];
/// `nf_conntrack_generic_timeout` of a new namespace, for a timer that has no default.
const GENERIC_TIMEOUT: u32 = 600;

const BOTH_WAYS: Status = Status::SeenReply.union(Status::Assured);
const NAT_DECIDED: Status = Status::SrcNatDone.union(Status::DstNatDone);

impl FlowTemplate<'_> {
    pub fn flow(&mut self) -> Flow {
        match self.sampler.weighted(6, &PROTOCOLS) {
            17 => self.udp(),
            1 => self.icmp(),
            47 => self.gre(),
            132 => self.sctp(),
            136 => self.udp_lite(),
            6 => self.tcp(),
            other => self.portless(other),
        }
    }

    fn tcp(&mut self) -> Flow {
        let service = addresses::tcp_service(self.sampler);
        let mut flow = self.connection(Protocol::Tcp, service);
        let state = self.sampler.weighted(TcpState::Established, &TCP_STATES);
        let mut info = self.negotiated(state);
        flow.status |= match state {
            TcpState::None | TcpState::SynSent | TcpState::SynSent2 => Status::empty(),
            TcpState::SynRecv => Status::SeenReply,
            _ => BOTH_WAYS,
        };
        flow.timeout = Some(match state {
            TcpState::Established => self.established(&mut flow, &mut info),
            state => self.counting_down(self.tcp_timeout(state)),
        });
        flow.protoinfo = ProtoInfo::Tcp(info);
        flow
    }

    /// The options negotiated in the handshake; none where the tracker has not seen it.
    fn negotiated(&mut self, state: TcpState) -> TcpInfo {
        let (flags, scales) = match state {
            TcpState::None => (0, (0, 0)),
            _ => {
                let reply = self.sampler.weighted(7, &[(300, 8), (100, 10)]);
                (tcp_flag::WINDOW_SCALE | tcp_flag::SACK_PERM, (7, reply))
            }
        };
        TcpInfo {
            state,
            wscale_orig: Some(scales.0),
            wscale_reply: Some(scales.1),
            flags_orig: Some(flags),
            flags_reply: Some(flags),
        }
    }

    /// Seconds left of an established connection: most were active recently, about a quarter is
    /// idle and counts down the five days.
    fn established(&mut self, flow: &mut Flow, info: &mut TcpInfo) -> u32 {
        let full = self.tcp_timeout(TcpState::Established);
        let unacknowledged = self.timeout(Timer::TcpUnacknowledged).min(full);
        match self.sampler.weighted(0, &[(15, 1), (20, 2), (280, 3)]) {
            // Picked up midstream (nf_conntrack_tcp_loose), not replied to yet.
            1 => {
                flow.status -= BOTH_WAYS;
                self.counting_down(unacknowledged)
            }
            2 => {
                info.flags_orig = info.flags_orig.map(|flags| flags | tcp_flag::DATA_UNACKNOWLEDGED);
                self.counting_down(unacknowledged)
            }
            3 => full - self.sampler.below(full),
            _ => full - self.sampler.skewed(full / 20),
        }
    }

    fn udp(&mut self) -> Flow {
        let service = addresses::udp_service(self.sampler);
        let mut flow = self.connection(Protocol::Udp, service);
        self.replied_or_not(&mut flow);
        flow
    }

    fn udp_lite(&mut self) -> Flow {
        let mut flow = self.between(Protocol::UdpLite, L4::Ports { src: self.addresses.port(), dst: 5004 }, false);
        self.replied_or_not(&mut flow);
        flow
    }

    /// Sets status and timeout: unreplied, replied, or assured (a stream).
    fn replied_or_not(&mut self, flow: &mut Flow) {
        let (unreplied, stream) = (self.timeout(Timer::Udp), self.timeout(Timer::UdpStream));
        let (status, full) = self.sampler.weighted(
            (BOTH_WAYS, stream),
            &[(300, (Status::empty(), unreplied)), (350, (Status::SeenReply, unreplied))],
        );
        flow.status |= status;
        flow.timeout = Some(self.counting_down(full));
    }

    fn icmp(&mut self) -> Flow {
        let v6 = self.sampler.per_mille(300);
        let (protocol, kind, full) = if v6 {
            (Protocol::Ipv6Icmp, 128, self.timeout(Timer::Icmpv6))
        } else {
            (Protocol::Icmp, 8, self.timeout(Timer::Icmp))
        };
        let mut flow = self.between(protocol, L4::Icmp { kind, code: 0, id: self.addresses.port() }, v6);
        if !v6 && self.sampler.per_mille(300) {
            flow.reply.dst = addresses::nat_address(self.sampler, v6, false);
            flow.status |= Status::SrcNat | NAT_DECIDED;
        }
        if self.sampler.per_mille(800) {
            flow.status |= Status::SeenReply;
        }
        flow.timeout = Some(self.counting_down(full));
        flow
    }

    fn gre(&mut self) -> Flow {
        let mut flow = if self.sampler.per_mille(500) {
            self.between(Protocol::Gre, L4::Ports { src: self.addresses.port(), dst: self.addresses.nat_port() }, false)
        } else {
            self.portless(47)
        };
        let stream = self.sampler.per_mille(700);
        if stream {
            flow.status |= BOTH_WAYS;
        }
        let timeout = self.timeout(if stream { Timer::GreStream } else { Timer::Gre });
        flow.timeout = Some(self.counting_down(timeout));
        flow
    }

    fn sctp(&mut self) -> Flow {
        let mut flow = self.between(Protocol::Sctp, L4::Ports { src: self.addresses.port(), dst: 2905 }, false);
        let state = self.sampler.weighted(4, &[(50, 1), (60, 2), (60, 3), (60, 5), (60, 6), (60, 7), (60, 8)]);
        let vtags = self.sampler.bits();
        let (orig, reply) = ((vtags >> 32) as u32, vtags as u32);
        flow.protoinfo =
            ProtoInfo::Sctp(SctpInfo { state: SctpState::from(state), vtag_orig: Some(orig), vtag_reply: Some(reply) });
        flow.status |= if state > 3 { BOTH_WAYS } else { Status::empty() };
        flow.timeout = Some(self.counting_down(self.sctp_timeout(SctpState::from(state))));
        flow
    }

    /// Protocols without ports: ESP, GRE without keys, others.
    fn portless(&mut self, protocol: u8) -> Flow {
        let protocol = Protocol::from(protocol);
        let l4 = if protocol == Protocol::Gre { L4::Ports { src: 0, dst: 0 } } else { L4::None };
        let v6 = self.sampler.per_mille(150);
        let (src, dst) = (self.addresses.portless_source(v6), self.addresses.server(self.sampler, v6));
        let mut flow = plain(Tuple { src, dst, protocol, l4, zone: None, has_unknown_part: false });
        if self.sampler.per_mille(600) {
            flow.status |= Status::SeenReply;
        }
        flow.timeout = Some(self.counting_down(self.timeout(Timer::Generic)));
        flow
    }

    /// Client and server, without NAT.
    fn between(&mut self, protocol: Protocol, l4: L4, v6: bool) -> Flow {
        let (src, dst) = (self.addresses.client(self.sampler, v6), self.addresses.server(self.sampler, v6));
        plain(Tuple { src, dst, protocol, l4, zone: None, has_unknown_part: false })
    }

    /// TCP or UDP through a gateway, with or without NAT.
    fn connection(&mut self, protocol: Protocol, service: u16) -> Flow {
        let v6 = self.sampler.per_mille(130);
        let mut flow = self.between(protocol, L4::Ports { src: self.addresses.port(), dst: service }, v6);
        let (is_dnat, is_snat) = match self.sampler.weighted(0, &[(250, 1), (80, 2), (20, 3)]) {
            1 => (false, !v6 || self.sampler.per_mille(150)),
            2 => (!v6, false),
            3 => (!v6, !v6),
            _ => (false, false),
        };
        if is_dnat {
            self.rewrite_destination(&mut flow);
        }
        if is_snat {
            self.rewrite_source(&mut flow, v6);
        }
        flow
    }

    fn rewrite_destination(&mut self, flow: &mut Flow) {
        let (address, dst) = addresses::virtual_service();
        flow.orig.src = self.addresses.external_client(self.sampler);
        (flow.orig.dst, flow.orig.l4) = (address, L4::Ports { src: self.addresses.port(), dst });
        flow.reply = flow.orig.inverse();
        let (backend, src) = self.addresses.backend(self.sampler);
        (flow.reply.src, flow.reply.l4) = (backend, L4::Ports { src, dst: self.addresses.port() });
        flow.status |= Status::DstNat | NAT_DECIDED;
    }

    fn rewrite_source(&mut self, flow: &mut Flow, v6: bool) {
        // NAT keeps the port where that is free.
        let translates_port = self.sampler.per_mille(300);
        flow.reply.dst = addresses::nat_address(self.sampler, v6, translates_port);
        if let (true, L4::Ports { dst, .. }) = (translates_port, &mut flow.reply.l4) {
            *dst = self.addresses.nat_port();
        }
        flow.status |= Status::SrcNat | NAT_DECIDED;
    }

    /// Seconds of `timer`; the kernel's default where the timeout could not be read.
    fn timeout(&self, timer: Timer) -> u32 {
        self.timeouts.get(timer).or_else(|| Timeouts::kernel_defaults().get(timer)).unwrap_or(GENERIC_TIMEOUT)
    }

    fn tcp_timeout(&self, state: TcpState) -> u32 {
        self.timeout(state.name().and_then(|name| timer("tcp", name)).unwrap_or(Timer::TcpSynSent))
    }

    fn sctp_timeout(&self, state: SctpState) -> u32 {
        self.timeout(state.name().and_then(|name| timer("sctp", name)).unwrap_or(Timer::SctpClosed))
    }

    /// Seconds left of `full`, uniform.
    fn counting_down(&mut self, full: u32) -> u32 {
        full - self.sampler.below(full)
    }
}

/// The timer of a state by the kernel's name of the state: `ESTABLISHED` of TCP is `tcp.established`.
fn timer(protocol: &str, state: &str) -> Option<Timer> {
    Timer::from_name(&format!("{protocol}.{}", state.to_ascii_lowercase()))
}

/// A confirmed entry with the tuple `orig`, without NAT.
fn plain(orig: Tuple) -> Flow {
    let mut flow = Flow::new(orig, orig.inverse());
    flow.status = Status::Confirmed;
    flow.mark = Some(0);
    flow
}
