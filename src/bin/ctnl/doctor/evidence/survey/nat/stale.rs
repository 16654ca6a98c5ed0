//! Entries whose NAT no rule does any more. NAT is chosen with the first packet of a flow and kept for the life of its
//! entry (`nf_nat_inet_fn` in net/netfilter/nf_nat_core.c), so a rule that is changed or removed holds for new flows
//! alone.

use std::net::IpAddr;

use ctnl::group::FrequentItems;
use ctnl::model::{Flow, Status};

use super::address_set::AddressSet;

/// Counters of stale targets, and of stale source addresses.
const COUNTERS: usize = 2_048;

/// What is known of the replies of an entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Replies {
    /// None was seen.
    None,
    /// By the counters, one packet in a hundred at most is a reply.
    Few,
    /// There are replies.
    Some,
}

impl Replies {
    #[inline]
    fn of(flow: &Flow) -> Self {
        if !flow.status.contains(Status::SeenReply) {
            return Replies::None;
        }
        let packets = (flow.counters_orig.map_or(0, |c| c.packets), flow.counters_reply.map_or(0, |c| c.packets));
        if packets.0 >= 100 && packets.0 / 100 >= packets.1 { Replies::Few } else { Replies::Some }
    }
}

/// Entries that share a stale address.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct StaleKey {
    /// The address that NAT leads to.
    pub address: IpAddr,
    /// The port of a target.
    pub port: Option<u16>,
    /// The protocol number.
    pub protocol: u8,
    /// Their replies.
    pub replies: Replies,
    /// More than the first two packets were counted; `None` without accounting.
    pub is_in_use: Option<bool>,
}

/// Entries whose NAT is not that of the rules.
#[derive(Debug, Clone)]
pub struct Stale {
    /// By target, those whose destination NAT leads to an address that no rule has.
    pub targets: FrequentItems<StaleKey>,
    /// By address, those whose source NAT is to an address that neither a rule nor the host has.
    pub sources: FrequentItems<StaleKey>,
    /// What rules lead to; `None` where it is not known completely: nothing is counted then.
    destinations_now: Option<AddressSet>,
    sources_now: Option<AddressSet>,
}

impl Default for Stale {
    fn default() -> Self {
        Stale::new(None, None)
    }
}

impl Stale {
    /// No entries yet.
    pub fn new(destinations_now: Option<AddressSet>, sources_now: Option<AddressSet>) -> Self {
        let (targets, sources) = (FrequentItems::new(COUNTERS), FrequentItems::new(COUNTERS));
        Stale { targets, sources, destinations_now, sources_now }
    }

    /// Whether the NAT of entries was compared with that of the rules.
    pub fn is_compared(&self) -> bool {
        self.destinations_now.is_some() && self.sources_now.is_some()
    }

    /// Counts an entry with NAT. What a helper expected has the NAT that the helper chose.
    #[inline]
    pub fn add(&mut self, flow: &Flow) {
        if flow.status.contains(Status::Expected) {
            return;
        }
        let (orig, reply) = (&flow.orig, &flow.reply);
        let is_unknown = |known: Option<&AddressSet>, address| known.is_some_and(|known| !known.contains(address));
        if flow.status.contains(Status::DstNat)
            && reply.src != orig.dst
            && is_unknown(self.destinations_now.as_ref(), reply.src)
        {
            self.targets.add(key(flow, reply.src, reply.sport()));
        }
        if flow.status.contains(Status::SrcNat)
            && reply.dst != orig.src
            && is_unknown(self.sources_now.as_ref(), reply.dst)
        {
            self.sources.add(key(flow, reply.dst, None));
        }
    }
}

fn key(flow: &Flow, address: IpAddr, port: Option<u16>) -> StaleKey {
    StaleKey {
        address,
        port,
        protocol: flow.orig.protocol.into(),
        replies: Replies::of(flow),
        is_in_use: flow.counters_orig.map(|counters| counters.packets > 2),
    }
}
