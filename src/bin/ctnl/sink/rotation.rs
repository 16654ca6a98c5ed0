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
    /// Whether files are rotated at all.
    pub fn is_active(&self) -> bool {
        self.size.is_some() || self.every.is_some()
    }

    /// Whether a file of `length` bytes, last written at `last_write`, must be rotated before
    /// `more` bytes are appended at `now`. Times in ns of `CLOCK_REALTIME`.
    pub fn is_due(&self, length: u64, more: u64, last_write: u64, now: u64) -> bool {
        let is_too_long = self.size.is_some_and(|size| length + more > size);
        let period = |time: u64, every: Duration| u128::from(time) / every.as_nanos().max(1);
        let is_too_old = self.every.is_some_and(|every| period(last_write, every) < period(now, every));
        length > 0 && (is_too_long || is_too_old)
    }

    /// Renames `path` to `PATH.1`, and before that `PATH.1` to `PATH.2` and so on up to the first
    /// number that is not in use. Only then it removes the files that are one too many: however
    /// often a rotation fails, it deletes nothing. A compressed file has the number of the plain one.
    pub fn rotate(&self, path: &Path) -> io::Result<()> {
        let free = first_free(path)?;
        for number in (1..free).rev() {
            for suffix in files_of(path, number)? {
                rename(&with_suffix(path, number, suffix), &with_suffix(path, number + 1, suffix))?;
            }
        }
        rename(path, &rotated(path, 1))?;
        let excess = u64::from(self.keep.max(1)) + 1;
        for suffix in files_of(path, excess)? {
            let file = with_suffix(path, excess, suffix);
            fs::remove_file(&file).map_err(|error| with_operation(&format!("remove {}", file.display()), error))?;
        }
        Ok(())
    }
}

/// What may follow the number of a rotated file.
const SUFFIXES: [&str; 3] = ["", ".gz", ".zst"];

/// The suffixes of the rotated files that exist with this number.
fn files_of(path: &Path, number: u64) -> io::Result<Vec<&'static str>> {
    let mut found = Vec::new();
    for suffix in SUFFIXES {
        let file = with_suffix(path, number, suffix);
        match file.symlink_metadata() {
            Ok(_) => found.push(suffix),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(with_operation(&format!("stat {}", file.display()), error)),
        }
    }
    Ok(found)
}

/// The first number that no rotated file has.
pub fn first_free(path: &Path) -> io::Result<u64> {
    let mut number = 1;
    while !files_of(path, number)?.is_empty() {
        number += 1;
    }
    Ok(number)
}

fn rename(from: &Path, to: &Path) -> io::Result<()> {
    let operation = || format!("rename {} to {}", from.display(), to.display());
    fs::rename(from, to).map_err(|error| with_operation(&operation(), error))
}

fn with_operation(operation: &str, error: io::Error) -> io::Error {
    io::Error::new(error.kind(), format!("{operation}: {error}"))
}

/// The rotated file with this number.
pub fn rotated(path: &Path, number: u64) -> PathBuf {
    with_suffix(path, number, "")
}

/// The compressed rotated file with this number.
pub fn with_suffix(path: &Path, number: u64, suffix: &str) -> PathBuf {
    let mut name = OsString::from(path);
    name.push(format!(".{number}{suffix}"));
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

    fn texts(folder: &Path) -> Vec<(String, String)> {
        let files = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap());
        let read = |entry: fs::DirEntry| {
            (entry.file_name().into_string().unwrap(), fs::read_to_string(entry.path()).unwrap_or_default())
        };
        let mut texts: Vec<_> = files.map(read).collect();
        texts.sort();
        texts
    }

    #[test]
    fn a_rotation_that_fails_again_and_again_deletes_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("x");
        for number in 1..=2 {
            fs::write(rotated(&path, number), number.to_string()).unwrap();
        }
        let rotation = Rotation { size: None, every: None, keep: 2 };
        for _ in 0..4 {
            let error = rotation.rotate(&path).unwrap_err().to_string();
            assert!(error.contains("x to ") && error.contains("x.1: No such file"), "{error}");
        }
        let texts_of = |texts: &[(&str, &str)]| -> Vec<_> {
            texts.iter().map(|(name, text)| ((*name).to_owned(), (*text).to_owned())).collect()
        };
        assert_eq!(texts(folder.path()), texts_of(&[("x.2", "1"), ("x.3", "2")]));
        // The first one that succeeds removes what is too much.
        fs::write(&path, "0").unwrap();
        rotation.rotate(&path).unwrap();
        assert_eq!(texts(folder.path()), texts_of(&[("x.1", "0"), ("x.2", "1")]));
    }

    #[test]
    fn compressed_files_keep_their_number_beside_plain_ones_and_are_counted() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("x");
        for name in ["x", "x.1", "x.2.gz", "x.3", "x.3.gz", "x.4.zst"] {
            fs::write(folder.path().join(name), name).unwrap();
        }
        Rotation { size: None, every: None, keep: 4 }.rotate(&path).unwrap();
        let names: Vec<_> = texts(folder.path()).into_iter().map(|(name, text)| format!("{name}={text}")).collect();
        assert_eq!(names, ["x.1=x", "x.2=x.1", "x.3.gz=x.2.gz", "x.4=x.3", "x.4.gz=x.3.gz"]);
    }

    #[test]
    fn a_rotation_renames_only_up_to_the_first_free_number() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("x");
        for name in ["x", "x.1", "x.3"] {
            fs::write(folder.path().join(name), name).unwrap();
        }
        Rotation { size: None, every: None, keep: u32::MAX }.rotate(&path).unwrap();
        let names: Vec<_> = texts(folder.path()).into_iter().map(|(name, text)| format!("{name}={text}")).collect();
        assert_eq!(names, ["x.1=x", "x.2=x.1", "x.3=x.3"]);
    }
}
