//! `ctnl flush`: its summary agrees with its effect on the table.

use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use ctnl::model::{Flow, Status};
use ctnl::table;
use nix::sched::{CloneFlags, unshare};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::netns::NetnsProcess;
use ctnl_test_support::harness::{Run, TestNetns, assert_same_entries, key, tests, udp};
use ctnl_test_support::similar_entries::similar_entries;
use ctnl_test_support::summary::{CountedAll, Summary, read};

tests![
    a_dry_run_changes_nothing_and_shows_states_and_sources,
    max_limits_the_deletes_and_the_rest_is_counted,
    soft_only_ever_lowers_a_timeout,
    soft_skips_entries_with_a_fixed_timeout,
    fail_if_none_sets_the_exit_code,
    an_interrupted_flush_accounts_for_every_entry,
    without_cap_net_admin_the_error_names_the_capability,
    a_flush_deletes_in_the_named_namespace_only,
    entries_in_other_zones_families_and_protocols_are_not_deleted,
    the_count_of_the_whole_table_includes_its_maximum,
];

fn flush(netns: &TestNetns, arguments: &[&str], code: i32) -> Summary {
    let arguments = [&["flush", "--json", "--yes"], arguments].concat();
    Summary::read(&netns.ctnl(&arguments).exits_with(code).stdout())
}

fn a_dry_run_changes_nothing_and_shows_states_and_sources(netns: &TestNetns) {
    let flows = netns.fill(51, 1_500);
    let before = netns.dump();
    let tcp = flows.iter().filter(|flow| u8::from(flow.orig.protocol) == 6).count() as u64;
    let text = netns.ctnl(&["flush", "tcp", "--dry-run"]).exits_with(0);
    let shown = text.stdout();
    assert!(shown.contains("STATE\n") && shown.contains("TOP SOURCES\n"), "{shown}");
    let (states, sources) = shown.split_once("\n\n").unwrap();
    let sum = |table: &str| table.lines().skip(1).map(first_number).sum::<u64>();
    assert_eq!(sum(states), tcp, "{shown}");
    assert!(states.contains("tcp ESTABLISHED") && sources.lines().count() == 11, "{shown}");
    text.stderr_contains(&format!("{tcp} matched, {tcp} would be deleted"));

    let summary = flush(netns, &["tcp", "--dry-run"], 0);
    assert!(summary.dry_run && summary.deleted == tcp && summary.action == "delete", "{summary:?}");
    assert!(summary.by_source.iter().all(|share| share.entries > 0 && share.key.contains(['.', ':'])), "{summary:?}");
    assert!(summary.by_source.is_sorted_by_key(|share| std::cmp::Reverse(share.entries)), "{summary:?}");
    let ids = |flows: &[Flow]| flows.iter().map(|flow| (key(flow), flow.id)).collect::<std::collections::HashSet<_>>();
    assert_eq!(ids(&netns.dump()), ids(&before));
}

fn first_number(line: &str) -> u64 {
    line.split_whitespace().next().and_then(|word| word.parse().ok()).unwrap_or_else(|| panic!("no number: {line}"))
}

fn max_limits_the_deletes_and_the_rest_is_counted(netns: &TestNetns) {
    let flows = netns.fill(52, 1_000);
    let udp = flows.iter().filter(|flow| u8::from(flow.orig.protocol) == 17).count() as u64;
    let none = flush(netns, &["udp", "--max", "0"], 0);
    assert_eq!((none.matched, none.deleted, none.beyond_max), (udp, 0, udp));
    let ten = flush(netns, &["udp", "--max", "10"], 0);
    assert_eq!((ten.matched, ten.deleted, ten.beyond_max), (udp, 10, udp - 10));
    let dry = flush(netns, &["udp", "--max", "7", "--dry-run"], 0);
    assert_eq!((dry.deleted, dry.beyond_max), (7, udp - 17));
    netns.ctnl(&["flush", "udp", "--max", "20"]).exits_with(0).stderr_contains(&format!("{} beyond --max", udp - 30));
    let rest = flush(netns, &["udp", "--max", "100000"], 0);
    assert_eq!((rest.deleted, rest.beyond_max), (udp - 30, 0));
    let others: Vec<Flow> = flows.into_iter().filter(|flow| u8::from(flow.orig.protocol) != 17).collect();
    assert_same_entries(&netns.dump(), &others);
}

fn soft_only_ever_lowers_a_timeout(netns: &TestNetns) {
    let with_time_left = |port, timeout| Flow { timeout: Some(timeout), ..udp(port, 53) };
    let flows = [with_time_left(1, 400), with_time_left(2, 300), with_time_left(3, 200), with_time_left(4, 100)];
    netns.create(&flows);
    let left = |port| netns.dumped(&udp(port, 53).orig).and_then(|flow| flow.timeout).expect("an entry with a timeout");
    let soft = flush(netns, &["udp", "--soft=250"], 0);
    assert_eq!((soft.matched, soft.deleted, soft.already_expiring, soft.soft_seconds), (4, 2, 2, Some(250)));
    assert!([left(1), left(2)].iter().all(|seconds| (190..=250).contains(seconds)));
    assert!((140..=200).contains(&left(3)) && (40..=100).contains(&left(4)));
    let dry = flush(netns, &["udp", "--soft=150", "--dry-run"], 0);
    assert_eq!((dry.deleted, dry.already_expiring, dry.dry_run), (3, 1, true));
    assert!(left(1) > 150);

    let ten = flush(netns, &["sport 1", "--soft"], 0);
    assert_eq!((ten.action.as_str(), ten.soft_seconds, ten.table_after), ("soft", Some(10), 4));
    assert!(left(1) <= 10);
    netns.ctnl(&["flush", "udp and sport 2", "--soft=3"]).exits_with(0).stderr_contains("1 given a timeout of 3 s");
    let soon = |flow: Option<Flow>| flow.is_none_or(|flow| flow.timeout <= Some(3));
    assert!(soon(netns.dumped(&udp(2, 53).orig)));
    assert!((40..=200).contains(&left(3)), "not meant");
}

/// Packets do not refresh a fixed timeout.
fn soft_skips_entries_with_a_fixed_timeout(netns: &TestNetns) {
    let fixed = |port| Flow { status: Status::Confirmed | Status::FixedTimeout, ..udp(port, 53) };
    netns.create(&[fixed(1), fixed(2), udp(3, 53)]);
    let soft = flush(netns, &["udp", "--soft"], 3);
    assert_eq!((soft.matched, soft.deleted, soft.skipped.values().sum()), (3, 1, 2u64), "{soft:?}");
    assert!(soft.skipped.keys().all(|reason| reason.contains("fixed")), "{soft:?}");
    assert!([1, 2].map(|port| netns.dumped(&udp(port, 53).orig).unwrap().timeout) > [Some(400); 2]);
    assert_eq!(flush(netns, &["udp"], 0).deleted, 3);
}

fn fail_if_none_sets_the_exit_code(netns: &TestNetns) {
    netns.create(&[udp(1, 53)]);
    assert_eq!(flush(netns, &["tcp"], 0).matched, 0);
    assert_eq!(flush(netns, &["tcp", "--fail-if-none"], 1).matched, 0);
    assert_eq!(flush(netns, &["udp", "--fail-if-none", "--dry-run"], 0).deleted, 1);
    for verb in ["list", "count"] {
        netns.ctnl(&[verb, "tcp"]).exits_with(0);
        netns.ctnl(&[verb, "tcp", "--fail-if-none"]).exits_with(1);
        netns.ctnl(&[verb, "udp", "--fail-if-none"]).exits_with(0);
    }
    for refused in [&["flush"][..], &["flush", "tcp or not tcp"], &["flush", "dprot 1"]] {
        assert_eq!(netns.ctnl(refused).exits_with(2).stdout(), "");
    }
    assert_eq!(netns.dump().len(), 1);
    let quiet = netns.ctnl(&["flush", "--all", "--quiet"]).exits_with(0);
    assert_eq!((quiet.stdout(), quiet.stderr()), (String::new(), String::new()));
    netns.ctnl(&["count", "--fail-if-none"]).exits_with(1);
}

fn an_interrupted_flush_accounts_for_every_entry(netns: &TestNetns) {
    const ENTRIES: u64 = 40_000;
    netns.fill(53, ENTRIES);
    let arguments = ["flush", "--all", "--json", "--yes"];
    for signal in [Signal::SIGINT, Signal::SIGTERM] {
        let before = u64::from(table::count(&mut netns.connection()).unwrap().entries);
        let mut command = netns.ctnl_command(&arguments);
        let child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("the program starts");
        // The flush runs once the first entries are deleted.
        let start = Instant::now();
        while u64::from(table::count(&mut netns.connection()).unwrap().entries) > before - 200 {
            assert!(start.elapsed() < Duration::from_secs(60), "nothing is deleted");
            thread::sleep(Duration::from_millis(1));
        }
        kill(Pid::from_raw(child.id().try_into().unwrap()), signal).unwrap();
        let run = Run::new(&command, child.wait_with_output().unwrap()).exits_with(3);
        let summary = Summary::read(&run.stdout());
        assert!(summary.interrupted && summary.error.is_none() && summary.deleted > 0, "{summary:?}");
        assert!(summary.seen < before && summary.deleted == summary.matched, "{summary:?}");
        let left = netns.dump().len() as u64;
        assert_eq!((left, u64::from(summary.table_after)), (before - summary.deleted, left), "{summary:?}");
    }
}

fn without_cap_net_admin_the_error_names_the_capability(netns: &TestNetns) {
    netns.create(&[udp(1, 53)]);
    for verb in [&["list"][..], &["count"], &["flush", "--all"], &["get", "udp", "10.0.0.1:1", "192.0.2.1:53"]] {
        let mut command = Command::new("unshare");
        command.args(["--user", "--", env!("CARGO_BIN_EXE_ctnl")]).args(verb);
        let run = Run::of(&mut command)
            .exits_with(1)
            .stderr_contains("EPERM")
            .stderr_contains("hint: CAP_NET_ADMIN in the network namespace is required");
        assert_eq!(run.stdout(), "");
    }
    assert_eq!(netns.dump().len(), 1);
}

fn a_flush_deletes_in_the_named_namespace_only(netns: &TestNetns) {
    netns.create(&[udp(1, 53), udp(2, 53), udp(3, 53)]);
    let there = NetnsProcess::new();
    unshare(CloneFlags::CLONE_NEWNET).unwrap();
    netns.create(&[udp(1, 53), udp(4, 53)]);
    let (process, path) = (there.pid().to_string(), format!("/proc/{}/ns/net", there.pid()));
    for name in [&*process, &*path] {
        let count = netns.ctnl(&["count", "udp", "--netns", name]).exits_with(0).stdout();
        assert_eq!(first_number(&count), if name == process { 3 } else { 2 });
        let summary = flush(netns, &["udp", "--max", "1", "--netns", name], 0);
        assert_eq!((summary.deleted, summary.table_before - summary.table_after), (1, 1));
    }
    netns.ctnl(&["get", "udp", "10.0.0.1:4", "192.0.2.1:53", "--netns", &process]).exits_with(1);
    assert_eq!(flush(netns, &["--all", "--netns", &process], 0).deleted, 1);
    assert_eq!(netns.ctnl(&["list", "--netns", &path]).exits_with(0).stdout(), "");
    assert_same_entries(&netns.dump(), &[udp(1, 53), udp(4, 53)]);
}

fn entries_in_other_zones_families_and_protocols_are_not_deleted(netns: &TestNetns) {
    let all = similar_entries();
    netns.create(&all);
    // Each expression matches exactly one of the remaining entries.
    let expressions = [
        "udp and sport 1000 and dport 53 and zone 1 and ipv4",
        "ipv6 and zone 0",
        "proto 253",
        "icmp",
        "gre",
        "orig-zone 3",
        "dport 52",
        "ipv6",
    ];
    let mut left = all.len();
    for expression in expressions {
        assert_eq!(flush(netns, &[expression], 0).deleted, 1, "{expression}");
        left -= 1;
        assert_eq!(netns.dump().len(), left, "{expression}");
    }
    assert!(netns.dump().iter().all(|flow| flow.orig.src.is_ipv4()));
}

fn the_count_of_the_whole_table_includes_its_maximum(netns: &TestNetns) {
    netns.create(&[udp(1, 53), udp(2, 53)]);
    let counted: CountedAll = read(&netns.ctnl(&["count", "--json"]).exits_with(0).stdout());
    assert_eq!((counted.v, counted.entries), (1, 2));
    assert_eq!(counted.max.map(|max| max.to_string()), Some(netns.sysctl("netfilter/nf_conntrack_max")));
    let summary = flush(netns, &["--all"], 0);
    assert_eq!(summary.table_max.map(u64::from), counted.max);
    assert_eq!(netns.ctnl(&["count"]).exits_with(0).stdout(), "0\n");
}
