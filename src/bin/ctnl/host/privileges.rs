//! Floor 8, giving up what root may and the event stream does not need.
//!
//! Capabilities are those of a thread, and threads get those of their maker: so they
//! are dropped before the first thread is started, or the others keep them.
//!
//! What works afterwards was tried on Linux 6.18, as root with CAP_NET_ADMIN alone:
//! dumps and new sockets, forced receive buffers, the namespace's own settings (to the
//! kernel CAP_NET_ADMIN is their owner), files and folders of root, the names of all
//! processes. What does not: files of other users, other namespaces, and what processes
//! have open. The first needs CAP_DAC_OVERRIDE, which is as good as root: such files
//! belong to a run as that user, with CAP_NET_ADMIN as ambient capability.

use std::fmt;
use std::fs;
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use caps::{CapSet, Capability, CapsHashSet};
use nix::sys::prctl;

/// What is going to be done, apart from following the own namespace.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Needs {
    /// Find and enter all network namespaces.
    pub all_netns: bool,
}

impl Needs {
    fn capabilities(self) -> CapsHashSet {
        let mut capabilities = CapsHashSet::from([Capability::CAP_NET_ADMIN]);
        if self.all_netns {
            // setns(2), and reading in which namespace a process of another user, or one
            // with more capabilities, is.
            capabilities.extend([Capability::CAP_SYS_ADMIN, Capability::CAP_SYS_PTRACE]);
        }
        capabilities
    }
}

/// What was kept, for `-v`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Kept {
    capabilities: Vec<String>,
    /// Needed, and not there to be kept.
    absent: Vec<String>,
}

/// Gives up all capabilities but those that are needed, for good: also a program
/// that is started gets none. Those that are not there are not missed here: the kernel
/// says so where they are. Must be called while there is one thread.
///
/// # Errors
/// There are threads already; the kernel refuses.
pub fn drop_all_but(needs: Needs) -> Result<Kept> {
    let count = || fs::read_dir("/proc/self/task").map(Iterator::count).context("count the own threads");
    let mut threads = count()?;
    // One that has been joined is still listed for a moment.
    for _ in 0..100 {
        if threads == 1 {
            break;
        }
        thread::sleep(Duration::from_millis(1));
        threads = count()?;
    }
    if threads != 1 {
        bail!("privileges can be dropped only before threads are started, and there are {threads}");
    }
    drop_in_this_thread(needs)
}

/// The same for the calling thread and those that it starts, whatever others there are.
///
/// # Errors
/// The kernel refuses.
pub fn drop_in_this_thread(needs: Needs) -> Result<Kept> {
    let permitted = caps::read(None, CapSet::Permitted).context("read the own capabilities")?;
    let needed = needs.capabilities();
    let kept: CapsHashSet = needed.intersection(&permitted).copied().collect();
    prctl::set_no_new_privs().context("give up privileges by starting programs")?;
    // While there is CAP_SETPCAP; without it nothing can be gained by the bounding set
    // anyway, since no program that is started gets new privileges.
    if caps::has_cap(None, CapSet::Effective, Capability::CAP_SETPCAP).context("read the own capabilities")? {
        for capability in caps::all().difference(&kept) {
            // An older kernel does not know all of them.
            let _ = caps::drop(None, CapSet::Bounding, *capability);
        }
    }
    // The ambient set shrinks with the inheritable one.
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
            absent => write!(f, "; not there: {}", absent.join(", ")),
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    /// The sets of this thread as the kernel shows them, by the names in /proc.
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
    fn every_set_keeps_what_is_needed_and_nothing_else() {
        check(Needs::default());
        check(Needs { all_netns: true });
    }

    #[test]
    fn dropping_twice_is_no_error_and_what_is_gone_is_named() {
        let kept = in_a_thread(|| {
            drop_in_this_thread(Needs::default()).unwrap();
            drop_in_this_thread(Needs { all_netns: true }).unwrap()
        });
        assert!(kept.absent.contains(&"CAP_SYS_ADMIN".to_owned()), "{kept}");
    }

    #[test]
    fn beside_other_threads_it_is_refused_and_nothing_is_dropped() {
        let before = sets();
        // The test harness runs this in a thread of its own.
        let error = drop_all_but(Needs::default()).unwrap_err();
        assert!(error.to_string().contains("before threads are started"), "{error}");
        assert_eq!(sets(), before);
    }

    #[test]
    fn what_was_kept_is_said_in_one_line() {
        let kept = |capabilities: &[&str], absent: &[&str]| {
            let words = |words: &[&str]| words.iter().map(ToString::to_string).collect();
            Kept { capabilities: words(capabilities), absent: words(absent) }.to_string()
        };
        assert_eq!(kept(&["CAP_NET_ADMIN"], &[]), "capabilities kept: CAP_NET_ADMIN");
        assert_eq!(
            kept(&[], &["CAP_NET_ADMIN", "CAP_SYS_ADMIN"]),
            "capabilities kept: none; not there: CAP_NET_ADMIN, CAP_SYS_ADMIN"
        );
    }
}
