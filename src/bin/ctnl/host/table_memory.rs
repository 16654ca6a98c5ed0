//! The memory of the connection tracking table: of an entry, of the hash table and of the host, and how large a
//! table that allows.
//!
//! An entry is an object of the slab cache `nf_conntrack` (`__nf_conntrack_alloc` in net/netfilter/nf_conntrack_core.c),
//! and a block of the cache kmalloc-128 with its extensions: counters, times, NAT, labels and others
//! (`nf_ct_ext_add` in net/netfilter/nf_conntrack_extend.c allocates no less). Measured on Linux 6.18: 20,000 entries
//! took 20,000 objects of each, with and without accounting and timestamps. Where many extensions are used at once, as
//! labels beside NAT and a helper, the block is one of 192 or 256 bytes.

use std::fs;

use ctnl::host::Host;

/// Bytes of an entry on 64 bits, where its slab cache cannot be read: those of Linux 5.10 to 6.18.
const ASSUMED_ENTRY: u64 = 256;
/// Bytes of the extensions of an entry.
const EXTENSIONS: u64 = 128;
/// `sizeof(struct hlist_nulls_head)`.
const BUCKET: u64 = (usize::BITS / 8) as u64;
/// Where it cannot be read.
const ASSUMED_PAGE: u64 = 4096;
/// `AT_PAGESZ` of getauxval(3).
const AT_PAGESZ: usize = 6;
/// A full table may use this part of the memory before a setting is recommended no more: an eighth.
const RECOMMENDED_PART: u64 = 8;
/// A full table that needs more than this part of the memory, a half, is out of reach.
const LARGEST_PART: u64 = 2;

/// Where the size of an entry is from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EntrySource {
    /// /proc/slabinfo.
    Slabinfo,
    /// /sys/kernel/slab/nf_conntrack.
    Sysfs,
    /// Neither can be read: it is that of common kernels.
    Assumed,
}

impl EntrySource {
    /// The file, for a message.
    pub fn name(self) -> &'static str {
        match self {
            EntrySource::Slabinfo => "/proc/slabinfo",
            EntrySource::Sysfs => "/sys/kernel/slab/nf_conntrack",
            EntrySource::Assumed => "assumed: /proc/slabinfo cannot be read",
        }
    }
}

/// What memory the table needs and the host has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TableMemory {
    /// Bytes of an entry in its slab cache, with its share of what the cache cannot use.
    pub entry_bytes: u64,
    /// Where that is from.
    pub source: EntrySource,
    /// Bytes of the extensions of an entry.
    pub extension_bytes: u64,
    /// `MemTotal` in bytes.
    pub total: Option<u64>,
    /// `MemAvailable` in bytes.
    pub available: Option<u64>,
    /// Bytes of a page.
    pub page: u64,
}

/// A size of the table, and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Recommended {
    /// `nf_conntrack_max`.
    pub max: u64,
    /// `nf_conntrack_buckets`.
    pub buckets: u64,
    /// Why this maximum.
    pub why_max: String,
    /// Why as many buckets.
    pub why_buckets: String,
}

#[cfg(test)]
impl TableMemory {
    /// That of a host with `total` bytes of memory, all of it available.
    pub fn made_up(total: u64) -> Self {
        TableMemory {
            entry_bytes: 256,
            source: EntrySource::Slabinfo,
            extension_bytes: 128,
            total: Some(total),
            available: Some(total),
            page: 4096,
        }
    }
}

impl TableMemory {
    /// Reads them from `host`.
    pub fn read(host: &Host) -> Self {
        let page = page_size(host);
        let measured = slabinfo(host, page).map(|bytes| (bytes, EntrySource::Slabinfo));
        let measured = measured.or_else(|| sysfs(host, page).map(|bytes| (bytes, EntrySource::Sysfs)));
        let (entry_bytes, source) = measured.unwrap_or((ASSUMED_ENTRY, EntrySource::Assumed));
        let meminfo = fs::read_to_string(host.path("/proc/meminfo")).unwrap_or_default();
        TableMemory {
            entry_bytes,
            source,
            extension_bytes: EXTENSIONS,
            total: kibibytes(&meminfo, "MemTotal:"),
            available: kibibytes(&meminfo, "MemAvailable:"),
            page,
        }
    }

    /// Bytes of an entry with its extensions.
    pub fn bytes_per_entry(&self) -> u64 {
        self.entry_bytes + self.extension_bytes
    }

    /// Bytes of so many entries.
    pub fn bytes_of_entries(&self, entries: u64) -> u64 {
        entries.saturating_mul(self.bytes_per_entry())
    }

    /// Bytes of a hash table with so many buckets.
    pub fn bytes_of_buckets(&self, buckets: u64) -> u64 {
        buckets.saturating_mul(BUCKET)
    }

    /// Bytes of a full table.
    pub fn bytes_of_table(&self, max: u64, buckets: u64) -> u64 {
        self.bytes_of_entries(max).saturating_add(self.bytes_of_buckets(buckets))
    }

    /// The number of buckets that the kernel makes of `buckets`: whole pages (`nf_ct_alloc_hashtable` in
    /// net/netfilter/nf_conntrack_core.c).
    pub fn round_buckets(&self, buckets: u64) -> u64 {
        let per_page = (self.page / BUCKET).max(1);
        buckets.div_ceil(per_page).saturating_mul(per_page)
    }

    /// The bytes that a full table may have, where the memory is known; more would leave the host too little.
    pub fn most_bytes(&self) -> Option<u64> {
        self.total.map(|total| total / LARGEST_PART)
    }

    /// The largest maximum to recommend.
    pub fn largest_max(&self) -> Option<u64> {
        let per_entry = self.bytes_per_entry() + BUCKET;
        self.total.map(|total| (total / RECOMMENDED_PART / per_entry).max(1024))
    }

    /// The rule of old articles: RAM / 16384 / (word bits / 32).
    pub fn classic_max(&self) -> Option<u64> {
        self.total.map(|total| total / 16_384 / u64::from(usize::BITS / 32))
    }

    /// The buckets, and so the maximum, that current kernels choose (`nf_conntrack_init_start` in
    /// net/netfilter/nf_conntrack_core.c).
    pub fn kernel_default(&self) -> Option<u64> {
        const GIB: u64 = 1 << 30;
        self.total.map(|total| match total {
            total if usize::BITS >= 64 && total > 4 * GIB => 262_144,
            total if total > GIB => 65_536,
            total => self.round_buckets((total / 16_384 / BUCKET).max(1024)),
        })
    }

    /// The size to recommend where the table has `max` and `buckets` now and had `peak` entries at most, as far as is
    /// known.
    pub fn recommend(&self, max: u64, buckets: u64, peak: u64) -> Recommended {
        let (max, why_max) = self.recommend_max(max, peak);
        let (buckets, why_buckets) = self.recommend_buckets(max, buckets);
        Recommended { max, buckets, why_max, why_buckets }
    }

    fn recommend_max(&self, max: u64, peak: u64) -> (u64, String) {
        let twice = peak.saturating_mul(2);
        let needed = twice.max(self.kernel_default().unwrap_or(65_536));
        // 0 is no limit.
        let wanted = if max >= needed { max } else { needed.checked_next_power_of_two().unwrap_or(needed) };
        match self.largest_max() {
            Some(largest) if wanted > largest => {
                (largest, format!("a full table takes an eighth of the memory; twice the peak is {twice}"))
            }
            _ => (wanted, self.why_max(wanted, max, peak)),
        }
    }

    fn why_max(&self, wanted: u64, max: u64, peak: u64) -> String {
        match wanted {
            wanted if wanted == max => format!("at least twice the peak of {peak}, and it fits the memory"),
            _ if peak.saturating_mul(2) > self.kernel_default().unwrap_or(65_536) => {
                format!("twice the peak of {peak}, as a power of two")
            }
            _ => "the default of current kernels for this memory".to_owned(),
        }
    }

    /// Each entry is in two chains (one for each direction), so a full table with as many buckets as entries has two
    /// in a chain.
    fn recommend_buckets(&self, max: u64, buckets: u64) -> (u64, String) {
        let chain = chain_length(max, buckets);
        if buckets > 0 && max <= buckets.saturating_mul(2) {
            return (buckets, format!("chains of {chain} in a full table"));
        }
        let wanted = self.round_buckets(max);
        (wanted, format!("as many as entries: chains of 2 in a full table instead of {chain}"))
    }
}

/// The expected length of a hash chain of a table with `entries`, each of which is in two.
pub fn chain_length(entries: u64, buckets: u64) -> u64 {
    entries.saturating_mul(2).div_ceil(buckets.max(1))
}

/// Bytes of an entry by /proc/slabinfo: `name active_objs num_objs objsize objperslab pagesperslab …`. Kernels before 4.7
/// had a cache for each namespace, `nf_conntrack_ffff…`.
fn slabinfo(host: &Host, page: u64) -> Option<u64> {
    let text = fs::read_to_string(host.path("/proc/slabinfo")).ok()?;
    let line = text.lines().find(|line| line.split_whitespace().next().is_some_and(is_entry_cache))?;
    let numbers: Vec<u64> = line.split_whitespace().skip(3).map_while(|word| word.parse().ok()).collect();
    let [size, per_slab, pages] = *numbers.get(..3)? else { return None };
    Some(share_of_slab(size, per_slab, pages.saturating_mul(page)))
}

fn is_entry_cache(name: &str) -> bool {
    let behind = name.strip_prefix("nf_conntrack");
    behind.is_some_and(|rest| {
        rest.is_empty() || rest.strip_prefix('_').is_some_and(|rest| rest.bytes().all(|byte| byte.is_ascii_hexdigit()))
    })
}

/// Bytes of an entry by /sys/kernel/slab/nf_conntrack.
fn sysfs(host: &Host, page: u64) -> Option<u64> {
    let number = |name: &str| -> Option<u64> {
        let text = fs::read_to_string(host.path("/sys/kernel/slab/nf_conntrack").join(name)).ok()?;
        text.trim().parse().ok()
    };
    let order = number("order").filter(|order| *order < 32)?;
    Some(share_of_slab(number("slab_size")?, number("objs_per_slab")?, page.saturating_mul(1 << order)))
}

/// The bytes of a slab for each of its objects, which are no fewer than its size.
fn share_of_slab(size: u64, per_slab: u64, slab: u64) -> u64 {
    slab.checked_div(per_slab).unwrap_or(size).max(size)
}

fn kibibytes(meminfo: &str, name: &str) -> Option<u64> {
    let line = meminfo.lines().find_map(|line| line.strip_prefix(name))?;
    line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()?.checked_mul(1024)
}

/// The size of a page by /proc/self/auxv, pairs of words.
fn page_size(host: &Host) -> u64 {
    let bytes = fs::read(host.path("/proc/self/auxv")).unwrap_or_default();
    let (words, _) = bytes.as_chunks::<{ size_of::<usize>() }>();
    let mut pairs = words.chunks_exact(2).filter_map(|pair| {
        let [name, value] = pair else { return None };
        (usize::from_ne_bytes(*name) == AT_PAGESZ).then_some(usize::from_ne_bytes(*value))
    });
    pairs.next().and_then(|size| u64::try_from(size).ok()).filter(|size| size.is_power_of_two()).unwrap_or(ASSUMED_PAGE)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::path::Path;

    use ctnl::clock::Clock;

    use super::*;

    const SLABINFO: &str = "slabinfo - version: 2.1\n\
        # name <active_objs> <num_objs> <objsize> <objperslab> <pagesperslab> : tunables\n\
        nf_conntrack_expect    0      0    208   19    1 : tunables    0    0    0\n\
        nf_conntrack          64    128    320   25    2 : tunables    0    0    0 : slabdata 8 8 0\n";

    fn write(root: &Path, path: &str, text: &str) {
        let path = root.join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    #[test]
    fn the_size_of_an_entry_is_its_share_of_a_slab() {
        let root = tempfile::tempdir().unwrap();
        let host = Host::at(root.path(), Clock::system());
        let unknown = TableMemory::read(&host);
        assert_eq!((unknown.entry_bytes, unknown.source, unknown.total), (256, EntrySource::Assumed, None));
        for (name, value) in [("slab_size", "256\n"), ("objs_per_slab", "16\n"), ("order", "0\n")] {
            write(root.path(), &format!("sys/kernel/slab/nf_conntrack/{name}"), value);
        }
        assert_eq!(TableMemory::read(&host).source, EntrySource::Sysfs);
        write(root.path(), "proc/slabinfo", SLABINFO);
        write(root.path(), "proc/meminfo", "MemTotal:       24684084 kB\nMemAvailable:   4 kB\n");
        let read = TableMemory::read(&host);
        assert_eq!((read.entry_bytes, read.source), (8192 / 25, EntrySource::Slabinfo));
        assert_eq!((read.total, read.available), (Some(24_684_084 * 1024), Some(4096)));
        assert_eq!(read.bytes_of_table(1000, 512), 1000 * (327 + 128) + 512 * BUCKET);
    }

    #[test]
    fn the_cache_of_expectations_is_no_cache_of_entries_and_one_of_a_namespace_is() {
        assert!(is_entry_cache("nf_conntrack") && is_entry_cache("nf_conntrack_ffffffff81cc5ec0"));
        assert!(!is_entry_cache("nf_conntrack_expect") && !is_entry_cache("kmalloc-256"));
    }

    #[test]
    fn the_classic_formula_and_the_default_of_the_kernel_are_those_of_the_memory() {
        assert_eq!(TableMemory::made_up(4 << 30).classic_max(), Some((4 << 30) / 16_384 / u64::from(usize::BITS / 32)));
        assert_eq!(TableMemory::made_up(2 << 30).kernel_default(), Some(65_536));
        assert_eq!(
            TableMemory::made_up(512 << 20).kernel_default(),
            Some(TableMemory::made_up(0).round_buckets((512 << 20) / 16_384 / BUCKET))
        );
        assert_eq!(TableMemory::made_up(16 << 20).kernel_default(), Some(1024));
    }

    #[test]
    fn twice_the_peak_is_recommended_unless_the_memory_is_too_small() {
        let large = TableMemory::made_up(16 << 30).recommend(65_536, 16_384, 60_000);
        assert_eq!((large.max, large.buckets), (262_144, 262_144));
        let busy = TableMemory::made_up(64 << 30).recommend(262_144, 65_536, 250_000);
        assert_eq!((busy.max, busy.buckets), (524_288, 524_288));
        assert!(busy.why_max.contains("250000"), "{}", busy.why_max);
        let small = TableMemory::made_up(512 << 20).recommend(65_536, 65_536, 120_000);
        assert_eq!(small.max, (512 << 20) / 8 / (256 + 128 + BUCKET));
        assert!(small.why_max.contains("an eighth of the memory"), "{}", small.why_max);
    }

    #[test]
    fn a_table_that_is_large_enough_is_left_as_it_is() {
        let kept = TableMemory::made_up(16 << 30).recommend(1_048_576, 524_288, 300_000);
        assert_eq!((kept.max, kept.buckets), (1_048_576, 524_288));
        assert!(kept.why_max.contains("at least twice the peak"), "{}", kept.why_max);
    }

    #[test]
    fn the_kernel_rounds_buckets_up_to_whole_pages() {
        let memory = TableMemory::made_up(1 << 30);
        let per_page = 4096 / BUCKET;
        let rounded = [1, per_page, per_page + 1].map(|buckets| memory.round_buckets(buckets));
        assert_eq!(rounded, [per_page, per_page, 2 * per_page]);
    }

    #[test]
    fn the_size_of_a_page_is_read_from_the_auxiliary_vector() {
        assert!(page_size(&Host::system()).is_power_of_two());
        assert_eq!(page_size(&Host::at("/nonexistent", Clock::system())), ASSUMED_PAGE);
    }
}
