//! Kernels that lack a part: what ctnl says, and what still works.

pub mod no_capability;
pub mod no_conntrack;
pub mod no_ctnetlink;
pub mod no_proc;

use ctnl_test_support::harness::World;

/// One line of each command that asks the kernel.
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

/// Each command fails with exit code 1, says `text`, and prints nothing, but for the
/// beginning and the end of a stream of events.
fn every_command_says(world: &World, text: &str) {
    for command in COMMANDS {
        let run = world.ctnl(command).exits_with(1).says(text);
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
