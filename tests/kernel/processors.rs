//! `--jobs 2`, `--kernel-filter` and a single processor do not change results.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::ops::ControlFlow;

use ctnl::age::IdleEstimator;
use ctnl::field::{FIELDS, Subject, keywords};
use ctnl::filter::{Filter, Verdict};
use ctnl::model::Flow;
use ctnl::table::{self, DumpRequest};
use nix::sched::{CpuSet, sched_getaffinity, sched_setaffinity};
use nix::unistd::Pid;

use ctnl_test_support::harness::{Key, TestNetns, key, tests};

tests![
    two_jobs_list_and_count_the_same_entries_as_one,
    where_two_jobs_are_not_possible_one_is_used_and_reported,
    the_kernel_filter_does_not_change_the_result,
    no_term_has_another_result_with_the_kernel_filter,
    every_command_works_on_one_processor,
];

/// Lines without the remaining seconds and the reference count, which change.
fn lines(netns: &TestNetns, arguments: &[&str]) -> BTreeSet<String> {
    let run = netns.ctnl(&[&["list", "-q", "-o", "csv", "--columns", COLUMNS], arguments].concat()).exits_with(0);
    let lines: Vec<String> = run.stdout().lines().map(str::to_owned).collect();
    let distinct: BTreeSet<String> = lines.iter().cloned().collect();
    assert_eq!(distinct.len(), lines.len(), "an entry twice");
    distinct
}

const COLUMNS: &str = "family,proto,src,sport,dst,dport,icmp-id,gre-key,orig-zone,reply-zone,mark,state,id";

fn two_jobs_list_and_count_the_same_entries_as_one(netns: &TestNetns) {
    netns.fill(41, 6_000);
    let stderr = netns.ctnl(&["list", "--jobs", "2", "-o", "json"]).exits_with(0).stderr();
    assert!(!stderr.contains("--jobs 2 is not used"), "this test needs two processors: {stderr}");
    for filter in [&[][..], &["tcp"], &["not src 10.66.6.6 and (udp or ipv6)"]] {
        let two = lines(netns, &[&["--jobs", "2"], filter].concat());
        assert_eq!(two, lines(netns, filter), "{filter:?}");
        let count = netns.ctnl(&[&["count", "-q", "--jobs", "2"], filter, &["--any-addr", "0.0.0.0/0,::/0"]].concat());
        assert_eq!(count.exits_with(0).stdout().trim(), two.len().saturating_sub(1).to_string(), "{filter:?}");
    }
}

fn where_two_jobs_are_not_possible_one_is_used_and_reported(netns: &TestNetns) {
    netns.fill(43, 300);
    for arguments in [
        &["list", "--jobs", "2", "assured"][..],
        &["list", "--jobs", "2", "-o", "xml"],
        &["list", "--jobs", "2", "--limit", "3"],
        &["count", "--jobs", "2", "--by", "state"],
    ] {
        netns.ctnl(arguments).exits_with(0).stderr_contains("--jobs 2 is not used: ");
    }
}

fn the_kernel_filter_does_not_change_the_result(netns: &TestNetns) {
    netns.fill(44, 6_000);
    for filter in [
        "tcp",
        "udp and assured",
        "src 10.66.6.6",
        "src 10.66.6.6 and tcp and dport 443",
        "ipv6",
        "ipv6 and tcp",
        "mark 1",
        "mark 0x1/0x1",
        "zone 5",
        "zone 0",
        "unreplied",
        "not assured",
        "src-nat",
        "not src-nat and tcp",
        "sctp and dport 2905",
        "gre",
        "icmp",
        "proto 253",
        "src 2001:db8::1",
        "dst 198.18.0.1 and dport 53",
        "assured and not assured",
        "ipv4 and ipv6",
        "tcp and udp",
        "sport 443 and dst 198.18.0.1",
    ] {
        assert_eq!(lines(netns, &["--kernel-filter", filter]), lines(netns, &[filter]), "{filter}");
    }
}

fn parsed(expression: &str) -> Option<Filter> {
    expression.parse().ok()
}

/// Every term of the language: the example of each field, values of the table, and the keywords.
fn terms(flows: &[Flow], estimator: &IdleEstimator) -> BTreeSet<String> {
    let mut terms: BTreeSet<String> = keywords().map(|keyword| keyword.name.to_owned()).collect();
    for field in FIELDS {
        terms.insert(field.example.to_owned());
        let values: BTreeSet<String> =
            flows.iter().map(|flow| (field.value)(&Subject::new(flow, estimator)).to_string()).collect();
        let valued = values.iter().map(|value| format!("{} {value}", field.name));
        terms.extend(valued.filter(|term| parsed(term).is_some()).step_by(values.len() / 5 + 1));
    }
    terms
}

/// With every filter, the kernel returns at least the matching entries.
fn no_term_has_another_result_with_the_kernel_filter(netns: &TestNetns) {
    netns.fill(46, 1_000);
    let (flows, estimator) = (netns.dump(), IdleEstimator::without_timeouts(0));
    let terms = terms(&flows, &estimator);
    assert!(terms.len() > FIELDS.len() + keywords().count(), "{terms:?}");
    let forms = |term: &String| {
        [term.clone(), format!("not ({term})"), format!("tcp and {term}"), format!("{term} and zone 0 and not assured")]
    };
    let (mut pushed, mut fewer) = (0, 0);
    // Many expressions have the same request.
    let mut dumped: HashMap<String, HashSet<Key>> = HashMap::new();
    for expression in terms.iter().flat_map(forms) {
        let filter = parsed(&expression).unwrap_or_else(|| panic!("not parsed: {expression}"));
        if filter.dump_request() == DumpRequest::default() {
            continue;
        }
        let through = dumped.entry(format!("{:?}", filter.dump_request())).or_insert_with(|| {
            let mut through = HashSet::new();
            let keep = |flow: &Flow| {
                through.insert(key(flow));
                ControlFlow::Continue(())
            };
            table::dump(&mut netns.connection(), filter.dump_request(), keep).expect("dump");
            through
        });
        for flow in &flows {
            let is_out = filter.matches(&Subject::new(flow, &estimator)) == Verdict::NoMatch;
            assert!(is_out || through.contains(&key(flow)), "{expression}: the kernel left out {flow:?}");
        }
        pushed += 1;
        fewer += usize::from(through.len() < flows.len());
    }
    assert!(pushed > 50 && fewer > pushed / 2, "{pushed} were pushed down, {fewer} made a difference");
}

fn every_command_works_on_one_processor(netns: &TestNetns) {
    netns.fill(45, 20_000);
    let allowed = sched_getaffinity(Pid::from_raw(0)).unwrap();
    let mut first = CpuSet::new();
    first.set((0..CpuSet::count()).find(|processor| allowed.is_set(*processor) == Ok(true)).unwrap()).unwrap();
    // The programs that this thread starts inherit it.
    sched_setaffinity(Pid::from_raw(0), &first).unwrap();
    for arguments in [
        &["list", "-q"][..],
        &["list", "-q", "--jobs", "2"],
        &["count", "-q", "--by", "src"],
        &["flush", "--trust-netlink-timeouts", "--older", "1d"],
        &["flush", "--trust-netlink-timeouts", "--older", "1h"],
        &["flush", "--all"],
    ] {
        netns.ctnl(arguments).exits_with(0);
    }
    assert!(netns.dump().is_empty());
}
