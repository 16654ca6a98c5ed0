//! When a file is rotated, and how its predecessors are called: `PATH.1` is the newest,
//! `PATH.2` the one before, as logrotate does it.

use std::ffi::OsString;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// When a file is rotated. Both None: never.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rotation {
    /// Before it grows over so many bytes. A chunk is never split, so that one that is longer
    /// stands in a file of its own.
    pub size: Option<u64>,
    /// At the multiples of this since 1970, UTC: 24 h is midnight UTC.
    pub every: Option<Duration>,
    /// How many predecessors are kept, at least one.
    pub keep: u32,
}

impl Rotation {
    /// Whether a file of `length` bytes, last written at `written`, must not take `more` bytes at `now`; ns.
    pub fn is_due(&self, length: u64, more: u64, written: u64, now: u64) -> bool {
        let too_long = self.size.is_some_and(|size| length + more > size);
        let period = |time: u64, every: Duration| u128::from(time) / every.as_nanos().max(1);
        let too_old = self.every.is_some_and(|every| period(written, every) < period(now, every));
        length > 0 && (too_long || too_old)
    }

    /// Makes `path` the newest predecessor, and forgets the oldest.
    pub fn rotate(&self, path: &Path) -> io::Result<()> {
        for number in (1..self.keep.max(1)).rev() {
            match fs::rename(predecessor(path, number), predecessor(path, number + 1)) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => {}
            }
        }
        fs::rename(path, predecessor(path, 1))
    }
}

fn predecessor(path: &Path, number: u32) -> PathBuf {
    let mut name = OsString::from(path);
    name.push(format!(".{number}"));
    name.into()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_due_by_size_or_when_a_period_has_begun_but_never_empty() {
        let rotation = Rotation { size: Some(100), every: Some(Duration::from_nanos(10)), keep: 1 };
        assert!(!rotation.is_due(90, 10, 11, 19));
        assert!(rotation.is_due(91, 10, 11, 19));
        assert!(rotation.is_due(1, 1, 19, 20));
        assert!(!rotation.is_due(0, 101, 1, 20));
        assert!(!Rotation { size: None, every: None, keep: 1 }.is_due(1 << 40, 1, 0, 1 << 60));
    }

    #[test]
    fn the_oldest_is_forgotten_and_a_hole_in_the_row_is_no_failure() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("x");
        let rotation = Rotation { size: None, every: None, keep: 2 };
        for text in ["1", "2", "3", "4"] {
            fs::write(&path, text).unwrap();
            rotation.rotate(&path).unwrap();
        }
        let read = |number| fs::read_to_string(predecessor(&path, number)).ok();
        assert_eq!((read(1).as_deref(), read(2).as_deref(), read(3)), (Some("4"), Some("3"), None));
    }
}
