//! The folder of one sink's spool: a lock file, the position file, and numbered segments.

use std::collections::VecDeque;
use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use nix::errno::Errno;
use nix::fcntl::{Flock, FlockArg};
use nix::libc;

use super::frame::checksum;

/// Encodes any text as a file name. Different texts get different names.
pub fn file_name(text: &str) -> String {
    let mut name = String::new();
    for byte in text.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' => name.push(byte.into()),
            b'.' if !name.is_empty() => name.push('.'),
            _ => name.push_str(&format!("%{byte:02X}")),
        }
    }
    if name.len() > 200 {
        name.truncate(200);
        name.push_str(&format!("%{:08x}", checksum(text.as_bytes(), &[])));
    }
    name
}

/// The name of a segment; names sort like numbers.
pub fn segment_name(number: u64) -> String {
    format!("{number:020}.seg")
}

/// Locks the folder: two processes in one spool would deliver and delete each other's segments.
pub fn lock(folder: &Path) -> Result<Flock<File>> {
    let path = folder.join("lock");
    let file = open_read_write(&path).with_context(|| format!("open {}", path.display()))?;
    match Flock::lock(file, FlockArg::LockExclusiveNonblock) {
        Ok(lock) => Ok(lock),
        Err((_, Errno::EWOULDBLOCK)) => bail!(
            "the spool {} is in use by another process\n  hint: end that process, or use another --spool",
            folder.display()
        ),
        Err((_, errno)) => Err(io::Error::from(errno)).with_context(|| format!("lock {}", path.display())),
    }
}

/// Opens a file that only its owner may read; creates it if it does not exist.
pub fn open_read_write(path: &Path) -> io::Result<File> {
    OpenOptions::new().read(true).write(true).create(true).truncate(false).mode(0o600).open(path)
}

/// Synchronises the folder: without that, a crash of the host may lose a file that was created in it,
/// although the file was synchronised (fsync(2)).
pub fn sync(folder: &Path) -> io::Result<()> {
    match File::open(folder)?.sync_all() {
        // A file system that cannot do that.
        Err(error) if matches!(error.raw_os_error(), Some(libc::EINVAL | libc::ENOSYS | libc::EOPNOTSUPP)) => Ok(()),
        synced => synced,
    }
}

/// Folders below `parent` with lines for other sinks than those called `names`, and their bytes. One
/// that is in use by another process has its own sink there.
pub fn orphaned(parent: &Path, names: &[String]) -> Vec<(PathBuf, u64)> {
    let own: Vec<String> = names.iter().map(|name| file_name(name)).collect();
    let folders = fs::read_dir(parent).into_iter().flatten().flatten();
    let others = folders.filter(|entry| !own.iter().any(|name| entry.file_name() == **name)).map(|entry| entry.path());
    let with_bytes = others.filter_map(|path| {
        let bytes = list_segments(&path).ok()?.iter().map(|(_, size)| size).sum();
        Some((path, bytes))
    });
    with_bytes.filter(|(path, bytes)| *bytes > 0 && lock(path).is_ok()).collect()
}

/// Number and size of each segment in a folder, oldest first.
pub fn list_segments(folder: &Path) -> io::Result<VecDeque<(u64, u64)>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let name = entry.file_name();
        let number = name.to_str().and_then(|name| name.strip_suffix(".seg")).and_then(|number| number.parse().ok());
        if let Some(number) = number.filter(|number| name == *segment_name(*number)) {
            found.push((number, entry.metadata()?.len()));
        }
    }
    found.sort_unstable();
    Ok(found.into())
}
