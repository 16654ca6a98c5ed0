//! NAT of the entries: ports in use by address and destination, and entries whose NAT no rule does any more.

mod address_set;
mod known;
mod ports;
mod stale;

pub use known::{KnownNat, PortRanges};
pub use ports::{PortKey, PortUse};
pub use stale::{Replies, Stale, StaleKey};

use super::entry::{SurveyedEntry, Tally};

/// What is counted of entries with NAT.
#[derive(Debug, Clone, Default)]
pub struct NatTally {
    /// Entries with source NAT.
    pub source_nat: u64,
    /// Entries with destination NAT.
    pub destination_nat: u64,
    /// Ports in use.
    pub ports: PortUse,
    /// Entries whose NAT is not that of the rules.
    pub stale: Stale,
}

impl NatTally {
    /// A tally that compares with the NAT that is `known`.
    pub fn new(known: KnownNat) -> Self {
        let KnownNat { destinations, sources, ports } = known;
        NatTally { ports: PortUse::new(ports), stale: Stale::new(destinations, sources), ..NatTally::default() }
    }
}

impl Tally for NatTally {
    #[inline]
    fn add(&mut self, entry: &SurveyedEntry<'_>) {
        use ctnl::model::Status;

        let status = entry.flow.status;
        if !status.intersects(Status::SrcNat.union(Status::DstNat)) {
            return;
        }
        if status.contains(Status::SrcNat) {
            self.source_nat += 1;
            self.ports.add(entry.flow);
        }
        self.destination_nat += u64::from(status.contains(Status::DstNat));
        self.stale.add(entry.flow);
    }
}
