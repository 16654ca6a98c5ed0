//! Rotation of files: `PATH` becomes `PATH.1`, `PATH.1` becomes `PATH.2`, and so on, as logrotate
//! names them.

use std::ffi::OsString;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// When a file is rotated: never if both limits are None.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rotation {
    /// Maximum size in bytes. A chunk is never split: one that is longer gets a file of its own.
    pub size: Option<u64>,
    /// Rotate at the multiples of this since 1970 in UTC: 24 h is midnight UTC.
    pub every: Option<Duration>,
    /// Number of rotated files to keep, at least one.
    pub keep: u32,
}

impl Rotation {
    /// Whether a file of `length` bytes, last written at `last_write`, must be rotated before
    /// `more` bytes are appended at `now`. Times in ns of `CLOCK_REALTIME`.
    pub fn is_due(&self, length: u64, more: u64, last_write: u64, now: u64) -> bool {
        let is_too_long = self.size.is_some_and(|size| length + more > size);
        let period = |time: u64, every: Duration| u128::from(time) / every.as_nanos().max(1);
        let is_too_old = self.every.is_some_and(|every| period(last_write, every) < period(now, every));
        length > 0 && (is_too_long || is_too_old)
    }

    /// Renames `path` to `PATH.1` and shifts the older ones. The oldest one is overwritten.
    pub fn rotate(&self, path: &Path) -> io::Result<()> {
        for number in (1..self.keep.max(1)).rev() {
            match fs::rename(rotated(path, number), rotated(path, number + 1)) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => {}
            }
        }
        fs::rename(path, rotated(path, 1))
    }
}

fn rotated(path: &Path, number: u32) -> PathBuf {
    let mut name = OsString::from(path);
    name.push(format!(".{number}"));
    name.into()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_due_by_size_or_in_a_new_period_unless_it_is_empty() {
        let rotation = Rotation { size: Some(100), every: Some(Duration::from_nanos(10)), keep: 1 };
        assert!(!rotation.is_due(90, 10, 11, 19));
        assert!(rotation.is_due(91, 10, 11, 19));
        assert!(rotation.is_due(1, 1, 19, 20));
        assert!(!rotation.is_due(0, 101, 1, 20));
        assert!(!Rotation { size: None, every: None, keep: 1 }.is_due(1 << 40, 1, 0, 1 << 60));
    }

    #[test]
    fn the_oldest_file_is_overwritten_and_a_missing_number_is_no_error() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("x");
        let rotation = Rotation { size: None, every: None, keep: 2 };
        for text in ["1", "2", "3", "4"] {
            fs::write(&path, text).unwrap();
            rotation.rotate(&path).unwrap();
        }
        let read = |number| fs::read_to_string(rotated(&path, number)).ok();
        assert_eq!((read(1).as_deref(), read(2).as_deref(), read(3)), (Some("4"), Some("3"), None));
    }
}
