//! Where entries of which something is missing come from and go to: that tells a flood from a scan.

use std::net::IpAddr;

use super::HALF;
use crate::doctor::evidence::survey::{Destination, Unanswered};

/// In percent of the entries of a source: nearly all.
const NEARLY_ALL: u64 = 80;

/// Where most of them come from or go to.
pub enum Pattern {
    /// One source, one address, and there one port where the protocol has them.
    OneTarget(IpAddr, Destination),
    /// One source, one address, many ports.
    ManyPorts(IpAddr, IpAddr),
    /// One source, many addresses.
    ManyAddresses(IpAddr),
    /// Many sources, one destination.
    ManySources(Destination),
    /// Neither.
    Scattered,
}

impl Pattern {
    /// That of `entries`.
    pub fn of(entries: &Unanswered) -> Self {
        let count = entries.entries();
        let is_part = |part: u64, share: u64, whole: u64| part.saturating_mul(100) >= whole.saturating_mul(share);
        let source = entries.sources.top(1).into_iter().next();
        let destination = entries.destinations.top(1).into_iter().next();
        if let Some((source, of_source)) = source.filter(|(_, of_source)| is_part(*of_source, HALF, count)) {
            let pair = entries.largest_pair();
            let to_one = pair.filter(|((src, _), n)| *src == source && is_part(*n, NEARLY_ALL, of_source));
            return match (to_one, destination) {
                (None, _) => Pattern::ManyAddresses(source),
                (Some(((_, address), of_pair)), Some((destination, of_destination)))
                    if destination.address == address && is_part(of_destination, NEARLY_ALL, of_pair) =>
                {
                    Pattern::OneTarget(source, destination)
                }
                (Some(((_, address), _)), _) => Pattern::ManyPorts(source, address),
            };
        }
        match destination.filter(|(_, of_destination)| is_part(*of_destination, HALF, count)) {
            Some((destination, _)) => Pattern::ManySources(destination),
            None => Pattern::Scattered,
        }
    }

    /// Its name in JSON.
    pub fn name(&self) -> &'static str {
        match self {
            Pattern::OneTarget(..) => "one-source-one-target",
            Pattern::ManyPorts(..) => "one-source-many-ports",
            Pattern::ManyAddresses(_) => "one-source-many-addresses",
            Pattern::ManySources(_) => "many-sources-one-target",
            Pattern::Scattered => "scattered",
        }
    }

    /// The one source.
    pub fn source(&self) -> Option<IpAddr> {
        match self {
            Pattern::OneTarget(source, _) | Pattern::ManyPorts(source, _) | Pattern::ManyAddresses(source) => {
                Some(*source)
            }
            Pattern::ManySources(_) | Pattern::Scattered => None,
        }
    }
}
