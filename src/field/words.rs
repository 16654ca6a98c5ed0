//! Words that stand for a whole term: `tcp` is `proto tcp`.

use crate::model::STATUS_BITS;

/// The status word for a flow that has seen no reply.
pub const UNREPLIED: &str = "unreplied";

/// A word that is a term by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Word {
    /// The word, lower case.
    pub name: &'static str,
    /// The field that it is about.
    pub field: &'static str,
    /// One line of help.
    pub doc: &'static str,
}

const fn row(name: &'static str, field: &'static str, doc: &'static str) -> Word {
    Word { name, field, doc }
}

const FAMILIES: [Word; 2] = [row("ipv4", "family", "IPv4"), row("ipv6", "family", "IPv6")];

const PROTOCOLS: [Word; 14] = [
    row("tcp", "proto", "TCP"),
    row("udp", "proto", "UDP"),
    row("icmp", "proto", "ICMP (IPv4)"),
    row("icmpv6", "proto", "ICMPv6"),
    row("ipv6-icmp", "proto", "ICMPv6"),
    row("sctp", "proto", "SCTP"),
    row("dccp", "proto", "DCCP"),
    row("gre", "proto", "GRE"),
    row("udplite", "proto", "UDP-lite"),
    row("udp-lite", "proto", "UDP-lite"),
    row("igmp", "proto", "IGMP"),
    row("esp", "proto", "IPsec ESP"),
    row("ah", "proto", "IPsec AH"),
    row("ospf", "proto", "OSPF"),
];

const NO_REPLY: Word = row(UNREPLIED, "status", "no packet has come back yet (not seen-reply)");

/// Every word that is a term by itself. The status bit `helper` is none, since
/// there is a field of that name.
pub fn words() -> impl Iterator<Item = Word> {
    let bits = STATUS_BITS.iter().filter(|bit| bit.name != "helper").map(|bit| row(bit.name, "status", bit.doc));
    FAMILIES.into_iter().chain(PROTOCOLS).chain([NO_REPLY]).chain(bits)
}

/// The word of a name in lower case.
#[must_use]
pub fn word(name: &str) -> Option<Word> {
    words().find(|word| word.name == name)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::protocol_from_name;

    #[test]
    fn every_word_for_a_protocol_is_one() {
        for word in PROTOCOLS {
            assert!(protocol_from_name(word.name).is_some(), "{}", word.name);
        }
    }
}
