//! Drops the capabilities that the event stream does not need.
//!
//! Capabilities belong to a thread, and a new thread inherits those of its creator
//! (capabilities(7)): they are dropped before the first thread is started.
//!
//! Tested on Linux 6.18, as root with CAP_NET_ADMIN alone. It is enough for dumps, new sockets,
//! forced receive buffers, the sysctls of the network namespace (`net_ctl_permissions` in
//! net/sysctl_net.c), files and folders of root, and the names of all processes. It is not
//! enough for files of other users, other namespaces, and the open files of processes. The
//! first would need CAP_DAC_OVERRIDE, which is equivalent to root: to write such files, run
//! as their owner with CAP_NET_ADMIN as ambient capability.

use std::fmt;
use std::fs;
use std::path::Path;
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, anyhow, bail};
use caps::{CapSet, Capability, CapsHashSet};
use nix::errno::Errno;
use nix::sched::{CloneFlags, unshare};
use nix::sys::prctl;

/// The work that needs more than CAP_NET_ADMIN.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Needs {
    /// Find and enter all network namespaces.
    pub all_netns: bool,
    /// Find out whether a process uses another network namespace, which has been entered before.
    pub other_netns: bool,
}

impl Needs {
    fn capabilities(self) -> CapsHashSet {
        let mut capabilities = CapsHashSet::from([Capability::CAP_NET_ADMIN]);
        if self.all_netns {
            // For setns(2), and to read /proc/PID/ns/net of a process of another user or with more
            // capabilities.
            capabilities.extend([Capability::CAP_SYS_ADMIN, Capability::CAP_SYS_PTRACE]);
        }
        if self.other_netns {
            capabilities.insert(Capability::CAP_SYS_PTRACE);
        }
        capabilities
    }
}

/// The capabilities that were kept, for `-v`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Kept {
    capabilities: Vec<String>,
    /// Needed, but not permitted before.
    absent: Vec<String>,
}

/// Drops all capabilities but the needed ones, permanently and for started programs too. A
/// needed one that is not permitted is no error: the kernel reports it where it is used. Must
/// be called while the process has one thread. `proc` is where /proc is mounted.
///
/// # Errors
/// The process has more than one thread, or it is unknown whether it has; the kernel refuses.
pub fn drop_all_but(needs: Needs, proc: &Path) -> Result<Kept> {
    let mut is_alone = has_one_thread(proc)?;
    // A thread that has been joined is still listed for a moment.
    for _ in 0..100 {
        if is_alone {
            return drop_in_this_thread(needs);
        }
        thread::sleep(Duration::from_millis(1));
        is_alone = has_one_thread(proc)?;
    }
    bail!("cannot drop privileges: expected one thread, found several")
}

/// Whether this process has no other thread. Where /proc is missing, unshare(2) tells: a thread group of more
/// than one is refused (`check_unshare_flags` in kernel/fork.c), and otherwise nothing changes.
fn has_one_thread(proc: &Path) -> Result<bool> {
    if let Ok(threads) = fs::read_dir(proc.join("self/task")) {
        return Ok(threads.count() == 1);
    }
    match unshare(CloneFlags::CLONE_THREAD) {
        Ok(()) => Ok(true),
        Err(Errno::EINVAL) => Ok(false),
        Err(errno) => Err(anyhow!(
            "cannot count the threads before privileges are dropped: {} is not mounted, and unshare(CLONE_THREAD) \
             fails: {errno}\n  hint: mount -t proc proc {}, or keep the privileges with --keep-privileges",
            proc.display(),
            proc.display()
        )),
    }
}

/// The same for the calling thread and the threads that it starts.
///
/// # Errors
/// The kernel refuses.
pub fn drop_in_this_thread(needs: Needs) -> Result<Kept> {
    let permitted = caps::read(None, CapSet::Permitted).context("read the capabilities of this process")?;
    let needed = needs.capabilities();
    let kept: CapsHashSet = needed.intersection(&permitted).copied().collect();
    prctl::set_no_new_privs().context("set no_new_privs")?;
    // PR_CAPBSET_DROP needs CAP_SETPCAP. Without it the bounding set grants nothing, because of
    // no_new_privs.
    if caps::has_cap(None, CapSet::Effective, Capability::CAP_SETPCAP)
        .context("read the capabilities of this process")?
    {
        for capability in caps::all().difference(&kept) {
            // EINVAL: an older kernel does not have all of them.
            let _ = caps::drop(None, CapSet::Bounding, *capability);
        }
    }
    // The ambient set is a subset of the inheritable one.
    for set in [CapSet::Inheritable, CapSet::Effective, CapSet::Permitted] {
        let value = if matches!(set, CapSet::Inheritable) { &CapsHashSet::new() } else { &kept };
        caps::set(None, set, value).with_context(|| format!("drop {set:?} capabilities").to_lowercase())?;
    }
    Ok(Kept { capabilities: names(&kept), absent: names(&needed.difference(&kept).copied().collect()) })
}

fn names(capabilities: &CapsHashSet) -> Vec<String> {
    let mut names: Vec<String> = capabilities.iter().map(ToString::to_string).collect();
    names.sort();
    names
}

impl fmt::Display for Kept {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &*self.capabilities {
            [] => f.write_str("capabilities kept: none")?,
            kept => write!(f, "capabilities kept: {}", kept.join(", "))?,
        }
        match &*self.absent {
            [] => Ok(()),
            absent => write!(f, "; not permitted: {}", absent.join(", ")),
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    /// The capability sets of this thread, by their names in /proc.
    fn sets() -> Vec<(String, u64)> {
        let status = fs::read_to_string("/proc/thread-self/status").unwrap();
        let number = |value: &str| u64::from_str_radix(value.trim(), 16).unwrap();
        let sets = status.lines().filter_map(|line| line.strip_prefix("Cap")?.split_once(':'));
        sets.map(|(set, value)| (set.to_owned(), number(value))).collect()
    }

    fn in_a_thread<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
        std::thread::spawn(work).join().unwrap()
    }

    fn check(needs: Needs) {
        let before = sets();
        let (kept, after) = in_a_thread(move || (drop_in_this_thread(needs).unwrap(), sets()));
        let wanted = needs.capabilities().iter().fold(0, |mask, capability| mask | capability.bitmask());
        let mut may_shrink_bounding = false;
        for (set, mask) in &before {
            may_shrink_bounding |= set == "Eff" && mask & Capability::CAP_SETPCAP.bitmask() != 0;
        }
        let permitted = before.iter().find(|(set, _)| set == "Prm").unwrap().1;
        for (set, mask) in after {
            match &*set {
                "Eff" | "Prm" => assert_eq!(mask, permitted & wanted, "{set}"),
                "Inh" | "Amb" => assert_eq!(mask, 0, "{set}"),
                "Bnd" if may_shrink_bounding => assert_eq!(mask, permitted & wanted, "{set}"),
                _ => {}
            }
        }
        assert_eq!(kept.capabilities.len() + kept.absent.len(), needs.capabilities().len());
    }

    #[test]
    fn every_set_keeps_the_needed_capabilities_and_no_other() {
        check(Needs::default());
        check(Needs { all_netns: true, other_netns: false });
    }

    #[test]
    fn dropping_twice_is_no_error_and_missing_capabilities_are_named() {
        let kept = in_a_thread(|| {
            drop_in_this_thread(Needs::default()).unwrap();
            drop_in_this_thread(Needs { all_netns: true, other_netns: false }).unwrap()
        });
        assert!(kept.absent.contains(&"CAP_SYS_ADMIN".to_owned()), "{kept}");
    }

    #[test]
    fn with_several_threads_it_fails_and_nothing_is_dropped() {
        let before = sets();
        // The test harness runs this in a thread of its own.
        for proc in ["/proc", "/nonexistent"] {
            let error = drop_all_but(Needs::default(), Path::new(proc)).unwrap_err();
            assert!(error.to_string().contains("expected one thread"), "{proc}: {error}");
            assert_eq!(sets(), before);
        }
    }

    #[test]
    fn the_kept_capabilities_are_listed_in_one_line() {
        let kept = |capabilities: &[&str], absent: &[&str]| {
            let words = |words: &[&str]| words.iter().map(ToString::to_string).collect();
            Kept { capabilities: words(capabilities), absent: words(absent) }.to_string()
        };
        assert_eq!(kept(&["CAP_NET_ADMIN"], &[]), "capabilities kept: CAP_NET_ADMIN");
        assert_eq!(
            kept(&[], &["CAP_NET_ADMIN", "CAP_SYS_ADMIN"]),
            "capabilities kept: none; not permitted: CAP_NET_ADMIN, CAP_SYS_ADMIN"
        );
    }
}
