//! The mounts of network namespaces in /proc/PID/mountinfo.
//!
//! The format is written by `show_mountinfo` (fs/proc_namespace.c): mount id, parent id, device,
//! root, mount point, … The kernel escapes space, tab, newline and backslash as octal numbers
//! (`mangle_path` in fs/seq_file.c) and leaves all other bytes as they are.
//!
//! The crate `procfs` (0.18) is not used: `MountInfo` returns mount points with their escapes,
//! and `MountInfos` fails for the whole file at the first line that is not UTF-8. One such
//! mount anywhere on the host would hide every namespace.

use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;
use std::path::{Path, PathBuf};
use std::{fs, io};

/// Reads of a file that keeps changing.
const MAX_READS: u32 = 10;

/// Reads the file until two reads are equal: while mounts are being moved, one read can have the old
/// path of one and the new path of another (`m_next` in fs/namespace.c).
pub(super) fn read(path: &Path) -> io::Result<Vec<u8>> {
    let mut last = fs::read(path)?;
    for _ in 0..MAX_READS {
        let next = fs::read(path)?;
        if next == last {
            break;
        }
        last = next;
    }
    Ok(last)
}

/// The inode number and the mount point of each network namespace in `mountinfo`.
pub(super) fn network_namespaces(mountinfo: &[u8]) -> impl Iterator<Item = (u64, PathBuf)> {
    mountinfo.split(|byte| *byte == b'\n').filter_map(|line| {
        let mut fields = line.split(|byte| *byte == b' ').skip(3);
        let (root, mount_point) = (fields.next()?, fields.next()?);
        Some((inode(root)?, unescape(mount_point)))
    })
}

/// The inode number in `net:[4026531840]` (`nsfs_show_path` and `ns_get_name` in fs/nsfs.c).
pub(super) fn inode(name: &[u8]) -> Option<u64> {
    let digits = name.strip_prefix(b"net:[")?.strip_suffix(b"]")?;
    std::str::from_utf8(digits).ok()?.parse().ok()
}

/// A path without its octal escapes.
pub fn unescape(path: &[u8]) -> PathBuf {
    let mut bytes = Vec::with_capacity(path.len());
    let mut rest = path;
    while let [first, tail @ ..] = rest {
        let octal = tail.get(..3).filter(|_| *first == b'\\').and_then(|digits| std::str::from_utf8(digits).ok());
        match octal.and_then(|digits| u8::from_str_radix(digits, 8).ok()) {
            Some(byte) => {
                bytes.push(byte);
                rest = tail.get(3..).unwrap_or_default();
            }
            None => {
                bytes.push(*first);
                rest = tail;
            }
        }
    }
    OsString::from_vec(bytes).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOST: u64 = 4_026_531_840;

    #[test]
    fn a_mount_point_is_unescaped_and_a_line_that_is_not_utf_8_hides_no_other() {
        let mountinfo = b"21 1 254:0 / / rw,relatime shared:1 - ext4 /dev/vda rw\n\
            37 21 8:1 / /mnt/caf\xe9 rw - ext4 /dev/sda1 rw\n\
            36 21 0:4 net:[6] /var/lib/a\\040b\\134c rw shared:2 - nsfs nsfs rw\n";
        let found: Vec<_> = network_namespaces(mountinfo).collect();
        assert_eq!(found, [(6, Path::new("/var/lib/a b\\c").to_owned())]);
    }

    #[test]
    fn an_inode_number_is_read_from_the_name_of_a_network_namespace_alone() {
        assert_eq!(inode(b"net:[4026531840]"), Some(HOST));
        for link in [&b"mnt:[1]"[..], b"net:[]", b"net:[x]", b"net:[1", b"/", b""] {
            assert_eq!(inode(link), None);
        }
    }
}
