//! The values of conntrack's sysctls now.

use std::collections::BTreeMap;
use std::fs;
use std::io;

use ctnl::host::Host;

/// The sysctls of conntrack in one network namespace.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ConntrackSysctls(BTreeMap<String, String>);

impl ConntrackSysctls {
    /// Reads those of the namespace of the calling thread, from `/proc/sys/net/netfilter`.
    ///
    /// # Errors
    /// The folder cannot be read: /proc is not mounted, or the module is not loaded. A setting that cannot be read
    /// is left out.
    pub fn read(host: &Host) -> io::Result<Self> {
        let netfilter = host.netfilter();
        let mut values = BTreeMap::new();
        for entry in fs::read_dir(netfilter.root())? {
            let name = entry?.file_name().to_string_lossy().into_owned();
            if name.starts_with("nf_conntrack_")
                && let Ok(value) = netfilter.read_text(&name)
            {
                values.insert(name, value);
            }
        }
        Ok(ConntrackSysctls(values))
    }

    /// The value of `name`, such as `nf_conntrack_max`; `None` where this kernel does not have it.
    pub fn text(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(String::as_str)
    }

    /// The value of `name` as a number.
    pub fn number(&self, name: &str) -> Option<u64> {
        self.text(name)?.parse().ok()
    }

    /// All of them, by name.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().map(|(name, value)| (name.as_str(), value.as_str()))
    }
}

impl<'a> FromIterator<(&'a str, &'a str)> for ConntrackSysctls {
    fn from_iter<T: IntoIterator<Item = (&'a str, &'a str)>>(values: T) -> Self {
        ConntrackSysctls(values.into_iter().map(|(name, value)| (name.to_owned(), value.to_owned())).collect())
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use ctnl::clock::Clock;

    use super::*;

    #[test]
    fn only_the_settings_of_conntrack_are_read_and_a_word_is_no_number() {
        let root = tempfile::tempdir().unwrap();
        let folder = root.path().join("proc/sys/net/netfilter");
        fs::create_dir_all(folder.join("nf_log")).unwrap();
        for (name, value) in
            [("nf_conntrack_max", "262144\n"), ("nf_conntrack_acct", "x\n"), ("nf_hooks_lwtunnel", "0\n")]
        {
            fs::write(folder.join(name), value).unwrap();
        }
        let host = Host::at(root.path(), Clock::system());
        let sysctls = ConntrackSysctls::read(&host).unwrap();
        assert_eq!(sysctls, [("nf_conntrack_max", "262144"), ("nf_conntrack_acct", "x")].into_iter().collect());
        assert_eq!((sysctls.number("nf_conntrack_max"), sysctls.number("nf_conntrack_acct")), (Some(262_144), None));
        assert!(ConntrackSysctls::read(&Host::at(root.path().join("none"), Clock::system())).is_err());
    }
}
