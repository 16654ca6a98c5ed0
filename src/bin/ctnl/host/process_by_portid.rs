//! Finds the process that owns a netlink port (`nlmsg_pid`).
//!
//! `netlink_autobind` (net/netlink/af_netlink.c) binds the first socket of a process to the
//! process id, in the process's own pid namespace, and further sockets to arbitrary negative
//! numbers. Port 1 may therefore be the first process of a container. A name is certain only
//! if the process has the socket open, which needs CAP_SYS_PTRACE for a process with more
//! capabilities than this one. Otherwise it is a guess and marked as one. A process that has
//! ended is not found.
//!
//! Runs on the receiving thread: a lookup takes about 0.1 ms, results are cached, and the
//! number of lookups per second is limited.
//!
//! The crate `procfs` (0.18) has no parser for /proc/net/netlink, and its `Status` fails where a
//! field is absent that is not needed here.

use std::collections::HashMap;
use std::fs::{self, File};
use std::io::{self, Read, Seek};
use std::path::{Path, PathBuf};
use std::time::Duration;

use ctnl::netlink::{Error, Netns};
use foldhash::fast::RandomState;

/// `NETLINK_NETFILTER` (include/uapi/linux/netlink.h).
const PROTOCOL: &str = "12";
/// `CAP_NET_ADMIN` (include/uapi/linux/capability.h), which every change of the table needs.
const NET_ADMIN: u64 = 1 << 12;

/// A cached result is used for this long.
const CACHE_TIME: Duration = Duration::from_secs(5);
/// The limit of lookups: about a hundredth of a processor.
const LOOKUPS_PER_SECOND: u32 = 50;
/// The limit of cached ports: `conntrack -D` in a loop has a new port each time.
const MAX_CACHED: usize = 1024;
/// The limit of open files that are searched.
const MAX_FILES: usize = 4096;

/// A process that owns a port.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Process {
    /// Its id in the pid namespace of this program.
    pub pid: u32,
    /// Its name (`comm`); bytes that are not UTF-8 are replaced.
    pub name: String,
    /// It has the socket open. Otherwise only its id equals the port.
    pub is_certain: bool,
}

/// Finds the processes of one network namespace by their ports.
#[derive(Debug)]
pub struct ProcessByPortid {
    proc: PathBuf,
    /// /proc/net/netlink of the namespace, kept open: it can be read after the privilege to enter
    /// the namespace has been dropped.
    sockets: Option<File>,
    cached: HashMap<u32, (Duration, Option<Process>), RandomState>,
    limit: LookupLimit,
}

impl ProcessByPortid {
    /// Finds the owners of ports in `netns`. `proc` is where /proc is mounted.
    ///
    /// # Errors
    /// The namespace cannot be entered.
    pub fn of(netns: &Netns, proc: impl Into<PathBuf>) -> Result<Self, Error> {
        let proc = proc.into();
        // Without the file no process is found.
        let sockets = netns.run(|| File::open(proc.join("thread-self/net/netlink")).ok())?;
        Ok(Self::new(proc, sockets))
    }

    fn new(proc: impl Into<PathBuf>, sockets: Option<File>) -> Self {
        ProcessByPortid { proc: proc.into(), sockets, cached: HashMap::default(), limit: LookupLimit::default() }
    }

    /// The process that owns `port`; 0 is the kernel. `now` is `CLOCK_MONOTONIC`.
    pub fn find(&mut self, port: u32, now: Duration) -> Option<&Process> {
        if port == 0 {
            return None;
        }
        let is_fresh = |(since, _): &(Duration, Option<Process>)| now.saturating_sub(*since) < CACHE_TIME;
        if !self.cached.get(&port).is_some_and(is_fresh) && self.limit.allows(now) {
            if self.cached.len() >= MAX_CACHED {
                self.cached.clear();
            }
            let process = self.look_up(port);
            self.cached.insert(port, (now, process));
        }
        // An old result is not returned, even where no lookup is allowed.
        self.cached.get(&port).filter(|found| is_fresh(found))?.1.as_ref()
    }

    fn look_up(&mut self, port: u32) -> Option<Process> {
        let inode = self.socket_of(port).ok().flatten()?;
        // A negative port is not the id of a process.
        let pid = u32::try_from(i32::try_from(port).ok()?).ok()?;
        let folder = self.proc.join(pid.to_string());
        let is_certain = match has_socket(&folder, inode) {
            Ok(true) => true,
            Ok(false) => return None,
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied => false,
            Err(_) => return None,
        };
        if !is_certain && !is_plausible(&folder) {
            return None;
        }
        let name = fs::read(folder.join("comm")).ok()?;
        let name = String::from_utf8_lossy(name.strip_suffix(b"\n").unwrap_or(&name)).into_owned();
        Some(Process { pid, name, is_certain })
    }

    /// The inode number of the socket that has `port` in the namespace.
    fn socket_of(&mut self, port: u32) -> io::Result<Option<u64>> {
        let Some(file) = &mut self.sockets else { return Ok(None) };
        let mut table = String::new();
        file.rewind()?;
        file.read_to_string(&mut table)?;
        let port = port.to_string();
        Ok(table.lines().find_map(|line| {
            // Address, protocol, port, groups, two queues, dump, references, drops, inode.
            let mut fields = line.split_ascii_whitespace().skip(1);
            let is_it = fields.next()? == PROTOCOL && fields.next()? == port;
            fields.nth(6)?.parse().ok().filter(|_| is_it)
        }))
    }
}

/// Whether the process has this socket open.
fn has_socket(process: &Path, inode: u64) -> io::Result<bool> {
    let wanted = format!("socket:[{inode}]");
    for entry in fs::read_dir(process.join("fd"))?.take(MAX_FILES) {
        match fs::read_link(entry?.path()) {
            Ok(link) if link.as_os_str() == &*wanted => return Ok(true),
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied => return Err(error),
            // Another file, or closed meanwhile.
            _ => {}
        }
    }
    Ok(false)
}

/// Whether the process can be the owner, by its world-readable status: it has CAP_NET_ADMIN, is
/// in the pid namespace of this program, and is neither the first process nor a kernel thread,
/// whose small ids are also those of processes in containers.
fn is_plausible(process: &Path) -> bool {
    let Ok(status) = fs::read_to_string(process.join("status")) else { return false };
    let field = |name: &str| status.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':')).map(str::trim);
    let may_change = field("CapEff").and_then(|mask| u64::from_str_radix(mask, 16).ok()).unwrap_or(0) & NET_ADMIN != 0;
    let is_in_own_namespace = field("NSpid").is_some_and(|pids| pids.split_whitespace().count() == 1 && pids != "1");
    // Kernel threads have no VmSize.
    may_change && is_in_own_namespace && field("VmSize").is_some()
}

/// Limits the lookups of each second.
#[derive(Debug, Default)]
struct LookupLimit {
    second: Option<Duration>,
    used: u32,
}

impl LookupLimit {
    fn allows(&mut self, now: Duration) -> bool {
        if self.second.is_none_or(|second| now.saturating_sub(second) >= Duration::from_secs(1)) {
            *self = LookupLimit { second: Some(now), used: 0 };
        }
        self.used += 1;
        self.used <= LOOKUPS_PER_SECOND
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::os::unix::fs::symlink;

    use ctnl::netlink::Socket;

    use super::*;

    const NOW: Duration = Duration::from_secs(1000);
    const HEADER: &str = "sk Eth Pid Groups Rmem Wmem Dump Locks Drops Inode\n";

    /// A /proc with the sockets 500, of inode 77, and 4000000000, of inode 78.
    struct Proc(tempfile::TempDir);

    impl Proc {
        fn new() -> Self {
            let proc = Proc(tempfile::tempdir().unwrap());
            proc.sockets(&[("12", 500, 77), ("12", 4_000_000_000, 78), ("0", 600, 79)]);
            proc
        }

        fn sockets(&self, sockets: &[(&str, u32, u64)]) {
            let line = |(protocol, port, inode): &(&str, u32, u64)| {
                format!("00000000d49a0f4c {protocol} {port} 00000000 0 0 0 2 0 {inode}\n")
            };
            let lines: String = sockets.iter().map(line).collect();
            fs::write(self.0.path().join("netlink"), format!("{HEADER}{lines}")).unwrap();
        }

        fn process(&self, pid: u32, name: &str, inode: u64) {
            let folder = self.0.path().join(pid.to_string());
            let _ = fs::remove_dir_all(&folder);
            fs::create_dir_all(folder.join("fd")).unwrap();
            fs::write(folder.join("comm"), format!("{name}\n")).unwrap();
            symlink("/dev/null", folder.join("fd/0")).unwrap();
            symlink(format!("socket:[{inode}]"), folder.join("fd/3")).unwrap();
        }

        fn processes(&self) -> ProcessByPortid {
            ProcessByPortid::new(self.0.path(), File::open(self.0.path().join("netlink")).ok())
        }
    }

    fn certain(pid: u32, name: &str) -> Process {
        Process { pid, name: name.to_owned(), is_certain: true }
    }

    #[test]
    fn the_process_that_has_the_socket_is_found_and_no_other() {
        let proc = Proc::new();
        proc.process(500, "kube-proxy", 77);
        proc.process(600, "route", 79);
        let (mut processes, now) = (proc.processes(), NOW);
        assert_eq!(processes.find(500, now), Some(&certain(500, "kube-proxy")));
        for port in [0, 499, 600, 4_000_000_000] {
            assert_eq!(processes.find(port, now), None, "{port}");
        }
        // A container's port 500 is not the host's process 500.
        proc.process(500, "systemd", 80);
        assert_eq!(proc.processes().find(500, now), None);
    }

    #[test]
    fn hits_and_misses_are_cached_and_looked_up_again_after_the_cache_time() {
        let proc = Proc::new();
        let (mut processes, now) = (proc.processes(), NOW);
        assert_eq!(processes.find(500, now), None);
        proc.process(500, "conntrackd", 77);
        assert_eq!(processes.find(500, now + CACHE_TIME / 2), None);
        assert_eq!(processes.find(500, now + CACHE_TIME), Some(&certain(500, "conntrackd")));
        proc.sockets(&[]);
        assert_eq!(processes.find(500, now + CACHE_TIME + CACHE_TIME / 2), Some(&certain(500, "conntrackd")));
        assert_eq!(processes.find(500, now + CACHE_TIME * 2), None);
    }

    #[test]
    fn lookups_per_second_and_memory_are_limited() {
        let proc = Proc::new();
        proc.process(500, "x", 77);
        let (mut processes, now) = (proc.processes(), NOW);
        for port in 1000..1000 + LOOKUPS_PER_SECOND {
            assert_eq!(processes.find(port, now), None);
        }
        assert_eq!(processes.find(500, now), None, "no lookups are left in this second");
        assert_eq!(processes.find(500, now + Duration::from_secs(1)), Some(&certain(500, "x")));
        for second in 2..60 {
            for port in 0..LOOKUPS_PER_SECOND {
                processes.find(second * 1000 + port, now + Duration::from_secs(second.into()));
            }
        }
        assert!(processes.cached.len() <= MAX_CACHED);
    }

    #[test]
    fn a_guess_needs_cap_net_admin_and_the_same_pid_namespace() {
        let folder = tempfile::tempdir().unwrap();
        let guess = |capabilities: &str, pids: &str, memory: &str| {
            let status = format!("Name:\tx\nNSpid:\t{pids}\n{memory}CapEff:\t{capabilities}\n");
            fs::write(folder.path().join("status"), status).unwrap();
            is_plausible(folder.path())
        };
        let memory = "VmSize:\t  100 kB\n";
        assert!(guess("000001ffffffffff", "500", memory));
        assert!(guess("0000000000001000", "500", memory));
        assert!(!guess("00000000a80425fb", "500", memory) && !guess("0000000000000000", "500", memory));
        assert!(!guess("000001ffffffffff", "500\t17", memory), "a container's");
        assert!(!guess("000001ffffffffff", "1", memory), "the first process");
        assert!(!guess("000001ffffffffff", "17", ""), "a thread of the kernel");
    }

    #[test]
    fn the_kernel_shows_this_process_as_the_owner_of_its_socket() {
        let _socket = Socket::open().unwrap();
        let mut processes = ProcessByPortid::of(&Netns::Current, "/proc").unwrap();
        let own = std::process::id();
        // Another test's socket may have the port; it is this process's all the same.
        let found = processes.find(own, NOW).unwrap();
        assert_eq!((found.pid, found.is_certain), (own, true));
        assert_eq!(format!("{}\n", found.name), fs::read_to_string("/proc/self/comm").unwrap());
    }
}
