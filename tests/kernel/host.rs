//! Namespaces, processes and privileges of the host, which the event stream needs, on the real kernel.

use std::fs;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use ctnl::netlink::{Connection, Netns};
use ctnl::table;
use nix::sched::{CloneFlags, unshare};

use ctnl_test_support::harness::{TestNetns, tests, udp};

use ctnl_test_support::host::namespaces::{Changes, Name, Namespace, Namespaces};
use ctnl_test_support::host::privileges::Needs;
use ctnl_test_support::host::{privileges, process_by_portid};

tests![
    namespaces_appear_and_vanish_even_while_ctnl_holds_them_open,
    with_the_network_capability_alone_the_table_can_be_read_and_followed,
    the_process_of_a_portid_is_found_without_permission_to_enter_its_namespace,
];

/// Runs `work` in another network namespace, on a thread with CAP_NET_ADMIN alone.
fn without_privileges_in_another_netns<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    let worker = thread::spawn(|| {
        unshare(CloneFlags::CLONE_NEWNET).expect("another network namespace");
        privileges::drop_in_this_thread(Needs::default()).expect("privileges can be dropped");
        work()
    });
    worker.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
}

/// Fails unless `program` succeeds in this thread's namespaces.
#[track_caller]
fn run(program: &str, arguments: &[&str]) {
    let output = Command::new(program).args(arguments).output().expect(program);
    assert!(output.status.success(), "{program} {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
}

/// A process in its own network namespace, killed when this is dropped.
struct IsolatedProcess(Child);

impl IsolatedProcess {
    fn new() -> Self {
        let mut command = Command::new("unshare");
        IsolatedProcess(command.args(["-n", "sleep", "600"]).stdout(Stdio::null()).spawn().expect("unshare"))
    }

    fn folder(&self) -> String {
        format!("/proc/{}", self.0.id())
    }

    fn inode(&self) -> u64 {
        let link = fs::read_link(self.folder() + "/ns/net").expect("a link").to_string_lossy().into_owned();
        link.trim_start_matches("net:[").trim_end_matches(']').parse().expect("a number")
    }
}

impl Drop for IsolatedProcess {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn until<T>(what: &str, mut sample: impl FnMut() -> Option<T>) -> T {
    let start = Instant::now();
    loop {
        if let Some(found) = sample() {
            return found;
        }
        assert!(start.elapsed() < Duration::from_secs(20), "waited for {what}");
        thread::sleep(Duration::from_millis(2));
    }
}

fn has(namespaces: &[Namespace], inode: u64) -> bool {
    namespaces.iter().any(|namespace| namespace.inode == inode)
}

fn namespaces_appear_and_vanish_even_while_ctnl_holds_them_open(_: &TestNetns) {
    unshare(CloneFlags::CLONE_NEWNS).expect("a private mount namespace");
    run("mount", &["--make-rprivate", "/"]);
    let mut namespaces = Namespaces::new("/proc");
    let mut refresh = move || namespaces.refresh().expect("a refresh");
    let before: Changes = refresh();
    // The namespaces of concurrent tests may be gone before they are opened.
    let is_ours = |namespace: &&Namespace| namespace.open().is_ok_and(|netns| netns == Netns::Current);
    assert_eq!(before.appeared.iter().filter(is_ours).count(), 1);

    let process = IsolatedProcess::new();
    let ready = || fs::read_to_string(process.folder() + "/comm").ok().filter(|comm| comm == "sleep\n");
    until("the process", ready);
    let inode = process.inode();
    let found = refresh().appeared.into_iter().find(|namespace| namespace.inode == inode).expect("the namespace");
    assert_eq!(found.name, Name::Process { pid: process.0.id(), comm: "sleep".into() });
    let held = found.open().expect("it can be held");
    let _connection = Connection::open(&held).expect("it can be entered");

    let folder = tempfile::tempdir().unwrap();
    let place = folder.path().join("a name");
    fs::write(&place, "").unwrap();
    let place_text = place.to_str().unwrap();
    run("mount", &["--bind", &(process.folder() + "/ns/net"), place_text]);
    let renamed = refresh().renamed;
    let (_, renamed) = renamed.iter().find(|(_, namespace)| namespace.inode == inode).expect("a better name");
    assert_eq!(renamed.name, Name::Mounted(place.clone()));
    renamed.open().expect("it can be held by its mount");

    drop(process);
    for _ in 0..3 {
        assert!(!has(&refresh().vanished, inode), "the mount still keeps it");
    }
    run("umount", &[place_text]);
    assert!(!has(&refresh().vanished, inode), "not at the first refresh");
    assert!(has(&refresh().vanished, inode), "only this process refers to it");
    assert!(renamed.open().is_err(), "the path does not lead to it any more");
    drop(held);
}

fn with_the_network_capability_alone_the_table_can_be_read_and_followed(netns: &TestNetns) {
    let mut earlier = netns.connection();
    let process = IsolatedProcess::new();
    let entered = |netns: &Netns| netns.run(|| ()).is_ok();
    let other = Netns::Path(Path::new("/proc/self/ns/net").into());
    assert!(entered(&other), "with all privileges");
    privileges::drop_in_this_thread(Needs::default()).expect("privileges can be dropped");
    assert!(!entered(&other), "entering a namespace is given up");
    netns.create(&[udp(1000, 53)]);
    assert_eq!(table::count(&mut earlier).expect("a socket from before").entries, 1);
    assert_eq!(netns.dump().len(), 1, "a socket from after");
    netns.set_sysctl("netfilter/nf_conntrack_acct", 1);
    assert!(fs::read_to_string(process.folder() + "/comm").is_ok());
}

fn the_process_of_a_portid_is_found_without_permission_to_enter_its_namespace(netns: &TestNetns) {
    // The first socket of a process in a namespace has the process's number as port.
    let _connection = netns.connection();
    let mut processes =
        process_by_portid::ProcessByPortid::of(&Netns::Current, "/proc").expect("the namespace's sockets");
    let found = without_privileges_in_another_netns(move || {
        processes.find(std::process::id(), Duration::from_secs(1)).cloned()
    });
    assert_eq!(found.expect("this process").pid, std::process::id());
}
