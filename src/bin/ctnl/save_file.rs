//! The file that entries are saved to: never an existing one by mistake, and whole or removed.

use std::ffi::OsString;
use std::fs::{self, File, OpenOptions};
use std::io::{self, IsTerminal, Write};
use std::os::fd::AsFd;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use ctnl::host::Host;
use ctnl::snapshot::Head;
use ctnl::table::Occupancy;

use crate::term::exit::usage;

/// The word for standard output, and for standard input of a restore.
pub const STANDARD: &str = "-";

/// A file with saved entries, readable by its owner alone. It is removed when it is dropped, unless
/// [`SaveFile::keep`] or [`SaveFile::finish`] was called.
#[derive(Debug)]
pub struct SaveFile {
    file: File,
    /// What is removed.
    written: Option<PathBuf>,
    /// What replaces an existing file in the end.
    rename_to: Option<PathBuf>,
}

impl SaveFile {
    /// Creates the file `name`, or opens standard output for `-`, and a device or a pipe of that name. A regular file
    /// that exists is replaced with `overwrite`, in the end and all at once.
    ///
    /// # Errors
    /// The file exists, or cannot be created.
    pub fn create(name: &str, overwrite: bool) -> Result<Self> {
        if name == STANDARD {
            let file = File::from(io::stdout().as_fd().try_clone_to_owned().context("open standard output")?);
            return Ok(SaveFile { file, written: None, rename_to: None });
        }
        refuse(name, overwrite)?;
        let path = PathBuf::from(name);
        match fs::metadata(&path) {
            Ok(found) if found.is_file() => Self::beside(&path),
            Ok(_) => {
                let file = OpenOptions::new().write(true).open(&path);
                let file = file.with_context(|| format!("open '{name}'"))?;
                Ok(SaveFile { file, written: None, rename_to: None })
            }
            Err(_) => match create_new(&path) {
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Err(exists(name)),
                created => Ok(SaveFile {
                    file: created.with_context(|| format!("create '{name}'"))?,
                    written: Some(path),
                    rename_to: None,
                }),
            },
        }
    }

    fn beside(path: &Path) -> Result<Self> {
        let target = fs::canonicalize(path).with_context(|| format!("open '{}'", path.display()))?;
        let mut name = OsString::from(&target);
        name.push(format!(".new-{}", std::process::id()));
        let written = PathBuf::from(name);
        let file = create_new(&written).with_context(|| format!("create '{}'", written.display()))?;
        Ok(SaveFile { file, written: Some(written), rename_to: Some(target) })
    }

    /// Whether it is a terminal.
    pub fn is_terminal(&self) -> bool {
        self.file.is_terminal()
    }

    /// From now on, the file stays also when this is dropped.
    pub fn keep(&mut self) {
        if self.rename_to.is_none() {
            self.written = None;
        }
    }

    /// Removes what was written after the first `length` bytes.
    pub fn truncate(&mut self, length: u64) -> io::Result<()> {
        self.file.set_len(length)?;
        io::Seek::seek(&mut self.file, io::SeekFrom::Start(length)).map(|_| ())
    }

    /// Waits until the file is on the disk, and replaces the existing file.
    pub fn finish(mut self) -> io::Result<()> {
        match self.file.sync_all() {
            // What is no file on a disk.
            Err(error) if error.kind() == io::ErrorKind::InvalidInput => {}
            synced => synced?,
        }
        if let (Some(from), Some(to)) = (&self.written, &self.rename_to) {
            fs::rename(from, to)?;
        }
        self.written = None;
        Ok(())
    }
}

impl Write for SaveFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.file.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

impl Drop for SaveFile {
    fn drop(&mut self) {
        if let Some(path) = &self.written {
            let _ = fs::remove_file(path);
        }
    }
}

/// Refuses a name that [`SaveFile::create`] would refuse, before anything else is done.
pub fn refuse(name: &str, overwrite: bool) -> Result<()> {
    match fs::metadata(name) {
        Ok(found) if name != STANDARD && found.is_dir() => Err(usage(format!("'{name}' is a folder: expected a file"))),
        Ok(found) if name != STANDARD && found.is_file() && !overwrite => Err(exists(name)),
        _ => Ok(()),
    }
}

fn create_new(path: &Path) -> io::Result<File> {
    OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)
}

fn exists(name: &str) -> anyhow::Error {
    usage(format!("'{name}' exists: nothing was written and nothing was changed\n  hint: name another file"))
}

/// The head of a save of a table with `occupancy`.
pub fn head(host: &Host, occupancy: Occupancy, filter: String) -> Head {
    let kernel = |name: &str| host.kernel().read_text(name).unwrap_or_default();
    Head {
        time: host.clock.now().realtime,
        kernel: kernel("osrelease"),
        host: kernel("hostname"),
        program: concat!("ctnl ", env!("CARGO_PKG_VERSION")).to_owned(),
        filter,
        max: occupancy.max,
        entries: Some(occupancy.entries),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn names(folder: &Path) -> Vec<String> {
        let entries = fs::read_dir(folder).unwrap();
        entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
    }

    #[test]
    fn an_existing_file_is_replaced_on_request_alone_and_when_the_new_one_is_whole() {
        let folder = tempfile::tempdir().unwrap();
        let name = folder.path().join("table").to_str().unwrap().to_owned();
        fs::write(&name, "old").unwrap();
        assert!(SaveFile::create(&name, false).is_err());
        let mut file = SaveFile::create(&name, true).unwrap();
        file.write_all(b"new").unwrap();
        assert_eq!(fs::read(&name).unwrap(), b"old");
        drop(file);
        assert_eq!((fs::read(&name).unwrap(), names(folder.path())), (b"old".to_vec(), vec!["table".to_owned()]));
        let mut file = SaveFile::create(&name, true).unwrap();
        file.write_all(b"new").unwrap();
        file.finish().unwrap();
        assert_eq!((fs::read(&name).unwrap(), names(folder.path())), (b"new".to_vec(), vec!["table".to_owned()]));
    }

    #[test]
    fn a_file_that_is_not_finished_is_removed_unless_it_is_to_be_kept() {
        let folder = tempfile::tempdir().unwrap();
        let name = folder.path().join("table").to_str().unwrap().to_owned();
        drop(SaveFile::create(&name, false).unwrap());
        assert!(names(folder.path()).is_empty());
        let mut file = SaveFile::create(&name, false).unwrap();
        file.write_all(b"12345").unwrap();
        file.truncate(3).unwrap();
        file.write_all(b"6").unwrap();
        file.keep();
        drop(file);
        assert_eq!(fs::read(&name).unwrap(), b"1236");
    }

    #[test]
    fn a_folder_is_refused_and_a_device_is_written_to() {
        assert!(SaveFile::create("/tmp", true).is_err());
        let mut null = SaveFile::create("/dev/null", false).unwrap();
        null.write_all(b"x").unwrap();
        null.finish().unwrap();
        assert!(Path::new("/dev/null").exists());
    }
}
