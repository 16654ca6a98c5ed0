//! The parts of one direction's tuple.

use std::net::IpAddr;
use std::ops::Range;

use super::super::icmp_type_names::{icmp_types, is_untracked_icmp_type};
use super::super::protocol::Protocol;
use super::super::tuple::L4;
use super::error::PartError;
use crate::units::parse_decimal;

const ICMPV6_HINT: &str = "with IPv6 addresses the protocol is icmpv6";
const ICMP_HINT: &str = "with IPv4 addresses the protocol is icmp";

/// A value and its bytes in the text.
pub(super) struct Given<T> {
    pub value: T,
    pub span: Range<usize>,
}

/// What was given for one direction.
#[derive(Default)]
pub(super) struct Direction {
    pub src: Option<Given<IpAddr>>,
    pub dst: Option<Given<IpAddr>>,
    pub sport: Option<Given<u16>>,
    pub dport: Option<Given<u16>>,
    pub srckey: Option<Given<u16>>,
    pub dstkey: Option<Given<u16>>,
    pub icmp_type: Option<Given<IcmpType>>,
    pub icmp_code: Option<Given<u8>>,
    pub icmp_id: Option<Given<u16>>,
}

/// A type of ICMP or ICMPv6.
#[derive(Clone, Copy)]
pub(super) enum IcmpType {
    Number(u8),
    /// The numbers of a name: of ICMP, of ICMPv6 or of both.
    Named(&'static [u8]),
}

impl IcmpType {
    /// The number in `protocol`; `None` for a name of the other one.
    fn number(self, protocol: Protocol) -> Option<u8> {
        // ICMPv6 messages that are no errors have types from 128 on (RFC 4443, section 2.1), the names of ICMP smaller ones.
        let is_of_protocol = |kind: &u8| (*kind >= 128) == (protocol == Protocol::Ipv6Icmp);
        match self {
            IcmpType::Number(number) => Some(number),
            IcmpType::Named(numbers) => numbers.iter().copied().find(is_of_protocol),
        }
    }
}

/// The kinds of layer 4 part that protocols have.
#[derive(Clone, Copy, PartialEq)]
enum Kind {
    Ports,
    /// Ports on kernels that track the protocol, nothing on others.
    PortsOrNone,
    GreKeys,
    Icmp,
    None,
}

impl Direction {
    /// Whether no part but the ICMP id, whose direction follows from the others, was given.
    pub(super) fn is_empty(&self) -> bool {
        self.src.is_none() && self.dst.is_none() && self.l4_keys().iter().all(|(_, span, _)| span.is_none())
    }

    pub(super) fn missing_addresses(&self) -> Vec<&'static str> {
        names_of(&[("src", self.src.is_some()), ("dst", self.dst.is_some())])
    }

    /// The layer 4 part, or the keys that are missing.
    pub(super) fn l4(&self, protocol: Protocol) -> Result<Option<L4>, Vec<&'static str>> {
        let kind = Kind::of(protocol);
        let pair = |src: &Option<Given<u16>>, dst: &Option<Given<u16>>, names: [&'static str; 2]| match (src, dst) {
            (Some(src), Some(dst)) => Ok(Some(L4::Ports { src: src.value, dst: dst.value })),
            (None, None) if kind == Kind::PortsOrNone => Ok(Some(L4::None)),
            (src, dst) => Err(names_of(&[(names[0], src.is_some()), (names[1], dst.is_some())])),
        };
        match kind {
            Kind::None => Ok(Some(L4::None)),
            Kind::Ports | Kind::PortsOrNone => pair(&self.sport, &self.dport, ["sport", "dport"]),
            Kind::GreKeys => pair(&self.srckey, &self.dstkey, ["srckey", "dstkey"]),
            Kind::Icmp => self.icmp(protocol).map(Some),
        }
    }

    fn icmp(&self, protocol: Protocol) -> Result<L4, Vec<&'static str>> {
        let kind = self.icmp_type.as_ref().and_then(|given| given.value.number(protocol));
        match (kind, &self.icmp_code, &self.icmp_id) {
            (Some(kind), Some(code), Some(id)) => Ok(L4::Icmp { kind, code: code.value, id: id.value }),
            (kind, code, id) => {
                Err(names_of(&[("type", kind.is_some()), ("code", code.is_some()), ("id", id.is_some())]))
            }
        }
    }

    /// The place of a name of a type that `protocol` does not have.
    pub(super) fn type_of_other_protocol(&self, protocol: Protocol) -> Option<Range<usize>> {
        let given = self.icmp_type.as_ref()?;
        given.value.number(protocol).is_none().then(|| given.span.clone())
    }

    /// Which protocol is meant where ICMP and the addresses are of different families.
    pub(super) fn protocol_of_family(&self, protocol: Protocol) -> Option<&'static str> {
        let mut addresses = [&self.src, &self.dst].into_iter().flatten().map(|given| given.value);
        match protocol {
            Protocol::Icmp if addresses.any(|address| address.to_canonical().is_ipv6()) => Some(ICMPV6_HINT),
            Protocol::Ipv6Icmp if addresses.any(|address| address.is_ipv4()) => Some(ICMP_HINT),
            _ => None,
        }
    }

    /// A key that was given and that entries of the protocol do not have.
    pub(super) fn unexpected(&self, protocol: Protocol) -> Option<(&'static str, Range<usize>)> {
        let kind = Kind::of(protocol);
        let is_expected = |of: Kind| of == kind || of == Kind::Ports && kind == Kind::PortsOrNone;
        let unexpected = self.l4_keys().into_iter().filter(|(_, _, of)| !is_expected(*of));
        unexpected.filter_map(|(key, span, _)| Some((key, span?))).next()
    }

    /// The keys of the layer 4 part apart from `id`, with their bytes in the text and the kind of layer 4 part.
    fn l4_keys(&self) -> [(&'static str, Option<Range<usize>>, Kind); 6] {
        fn span<T>(given: &Option<Given<T>>) -> Option<Range<usize>> {
            given.as_ref().map(|given| given.span.clone())
        }
        [
            ("sport", span(&self.sport), Kind::Ports),
            ("dport", span(&self.dport), Kind::Ports),
            ("srckey", span(&self.srckey), Kind::GreKeys),
            ("dstkey", span(&self.dstkey), Kind::GreKeys),
            ("type", span(&self.icmp_type), Kind::Icmp),
            ("code", span(&self.icmp_code), Kind::Icmp),
        ]
    }
}

impl Kind {
    fn of(protocol: Protocol) -> Self {
        match protocol {
            Protocol::Tcp | Protocol::Udp | Protocol::Sctp => Kind::Ports,
            // DCCP is tracked up to Linux 6.17, UDP-lite before 7.3.
            Protocol::Dccp | Protocol::UdpLite => Kind::PortsOrNone,
            Protocol::Gre => Kind::GreKeys,
            Protocol::Icmp | Protocol::Ipv6Icmp => Kind::Icmp,
            _ => Kind::None,
        }
    }
}

fn names_of(keys: &[(&'static str, bool)]) -> Vec<&'static str> {
    keys.iter().filter(|(_, is_given)| !is_given).map(|(key, _)| *key).collect()
}

/// A decimal number without leading zeros.
pub(super) fn parse_number<T: TryFrom<u64>>(key: &str, value: &str, span: &Range<usize>) -> Result<T, PartError> {
    let number = parse_decimal(value).ok().and_then(|number| T::try_from(number).ok());
    let max = u64::MAX >> (64 - 8 * size_of::<T>());
    number.ok_or_else(|| {
        PartError::new(span.clone(), format!("invalid {key} '{value}': expected a number from 0 to {max}"))
    })
}

/// A type of ICMP or ICMPv6, by number or by name.
pub(super) fn parse_icmp_type(value: &str, span: &Range<usize>) -> Result<IcmpType, PartError> {
    if !value.starts_with(|character: char| character.is_ascii_alphabetic()) {
        return parse_number("type", value, span).map(IcmpType::Number);
    }
    let fault = |message: String| Err(PartError::new(span.clone(), message));
    match icmp_types(value) {
        [] if is_untracked_icmp_type(value) => fault(format!("no entry has the ICMP type '{value}'")),
        [] => fault(format!("unknown ICMP type '{value}': expected a number, or a name such as echo-request")),
        numbers => Ok(IcmpType::Named(numbers)),
    }
}

/// A key of GRE, decimal or `0x…`.
pub(super) fn parse_key(key: &str, value: &str, span: &Range<usize>) -> Result<u16, PartError> {
    let Some(digits) = value.strip_prefix("0x") else { return parse_number(key, value, span) };
    let is_hexadecimal = digits.bytes().all(|byte| byte.is_ascii_hexdigit());
    let number = u16::from_str_radix(digits, 16).ok().filter(|_| is_hexadecimal);
    number.ok_or_else(|| PartError::new(span.clone(), format!("invalid {key} '{value}': expected 0x0 to 0xffff")))
}
