//! Compression of rotated files, on a thread of its own.
//!
//! A rotated file is compressed into a temporary file beside it, which is synchronised to the disk and
//! renamed; the plain file is removed after that. Whatever fails, or ends the process, leaves the plain
//! file. Rotations go on meanwhile: the compressed file gets the number that the plain one has by then.
//!
//! Memory: a block of 64 KiB and the state of the encoder; measured, 0.6 MiB for gzip, 2.7 MiB for zstd with its
//! window of 1 MiB.

use std::ffi::OsString;
use std::fs::{self, File, FileTimes, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;

use anyhow::{Context, Result};
use flate2::read::GzDecoder;
use flate2::write::GzEncoder;
use nix::fcntl::{Flock, FlockArg, OFlag};

use super::rotation::{first_free, rotated, with_suffix};

/// Bytes that are read at a time.
const BLOCK: usize = 64 << 10;
/// The window of zstd, as a power of two: 1 MiB.
#[cfg(feature = "zstd")]
const ZSTD_WINDOW: u32 = 20;

/// A format.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Compression {
    /// RFC 1952.
    Gzip,
    /// RFC 8878.
    #[cfg(feature = "zstd")]
    Zstd,
}

impl Compression {
    fn suffix(self) -> &'static str {
        match self {
            Compression::Gzip => ".gz",
            #[cfg(feature = "zstd")]
            Compression::Zstd => ".zst",
        }
    }

    /// Compresses what `copy` writes into `to`.
    fn write(self, to: &File, copy: impl FnOnce(&mut dyn Write) -> io::Result<()>) -> io::Result<()> {
        match self {
            Compression::Gzip => {
                let mut encoder = GzEncoder::new(to, flate2::Compression::default());
                copy(&mut encoder)?;
                encoder.finish().map(drop)
            }
            #[cfg(feature = "zstd")]
            Compression::Zstd => {
                let mut encoder = zstd::Encoder::new(to, 3)?;
                encoder.window_log(ZSTD_WINDOW)?;
                encoder.include_checksum(true)?;
                copy(&mut encoder)?;
                encoder.finish().map(drop)
            }
        }
    }

    /// Reads what was compressed.
    fn reader(self, from: File) -> io::Result<Box<dyn Read>> {
        Ok(match self {
            Compression::Gzip => Box::new(GzDecoder::new(from)),
            #[cfg(feature = "zstd")]
            Compression::Zstd => Box::new(zstd::Decoder::new(from)?),
        })
    }
}

/// What the thread and the sink share.
#[derive(Debug, Default)]
struct Shared {
    state: Mutex<State>,
    changed: Condvar,
    /// Held while files are renamed: by a rotation, or when a compressed file replaces a plain one.
    renaming: Mutex<()>,
    is_over: AtomicBool,
}

#[derive(Debug, Default)]
struct State {
    has_work: bool,
    warnings: Vec<String>,
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn is_over(&self) -> bool {
        self.is_over.load(Ordering::Relaxed)
    }
}

/// Compresses the rotated files of one path.
#[derive(Debug)]
pub struct Compressor {
    shared: Arc<Shared>,
}

impl Compressor {
    /// Removes the temporary file that a crash left, and begins with the plain files that it left.
    pub fn start(path: &Path, compression: Compression) -> Result<Self> {
        let shared = Arc::new(Shared::default());
        let job = Job { path: path.to_owned(), compression, shared: Arc::clone(&shared), reported: None };
        job.remove_temporary().with_context(|| format!("remove {}", job.temporary().display()))?;
        let compressor = Compressor { shared };
        compressor.wake();
        thread::Builder::new().name("compress".into()).spawn(move || job.run()).context("start a thread")?;
        Ok(compressor)
    }

    /// Tells the thread that a file was rotated.
    pub fn wake(&self) {
        self.shared.state().has_work = true;
        self.shared.changed.notify_all();
    }

    /// Runs a rotation.
    pub fn while_no_file_is_replaced<T>(&self, rotate: impl FnOnce() -> T) -> T {
        let _renaming = self.shared.renaming.lock().unwrap_or_else(PoisonError::into_inner);
        rotate()
    }

    /// Returns and clears what the operator must know.
    pub fn take_warnings(&self) -> Vec<String> {
        std::mem::take(&mut self.shared.state().warnings)
    }
}

impl Drop for Compressor {
    /// Does not wait: a file that is not finished stays plain.
    fn drop(&mut self) {
        self.shared.is_over.store(true, Ordering::Relaxed);
        self.wake();
    }
}

/// The thread.
struct Job {
    path: PathBuf,
    compression: Compression,
    shared: Arc<Shared>,
    /// The last error that was reported.
    reported: Option<String>,
}

impl Job {
    fn run(mut self) {
        loop {
            let mut state = self.shared.state();
            while !state.has_work {
                state = self.shared.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
            }
            state.has_work = false;
            drop(state);
            if self.shared.is_over() {
                return;
            }
            let compressed = self.compress_all();
            if self.shared.is_over() {
                return;
            }
            match compressed {
                Ok(()) => self.reported = None,
                Err(error) => self.report(error.to_string()),
            }
        }
    }

    /// Reports each different error once.
    fn report(&mut self, error: String) {
        if self.reported.as_ref() != Some(&error) {
            let path = self.path.display();
            self.shared.state().warnings.push(format!(
                "sink file:{path}: a rotated file stays uncompressed, the next rotation tries again: {error}"
            ));
        }
        self.reported = Some(error);
    }

    /// Compresses every plain rotated file, the oldest first.
    fn compress_all(&self) -> io::Result<()> {
        let mut result = Ok(());
        for number in (1..first_free(&self.path)?).rev() {
            let file = rotated(&self.path, number);
            match self.compress(&file) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => result = Err(io::Error::new(error.kind(), format!("{}: {error}", file.display()))),
                Ok(()) => {}
            }
            if self.shared.is_over() {
                break;
            }
        }
        result
    }

    /// In the same folder, so that it can be renamed. The lock of the file at `path` is held by this sink: no
    /// other process uses this name.
    fn temporary(&self) -> PathBuf {
        let mut name = OsString::from(&self.path);
        name.push(".compress-tmp");
        name.into()
    }

    fn remove_temporary(&self) -> io::Result<()> {
        match fs::remove_file(self.temporary()) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            removed => removed,
        }
    }

    /// Compresses one file, unless somebody writes to it.
    fn compress(&self, path: &Path) -> io::Result<()> {
        let flags = (OFlag::O_NOFOLLOW | OFlag::O_NONBLOCK).bits();
        let file = OpenOptions::new().read(true).custom_flags(flags).open(path)?;
        let metadata = file.metadata()?;
        // A file that was renamed and is continued until SIGHUP is locked by its writer.
        let (true, Ok(plain)) = (metadata.is_file(), Flock::lock(file, FlockArg::LockExclusiveNonblock)) else {
            return Ok(());
        };
        let temporary = self.temporary();
        self.remove_temporary()?;
        let created = OpenOptions::new().write(true).create_new(true).mode(metadata.mode() & 0o777).open(&temporary)?;
        let written = self.compress_into(&created, &plain, metadata.len());
        let replaced = written.and_then(|()| {
            let times = FileTimes::new().set_modified(metadata.modified()?);
            created.set_times(times)?;
            created.sync_all()?;
            self.replace(&plain, &temporary)
        });
        replaced.inspect_err(|_| drop(fs::remove_file(&temporary)))
    }

    fn compress_into(&self, to: &File, mut plain: &File, length: u64) -> io::Result<()> {
        let mut block = vec![0; BLOCK];
        self.compression.write(to, |encoder| {
            let mut read_bytes = 0;
            loop {
                if self.shared.is_over() {
                    return Err(io::ErrorKind::Interrupted.into());
                }
                let read = plain.read(&mut block)?;
                if read == 0 {
                    break;
                }
                encoder.write_all(block.get(..read).unwrap_or_default())?;
                read_bytes += read as u64;
            }
            if read_bytes != length { Err(io::Error::other("it has changed")) } else { Ok(()) }
        })
    }

    /// Puts the compressed file in place of the plain one, whatever number that has now.
    fn replace(&self, plain: &File, temporary: &Path) -> io::Result<()> {
        let _renaming = self.shared.renaming.lock().unwrap_or_else(PoisonError::into_inner);
        let wanted = plain.metadata()?;
        for number in 1..first_free(&self.path)? {
            let path = rotated(&self.path, number);
            let is_same = path.symlink_metadata().is_ok_and(|found| {
                (found.dev(), found.ino(), found.len()) == (wanted.dev(), wanted.ino(), wanted.len())
            });
            if !is_same {
                continue;
            }
            let to = with_suffix(&self.path, number, self.compression.suffix());
            if to.symlink_metadata().is_ok() {
                // Left by a crash before the plain file was removed, unless it is something else.
                self.check_same_content(plain, &to)?;
                fs::remove_file(temporary)?;
            } else {
                fs::rename(temporary, &to)?;
            }
            sync_folder(&path)?;
            return fs::remove_file(&path);
        }
        // It was removed meanwhile: one too many.
        fs::remove_file(temporary)
    }

    fn check_same_content(&self, mut plain: &File, compressed: &Path) -> io::Result<()> {
        use std::io::Seek;
        plain.rewind()?;
        let mut reader = self.compression.reader(File::open(compressed)?)?;
        let (mut one, mut other) = (vec![0; BLOCK], vec![0; BLOCK]);
        loop {
            let length = fill(&mut plain, &mut one)?;
            if fill(&mut reader, &mut other)? != length || one.get(..length) != other.get(..length) {
                return Err(io::Error::new(
                    io::ErrorKind::AlreadyExists,
                    format!("{} exists and has another content", compressed.display()),
                ));
            }
            if length == 0 {
                return Ok(());
            }
        }
    }
}

/// Reads until `block` is full or the end.
fn fill(reader: &mut impl Read, block: &mut [u8]) -> io::Result<usize> {
    let mut length = 0;
    while let Some(rest) = block.get_mut(length..).filter(|rest| !rest.is_empty()) {
        match reader.read(rest)? {
            0 => break,
            read => length += read,
        }
    }
    Ok(length)
}

fn sync_folder(file: &Path) -> io::Result<()> {
    let parent = file.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    super::spool::folder::sync(parent)
}
