//! The commands where /proc is not mounted: they work, or name what is missing.

use std::process::Command;

use ctnl_test_support::harness::{TestNetns, tests, udp};
use ctnl_test_support::running::Running;
use nix::sched::{CloneFlags, unshare};
use nix::sys::signal::Signal;

tests![
    the_table_is_read_and_changed_without_proc,
    events_are_followed_without_proc_and_without_privileges,
    what_needs_proc_names_it_and_the_command_that_mounts_it,
];

/// From now on the calling thread and what it starts see an empty /proc.
fn hide_proc() {
    unshare(CloneFlags::CLONE_NEWNS).unwrap();
    for arguments in [&["--make-rprivate", "/"][..], &["-t", "tmpfs", "none", "/proc"]] {
        assert!(Command::new("mount").args(arguments).status().unwrap().success(), "mount {arguments:?}");
    }
    assert!(!std::fs::exists("/proc/self").unwrap());
}

fn the_table_is_read_and_changed_without_proc(netns: &TestNetns) {
    netns.create(&[udp(1, 53), udp(2, 53), udp(3, 54), udp(4, 54)]);
    hide_proc();
    for format in ["conntrack", "json", "csv", "table", "xml"] {
        let entries = netns.ctnl(&["list", "-o", format]).exits_with(0).stdout();
        assert!(entries.contains("192.0.2.1"), "{format}: {entries}");
    }
    assert_eq!(netns.ctnl(&["count"]).exits_with(0).stdout().trim(), "4");
    assert_eq!(netns.ctnl(&["count", "dport 53"]).exits_with(0).stdout().trim(), "2");
    assert_eq!(netns.ctnl(&["get", "udp", "10.0.0.1:1", "192.0.2.1:53"]).exits_with(0).stdout().lines().count(), 1);
    netns.ctnl(&["delete", "udp", "10.0.0.1:3", "192.0.2.1:54"]).exits_with(0).stderr_contains("1 deleted");
    netns.ctnl(&["flush", "dport 53"]).exits_with(0).stderr_contains("2 matched, 2 deleted");
    // A note of the timeout needs the boot id.
    netns.ctnl(&["flush", "--soft", "--yes", "udp"]).exits_with(0).stderr_contains("/proc/sys/kernel/random/boot_id");
    assert_eq!(netns.ctnl(&["list"]).exits_with(0).stdout().lines().count(), 1);
}

fn events_are_followed_without_proc_and_without_privileges(netns: &TestNetns) {
    netns.create(&[udp(1, 53)]);
    hide_proc();
    let events = Running::on_terminal(netns, &["events", "-v", "-o", "conntrack"]);
    events.wait_for("1 entries in the live set");
    let shown = events.shown();
    assert!(shown.contains("capabilities kept: CAP_NET_ADMIN"), "{shown}");
    assert!(shown.contains("/proc/sys is missing") && !shown.contains("no sysctl"), "{shown}");
    events.signal(Signal::SIGTERM);
    let written = events.wait().exits_with(0).stdout();
    assert!(written.contains("sport=1 dport=53") && written.contains("[SEED]"), "{written}");
}

fn what_needs_proc_names_it_and_the_command_that_mounts_it(netns: &TestNetns) {
    hide_proc();
    for arguments in [&["lab", "--", "true"][..], &["events", "--all-netns"], &["list", "--netns", "1"]] {
        let run = netns.ctnl(arguments).exits_with(1).stderr_contains("/proc");
        run.stderr_contains("not mounted").stderr_contains("mount -t proc proc /proc");
    }
}
