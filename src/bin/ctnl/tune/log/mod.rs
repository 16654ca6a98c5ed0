//! The log of operations: one line of JSON for each step of each operation, appended and synchronised (docs/tune.md).
//!
//! What an operation is going to change is written before the first change, so that one whose process was killed is found.

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests;

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{Read, Seek, SeekFrom, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, bail};
use ctnl::host::Host;
use nix::errno::Errno;
use nix::fcntl::{Flock, FlockArg};
use nix::libc::{O_NOFOLLOW, O_NONBLOCK};

use super::places::inside_root;
use super::record::{Operation, Record, State};

/// The folder of the log and the lock.
pub const FOLDER: &str = "/var/lib/ctnl/tune";
const LOG: &str = "operations.jsonl";
const LOCK: &str = "lock";
/// Of a new log: it has whole files, which may be for root alone, and who ran which command. A mode that the administrator
/// gives it stays.
const MODE: u32 = 0o600;
/// Changes take less than a second, but for a resize of a large hash table.
const LONGEST_WAIT: Duration = Duration::from_secs(10);

/// The log of a host.
#[derive(Debug)]
pub struct Log {
    root: PathBuf,
    folder: PathBuf,
}

/// The right to change settings and to append to the log. Ends when it is dropped, and with the process.
#[derive(Debug)]
pub struct Locked<'l> {
    log: &'l Log,
    _lock: Flock<File>,
}

/// What the log contains.
#[derive(Debug, Default)]
pub struct Contents {
    /// The operations, the first one first.
    pub operations: Vec<Operation>,
    /// Lines that are no records, as a crash while a line was appended leaves one.
    pub unreadable: usize,
}

impl Log {
    /// The log of `host`. Nothing is created.
    pub fn of(host: &Host) -> Self {
        Log { root: host.root().to_owned(), folder: host.path(FOLDER) }
    }

    /// Its file.
    pub fn path(&self) -> PathBuf {
        self.folder.join(LOG)
    }

    /// Reads it. There is none before the first operation.
    ///
    /// # Errors
    /// It exists and cannot be read.
    pub fn read(&self) -> Result<Contents> {
        let path = self.path();
        let mut text = Vec::new();
        match open(&path, OpenOptions::new().read(true)).and_then(|mut file| file.read_to_end(&mut text)) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(Contents::default()),
            read => {
                read.with_context(|| format!("read the log of operations, {}", path.display()))?;
                Ok(Contents::of(&String::from_utf8_lossy(&text)))
            }
        }
    }

    /// Locks it. Another process that changes settings has the lock only while it does, so it is waited for.
    ///
    /// # Errors
    /// The folder cannot be created, or the lock is taken for longer.
    pub fn lock(&self) -> Result<Locked<'_>> {
        self.lock_within(LONGEST_WAIT)
    }

    fn lock_within(&self, time: Duration) -> Result<Locked<'_>> {
        let end = Instant::now() + time;
        loop {
            match self.try_lock()? {
                Some(locked) => return Ok(locked),
                None if Instant::now() >= end => break,
                None => thread::sleep(Duration::from_millis(20)),
            }
        }
        Err(self.locked())
    }

    fn locked(&self) -> anyhow::Error {
        anyhow!(
            "another ctnl tune is changing settings now ({} is locked)\n  hint: run it again",
            self.folder.join(LOCK).display()
        )
    }

    /// Locks it; `None` where it is locked.
    ///
    /// # Errors
    /// The folder or the file of the lock cannot be created.
    pub fn try_lock(&self) -> Result<Option<Locked<'_>>> {
        create_folder(&self.root, &self.folder)?;
        let path = self.folder.join(LOCK);
        let file = open(&path, OpenOptions::new().create(true).write(true).truncate(false).mode(0o600));
        let file = file.with_context(|| format!("create {}", path.display()))?;
        match Flock::lock(file, FlockArg::LockExclusiveNonblock) {
            Ok(lock) => Ok(Some(Locked { log: self, _lock: lock })),
            Err((_, Errno::EWOULDBLOCK)) => Ok(None),
            Err((_, errno)) => bail!("lock {}: {errno}", path.display()),
        }
    }
}

/// Whether an error of [`Log::read`] is that this user may not read it.
pub fn is_denied(error: &anyhow::Error) -> bool {
    error.downcast_ref::<std::io::Error>().is_some_and(|error| error.kind() == std::io::ErrorKind::PermissionDenied)
}

/// Opens a regular file, over no symbolic link, and waits for no other end of a FIFO.
fn open(path: &Path, options: &mut OpenOptions) -> std::io::Result<File> {
    let file = options.custom_flags(O_NOFOLLOW | O_NONBLOCK).open(path)?;
    if !file.metadata()?.is_file() {
        return Err(std::io::Error::new(std::io::ErrorKind::InvalidInput, "it is no regular file"));
    }
    Ok(file)
}

fn create_folder(root: &Path, folder: &Path) -> Result<()> {
    let what =
        || format!("create {}, where the values of before are kept so that they can be put back", folder.display());
    let is_above = |folder: &&Path| folder.starts_with(root) && folder.exists();
    // Nothing is created behind a link that leads out of the root.
    let existing = folder.ancestors().find(is_above).unwrap_or(root);
    inside_root(root, existing).with_context(what)?;
    DirBuilder::new().recursive(true).mode(0o755).create(folder).with_context(what)
}

impl Locked<'_> {
    /// What the log contains.
    ///
    /// # Errors
    /// As [`Log::read`].
    pub fn read(&self) -> Result<Contents> {
        self.log.read()
    }

    /// Appends a record, and waits until the disk has it.
    ///
    /// # Errors
    /// It cannot be written; then what is to be changed must not be changed.
    pub fn append(&self, record: &Record) -> Result<()> {
        let path = self.log.path();
        self.try_append(&path, record).with_context(|| format!("append to {}", path.display()))
    }

    fn try_append(&self, path: &Path, record: &Record) -> Result<()> {
        let mut line = serde_json::to_string(record)?;
        line.push('\n');
        let is_new = !path.exists();
        let mut file = open(path, OpenOptions::new().create(true).read(true).append(true).mode(MODE))?;
        let length = file.metadata()?.len();
        if !ends_with_line_feed(&mut file)? {
            // Of a crash while a line was appended. It is no record, and this one must not be part of it.
            line.insert(0, '\n');
        }
        if let Err(error) = file.write_all(line.as_bytes()).and_then(|()| file.sync_all()) {
            // What is not safely there is not there at all: what it announces is not done.
            let _ = file.set_len(length);
            return Err(error.into());
        }
        if is_new {
            File::open(&self.log.folder)?.sync_all()?;
        }
        Ok(())
    }
}

fn ends_with_line_feed(file: &mut File) -> std::io::Result<bool> {
    if file.metadata()?.len() == 0 {
        return Ok(true);
    }
    file.seek(SeekFrom::End(-1))?;
    let mut last = [0];
    file.read_exact(&mut last)?;
    Ok(last == *b"\n")
}

impl Contents {
    /// The operations of these lines.
    pub fn of(text: &str) -> Self {
        let mut contents = Contents::default();
        for line in text.lines().filter(|line| !line.trim().is_empty()) {
            let added = serde_json::from_str::<Record>(line).is_ok_and(|record| contents.add(record));
            contents.unreadable += usize::from(!added);
        }
        contents.mark_reverted();
        contents
    }

    /// Marks what a later operation reverted that is in force itself: an operation whose revert was reverted is in force.
    fn mark_reverted(&mut self) {
        for index in (0..self.operations.len()).rev() {
            let Some(later) = self.operations.get(index) else { continue };
            let is_done = matches!(later.state, State::Applied | State::Confirmed);
            let (number, Some(reverts)) = (later.begun.op, later.begun.reverts.filter(|_| is_done)) else { continue };
            if let Some(earlier) = self.operations.iter_mut().rfind(|operation| operation.begun.op == reverts)
                && earlier.state.is_in_force()
            {
                (earlier.state, earlier.reverted_by) = (State::Reverted, Some(number));
            }
        }
    }

    /// False for a step of an operation of which the begin is missing.
    fn add(&mut self, record: Record) -> bool {
        match record {
            Record::Begin(begun) => {
                self.operations.push(Operation::new(begun));
                true
            }
            step => {
                let Some(operation) = self.operations.iter_mut().rfind(|operation| operation.begun.op == step.op())
                else {
                    return false;
                };
                operation.add(step);
                true
            }
        }
    }

    /// The number of the next operation.
    pub fn next_number(&self) -> u64 {
        self.operations.iter().map(|operation| operation.begun.op).max().unwrap_or(0).saturating_add(1)
    }

    /// The operation with this number.
    pub fn find(&self, number: u64) -> Option<&Operation> {
        self.operations.iter().rfind(|operation| operation.begun.op == number)
    }
}

/// An id that a boot of the kernel has, so that values of before a reboot are known as such.
pub fn boot_id(host: &Host) -> Option<String> {
    let text = fs::read_to_string(host.path("/proc/sys/kernel/random/boot_id")).ok()?;
    Some(text.trim().to_owned()).filter(|id| !id.is_empty())
}
