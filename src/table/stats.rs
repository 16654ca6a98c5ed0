//! The counters of connection tracking, by processor.

use std::collections::BTreeMap;

use crate::netlink::{Connection, Error};
use crate::wire::uapi::{cta_stats, ipctnl_msg_ct, nfnl_subsys};
use crate::wire::{DecodeError, Family, Header, Message};

const OPERATION: &str = "read the statistics of connection tracking";

/// A counter that the kernel keeps (`struct ip_conntrack_stat` in include/linux/netfilter/nf_conntrack_common.h).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Counter {
    attribute: u16,
    /// Its name, as `conntrack -S` and `/proc/net/stat/nf_conntrack` have it.
    pub name: &'static str,
    /// What it counts, in a sentence without its full stop.
    pub help: &'static str,
}

/// The counters that current kernels report, in the order of `conntrack -S`.
pub const COUNTERS: [Counter; 10] = [
    Counter {
        attribute: cta_stats::FOUND,
        name: "found",
        help: "tuples that NAT tried and that were in use (nf_conntrack_tuple_taken); not the lookups of packets",
    },
    Counter {
        attribute: cta_stats::INVALID,
        name: "invalid",
        help: "packets in no valid state of their entry, or for which no entry could be made: INVALID in rules",
    },
    Counter {
        attribute: cta_stats::INSERT,
        name: "insert",
        help: "entries made over netlink or by BPF (nf_conntrack_hash_check_insert), not by packets",
    },
    Counter {
        attribute: cta_stats::INSERT_FAILED,
        name: "insert_failed",
        help: "packets dropped because their new entry could not be inserted (__nf_conntrack_confirm): another packet \
               of the same tuple came first, as with parallel DNS queries, or its hash chain is too long",
    },
    Counter {
        attribute: cta_stats::DROP,
        name: "drop",
        help: "packets dropped: the table is full, no memory for an entry, a clash that could not be resolved",
    },
    Counter {
        attribute: cta_stats::EARLY_DROP,
        name: "early_drop",
        help: "entries that were not ASSURED and were evicted for a new one, because the table was full (early_drop)",
    },
    Counter {
        attribute: cta_stats::ERROR,
        name: "error",
        help: "ICMP errors that are malformed or belong to no entry",
    },
    Counter {
        attribute: cta_stats::SEARCH_RESTART,
        name: "search_restart",
        help: "lookups that started again, because an entry moved to another hash chain or the table was resized",
    },
    Counter {
        attribute: cta_stats::CLASH_RESOLVE,
        name: "clash_resolve",
        help: "packets that were kept although another one with the same tuple came first (nf_ct_resolve_clash)",
    },
    Counter {
        attribute: cta_stats::CHAIN_TOOLONG,
        name: "chaintoolong",
        help: "entries that were not inserted because their hash chain was too long: more buckets are needed; since \
               Linux 5.15",
    },
];

/// The counters of one processor, or of several. Each counts since the namespace was made.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Counters(BTreeMap<u16, u64>);

/// The counters of one processor.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct CpuStats {
    /// The number of the processor.
    pub cpu: u16,
    /// Its counters. The kernel's have 32 bits, and continue from 0.
    pub counters: Counters,
}

impl Counters {
    /// The value of `counter`; `None` where the kernel does not report it.
    #[must_use]
    pub fn get(&self, counter: &Counter) -> Option<u64> {
        self.0.get(&counter.attribute).copied()
    }

    /// The counters that the kernel reports, with their names: those of [`COUNTERS`], then
    /// `attribute-N` for a number without a name.
    pub fn named(&self) -> impl Iterator<Item = (String, u64)> {
        let known = COUNTERS.iter().filter_map(|counter| Some((counter.name.to_owned(), self.get(counter)?)));
        let is_unknown = |attribute: &u16| COUNTERS.iter().all(|counter| counter.attribute != *attribute);
        let unknown = self.0.iter().filter(move |(attribute, _)| is_unknown(attribute));
        known.chain(unknown.map(|(attribute, value)| (format!("attribute-{attribute}"), *value)))
    }

    /// The sum over processors.
    #[must_use]
    pub fn total(cpus: &[CpuStats]) -> Self {
        let mut total = Counters::default();
        for (attribute, value) in cpus.iter().flat_map(|cpu| &cpu.counters.0) {
            let sum = total.0.entry(*attribute).or_default();
            *sum = sum.saturating_add(*value);
        }
        total
    }
}

impl CpuStats {
    /// What was counted since `earlier`, by the same processor. The kernel's counters have 32 bits: one
    /// that is smaller than before has continued from 0.
    #[must_use]
    pub fn since(&self, earlier: &CpuStats) -> Self {
        const RANGE: u64 = 1 << u32::BITS;
        let change = |(attribute, value): (&u16, &u64)| {
            let before = earlier.counters.0.get(attribute)?;
            Some((*attribute, (value + RANGE).saturating_sub(*before) % RANGE))
        };
        CpuStats { cpu: self.cpu, counters: Counters(self.counters.0.iter().filter_map(change).collect()) }
    }
}

/// Reads the counters of the connection's namespace, of each processor that the machine may have.
///
/// # Errors
/// What the kernel refuses: `EPERM` without CAP_NET_ADMIN, `EINVAL` without nf_conntrack_netlink.
#[doc(alias = "IPCTNL_MSG_CT_GET_STATS_CPU")]
pub fn stats(connection: &mut Connection) -> Result<Vec<CpuStats>, Error> {
    let header = Header {
        subsystem: nfnl_subsys::CTNETLINK,
        command: ipctnl_msg_ct::GET_STATS_CPU,
        flags: 0,
        family: Family::UNSPEC,
        sequence: 0,
    };
    let mut cpus = Vec::new();
    let mut dump = connection.dump(OPERATION, header, |_| {})?;
    while dump.next_datagram(|message| {
        cpus.push(decode(message)?);
        Ok(())
    })? {}
    Ok(cpus)
}

/// One message of the dump (`ctnetlink_ct_stat_cpu_fill_info` in net/netfilter/nf_conntrack_netlink.c).
fn decode(message: &Message<'_>) -> Result<CpuStats, DecodeError> {
    let mut stats = CpuStats { cpu: message.resource()?, ..CpuStats::default() };
    for attribute in message.attributes() {
        let attribute = attribute?;
        if let Ok(value) = attribute.be32() {
            stats.counters.0.insert(attribute.kind, value.into());
        }
    }
    Ok(stats)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cpu(cpu: u16, counters: &[(u16, u64)]) -> CpuStats {
        CpuStats { cpu, counters: Counters(counters.iter().copied().collect()) }
    }

    #[test]
    fn a_counter_that_the_kernel_does_not_report_is_not_zero() {
        let old = cpu(0, &[(cta_stats::DROP, 7)]);
        let values: Vec<_> =
            COUNTERS.iter().filter_map(|counter| Some((counter.name, old.counters.get(counter)?))).collect();
        assert_eq!(values, [("drop", 7)]);
    }

    #[test]
    fn a_counter_without_a_name_is_carried() {
        let new = cpu(0, &[(77, 5), (cta_stats::FOUND, 1)]);
        let named: Vec<_> = new.counters.named().collect();
        assert_eq!(named, [("found".to_owned(), 1), ("attribute-77".to_owned(), 5)]);
    }

    #[test]
    fn the_total_is_the_sum_over_processors_and_exceeds_32_bits() {
        let cpus = [cpu(0, &[(cta_stats::DROP, u32::MAX.into())]), cpu(1, &[(cta_stats::DROP, 2)])];
        assert_eq!(Counters::total(&cpus), Counters([(cta_stats::DROP, u64::from(u32::MAX) + 2)].into()));
    }

    #[test]
    fn a_counter_that_wrapped_around_has_counted_on() {
        let before = cpu(3, &[(cta_stats::DROP, u64::from(u32::MAX) - 1), (cta_stats::FOUND, 5)]);
        let after = cpu(3, &[(cta_stats::DROP, 3), (cta_stats::FOUND, 5), (cta_stats::ERROR, 9)]);
        assert_eq!(after.since(&before), cpu(3, &[(cta_stats::DROP, 5), (cta_stats::FOUND, 0)]));
    }
}
