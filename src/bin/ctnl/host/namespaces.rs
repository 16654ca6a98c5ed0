//! Floor 8, the network namespaces of the host: which there are, what they are called,
//! and which have come and gone since the last look.
//!
//! A namespace lives as long as anything refers to it, also our own sockets in it and
//! the file by which it is held. So it counts as gone when no process is in it and no
//! mount stands for it. Nothing tells of either, so this is a look at everything from
//! time to time. It does not see a namespace that only a file descriptor of another
//! process holds, nor one in which only threads are whose process began elsewhere.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fmt;
use std::fs;
use std::io;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use ctnl::netlink::Netns;

/// Where `ip netns` keeps its names.
const NAMED: &str = "/run/netns/";

/// Time between two looks. One costs 7 µs a process, 35 ms with 5000 of them: some 2 % of
/// a processor then, and too long for the thread that receives.
pub const LOOK_EVERY: Duration = Duration::from_secs(2);

/// What a namespace is called, in every record of it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Name {
    /// That of the host's first process.
    Host,
    /// A name of `ip netns`.
    Named(String),
    /// A file that stands for it, as container engines keep them.
    Mounted(PathBuf),
    /// The process by which it was found. The name stays when that process ends.
    Process {
        /// Its number.
        pid: u32,
        /// What it was called then.
        comm: String,
    },
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Name::Host => f.write_str("host"),
            Name::Named(name) => f.write_str(name),
            Name::Mounted(path) => write!(f, "{}", path.display()),
            Name::Process { pid, comm } => write!(f, "pid:{pid}({comm})"),
        }
    }
}

/// A network namespace.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Namespace {
    /// The kernel's number of it, which no other has while it lives.
    pub inode: u64,
    /// What it is called.
    pub name: Name,
    path: PathBuf,
    is_own: bool,
}

impl Namespace {
    /// Keeps the namespace open, after making sure that it is still this one.
    ///
    /// # Errors
    /// It is gone, or may not be read.
    pub fn open(&self) -> Result<Netns> {
        if self.is_own {
            return Ok(Netns::Current);
        }
        let netns = Netns::Path(self.path.clone()).pin()?;
        if let Netns::Pinned(held) = &netns {
            let inode = held.inode().with_context(|| format!("look at {}", self.path.display()))?;
            if inode != self.inode {
                bail!("{} stands for net:[{inode}] now, no longer for net:[{}]", self.path.display(), self.inode);
            }
        }
        Ok(netns)
    }
}

/// What is different from the last look.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Changes {
    /// New ones.
    pub appeared: Vec<Namespace>,
    /// Those that have got another name, with the earlier one: a process was seen in it
    /// before `ip netns` or a container engine gave it its name, or that name is another's
    /// now. To be applied after `vanished` and before `appeared`: so no two have one name.
    pub renamed: Vec<(Name, Namespace)>,
    /// Those that are gone.
    pub vanished: Vec<Namespace>,
}

/// The namespaces that are known.
#[derive(Debug)]
pub struct Namespaces {
    proc: PathBuf,
    known: BTreeMap<u64, Known>,
    unreadable: usize,
}

#[derive(Debug)]
struct Known {
    namespace: Namespace,
    /// The last look did not find it.
    missed: bool,
}

/// One look. By number: the mounts, and the lowest process.
#[derive(Debug, Default)]
struct Look {
    mounts: BTreeMap<u64, PathBuf>,
    processes: BTreeMap<u64, u32>,
    unreadable: usize,
}

impl Namespaces {
    /// None yet. `proc` is where processes are shown.
    pub fn new(proc: impl Into<PathBuf>) -> Self {
        Namespaces { proc: proc.into(), known: BTreeMap::new(), unreadable: 0 }
    }

    /// Looks again. One that is not found is gone when the next look does not find it
    /// either: the list of processes is no snapshot, and one that passes its namespace on
    /// to a child and ends can be missed.
    ///
    /// # Errors
    /// Processes or mounts cannot be listed. What was known stays known.
    pub fn refresh(&mut self) -> io::Result<Changes> {
        let own = netns_of(&self.proc.join("self"))?;
        // The first process is not ours to read in every container.
        let host = netns_of(&self.proc.join("1")).unwrap_or(own);
        let mut look = Look::default();
        look.at_mounts(&self.proc)?;
        look.at_processes(&self.proc)?;
        look.processes.entry(own).or_insert_with(std::process::id);
        self.unreadable = look.unreadable;
        let mut changes = Changes::default();
        self.forget_gone(&look, &mut changes);
        let inodes: Vec<u64> = look.processes.keys().chain(look.mounts.keys()).copied().collect();
        let proc = self.proc.clone();
        for inode in inodes {
            let found = look.describe(inode, host, own, &proc);
            self.free_name(&found, &mut changes, |inode| look.describe(inode, host, own, &proc));
            self.take_in(found, &mut changes);
        }
        Ok(changes)
    }

    /// Processes of which the last look could not tell where they are, for want of
    /// CAP_SYS_PTRACE: a namespace that has only such is not known.
    pub fn unreadable(&self) -> usize {
        self.unreadable
    }

    /// Lets the next look find this one again, as new: for one that could not be opened.
    pub fn forget(&mut self, inode: u64) {
        self.known.remove(&inode);
    }

    fn forget_gone(&mut self, look: &Look, changes: &mut Changes) {
        self.known.retain(|inode, known| {
            let is_there = look.mounts.contains_key(inode) || look.processes.contains_key(inode);
            let is_gone = !is_there && known.missed;
            known.missed = !is_there;
            if is_gone {
                changes.vanished.push(known.namespace.clone());
            }
            !is_gone
        });
    }

    /// Takes from another namespace the name that `found` has by now: a container was
    /// started again, or a number of a process was given again.
    fn free_name(&mut self, found: &Namespace, changes: &mut Changes, describe: impl Fn(u64) -> Namespace) {
        let is_other =
            |(inode, known): &(&u64, &mut Known)| **inode != found.inode && known.namespace.name == found.name;
        let Some((inode, known)) = self.known.iter_mut().find(is_other) else { return };
        let inode = *inode;
        if known.missed {
            changes.vanished.push(known.namespace.clone());
            self.known.remove(&inode);
        } else {
            let namespace = describe(inode);
            let earlier = std::mem::replace(&mut known.namespace, namespace).name;
            changes.renamed.push((earlier, known.namespace.clone()));
        }
    }

    fn take_in(&mut self, found: Namespace, changes: &mut Changes) {
        let Some(known) = self.known.get_mut(&found.inode) else {
            changes.appeared.push(found.clone());
            self.known.insert(found.inode, Known { namespace: found, missed: false });
            return;
        };
        let namespace = &mut known.namespace;
        namespace.path = found.path;
        if found.name != namespace.name && !matches!(found.name, Name::Process { .. }) {
            let earlier = std::mem::replace(&mut namespace.name, found.name);
            changes.renamed.push((earlier, namespace.clone()));
        }
    }
}

impl Look {
    /// Mounts of namespaces, those of `ip netns` first where there are several of one.
    fn at_mounts(&mut self, proc: &Path) -> io::Result<()> {
        let table = fs::read(proc.join("thread-self/mountinfo"))?;
        for line in table.split(|byte| *byte == b'\n') {
            // Number, parent, device, root within its file system, place …
            let mut fields = line.split(|byte| *byte == b' ').skip(3);
            let (Some(root), Some(place)) = (fields.next(), fields.next()) else { continue };
            let Some(inode) = inode(root) else { continue };
            let place = unescape(place);
            let rank = |path: &Path| (!path.starts_with(NAMED), path.to_owned());
            let known = self.mounts.entry(inode).or_insert_with(|| place.clone());
            if rank(&place) < rank(known) {
                *known = place;
            }
        }
        Ok(())
    }

    fn at_processes(&mut self, proc: &Path) -> io::Result<()> {
        for entry in fs::read_dir(proc)? {
            let entry = entry?;
            let Some(pid) = entry.file_name().to_str().and_then(|name| name.parse::<u32>().ok()) else { continue };
            match netns_of(&entry.path()) {
                Ok(inode) => {
                    let lowest = self.processes.entry(inode).or_insert(pid);
                    *lowest = pid.min(*lowest);
                }
                Err(error) if error.kind() == io::ErrorKind::PermissionDenied => self.unreadable += 1,
                // It has ended.
                Err(_) => {}
            }
        }
        Ok(())
    }

    fn describe(&self, inode: u64, host: u64, own: u64, proc: &Path) -> Namespace {
        let (mount, pid) = (self.mounts.get(&inode), self.processes.get(&inode).copied());
        let folder = pid.map(|pid| proc.join(pid.to_string()));
        let name = match mount {
            _ if inode == host => Name::Host,
            Some(mount) => named(mount),
            None => Name::Process { pid: pid.unwrap_or(0), comm: folder.as_deref().map(comm).unwrap_or_default() },
        };
        let path = mount.cloned().or_else(|| folder.map(|folder| folder.join("ns/net"))).unwrap_or_default();
        Namespace { inode, name, path, is_own: inode == own }
    }
}

fn named(mount: &Path) -> Name {
    match mount.strip_prefix(NAMED).ok().and_then(Path::to_str) {
        Some(name) => Name::Named(name.to_owned()),
        None => Name::Mounted(mount.to_owned()),
    }
}

fn comm(folder: &Path) -> String {
    let name = fs::read(folder.join("comm")).unwrap_or_default();
    String::from_utf8_lossy(name.strip_suffix(b"\n").unwrap_or(&name)).into_owned()
}

fn netns_of(folder: &Path) -> io::Result<u64> {
    let link = fs::read_link(folder.join("ns/net"))?;
    inode(link.as_os_str().as_bytes()).ok_or_else(|| {
        io::Error::new(io::ErrorKind::InvalidData, format!("{} is no network namespace", link.display()))
    })
}

/// The number in `net:[4026531840]`.
fn inode(link: &[u8]) -> Option<u64> {
    let digits = link.strip_prefix(b"net:[")?.strip_suffix(b"]")?;
    std::str::from_utf8(digits).ok()?.parse().ok()
}

/// A path of mountinfo, in which spaces and the like are octal numbers.
fn unescape(path: &[u8]) -> PathBuf {
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
#[allow(clippy::unwrap_used)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    const HOST: u64 = 4_026_531_840;

    /// A made-up /proc.
    struct Proc(tempfile::TempDir);

    impl Proc {
        fn new() -> Self {
            let proc = Proc(tempfile::tempdir().unwrap());
            proc.process("1", "systemd", HOST);
            proc.process("self", "ctnl", HOST);
            proc.mounts("");
            proc
        }

        fn process(&self, pid: &str, comm: &str, inode: u64) {
            let folder = self.0.path().join(pid);
            fs::create_dir_all(folder.join("ns")).unwrap();
            fs::write(folder.join("comm"), format!("{comm}\n")).unwrap();
            symlink(format!("net:[{inode}]"), folder.join("ns/net")).unwrap();
        }

        fn end(&self, pid: &str) {
            fs::remove_dir_all(self.0.path().join(pid)).unwrap();
        }

        fn mounts(&self, lines: &str) {
            fs::create_dir_all(self.0.path().join("thread-self")).unwrap();
            let root = "21 1 254:0 / / rw,relatime shared:1 - ext4 /dev/vda rw\n";
            fs::write(self.0.path().join("thread-self/mountinfo"), format!("{root}{lines}")).unwrap();
        }

        fn namespaces(&self) -> Namespaces {
            Namespaces::new(self.0.path())
        }
    }

    fn mount(inode: u64, place: &str) -> String {
        format!("36 21 0:4 net:[{inode}] {place} rw shared:2 - nsfs nsfs rw\n")
    }

    fn names(namespaces: &[Namespace]) -> Vec<String> {
        namespaces.iter().map(|namespace| namespace.name.to_string()).collect()
    }

    #[test]
    fn each_namespace_is_there_once_under_its_best_name() {
        let proc = Proc::new();
        proc.process("900", "worker", 4);
        proc.process("800", "nginx: master", 4);
        proc.process("700", "vpn", 5);
        let mounts = [(HOST, "/run/docker/netns/default"), (5, "/run/docker/netns/5"), (5, "/run/netns/blue")];
        let mounts = mounts.map(|(inode, place)| mount(inode, place)).concat() + &mount(6, "/var/lib/a\\040b\\134c");
        proc.mounts(&mounts);
        let changes = proc.namespaces().refresh().unwrap();
        let mut found = names(&changes.appeared);
        found.sort();
        assert_eq!(found, ["/var/lib/a b\\c", "blue", "host", "pid:800(nginx: master)"]);
        assert_eq!((changes.renamed, changes.vanished), (vec![], vec![]));
    }

    #[test]
    fn it_is_gone_with_its_last_process_and_mount_and_after_a_second_look() {
        let proc = Proc::new();
        let mut namespaces = proc.namespaces();
        proc.process("900", "worker", 4);
        proc.mounts(&mount(4, "/run/netns/blue"));
        assert_eq!(names(&namespaces.refresh().unwrap().appeared).len(), 2);
        proc.end("900");
        for _ in 0..3 {
            assert_eq!(namespaces.refresh().unwrap(), Changes::default());
        }
        proc.mounts("");
        assert_eq!(namespaces.refresh().unwrap(), Changes::default());
        assert_eq!(names(&namespaces.refresh().unwrap().vanished), ["blue"]);
        assert_eq!(namespaces.refresh().unwrap(), Changes::default());
    }

    #[test]
    fn one_that_was_missed_once_has_not_vanished() {
        let proc = Proc::new();
        let mut namespaces = proc.namespaces();
        proc.process("900", "parent", 4);
        namespaces.refresh().unwrap();
        for _ in 0..2 {
            proc.end("900");
            assert_eq!(namespaces.refresh().unwrap(), Changes::default());
            proc.process("900", "child", 4);
            assert_eq!(namespaces.refresh().unwrap(), Changes::default());
        }
    }

    #[test]
    fn a_process_name_stays_and_a_real_name_replaces_it() {
        let proc = Proc::new();
        let mut namespaces = proc.namespaces();
        proc.process("900", "ip", 4);
        assert!(names(&namespaces.refresh().unwrap().appeared).contains(&"pid:900(ip)".to_owned()));
        proc.process("901", "sh", 4);
        proc.end("900");
        assert_eq!(namespaces.refresh().unwrap(), Changes::default());
        proc.mounts(&mount(4, "/run/netns/blue"));
        let renamed = namespaces.refresh().unwrap().renamed;
        let words: Vec<_> = renamed.iter().map(|(old, new)| format!("{old} → {}", new.name)).collect();
        assert_eq!(words, ["pid:900(ip) → blue"]);
        proc.mounts("");
        assert_eq!(namespaces.refresh().unwrap(), Changes::default());
    }

    #[test]
    fn a_name_that_is_given_again_is_that_of_one_namespace() {
        let proc = Proc::new();
        let mut namespaces = proc.namespaces();
        proc.mounts(&(mount(4, "/run/netns/blue") + &mount(5, "/run/netns/red")));
        proc.process("900", "worker", 5);
        namespaces.refresh().unwrap();
        // Of the first nothing is left, in the second there is still a process.
        proc.mounts(&(mount(6, "/run/netns/blue") + &mount(3, "/run/netns/red")));
        let changes = namespaces.refresh().unwrap();
        let inodes = |namespaces: &[Namespace]| namespaces.iter().map(|n| n.inode).collect::<Vec<_>>();
        assert_eq!((inodes(&changes.appeared), inodes(&changes.vanished)), (vec![3, 6], vec![4]));
        let renamed = changes.renamed.iter().map(|(old, new)| format!("{old} → {}", new.name)).collect::<Vec<_>>();
        assert_eq!(renamed, ["red → pid:900(worker)"]);
        assert_eq!(namespaces.refresh().unwrap(), Changes::default());
    }

    #[test]
    fn without_a_readable_first_process_the_own_namespace_is_the_host() {
        let proc = Proc::new();
        proc.end("1");
        let found = proc.namespaces().refresh().unwrap().appeared;
        assert_eq!(names(&found), ["host"]);
        assert!(found.iter().all(|namespace| namespace.open().unwrap() == Netns::Current));
    }

    #[test]
    fn one_that_could_not_be_opened_is_found_again() {
        let proc = Proc::new();
        let mut namespaces = proc.namespaces();
        proc.process("900", "x", 4);
        let found = namespaces.refresh().unwrap().appeared;
        let other = found.iter().find(|namespace| namespace.inode == 4).unwrap();
        assert!(other.open().is_err());
        namespaces.forget(4);
        assert_eq!(namespaces.refresh().unwrap().appeared, std::slice::from_ref(other));
    }

    #[test]
    fn what_was_known_stays_known_when_a_look_fails() {
        let proc = Proc::new();
        let mut namespaces = proc.namespaces();
        proc.process("900", "x", 4);
        namespaces.refresh().unwrap();
        fs::remove_file(proc.0.path().join("thread-self/mountinfo")).unwrap();
        assert!(namespaces.refresh().is_err() && namespaces.refresh().is_err());
        proc.mounts("");
        assert_eq!(namespaces.refresh().unwrap(), Changes::default());
    }

    #[test]
    fn the_number_is_read_from_a_link_and_from_nothing_else() {
        assert_eq!(inode(b"net:[4026531840]"), Some(HOST));
        for link in [&b"mnt:[1]"[..], b"net:[]", b"net:[x]", b"net:[1", b"/", b""] {
            assert_eq!(inode(link), None);
        }
    }
}
