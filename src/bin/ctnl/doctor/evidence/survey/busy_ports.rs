//! Entries by protocol and destination port, of all destinations together.

use std::collections::BTreeMap;

use ctnl::group::FrequentItems;
use ctnl::model::{Protocol, Status};

use super::entry::{SurveyedEntry, Tally};

/// Counters: what has more than 1/1024 of the table is not missed.
const COUNTERS: usize = 2_048;

/// A protocol and a destination port.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ServicePort {
    /// TCP or UDP.
    pub protocol: Protocol,
    /// The destination port of the first packet.
    pub port: u16,
}

/// The entries of a port.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct PortEntries {
    /// All of them.
    pub all: u64,
    /// Those of IPv6.
    pub v6: u64,
    /// Those with NAT.
    pub nat: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
struct Key {
    is_udp: bool,
    port: u16,
    is_v6: bool,
    has_nat: bool,
}

/// The ports with most entries.
#[derive(Debug, Clone)]
pub struct BusyPorts(FrequentItems<Key>);

impl Default for BusyPorts {
    fn default() -> Self {
        BusyPorts(FrequentItems::new(COUNTERS))
    }
}

impl Tally for BusyPorts {
    #[inline]
    fn add(&mut self, entry: &SurveyedEntry<'_>) {
        let orig = &entry.flow.orig;
        let (Protocol::Tcp | Protocol::Udp, Some(port)) = (orig.protocol, orig.dport()) else { return };
        self.0.add(Key {
            is_udp: orig.protocol == Protocol::Udp,
            port,
            is_v6: orig.dst.is_ipv6(),
            has_nat: entry.flow.status.intersects(Status::SrcNat.union(Status::DstNat)),
        });
    }
}

impl BusyPorts {
    /// The port with most entries; their numbers are at least those.
    pub fn first(&self) -> Option<(ServicePort, PortEntries)> {
        let mut ports: BTreeMap<(bool, u16), PortEntries> = BTreeMap::new();
        for (key, entries) in self.0.top(COUNTERS) {
            let sum = ports.entry((key.is_udp, key.port)).or_default();
            sum.all += entries;
            sum.v6 += if key.is_v6 { entries } else { 0 };
            sum.nat += if key.has_nat { entries } else { 0 };
        }
        let ((is_udp, port), entries) = ports.into_iter().max_by_key(|(_, entries)| entries.all)?;
        let protocol = if is_udp { Protocol::Udp } else { Protocol::Tcp };
        Some((ServicePort { protocol, port }, entries))
    }
}
