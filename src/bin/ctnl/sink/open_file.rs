//! An open file that contains whole lines only.
//!
//! A chunk that a full disk cut short is truncated to where it began, and written again when there
//! is space. A partial line that a crash left at the end is truncated when the file is opened. So
//! the file must have one writer, and is locked. A file whose lines are not those of this stream's
//! format is never truncated: its path is a mistake.

use std::borrow::Cow;
use std::fs::{File, Metadata, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{FileExt, FileTypeExt, MetadataExt, OpenOptionsExt};
use std::path::Path;
use std::sync::Arc;
use std::time::UNIX_EPOCH;

use nix::errno::Errno;
use nix::fcntl::{FcntlArg, Flock, FlockArg, OFlag, fcntl};

use super::options::LineTest;
use super::rotation::Rotation;

/// No line is longer.
const MAX_LINE: u64 = 1 << 20;

/// What a file of the stream contains.
#[derive(Clone)]
pub struct FileContent {
    /// What it begins with, if anything.
    pub header: Arc<[u8]>,
    /// Recognises a line.
    pub is_own_line: LineTest,
}

/// The file.
pub struct OpenFile {
    file: Flock<File>,
    /// The end of the last whole line; None for what cannot be truncated: a pipe, a terminal.
    length: Option<u64>,
    /// The last write, ns of `CLOCK_REALTIME`.
    last_write: u64,
    /// Written bytes of an unfinished chunk, if it cannot be truncated.
    partial: usize,
    /// Whether anything was written, for a file without a length.
    has_lines: bool,
}

impl OpenFile {
    /// Opens and locks it, and truncates a partial line at its end.
    pub fn open(path: &Path, content: &FileContent) -> io::Result<Self> {
        let file = open_nonblocking(path).map_err(|error| explain(path, error))?;
        let file = Flock::lock(file, FlockArg::LockExclusiveNonblock).map_err(|(_, errno)| match errno {
            Errno::EWOULDBLOCK => io::Error::new(io::ErrorKind::ResourceBusy, "another process writes to it"),
            errno => errno.into(),
        })?;
        let metadata = file.metadata()?;
        let length = if metadata.is_file() { Some(content.prepare(path, &file, metadata.len())?) } else { None };
        let modified = metadata.modified().ok().and_then(|time| time.duration_since(UNIX_EPOCH).ok());
        let last_write = modified.map_or(0, |since| since.as_nanos() as u64);
        Ok(OpenFile { file, length, last_write, partial: 0, has_lines: false })
    }

    /// Whether it must be rotated before `more` bytes are appended at `now`. Not in the middle of a
    /// chunk, whose rest a pipe has to get first.
    pub fn is_due(&self, rotation: Rotation, more: u64, now: u64) -> bool {
        let is_due = self.length.is_some_and(|length| rotation.is_due(length, more, self.last_write, now));
        is_due && self.partial == 0
    }

    /// Whether it is a regular file that was removed from `path`, or replaced by a rename. Some
    /// FUSE file systems report no links for every file, so that the path is checked too.
    pub fn is_removed(&self, path: &Path) -> io::Result<bool> {
        Ok(self.length.is_some() && self.file.metadata()?.nlink() == 0 && !self.is_at(path))
    }

    /// Whether `path` still names this file.
    pub fn is_at(&self, path: &Path) -> bool {
        let identity = |metadata: Metadata| (metadata.dev(), metadata.ino());
        let found = path.metadata().map(identity).ok();
        found.is_some() && found == self.file.metadata().map(identity).ok()
    }

    /// Appends all of `bytes`, after the header if the file is empty, or truncates what was written.
    pub fn write(&mut self, header: &[u8], bytes: &[u8], now: u64) -> io::Result<()> {
        // Another program may have truncated it, such as logrotate with copytruncate.
        if self.length.is_some() && self.partial == 0 {
            self.length = Some(self.file.metadata()?.len());
        }
        let is_first = !header.is_empty() && self.length.map_or(!self.has_lines, |length| length == 0);
        let bytes = if is_first { Cow::Owned([header, bytes].concat()) } else { Cow::Borrowed(bytes) };
        while let Some(rest) = bytes.get(self.partial..).filter(|rest| !rest.is_empty()) {
            match self.file.write(rest) {
                Ok(written) => self.partial += written,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(self.truncate_partial_chunk().err().unwrap_or(error)),
            }
        }
        self.partial = 0;
        self.has_lines = true;
        self.last_write = now;
        self.length = self.length.map(|length| length + bytes.len() as u64);
        Ok(())
    }

    fn truncate_partial_chunk(&mut self) -> io::Result<()> {
        if let Some(length) = self.length {
            self.file.set_len(length)?;
            self.partial = 0;
        }
        Ok(())
    }

    /// Synchronises it to the disk.
    pub fn sync(&self) -> io::Result<()> {
        match self.file.sync_data() {
            // A pipe or another special file that does not support synchronisation: fdatasync(2).
            Err(error) if error.kind() == io::ErrorKind::InvalidInput => Ok(()),
            synced => synced,
        }
    }
}

/// Opens the file without waiting for the reader of a pipe, and then makes writes blocking again.
fn open_nonblocking(path: &Path) -> io::Result<File> {
    let flags = OFlag::O_NONBLOCK.bits();
    let file = OpenOptions::new().append(true).create(true).mode(0o640).custom_flags(flags).open(path)?;
    fcntl(&file, FcntlArg::F_SETFL(OFlag::O_APPEND))?;
    Ok(file)
}

/// ENXIO is the error for a pipe without a reader, and for a socket: open(2).
fn explain(path: &Path, error: io::Error) -> io::Error {
    let is_special = error.raw_os_error() == Some(Errno::ENXIO as i32);
    let Some(kind) = path.metadata().ok().map(|metadata| metadata.file_type()).filter(|_| is_special) else {
        return error;
    };
    if kind.is_fifo() {
        let hint = "start its reader first, or use a regular file or -";
        io::Error::new(error.kind(), format!("it is a named pipe without a reader\n  hint: {hint}"))
    } else if kind.is_socket() {
        io::Error::new(error.kind(), format!("it is a socket\n  hint: use unix:{}", path.display()))
    } else {
        error
    }
}

impl FileContent {
    /// Checks that a file may be continued, and truncates a partial line at its end. Returns its length.
    fn prepare(&self, path: &Path, file: &File, length: u64) -> io::Result<u64> {
        // A file that was opened for appending cannot be read.
        let content = File::open(path)?;
        self.check_header(&content, length)?;
        let end = self.end_of_lines(&content, length)?;
        if end < length {
            file.set_len(end)?;
        }
        Ok(end)
    }

    fn check_header(&self, content: &File, length: u64) -> io::Result<()> {
        let common = self.header.len().min(usize::try_from(length).unwrap_or(usize::MAX));
        let mut beginning = vec![0; common];
        content.read_exact_at(&mut beginning, 0)?;
        if self.header.get(..common) == Some(&*beginning) {
            return Ok(());
        }
        let why = "it does not begin with the columns of this stream\n  hint: rename it, or use another file";
        Err(io::Error::other(why))
    }

    /// The end of the last whole line. An error if there is a partial one that may be somebody else's.
    fn end_of_lines(&self, content: &File, length: u64) -> io::Result<u64> {
        let from = length.saturating_sub(2 * MAX_LINE);
        let mut tail = vec![0; (length - from) as usize];
        content.read_exact_at(&mut tail, from)?;
        let end = tail.iter().rposition(|byte| *byte == b'\n').map_or(0, |newline| newline + 1);
        let (whole, partial) = tail.split_at(end);
        let last = match whole.strip_suffix(b"\n") {
            Some(lines) => lines.rsplit(|byte| *byte == b'\n').next().unwrap_or_default(),
            None => partial,
        };
        if partial.is_empty() || (self.is_own_line)(last.strip_suffix(b"\r").unwrap_or(last)) {
            return Ok(from + end as u64);
        }
        let why = "it ends with a partial line, and the one before is not of this stream's format: it is another kind \
                   of file\n  hint: use another file";
        Err(io::Error::other(why))
    }
}
