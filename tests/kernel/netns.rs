//! Tables of other network namespaces.

use std::fs;
use std::process::{Child, Command};

use ctnl::netlink::{Connection, Error, Netns};
use ctnl::table;
use nix::errno::Errno;
use nix::sched::{CloneFlags, unshare};

use ctnl_test_support::harness::{Run, TestNetns, tests, udp};

tests![
    a_namespace_is_reached_by_process_and_by_path,
    a_connection_stays_in_its_namespace,
    a_namespace_that_does_not_exist_is_an_error_that_names_it,
    a_file_that_is_no_namespace_is_an_error_that_names_it,
    a_fifo_as_namespace_is_an_error_and_does_not_block,
    a_number_that_is_no_process_is_looked_up_as_a_namespace_name,
    an_empty_table_is_explained_by_the_rules_that_track_and_one_with_entries_is_not,
];

/// A process that stays in this thread's namespace until dropped.
pub struct NetnsProcess(Child);

impl NetnsProcess {
    pub fn new() -> Self {
        NetnsProcess(Command::new("sleep").arg("600").spawn().expect("sleep"))
    }
}

impl NetnsProcess {
    pub fn pid(&self) -> u32 {
        self.0.id()
    }
}

impl Drop for NetnsProcess {
    fn drop(&mut self) {
        let _ = self.0.kill().and_then(|()| self.0.wait());
    }
}

fn entries(netns: &Netns) -> u32 {
    table::count(&mut Connection::open(netns).expect("a connection")).expect("count").entries
}

fn a_namespace_is_reached_by_process_and_by_path(netns: &TestNetns) {
    netns.create(&[udp(1, 2), udp(3, 4)]);
    let process = NetnsProcess::new();
    let pid = process.pid();
    unshare(CloneFlags::CLONE_NEWNET).unwrap();
    assert_eq!(entries(&Netns::Current), 0);
    assert_eq!(entries(&Netns::parse(&pid.to_string())), 2);
    assert_eq!(entries(&Netns::parse(&format!("/proc/{pid}/ns/net"))), 2);
    assert_eq!(entries(&Netns::Current), 0, "the calling thread stays in its namespace");
}

fn a_connection_stays_in_its_namespace(netns: &TestNetns) {
    netns.create(&[udp(1, 2)]);
    let mut connection = netns.connection();
    unshare(CloneFlags::CLONE_NEWNET).unwrap();
    assert_eq!(table::count(&mut connection).unwrap().entries, 1);
}

fn a_namespace_that_does_not_exist_is_an_error_that_names_it(_: &TestNetns) {
    for (word, path) in [
        ("no-such-name", "/run/netns/no-such-name"),
        ("999999999", "/proc/999999999/ns/net"),
        ("/nowhere/net", "/nowhere/net"),
    ] {
        let error = Connection::open(&Netns::parse(word)).expect_err("no such namespace");
        assert!(matches!(&error, Error::Netns { .. }), "{error:?}");
        assert_eq!(error.errno(), Some(Errno::ENOENT));
        assert!(error.to_string().contains(path), "{error}");
    }
}

fn a_file_that_is_no_namespace_is_an_error_that_names_it(_: &TestNetns) {
    let file = tempfile::NamedTempFile::new().unwrap();
    fs::write(&file, "no namespace").unwrap();
    let path = file.path().to_str().unwrap();
    let error = Connection::open(&Netns::parse(path)).expect_err("not a namespace");
    assert_eq!(error.errno(), Some(Errno::EINVAL));
    assert!(error.to_string().contains(path), "{error}");
}

fn a_fifo_as_namespace_is_an_error_and_does_not_block(_: &TestNetns) {
    let folder = tempfile::tempdir().unwrap();
    let fifo = folder.path().join("fifo");
    nix::unistd::mkfifo(&fifo, nix::sys::stat::Mode::S_IRWXU).unwrap();
    let mut command = Command::new("timeout");
    command.args(["20", env!("CARGO_BIN_EXE_ctnl"), "count", "--netns"]).arg(&fifo);
    let run = Run::of(&mut command).exits_with(1);
    run.stderr_contains("not that of a network namespace");
}

/// Runs in a private mount namespace, so that `/run/netns` is the test's own.
fn a_number_that_is_no_process_is_looked_up_as_a_namespace_name(netns: &TestNetns) {
    netns.create(&[udp(1, 2), udp(3, 4)]);
    let number = "4194305"; // Larger than any process ID (`PID_MAX_LIMIT` in include/linux/threads.h).
    let script = format!(
        "mount -t tmpfs none /run && mkdir /run/netns && touch /run/netns/{number} && \
         mount --bind /proc/self/ns/net /run/netns/{number} && exec '{}' count -q --netns {number}",
        env!("CARGO_BIN_EXE_ctnl")
    );
    let mut command = Command::new("unshare");
    let run = Run::of(command.args(["--mount", "sh", "-c", &script])).exits_with(0);
    assert_eq!(run.stdout().trim(), "2");
}

fn an_empty_table_is_explained_by_the_rules_that_track_and_one_with_entries_is_not(netns: &TestNetns) {
    let commands = [&["list"][..], &["list", "tcp"], &["count"], &["count", "tcp"], &["count", "--by", "state"]];
    for command in commands {
        netns.ctnl(command).exits_with(0).stderr_contains("unless a rule of nftables or iptables there uses ct or NAT");
        let quiet = netns.ctnl(&[command, &["-q"]].concat()).exits_with(0);
        assert_eq!(quiet.stderr(), "", "{command:?}");
    }
    netns.create(&[udp(1, 53)]);
    for command in commands {
        let stderr = netns.ctnl(command).exits_with(0).stderr();
        assert!(!stderr.contains("is tracked"), "{command:?}: {stderr}");
    }
}
