//! A host without the files of /proc.

use std::io::{BufRead, BufReader};
use std::process::Stdio;

use nix::mount::{MntFlags, umount2};
use nix::sched::{CloneFlags, unshare};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::host;
use crate::tcp;
use ctnl_test_support::harness::{TestNetns, tests, udp};

tests![
    commands_that_read_no_sysctl_work_without_proc,
    idle_times_are_computed_from_timeouts_read_over_netlink,
    events_drop_their_privileges_without_proc,
    the_lab_and_the_probes_of_the_kernel_name_proc,
];

/// From now on the calling thread and what it starts see no /proc.
fn hide_proc() {
    unshare(CloneFlags::CLONE_NEWNS).unwrap();
    umount2("/proc", MntFlags::MNT_DETACH).unwrap();
    assert!(!std::fs::exists("/proc/self").unwrap());
}

fn commands_that_read_no_sysctl_work_without_proc(netns: &TestNetns) {
    host::load_module("nf_conntrack_netlink").unwrap();
    netns.create(&[udp(1, 53), udp(2, 53), udp(3, 54)]);
    let lines = |run: ctnl_test_support::harness::Run| run.stdout().lines().count();
    let seen = netns.ctnl(&["list", "-o", "csv", "--columns", "proto,src,sport,dst,dport"]).exits_with(0).stdout();
    hide_proc();
    let blind = netns.ctnl(&["list", "-o", "csv", "--columns", "proto,src,sport,dst,dport"]).exits_with(0).stdout();
    assert_eq!(blind, seen);
    assert_eq!(netns.ctnl(&["count"]).exits_with(0).stdout().trim(), "3");
    assert_eq!(lines(netns.ctnl(&["get", "udp", "10.0.0.1:1", "192.0.2.1:53", "-o", "conntrack"]).exits_with(0)), 1);
    netns.ctnl(&["flush", "dport 53"]).exits_with(0).stderr_contains("2 matched, 2 deleted");
    netns.ctnl(&["delete", "udp", "10.0.0.1:3", "192.0.2.1:54"]).exits_with(0);
    assert_eq!(netns.ctnl(&["count"]).exits_with(0).stdout().trim(), "0");
}

fn idle_times_are_computed_from_timeouts_read_over_netlink(netns: &TestNetns) {
    host::load_module("nf_conntrack_netlink").unwrap();
    netns.create(&[tcp::established(1, 432_000 - 7200), tcp::established(2, 432_000 - 60)]);
    hide_proc();
    if !std::fs::exists("/sys/module/nfnetlink_cttimeout").unwrap() {
        netns
            .ctnl(&["flush", "--trust-netlink-timeouts", "--older", "1h"])
            .exits_with(0)
            .stderr_contains("0 matched")
            .stderr_contains("2 unknown-timeouts");
        let previous =
            ["count", "--trust-netlink-timeouts", "--older", "1h", "--base-timeout", "tcp.established=432000"];
        netns.ctnl(&previous).exits_with(0).stderr_contains("2 unknown-timeouts");
        host::load_module("nfnetlink_cttimeout").unwrap();
    }
    netns
        .ctnl(&["flush", "--trust-netlink-timeouts", "--older", "1h"])
        .exits_with(0)
        .stderr_contains("1 matched, 1 deleted");
    assert!(netns.dumped(&tcp::established(1, 0).orig).is_none());
    assert!(netns.dumped(&tcp::established(2, 0).orig).is_some());
}

fn events_drop_their_privileges_without_proc(netns: &TestNetns) {
    host::load_module("nf_conntrack_netlink").unwrap();
    netns.create(&[udp(1, 53)]);
    hide_proc();
    let mut command = netns.ctnl_command(&["events", "-q"]);
    let mut events = command.stdout(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(events.stdout.take().unwrap()).lines().map(Result::unwrap);
    assert!(lines.any(|line| line.contains("\"sport\":1,\"dport\":53")), "no record of the entry");
    kill(Pid::from_raw(events.id().try_into().unwrap()), Signal::SIGTERM).unwrap();
    assert!(lines.any(|line| line.contains("\"event\":\"close\"")), "no last record");
    assert!(events.wait().unwrap().success());
}

fn the_lab_and_the_probes_of_the_kernel_name_proc(netns: &TestNetns) {
    hide_proc();
    let run = netns.ctnl(&["doctor", "--kernel"]).exits_with(1);
    run.stderr_contains("doctor --kernel needs /proc, which is not mounted");
    netns.ctnl(&["lab", "--", "true"]).exits_with(1).stderr_contains("lab needs /proc, which is not mounted");
}
