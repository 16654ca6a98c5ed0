//! The lab's own mounts: a `/proc` of its PID namespace, of which only the settings of its network
//! namespace can be written, and for root a host whose files are read-only.
//!
//! A user namespace alone does not protect the host from root: user 0 is mapped to user 0, and the
//! kernel compares owners, so that `/etc` and `/proc/sys` stay writable.

use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, anyhow};
use ctnl::host::Host;
use nix::errno::Errno;
use nix::mount::{MsFlags, mount};

use crate::host::namespaces::unescape;

/// Parts of `/proc` through which the host can be changed.
const READ_ONLY_IN_PROC: [&str; 6] = ["sys", "sysrq-trigger", "irq", "bus", "fs", "acpi"];

/// Folders that stay writable where the host's files are read-only.
const WRITABLE: [&str; 2] = ["/tmp", "/var/tmp"];

/// Mount points that are not made read-only: they are handled apart. Devices can be written all the same.
const EXEMPT: [&str; 1] = ["/proc"];

/// Folders that are empty in the lab where the host has them, and vanish with it: notes of ctnl, names of
/// `ip netns`, POSIX shared memory. They are not created, since that would change the host.
const OWN: [&str; 3] = ["/run/ctnl", "/run/netns", "/dev/shm"];

const BIND: MsFlags = MsFlags::MS_BIND.union(MsFlags::MS_REC);

/// Makes the mounts of the calling process, which has a mount namespace of its own. `is_in_lab` is whether it
/// was started in another lab.
pub fn isolate(host: &Host, files_read_only: bool, is_in_lab: bool) -> Result<()> {
    change(Path::new("/"), None, None, MsFlags::MS_REC | MsFlags::MS_PRIVATE).context("make the mounts private")?;
    own_folders(host)?;
    if files_read_only {
        make_files_read_only(host)?;
    }
    mount_proc(host, is_in_lab)
}

/// A process ID namespace needs its own `/proc`: the old one shows the host's processes.
fn mount_proc(host: &Host, is_in_lab: bool) -> Result<()> {
    let proc = host.proc();
    let flags = MsFlags::MS_NOSUID | MsFlags::MS_NODEV | MsFlags::MS_NOEXEC;
    change(&proc, Some("proc"), Some("proc"), flags).map_err(|errno| match errno {
        // `mount_too_revealing` in fs/namespace.c.
        Errno::EPERM if is_in_lab => anyhow!(
            "cannot mount a new /proc: EPERM\n  hint: this shell is in a lab already (CTNL_LAB is set), of which /proc \
             is partly read-only, so that there can be no lab in it: use this one, or end it first with 'exit'"
        ),
        Errno::EPERM => anyhow!(
            "cannot mount a new /proc: EPERM\n  hint: a container that masks parts of /proc forbids it: start it with \
             '--privileged' (or '--security-opt systempaths=unconfined'), or run this on the host"
        ),
        errno => anyhow!("cannot mount a new /proc: {errno:?}: {}", errno.desc()),
    })?;
    for path in READ_ONLY_IN_PROC.map(|name| proc.join(name)).iter().filter(|path| path.exists()) {
        change(path, path.to_str(), None, BIND)
            .and_then(|()| remount(path, MsFlags::MS_RDONLY))
            .map_err(failed(path))?;
    }
    let own = proc.join("sys/net");
    change(&own, own.to_str(), None, BIND).and_then(|()| remount(&own, MsFlags::empty())).map_err(failed(&own))
}

fn own_folders(host: &Host) -> Result<()> {
    for path in OWN.map(|folder| host.path(folder)) {
        if path.is_dir() {
            change(&path, Some("ctnl-lab"), Some("tmpfs"), MsFlags::MS_NOSUID | MsFlags::MS_NODEV)
                .map_err(failed(&path))?;
        }
    }
    Ok(())
}

fn make_files_read_only(host: &Host) -> Result<()> {
    let is_below = |point: &Path, folders: &[PathBuf]| folders.iter().any(|folder| point.starts_with(folder));
    let existing = |folder: &str| fs::canonicalize(host.path(folder)).ok();
    let writable: Vec<PathBuf> = WRITABLE.iter().filter_map(|folder| existing(folder)).collect();
    for folder in &writable {
        change(folder, folder.to_str(), None, BIND).map_err(failed(folder))?;
    }
    let exempt: Vec<PathBuf> = EXEMPT.iter().chain(&OWN).map(|folder| host.path(folder)).chain(writable).collect();
    let mountinfo = fs::read(host.proc().join("self/mountinfo")).context("read the mount points")?;
    let mounts = mountinfo.split(|byte| *byte == b'\n').filter_map(Mount::parse);
    for mount in mounts.filter(|mount| !mount.is_remote && !is_below(&mount.point, &exempt)) {
        match remount(&mount.point, mount.flags | MsFlags::MS_RDONLY) {
            // Hidden below another mount, or out of reach: then for the command, too.
            Ok(()) | Err(Errno::EINVAL | Errno::ENOENT | Errno::EACCES | Errno::ENOTDIR) => {}
            Err(errno) => return Err(failed(&mount.point)(errno)),
        }
    }
    Ok(())
}

/// A line of `/proc/PID/mountinfo`.
#[derive(Debug, PartialEq, Eq)]
struct Mount {
    point: PathBuf,
    /// Those that a user namespace must keep when it remounts (`can_change_locked_flags` in
    /// fs/namespace.c).
    flags: MsFlags,
    /// On another machine or in another process, either of which may not answer: its files are not
    /// this host's.
    is_remote: bool,
}

impl Mount {
    fn parse(line: &[u8]) -> Option<Self> {
        let mut fields = line.split(|byte| *byte == b' ').skip(4);
        let (point, options) = (fields.next()?, fields.next()?);
        let kind = fields.skip_while(|field| *field != b"-").nth(1)?;
        let flag = |option: &[u8]| match option {
            b"nosuid" => MsFlags::MS_NOSUID,
            b"nodev" => MsFlags::MS_NODEV,
            b"noexec" => MsFlags::MS_NOEXEC,
            b"noatime" => MsFlags::MS_NOATIME,
            b"nodiratime" => MsFlags::MS_NODIRATIME,
            b"relatime" => MsFlags::MS_RELATIME,
            _ => MsFlags::empty(),
        };
        // `fuseblk` is a disk of this host.
        let is_remote = kind != b"fuseblk"
            && [&b"nfs"[..], b"cifs", b"smb3", b"fuse", b"autofs", b"ceph", b"afs"]
                .iter()
                .any(|remote| kind.starts_with(remote));
        let flags = options.split(|byte| *byte == b',').map(flag).collect();
        Some(Mount { point: unescape(point), flags, is_remote })
    }
}

fn remount(path: &Path, flags: MsFlags) -> nix::Result<()> {
    change(path, None, None, MsFlags::MS_BIND | MsFlags::MS_REMOUNT | flags)
}

fn change(target: &Path, source: Option<&str>, kind: Option<&str>, flags: MsFlags) -> nix::Result<()> {
    mount(source, target, kind, flags, None::<&str>)
}

fn failed(path: &Path) -> impl FnOnce(Errno) -> anyhow::Error {
    let path = String::from_utf8_lossy(path.as_os_str().as_bytes()).into_owned();
    move |errno| anyhow!("cannot protect '{path}' in the lab: {errno:?}: {}", errno.desc())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mount_is_remounted_with_the_flags_that_it_has() {
        let line = b"44 43 0:25 / /a\\040b rw,nosuid,relatime shared:1 - tmpfs none rw,size=4k";
        let flags = MsFlags::MS_NOSUID | MsFlags::MS_RELATIME;
        assert_eq!(Mount::parse(line), Some(Mount { point: "/a b".into(), flags, is_remote: false }));
        let remote = Mount::parse(b"44 43 0:25 / /home rw - nfs4 server:/home rw");
        assert!(remote.is_some_and(|mount| mount.is_remote));
        let disk = Mount::parse(b"45 43 8:1 / /mnt rw - fuseblk /dev/sda1 rw");
        assert!(disk.is_some_and(|mount| !mount.is_remote));
        assert_eq!(Mount::parse(b""), None);
    }
}
