//! The private network namespace of the benchmark, and the kernel's limits, which are raised while it
//! runs.
//!
//! `nf_conntrack_max` and `nf_conntrack_buckets` are the only settings outside the namespace that are
//! changed. Both can be written only through files that were opened in the original namespace.

use std::fs::{self, File, OpenOptions};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::fs::FileExt;
use std::os::unix::net::{SocketAddr, UnixListener};

use anyhow::{Context, Result};
use nix::sched::{CloneFlags, unshare};
use nix::unistd::{getegid, geteuid};

const SYSCTLS: &str = "/proc/sys/net/netfilter";
/// More buckets than this do not speed up a million entries, and make every table walk longer.
const MOST_BUCKETS: u64 = 1_048_576;

/// The private namespace. Dropping it restores the limits.
#[derive(Debug)]
pub struct BenchNetns {
    /// Name of the namespace that the benchmark was started in.
    pub outside: String,
    max: Limit,
    buckets: Limit,
    _lock: UnixListener,
}

impl BenchNetns {
    /// Moves this process into a new network namespace; where it is not root,
    /// into a user namespace too.
    pub fn enter() -> Result<Self> {
        let lock = lock_machine()?;
        load_module();
        let outside = namespace()?;
        let (max, buckets) = (Limit::open("nf_conntrack_max")?, Limit::open("nf_conntrack_buckets")?);
        if geteuid().is_root() {
            unshare(CloneFlags::CLONE_NEWNET).context("unshare the network namespace")?;
        } else {
            become_root_in_a_user_namespace()?;
        }
        Ok(BenchNetns { outside, max, buckets, _lock: lock })
    }

    /// Raises the limits for a table of `entries`, where that is permitted.
    pub fn raise_limits(&mut self, entries: u32) -> Result<()> {
        let entries = u64::from(entries);
        if !self.has_capacity_for(entries) {
            self.max.set(2 * entries)?;
        }
        let wanted = entries.next_power_of_two().min(MOST_BUCKETS);
        if self.buckets.now < wanted {
            self.buckets.set(wanted)?;
        }
        Ok(())
    }

    /// Whether a table of `entries` fits with a fifth to spare: the kernel evicts entries
    /// (early_drop) when a table is full. A maximum of 0 is no limit.
    pub fn has_capacity_for(&self, entries: u64) -> bool {
        self.max.now == 0 || self.max.now >= entries + entries / 5
    }

    /// The current `nf_conntrack_max` and `nf_conntrack_buckets`.
    pub fn limits(&self) -> (u64, u64) {
        (self.max.now, self.buckets.now)
    }
}

/// The name of the calling process's network namespace.
pub fn namespace() -> Result<String> {
    let link = fs::read_link("/proc/self/ns/net").context("read /proc/self/ns/net")?;
    Ok(link.to_string_lossy().into_owned())
}

/// Takes a lock, because two benchmarks at a time would restore each other's limits. An abstract
/// socket name in the original network namespace is released when its owner exits.
fn lock_machine() -> Result<UnixListener> {
    let name = SocketAddr::from_abstract_name("ctnl-benchmark").context("name the lock")?;
    UnixListener::bind_addr(&name).context("take the lock (does another benchmark run?)")
}

/// The sysctls appear with the first request. It may fail.
fn load_module() {
    if let Ok(mut connection) = ctnl::netlink::Connection::open(&ctnl::netlink::Netns::Current) {
        let _ = ctnl::table::count(&mut connection);
    }
}

fn become_root_in_a_user_namespace() -> Result<()> {
    let (user, group) = (geteuid(), getegid());
    unshare(CloneFlags::CLONE_NEWUSER | CloneFlags::CLONE_NEWNET)
        .context("unshare a user namespace (not allowed on this machine? run as root)")?;
    // Without a mapping the child processes would have no capabilities.
    fs::write("/proc/self/setgroups", "deny").context("write setgroups")?;
    fs::write("/proc/self/uid_map", format!("0 {user} 1")).context("write uid_map")?;
    fs::write("/proc/self/gid_map", format!("0 {group} 1")).context("write gid_map")
}

/// One sysctl of the original namespace.
#[derive(Debug)]
struct Limit {
    name: &'static str,
    /// `None` if it is not writable.
    file: Option<File>,
    before: u64,
    now: u64,
}

impl Limit {
    fn open(name: &'static str) -> Result<Self> {
        let path = format!("{SYSCTLS}/{name}");
        let text = fs::read_to_string(&path).with_context(|| format!("read {path}"))?;
        let before = text.trim().parse().with_context(|| format!("{path} is not a number: {text}"))?;
        let file = OpenOptions::new().write(true).open(&path).ok();
        Ok(Limit { name, file, before, now: before })
    }

    /// Sets the value, if it is writable.
    fn set(&mut self, value: u64) -> Result<()> {
        let Some(file) = &self.file else {
            return Ok(());
        };
        file.write_at(value.to_string().as_bytes(), 0).with_context(|| format!("set {} to {value}", self.name))?;
        self.now = value;
        Ok(())
    }
}

impl Drop for Limit {
    fn drop(&mut self) {
        if self.now != self.before
            && let Err(error) = self.set(self.before)
        {
            crate::print::note(&format!("{error:#}; it was {} before the benchmark", self.before));
        }
    }
}
