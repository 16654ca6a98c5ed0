//! What of the rules of a network namespace concerns conntrack: a small plain model of them.

use std::collections::BTreeMap;
use std::net::IpAddr;

/// The NAT rules that are kept. A Kubernetes node has some ten thousand; their number is in [`Rules::uses`].
const MAX_NAT_RULES: usize = 16_384;
/// The address ranges of one NAT rule that are kept.
const MAX_RANGES: usize = 256;
/// The characters of a rule that are kept.
const MAX_TEXT: usize = 160;

/// What uses conntrack in a rule.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Use {
    /// Connection state, direction, addresses, counters, marks, labels or zones of an entry.
    Connection,
    /// A limit on connections.
    Limit,
    /// A helper, a timeout policy or an expectation.
    Assignment,
    /// Source or destination NAT.
    Nat,
    /// Packets that bypass the rules once their connection is established.
    Flowtable,
    /// The SYN proxy.
    Synproxy,
    /// Packets that are exempt from tracking. Such a rule needs no tracking itself.
    Notrack,
}

impl Use {
    /// What is shown for it.
    pub fn about(self) -> &'static str {
        match self {
            Use::Connection => "state, mark or other properties of a connection",
            Use::Limit => "a limit on connections",
            Use::Assignment => "a helper or timeout policy",
            Use::Nat => "NAT",
            Use::Flowtable => "a flowtable",
            Use::Synproxy => "the SYN proxy",
            Use::Notrack => "notrack",
        }
    }
}

/// Rules with the same use.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Users {
    /// How many.
    pub rules: u64,
    /// One of them: where it is, or its text.
    pub example: String,
}

/// What a NAT rule does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum NatKind {
    /// The source address becomes one of the rule.
    Snat,
    /// The source address becomes one of the interface that a packet leaves by.
    Masquerade,
    /// The destination address becomes one of the rule.
    Dnat,
    /// The destination address becomes one of this host.
    Redirect,
}

/// A NAT rule.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NatRule {
    pub kind: NatKind,
    /// The addresses that it maps to, as ranges.
    pub addresses: Vec<(IpAddr, IpAddr)>,
    /// The ports that it maps to, as ranges; none where it leaves the choice to the kernel.
    pub ports: Vec<(u16, u16)>,
    /// Whether all that it maps to is known. It is not where the rule refers to a map that could not be read.
    pub is_complete: bool,
    /// Where it is, or its text.
    pub text: String,
}

impl NatRule {
    /// A rule that maps to nothing yet.
    pub fn new(kind: NatKind, text: &str) -> Self {
        NatRule { kind, addresses: Vec::new(), ports: Vec::new(), is_complete: true, text: shortened(text) }
    }

    /// Adds a range of addresses.
    pub fn add_addresses(&mut self, first: IpAddr, last: IpAddr) {
        if self.addresses.len() < MAX_RANGES {
            self.addresses.push((first, last));
        } else {
            self.is_complete = false;
        }
    }

    /// Adds a range of ports.
    pub fn add_ports(&mut self, first: u16, last: u16) {
        if self.ports.len() < MAX_RANGES {
            self.ports.push((first, last));
        } else {
            self.is_complete = false;
        }
    }

    /// Whether it may map to `address`.
    #[cfg(test)]
    pub fn maps_to(&self, address: IpAddr) -> bool {
        self.addresses
            .iter()
            .any(|(first, last)| first.is_ipv4() == address.is_ipv4() && (*first..=*last).contains(&address))
    }
}

/// The rules of a namespace, as far as they concern conntrack.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Rules {
    /// How many rules there are.
    pub count: u64,
    /// What uses conntrack.
    pub uses: BTreeMap<Use, Users>,
    /// The NAT rules.
    pub nat: Vec<NatRule>,
    /// There are more NAT rules than [`Rules::nat`] has.
    pub is_nat_cut: bool,
    /// Whether a rule, or the policy of a chain, does more than compare, accept, count and log, or may do so.
    pub acts: bool,
    /// What could not be read, and why. While this is not empty, a use that is not found may exist.
    pub unread: Vec<String>,
}

impl Rules {
    /// Counts a rule that has the use `found`.
    pub fn add_use(&mut self, found: Use, text: &str) {
        let users = self.uses.entry(found).or_default();
        if users.rules == 0 {
            users.example = shortened(text);
        }
        users.rules += 1;
    }

    /// Adds a NAT rule.
    pub fn add_nat(&mut self, rule: NatRule) {
        if self.nat.len() < MAX_NAT_RULES {
            self.nat.push(rule);
        } else {
            self.is_nat_cut = true;
        }
    }

    /// Notes what could not be read, once.
    pub fn add_unread(&mut self, why: impl Into<String>) {
        let why = why.into();
        if !self.unread.contains(&why) && self.unread.len() < 64 {
            self.unread.push(why);
        }
    }

    /// The uses that need tracking.
    pub fn needs(&self) -> impl Iterator<Item = (Use, &Users)> {
        self.uses.iter().map(|(found, users)| (*found, users)).filter(|(found, _)| *found != Use::Notrack)
    }

    /// Whether every NAT rule is known with all that it maps to. Only then an address that no rule has is one that
    /// none maps to.
    pub fn knows_all_nat(&self) -> bool {
        self.unread.is_empty() && !self.is_nat_cut && self.nat.iter().all(|rule| rule.is_complete)
    }
}

fn shortened(text: &str) -> String {
    match text.char_indices().nth(MAX_TEXT) {
        Some((end, _)) => format!("{} …", text.get(..end).unwrap_or_default()),
        None => text.to_owned(),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn the_memory_of_the_model_is_bounded_and_what_is_left_out_is_known_to_be() {
        let mut rules = Rules::default();
        for _ in 0..=MAX_NAT_RULES {
            rules.add_nat(NatRule::new(NatKind::Dnat, &"ä".repeat(1000)));
        }
        assert_eq!((rules.nat.len(), rules.is_nat_cut, rules.knows_all_nat()), (MAX_NAT_RULES, true, false));
        assert_eq!(rules.nat.first().unwrap().text.chars().count(), MAX_TEXT + 2);
        let mut rule = NatRule::new(NatKind::Dnat, "");
        for _ in 0..=MAX_RANGES {
            rule.add_addresses("192.0.2.1".parse().unwrap(), "192.0.2.9".parse().unwrap());
        }
        assert!(!rule.is_complete && rule.addresses.len() == MAX_RANGES);
        assert!(rule.maps_to("192.0.2.9".parse().unwrap()) && !rule.maps_to("192.0.2.10".parse().unwrap()));
        assert!(!rule.maps_to("::c000:201".parse().unwrap()));
    }
}
