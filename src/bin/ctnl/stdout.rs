//! Data goes to standard output; a reader who has had enough is no failure.

use std::io::{self, Write};

use anyhow::{Context, Result};

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
