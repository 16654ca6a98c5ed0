//! A kernel with conntrack and without its netlink interface.

use super::{assert_every_command_reports, is_loaded};
use crate::host;
use ctnl_test_support::harness::{TestNetns, tests};

tests![every_command_names_the_module_to_load];

fn every_command_names_the_module_to_load(netns: &TestNetns) {
    host::load_module("nfnetlink").unwrap();
    host::load_module("nf_conntrack").unwrap();
    assert!(!is_loaded("nf_conntrack_netlink"), "this case needs a machine on which it never was");
    assert_every_command_reports(netns, "modprobe nf_conntrack_netlink");
    // With that module the command works.
    host::load_module("nf_conntrack_netlink").unwrap();
    netns.ctnl(&["count"]).exits_with(0);
}
