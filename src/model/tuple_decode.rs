//! Decodes any tuple, attribute by attribute.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::protocol::Protocol;
use super::tuple::{L4, Tuple};
use crate::wire::uapi::{cta_ip, cta_proto, cta_tuple};
use crate::wire::{Attribute, Attributes, DecodeError, DecodeErrorKind};

impl Tuple {
    /// Decodes a tuple nest (`CTA_TUPLE_*`).
    ///
    /// # Errors
    /// An attribute of the wrong size; a nest without both addresses and a protocol.
    pub fn decode(nest: &Attribute<'_>) -> Result<Self, DecodeError> {
        let mut tuple = Tuple::UNSPECIFIED;
        tuple.decode_from(nest)?;
        Ok(tuple)
    }

    /// Like [`Tuple::decode`], in place: moving a tuple takes as long as decoding it.
    ///
    /// # Errors
    /// As [`Tuple::decode`].
    #[inline]
    pub(super) fn decode_from(&mut self, nest: &Attribute<'_>) -> Result<(), DecodeError> {
        if self.decode_ports_nest(nest.value) {
            return Ok(());
        }
        let mut parts = Parts::default();
        for attribute in nest.nested() {
            let attribute = attribute?;
            match attribute.kind {
                cta_tuple::IP => parts.read_addresses(attribute.nested())?,
                cta_tuple::PROTO => parts.read_l4(attribute.nested())?,
                cta_tuple::ZONE => parts.zone = Some(attribute.be16()?),
                _ => parts.has_unknown = true,
            }
        }
        parts.assemble(self).ok_or_else(|| nest.error(DecodeErrorKind::Missing))
    }
}

/// The decoded parts of a tuple. Addresses are borrowed: 4 bytes for IPv4, 16 for IPv6.
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
    has_unknown: bool,
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
                _ => self.has_unknown = true,
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
                _ => self.has_unknown = true,
            }
        }
        Ok(())
    }

    /// `None` where a mandatory part or one of a pair is missing.
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
        tuple.has_unknown_part = self.has_unknown;
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
    use netlink_packet_core::NLA_F_NESTED;

    use super::*;
    use crate::wire::{Batch, Header, Messages};

    /// The bytes of the tuple nest that is emitted for `tuple`.
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
    fn a_nest_with_the_usual_offsets_decodes_like_any_other() {
        for (tuple, proto_at) in [(tuple("10.1.2.3", "192.0.2.1"), 20), (tuple("2001:db8::1", "2001:db8::2"), 44)] {
            let usual = nest_of(&tuple);
            assert!(Tuple::UNSPECIFIED.clone().decode_ports_nest(&usual));
            let mut unflagged = usual.clone();
            for at in [0, proto_at] {
                let kind = u16::from_ne_bytes([usual[at + 2], usual[at + 3]]) & !NLA_F_NESTED;
                unflagged[at + 2..at + 4].copy_from_slice(&kind.to_ne_bytes());
            }
            assert!(!Tuple::UNSPECIFIED.clone().decode_ports_nest(&unflagged));
            assert_eq!(read(&usual).unwrap(), tuple);
            assert_eq!(read(&unflagged).unwrap(), tuple);
        }
    }

    #[test]
    fn a_nest_whose_headers_differ_in_one_bit_does_not_match_the_template() {
        let usual = nest_of(&tuple("10.1.2.3", "192.0.2.1"));
        for at in [0, 4, 12, 20, 24, 32, 40].into_iter().flat_map(|header| header..header + 4) {
            let mut other = usual.clone();
            other[at] ^= 1;
            assert!(!Tuple::UNSPECIFIED.clone().decode_ports_nest(&other), "byte {at}");
        }
    }

    #[test]
    fn decoding_replaces_the_whole_tuple() {
        let old = Tuple { zone: Some(7), has_unknown_part: true, ..tuple("2001:db8::1", "2001:db8::2") };
        for new in [tuple("10.1.2.3", "192.0.2.1"), Tuple { l4: L4::None, ..tuple("10.1.2.3", "192.0.2.1") }] {
            let (mut decoded, value) = (old, nest_of(&new));
            decoded.decode_from(&Attribute { kind: 1, value: &value, offset: 0 }).unwrap();
            assert_eq!(decoded, new);
        }
    }
}
