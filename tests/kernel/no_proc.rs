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
    idle_times_that_need_the_notes_of_written_timeouts_name_the_file_that_is_missing,
];

/// From now on the calling thread and what it starts see an empty /proc.
fn hide_proc() {
    hide(&["/proc"]);
    assert!(!std::fs::exists("/proc/self").unwrap());
}

/// Likewise with these folders, the last of which may be /proc: mount(8) reads it.
fn hide(folders: &[&str]) {
    unshare(CloneFlags::CLONE_NEWNS).unwrap();
    let mount = |arguments: &[&str]| {
        assert!(Command::new("mount").args(arguments).status().unwrap().success(), "mount {arguments:?}");
    };
    mount(&["--make-rprivate", "/"]);
    folders.iter().for_each(|folder| mount(&["-t", "tmpfs", "none", folder]));
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
    for arguments in [
        &["lab", "--", "true"][..],
        &["events", "--all-netns"],
        &["stats", "--all-netns"],
        &["count", "--all-netns"],
        &["list", "--netns", "1"],
    ] {
        let run = netns.ctnl(arguments).exits_with(1).stderr_contains("/proc");
        run.stderr_contains("not mounted").stderr_contains("mount -t proc proc /proc");
    }
}

/// A note holds for one boot: without the boot id it is unknown whether it is in force.
fn idle_times_that_need_the_notes_of_written_timeouts_name_the_file_that_is_missing(netns: &TestNetns) {
    netns.create(&[udp(1, 53), udp(2, 53)]);
    hide(&["/run", "/proc"]);
    let preview = ["flush", "--older", "1s", "--dry-run", "--trust-netlink-timeouts"];
    let run = netns.ctnl(&preview).exits_with(0);
    assert!(!run.stderr().contains("boot_id"), "there are no notes: {}", run.stderr());
    std::fs::create_dir("/run/ctnl").unwrap();
    std::fs::write("/run/ctnl/written-cookie1-600-2.2", "boot 9\n").unwrap();
    let run = netns.ctnl(&preview).exits_with(0).stderr_contains("undecided: 2 unknown-written-timeouts: ");
    run.stderr_contains("mount /proc if /proc/sys/kernel/random/boot_id is missing");
}
