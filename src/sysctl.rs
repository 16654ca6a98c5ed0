//! Floor 2, kernel settings as files.
//!
//! Those of networking are per namespace, that of the thread which reads: run
//! inside [`Netns::run`](crate::netlink::Netns::run) for another one.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

/// A folder of settings.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sysctl {
    root: PathBuf,
}

impl Sysctl {
    /// Where the settings of conntrack are.
    pub const NETFILTER: &str = "/proc/sys/net/netfilter";
    /// Where the settings of the kernel as a whole are.
    pub const KERNEL: &str = "/proc/sys/kernel";

    /// The settings below `root`.
    #[must_use]
    pub fn at(root: impl Into<PathBuf>) -> Self {
        Sysctl { root: root.into() }
    }

    /// The setting `name` as a number.
    ///
    /// # Errors
    /// No such file; not allowed; `InvalidData` where it is no number.
    pub fn read(&self, name: &str) -> io::Result<u64> {
        let text = self.read_text(name)?;
        text.parse().map_err(|_| io::Error::new(io::ErrorKind::InvalidData, format!("{name}: '{text}' is no number")))
    }

    /// The setting `name` as it is, without white space around it.
    ///
    /// # Errors
    /// No such file; not allowed.
    pub fn read_text(&self, name: &str) -> io::Result<String> {
        fs::read_to_string(self.root.join(name)).map(|text| text.trim().to_owned())
    }

    /// The folder.
    #[must_use]
    pub fn root(&self) -> &Path {
        &self.root
    }
}

impl Default for Sysctl {
    fn default() -> Self {
        Sysctl::at(Sysctl::NETFILTER)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_setting_is_read_without_its_newline_and_a_word_is_no_number() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("max"), "262144\n").unwrap();
        fs::write(folder.path().join("word"), "auto\n").unwrap();
        let settings = Sysctl::at(folder.path());
        assert_eq!(settings.read("max").unwrap(), 262_144);
        assert_eq!(settings.read("word").unwrap_err().kind(), io::ErrorKind::InvalidData);
        assert_eq!(settings.read("absent").unwrap_err().kind(), io::ErrorKind::NotFound);
    }
}
