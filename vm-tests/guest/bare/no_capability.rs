//! A user without capabilities.

use std::os::unix::process::CommandExt;

use super::{COMMANDS, prints_nothing};
use crate::host;
use ctnl_test_support::harness::{Run, TestNetns, tests, udp};

tests![every_command_names_the_missing_capability, another_namespace_requires_cap_sys_admin];

const NOBODY: u32 = 65_534;

fn as_nobody(netns: &TestNetns, arguments: &[&str]) -> Run {
    Run::of(netns.ctnl_command(arguments).env("PATH", "/usr/bin:/bin").uid(NOBODY).gid(NOBODY))
}

fn every_command_names_the_missing_capability(netns: &TestNetns) {
    host::load_module("nf_conntrack_netlink").unwrap();
    netns.create(&[udp(1, 53)]);
    for command in COMMANDS {
        let run = as_nobody(netns, command).exits_with(1).stderr_contains("EPERM").stderr_contains("CAP_NET_ADMIN");
        prints_nothing(command, &run.stdout());
    }
    assert_eq!(netns.dump().len(), 1);
}

fn another_namespace_requires_cap_sys_admin(netns: &TestNetns) {
    as_nobody(netns, &["count", "--netns", "/proc/1/ns/net"]).exits_with(1).stderr_contains("CAP_SYS_ADMIN");
}
