//! The systemd unit in `packaging/`.

use crate::program::Folder;

const UNIT: &str = include_str!("../../packaging/ctnl-events.service");
const LOGROTATE: &str = include_str!("../../packaging/ctnl-events.logrotate");
const OPTIONS: &str = include_str!("../../packaging/ctnl-events.default");

/// The values that the unit gives `key`, in order.
fn values(key: &str) -> Vec<&'static str> {
    let value = |line: &'static str| line.strip_prefix(key)?.strip_prefix('=');
    UNIT.lines().filter_map(value).collect()
}

/// The examples and the default: what systemd would put in place of the variable.
fn options() -> Vec<Vec<String>> {
    let value = |line: &str| {
        let line = line.trim_start_matches(['#', ' ']);
        Some(line.strip_prefix("CTNL_EVENTS=\"")?.strip_suffix('"')?.split_whitespace().map(str::to_owned).collect())
    };
    OPTIONS.lines().filter_map(value).collect()
}

#[test]
fn the_program_parses_the_command_line_of_the_unit() {
    let start = values("ExecStart");
    let [start] = start[..] else { panic!("one command: {start:?}") };
    let words: Vec<&str> = start.split(' ').collect();
    let ["/usr/bin/ctnl", verb @ .., "$CTNL_EVENTS"] = &words[..] else { panic!("{start}") };
    let options = options();
    assert!(options.len() >= 3);
    for options in options {
        let arguments: Vec<String> = verb.iter().map(ToString::to_string).chain(options).collect();
        let run = Folder::new().ctnl_without_kernel(&arguments);
        let has_reached_the_kernel = run.code == Some(1) && run.stderr.contains("network namespace");
        assert!(has_reached_the_kernel, "{}", run.explain());
    }
}

#[test]
fn the_unit_grants_what_the_program_needs() {
    assert_eq!(values("CapabilityBoundingSet"), ["CAP_NET_ADMIN"]);
    assert_eq!(values("AmbientCapabilities"), ["CAP_NET_ADMIN"]);
    let families = values("RestrictAddressFamilies").concat();
    for family in ["AF_NETLINK", "AF_UNIX", "AF_INET", "AF_INET6"] {
        assert!(families.split(' ').any(|allowed| allowed == family), "{family}");
    }
    for key in ["PrivateNetwork", "PrivateUsers", "ProcSubset", "ProtectProc"] {
        assert_eq!(values(key), [] as [&str; 0], "{key}");
    }
    assert_eq!(values("SystemCallFilter").last(), Some(&"capset"), "privileges are dropped once more");
    assert_eq!(values("EnvironmentFile"), ["-/etc/default/ctnl-events"]);
}

/// A reload is not waited for, so that lines are still appended to a renamed file.
#[test]
fn logrotate_neither_compresses_a_file_that_is_written_to_nor_truncates_it() {
    let directives: Vec<&str> = LOGROTATE.lines().map(str::trim).filter(|line| !line.starts_with('#')).collect();
    for needed in ["compress", "delaycompress", "nocreate", "sharedscripts"] {
        assert!(directives.contains(&needed), "{needed}");
    }
    assert!(!LOGROTATE.lines().any(|line| line.trim().starts_with("copytruncate")));
    assert!(directives.contains(&"systemctl try-reload-or-restart ctnl-events.service"));
    assert_eq!(values("ExecReload"), ["/bin/kill -HUP $MAINPID"]);
}
