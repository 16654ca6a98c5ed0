//! The cpio archive that the kernel unpacks as its first file system ("newc": see
//! buffer-format.rst in the kernel's Documentation/driver-api/early-userspace).

use std::collections::BTreeSet;
use std::path::{Component, Path};

const FOLDER: u32 = 0o040_755;
const PROGRAM: u32 = 0o100_755;
const LINK: u32 = 0o120_777;
const DEVICE: u32 = 0o020_600;

/// An archive in the making. Folders come by themselves.
#[derive(Debug, Default)]
pub struct Archive {
    bytes: Vec<u8>,
    present: BTreeSet<String>,
}

impl Archive {
    /// A file that may be run. The first of a path counts.
    pub fn file(&mut self, path: &str, content: &[u8]) {
        self.add(path, PROGRAM, (0, 0), content);
    }

    /// A folder that is empty so far.
    pub fn folder(&mut self, path: &str) {
        self.add(path, FOLDER, (0, 0), b"");
    }

    /// A link from `path` to `target`.
    pub fn link(&mut self, path: &str, target: &str) {
        self.add(path, LINK, (0, 0), target.as_bytes());
    }

    /// A character device.
    pub fn device(&mut self, path: &str, major: u32, minor: u32) {
        self.add(path, DEVICE, (major, minor), b"");
    }

    fn add(&mut self, path: &str, mode: u32, device: (u32, u32), content: &[u8]) {
        let path = path.trim_start_matches('/');
        if let Some(parent) = Path::new(path).parent()
            && parent.components().all(|component| matches!(component, Component::Normal(_)))
            && let Some(parent) = parent.to_str().filter(|parent| !parent.is_empty())
        {
            self.add(parent, FOLDER, (0, 0), b"");
        }
        if self.present.insert(path.to_owned()) {
            self.append(path, mode, device, content);
        }
    }

    fn append(&mut self, path: &str, mode: u32, (major, minor): (u32, u32), content: &[u8]) {
        let number = u32::try_from(self.present.len()).unwrap_or(u32::MAX);
        let size = u32::try_from(content.len()).unwrap_or(u32::MAX);
        let name_size = u32::try_from(path.len() + 1).unwrap_or(u32::MAX);
        // ino, mode, uid, gid, nlink, mtime, filesize, devmajor, devminor, rdevmajor, rdevminor, namesize, check
        let fields = [number, mode, 0, 0, 1, 0, size, 0, 0, major, minor, name_size, 0];
        self.bytes.extend(b"070701");
        for field in fields {
            self.bytes.extend(format!("{field:08x}").as_bytes());
        }
        self.bytes.extend(path.as_bytes());
        self.bytes.push(0);
        self.align();
        self.bytes.extend(content);
        self.align();
    }

    fn align(&mut self) {
        self.bytes.resize(self.bytes.len().next_multiple_of(4), 0);
    }

    /// The archive with its end.
    pub fn finish(mut self) -> Vec<u8> {
        self.append("TRAILER!!!", 0, (0, 0), b"");
        self.bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use anyhow::Context;
    use std::io::Write;
    use std::process::{Command, Stdio};

    #[test]
    fn busybox_cpio_unpacks_the_archive() -> anyhow::Result<()> {
        let mut archive = Archive::default();
        archive.file("/a/b/program", b"#!");
        archive.file("a/b/program", b"not this one");
        archive.link("/a/link", "b/program");
        archive.folder("/empty");
        let folder = tempfile::tempdir()?;
        let mut cpio = Command::new("busybox");
        cpio.args(["cpio", "-id"]).current_dir(folder.path()).stdin(Stdio::piped());
        let mut cpio = cpio.spawn().context("busybox cannot be run: apt-get install busybox-static")?;
        let bytes = archive.finish();
        cpio.stdin.take().into_iter().try_for_each(|mut stdin| stdin.write_all(&bytes))?;
        assert!(cpio.wait()?.success());
        assert_eq!(std::fs::read(folder.path().join("a/link"))?, b"#!");
        assert!(folder.path().join("empty").is_dir());
        Ok(())
    }
}
