//! The entry that a command line describes.

use anyhow::{Result, anyhow};
use ctnl::host::Host;
use ctnl::model::{Flow, L4, ProtoInfo, Protocol, SctpInfo, SctpState, Status, TcpInfo, TcpState, Tuple, tcp_flag};

use super::{Labels, message};
use crate::conntrack_syntax::{AddressPair, LabelChange, NatArgument, PortPair, Request};
use crate::term::exit::usage;

/// The tuple of a direction whose addresses are both given: that of the original one, else of the replies.
pub fn tuple(request: &Request) -> Option<Tuple> {
    original(request).or_else(|| reply(request))
}

fn original(request: &Request) -> Option<Tuple> {
    addressed(request, request.original, request.protocol_arguments.original)
}

fn reply(request: &Request) -> Option<Tuple> {
    let tuple = addressed(request, request.reply, request.protocol_arguments.reply)?;
    // The options of ICMP are those of the original direction.
    let is_icmp = matches!(tuple.l4, L4::Icmp { .. });
    Some(if is_icmp { Tuple { src: tuple.src, dst: tuple.dst, ..tuple.inverse() } } else { tuple })
}

fn addressed(request: &Request, addresses: AddressPair, ports: PortPair) -> Option<Tuple> {
    let (Some(src), Some(dst)) = (addresses.src, addresses.dst) else { return None };
    let protocol = Protocol::from(request.protocol?);
    let arguments = &request.protocol_arguments;
    let l4 = match protocol {
        Protocol::Icmp | Protocol::Ipv6Icmp => L4::Icmp {
            kind: arguments.icmp_type.unwrap_or(0),
            code: arguments.icmp_code.unwrap_or(0),
            id: arguments.icmp_id.unwrap_or(0),
        },
        Protocol::Tcp | Protocol::Udp | Protocol::UdpLite | Protocol::Sctp | Protocol::Dccp | Protocol::Gre => {
            L4::Ports { src: ports.src.unwrap_or(0), dst: ports.dst.unwrap_or(0) }
        }
        _ => L4::None,
    };
    Some(Tuple { src, dst, protocol, l4, ..Tuple::UNSPECIFIED })
}

/// The entry to create. What is missing of one direction is the inverse of the other.
///
/// # Errors
/// Neither direction has both addresses; a label without a number; a status bit that no request can set.
pub fn flow(request: &Request, host: &Host) -> Result<Flow> {
    let (orig, reply) = tuples(request).ok_or_else(|| usage("the addresses of a direction and -p are needed"))?;
    if matches!((orig.protocol, orig.src.is_ipv4()), (Protocol::Icmp, false) | (Protocol::Ipv6Icmp, true)) {
        return Err(anyhow!("icmp is a protocol of IPv4, icmpv6 one of IPv6"));
    }
    let (addresses, ports) = (request.reply, request.protocol_arguments.reply);
    let has_reply = addresses.src.or(addresses.dst).is_some();
    if has_reply && matches!(reply.l4, L4::Ports { .. }) && ports.src.or(ports.dst).is_none() {
        return Err(anyhow!(
            "the replies have addresses and no ports: --reply-port-src and --reply-port-dst are needed"
        ));
    }
    let mut flow = Flow::new(orig, reply);
    add_nat(&mut flow, request);
    flow.orig.zone = request.original_zone;
    flow.reply.zone = request.reply_zone;
    flow.zone_both = request.zone;
    flow.timeout = request.timeout;
    flow.mark = request.mark.map(|mark| mark.value);
    flow.status |= request.status.map_or(Ok(Status::empty()), |status| settable(status.set))?;
    if let Some(LabelChange::Add(names)) = &request.label_change {
        flow.labels = Some(Labels::of(request, host).numbers(names)?);
    }
    flow.protoinfo = protoinfo(request);
    Ok(flow)
}

/// Both tuples, without what `-n` and `-g` change.
fn tuples(request: &Request) -> Option<(Tuple, Tuple)> {
    let given = (original(request), reply(request));
    let ports = request.protocol_arguments;
    let mut orig = match given {
        (Some(orig), _) => orig,
        (None, Some(reply)) => reply.inverse(),
        (None, None) => return None,
    };
    let is_without_ports = |ports: PortPair| ports.src.is_none() && ports.dst.is_none();
    if is_without_ports(ports.original)
        && let (L4::Ports { .. }, Some(src), Some(dst)) = (orig.l4, ports.reply.dst, ports.reply.src)
    {
        orig.l4 = L4::Ports { src, dst };
    }
    let mut reply = orig.inverse();
    reply.src = request.reply.src.unwrap_or(reply.src);
    reply.dst = request.reply.dst.unwrap_or(reply.dst);
    if let L4::Ports { src, dst } = reply.l4 {
        reply.l4 = L4::Ports { src: ports.reply.src.unwrap_or(src), dst: ports.reply.dst.unwrap_or(dst) };
    }
    Some((orig, reply))
}

/// `-n` and `-g`: the replies come from, or go to, another address or port.
fn add_nat(flow: &mut Flow, request: &Request) {
    let port = |nat: NatArgument, now: u16| nat.port.unwrap_or(now);
    if let Some((nat, address)) = request.src_nat.and_then(|nat| Some((nat, nat.address?))) {
        flow.status |= Status::SrcNat;
        flow.reply.dst = address;
        if let L4::Ports { src, dst } = flow.reply.l4 {
            flow.reply.l4 = L4::Ports { src, dst: port(nat, dst) };
        }
    }
    if let Some((nat, address)) = request.dst_nat.and_then(|nat| Some((nat, nat.address?))) {
        flow.status |= Status::DstNat;
        flow.reply.src = address;
        if let L4::Ports { src, dst } = flow.reply.l4 {
            flow.reply.l4 = L4::Ports { src: port(nat, src), dst };
        }
    }
}

/// The bits that a request can set. The kernel refuses EXPECTED, and ignores those of flowtables
/// (`nf_ct_change_status_common` in net/netfilter/nf_conntrack_core.c).
pub fn settable(status: Status) -> Result<Status> {
    if status.contains(Status::Expected) {
        return Err(anyhow!("EXPECTED cannot be set: the kernel sets it where a helper expected the entry"));
    }
    let kept = Status::SeenReply | Status::Assured | Status::FixedTimeout;
    if !(status - kept).is_empty() {
        message::note("WARNING: OFFLOAD and HW_OFFLOAD cannot be set and are ignored, by the kernel as well");
    }
    Ok(status & kept)
}

/// The flags that conntrack(8) gives TCP entries: without those of its handshake, the kernel has no windows to check.
pub fn tcp_flags(state: TcpState) -> u8 {
    let flags = tcp_flag::BE_LIBERAL | tcp_flag::SACK_PERM;
    // So that a new connection can follow at once (`tcp_in_window` is not the rule here, but `nf_conntrack_tcp_packet`).
    if state.number() >= TcpState::TimeWait.number() { flags | tcp_flag::CLOSE_INIT } else { flags }
}

fn protoinfo(request: &Request) -> ProtoInfo {
    let arguments = &request.protocol_arguments;
    match request.protocol.map(Protocol::from) {
        Some(Protocol::Tcp) => {
            let state = TcpState::from(arguments.state.unwrap_or(0));
            let flags = Some(tcp_flags(state));
            ProtoInfo::Tcp(TcpInfo { state, flags_orig: flags, flags_reply: flags, ..TcpInfo::default() })
        }
        Some(Protocol::Sctp) => ProtoInfo::Sctp(SctpInfo {
            state: SctpState::from(arguments.state.unwrap_or(0)),
            // conntrack(8) sends the bytes of the number as they are in memory, and prints them so.
            vtag_orig: arguments.original_vtag.map(u32::from_be),
            vtag_reply: arguments.reply_vtag.map(u32::from_be),
        }),
        _ => ProtoInfo::None,
    }
}
