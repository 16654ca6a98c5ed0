//! A file that appears whole or not at all.

use std::ffi::OsString;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

/// A file that takes its name in the end, readable by its owner alone. It is removed when it is dropped before
/// [`WholeFile::finish`].
#[derive(Debug)]
pub struct WholeFile {
    file: File,
    /// Where it is written, and the name that it takes; `None` for a device or a pipe.
    rename: Option<(PathBuf, PathBuf)>,
}

impl WholeFile {
    /// Creates it beside `path`; a device or a pipe of that name is opened.
    ///
    /// # Errors
    /// `path` is a folder, or nothing can be created beside it.
    pub fn create(path: &Path) -> io::Result<Self> {
        match fs::metadata(path) {
            Ok(found) if found.is_dir() => Err(io::ErrorKind::IsADirectory.into()),
            // What a symbolic link leads to is replaced, not the link.
            Ok(found) if found.is_file() => Self::beside(fs::canonicalize(path)?),
            Ok(_) => Ok(WholeFile { file: OpenOptions::new().write(true).open(path)?, rename: None }),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Self::beside(path.to_owned()),
            Err(error) => Err(error),
        }
    }

    fn beside(path: PathBuf) -> io::Result<Self> {
        let name = path.file_name().ok_or(io::ErrorKind::InvalidFilename)?;
        let mut temporary = OsString::from(".");
        temporary.push(name);
        temporary.push(format!(".new-{}", std::process::id()));
        let temporary = path.with_file_name(temporary);
        let file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&temporary)?;
        Ok(WholeFile { file, rename: Some((temporary, path)) })
    }

    /// Writes `content`, waits until it is on the disk, and gives the file its name.
    ///
    /// # Errors
    /// An error of write(2), fsync(2) or rename(2): a file that had that name is as it was.
    pub fn finish(mut self, content: &[u8]) -> io::Result<()> {
        self.file.write_all(content)?;
        if let Some((temporary, path)) = &self.rename {
            self.file.sync_all()?;
            fs::rename(temporary, path)?;
            self.rename = None;
        }
        Ok(())
    }
}

impl Drop for WholeFile {
    fn drop(&mut self) {
        if let Some((temporary, _)) = &self.rename {
            let _ = fs::remove_file(temporary);
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::os::unix::fs::{MetadataExt, symlink};

    use super::*;

    fn names(folder: &Path) -> Vec<String> {
        let names = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
        let mut names: Vec<_> = names.collect();
        names.sort();
        names
    }

    #[test]
    fn a_file_has_its_name_only_when_it_is_whole_and_its_owner_alone_may_read_it() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("page.html");
        let file = WholeFile::create(&path).unwrap();
        assert!(!path.exists());
        file.finish(b"<p>").unwrap();
        assert_eq!((fs::read(&path).unwrap(), names(folder.path())), (b"<p>".to_vec(), vec!["page.html".to_owned()]));
        assert_eq!(fs::metadata(&path).unwrap().mode() & 0o777, 0o600);
    }

    #[test]
    fn a_file_that_is_not_finished_leaves_the_one_of_before_and_nothing_else() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("page.html");
        fs::write(&path, "before").unwrap();
        drop(WholeFile::create(&path).unwrap());
        assert_eq!(
            (fs::read(&path).unwrap(), names(folder.path())),
            (b"before".to_vec(), vec!["page.html".to_owned()])
        );
    }

    #[test]
    fn a_symbolic_link_stays_and_a_device_is_written_to() {
        let folder = tempfile::tempdir().unwrap();
        let (link, target) = (folder.path().join("link"), folder.path().join("target"));
        fs::write(&target, "before").unwrap();
        symlink("target", &link).unwrap();
        WholeFile::create(&link).unwrap().finish(b"after").unwrap();
        assert!(fs::symlink_metadata(&link).unwrap().is_symlink() && fs::read(&target).unwrap() == b"after");
        WholeFile::create(Path::new("/dev/null")).unwrap().finish(b"x").unwrap();
        let full = WholeFile::create(Path::new("/dev/full")).unwrap().finish(b"x").unwrap_err();
        assert_eq!(full.kind(), io::ErrorKind::StorageFull);
    }

    #[test]
    fn what_cannot_be_written_is_refused_before_there_is_any_content() {
        let folder = tempfile::tempdir().unwrap();
        assert_eq!(WholeFile::create(folder.path()).unwrap_err().kind(), io::ErrorKind::IsADirectory);
        let missing = folder.path().join("none/page.html");
        assert_eq!(WholeFile::create(&missing).unwrap_err().kind(), io::ErrorKind::NotFound);
    }
}
