//! Whether this host may be a standby router: programs that copy entries from another one, and addresses that move
//! between both.

use std::collections::BTreeSet;
use std::fs;
use std::net::IpAddr;
use std::path::{Path, PathBuf};

use ctnl::host::Host;

use super::Reading;

/// Copies entries of another router into the table of this one, at once or when it becomes the active one
/// (`DisableExternalCache` and `conntrackd -c`).
const REPLICATOR: &str = "conntrackd";
/// Programs that give an address to one of several hosts.
const MOVERS: [&str; 4] = ["keepalived", "ucarp", "vrrpd", "pacemakerd"];
/// Files with such addresses.
const CONFIGURATIONS: [&str; 2] = ["/etc/keepalived/keepalived.conf", "/var/lib/pacemaker/cib/cib.xml"];
/// Folders with parts of them.
const FOLDERS: [&str; 2] = ["/etc/keepalived", "/etc/keepalived/conf.d"];
/// Most bytes of such a file, files of a folder, and addresses.
const MOST_BYTES: u64 = 1024 * 1024;
const MOST_FILES: usize = 256;
const MOST_ADDRESSES: usize = 4096;

/// What moves between routers.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Failover {
    /// Programs of this namespace that copy entries, such as `conntrackd (pid 7)`.
    pub replicators: Vec<String>,
    /// Programs of this namespace that move addresses.
    pub movers: Vec<String>,
    /// The addresses in their usual configuration files; those of their own hosts are among them.
    pub addresses: BTreeSet<IpAddr>,
}

impl Failover {
    /// Reads it, of the namespace of the calling thread.
    ///
    /// # Errors
    /// The processes cannot be listed.
    pub fn read(host: &Host) -> Reading<Self> {
        let proc = host.proc();
        let own = fs::read_link(proc.join("thread-self/ns/net")).ok();
        let processes = fs::read_dir(&proc).map_err(|error| format!("/proc cannot be read: {error}"))?;
        let mut failover = Failover::default();
        for process in processes.flatten().map(|entry| entry.path()).filter(|path| is_process(path)) {
            let Some(name) = name_of(&process).filter(|name| name == REPLICATOR || MOVERS.contains(&&**name)) else {
                continue;
            };
            // One whose namespace may not be read counts: then nothing is called stale that may be a copy.
            let netns = fs::read_link(process.join("ns/net")).ok();
            if netns.is_some() && own.is_some() && netns != own {
                continue;
            }
            let pid = process.file_name().unwrap_or_default().to_string_lossy().into_owned();
            let programs = if name == REPLICATOR { &mut failover.replicators } else { &mut failover.movers };
            programs.push(format!("{name} (pid {pid})"));
            if name != REPLICATOR {
                failover.add_addresses(&text_of(&process.join("cmdline")));
            }
        }
        if !failover.movers.is_empty() {
            files(host).iter().for_each(|file| failover.add_addresses(&text_of(file)));
        }
        Ok(failover)
    }

    fn add_addresses(&mut self, text: &str) {
        let is_address = |c: char| c.is_ascii_hexdigit() || ".:".contains(c);
        let words = text.split(|c: char| !is_address(c)).filter(|word| word.len() > 1);
        let left = MOST_ADDRESSES.saturating_sub(self.addresses.len());
        self.addresses.extend(words.filter_map(|word| word.parse::<IpAddr>().ok()).take(left));
    }

    /// Why an entry may be a copy of one of another router.
    pub fn copied(&self) -> Option<String> {
        let programs = self.replicators.join(", ");
        (!programs.is_empty())
            .then(|| format!("{programs} runs here: entries may be copies of those of another router"))
    }

    /// Why an entry with `address`, which this host does not have, may be one of another router, or of the time at which
    /// this host was the active one. A configuration may be anywhere, so that an address which is not found may move, too.
    pub fn moved(&self, address: IpAddr) -> Option<String> {
        let programs = self.movers.join(", ");
        match self.addresses.contains(&address) {
            _ if programs.is_empty() => None,
            true => Some(format!("{address} moves between hosts by {programs}: another one has it now")),
            false => Some(format!("{programs} moves addresses between hosts: {address} may be one of them")),
        }
    }
}

fn is_process(path: &Path) -> bool {
    path.file_name().is_some_and(|name| name.to_string_lossy().bytes().all(|byte| byte.is_ascii_digit()))
}

fn name_of(process: &Path) -> Option<String> {
    let name = fs::read(process.join("comm")).ok()?;
    Some(String::from_utf8_lossy(name.trim_ascii_end()).into_owned())
}

fn files(host: &Host) -> Vec<PathBuf> {
    let mut files: Vec<_> = CONFIGURATIONS.iter().map(|path| host.path(path)).collect();
    for folder in FOLDERS {
        let entries = fs::read_dir(host.path(folder)).into_iter().flatten().flatten().map(|entry| entry.path());
        files.extend(entries.filter(|path| path.extension().is_some_and(|end| end == "conf")).take(MOST_FILES));
    }
    files
}

/// The beginning of a regular file; without its comments, where an address may be one of before.
fn text_of(path: &Path) -> String {
    use std::io::Read;
    let mut bytes = Vec::new();
    if fs::metadata(path).is_ok_and(|found| found.is_file())
        && let Ok(file) = fs::File::open(path)
    {
        // What can be read is enough.
        let _ = file.take(MOST_BYTES).read_to_end(&mut bytes);
    }
    let text = String::from_utf8_lossy(&bytes);
    text.lines().map(|line| line.split(['#', '!']).next().unwrap_or_default()).collect::<Vec<_>>().join("\n")
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;
    use crate::doctor::made_up::MadeUpHost;

    /// A host on which these processes run, each in a namespace.
    fn host(processes: &[(&str, &str, &str)]) -> MadeUpHost {
        let mut host = MadeUpHost::new();
        for (pid, name, netns) in [("thread-self", "ctnl", "net:[1]")].iter().chain(processes) {
            host.file(&format!("/proc/{pid}/comm"), &format!("{name}\n"));
            fs::create_dir_all(host.host().path(&format!("/proc/{pid}/ns"))).unwrap();
            symlink(netns, host.host().path(&format!("/proc/{pid}/ns/net"))).unwrap();
        }
        host
    }

    #[test]
    fn a_program_that_copies_entries_into_this_namespace_is_found_and_one_in_another_is_not() {
        let here = host(&[("7", "conntrackd", "net:[1]"), ("8", "sshd", "net:[1]")]);
        let copied = Failover::read(&here.host()).unwrap().copied();
        assert_eq!(copied.unwrap(), "conntrackd (pid 7) runs here: entries may be copies of those of another router");
        let elsewhere = host(&[("7", "conntrackd", "net:[2]")]);
        assert_eq!(Failover::read(&elsewhere.host()), Ok(Failover::default()));
        // Whose namespace is unknown counts.
        fs::remove_file(elsewhere.host().path("/proc/7/ns/net")).unwrap();
        assert!(Failover::read(&elsewhere.host()).unwrap().copied().is_some());
    }

    #[test]
    fn an_address_moves_or_may_move_where_a_program_that_moves_addresses_runs() {
        let configuration = "virtual_ipaddress {\n  192.0.2.5/24 dev eth0\n  2001:db8::5\n  # 192.0.2.6\n}\n";
        let mut active = host(&[("9", "keepalived", "net:[1]"), ("10", "ucarp", "net:[1]")]);
        active.file("/etc/keepalived/conf.d/vip.conf", configuration);
        active.file("/proc/10/cmdline", "ucarp\0--addr=192.0.2.7\0");
        let failover = Failover::read(&active.host()).unwrap();
        let is_moved =
            |address: &str| failover.moved(address.parse().unwrap()).unwrap().contains("another one has it now");
        assert_eq!(["192.0.2.5", "2001:db8::5", "192.0.2.6", "192.0.2.7"].map(is_moved), [true, true, false, true]);
        let mut stopped = host(&[]);
        stopped.file("/etc/keepalived/conf.d/vip.conf", configuration);
        let stopped = Failover::read(&stopped.host()).unwrap();
        assert_eq!((stopped.moved("192.0.2.5".parse().unwrap()), &stopped), (None, &Failover::default()));
    }

    #[test]
    fn an_address_may_move_where_the_configuration_is_somewhere_else() {
        let mut active = host(&[("9", "keepalived", "net:[1]")]);
        active.file("/proc/9/cmdline", "keepalived\0-f\0/run/ka.conf\0");
        let why = Failover::read(&active.host()).unwrap().moved("192.0.2.5".parse().unwrap());
        assert_eq!(why.unwrap(), "keepalived (pid 9) moves addresses between hosts: 192.0.2.5 may be one of them");
    }
}
