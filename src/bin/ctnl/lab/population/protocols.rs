//! What entries of each protocol look like.

use ctnl::model::{Flow, L4, ProtoInfo, Protocol, SctpInfo, SctpState, Status, TcpInfo, TcpState, Tuple, tcp_flag};

use super::addresses::{self, Place};
use super::draw::Sampler;
use super::timeouts::Timeouts;

/// What an entry is drawn from.
pub struct FlowTemplate<'a> {
    pub draw: &'a mut Sampler,
    pub place: Place,
    pub timeouts: &'a Timeouts,
}

/// How often protocols are met, in thousandths; the rest is TCP. ICMP stands for
/// both kinds, and 50 (ESP) and 253 for those without a tracker.
const PROTOCOLS: [(u32, u8); 7] = [(240, 17), (30, 1), (12, 47), (10, 132), (5, 136), (6, 50), (4, 253)];

/// How often states are met, in thousandths; the rest is established.
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
const BOTH_WAYS: Status = Status::SeenReply.union(Status::Assured);
const NAT_DECIDED: Status = Status::SrcNatDone.union(Status::DstNatDone);

impl FlowTemplate<'_> {
    pub fn flow(&mut self) -> Flow {
        match self.draw.weighted(6, &PROTOCOLS) {
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
        let service = addresses::tcp_service(self.draw);
        let mut flow = self.connection(Protocol::Tcp, service);
        let state = self.draw.weighted(TcpState::Established, &TCP_STATES);
        let mut info = self.negotiated(state);
        flow.status |= match state {
            TcpState::None | TcpState::SynSent | TcpState::SynSent2 => Status::empty(),
            TcpState::SynRecv => Status::SeenReply,
            _ => BOTH_WAYS,
        };
        flow.timeout = Some(match state {
            TcpState::Established => self.established(&mut flow, &mut info),
            state => self.counting_down(self.timeouts.tcp(state)),
        });
        flow.protoinfo = ProtoInfo::Tcp(info);
        flow
    }

    /// What both sides agreed on when they opened; nothing where nobody saw it.
    fn negotiated(&mut self, state: TcpState) -> TcpInfo {
        let (flags, scales) = match state {
            TcpState::None => (0, (0, 0)),
            _ => {
                let reply = self.draw.weighted(7, &[(300, 8), (100, 10)]);
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

    /// Seconds left to a connection: most are in use or were until lately, a
    /// fourth is long dead and waits out its five days.
    fn established(&mut self, flow: &mut Flow, info: &mut TcpInfo) -> u32 {
        let full = self.timeouts.tcp(TcpState::Established);
        let unacknowledged = self.timeouts.tcp_unacknowledged.min(full);
        match self.draw.weighted(0, &[(15, 1), (20, 2), (280, 3)]) {
            // Picked up in the middle, and nobody has answered.
            1 => {
                flow.status -= BOTH_WAYS;
                self.counting_down(unacknowledged)
            }
            2 => {
                info.flags_orig = info.flags_orig.map(|flags| flags | tcp_flag::DATA_UNACKNOWLEDGED);
                self.counting_down(unacknowledged)
            }
            3 => full - self.draw.below(full),
            _ => full - self.draw.skewed(full / 20),
        }
    }

    fn udp(&mut self) -> Flow {
        let service = addresses::udp_service(self.draw);
        let mut flow = self.connection(Protocol::Udp, service);
        self.replied_or_not(&mut flow);
        flow
    }

    fn udp_lite(&mut self) -> Flow {
        let mut flow = self.between(Protocol::UdpLite, L4::Ports { src: self.place.port(), dst: 5004 }, false);
        self.replied_or_not(&mut flow);
        flow
    }

    /// Unreplied, replied, or a stream.
    fn replied_or_not(&mut self, flow: &mut Flow) {
        let (status, full) = self.draw.weighted(
            (BOTH_WAYS, self.timeouts.udp_stream),
            &[(300, (Status::empty(), self.timeouts.udp)), (350, (Status::SeenReply, self.timeouts.udp))],
        );
        flow.status |= status;
        flow.timeout = Some(self.counting_down(full));
    }

    fn icmp(&mut self) -> Flow {
        let v6 = self.draw.per_mille(300);
        let (protocol, kind, full) =
            if v6 { (Protocol::Ipv6Icmp, 128, self.timeouts.icmpv6) } else { (Protocol::Icmp, 8, self.timeouts.icmp) };
        let mut flow = self.between(protocol, L4::Icmp { kind, code: 0, id: self.place.port() }, v6);
        if !v6 && self.draw.per_mille(300) {
            flow.reply.dst = addresses::nat_address(self.draw, v6, false);
            flow.status |= Status::SrcNat | NAT_DECIDED;
        }
        if self.draw.per_mille(800) {
            flow.status |= Status::SeenReply;
        }
        flow.timeout = Some(self.counting_down(full));
        flow
    }

    fn gre(&mut self) -> Flow {
        let mut flow = if self.draw.per_mille(500) {
            self.between(Protocol::Gre, L4::Ports { src: self.place.port(), dst: self.place.nat_port() }, false)
        } else {
            self.portless(47)
        };
        let stream = self.draw.per_mille(700);
        if stream {
            flow.status |= BOTH_WAYS;
        }
        flow.timeout = Some(self.counting_down(if stream { self.timeouts.gre_stream } else { self.timeouts.gre }));
        flow
    }

    fn sctp(&mut self) -> Flow {
        let mut flow = self.between(Protocol::Sctp, L4::Ports { src: self.place.port(), dst: 2905 }, false);
        let state = self.draw.weighted(4, &[(50, 1), (60, 2), (60, 3), (60, 5), (60, 6), (60, 7), (60, 8)]);
        let vtags = self.draw.bits();
        let (orig, reply) = ((vtags >> 32) as u32, vtags as u32);
        flow.protoinfo =
            ProtoInfo::Sctp(SctpInfo { state: SctpState::from(state), vtag_orig: Some(orig), vtag_reply: Some(reply) });
        flow.status |= if state > 3 { BOTH_WAYS } else { Status::empty() };
        flow.timeout = Some(self.counting_down(self.timeouts.sctp(state)));
        flow
    }

    /// One entry per pair of hosts: ESP, GRE without keys, anything.
    fn portless(&mut self, protocol: u8) -> Flow {
        let protocol = Protocol::from(protocol);
        let l4 = if protocol == Protocol::Gre { L4::Ports { src: 0, dst: 0 } } else { L4::None };
        let v6 = self.draw.per_mille(150);
        let (src, dst) = (self.place.portless(v6), self.place.server(self.draw, v6));
        let mut flow = plain(Tuple { src, dst, protocol, l4, zone: None, has_unknown_part: false });
        if self.draw.per_mille(600) {
            flow.status |= Status::SeenReply;
        }
        flow.timeout = Some(self.counting_down(self.timeouts.generic));
        flow
    }

    /// Client and server, without NAT.
    fn between(&mut self, protocol: Protocol, l4: L4, v6: bool) -> Flow {
        let (src, dst) = (self.place.client(self.draw, v6), self.place.server(self.draw, v6));
        plain(Tuple { src, dst, protocol, l4, zone: None, has_unknown_part: false })
    }

    /// TCP or UDP as it passes a gateway: with or without NAT.
    fn connection(&mut self, protocol: Protocol, service: u16) -> Flow {
        let v6 = self.draw.per_mille(130);
        let mut flow = self.between(protocol, L4::Ports { src: self.place.port(), dst: service }, v6);
        let (outsider, masked) = match self.draw.weighted(0, &[(250, 1), (80, 2), (20, 3)]) {
            1 => (false, !v6 || self.draw.per_mille(150)),
            2 => (!v6, false),
            3 => (!v6, !v6),
            _ => (false, false),
        };
        if outsider {
            self.rewrite_destination(&mut flow);
        }
        if masked {
            self.rewrite_source(&mut flow, v6);
        }
        flow
    }

    fn rewrite_destination(&mut self, flow: &mut Flow) {
        let (address, dst) = addresses::virtual_service();
        flow.orig.src = self.place.outsider(self.draw);
        (flow.orig.dst, flow.orig.l4) = (address, L4::Ports { src: self.place.port(), dst });
        flow.reply = flow.orig.inverse();
        let (backend, src) = self.place.backend(self.draw);
        (flow.reply.src, flow.reply.l4) = (backend, L4::Ports { src, dst: self.place.port() });
        flow.status |= Status::DstNat | NAT_DECIDED;
    }

    fn rewrite_source(&mut self, flow: &mut Flow, v6: bool) {
        // NAT keeps the port where it can.
        let moves_port = self.draw.per_mille(300);
        flow.reply.dst = addresses::nat_address(self.draw, v6, moves_port);
        if let (true, L4::Ports { dst, .. }) = (moves_port, &mut flow.reply.l4) {
            *dst = self.place.nat_port();
        }
        flow.status |= Status::SrcNat | NAT_DECIDED;
    }

    /// Seconds left of `full` when the last packet was some time ago.
    fn counting_down(&mut self, full: u32) -> u32 {
        full - self.draw.below(full)
    }
}

/// A confirmed entry between the ends of `orig`, nothing rewritten.
fn plain(orig: Tuple) -> Flow {
    let mut flow = Flow::new(orig, orig.inverse());
    flow.status = Status::Confirmed;
    flow.mark = Some(0);
    flow
}
