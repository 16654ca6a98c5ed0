//! Standard output. A closed pipe is success.

use std::io::{self, Stdout, Write};

use anyhow::{Context, Result};
use nix::fcntl::{FcntlArg, fcntl};
use nix::sys::stat::{SFlag, fstat};

/// Capacity of a pipe: the most that a user without privileges may set (`fs.pipe-max-size`). With the
/// default of 64 KiB, writer and reader wake each other several times per chunk.
const PIPE: i32 = 1024 * 1024;

/// Standard output, with a larger capacity where it is a pipe.
pub fn for_many_lines() -> Stdout {
    let stdout = io::stdout();
    // A larger one was set on purpose. Refused where it is no pipe, or where its user has too many
    // large ones (fs.pipe-user-pages-soft): then it stays as it is.
    if fcntl(&stdout, FcntlArg::F_GETPIPE_SZ).is_ok_and(|size| size < PIPE) {
        let _ = fcntl(&stdout, FcntlArg::F_SETPIPE_SZ(PIPE));
    }
    stdout
}

/// Whether it is a character device: a terminal, /dev/null.
pub fn is_device(stdout: &Stdout) -> bool {
    fstat(stdout).is_ok_and(|stat| SFlag::from_bits_truncate(stat.st_mode) & SFlag::S_IFMT == SFlag::S_IFCHR)
}

/// What became of the bytes that were written to standard output.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Delivered {
    /// All were written.
    All,
    /// The reader of the pipe is gone, as of `| head -1`: it needs no more.
    ReaderGone,
}

/// Writes `bytes` to standard output.
pub fn print(bytes: impl AsRef<[u8]>) -> Result<()> {
    written(io::stdout().lock().write_all(bytes.as_ref())).map(drop)
}

/// `result` of writing to standard output, with a closed pipe as success.
pub fn written(result: io::Result<()>) -> Result<Delivered> {
    match result {
        Ok(()) => Ok(Delivered::All),
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(Delivered::ReaderGone),
        Err(error) => Err(error).context("write to standard output"),
    }
}
