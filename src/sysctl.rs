//! Floor 2, kernel settings as files.
//!
//! Those of networking are per namespace, that of the thread which reads: run
//! inside [`Netns::run`](crate::netlink::Netns::run) for another one.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

/// A folder of settings.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sysctl {
    root: PathBuf,
}

impl Sysctl {
    /// Where the settings of conntrack are.
    pub const NETFILTER: &str = "/proc/sys/net/netfilter";
    /// Where the settings of sockets are.
    pub const CORE: &str = "/proc/sys/net/core";
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

    /// The setting `name`, kept open for reading and writing.
    ///
    /// # Errors
    /// No such file; not allowed; a read-only file system.
    pub fn open(&self, name: &str) -> io::Result<Setting> {
        let file = OpenOptions::new().read(true).write(true).open(self.root.join(name))?;
        Ok(Setting { file })
    }

    /// The folder.
    #[must_use]
    pub fn root(&self) -> &Path {
        &self.root
    }
}

/// One setting that is kept open. It stays the one of the namespace in which it was
/// opened, also for threads of other namespaces that could not enter that one (any more).
#[derive(Debug)]
pub struct Setting {
    file: File,
}

impl Setting {
    /// What it is now.
    ///
    /// # Errors
    /// The namespace is gone; `InvalidData` where it is no number.
    pub fn read(&self) -> io::Result<u64> {
        // No setting that is a number is longer.
        let mut bytes = [0; 32];
        let length = self.file.read_at(&mut bytes, 0)?;
        let text = String::from_utf8_lossy(bytes.get(..length).unwrap_or_default());
        let text = text.trim();
        text.parse().map_err(|_| io::Error::new(io::ErrorKind::InvalidData, format!("'{text}' is no number")))
    }

    /// Sets it.
    ///
    /// # Errors
    /// Not allowed; no such value; the namespace is gone.
    pub fn write(&self, value: u64) -> io::Result<()> {
        self.file.write_all_at(format!("{value}\n").as_bytes(), 0)
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

    #[test]
    fn a_setting_that_is_kept_open_is_read_and_written_again_and_again() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("acct"), "0\n").unwrap();
        let settings = Sysctl::at(folder.path());
        let acct = settings.open("acct").unwrap();
        assert_eq!(acct.read().unwrap(), 0);
        acct.write(1).unwrap();
        assert_eq!((acct.read().unwrap(), settings.read("acct").unwrap()), (1, 1));
        acct.write(0).unwrap();
        assert_eq!(fs::read_to_string(folder.path().join("acct")).unwrap(), "0\n");
        assert_eq!(settings.open("absent").unwrap_err().kind(), io::ErrorKind::NotFound);
        assert!(!fs::exists(folder.path().join("absent")).unwrap());
    }
}
