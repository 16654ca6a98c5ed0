//! A kernel that tracks nothing.

use super::{every_command_says, is_loaded};
use crate::host;
use ctnl_test_support::harness::{TestNetns, tests};

tests![every_command_names_the_missing_kernel_module];

fn every_command_names_the_missing_kernel_module(netns: &TestNetns) {
    assert!(!is_loaded("nf_conntrack"), "this case needs a machine on which it never was");
    // Where nfnetlink is built in, it is there and knows nothing to ask.
    if host::is_module("nfnetlink") {
        every_command_says(netns, "EPROTONOSUPPORT");
        every_command_says(netns, "modprobe nfnetlink");
        host::load_module("nfnetlink").unwrap();
    }
    every_command_says(netns, "EINVAL");
    every_command_says(netns, "modprobe nf_conntrack_netlink");
}
