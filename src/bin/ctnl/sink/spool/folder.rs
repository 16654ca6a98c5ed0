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

/// Decodes the name of a sink's folder: the sink, and whether that is all of its name. None if no sink
/// has a folder of this name.
pub fn sink_of(file_name: &str) -> Option<(String, bool)> {
    let is_shortened = file_name.len() > 200;
    let encoded = if is_shortened { file_name.get(..200)? } else { file_name };
    let (mut name, mut rest) = (Vec::new(), encoded.bytes());
    while let Some(byte) = rest.next() {
        if byte != b'%' {
            name.push(byte);
            continue;
        }
        let digits = [rest.next(), rest.next()].map(|digit| digit.and_then(|digit| char::from(digit).to_digit(16)));
        match digits {
            [Some(high), Some(low)] => name.push((high * 16 + low) as u8),
            _ if is_shortened => break,
            _ => return None,
        }
    }
    let name = String::from_utf8_lossy(&name).into_owned();
    (is_shortened || self::file_name(&name) == file_name).then_some((name, !is_shortened))
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
            match entry.metadata() {
                // Delivered meanwhile.
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                metadata => found.push((number, metadata?.len())),
            }
        }
    }
    found.sort_unstable();
    Ok(found.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_s_name_shows_its_sink_unless_that_is_too_long() {
        for name in ["tcp:h:1", "nats:nats://a,b/x", "unix:/run/ä %41", ".x", "journald:"] {
            assert_eq!(sink_of(&file_name(name)), Some((name.to_owned(), true)));
        }
        for length in 190..210 {
            let long = format!("unix:{}/%", "/x".repeat(length));
            let (shown, is_all) = sink_of(&file_name(&long)).unwrap_or_default();
            assert!(!is_all && shown.len() > 90 && long.starts_with(&shown), "{shown}");
        }
        assert_eq!([sink_of("a:b"), sink_of("%zz"), sink_of("lost+found")], [None, None, None]);
    }
}
