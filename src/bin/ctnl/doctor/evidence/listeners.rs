//! Who listens to the events of entries in one network namespace.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;
use std::time::Duration;

use ctnl::host::Host;

use super::Reading;

/// `NETLINK_NETFILTER` (include/uapi/linux/netlink.h).
const PROTOCOL: &str = "12";
/// The groups of new, changed and destroyed entries (`NFNLGRP_CONNTRACK_NEW` to `_DESTROY`).
const GROUPS: u32 = 0b111;
/// Open files of a process that are searched for a socket.
const MAX_FILES: usize = 16_384;
/// Soon after the boot, in ns: 5 min.
const SOON: u64 = 300_000_000_000;
/// `USER_HZ`, in which /proc/PID/stat has times: 100 on every architecture that Linux still has but Alpha.
const TICKS: u64 = 100;

/// A process that listens.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Listener {
    /// Its id.
    pub pid: u32,
    /// Its name (`comm`).
    pub name: String,
    /// When it was started, in ns of `CLOCK_REALTIME`: it has not listened before.
    pub start: Option<u64>,
}

/// Those who listen to events in a namespace.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Listeners {
    /// The processes that are known.
    pub known: Vec<Listener>,
    /// When the host was booted, in ns of `CLOCK_REALTIME`.
    pub boot: Option<u64>,
    /// Sockets that listen and whose process is not found: it may be another user's.
    pub unknown: u64,
}

impl Listeners {
    /// Reads those of the namespace of the calling thread.
    ///
    /// # Errors
    /// /proc cannot be read.
    pub fn read(host: &Host) -> Reading<Self> {
        let proc = host.proc();
        let table = fs::read_to_string(proc.join("thread-self/net/netlink"))
            .map_err(|error| format!("/proc/net/netlink cannot be read: {error}"))?;
        let sockets: BTreeSet<u64> = table.lines().filter_map(listening).collect();
        if sockets.is_empty() {
            return Ok(Listeners::default());
        }
        let boot = boot(&proc);
        let (owners, found) = owners(&proc, &sockets);
        let known =
            owners.into_iter().map(|(pid, name)| Listener { pid, name, start: start(&proc, pid, boot) }).collect();
        let boot = boot.and_then(|boot| u64::try_from(boot.as_nanos()).ok());
        Ok(Listeners { known, boot, unknown: sockets.difference(&found).count() as u64 })
    }

    /// Whether one has listened since soon after the boot: for all but the first minutes.
    pub fn since_boot(&self) -> bool {
        let is_early = |start: u64| self.boot.is_some_and(|boot| start.saturating_sub(boot) < SOON);
        self.known.iter().filter_map(|listener| listener.start).any(is_early)
    }

    /// When the first of them was started, if that of all is known.
    pub fn first_start(&self) -> Option<u64> {
        if self.unknown > 0 {
            return None;
        }
        self.known.iter().map(|listener| listener.start).collect::<Option<Vec<_>>>()?.into_iter().min()
    }
}

/// The inode number of a socket of /proc/net/netlink that is a member of a group of entries.
fn listening(line: &str) -> Option<u64> {
    // Address, protocol, port, groups, two queues, dump, references, drops, inode.
    let mut fields = line.split_ascii_whitespace().skip(1);
    let is_netfilter = fields.next()? == PROTOCOL;
    let groups = u32::from_str_radix(fields.nth(1)?, 16).ok()?;
    let inode = fields.nth(5)?.parse().ok()?;
    (is_netfilter && groups & GROUPS != 0).then_some(inode)
}

/// The processes that have one of the sockets open, and the sockets that were found.
fn owners(proc: &Path, sockets: &BTreeSet<u64>) -> (BTreeMap<u32, String>, BTreeSet<u64>) {
    let (mut owners, mut found) = (BTreeMap::new(), BTreeSet::new());
    let Ok(processes) = fs::read_dir(proc) else { return (owners, found) };
    let pids = processes.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse::<u32>().ok());
    for pid in pids {
        let folder = proc.join(pid.to_string());
        let own = sockets_of(&folder, sockets);
        if !own.is_empty() {
            let name = fs::read(folder.join("comm")).unwrap_or_default();
            owners.insert(pid, String::from_utf8_lossy(name.trim_ascii_end()).into_owned());
            found.extend(own);
        }
    }
    (owners, found)
}

fn sockets_of(process: &Path, sockets: &BTreeSet<u64>) -> Vec<u64> {
    let Ok(files) = fs::read_dir(process.join("fd")) else { return Vec::new() };
    let inode = |file: std::io::Result<fs::DirEntry>| {
        let target = fs::read_link(file.ok()?.path()).ok()?;
        target.to_str()?.strip_prefix("socket:[")?.strip_suffix(']')?.parse().ok()
    };
    files.take(MAX_FILES).filter_map(inode).filter(|inode| sockets.contains(inode)).collect()
}

/// The time of the boot, since the epoch: whole seconds, rounded down.
fn boot(proc: &Path) -> Option<Duration> {
    let stat = fs::read_to_string(proc.join("stat")).ok()?;
    let seconds = stat.lines().find_map(|line| line.strip_prefix("btime "))?;
    Some(Duration::from_secs(seconds.trim().parse().ok()?))
}

/// The start of a process, from the 22nd field of its stat, which counts from the boot. `boot` is since the epoch.
fn start(proc: &Path, pid: u32, boot: Option<Duration>) -> Option<u64> {
    let stat = fs::read(proc.join(pid.to_string()).join("stat")).ok()?;
    // The name may have spaces and brackets; the third field follows its last bracket.
    let behind = stat.iter().rposition(|byte| *byte == b')')?;
    let fields = std::str::from_utf8(stat.get(behind + 1..)?).ok()?;
    let ticks: u64 = fields.split_ascii_whitespace().nth(19)?.parse().ok()?;
    let since_boot = Duration::from_millis(ticks.checked_mul(1000 / TICKS)?);
    u64::try_from(boot?.checked_add(since_boot)?.as_nanos()).ok()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;
    use crate::doctor::made_up::MadeUpHost;

    const HEADER: &str = "sk Eth Pid Groups Rmem Wmem Dump Locks Drops Inode\n";

    fn socket(protocol: u32, groups: u32, inode: u64) -> String {
        format!("00000000d49a0f4c {protocol}  500 {groups:08x} 0 0 0 2 0 {inode}\n")
    }

    #[test]
    fn who_is_in_a_group_of_entries_listens_and_its_start_is_known() {
        let mut host = MadeUpHost::new();
        let sockets = [socket(12, 0b100, 77), socket(12, 0b1000, 78), socket(0, 1, 79), socket(12, 1, 80)];
        host.file("/proc/thread-self/net/netlink", &format!("{HEADER}{}", sockets.concat()));
        host.file("/proc/stat", "cpu 1 2\nbtime 1000\nprocesses 3\n");
        host.file("/proc/500/comm", "conntrackd\n");
        let fields = ["0"; 18].join(" ");
        host.file("/proc/500/stat", &format!("500 (a b) c) S {fields} 12300 0 0\n"));
        let fd = host.host().path("/proc/500/fd");
        fs::create_dir_all(&fd).unwrap();
        symlink("socket:[77]", fd.join("3")).unwrap();
        symlink("socket:[78]", fd.join("4")).unwrap();
        let listeners = Listeners::read(&host.host()).unwrap();
        let names: Vec<_> = listeners.known.iter().map(|known| (known.pid, known.name.as_str())).collect();
        assert_eq!((names, listeners.unknown), (vec![(500, "conntrackd")], 1));
        assert_eq!(listeners.first_start(), None, "another one listens, too");
        let proc = host.host().proc();
        assert_eq!(start(&proc, 500, boot(&proc)), Some(1_123_000_000_000));
        let alone = Listeners { unknown: 0, ..listeners };
        assert!(alone.first_start().is_some());
    }

    #[test]
    fn nobody_listens_where_no_socket_is_in_a_group() {
        let mut host = MadeUpHost::new();
        host.file("/proc/thread-self/net/netlink", HEADER);
        assert_eq!(Listeners::read(&host.host()), Ok(Listeners::default()));
        assert!(Listeners::read(&MadeUpHost::new().host()).is_err());
    }
}
