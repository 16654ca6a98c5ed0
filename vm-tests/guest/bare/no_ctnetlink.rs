//! A kernel that tracks, and that cannot be asked.

use super::{every_command_says, is_loaded};
use crate::host;
use ctnl_test_support::harness::{TestNetns, tests};

tests![every_command_names_the_module_to_load];

fn every_command_names_the_module_to_load(netns: &TestNetns) {
    host::load_module("nfnetlink").unwrap();
    host::load_module("nf_conntrack").unwrap();
    assert!(!is_loaded("nf_conntrack_netlink"), "this case needs a machine on which it never was");
    every_command_says(netns, "modprobe nf_conntrack_netlink");
    // The advice is right: nothing else was missing.
    host::load_module("nf_conntrack_netlink").unwrap();
    netns.ctnl(&["count"]).exits_with(0);
}
