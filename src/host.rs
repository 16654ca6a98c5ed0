//! The host that a program runs on: its clock and the paths of its files. Created once in `main`
//! and passed as an argument, so that tests can replace both.

use std::path::{Path, PathBuf};

use crate::clock::Clock;
use crate::sysctl::Sysctl;

/// The clock and the paths of a host.
#[derive(Debug, Clone)]
pub struct Host {
    /// The clock.
    pub clock: Clock,
    root: PathBuf,
}

impl Host {
    /// This host.
    #[must_use]
    pub fn system() -> Self {
        Host { clock: Clock::system(), root: PathBuf::from("/") }
    }

    /// A host whose files are below `root`, for tests: `root/proc/sys/net/netfilter` …
    #[must_use]
    pub fn at(root: impl Into<PathBuf>, clock: Clock) -> Self {
        Host { clock, root: root.into() }
    }

    /// The file of this host with the absolute path `path`.
    #[must_use]
    pub fn path(&self, path: &str) -> PathBuf {
        self.root.join(path.trim_start_matches('/'))
    }

    /// `/proc`.
    #[must_use]
    pub fn proc(&self) -> PathBuf {
        self.path("proc")
    }

    /// The sysctls of conntrack, of the network namespace of the reading thread.
    #[must_use]
    pub fn netfilter(&self) -> Sysctl {
        Sysctl::at(self.path(Sysctl::NETFILTER))
    }

    /// The sysctls of sockets.
    #[must_use]
    pub fn core(&self) -> Sysctl {
        Sysctl::at(self.path(Sysctl::CORE))
    }

    /// The sysctls of the kernel.
    #[must_use]
    pub fn kernel(&self) -> Sysctl {
        Sysctl::at(self.path(Sysctl::KERNEL))
    }

    /// The folder with all files of this host.
    #[must_use]
    pub fn root(&self) -> &Path {
        &self.root
    }
}

impl Default for Host {
    fn default() -> Self {
        Host::system()
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_test_replaces_the_files_of_the_host() {
        let folder = tempfile::tempdir().unwrap();
        let netfilter = folder.path().join("proc/sys/net/netfilter");
        std::fs::create_dir_all(&netfilter).unwrap();
        std::fs::write(netfilter.join("nf_conntrack_max"), "7\n").unwrap();
        let host = Host::at(folder.path(), Clock::system());
        assert_eq!(host.netfilter().read("nf_conntrack_max").unwrap(), 7);
        assert_eq!(Host::system().netfilter().root(), Path::new(Sysctl::NETFILTER));
    }
}
