//! Floor 8, who asked: the port of a netlink message → the process that has it.
//!
//! The kernel gives a process's first netlink socket the process's number as port, and
//! others a number that says nothing. The number is that of the process's own pid
//! namespace: port 1 may be the only process of a container rather than the host's first.
//! So a name is certain only where the process is seen to have that very socket open,
//! which takes CAP_SYS_PTRACE for those that may more than we. Otherwise it is a guess,
//! and marked as one. A requester that has ended by the time is not found at all.
//!
//! For the thread that receives: looking up costs some tenth of a millisecond, is
//! remembered, and is done so many times a second and no more.

use std::collections::HashMap;
use std::fs::{self, File};
use std::io::{self, Read, Seek};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use ctnl::netlink::{Error, Netns};
use foldhash::fast::RandomState;

/// `NETLINK_NETFILTER` of linux/netlink.h.
const PROTOCOL: &str = "12";
/// CAP_NET_ADMIN of linux/capability.h, without which nobody changes the table.
const NET_ADMIN: u64 = 1 << 12;

/// A process that has ended, or another that has got its number, is noticed after this.
const LIFETIME: Duration = Duration::from_secs(5);
/// Some hundredth of a processor.
const LOOKUPS_PER_SECOND: u32 = 50;
/// `conntrack -D` in a loop has a new port each time.
const MOST_REMEMBERED: usize = 1024;
/// A process with more open files is not searched to the end.
const MOST_FILES: usize = 4096;

/// A process that asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Process {
    /// Its number here.
    pub pid: u32,
    /// What it is called (`comm`), with what is not UTF-8 replaced.
    pub name: String,
    /// It was seen to have the socket. Otherwise only its number is the port.
    pub is_certain: bool,
}

/// Finds the processes of one network namespace by their ports.
#[derive(Debug)]
pub struct ProcessByPortid {
    proc: PathBuf,
    /// The netlink sockets of the namespace, kept open: it stays that of the namespace, also
    /// when that may not be entered any more.
    sockets: Option<File>,
    remembered: HashMap<u32, (Instant, Option<Process>), RandomState>,
    budget: Budget,
}

impl ProcessByPortid {
    /// For the ports of `netns`.
    ///
    /// # Errors
    /// The namespace cannot be entered.
    pub fn of(netns: &Netns) -> Result<Self, Error> {
        // Where it is not shown, nobody is found, and the port is still told.
        let sockets = netns.run(|| File::open("/proc/thread-self/net/netlink").ok())?;
        Ok(Self::new("/proc", sockets))
    }

    fn new(proc: impl Into<PathBuf>, sockets: Option<File>) -> Self {
        ProcessByPortid { proc: proc.into(), sockets, remembered: HashMap::default(), budget: Budget::default() }
    }

    /// The process that has `port`; 0 is the kernel itself.
    pub fn find(&mut self, port: u32, now: Instant) -> Option<&Process> {
        if port == 0 {
            return None;
        }
        let is_fresh = |(since, _): &(Instant, Option<Process>)| now.saturating_duration_since(*since) < LIFETIME;
        if !self.remembered.get(&port).is_some_and(is_fresh) && self.budget.allows(now) {
            if self.remembered.len() >= MOST_REMEMBERED {
                self.remembered.clear();
            }
            let process = self.look_up(port);
            self.remembered.insert(port, (now, process));
        }
        // What is too old is not told, even where there is no budget for a look.
        self.remembered.get(&port).filter(|found| is_fresh(found))?.1.as_ref()
    }

    fn look_up(&mut self, port: u32) -> Option<Process> {
        let inode = self.socket_of(port).ok().flatten()?;
        // Beyond the largest number of a process: the kernel's choice.
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

    /// The inode of the socket that has `port` in the namespace.
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
    for entry in fs::read_dir(process.join("fd"))?.take(MOST_FILES) {
        match fs::read_link(entry?.path()) {
            Ok(link) if link.as_os_str() == &*wanted => return Ok(true),
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied => return Err(error),
            // Another file, or closed meanwhile.
            _ => {}
        }
    }
    Ok(false)
}

/// Whether the process can be it, by what everybody may read of it: allowed to change
/// the table, of our own pid namespace, and neither the first process nor a thread of
/// the kernel, which have the small numbers that containers begin with too.
fn is_plausible(process: &Path) -> bool {
    let Ok(status) = fs::read_to_string(process.join("status")) else { return false };
    let field = |name: &str| status.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':')).map(str::trim);
    let may_change = field("CapEff").and_then(|mask| u64::from_str_radix(mask, 16).ok()).unwrap_or(0) & NET_ADMIN != 0;
    let is_of_here = field("NSpid").is_some_and(|pids| pids.split_whitespace().count() == 1 && pids != "1");
    // Threads of the kernel have no memory of their own.
    may_change && is_of_here && field("VmSize").is_some()
}

/// So many lookups in each second.
#[derive(Debug, Default)]
struct Budget {
    second: Option<Instant>,
    used: u32,
}

impl Budget {
    fn allows(&mut self, now: Instant) -> bool {
        if self.second.is_none_or(|second| now.saturating_duration_since(second) >= Duration::from_secs(1)) {
            *self = Budget { second: Some(now), used: 0 };
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

    const HEADER: &str = "sk Eth Pid Groups Rmem Wmem Dump Locks Drops Inode\n";

    /// A made-up /proc with the sockets 500, of inode 77, and 4000000000, of inode 78.
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

        fn requesters(&self) -> ProcessByPortid {
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
        let (mut requesters, now) = (proc.requesters(), Instant::now());
        assert_eq!(requesters.find(500, now), Some(&certain(500, "kube-proxy")));
        for port in [0, 499, 600, 4_000_000_000] {
            assert_eq!(requesters.find(port, now), None, "{port}");
        }
        // A container's port 500 is not the host's process 500.
        proc.process(500, "systemd", 80);
        assert_eq!(proc.requesters().find(500, now), None);
    }

    #[test]
    fn hits_and_misses_are_remembered_and_after_a_while_looked_up_again() {
        let proc = Proc::new();
        let (mut requesters, now) = (proc.requesters(), Instant::now());
        assert_eq!(requesters.find(500, now), None);
        proc.process(500, "conntrackd", 77);
        assert_eq!(requesters.find(500, now + LIFETIME / 2), None);
        assert_eq!(requesters.find(500, now + LIFETIME), Some(&certain(500, "conntrackd")));
        proc.sockets(&[]);
        assert_eq!(requesters.find(500, now + LIFETIME + LIFETIME / 2), Some(&certain(500, "conntrackd")));
        assert_eq!(requesters.find(500, now + LIFETIME * 2), None);
    }

    #[test]
    fn lookups_are_so_many_a_second_and_the_memory_is_bounded() {
        let proc = Proc::new();
        proc.process(500, "x", 77);
        let (mut requesters, now) = (proc.requesters(), Instant::now());
        for port in 1000..1000 + LOOKUPS_PER_SECOND {
            assert_eq!(requesters.find(port, now), None);
        }
        assert_eq!(requesters.find(500, now), None, "no lookups are left in this second");
        assert_eq!(requesters.find(500, now + Duration::from_secs(1)), Some(&certain(500, "x")));
        for second in 2..60 {
            for port in 0..LOOKUPS_PER_SECOND {
                requesters.find(second * 1000 + port, now + Duration::from_secs(second.into()));
            }
        }
        assert!(requesters.remembered.len() <= MOST_REMEMBERED);
    }

    #[test]
    fn a_guess_needs_the_right_to_change_the_table_and_no_other_pid_namespace() {
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
    fn the_kernel_shows_this_very_process() {
        let _socket = Socket::open().unwrap();
        let mut requesters = ProcessByPortid::of(&Netns::Current).unwrap();
        let own = std::process::id();
        // Another test's socket may have the port; it is this process's all the same.
        let found = requesters.find(own, Instant::now()).unwrap();
        assert_eq!((found.pid, found.is_certain), (own, true));
        assert_eq!(format!("{}\n", found.name), fs::read_to_string("/proc/self/comm").unwrap());
    }
}
