//! A made-up table like that of a busy gateway: which entries there are is a
//! pure function of seed and number, so that whoever knows both knows the truth
//! about a table filled from them.
//!
//! It uses nothing but the library: the tests and the benchmark include this
//! folder as it stands.

mod addresses;
mod draw;
mod protocols;
mod timeouts;

use ctnl::model::{Flow, HelperName, ProtoInfo, Protocol, Status};

use addresses::Place;
use draw::Sampler;
use protocols::FlowTemplate;
pub use timeouts::Timeouts;

/// Marks as routing and shaping rules set them.
const MARKS: [(u32, u32); 5] = [(60, 0x1), (40, 0x2), (30, 0x10), (15, 0x1_0000), (5, 0xdead_beef)];

/// Of a thousand entries, this many repeat the tuple of the one before, in a zone.
const TWINS: u32 = 20;

/// Of a thousand entries, this many are in a zone with one direction only.
const ONE_WAY_ZONES: u32 = 10;

/// How many zones there are, from 1 on; as many again, from 101 on, hold for one
/// direction.
const ZONES: u32 = 5;

/// Which entries there are.
#[derive(Debug, Clone)]
pub struct Population {
    pub seed: u64,
    pub count: u64,
    /// What idle times are counted down from.
    pub timeouts: Timeouts,
    /// Seconds that every entry has left at least.
    pub shortest: u32,
    /// Whether the kernel has the FTP helper.
    pub ftp_helper: bool,
    /// Whether the kernel keeps the ports of UDP-lite (Linux 7.3 does not); where it
    /// does not, there is UDP in its place.
    pub udp_lite: bool,
}

/// Whether this kernel has UDP-lite.
pub fn has_udp_lite() -> bool {
    std::path::Path::new("/proc/thread-self/net/udplite").exists()
}

impl Population {
    /// A population as a present kernel would have it.
    pub fn new(seed: u64, count: u64) -> Self {
        Population { seed, count, timeouts: Timeouts::default(), shortest: 1, ftp_helper: false, udp_lite: true }
    }

    /// Every entry, in order; nothing is kept in memory.
    pub fn flows(&self) -> impl Iterator<Item = Flow> {
        (0..self.count).map(|index| self.flow(index))
    }

    /// Entry number `index`.
    pub fn flow(&self, index: u64) -> Flow {
        let mut draw = Sampler::new(self.seed, index);
        let twin = index > 0 && draw.per_mille(TWINS);
        let mut flow = self.sketch(if twin { index - 1 } else { index });
        let zone = u16::try_from(draw.below(ZONES) + 1).unwrap_or(1);
        if twin {
            flow.zone_both = Some(zone);
        } else if draw.per_mille(ONE_WAY_ZONES) {
            let side = if draw.per_mille(500) { &mut flow.orig } else { &mut flow.reply };
            side.zone = Some(100 + zone);
        }
        flow.mark = Some(draw.weighted(0, &MARKS));
        flow.timeout = flow.timeout.map(|timeout| timeout.max(self.shortest));
        flow
    }

    fn sketch(&self, index: u64) -> Flow {
        // A row of its own: a twin must come out as the entry before it did.
        let mut draw = Sampler::new(!self.seed, index);
        let place = Place::new(self.seed, index, self.count);
        let mut flow = FlowTemplate { draw: &mut draw, place, timeouts: &self.timeouts }.flow();
        if self.ftp_helper && is_ftp(&flow) {
            flow.helper = Some(HelperName::new(b"ftp"));
            flow.status |= Status::Helper;
        }
        if !self.udp_lite && flow.orig.protocol == Protocol::UdpLite {
            (flow.orig.protocol, flow.reply.protocol) = (Protocol::Udp, Protocol::Udp);
        }
        flow
    }
}

fn is_ftp(flow: &Flow) -> bool {
    matches!(flow.protoinfo, ProtoInfo::Tcp(_)) && flow.orig.dport() == Some(21)
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]
mod tests {
    use std::collections::HashSet;

    use ctnl::model::{Nat, TcpState};

    use super::*;

    #[test]
    fn the_same_seed_gives_the_same_entries_and_another_seed_others() {
        let (one, other) = (Population::new(7, 500), Population::new(8, 500));
        assert!(one.flows().eq(Population::new(7, 500).flows()));
        assert!(one.flows().zip(other.flows()).filter(|(a, b)| a.orig == b.orig).count() < 5);
    }

    #[test]
    fn no_two_entries_share_a_tuple_in_a_zone() {
        let mut seen = HashSet::new();
        for flow in Population::new(3, 200_000).flows() {
            for (tuple, zone) in [(flow.orig, flow.zone().orig()), (flow.reply, flow.zone().reply())] {
                let key = (tuple.src, tuple.dst, u8::from(tuple.protocol), tuple.l4, zone);
                assert!(seen.insert(key), "twice: {flow:?}");
            }
        }
    }

    #[test]
    fn every_kind_of_entry_is_there() {
        let flows: Vec<Flow> = Population { ftp_helper: true, ..Population::new(1, 20_000) }.flows().collect();
        let some = |what: &str, test: &dyn Fn(&Flow) -> bool| assert!(flows.iter().any(test), "no {what}");
        for state in TcpState::all() {
            some("TCP state", &|flow| matches!(flow.protoinfo, ProtoInfo::Tcp(info) if info.state == state));
        }
        for protocol in [1, 6, 17, 47, 50, 58, 132, 136, 253] {
            some("protocol", &|flow| u8::from(flow.orig.protocol) == protocol);
        }
        some("IPv6", &|flow| flow.family == ctnl::model::Family::V6);
        some("source NAT of a port", &|flow| Nat::of(flow).sport);
        some("destination NAT", &|flow| Nat::of(flow).dst && !Nat::of(flow).src);
        some("NAT of both", &|flow| Nat::of(flow).dst && Nat::of(flow).src);
        some("zone", &|flow| flow.zone_both.is_some());
        some("zone of the original direction", &|flow| flow.orig.zone.is_some());
        some("zone of the reply direction", &|flow| flow.reply.zone.is_some());
        some("mark", &|flow| flow.mark != Some(0));
        some("helper", &|flow| flow.helper.is_some());
        some("long idle connection", &|flow| flow.timeout < Some(1000) && flow.timeout > Some(700));
    }

    #[test]
    fn idle_times_reach_from_seconds_to_days() {
        let established =
            Population::new(1, 20_000).flows().filter(|flow| flow.timeout > Some(300)).collect::<Vec<_>>();
        let idle = |flow: &Flow| 432_000 - flow.timeout.unwrap().min(432_000);
        let older_than = |limit: u32| established.iter().filter(|flow| idle(flow) >= limit).count();
        let share = older_than(43_200) as f64 / established.len() as f64;
        assert!((0.2..0.4).contains(&share), "{share} idle for 12 hours");
        assert!(older_than(400_000) > 0 && established.iter().any(|flow| idle(flow) < 10));
    }
}
