//! Kernels without a part: the errors of ctnl, and the commands that still work.

pub mod no_capability;
pub mod no_conntrack;
pub mod no_ctnetlink;
pub mod no_proc;

use ctnl_test_support::harness::TestNetns;

/// One line of each command that sends requests to the kernel, as the user who runs it.
const COMMANDS: &[&[&str]] = &[
    &["count"],
    &["count", "--by", "state"],
    &["list"],
    &["get", "tcp", "10.0.0.1:1", "10.0.0.2:2"],
    &["delete", "tcp", "10.0.0.1:1", "10.0.0.2:2"],
    &["flush", "--all", "--yes"],
    &["flush", "--trust-netlink-timeouts", "--older", "1h"],
    &["flush", "--trust-netlink-timeouts", "--older", "1h", "--dry-run"],
    &["events"],
];

/// Fails unless each command exits with 1, prints `text` on stderr, and prints nothing on stdout except
/// the first and the last record of an event stream.
fn assert_every_command_reports(netns: &TestNetns, text: &str) {
    for command in COMMANDS.iter().chain(&[&["doctor", "--kernel"][..]]) {
        let run = netns.ctnl(command).exits_with(1).stderr_contains(text);
        prints_nothing(command, &run.stdout());
    }
}

fn prints_nothing(command: &[&str], stdout: &str) {
    let mut lines = stdout.lines();
    if command == ["events"] {
        let is_frame = |line: &str| line.contains(r#""event":"open""#) || line.contains(r#""event":"close""#);
        assert!(lines.all(is_frame), "{command:?}: {stdout}");
    } else {
        assert_eq!(lines.next(), None, "{command:?}");
    }
}

fn is_loaded(module: &str) -> bool {
    std::fs::exists(format!("/sys/module/{module}")).unwrap()
}
