//! The module nf_conntrack now: its hash size, and what keeps it loaded.

use std::fs;
use std::path::Path;

use ctnl::host::Host;

const FOLDER: &str = "/sys/module/nf_conntrack";

/// The module, or the part of the kernel.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ConntrackModule {
    /// The parameter `hashsize`, which is the size of the table now; `None` where it cannot be read.
    pub hashsize: Option<u64>,
    /// How many users it has; `None` where it is built in or not loaded.
    pub users: Option<u64>,
    /// The modules that use it, by name.
    pub holders: Vec<String>,
}

impl ConntrackModule {
    /// Reads /sys/module/nf_conntrack.
    pub fn read(host: &Host) -> Self {
        let folder = host.path(FOLDER);
        let mut holders: Vec<String> = fs::read_dir(folder.join("holders"))
            .into_iter()
            .flatten()
            .filter_map(|entry| Some(entry.ok()?.file_name().to_string_lossy().into_owned()))
            .collect();
        holders.sort();
        ConntrackModule {
            hashsize: number(&folder.join("parameters/hashsize")),
            users: number(&folder.join("refcnt")),
            holders,
        }
    }
}

fn number(path: &Path) -> Option<u64> {
    fs::read_to_string(path).ok()?.trim().parse().ok()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use ctnl::clock::Clock;

    use super::*;

    #[test]
    fn the_size_and_the_users_of_the_module_are_read() {
        let root = tempfile::tempdir().unwrap();
        let folder = root.path().join("sys/module/nf_conntrack");
        for holder in ["xt_state", "nf_nat"] {
            fs::create_dir_all(folder.join("holders").join(holder)).unwrap();
        }
        fs::create_dir(folder.join("parameters")).unwrap();
        fs::write(folder.join("parameters/hashsize"), "16384\n").unwrap();
        fs::write(folder.join("refcnt"), "3\n").unwrap();
        let module = ConntrackModule::read(&Host::at(root.path(), Clock::system()));
        let holders = ["nf_nat", "xt_state"].map(str::to_owned).to_vec();
        assert_eq!(module, ConntrackModule { hashsize: Some(16_384), users: Some(3), holders });
        let none = ConntrackModule::read(&Host::at(root.path().join("none"), Clock::system()));
        assert_eq!(none, ConntrackModule::default());
    }
}
