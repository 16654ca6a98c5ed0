//! Entries that differ in one part of their identity: a request for one of them must not affect the
//! others.

use std::net::{IpAddr, Ipv6Addr};

use ctnl::model::{Flow, L4, Protocol, Tuple};

use crate::harness::{entry, flow, udp};
use crate::population::has_udp_lite;

/// The same addresses and ports in several zones, families and protocols, and adjacent ports.
pub fn similar_entries() -> Vec<Flow> {
    let ports = L4::Ports { src: 1000, dst: 53 };
    let base = udp(1000, 53);
    let v6 = |low| IpAddr::from(Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, low));
    let v6_tuple = Tuple { src: v6(1), dst: v6(2), ..base.orig };
    let swapped = Tuple { src: base.orig.dst, dst: base.orig.src, ..base.orig };
    let in_zone = |zone| Flow { zone_both: Some(zone), ..udp(1000, 53) };
    let orig_zone = entry(Tuple { zone: Some(3), l4: L4::Ports { src: 1000, dst: 54 }, ..base.orig });
    vec![
        base,
        in_zone(1),
        in_zone(2),
        in_zone(65_535),
        orig_zone,
        entry(v6_tuple),
        Flow { zone_both: Some(1), ..entry(v6_tuple) },
        entry(swapped),
        flow(Protocol::Tcp, ports),
        flow(Protocol::Sctp, ports),
        flow(Protocol::UdpLite, if has_udp_lite() { ports } else { L4::None }),
        flow(Protocol::Gre, ports),
        flow(Protocol::Other(50), L4::None),
        flow(Protocol::Other(253), L4::None),
        flow(Protocol::Icmp, L4::Icmp { kind: 8, code: 0, id: 1000 }),
        udp(1001, 53),
        udp(1000, 52),
    ]
}
