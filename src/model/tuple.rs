//! A tuple: the addresses and ports that identify one direction of a flow.

use std::hash::{Hash, Hasher};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use netlink_packet_core::NLA_F_NESTED;

use super::protocol::Protocol;
use crate::wire::uapi::{cta_ip, cta_proto, cta_tuple};
use crate::wire::{
    Attribute, AttributeWriter, Attributes, DecodeError, DecodeErrorKind, Family, HeaderTemplate, NestTemplate, Values,
};

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

/// What the kernel writes for TCP, UDP and others over IPv4.
const V4_PORTS: NestTemplate<48> = NestTemplate::new([
    (0, cta_tuple::IP | NLA_F_NESTED, 20),
    (4, cta_ip::V4_SRC, 8),
    (12, cta_ip::V4_DST, 8),
    (20, cta_tuple::PROTO | NLA_F_NESTED, 28),
    (24, cta_proto::NUM, 5),
    (32, cta_proto::SRC_PORT, 6),
    (40, cta_proto::DST_PORT, 6),
]);

/// And over IPv6.
const V6_PORTS: NestTemplate<72> = NestTemplate::new([
    (0, cta_tuple::IP | NLA_F_NESTED, 44),
    (4, cta_ip::V6_SRC, 20),
    (24, cta_ip::V6_DST, 20),
    (44, cta_tuple::PROTO | NLA_F_NESTED, 28),
    (48, cta_proto::NUM, 5),
    (56, cta_proto::SRC_PORT, 6),
    (64, cta_proto::DST_PORT, 6),
]);

/// Three numbers, which no two tuples have alike that the kernel tells apart: a dump hashes
/// every entry, and what is derived takes four times as many steps.
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
    /// All of it in 34 bits.
    #[inline]
    fn bits(self) -> u64 {
        match self {
            L4::None => 0,
            L4::Ports { src, dst } => 1 << 32 | u64::from(src) << 16 | u64::from(dst),
            L4::Icmp { kind, code, id } => 2 << 32 | u64::from(u16::from_be_bytes([kind, code])) << 16 | u64::from(id),
        }
    }
}

/// Where a message of known template has a tuple of two addresses and two ports.
#[derive(Debug, Clone, Copy)]
pub(super) enum TupleOffset {
    V4(usize),
    V6(usize),
}

impl TupleOffset {
    /// The place of `nest`, at `offset`, whose headers become part of `template`. None for another
    /// kind of tuple.
    pub(super) fn compile(nest: &[u8], offset: usize, template: &mut HeaderTemplate) -> Option<Self> {
        let v4 = V4_PORTS.compile(nest, offset, template).map(TupleOffset::V4);
        v4.or_else(|| V6_PORTS.compile(nest, offset, template).map(TupleOffset::V6))
    }

    /// Reads what stands there into `tuple`, which was of this kind before.
    #[inline]
    pub(super) fn read(self, message: &[u8], tuple: &mut Tuple) -> Option<()> {
        match self {
            TupleOffset::V4(offset) => tuple.read_v4(&Values::known(message, offset)?),
            TupleOffset::V6(offset) => tuple.read_v6(&Values::known(message, offset)?),
        }
        Some(())
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

    /// Reads a tuple nest.
    ///
    /// # Errors
    /// An attribute of the wrong size, or no complete addresses and protocol.
    pub fn decode(nest: &Attribute<'_>) -> Result<Self, DecodeError> {
        let mut tuple = Tuple::UNSPECIFIED;
        tuple.decode_from(nest)?;
        Ok(tuple)
    }

    /// Reads a nest of two addresses and two ports; false where it is another.
    #[inline]
    fn decode_usual(&mut self, nest: &[u8]) -> bool {
        if let Some(values) = V4_PORTS.of(nest) {
            self.read_v4(&values);
        } else if let Some(values) = V6_PORTS.of(nest) {
            self.read_v6(&values);
        } else {
            return false;
        }
        (self.zone, self.has_unknown_part) = (None, false);
        true
    }

    #[inline]
    fn read_v4(&mut self, values: &Values<'_, 48>) {
        (self.src, self.dst) = (values.at::<4>(8).into(), values.at::<4>(16).into());
        self.read_ports(values.at(28), [values.at(36), values.at(44)]);
    }

    #[inline]
    fn read_v6(&mut self, values: &Values<'_, 72>) {
        (self.src, self.dst) = (values.at::<16>(8).into(), values.at::<16>(28).into());
        self.read_ports(values.at(52), [values.at(60), values.at(68)]);
    }

    #[inline]
    fn read_ports(&mut self, protocol: [u8; 1], [sport, dport]: [[u8; 2]; 2]) {
        self.protocol = Protocol::from(u8::from_ne_bytes(protocol));
        self.l4 = L4::Ports { src: u16::from_be_bytes(sport), dst: u16::from_be_bytes(dport) };
    }

    /// As [`Tuple::decode`], in place.
    ///
    /// # Errors
    /// As [`Tuple::decode`].
    #[inline]
    pub(super) fn decode_from(&mut self, nest: &Attribute<'_>) -> Result<(), DecodeError> {
        if self.decode_usual(nest.value) {
            return Ok(());
        }
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
        parts.assemble(self).ok_or_else(|| nest.error(DecodeErrorKind::Missing))
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

    /// Whether the layer 4 part is what the kernel keeps for this protocol, so
    /// that the tuple names one entry and no other.
    #[must_use]
    pub fn is_complete(&self) -> bool {
        let same_family = self.src.is_ipv4() == self.dst.is_ipv4();
        let l4 = match self.by_number() {
            Protocol::Tcp | Protocol::Udp | Protocol::Sctp | Protocol::Gre => matches!(self.l4, L4::Ports { .. }),
            // Ports on kernels that track them (DCCP up to 6.17, UDP-lite before 7.3),
            // none after that.
            Protocol::Dccp | Protocol::UdpLite => !matches!(self.l4, L4::Icmp { .. }),
            Protocol::Icmp | Protocol::Ipv6Icmp => matches!(self.l4, L4::Icmp { .. }),
            _ => true,
        };
        same_family && l4 && !self.has_unknown_part
    }

    /// The tuple that answers carry when there is no NAT. ICMP types become those of
    /// their answers; a zone of one direction is not that of the other, and is left out.
    ///
    /// The kernel's rule is `nf_ct_invert_tuple` in `net/netfilter/nf_conntrack_core.c`.
    #[doc(alias = "nf_ct_invert_tuple")]
    #[must_use]
    pub fn inverse(&self) -> Self {
        let l4 = match self.l4 {
            L4::Ports { src, dst } => L4::Ports { src: dst, dst: src },
            L4::Icmp { kind, code, id } => L4::Icmp { kind: icmp_answer(self.protocol, kind), code, id },
            L4::None => L4::None,
        };
        Tuple { src: self.dst, dst: self.src, l4, zone: None, ..*self }
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

/// The ICMP type that answers `kind`: `invmap` in `net/netfilter/nf_conntrack_proto_icmp.c` and
/// `nf_conntrack_proto_icmpv6.c`.
fn icmp_answer(protocol: Protocol, kind: u8) -> u8 {
    match (protocol, kind) {
        (Protocol::Icmp, 8) => 0,
        (Protocol::Icmp, 0) => 8,
        (Protocol::Icmp, 13 | 15 | 17) | (Protocol::Ipv6Icmp, 128) => kind + 1,
        (Protocol::Icmp, 14 | 16 | 18) | (Protocol::Ipv6Icmp, 129) => kind - 1,
        (_, kind) => kind,
    }
}

/// The parts of a tuple while they are being read. Addresses stay where they are
/// until all is there: 4 bytes for IPv4, 16 for IPv6.
#[derive(Default)]
struct Parts<'a> {
    src: Option<&'a [u8]>,
    dst: Option<&'a [u8]>,
    protocol: Option<u8>,
    sport: Option<u16>,
    dport: Option<u16>,
    icmp_id: Option<u16>,
    icmp_type: Option<u8>,
    icmp_code: Option<u8>,
    zone: Option<u16>,
    unknown: bool,
}

impl<'a> Parts<'a> {
    #[inline]
    fn read_addresses(&mut self, attributes: Attributes<'a>) -> Result<(), DecodeError> {
        for attribute in attributes {
            let attribute = attribute?;
            match attribute.kind {
                cta_ip::V4_SRC => self.src = Some(attribute.sized(4)?),
                cta_ip::V4_DST => self.dst = Some(attribute.sized(4)?),
                cta_ip::V6_SRC => self.src = Some(attribute.sized(16)?),
                cta_ip::V6_DST => self.dst = Some(attribute.sized(16)?),
                _ => self.unknown = true,
            }
        }
        Ok(())
    }

    #[inline]
    fn read_l4(&mut self, attributes: Attributes<'a>) -> Result<(), DecodeError> {
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
    #[inline]
    fn assemble(self, tuple: &mut Tuple) -> Option<()> {
        let l4 = match (self.sport, self.dport, self.icmp_type, self.icmp_code, self.icmp_id) {
            (None, None, None, None, None) => L4::None,
            (Some(src), Some(dst), None, None, None) => L4::Ports { src, dst },
            (None, None, Some(kind), Some(code), Some(id)) => L4::Icmp { kind, code, id },
            _ => return None,
        };
        tuple.src = address(self.src?)?;
        tuple.dst = address(self.dst?)?;
        tuple.protocol = Protocol::from(self.protocol?);
        tuple.l4 = l4;
        tuple.zone = self.zone;
        tuple.has_unknown_part = self.unknown;
        Some(())
    }
}

#[inline]
fn address(bytes: &[u8]) -> Option<IpAddr> {
    match <[u8; 4]>::try_from(bytes) {
        Ok(octets) => Some(Ipv4Addr::from(octets).into()),
        Err(_) => <[u8; 16]>::try_from(bytes).ok().map(|octets| Ipv6Addr::from(octets).into()),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::indexing_slicing)]
mod tests {
    use super::*;
    use crate::wire::{Batch, Header, Messages};

    /// The value of the tuple nest that `tuple` is written as.
    fn nest_of(tuple: &Tuple) -> Vec<u8> {
        let mut batch = Batch::new();
        let header = Header { subsystem: 1, command: 0, flags: 0, family: tuple.family(), sequence: 1 };
        batch.push(header, |writer| tuple.emit(writer, 1));
        let message = Messages::new(batch.as_bytes()).next().unwrap().unwrap();
        message.attributes().next().unwrap().unwrap().value.to_vec()
    }

    fn read(value: &[u8]) -> Result<Tuple, DecodeError> {
        Tuple::decode(&Attribute { kind: 1, value, offset: 0 })
    }

    fn tuple(src: &str, dst: &str) -> Tuple {
        let (src, dst) = (src.parse().unwrap(), dst.parse().unwrap());
        Tuple { src, dst, protocol: Protocol::Tcp, l4: L4::Ports { src: 40000, dst: 443 }, ..Tuple::UNSPECIFIED }
    }

    #[test]
    fn ports_may_be_missing_where_some_kernel_keeps_none() {
        let without = |protocol| Tuple { protocol, l4: L4::None, ..tuple("10.1.2.3", "192.0.2.1") }.is_complete();
        assert!([Protocol::Dccp, Protocol::UdpLite, Protocol::Other(50)].into_iter().all(without));
        assert!(
            ![Protocol::Tcp, Protocol::Udp, Protocol::Sctp, Protocol::Gre, Protocol::Icmp].into_iter().any(without)
        );
    }

    #[test]
    fn the_usual_layout_is_read_as_any_other_is() {
        for (tuple, proto_at) in [(tuple("10.1.2.3", "192.0.2.1"), 20), (tuple("2001:db8::1", "2001:db8::2"), 44)] {
            let usual = nest_of(&tuple);
            assert!(Tuple::UNSPECIFIED.clone().decode_usual(&usual));
            let mut unflagged = usual.clone();
            for at in [0, proto_at] {
                let kind = u16::from_ne_bytes([usual[at + 2], usual[at + 3]]) & !NLA_F_NESTED;
                unflagged[at + 2..at + 4].copy_from_slice(&kind.to_ne_bytes());
            }
            assert!(!Tuple::UNSPECIFIED.clone().decode_usual(&unflagged));
            assert_eq!(read(&usual).unwrap(), tuple);
            assert_eq!(read(&unflagged).unwrap(), tuple);
        }
    }

    #[test]
    fn a_header_that_differs_in_one_bit_is_not_the_usual_layout() {
        let usual = nest_of(&tuple("10.1.2.3", "192.0.2.1"));
        for at in [0, 4, 12, 20, 24, 32, 40].into_iter().flat_map(|header| header..header + 4) {
            let mut other = usual.clone();
            other[at] ^= 1;
            assert!(!Tuple::UNSPECIFIED.clone().decode_usual(&other), "byte {at}");
        }
    }

    /// What a hash is computed from.
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
    fn tuples_that_differ_in_anything_are_hashed_from_other_numbers() {
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

    #[test]
    fn what_was_there_before_is_not_kept() {
        let old = Tuple { zone: Some(7), has_unknown_part: true, ..tuple("2001:db8::1", "2001:db8::2") };
        for new in [tuple("10.1.2.3", "192.0.2.1"), Tuple { l4: L4::None, ..tuple("10.1.2.3", "192.0.2.1") }] {
            let (mut place, value) = (old, nest_of(&new));
            place.decode_from(&Attribute { kind: 1, value: &value, offset: 0 }).unwrap();
            assert_eq!(place, new);
        }
    }
}
