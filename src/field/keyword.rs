//! Keywords: words that are a whole term. `tcp` is `proto tcp`.

use super::id::FieldId;
use super::registry::field;
use crate::model::STATUS_BITS;

/// The keyword for a flow without a packet in the reply direction.
pub const UNREPLIED: &str = "unreplied";

/// A word that is a term by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Keyword {
    /// The word, lower case.
    pub name: &'static str,
    /// The field that it is a value of.
    pub field: FieldId,
    /// One line of help.
    pub doc: &'static str,
}

const fn row(name: &'static str, field: FieldId, doc: &'static str) -> Keyword {
    Keyword { name, field, doc }
}

const FAMILIES: [Keyword; 2] = [row("ipv4", FieldId::Family, "IPv4"), row("ipv6", FieldId::Family, "IPv6")];

const PROTOCOLS: [Keyword; 14] = [
    row("tcp", FieldId::Protocol, "TCP"),
    row("udp", FieldId::Protocol, "UDP"),
    row("icmp", FieldId::Protocol, "ICMP (IPv4)"),
    row("icmpv6", FieldId::Protocol, "ICMPv6"),
    row("ipv6-icmp", FieldId::Protocol, "ICMPv6"),
    row("sctp", FieldId::Protocol, "SCTP"),
    row("dccp", FieldId::Protocol, "DCCP"),
    row("gre", FieldId::Protocol, "GRE"),
    row("udplite", FieldId::Protocol, "UDP-lite"),
    row("udp-lite", FieldId::Protocol, "UDP-lite"),
    row("igmp", FieldId::Protocol, "IGMP"),
    row("esp", FieldId::Protocol, "IPsec ESP"),
    row("ah", FieldId::Protocol, "IPsec AH"),
    row("ospf", FieldId::Protocol, "OSPF"),
];

const NO_REPLY: Keyword = row(UNREPLIED, FieldId::Status, "no packet in the reply direction yet (not seen-reply)");

/// All keywords. A status bit with the name of a field (`helper`) is not one.
pub fn keywords() -> impl Iterator<Item = Keyword> {
    let bits = STATUS_BITS.iter().filter(|bit| field(bit.name).is_none());
    let bits = bits.map(|bit| row(bit.name, FieldId::Status, bit.doc));
    FAMILIES.into_iter().chain(PROTOCOLS).chain([NO_REPLY]).chain(bits)
}

/// The keyword of a name in lower case.
#[must_use]
pub fn keyword(name: &str) -> Option<Keyword> {
    keywords().find(|keyword| keyword.name == name)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::protocol_from_name;

    #[test]
    fn every_keyword_of_a_protocol_is_the_name_of_one() {
        for keyword in PROTOCOLS {
            assert!(protocol_from_name(keyword.name).is_some(), "{}", keyword.name);
        }
    }
}
