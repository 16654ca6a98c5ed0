//! A file that lines are appended to, and that has whole lines only.
//!
//! What a full disk cut short is cut back to the chunk's beginning and written again when
//! there is room; what the death of an earlier run cut short is cut back to the last whole
//! line. So the file must be ours alone, and is locked.

use std::borrow::Cow;
use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{FileExt, FileTypeExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::UNIX_EPOCH;

use anyhow::{Context, Result};
use nix::errno::Errno;
use nix::fcntl::{FcntlArg, Flock, FlockArg, OFlag, fcntl};

use super::{Clock, Deliver, Down, Options, Rotation, Word};
use crate::chunk::Chunk;

/// No line is longer: a file whose end has none is not ours.
const LONGEST: u64 = 1 << 20;

/// When a file is synchronised to the disk. The death of the program loses nothing that was
/// written; that of the host does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Synchronise {
    /// Never: the kernel writes it out in its own time.
    Never,
    /// When it is rotated or closed.
    #[default]
    Rotate,
    /// After each chunk.
    Always,
}

/// The sink.
struct Lines {
    path: PathBuf,
    rotation: Rotation,
    sync: Synchronise,
    clock: Clock,
    header: Arc<[u8]>,
    open: Option<Open>,
}

/// The file, while it is open.
struct Open {
    file: Flock<File>,
    /// Where whole lines end; None where that is no place to cut: a pipe, a terminal.
    length: Option<u64>,
    /// When it was last written, ns.
    written: u64,
    /// How much of a chunk is written, where it cannot be cut back.
    done: usize,
    /// Whether it has a line already, where it has no length that tells.
    begun: bool,
}

pub fn make(word: &Word, options: &Options) -> Result<Box<dyn Deliver>> {
    let mut lines = Lines {
        path: PathBuf::from(&word.rest),
        rotation: options.rotation,
        sync: options.sync,
        clock: options.clock.clone(),
        header: Arc::clone(&options.header),
        open: None,
    };
    let open = Open::new(&lines.path).with_context(|| format!("open {}", lines.path.display()))?;
    lines.open = Some(open);
    Ok(Box::new(lines))
}

impl Lines {
    fn ensure_open(&mut self) -> Result<&mut Open, Down> {
        let open = match self.open.take() {
            Some(open) => open,
            None => Open::new(&self.path).map_err(|error| self.down("open", &error))?,
        };
        Ok(self.open.insert(open))
    }

    fn down(&self, tried: &str, error: &io::Error) -> Down {
        Down::of(format_args!("{tried} {}", self.path.display()), error)
    }

    /// Rotates it where it must not take `more` bytes.
    fn rotate(&mut self, more: u64) -> Result<(), Down> {
        let now = (self.clock)();
        let rotation = self.rotation;
        let open = self.ensure_open()?;
        let due = open.length.is_some_and(|length| rotation.is_due(length, more, open.written, now));
        // What could not be cut back needs its rest first.
        if !due || open.done > 0 {
            return Ok(());
        }
        self.close()?;
        rotation.rotate(&self.path).map_err(|error| self.down("rotate", &error))
    }

    fn close(&mut self) -> Result<(), Down> {
        if let Some(open) = &self.open
            && self.sync != Synchronise::Never
        {
            open.sync().map_err(|error| self.down("synchronise", &error))?;
        }
        self.open = None;
        Ok(())
    }
}

impl Open {
    fn new(path: &Path) -> io::Result<Self> {
        let file = open(path).map_err(|error| explained(path, error))?;
        let file = Flock::lock(file, FlockArg::LockExclusiveNonblock).map_err(|(_, errno)| match errno {
            Errno::EWOULDBLOCK => io::Error::new(io::ErrorKind::ResourceBusy, "another process writes to it"),
            errno => errno.into(),
        })?;
        let metadata = file.metadata()?;
        let length = if metadata.is_file() { Some(whole_lines(path, &file, metadata.len())?) } else { None };
        let modified = metadata.modified().ok().and_then(|time| time.duration_since(UNIX_EPOCH).ok());
        let written = modified.map_or(0, |since| since.as_nanos() as u64);
        Ok(Open { file, length, written, done: 0, begun: false })
    }

    /// Writes all of it, behind the header where it is the first, or cuts it back.
    fn write(&mut self, header: &[u8], bytes: &[u8], now: u64) -> io::Result<()> {
        // Somebody may have emptied it meanwhile, as logrotate's copytruncate does.
        if self.length.is_some() && self.done == 0 {
            self.length = Some(self.file.metadata()?.len());
        }
        let is_first = !header.is_empty() && self.length.map_or(!self.begun, |length| length == 0);
        let bytes = if is_first { Cow::Owned([header, bytes].concat()) } else { Cow::Borrowed(bytes) };
        while let Some(rest) = bytes.get(self.done..).filter(|rest| !rest.is_empty()) {
            match self.file.write(rest) {
                Ok(written) => self.done += written,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(self.cut_back().err().unwrap_or(error)),
            }
        }
        self.done = 0;
        self.begun = true;
        self.written = now;
        self.length = self.length.map(|length| length + bytes.len() as u64);
        Ok(())
    }

    fn cut_back(&mut self) -> io::Result<()> {
        if let Some(length) = self.length {
            self.file.set_len(length)?;
            self.done = 0;
        }
        Ok(())
    }

    fn sync(&self) -> io::Result<()> {
        match self.file.sync_data() {
            // What cannot be synchronised at all, as a pipe.
            Err(error) if error.kind() == io::ErrorKind::InvalidInput => Ok(()),
            synced => synced,
        }
    }
}

impl Deliver for Lines {
    fn deliver(&mut self, chunk: &Chunk) -> Result<(), Down> {
        // In the middle of a chunk a pipe must get its rest, and there is nothing to rotate.
        self.rotate(chunk.bytes.len() as u64)?;
        let (now, sync, header) = ((self.clock)(), self.sync, Arc::clone(&self.header));
        let open = self.ensure_open()?;
        let written = open.write(&header, &chunk.bytes, now);
        let written = written.and_then(|()| if sync == Synchronise::Always { open.sync() } else { Ok(()) });
        written.map_err(|error| self.down("write", &error))
    }

    fn idle(&mut self) -> Result<(), Down> {
        self.rotate(0)
    }

    fn reopen(&mut self) {
        // Where it cannot be synchronised, the next write says so.
        let _ = self.close();
        self.open = None;
    }

    fn finish(&mut self) -> Result<(), Down> {
        self.close()
    }
}

/// Opens it without waiting for the reader of a pipe: who waits there hears no signal.
fn open(path: &Path) -> io::Result<File> {
    let flags = OFlag::O_NONBLOCK.bits();
    let file = OpenOptions::new().append(true).create(true).mode(0o640).custom_flags(flags).open(path)?;
    // But written it is as it comes: the thread has nothing else to do.
    fcntl(&file, FcntlArg::F_SETFL(OFlag::O_APPEND))?;
    Ok(file)
}

/// What cannot be opened for writing though it is there: a pipe without a reader, a socket.
fn explained(path: &Path, error: io::Error) -> io::Error {
    let is_there = error.raw_os_error() == Some(Errno::ENXIO as i32);
    let Some(kind) = path.metadata().ok().map(|metadata| metadata.file_type()).filter(|_| is_there) else {
        return error;
    };
    if kind.is_fifo() {
        io::Error::new(error.kind(), "it is a pipe that nobody reads; start its reader first, or use a plain file or -")
    } else if kind.is_socket() {
        io::Error::new(error.kind(), format!("it is a socket; use unix:{}", path.display()))
    } else {
        error
    }
}

/// Where the last whole line of a file ends; what is behind it is cut off.
fn whole_lines(path: &Path, file: &File, length: u64) -> io::Result<u64> {
    let from = length.saturating_sub(LONGEST);
    let mut tail = vec![0; (length - from) as usize];
    // A file that was opened for appending cannot be read.
    File::open(path)?.read_exact_at(&mut tail, from)?;
    let end = match tail.iter().rposition(|byte| *byte == b'\n') {
        Some(newline) => from + newline as u64 + 1,
        None if from == 0 => 0,
        None => return Err(io::Error::other("it has no lines at its end: this is another kind of file")),
    };
    if end < length {
        file.set_len(end)?;
    }
    Ok(end)
}
