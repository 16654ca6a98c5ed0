//! The hash table: how long its chains are, and the memory of the table.

use ctnl::units::Bytes;
use serde_json::Number;

use crate::doctor::check::{Check, Outcome};
use crate::doctor::evidence::Evidence;
use crate::doctor::finding::{Finding, Severity};
use crate::host::table_memory::TableMemory;

pub const CHECK: Check = Check {
    name: "buckets",
    about: "buckets of the hash table against its maximum, and the memory of both",
    explanation: "\
Looks at nf_conntrack_buckets, nf_conntrack_max, nf_conntrack_count, and the memory of an entry in /proc/slabinfo.

Each entry is in two chains of the hash table, one for each direction. With as many buckets as entries a chain has two
on average; each packet of a known connection compares half a chain, each packet of a new one a whole chain. Old
articles raise the maximum alone; then chains grow, and CPU time with them.

warning: more than 4 entries for each bucket when the table is full. Since Linux 5.15 the kernel refuses a new
connection whose chain has 50 to 79 entries (a random limit) and counts chain_toolong: that begins at about 12 entries
for each bucket, although the table is not full. critical: it is so now.

warning: a full table would take more than half of the memory. The memory of entries is taken when they are created, that
of buckets at once, 8 bytes each.

note: the hash table takes memory that no table of this maximum needs.

`ctnl tune set --buckets N` resizes the hash table at once. All packets wait for some milliseconds meanwhile, and a dump
that runs at that time is repeated or incomplete. All network namespaces share the hash table.",
    run,
};

/// More entries than this for each bucket make chains long.
const MOST_PER_BUCKET: u64 = 4;
/// From here on chains of 50 are likely: two tuples of an entry, so 24 in a chain on average.
const REFUSED_PER_BUCKET: u64 = 12;
/// Fewer buckets than this in a table of that maximum are no waste.
const WASTED_BUCKETS: u64 = 4;
const WASTED_BYTES: u64 = 8 << 20;

/// The sizes that are judged.
#[derive(Debug, Clone, Copy)]
struct Sizes {
    buckets: u64,
    /// 0 is no limit.
    max: u64,
    entries: u64,
}

impl Sizes {
    fn read(evidence: &Evidence) -> Result<Self, String> {
        let sysctls = evidence.sysctls.as_ref().map_err(Clone::clone)?;
        let number = |name: &str| sysctls.number(name).ok_or_else(|| format!("{name} cannot be read"));
        let buckets = number("nf_conntrack_buckets")?.max(1);
        // There is no count below another root.
        let entries = number("nf_conntrack_count").unwrap_or(0);
        Ok(Sizes { buckets, max: number("nf_conntrack_max")?, entries })
    }

    /// Entries of a full table.
    fn full(self) -> u64 {
        if self.max == 0 { self.entries } else { self.max }
    }

    /// The expected length of a chain of a table with so many entries.
    fn chain(self, entries: u64) -> f64 {
        2.0 * entries as f64 / self.buckets as f64
    }

    fn exceeds(self, entries: u64, per_bucket: u64) -> bool {
        entries > self.buckets.saturating_mul(per_bucket)
    }
}

fn run(evidence: &Evidence) -> Outcome {
    Outcome::of(|| {
        let sizes = Sizes::read(evidence)?;
        let memory = &evidence.memory;
        let findings = [long_chains(sizes, memory), too_large(sizes, memory), wasted(sizes, memory)];
        Ok(findings.into_iter().flatten().map(|finding| with_figures(finding, sizes, memory)).collect())
    })
}

fn with_figures(finding: Finding, sizes: Sizes, memory: &TableMemory) -> Finding {
    let tenth = |length: f64| Number::from_f64((length * 10.0).round() / 10.0);
    finding
        .figure("buckets", sizes.buckets)
        .figure("max", sizes.max)
        .figure("entries", sizes.entries)
        .figure("chain_now", tenth(sizes.chain(sizes.entries)))
        .figure("chain_full", tenth(sizes.chain(sizes.full())))
        .figure("bytes_of_buckets", memory.bytes_of_buckets(sizes.buckets))
        .figure("bytes_of_full_table", memory.bytes_of_table(sizes.full(), sizes.buckets))
        .figure("bytes_of_entry", memory.bytes_per_entry())
        .figure("bytes_of_memory", memory.total)
}

fn long_chains(sizes: Sizes, memory: &TableMemory) -> Option<Finding> {
    if !sizes.exceeds(sizes.full(), MOST_PER_BUCKET) {
        return None;
    }
    let is_refused_now = sizes.exceeds(sizes.entries, REFUSED_PER_BUCKET);
    let severity = if is_refused_now { Severity::Critical } else { Severity::Warning };
    let per_bucket = sizes.full() / sizes.buckets;
    let title = format!("the hash table is too small: {per_bucket} entries for each bucket when the table is full");
    let wanted = memory.round_buckets(sizes.full());
    let finding = Finding::new(severity, title, chain_consequence(sizes))
        .evidence(format!("nf_conntrack_buckets {}, nf_conntrack_max {}", sizes.buckets, sizes.max))
        .evidence(chains(sizes))
        .evidence(format!(
            "{wanted} buckets take {}, now {}",
            Bytes(memory.bytes_of_buckets(wanted)),
            Bytes(memory.bytes_of_buckets(sizes.buckets))
        ))
        .command(format!("ctnl tune set --buckets {wanted} --persist"));
    Some(finding)
}

fn chains(sizes: Sizes) -> String {
    let (entries, now, full) = (sizes.entries, sizes.chain(sizes.entries), sizes.chain(sizes.full()));
    format!("expected length of a chain: {now:.1} now with {entries} entries, {full:.1} in a full table")
}

fn chain_consequence(sizes: Sizes) -> &'static str {
    if sizes.exceeds(sizes.entries, REFUSED_PER_BUCKET) {
        "New connections are refused because their chain is too long (chain_toolong, Linux 5.15 and newer), although the \
         table is not full."
    } else if sizes.exceeds(sizes.full(), REFUSED_PER_BUCKET) {
        "Each packet takes more CPU time; before the table is full, new connections will be refused because their chain \
         is too long (chain_toolong, Linux 5.15 and newer)."
    } else {
        "Each packet takes more CPU time, most of all those of new connections."
    }
}

fn too_large(sizes: Sizes, memory: &TableMemory) -> Option<Finding> {
    let (total, most) = (memory.total?, memory.most_bytes()?);
    let bytes = memory.bytes_of_table(sizes.max, sizes.buckets);
    if bytes <= most {
        return None;
    }
    let title = format!("a full table takes {} of {} memory", Bytes(bytes), Bytes(total));
    let consequence = "The host can run out of memory before the table is full: the kernel kills processes then.";
    let finding = Finding::new(Severity::Warning, title, consequence)
        .evidence(format!("nf_conntrack_max {}, nf_conntrack_buckets {}", sizes.max, sizes.buckets))
        .evidence(format!(
            "an entry takes {} bytes ({}) and {} of extensions",
            memory.entry_bytes,
            memory.source.name(),
            memory.extension_bytes
        ));
    // Twice the entries: a maximum that is nearly reached makes the kernel drop packets.
    let fits = |largest: &u64| *largest >= sizes.entries.saturating_mul(2) && *largest < sizes.max;
    let smaller = memory.largest_max().filter(fits);
    Some(match smaller {
        Some(max) => finding.command(format!("ctnl tune set --max {max} --persist")),
        None => finding,
    })
}

fn wasted(sizes: Sizes, memory: &TableMemory) -> Option<Finding> {
    let wanted = memory.round_buckets(sizes.max);
    let wasted = memory.bytes_of_buckets(sizes.buckets.saturating_sub(wanted));
    if sizes.max == 0 || sizes.buckets < sizes.max.saturating_mul(WASTED_BUCKETS) || wasted < WASTED_BYTES {
        return None;
    }
    let title = format!("the hash table takes {} more than a full table needs", Bytes(wasted));
    let finding = Finding::new(Severity::Note, title, "The memory is of no use for a table of this maximum.")
        .evidence(format!("nf_conntrack_buckets {}, nf_conntrack_max {}", sizes.buckets, sizes.max))
        .command(format!("ctnl tune set --buckets {wanted} --persist"));
    Some(finding)
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::indexing_slicing)]
mod tests {
    use super::*;
    use crate::doctor::finding::Fix;
    use crate::doctor::made_up::MadeUpHost;

    fn host(max: u64, buckets: u64, count: u64) -> MadeUpHost {
        let mut host = MadeUpHost::new();
        host.sysctl("nf_conntrack_max", max)
            .sysctl("nf_conntrack_buckets", buckets)
            .sysctl("nf_conntrack_count", count);
        host.file("/proc/meminfo", "MemTotal:       16777216 kB\nMemAvailable:   8388608 kB\n");
        host
    }

    fn found(max: u64, buckets: u64, count: u64) -> Vec<Finding> {
        host(max, buckets, count).findings(run)
    }

    #[test]
    fn a_maximum_that_was_raised_alone_is_found_and_the_classic_quarter_is_not() {
        for (max, buckets) in [(262_144, 262_144), (262_144, 65_536), (65_536, 16_384), (0, 65_536)] {
            assert_eq!(found(max, buckets, 1000), [], "{max} {buckets}");
        }
        let found = found(1_048_576, 65_536, 1000);
        assert_eq!((found.len(), found[0].severity), (1, Severity::Warning));
        assert_eq!(found[0].fixes, [Fix::Command("ctnl tune set --buckets 1048576 --persist".to_owned())]);
        assert_eq!(found[0].evidence[1], "expected length of a chain: 0.0 now with 1000 entries, 32.0 in a full table");
        assert!(found[0].consequence.contains("will be refused"), "{found:?}");
    }

    #[test]
    fn chains_that_are_too_long_now_are_critical() {
        let found = found(1_048_576, 16_384, 400_000);
        assert_eq!(found[0].severity, Severity::Critical);
        assert!(found[0].consequence.starts_with("New connections are refused"));
        assert_eq!(found[0].figures["chain_now"], 48.8);
    }

    #[test]
    fn without_a_limit_the_chains_of_now_are_judged() {
        assert_eq!(found(0, 1024, 4000), []);
        assert_eq!(found(0, 1024, 5000).len(), 1);
    }

    #[test]
    fn a_table_that_does_not_fit_the_memory_is_found() {
        let found = found(100_000_000, 33_554_432, 1000);
        assert_eq!(found.len(), 1, "{found:?}");
        assert!(
            found[0].title.starts_with("a full table takes ") && found[0].severity == Severity::Warning,
            "{found:?}"
        );
        assert!(matches!(&*found[0].fixes, [Fix::Command(line)] if line.starts_with("ctnl tune set --max ")));
    }

    #[test]
    fn a_hash_table_far_larger_than_the_maximum_is_a_note() {
        assert_eq!(found(65_536, 262_144, 1), [], "1.5 MiB are no waste");
        let found = found(65_536, 4_194_304, 1);
        assert_eq!((found.len(), found[0].severity), (1, Severity::Note));
    }

    #[test]
    fn a_host_whose_sizes_cannot_be_read_is_not_called_healthy() {
        assert!(matches!(run(&MadeUpHost::new().evidence()), Outcome::CannotRun(_)));
        let mut host = MadeUpHost::new();
        assert!(matches!(run(&host.sysctl("nf_conntrack_max", 5).evidence()), Outcome::CannotRun(_)));
    }
}
