//! A tuple: the addresses and ports that identify one direction of a flow.

use std::hash::{Hash, Hasher};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::protocol::Protocol;
use crate::wire::uapi::{cta_ip, cta_proto, cta_tuple};
use crate::wire::{Attribute, AttributeWriter, Attributes, DecodeError, Fault};

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
    /// What stands for ports in that protocol.
    pub l4: L4,
    /// A zone that holds for this direction only.
    #[doc(alias = "CTA_TUPLE_ZONE")]
    pub zone: Option<u16>,
    /// The kernel sent a part of this tuple that this version does not know.
    /// Such an entry can be shown, but not deleted: a tuple rebuilt without that
    /// part could be another one.
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

impl Hash for Tuple {
    fn hash<H: Hasher>(&self, state: &mut H) {
        (self.src, self.dst, u8::from(self.protocol), self.l4, self.zone).hash(state);
    }
}

impl Tuple {
    /// Reads a tuple nest.
    ///
    /// # Errors
    /// An attribute of the wrong size, or no complete addresses and protocol.
    pub fn decode(nest: &Attribute<'_>) -> Result<Self, DecodeError> {
        let mut parts = Parts::default();
        for attribute in nest.nested() {
            let attribute = attribute?;
            match attribute.kind {
                cta_tuple::IP => parts.read_addresses(attribute.nested())?,
                cta_tuple::PROTO => parts.read_l4(attribute.nested())?,
                cta_tuple::ZONE => parts.zone = Some(attribute.be16()?),
                _ => parts.unknown = true,
            }
        }
        parts.assemble().ok_or(nest.fault(Fault::Missing))
    }

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

    /// The `nfgenmsg` family of the addresses: 2 for IPv4, 10 for IPv6.
    #[must_use]
    pub fn family(&self) -> u8 {
        use crate::wire::uapi::nfproto;
        if self.src.is_ipv4() { nfproto::IPV4 } else { nfproto::IPV6 }
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

    /// Whether the layer 4 part is what the kernel keeps for this protocol, so
    /// that the tuple names one entry and no other.
    #[must_use]
    pub fn is_complete(&self) -> bool {
        let same_family = self.src.is_ipv4() == self.dst.is_ipv4();
        let l4 = match self.by_number() {
            Protocol::Tcp | Protocol::Udp | Protocol::UdpLite | Protocol::Sctp | Protocol::Gre => {
                matches!(self.l4, L4::Ports { .. })
            }
            // Ports on kernels that track DCCP (up to 6.17), none after that.
            Protocol::Dccp => !matches!(self.l4, L4::Icmp { .. }),
            Protocol::Icmp | Protocol::Ipv6Icmp => matches!(self.l4, L4::Icmp { .. }),
            _ => true,
        };
        same_family && l4 && !self.has_unknown_part
    }

    /// The protocol under its own name, also where it was written as
    /// `Protocol::Other(6)`.
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

/// The parts of a tuple while they are being read.
#[derive(Default)]
struct Parts {
    src: Option<IpAddr>,
    dst: Option<IpAddr>,
    protocol: Option<u8>,
    sport: Option<u16>,
    dport: Option<u16>,
    icmp_id: Option<u16>,
    icmp_type: Option<u8>,
    icmp_code: Option<u8>,
    zone: Option<u16>,
    unknown: bool,
}

impl Parts {
    fn read_addresses(&mut self, attributes: Attributes<'_>) -> Result<(), DecodeError> {
        for attribute in attributes {
            let attribute = attribute?;
            match attribute.kind {
                cta_ip::V4_SRC => self.src = Some(Ipv4Addr::from(attribute.array::<4>()?).into()),
                cta_ip::V4_DST => self.dst = Some(Ipv4Addr::from(attribute.array::<4>()?).into()),
                cta_ip::V6_SRC => self.src = Some(Ipv6Addr::from(attribute.array::<16>()?).into()),
                cta_ip::V6_DST => self.dst = Some(Ipv6Addr::from(attribute.array::<16>()?).into()),
                _ => self.unknown = true,
            }
        }
        Ok(())
    }

    fn read_l4(&mut self, attributes: Attributes<'_>) -> Result<(), DecodeError> {
        for attribute in attributes {
            let attribute = attribute?;
            match attribute.kind {
                cta_proto::NUM => self.protocol = Some(attribute.u8()?),
                cta_proto::SRC_PORT => self.sport = Some(attribute.be16()?),
                cta_proto::DST_PORT => self.dport = Some(attribute.be16()?),
                cta_proto::ICMP_ID | cta_proto::ICMPV6_ID => self.icmp_id = Some(attribute.be16()?),
                cta_proto::ICMP_TYPE | cta_proto::ICMPV6_TYPE => self.icmp_type = Some(attribute.u8()?),
                cta_proto::ICMP_CODE | cta_proto::ICMPV6_CODE => self.icmp_code = Some(attribute.u8()?),
                _ => self.unknown = true,
            }
        }
        Ok(())
    }

    /// `None` when a mandatory part is missing, or half of a pair.
    fn assemble(self) -> Option<Tuple> {
        let l4 = match (self.sport, self.dport, self.icmp_type, self.icmp_code, self.icmp_id) {
            (None, None, None, None, None) => L4::None,
            (Some(src), Some(dst), None, None, None) => L4::Ports { src, dst },
            (None, None, Some(kind), Some(code), Some(id)) => L4::Icmp { kind, code, id },
            _ => return None,
        };
        Some(Tuple {
            src: self.src?,
            dst: self.dst?,
            protocol: Protocol::from(self.protocol?),
            l4,
            zone: self.zone,
            has_unknown_part: self.unknown,
        })
    }
}
