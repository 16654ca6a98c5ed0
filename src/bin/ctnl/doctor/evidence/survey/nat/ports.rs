//! Ports in use by source NAT.
//!
//! A reply is told from others by NAT address, port, protocol and the address and port that it comes from. So the ports
//! of an address are used anew for each destination, and an entry uses one of them for its destination alone
//! (`nf_nat_used_tuple` in net/netfilter/nf_nat_core.c).

use std::cmp::Reverse;
use std::net::IpAddr;

use ctnl::group::FrequentItems;
use ctnl::model::Flow;

use super::known::{PortRange, PortRanges};

/// Counters for what has ports of its own. What has more than 1/2048 of the table is not missed: 500 entries of a
/// million, as many as the smallest range of the kernel has.
const COUNTERS: usize = 4_096;
/// Ports that are so few that a destination is counted apart, beside the others of this kind alone. Those of the
/// kernel for ports below 1024 are not among them: who has many of these has a share of the table.
const FEW_PORTS: u64 = 256;
/// Entries of a destination from which on its sources are counted.
const MANY: u64 = 64;
/// Counters of the inside sources.
const SOURCE_COUNTERS: usize = 4_096;
/// Counters for the addresses, of which a host has few.
const ADDRESS_COUNTERS: usize = 512;

/// The range that the kernel chooses a port from where the rule has none: it depends on the port that the inside host
/// has chosen (`nf_nat_l4proto_unique_tuple` in net/netfilter/nf_nat_core.c). That of the inside host is kept where it
/// is free, so a port below 600 may come of it, too.
pub fn kernel_range(port: u16) -> PortRange {
    match port {
        0..512 => (1, 511),
        512..1024 => (600, 1023),
        _ => (1024, 65535),
    }
}

/// What has a range of ports of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct PortKey {
    /// The source address after NAT.
    pub nat: IpAddr,
    /// The destination after NAT, from which replies come.
    pub dst: IpAddr,
    /// Its port.
    pub dport: u16,
    /// The protocol number.
    pub protocol: u8,
    /// The range that the port after NAT is of.
    pub range: PortRange,
}

impl PortKey {
    /// The key of an entry with source NAT; `None` without ports.
    #[inline]
    pub fn of(flow: &Flow, ranges: &PortRanges) -> Option<Self> {
        let reply = &flow.reply;
        let (dport, port) = reply.ports()?;
        let range = ranges.find(reply.dst, port).unwrap_or_else(|| kernel_range(port));
        Some(PortKey { nat: reply.dst, dst: reply.src, dport, protocol: reply.protocol.into(), range })
    }

    /// How many ports it has.
    pub fn capacity(&self) -> u64 {
        let (first, last) = self.range;
        u64::from(last.saturating_sub(first)) + 1
    }

    /// Whether a destination is to be watched also where it has a small share of the table.
    #[inline]
    fn has_few_ports(&self) -> bool {
        self.capacity() <= FEW_PORTS
    }
}

/// How many ports are in use.
#[derive(Debug, Clone)]
pub struct PortUse {
    /// By what has a range of its own.
    pub keys: FrequentItems<PortKey>,
    /// The same for addresses of which a rule uses few ports, so that they are not missed.
    pub few: FrequentItems<PortKey>,
    /// By inside source as well, without the first of each that has many ports: at least that many.
    pub sources: FrequentItems<(PortKey, IpAddr)>,
    /// Entries by NAT address and protocol.
    pub addresses: FrequentItems<(IpAddr, u8)>,
    /// The port ranges of the rules.
    pub ranges: PortRanges,
}

impl Default for PortUse {
    fn default() -> Self {
        PortUse::new(PortRanges::default())
    }
}

impl PortUse {
    /// No entries yet.
    pub fn new(ranges: PortRanges) -> Self {
        PortUse {
            keys: FrequentItems::new(COUNTERS),
            few: FrequentItems::new(COUNTERS),
            sources: FrequentItems::new(SOURCE_COUNTERS),
            addresses: FrequentItems::new(ADDRESS_COUNTERS),
            ranges,
        }
    }

    /// Counts an entry with source NAT.
    #[inline]
    pub fn add(&mut self, flow: &Flow) {
        let Some(key) = PortKey::of(flow, &self.ranges) else { return };
        self.addresses.add((key.nat, key.protocol));
        if key.has_few_ports() {
            self.few.add(key);
            self.sources.add((key, flow.orig.src));
        } else {
            self.keys.add(key);
            // Most destinations of a large table have a few entries: to count their sources would cost as much again.
            if self.keys.count(&key) >= MANY {
                self.sources.add((key, flow.orig.src));
            }
        }
    }

    /// What uses at least `share` of its ports, in hundredths: the fullest first, with the ports in use, which are at
    /// least that many.
    pub fn over(&self, share: u64) -> Vec<(PortKey, u64)> {
        let all = self.keys.top(COUNTERS).into_iter().chain(self.few.top(COUNTERS));
        let mut over: Vec<_> = all.filter(|(key, used)| used * 100 >= key.capacity() * share).collect();
        over.sort_by_key(|(key, used)| (Reverse(used * 10_000 / key.capacity()), Reverse(*used), *key));
        over
    }

    /// The most by which the number of ports of `key` may be too small.
    pub fn error(&self, key: &PortKey) -> u64 {
        if key.has_few_ports() { self.few.error() } else { self.keys.error() }
    }

    /// The inside sources with most ports of `key`, which are at least that many, and whether they are exact.
    pub fn sources_of(&self, key: &PortKey, count: usize) -> (Vec<(IpAddr, u64)>, bool) {
        let all = self.sources.top(SOURCE_COUNTERS).into_iter();
        let of_key = all.filter(|((of, _), _)| of == key).map(|((_, src), used)| (src, used)).take(count).collect();
        (of_key, key.has_few_ports() && self.sources.is_exact())
    }
}
