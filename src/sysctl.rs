//! Kernel settings (sysctls) as files.
//!
//! Those of networking belong to the network namespace of the thread that reads them: use
//! [`Netns::run`](crate::netlink::Netns::run) for another namespace.

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
    /// The settings of conntrack.
    pub const NETFILTER: &str = "/proc/sys/net/netfilter";
    /// The settings of sockets.
    pub const CORE: &str = "/proc/sys/net/core";
    /// The settings of the kernel.
    pub const KERNEL: &str = "/proc/sys/kernel";

    /// The settings below `root`.
    #[must_use]
    pub fn at(root: impl Into<PathBuf>) -> Self {
        Sysctl { root: root.into() }
    }

    /// The setting `name` as a number.
    ///
    /// # Errors
    /// An error of open(2) or read(2); `InvalidData` where the value is not a number.
    pub fn read(&self, name: &str) -> io::Result<u64> {
        let text = self.read_text(name)?;
        text.parse().map_err(|_| {
            io::Error::new(io::ErrorKind::InvalidData, format!("invalid value '{text}' of {name}: expected a number"))
        })
    }

    /// The setting `name` as text, trimmed.
    ///
    /// # Errors
    /// An error of open(2) or read(2).
    pub fn read_text(&self, name: &str) -> io::Result<String> {
        fs::read_to_string(self.root.join(name)).map(|text| text.trim().to_owned())
    }

    /// Opens the setting `name` for reading and writing.
    ///
    /// # Errors
    /// An error of open(2).
    pub fn open(&self, name: &str) -> io::Result<Setting> {
        let file = OpenOptions::new().read(true).write(true).open(self.root.join(name))?;
        Ok(Setting { file })
    }

    /// Opens the setting `name` for reading.
    ///
    /// # Errors
    /// An error of open(2).
    pub fn open_read_only(&self, name: &str) -> io::Result<Setting> {
        File::open(self.root.join(name)).map(|file| Setting { file })
    }

    /// The folder.
    #[must_use]
    pub fn root(&self) -> &Path {
        &self.root
    }
}

/// An open setting. It belongs to the namespace in which it was opened, also when it is used by
/// threads of other namespaces.
#[derive(Debug)]
pub struct Setting {
    file: File,
}

impl Setting {
    /// Reads the value.
    ///
    /// # Errors
    /// An error of pread(2), as after the end of the namespace; `InvalidData` where the value is not a
    /// number.
    pub fn read(&self) -> io::Result<u64> {
        // Longer than any number.
        let mut bytes = [0; 32];
        let length = self.file.read_at(&mut bytes, 0)?;
        let text = String::from_utf8_lossy(bytes.get(..length).unwrap_or_default());
        let text = text.trim();
        text.parse().map_err(|_| {
            io::Error::new(io::ErrorKind::InvalidData, format!("invalid value '{text}': expected a number"))
        })
    }

    /// Writes the value.
    ///
    /// # Errors
    /// An error of pwrite(2).
    pub fn write(&self, value: u64) -> io::Result<()> {
        self.file.write_all_at(format!("{value}\n").as_bytes(), 0)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_setting_is_read_without_its_line_feed_and_a_word_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("max"), "262144\n").unwrap();
        fs::write(folder.path().join("word"), "auto\n").unwrap();
        let settings = Sysctl::at(folder.path());
        assert_eq!(settings.read("max").unwrap(), 262_144);
        assert_eq!(settings.read("word").unwrap_err().kind(), io::ErrorKind::InvalidData);
        assert_eq!(settings.read("absent").unwrap_err().kind(), io::ErrorKind::NotFound);
    }

    #[test]
    fn an_open_setting_is_read_and_written_repeatedly() {
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
