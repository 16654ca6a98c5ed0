//! Who fills the table: entries by source, by destination and port, by zone.

use std::fmt;
use std::hash::{Hash, Hasher};
use std::net::IpAddr;

use ctnl::group::FrequentItems;
use ctnl::model::{Protocol, Tuple, protocol_name};

use super::entry::{SurveyedEntry, Tally};

/// Counters for the sources, and for the destinations: what has more than a thousandth of the table is not missed. They fit
/// 2048 places of 32 bytes, so that both tables stay in the processor's cache.
const COUNTERS: usize = 1_750;

/// Counters for zones, of which a host has few.
const ZONE_COUNTERS: usize = 1_024;

/// Where a flow goes to: an address, a protocol, and the port where it has one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Destination {
    /// The address.
    pub address: IpAddr,
    /// The protocol number.
    pub protocol: u8,
    /// The port.
    pub port: Option<u16>,
}

/// Hashes two numbers; the derived implementation takes five steps.
impl Hash for Destination {
    #[inline]
    fn hash<H: Hasher>(&self, state: &mut H) {
        let address = match self.address {
            IpAddr::V4(address) => u128::from(address.to_bits()),
            IpAddr::V6(address) => address.to_bits(),
        };
        state.write_u128(address);
        let port = self.port.map_or(0, |port| 1 << 16 | u64::from(port));
        state.write_u64(u64::from(self.protocol) << 32 | u64::from(self.address.is_ipv6()) << 24 | port);
    }
}

impl Destination {
    /// The destination of the first packet of a flow, before NAT.
    #[inline]
    pub fn of(orig: &Tuple) -> Self {
        Destination { address: orig.dst, protocol: orig.protocol.into(), port: orig.dport() }
    }

    /// The filter that matches it, as in `dst 192.0.2.1 and proto tcp and dport 443`.
    pub fn filter(&self) -> String {
        let port = self.port.map(|port| format!(" and dport {port}")).unwrap_or_default();
        format!("dst {} and proto {}{port}", self.address, self.protocol_name())
    }

    /// The name of its protocol, or the number where conntrack(8) has no name.
    pub fn protocol_name(&self) -> String {
        protocol_name(Protocol::from(self.protocol)).map_or_else(|| self.protocol.to_string(), str::to_owned)
    }
}

/// As in `192.0.2.1:443/tcp`.
impl fmt::Display for Destination {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.address, self.port) {
            (IpAddr::V6(address), Some(port)) => write!(f, "[{address}]:{port}")?,
            (address, Some(port)) => write!(f, "{address}:{port}")?,
            (address, None) => write!(f, "{address}")?,
        }
        write!(f, "/{}", self.protocol_name())
    }
}

/// The sources, destinations and zones with most entries.
#[derive(Debug, Clone)]
pub struct Endpoints {
    /// By the source of the first packet.
    pub sources: FrequentItems<IpAddr>,
    /// By the destination of the first packet.
    pub destinations: FrequentItems<Destination>,
    /// By the zone of the original direction, without the default zone.
    pub zones: FrequentItems<u16>,
}

impl Default for Endpoints {
    fn default() -> Self {
        Endpoints {
            sources: FrequentItems::new(COUNTERS),
            destinations: FrequentItems::new(COUNTERS),
            zones: FrequentItems::new(ZONE_COUNTERS),
        }
    }
}

impl Tally for Endpoints {
    #[inline]
    fn add(&mut self, entry: &SurveyedEntry<'_>) {
        let orig = &entry.flow.orig;
        self.sources.add(orig.src);
        self.destinations.add(Destination::of(orig));
        let zone = entry.flow.zone().orig();
        if zone != 0 {
            self.zones.add(zone);
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use ctnl::age::Idle;
    use ctnl::model::{Flow, L4, Undecided};

    use super::*;

    fn tuple(src: &str, dst: &str, protocol: Protocol, l4: L4) -> Tuple {
        Tuple { src: src.parse().unwrap(), dst: dst.parse().unwrap(), protocol, l4, ..Tuple::UNSPECIFIED }
    }

    #[test]
    fn entries_are_counted_by_the_ends_of_the_first_packet_and_by_zone() {
        let https = L4::Ports { src: 40_000, dst: 443 };
        let mut endpoints = Endpoints::default();
        for (orig, zone) in [
            (tuple("10.0.0.1", "192.0.2.1", Protocol::Tcp, https), None),
            (tuple("10.0.0.1", "192.0.2.1", Protocol::Tcp, https), Some(7)),
            (tuple("10.0.0.2", "192.0.2.1", Protocol::Udp, https), Some(7)),
        ] {
            // NAT makes the reply another one.
            let flow = Flow { zone_both: zone, ..Flow::new(orig, tuple("10.9.9.9", "10.8.8.8", Protocol::Tcp, https)) };
            endpoints.add(&SurveyedEntry { flow: &flow, idle: Idle::Unknown(Undecided::NotSent) });
        }
        assert_eq!(endpoints.sources.top(1), [("10.0.0.1".parse().unwrap(), 2)]);
        let destinations: Vec<_> = endpoints.destinations.top(9).iter().map(|(to, n)| (to.to_string(), *n)).collect();
        assert_eq!(destinations, [("192.0.2.1:443/tcp".to_owned(), 2), ("192.0.2.1:443/udp".to_owned(), 1)]);
        assert_eq!(endpoints.zones.top(9), [(7, 2)]);
    }

    #[test]
    fn a_destination_without_a_port_has_none_and_the_filter_of_each_is_a_filter_of_ctnl() {
        let of = |orig| Destination::of(&orig);
        let id = L4::Icmp { kind: 8, code: 0, id: 1 };
        let https = L4::Ports { src: 40_000, dst: 443 };
        let destinations = [
            (of(tuple("10.0.0.1", "10.0.0.2", Protocol::Icmp, id)), "10.0.0.2/icmp", "dst 10.0.0.2 and proto icmp"),
            (
                of(tuple("2001:db8::1", "2001:db8::2", Protocol::Tcp, https)),
                "[2001:db8::2]:443/tcp",
                "dst 2001:db8::2 and proto tcp and dport 443",
            ),
            (
                of(tuple("10.0.0.1", "10.0.0.2", Protocol::Other(99), L4::None)),
                "10.0.0.2/99",
                "dst 10.0.0.2 and proto 99",
            ),
        ];
        let (services, no_file) = (ctnl::filter::ServiceNames::default(), std::io::ErrorKind::NotFound);
        let context =
            ctnl::filter::Context { services: &services, label: &|_| None, read_file: &|_| Err(no_file.into()) };
        for (destination, text, filter) in destinations {
            assert_eq!((destination.to_string(), destination.filter()), (text.to_owned(), filter.to_owned()));
            assert!(ctnl::filter::Filter::parse(filter, &context).is_ok(), "{filter}");
        }
    }
}
