//! What the NAT rules and the addresses of the host lead to.

use std::collections::HashMap;
use std::net::IpAddr;

use foldhash::fast::RandomState;

use super::address_set::AddressSet;
use crate::doctor::evidence::addresses::Addresses;
use crate::doctor::evidence::rules::{NatKind, NatRule, Rules};

/// Ranges of ports that are kept for ranges of addresses. Each is compared with each entry with source NAT.
const MAX_WIDE: usize = 64;

/// The addresses and ports that NAT leads to now.
#[derive(Debug, Clone, Default)]
pub struct KnownNat {
    /// The targets of the rules for destinations; `None` where they are not known completely.
    pub destinations: Option<AddressSet>,
    /// The addresses of the rules for sources and those of the host.
    pub sources: Option<AddressSet>,
    /// The ports of the rules for sources.
    pub ports: PortRanges,
}

/// The first and the last port of a range.
pub type PortRange = (u16, u16);

/// The port ranges of the rules, by the address that they map to.
#[derive(Debug, Clone, Default)]
pub struct PortRanges {
    of_address: HashMap<IpAddr, Vec<PortRange>, RandomState>,
    of_addresses: Vec<((IpAddr, IpAddr), PortRange)>,
    /// Of masquerading, whose addresses are those of the interfaces.
    of_local: Vec<PortRange>,
    local: AddressSet,
}

impl KnownNat {
    /// What is known of the rules and addresses.
    pub fn of(rules: Option<&Rules>, addresses: Option<&Addresses>) -> Self {
        let Some(rules) = rules else { return KnownNat::default() };
        let local = || addresses.into_iter().flat_map(|addresses| &addresses.local).map(|address| (*address, *address));
        let knows_all = rules.knows_all_nat() && addresses.is_some();
        let known = |kind| knows_all.then(|| ranges(rules, kind).chain(local()).collect());
        // REDIRECT leads to an address of this host.
        let (destinations, sources) = (known(NatKind::Dnat), known(NatKind::Snat));
        KnownNat { destinations, sources, ports: PortRanges::of(rules, local().collect()) }
    }
}

fn ranges(rules: &Rules, kind: NatKind) -> impl Iterator<Item = (IpAddr, IpAddr)> {
    rules.nat.iter().filter(move |rule| rule.kind == kind).flat_map(|rule| rule.addresses.iter().copied())
}

impl PortRanges {
    fn of(rules: &Rules, local: AddressSet) -> Self {
        let mut ranges = PortRanges { local, ..PortRanges::default() };
        for rule in &rules.nat {
            rule.ports.iter().for_each(|ports| ranges.add(rule, *ports));
        }
        ranges
    }

    fn add(&mut self, rule: &NatRule, ports: PortRange) {
        match rule.kind {
            NatKind::Masquerade => self.of_local.push(ports),
            NatKind::Snat => {
                for (first, last) in &rule.addresses {
                    if first == last {
                        self.of_address.entry(*first).or_default().push(ports);
                    } else if self.of_addresses.len() < MAX_WIDE {
                        self.of_addresses.push(((*first, *last), ports));
                    }
                }
            }
            NatKind::Dnat | NatKind::Redirect => {}
        }
    }

    /// The smallest range of a rule that has `port` for this address.
    #[inline]
    pub fn find(&self, address: IpAddr, port: u16) -> Option<PortRange> {
        if self.of_address.is_empty() && self.of_addresses.is_empty() && self.of_local.is_empty() {
            return None;
        }
        self.smallest(address, port)
    }

    fn smallest(&self, address: IpAddr, port: u16) -> Option<PortRange> {
        let own = self.of_address.get(&address).into_iter().flatten();
        let has_address = |((first, last), _): &&((IpAddr, IpAddr), PortRange)| {
            first.is_ipv4() == address.is_ipv4() && (*first..=*last).contains(&address)
        };
        let wide = self.of_addresses.iter().filter(has_address).map(|(_, ports)| ports);
        let is_local = !self.of_local.is_empty() && self.local.contains(address);
        let masquerade = self.of_local.iter().filter(|_| is_local);
        let all = own.chain(wide).chain(masquerade);
        all.filter(|(first, last)| (*first..=*last).contains(&port)).min_by_key(|(first, last)| last - first).copied()
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn rule(kind: NatKind, addresses: &[(&str, &str)], ports: &[PortRange]) -> NatRule {
        let mut rule = NatRule::new(kind, "");
        addresses.iter().for_each(|(first, last)| rule.add_addresses(first.parse().unwrap(), last.parse().unwrap()));
        ports.iter().for_each(|(first, last)| rule.add_ports(*first, *last));
        rule
    }

    #[test]
    fn the_range_of_a_port_is_the_smallest_that_a_rule_has_for_its_address() {
        let rules = Rules {
            nat: vec![
                rule(NatKind::Snat, &[("192.0.2.1", "192.0.2.1")], &[(1024, 65535)]),
                rule(NatKind::Snat, &[("192.0.2.1", "192.0.2.1")], &[(2000, 2009)]),
                rule(NatKind::Snat, &[("192.0.2.0", "192.0.2.7")], &[(5000, 5999)]),
                rule(NatKind::Masquerade, &[], &[(3000, 3009)]),
                rule(NatKind::Dnat, &[("192.0.2.1", "192.0.2.1")], &[(2001, 2001)]),
            ],
            ..Rules::default()
        };
        let addresses = Addresses { local: ["198.51.100.1".parse().unwrap()].into(), ..Addresses::default() };
        let known = KnownNat::of(Some(&rules), Some(&addresses));
        let find = |address: &str, port| known.ports.find(address.parse().unwrap(), port);
        assert_eq!(find("192.0.2.1", 2001), Some((2000, 2009)));
        assert_eq!(find("192.0.2.1", 2010), Some((1024, 65535)));
        assert_eq!((find("192.0.2.2", 5001), find("192.0.2.2", 2001)), (Some((5000, 5999)), None));
        assert_eq!((find("198.51.100.1", 3000), find("198.51.100.2", 3000)), (Some((3000, 3009)), None));
    }

    #[test]
    fn what_is_not_known_completely_is_not_known() {
        let rules = Rules { nat: vec![rule(NatKind::Dnat, &[("10.0.0.7", "10.0.0.7")], &[])], ..Rules::default() };
        let addresses = Addresses { local: ["192.0.2.1".parse().unwrap()].into(), ..Addresses::default() };
        let known = KnownNat::of(Some(&rules), Some(&addresses));
        let (destinations, sources) = (known.destinations.unwrap(), known.sources.unwrap());
        assert!(destinations.contains("10.0.0.7".parse().unwrap()) && sources.contains("192.0.2.1".parse().unwrap()));
        assert!(destinations.contains("192.0.2.1".parse().unwrap()), "REDIRECT");
        let unread = Rules { unread: vec!["nft failed".to_owned()], ..rules.clone() };
        for (rules, addresses) in [(Some(&unread), Some(&addresses)), (Some(&rules), None), (None, Some(&addresses))] {
            let known = KnownNat::of(rules, addresses);
            assert!(known.destinations.is_none() && known.sources.is_none());
        }
    }
}
