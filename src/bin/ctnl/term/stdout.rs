//! Data goes to standard output; a reader who has had enough is no failure.

use std::io::{self, Stdout, Write};

use anyhow::{Context, Result};
use nix::fcntl::{FcntlArg, fcntl};
use nix::sys::stat::{SFlag, fstat};

/// Bytes that a pipe takes without its reader: as much as everybody may ask for
/// (`fs.pipe-max-size`). With the usual 64 KiB, writer and reader wake each other
/// several times for each chunk.
const PIPE: i32 = 1024 * 1024;

/// Standard output for many lines.
pub fn for_many_lines() -> Stdout {
    let stdout = io::stdout();
    // A larger one is what somebody wanted. Refused where it is no pipe, or where its user
    // has too many large ones: no loss.
    if fcntl(&stdout, FcntlArg::F_GETPIPE_SZ).is_ok_and(|size| size < PIPE) {
        let _ = fcntl(&stdout, FcntlArg::F_SETPIPE_SZ(PIPE));
    }
    stdout
}

/// Whether it is a character device: a terminal, or /dev/null and its like.
pub fn is_device(stdout: &Stdout) -> bool {
    fstat(stdout).is_ok_and(|stat| SFlag::from_bits_truncate(stat.st_mode) & SFlag::S_IFMT == SFlag::S_IFCHR)
}

/// Writes `bytes` to standard output.
pub fn print(bytes: impl AsRef<[u8]>) -> Result<()> {
    written(io::stdout().lock().write_all(bytes.as_ref()))
}

/// What `result` of writing to standard output means: a closed pipe is success.
pub fn written(result: io::Result<()>) -> Result<()> {
    match result {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        result => result.context("write to standard output"),
    }
}
