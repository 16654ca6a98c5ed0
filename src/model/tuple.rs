//! A tuple: the addresses and ports that identify one direction of a flow.

use std::hash::{Hash, Hasher};
use std::net::{IpAddr, Ipv4Addr};

use super::protocol::Protocol;
use crate::wire::uapi::{cta_ip, cta_proto, cta_tuple};
use crate::wire::{AttributeWriter, Family};

/// One direction of a flow.
#[doc(alias = "nf_conntrack_tuple")]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Tuple {
    /// Source address.
    #[doc(alias = "CTA_IP_V4_SRC")]
    pub src: IpAddr,
    /// Destination address.
    #[doc(alias = "CTA_IP_V4_DST")]
    pub dst: IpAddr,
    /// Layer 4 protocol.
    #[doc(alias = "CTA_PROTO_NUM")]
    pub protocol: Protocol,
    /// Ports, or what the protocol has instead.
    pub l4: L4,
    /// The zone of this direction, where the directions have different ones.
    #[doc(alias = "CTA_TUPLE_ZONE")]
    pub zone: Option<u16>,
    /// The kernel sent a part of this tuple that this version does not know. Such an entry
    /// cannot be deleted: without that part, a request could match another entry.
    pub has_unknown_part: bool,
}

/// The layer 4 part of a tuple.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum L4 {
    /// Only the protocol number: one entry per pair of hosts.
    #[default]
    None,
    /// TCP, UDP, UDP-lite, SCTP, DCCP; for GRE the two keys.
    Ports {
        /// Source port.
        src: u16,
        /// Destination port.
        dst: u16,
    },
    /// ICMP and ICMPv6.
    Icmp {
        /// ICMP type.
        kind: u8,
        /// ICMP code.
        code: u8,
        /// Identifier of the query.
        id: u16,
    },
}

/// Hashes three numbers that are different for any two tuples that the kernel distinguishes. A dump
/// with `--jobs 2` hashes each entry, and the derived implementation takes four times as many steps.
impl Hash for Tuple {
    #[inline]
    fn hash<H: Hasher>(&self, state: &mut H) {
        let bits = |address: IpAddr| match address {
            IpAddr::V4(address) => u128::from(address.to_bits()),
            IpAddr::V6(address) => address.to_bits(),
        };
        state.write_u128(bits(self.src));
        state.write_u128(bits(self.dst));
        let families = u64::from(self.src.is_ipv6()) << 1 | u64::from(self.dst.is_ipv6());
        let zone = self.zone.map_or(0, |zone| 1 << 16 | u64::from(zone));
        let [protocol, l4] = [u8::from(self.protocol).into(), self.l4.bits()];
        state.write_u64(families << 59 | zone << 42 | protocol << 34 | l4);
    }
}

impl L4 {
    /// All fields in 34 bits.
    #[inline]
    fn bits(self) -> u64 {
        match self {
            L4::None => 0,
            L4::Ports { src, dst } => 1 << 32 | u64::from(src) << 16 | u64::from(dst),
            L4::Icmp { kind, code, id } => 2 << 32 | u64::from(u16::from_be_bytes([kind, code])) << 16 | u64::from(id),
        }
    }
}

impl Tuple {
    /// No addresses, protocol 0.
    pub const UNSPECIFIED: Self = Tuple {
        src: IpAddr::V4(Ipv4Addr::UNSPECIFIED),
        dst: IpAddr::V4(Ipv4Addr::UNSPECIFIED),
        protocol: Protocol::Other(0),
        l4: L4::None,
        zone: None,
        has_unknown_part: false,
    };

    /// Writes the tuple as an attribute of number `kind` (`CTA_TUPLE_*`).
    pub fn emit(&self, writer: &mut AttributeWriter<'_>, kind: u16) {
        writer.nest(kind, |tuple| {
            tuple.nest(cta_tuple::IP, |ip| self.emit_addresses(ip));
            tuple.nest(cta_tuple::PROTO, |proto| self.emit_l4(proto));
            if let Some(zone) = self.zone {
                tuple.put(cta_tuple::ZONE, &zone.to_be_bytes());
            }
        });
    }

    /// The family of the source address.
    #[must_use]
    pub fn family(&self) -> Family {
        if self.src.is_ipv4() { Family::V4 } else { Family::V6 }
    }

    /// Source port, for protocols that have one.
    #[must_use]
    pub fn sport(&self) -> Option<u16> {
        self.ports().map(|(src, _)| src)
    }

    /// Destination port, for protocols that have one.
    #[must_use]
    pub fn dport(&self) -> Option<u16> {
        self.ports().map(|(_, dst)| dst)
    }

    /// Both ports. GRE keys are not ports.
    #[must_use]
    pub fn ports(&self) -> Option<(u16, u16)> {
        match self.l4 {
            L4::Ports { src, dst } if self.by_number() != Protocol::Gre => Some((src, dst)),
            _ => None,
        }
    }

    /// Whether the layer 4 part is what the kernel keeps for this protocol, so that the tuple
    /// identifies one entry.
    #[must_use]
    pub fn is_complete(&self) -> bool {
        let same_family = self.src.is_ipv4() == self.dst.is_ipv4();
        let l4 = match self.by_number() {
            Protocol::Tcp | Protocol::Udp | Protocol::Sctp | Protocol::Gre => matches!(self.l4, L4::Ports { .. }),
            // Ports on kernels that track the protocol (DCCP up to 6.17, UDP-lite before 7.3),
            // none on later ones.
            Protocol::Dccp | Protocol::UdpLite => !matches!(self.l4, L4::Icmp { .. }),
            Protocol::Icmp | Protocol::Ipv6Icmp => matches!(self.l4, L4::Icmp { .. }),
            _ => true,
        };
        same_family && l4 && !self.has_unknown_part
    }

    /// The tuple of the other direction without NAT, as of `nf_ct_invert_tuple` in
    /// net/netfilter/nf_conntrack_core.c: an ICMP type becomes that of the reply. Without the
    /// zone, which is that of one direction.
    #[doc(alias = "nf_ct_invert_tuple")]
    #[must_use]
    pub fn inverse(&self) -> Self {
        let l4 = match self.l4 {
            L4::Ports { src, dst } => L4::Ports { src: dst, dst: src },
            L4::Icmp { kind, code, id } => L4::Icmp { kind: icmp_reply(self.protocol, kind), code, id },
            L4::None => L4::None,
        };
        Tuple { src: self.dst, dst: self.src, l4, zone: None, ..*self }
    }

    /// The protocol as a named variant, also for `Protocol::Other(6)`.
    fn by_number(&self) -> Protocol {
        Protocol::from(u8::from(self.protocol))
    }

    fn emit_addresses(&self, ip: &mut AttributeWriter<'_>) {
        for (address, v4, v6) in
            [(self.src, cta_ip::V4_SRC, cta_ip::V6_SRC), (self.dst, cta_ip::V4_DST, cta_ip::V6_DST)]
        {
            match address {
                IpAddr::V4(address) => ip.put(v4, &address.octets()),
                IpAddr::V6(address) => ip.put(v6, &address.octets()),
            }
        }
    }

    fn emit_l4(&self, proto: &mut AttributeWriter<'_>) {
        proto.put(cta_proto::NUM, &[u8::from(self.protocol)]);
        match self.l4 {
            L4::None => {}
            L4::Ports { src, dst } => {
                proto.put(cta_proto::SRC_PORT, &src.to_be_bytes());
                proto.put(cta_proto::DST_PORT, &dst.to_be_bytes());
            }
            L4::Icmp { kind, code, id } => {
                let [a_id, a_kind, a_code] = if self.by_number() == Protocol::Ipv6Icmp {
                    [cta_proto::ICMPV6_ID, cta_proto::ICMPV6_TYPE, cta_proto::ICMPV6_CODE]
                } else {
                    [cta_proto::ICMP_ID, cta_proto::ICMP_TYPE, cta_proto::ICMP_CODE]
                };
                proto.put(a_id, &id.to_be_bytes());
                proto.put(a_kind, &[kind]);
                proto.put(a_code, &[code]);
            }
        }
    }
}

/// The ICMP type of replies to `kind`: `invmap` in net/netfilter/nf_conntrack_proto_icmp.c and
/// nf_conntrack_proto_icmpv6.c.
fn icmp_reply(protocol: Protocol, kind: u8) -> u8 {
    match (protocol, kind) {
        (Protocol::Icmp, 8) => 0,
        (Protocol::Icmp, 0) => 8,
        (Protocol::Icmp, 13 | 15 | 17) | (Protocol::Ipv6Icmp, 128) => kind + 1,
        (Protocol::Icmp, 14 | 16 | 18) | (Protocol::Ipv6Icmp, 129) => kind - 1,
        (_, kind) => kind,
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::indexing_slicing)]
mod tests {
    use super::*;

    fn tuple(src: &str, dst: &str) -> Tuple {
        let (src, dst) = (src.parse().unwrap(), dst.parse().unwrap());
        Tuple { src, dst, protocol: Protocol::Tcp, l4: L4::Ports { src: 40000, dst: 443 }, ..Tuple::UNSPECIFIED }
    }

    #[test]
    fn ports_are_optional_where_some_kernel_does_not_track_the_protocol() {
        let without = |protocol| Tuple { protocol, l4: L4::None, ..tuple("10.1.2.3", "192.0.2.1") }.is_complete();
        assert!([Protocol::Dccp, Protocol::UdpLite, Protocol::Other(50)].into_iter().all(without));
        assert!(
            ![Protocol::Tcp, Protocol::Udp, Protocol::Sctp, Protocol::Gre, Protocol::Icmp].into_iter().any(without)
        );
    }

    /// The bytes that a hash is computed from.
    #[derive(Default)]
    struct Hashed(Vec<u8>);

    impl Hasher for Hashed {
        fn write(&mut self, bytes: &[u8]) {
            self.0.extend_from_slice(bytes);
        }

        fn finish(&self) -> u64 {
            0
        }
    }

    #[test]
    fn different_tuples_are_hashed_from_different_numbers() {
        let addresses: [IpAddr; 3] = ["1.2.3.4", "::1.2.3.4", "::"].map(|address| address.parse().unwrap());
        let ports = [(0, 0), (0, 1), (1, 0), (u16::MAX, u16::MAX)].map(|(src, dst)| L4::Ports { src, dst });
        let icmp = [(0, 0, 0), (0, 1, 0), (1, 0, 0), (0, 0, 1), (u8::MAX, u8::MAX, u16::MAX)];
        let icmp = icmp.map(|(kind, code, id)| L4::Icmp { kind, code, id });
        let (mut tuples, mut hashed) = (0, std::collections::BTreeSet::new());
        for (src, dst) in addresses.iter().flat_map(|src| addresses.iter().map(move |dst| (*src, *dst))) {
            for l4 in [L4::None].into_iter().chain(ports).chain(icmp) {
                for protocol in [0, 6, u8::MAX].map(Protocol::from) {
                    for zone in [None, Some(0), Some(1), Some(u16::MAX)] {
                        let mut numbers = Hashed::default();
                        Tuple { src, dst, protocol, l4, zone, has_unknown_part: false }.hash(&mut numbers);
                        tuples += 1;
                        hashed.insert(numbers.0);
                    }
                }
            }
        }
        assert_eq!((tuples, hashed.len()), (1080, 1080));
    }
}
