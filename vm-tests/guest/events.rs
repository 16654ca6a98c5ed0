//! When the kernel sends events of created and deleted entries.
//!
//! An event that conntrack(8) does not print was not sent.

use std::fs::{self, File};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::{Duration, Instant};

use crate::host;
use ctnl_test_support::harness::{Run, TestNetns, tests, udp};
use ctnl_test_support::net::PATH;

tests![
    events_are_sent_as_nf_conntrack_events_says,
    an_entry_created_without_a_listener_sends_no_event_in_automatic_mode,
    a_destroy_event_of_a_deleted_entry_has_its_remaining_timeout_since_5_19,
];

/// Automatic events, and the remaining time in a destroy event.
const AUTOMATIC: (u32, u32) = (5, 19);

/// `conntrack -E`, which writes into a file.
struct Listener {
    child: Child,
    path: String,
}

impl Listener {
    fn start() -> Self {
        static NUMBER: AtomicU16 = AtomicU16::new(0);
        let path = format!("/tmp/events-{}", NUMBER.fetch_add(1, Ordering::Relaxed));
        let out = File::create(&path).unwrap();
        let mut command = Command::new("conntrack");
        command.args(["-E", "-o", "id"]).env_clear().env("PATH", PATH).stdout(out).stderr(Stdio::inherit());
        let listener = Listener { child: command.spawn().unwrap(), path };
        listener.wait_until_listening();
        listener
    }

    /// Waits until a socket of this namespace has joined a multicast group.
    fn wait_until_listening(&self) {
        // Protocol 12 is netfilter; the groups are a bit mask. The port is any number.
        let is_listener = |line: &str| {
            let words: Vec<&str> = line.split_whitespace().collect();
            words.get(1) == Some(&"12") && words.get(3).is_some_and(|groups| *groups != "00000000")
        };
        let sockets = || fs::read_to_string("/proc/thread-self/net/netlink").unwrap();
        until("conntrack(8) listens", || sockets().lines().any(is_listener));
    }

    fn lines(&self) -> Vec<String> {
        fs::read_to_string(&self.path).unwrap().lines().map(str::to_owned).collect()
    }

    /// Its lines up to the event of an entry that is created now, with events on.
    fn lines_until_now(&self, netns: &TestNetns) -> Vec<String> {
        static LAST: AtomicU16 = AtomicU16::new(0);
        let last = udp(9000 + LAST.fetch_add(1, Ordering::Relaxed), 9);
        netns.set_sysctl("netfilter/nf_conntrack_events", 1);
        netns.create(std::slice::from_ref(&last));
        let word = format!("sport={} ", last.orig.sport().unwrap());
        until("the last event", || self.lines().iter().any(|line| line.contains(&word)));
        self.without_last()
    }

    fn without_last(&self) -> Vec<String> {
        self.lines().into_iter().filter(|line| !line.contains("sport=90")).collect()
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        let _ = self.child.kill().and_then(|()| self.child.wait());
        let _ = fs::remove_file(&self.path);
    }
}

fn until(what: &str, is_so: impl Fn() -> bool) {
    let began = Instant::now();
    while !is_so() {
        assert!(began.elapsed() < Duration::from_secs(30), "timed out waiting until {what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

fn of_kind(lines: &[String], kind: &str) -> usize {
    lines.iter().filter(|line| line.contains(kind)).count()
}

fn delete_all(netns: &TestNetns) -> Run {
    netns.ctnl(&["flush", "--all", "--yes"]).exits_with(0)
}

fn events_are_sent_as_nf_conntrack_events_says(netns: &TestNetns) {
    let default = if host::release() < AUTOMATIC { "1" } else { "2" };
    assert_eq!(netns.sysctl("netfilter/nf_conntrack_events"), default);
    let listener = Listener::start();
    for (setting, expected) in [("0", 0), ("1", 3), ("2", 3)] {
        let is_accepted = fs::write("/proc/sys/net/netfilter/nf_conntrack_events", setting).is_ok();
        println!("note: nf_conntrack_events {setting}: {}", if is_accepted { "accepted" } else { "refused" });
        assert!(is_accepted || (setting == "2" && host::release() < AUTOMATIC), "{setting}");
        if !is_accepted {
            continue;
        }
        let before = listener.without_last().len();
        netns.create(&[udp(1, 53), udp(2, 53), udp(3, 53)]);
        delete_all(netns);
        let lines = listener.lines_until_now(netns);
        let new = &lines[before..];
        assert_eq!([of_kind(new, "[NEW]"), of_kind(new, "[DESTROY]")], [expected; 2], "{setting}: {new:#?}");
        delete_all(netns);
    }
}

fn an_entry_created_without_a_listener_sends_no_event_in_automatic_mode(netns: &TestNetns) {
    netns.create(&[udp(1, 53), udp(2, 53)]);
    let listener = Listener::start();
    delete_all(netns);
    let destroyed = of_kind(&listener.lines_until_now(netns), "[DESTROY]");
    assert_eq!(destroyed, if host::release() < AUTOMATIC { 2 } else { 0 });
}

fn a_destroy_event_of_a_deleted_entry_has_its_remaining_timeout_since_5_19(netns: &TestNetns) {
    let listener = Listener::start();
    netns.create(&[udp(1, 53)]);
    delete_all(netns);
    let lines = listener.lines_until_now(netns);
    let line = lines.iter().find(|line| line.contains("[DESTROY]")).expect("an event");
    // `[DESTROY] udp      17 599 src=…`, or without the seconds.
    let word = line.split("17 ").nth(1).and_then(|rest| rest.split_whitespace().next()).unwrap_or_default();
    let left: Option<u32> = word.parse().ok();
    assert_eq!(left.is_some_and(|left| left > 500), host::release() >= AUTOMATIC, "{line}");
}
