//! A host without the files of /proc.

use nix::mount::{MntFlags, umount2};
use nix::sched::{CloneFlags, unshare};

use crate::host;
use crate::tcp;
use ctnl_test_support::harness::{World, tests, udp};

tests![everything_works_that_needs_no_settings, idle_times_come_over_netlink_where_the_kernel_tells_them];

/// From now on the calling thread and what it starts see no /proc.
fn hide_proc() {
    unshare(CloneFlags::CLONE_NEWNS).unwrap();
    umount2("/proc", MntFlags::MNT_DETACH).unwrap();
    assert!(!std::fs::exists("/proc/self").unwrap());
}

fn everything_works_that_needs_no_settings(world: &World) {
    host::load_module("nf_conntrack_netlink").unwrap();
    world.create(&[udp(1, 53), udp(2, 53), udp(3, 54)]);
    let lines = |run: ctnl_test_support::harness::Run| run.stdout().lines().count();
    let seen = world.ctnl(&["list", "-o", "csv", "--columns", "proto,src,sport,dst,dport"]).exits_with(0).stdout();
    hide_proc();
    let blind = world.ctnl(&["list", "-o", "csv", "--columns", "proto,src,sport,dst,dport"]).exits_with(0).stdout();
    assert_eq!(blind, seen);
    assert_eq!(world.ctnl(&["count"]).exits_with(0).stdout().trim(), "3");
    assert_eq!(lines(world.ctnl(&["get", "udp", "10.0.0.1:1", "192.0.2.1:53", "-o", "conntrack"]).exits_with(0)), 1);
    world.ctnl(&["flush", "dport 53"]).exits_with(0).says("2 matched, 2 deleted");
    world.ctnl(&["delete", "udp", "10.0.0.1:3", "192.0.2.1:54"]).exits_with(0);
    assert_eq!(world.ctnl(&["count"]).exits_with(0).stdout().trim(), "0");
}

fn idle_times_come_over_netlink_where_the_kernel_tells_them(world: &World) {
    host::load_module("nf_conntrack_netlink").unwrap();
    world.create(&[tcp::established(1, 432_000 - 7200), tcp::established(2, 432_000 - 60)]);
    hide_proc();
    if !std::fs::exists("/sys/module/nfnetlink_cttimeout").unwrap() {
        world
            .ctnl(&["flush", "--trust-netlink-timeouts", "--older", "1h"])
            .exits_with(0)
            .says("0 matched")
            .says("2 unknown-timeouts");
        let told = ["count", "--trust-netlink-timeouts", "--older", "1h", "--base-timeout", "tcp.established=432000"];
        world.ctnl(&told).exits_with(0).says("2 unknown-timeouts");
        host::load_module("nfnetlink_cttimeout").unwrap();
    }
    world.ctnl(&["flush", "--trust-netlink-timeouts", "--older", "1h"]).exits_with(0).says("1 matched, 1 deleted");
    assert!(world.dumped(&tcp::established(1, 0).orig).is_none());
    assert!(world.dumped(&tcp::established(2, 0).orig).is_some());
}
