//! Whether the kernel's hash table was resized while it was read: entries may be
//! missing then, and the kernel says nothing.

use ctnl::sysctl::Sysctl;

/// The size of the hash table, which is one for all namespaces, when it was looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Buckets(Option<u64>);

impl Buckets {
    /// The size now; not known where there is no such setting.
    pub fn read(netfilter: &Sysctl) -> Self {
        Buckets(netfilter.read("nf_conntrack_buckets").ok())
    }

    /// Whether the size is certainly another one now.
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
    fn a_table_that_was_resized_is_noticed_and_one_of_unknown_size_is_not() {
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
