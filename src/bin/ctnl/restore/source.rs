//! The file that is restored. It is read twice, so what comes over a pipe is first copied to a file without a name.

use std::fs::{File, OpenOptions};
use std::io::{self, BufReader, Seek, SeekFrom};
use std::os::fd::AsFd;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use anyhow::{Context, Result};
use ctnl::snapshot::{SaveReader, SnapshotError};
use nix::libc;

use crate::save_file::STANDARD;

/// Bytes that are read at a time.
const BUFFER: usize = 64 * 1024;

/// A file that can be read from its start any number of times.
#[derive(Debug)]
pub struct Source {
    file: File,
    /// Where its entries begin: standard input may have been read from before.
    start: u64,
    /// The name, for messages.
    pub name: String,
}

impl Source {
    /// Opens the file `name`; `-` is standard input. What is no regular file is copied to one in `temporary`.
    ///
    /// # Errors
    /// It cannot be opened or copied.
    pub fn open(name: &str, temporary: &Path) -> Result<Self> {
        let (file, name) = if name == STANDARD {
            let stdin = io::stdin().as_fd().try_clone_to_owned().context("open standard input")?;
            (File::from(stdin), "standard input")
        } else {
            (File::open(name).with_context(|| format!("open '{name}'"))?, name)
        };
        let name = name.to_owned();
        if file.metadata().is_ok_and(|metadata| metadata.is_file()) {
            let start = (&file).stream_position()?;
            return Ok(Source { file, start, name });
        }
        let mut copy = unnamed(temporary)?;
        io::copy(&mut { file }, &mut copy)
            .with_context(|| format!("copy {name} to a file in '{}'", temporary.display()))?;
        Ok(Source { file: copy, start: 0, name })
    }

    /// A reader from the start.
    pub fn read(&self) -> Result<SaveReader<BufReader<&File>>, SnapshotError> {
        let mut file = &self.file;
        file.seek(SeekFrom::Start(self.start))?;
        SaveReader::new(BufReader::with_capacity(BUFFER, file))
    }
}

/// A file that no one else can open, and that is gone with this process.
///
/// # Errors
/// It cannot be created.
pub fn unnamed(folder: &Path) -> Result<File> {
    let open = |options: &mut OpenOptions, path: &Path| options.read(true).write(true).mode(0o600).open(path);
    let name = folder.join(format!(".ctnl-restore-{}", std::process::id()));
    let file = match open(OpenOptions::new().custom_flags(libc::O_TMPFILE), folder) {
        // A file system without O_TMPFILE.
        Err(_) => {
            let file = open(OpenOptions::new().create_new(true), &name);
            file.inspect(|_| drop(std::fs::remove_file(&name)))
        }
        file => file,
    };
    file.with_context(|| format!("create a temporary file in '{}'", folder.display()))
}
