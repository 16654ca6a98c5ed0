//! Tests with a /proc in a folder.

use std::fs;
use std::os::unix::fs::symlink;

use ctnl::netlink::Netns;

use super::*;

const HOST: u64 = 4_026_531_840;

/// A /proc for tests.
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

fn mount(inode: u64, mount_point: &str) -> String {
    format!("36 21 0:4 net:[{inode}] {mount_point} rw shared:2 - nsfs nsfs rw\n")
}

fn names(namespaces: &[Namespace]) -> Vec<String> {
    namespaces.iter().map(|namespace| namespace.name.to_string()).collect()
}

#[test]
fn each_namespace_appears_once_with_its_best_name() {
    let proc = Proc::new();
    proc.process("900", "worker", 4);
    proc.process("800", "nginx: master", 4);
    proc.process("700", "vpn", 5);
    let mounts = [(HOST, "/run/docker/netns/default"), (5, "/run/docker/netns/5"), (5, "/run/netns/blue")];
    let mounts =
        mounts.map(|(inode, mount_point)| mount(inode, mount_point)).concat() + &mount(6, "/var/lib/a\\040b\\134c");
    proc.mounts(&mounts);
    let changes = proc.namespaces().refresh().unwrap();
    let mut found = names(&changes.appeared);
    found.sort();
    assert_eq!(found, ["/var/lib/a b\\c", "blue", "host", "pid:800(nginx: master)"]);
    assert_eq!((changes.renamed, changes.vanished), (vec![], vec![]));
}

#[test]
fn a_namespace_vanishes_at_the_second_scan_without_a_process_or_a_mount() {
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
fn a_namespace_that_one_scan_missed_has_not_vanished() {
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
fn the_name_of_a_process_stays_until_a_mount_replaces_it() {
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
fn no_two_namespaces_have_the_same_name() {
    let proc = Proc::new();
    let mut namespaces = proc.namespaces();
    proc.mounts(&(mount(4, "/run/netns/blue") + &mount(5, "/run/netns/red")));
    proc.process("900", "worker", 5);
    namespaces.refresh().unwrap();
    // The first namespace has nothing left, the second still has a process.
    proc.mounts(&(mount(6, "/run/netns/blue") + &mount(3, "/run/netns/red")));
    let changes = namespaces.refresh().unwrap();
    let inodes = |namespaces: &[Namespace]| namespaces.iter().map(|n| n.inode).collect::<Vec<_>>();
    assert_eq!((inodes(&changes.appeared), inodes(&changes.vanished)), (vec![3, 6], vec![4]));
    let renamed = changes.renamed.iter().map(|(old, new)| format!("{old} → {}", new.name)).collect::<Vec<_>>();
    assert_eq!(renamed, ["red → pid:900(worker)"]);
    assert_eq!(namespaces.refresh().unwrap(), Changes::default());
}

#[test]
fn two_namespaces_that_swap_their_names_are_renamed_once() {
    let proc = Proc::new();
    let mut namespaces = proc.namespaces();
    proc.mounts(&(mount(4, "/run/netns/blue") + &mount(5, "/run/netns/red")));
    namespaces.refresh().unwrap();
    proc.mounts(&(mount(4, "/run/netns/red") + &mount(5, "/run/netns/blue")));
    let changes = namespaces.refresh().unwrap();
    let renamed = changes.renamed.iter().map(|(old, new)| format!("{} {old} → {}", new.inode, new.name));
    assert_eq!(renamed.collect::<Vec<_>>(), ["4 blue → red", "5 red → blue"]);
    assert_eq!((changes.appeared, changes.vanished), (vec![], vec![]));
    assert_eq!(namespaces.refresh().unwrap(), Changes::default());
}

#[test]
fn of_two_namespaces_on_one_path_one_has_its_name_and_nothing_changes_at_the_next_scan() {
    let proc = Proc::new();
    let mut namespaces = proc.namespaces();
    proc.mounts(&(mount(4, "/run/netns/blue") + &mount(5, "/run/netns/blue")));
    assert_eq!(names(&namespaces.refresh().unwrap().appeared), ["net:[4]", "blue", "host"]);
    for _ in 0..3 {
        assert_eq!(namespaces.refresh().unwrap(), Changes::default());
    }
}

#[test]
fn a_name_that_reads_like_that_of_another_kind_is_a_path() {
    let proc = Proc::new();
    let mounts = ["host", "pid:1(x)", "net:[7]"].map(|name| format!("/run/netns/{name}"));
    proc.mounts(&[4, 5, 6].iter().zip(&mounts).map(|(inode, path)| mount(*inode, path)).collect::<String>());
    let expected = mounts.iter().map(String::as_str).chain(["host"]).collect::<Vec<_>>();
    assert_eq!(names(&proc.namespaces().refresh().unwrap().appeared), expected);
}

#[test]
fn without_a_readable_first_process_the_own_namespace_is_called_host() {
    let proc = Proc::new();
    proc.end("1");
    let found = proc.namespaces().refresh().unwrap().appeared;
    assert_eq!(names(&found), ["host"]);
    assert!(found.iter().all(|namespace| namespace.open().unwrap() == Netns::Current));
}

#[test]
fn a_forgotten_namespace_appears_again() {
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
fn a_failed_scan_changes_nothing() {
    let proc = Proc::new();
    let mut namespaces = proc.namespaces();
    proc.process("900", "x", 4);
    namespaces.refresh().unwrap();
    fs::remove_file(proc.0.path().join("thread-self/mountinfo")).unwrap();
    assert!(namespaces.refresh().is_err() && namespaces.refresh().is_err());
    proc.mounts("");
    assert_eq!(namespaces.refresh().unwrap(), Changes::default());
}
