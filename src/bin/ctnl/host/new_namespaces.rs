//! New namespaces for the calling process, as root of a new user namespace where that is permitted.
//!
//! In a user namespace of its own the process has no capability over the namespaces that it left, so
//! that the kernel refuses any change of them, also to a process that root started.

use std::fs;

use anyhow::{Context, Result, anyhow};
use ctnl::host::Host;
use nix::errno::Errno;
use nix::sched::{CloneFlags, unshare};
use nix::sys::prctl;
use nix::unistd::{getegid, geteuid};

use super::procfs;

/// Moves the calling process into new namespaces of the kinds in `private`, as root of them.
///
/// The process must have a single thread (`check_unshare_flags` in kernel/fork.c).
///
/// # Errors
/// The kernel refuses; the error has what forbids it and how to permit it.
pub fn enter(private: CloneFlags, host: &Host) -> Result<()> {
    let (uid, gid) = (geteuid(), getegid());
    // A program with file capabilities is not dumpable, and /proc/self then belongs to the host's root.
    prctl::set_dumpable(true).context("make /proc/self writable")?;
    match unshare(CloneFlags::CLONE_NEWUSER | private) {
        Ok(()) => become_root(host, uid.as_raw(), gid.as_raw())?,
        // Root needs no user namespace where those are disabled.
        Err(errno) => unshare(private).map_err(|_| forbidden(host, errno))?,
    }
    Ok(())
}

/// Maps the caller to root, in the order that user_namespaces(7) requires.
fn become_root(host: &Host, uid: u32, gid: u32) -> Result<()> {
    let write = |file: &str, line: String| {
        let path = host.proc().join("self").join(file);
        fs::write(&path, line).with_context(|| format!("cannot write {}: {}", path.display(), remedy(host)))
    };
    write("setgroups", "deny".into())?;
    write("uid_map", format!("0 {uid} 1"))?;
    write("gid_map", format!("0 {gid} 1"))
}

fn forbidden(host: &Host, errno: Errno) -> anyhow::Error {
    anyhow!("cannot create private namespaces: {errno:?}: {}\n  hint: {}", errno.desc(), remedy(host))
}

/// What forbids the namespaces, as far as the host's settings show, and how to change it.
fn remedy(host: &Host) -> String {
    let switches = [
        ("kernel/unprivileged_userns_clone", "0", "kernel.unprivileged_userns_clone=1"),
        ("user/max_user_namespaces", "0", "user.max_user_namespaces=10000"),
        ("kernel/apparmor_restrict_unprivileged_userns", "1", "kernel.apparmor_restrict_unprivileged_userns=0"),
    ];
    let value = |name: &str| fs::read_to_string(host.proc().join("sys").join(name)).unwrap_or_default();
    match switches.iter().find(|(name, off, _)| value(name).trim() == *off) {
        Some((_, _, setting)) => {
            format!("this host denies user namespaces to ordinary users: run 'sysctl -w {setting}' as root, or run this as root")
        }
        None if !procfs::has_sysctls(host) => "/proc/sys is missing, so it is unknown whether a sysctl forbids it \
                 (user.max_user_namespaces, kernel.unprivileged_userns_clone, \
                 kernel.apparmor_restrict_unprivileged_userns) or, in a container, its seccomp profile: run this on the host"
            .into(),
        None => "in a container, its seccomp profile or missing CAP_SYS_ADMIN forbids it: run this on the host, or start the \
                 container with '--privileged' (or '--security-opt seccomp=unconfined')"
            .into(),
    }
}
