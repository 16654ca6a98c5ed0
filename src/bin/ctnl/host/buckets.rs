//! Detect that the kernel's hash table was resized during a dump: entries may be missing then, and the
//! dump has no sign of it (`nf_conntrack_hash_resize` in net/netfilter/nf_conntrack_core.c moves them
//! between buckets; `ctnetlink_dump_table` continues at the number of a bucket).

use ctnl::sysctl::Sysctl;

/// The size of the hash table, which is shared by all namespaces, at the time of reading.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Buckets(Option<u64>);

impl Buckets {
    /// Reads the size; unknown where the sysctl cannot be read.
    pub fn read(netfilter: &Sysctl) -> Self {
        Buckets(netfilter.read("nf_conntrack_buckets").ok())
    }

    /// Whether the size cannot be read.
    pub fn are_unknown(self) -> bool {
        self.0.is_none()
    }

    /// Whether the size has certainly changed.
    pub fn resized_since(self, netfilter: &Sysctl) -> bool {
        let now = Self::read(netfilter);
        self.0.is_some() && now.0.is_some() && self != now
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn a_resized_table_is_detected_and_one_of_unknown_size_is_not() {
        let folder = tempfile::tempdir().unwrap();
        let netfilter = Sysctl::at(folder.path());
        let unknown = Buckets::read(&netfilter);
        fs::write(folder.path().join("nf_conntrack_buckets"), "1024\n").unwrap();
        let before = Buckets::read(&netfilter);
        assert!(!before.resized_since(&netfilter) && !unknown.resized_since(&netfilter));
        fs::write(folder.path().join("nf_conntrack_buckets"), "2048\n").unwrap();
        assert!(before.resized_since(&netfilter) && !unknown.resized_since(&netfilter));
    }
}
