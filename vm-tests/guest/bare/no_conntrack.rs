//! A kernel without conntrack.

use super::{assert_every_command_reports, is_loaded};
use crate::host;
use ctnl_test_support::harness::{TestNetns, tests};

tests![every_command_names_the_missing_kernel_module];

fn every_command_names_the_missing_kernel_module(netns: &TestNetns) {
    assert!(!is_loaded("nf_conntrack"), "this case needs a machine on which it never was");
    // Where nfnetlink is built in, it has no subsystem.
    if host::is_module("nfnetlink") {
        assert_every_command_reports(netns, "EPROTONOSUPPORT");
        assert_every_command_reports(netns, "modprobe nfnetlink");
        host::load_module("nfnetlink").unwrap();
    }
    assert_every_command_reports(netns, "EINVAL");
    assert_every_command_reports(netns, "modprobe nf_conntrack_netlink");
}
