//! Layer 4 protocols and their names.

pub use netlink_packet_netfilter::conntrack::Protocol;

use crate::units::parse_decimal;

/// Names that conntrack(8) prints, with the protocol number.
const NAMES: [(&str, u8); 8] =
    [("tcp", 6), ("udp", 17), ("icmp", 1), ("icmpv6", 58), ("sctp", 132), ("dccp", 33), ("gre", 47), ("udplite", 136)];

/// Names that are accepted and not printed.
const ALIASES: [(&str, u8); 6] =
    [("ipv6-icmp", 58), ("udp-lite", 136), ("igmp", 2), ("esp", 50), ("ah", 51), ("ospf", 89)];

/// The name of a protocol with its own tracker; `None` for others, for which conntrack(8) prints
/// `unknown`.
#[must_use]
pub fn protocol_name(protocol: Protocol) -> Option<&'static str> {
    let number = u8::from(protocol);
    NAMES.iter().find(|(_, n)| *n == number).map(|(name, _)| *name)
}

/// The protocol of a name or a decimal number.
#[must_use]
pub fn protocol_from_name(name: &str) -> Option<Protocol> {
    let known = NAMES.iter().chain(&ALIASES).find(|(known, _)| known.eq_ignore_ascii_case(name));
    let number = || parse_decimal(name).ok().and_then(|number| u8::try_from(number).ok());
    known.map(|(_, number)| *number).or_else(number).map(Protocol::from)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_is_parsed_as_its_protocol() {
        for (name, number) in NAMES {
            assert_eq!(protocol_from_name(name).map(u8::from), Some(number));
            assert_eq!(protocol_name(Protocol::from(number)), Some(name));
        }
    }

    #[test]
    fn a_number_up_to_255_is_a_protocol() {
        assert_eq!(protocol_from_name("253").map(u8::from), Some(253));
        for text in ["256", "+6", "006", ""] {
            assert_eq!(protocol_from_name(text), None, "{text}");
        }
        assert_eq!(protocol_name(Protocol::from(253)), None);
    }
}
