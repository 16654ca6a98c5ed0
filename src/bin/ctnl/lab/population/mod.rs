//! A synthetic table like that of a busy gateway. Its entries are a pure function of
//! seed and number, so a test that knows both knows what the table must contain.
//!
//! It depends on the library only: the tests include this folder as a module.

mod addresses;
mod protocols;
mod sampler;

use ctnl::model::{Flow, HelperName, ProtoInfo, Protocol, Status, Timeouts};

use addresses::EntryAddresses;
use protocols::FlowTemplate;
use sampler::Sampler;

/// Marks with their probability in 1000; the rest is 0.
const MARKS: [(u32, u32); 5] = [(60, 0x1), (40, 0x2), (30, 0x10), (15, 0x1_0000), (5, 0xdead_beef)];

/// Of 1000 entries, this many have the tuple of the previous entry in another zone.
const SAME_TUPLE_PER_MILLE: u32 = 20;

/// Of 1000 entries, this many have a zone for one direction only.
const ONE_WAY_ZONES: u32 = 10;

/// Number of zones, from 1 on; zones of one direction are numbered from 101 on.
const ZONES: u32 = 5;

/// The parameters of a population.
#[derive(Debug, Clone)]
pub struct Population {
    pub seed: u64,
    pub count: u64,
    /// The full timeouts, from which the remaining ones are counted down.
    pub timeouts: Timeouts,
    /// Lower bound of every entry's timeout, in seconds.
    pub shortest: u32,
    /// Whether the kernel has the FTP helper loaded.
    pub ftp_helper: bool,
    /// Whether the kernel tracks UDP-Lite (Linux 7.3 does not); UDP takes its place otherwise.
    pub udp_lite: bool,
}

/// Whether this kernel has UDP-Lite.
pub fn has_udp_lite() -> bool {
    std::path::Path::new("/proc/thread-self/net/udplite").exists()
}

impl Population {
    /// `count` entries with the default timeouts of a current kernel.
    pub fn new(seed: u64, count: u64) -> Self {
        Population {
            seed,
            count,
            timeouts: Timeouts::kernel_defaults(),
            shortest: 1,
            ftp_helper: false,
            udp_lite: true,
        }
    }

    /// Every entry in order, generated one by one.
    pub fn flows(&self) -> impl Iterator<Item = Flow> {
        (0..self.count).map(|index| self.flow(index))
    }

    /// Entry number `index`.
    pub fn flow(&self, index: u64) -> Flow {
        let mut sampler = Sampler::new(self.seed, index);
        let repeats_tuple = index > 0 && sampler.per_mille(SAME_TUPLE_PER_MILLE);
        let mut flow = self.template(if repeats_tuple { index - 1 } else { index });
        let zone = u16::try_from(sampler.below(ZONES) + 1).unwrap_or(1);
        if repeats_tuple {
            flow.zone_both = Some(zone);
        } else if sampler.per_mille(ONE_WAY_ZONES) {
            let side = if sampler.per_mille(500) { &mut flow.orig } else { &mut flow.reply };
            side.zone = Some(100 + zone);
        }
        flow.mark = Some(sampler.weighted(0, &MARKS));
        flow.timeout = flow.timeout.map(|timeout| timeout.max(self.shortest));
        flow
    }

    fn template(&self, index: u64) -> Flow {
        // Seeded by the index alone: an entry with the tuple of the previous one has to repeat it exactly.
        let mut sampler = Sampler::new(!self.seed, index);
        let addresses = EntryAddresses::new(self.seed, index, self.count);
        let mut flow = FlowTemplate { sampler: &mut sampler, addresses, timeouts: &self.timeouts }.flow();
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
