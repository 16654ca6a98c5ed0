//! `--jobs 2`, `--kernel-filter`, and a single processor: the same answers.

use std::collections::{BTreeSet, HashSet};
use std::ops::ControlFlow;

use ctnl::age::IdleEstimator;
use ctnl::field::{FIELDS, Subject, keywords};
use ctnl::filter::{Filter, Verdict};
use ctnl::model::Flow;
use ctnl::table::{self, DumpRequest};
use nix::sched::{CpuSet, sched_getaffinity, sched_setaffinity};
use nix::unistd::Pid;

use ctnl_test_support::harness::{World, key, tests};

tests![
    two_jobs_list_and_count_what_one_does,
    what_two_jobs_may_not_be_used_for_falls_back_and_says_so,
    the_kernels_filter_changes_no_answer,
    no_term_has_another_answer_with_the_kernels_filter,
    one_processor_is_enough_for_everything,
];

/// Lines without the seconds left, which tick, and without the reference count.
fn lines(world: &World, arguments: &[&str]) -> BTreeSet<String> {
    let run = world.ctnl(&[&["list", "-q", "-o", "csv", "--columns", COLUMNS], arguments].concat()).exits_with(0);
    let lines: Vec<String> = run.stdout().lines().map(str::to_owned).collect();
    let distinct: BTreeSet<String> = lines.iter().cloned().collect();
    assert_eq!(distinct.len(), lines.len(), "an entry twice");
    distinct
}

const COLUMNS: &str = "family,proto,src,sport,dst,dport,icmp-id,gre-key,orig-zone,reply-zone,mark,state,id";

fn two_jobs_list_and_count_what_one_does(world: &World) {
    world.fill(41, 6_000);
    for filter in [&[][..], &["tcp"], &["not src 10.66.6.6 and (udp or ipv6)"]] {
        let two = lines(world, &[&["--jobs", "2"], filter].concat());
        assert_eq!(two, lines(world, filter), "{filter:?}");
        let count = world.ctnl(&[&["count", "-q", "--jobs", "2"], filter, &["--any-addr", "0.0.0.0/0,::/0"]].concat());
        assert_eq!(count.exits_with(0).stdout().trim(), two.len().saturating_sub(1).to_string(), "{filter:?}");
    }
}

fn what_two_jobs_may_not_be_used_for_falls_back_and_says_so(world: &World) {
    world.fill(43, 300);
    for arguments in [
        &["list", "--jobs", "2", "assured"][..],
        &["list", "--jobs", "2", "-o", "xml"],
        &["list", "--jobs", "2", "--limit", "3"],
        &["count", "--jobs", "2", "--by", "state"],
    ] {
        world.ctnl(arguments).exits_with(0).says("--jobs 2 is not used: ");
    }
}

fn the_kernels_filter_changes_no_answer(world: &World) {
    world.fill(44, 6_000);
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
        assert_eq!(lines(world, &["--kernel-filter", filter]), lines(world, &[filter]), "{filter}");
    }
}

fn parsed(expression: &str) -> Option<Filter> {
    expression.parse().ok()
}

/// Every term of the language: what help shows of each field, with values that are in the
/// table too, and the words that stand for a whole term.
fn terms(flows: &[Flow], ages: &IdleEstimator) -> BTreeSet<String> {
    let mut terms: BTreeSet<String> = keywords().map(|keyword| keyword.name.to_owned()).collect();
    for field in FIELDS {
        terms.insert(field.example.to_owned());
        let values: BTreeSet<String> =
            flows.iter().map(|flow| (field.value)(&Subject::new(flow, ages)).to_string()).collect();
        let valued = values.iter().map(|value| format!("{} {value}", field.name));
        terms.extend(valued.filter(|term| parsed(term).is_some()).step_by(values.len() / 5 + 1));
    }
    terms
}

/// What the kernel lets through is more than what is meant, or the same, whatever is asked.
fn no_term_has_another_answer_with_the_kernels_filter(world: &World) {
    world.fill(46, 1_000);
    let (flows, ages) = (world.dump(), IdleEstimator::without_timeouts(0));
    let terms = terms(&flows, &ages);
    assert!(terms.len() > FIELDS.len() + keywords().count(), "{terms:?}");
    let forms = |term: &String| {
        [term.clone(), format!("not ({term})"), format!("tcp and {term}"), format!("{term} and zone 0 and not assured")]
    };
    let (mut pushed, mut fewer) = (0, 0);
    for expression in terms.iter().flat_map(forms) {
        let filter = parsed(&expression).unwrap_or_else(|| panic!("not understood: {expression}"));
        if filter.dump_request() == DumpRequest::default() {
            continue;
        }
        let mut through = HashSet::new();
        let keep = |flow: &Flow| {
            through.insert(key(flow));
            ControlFlow::Continue(())
        };
        table::dump(&mut world.connection(), filter.dump_request(), keep).expect("dump");
        for flow in &flows {
            let is_out = filter.matches(&Subject::new(flow, &ages)) == Verdict::NoMatch;
            assert!(is_out || through.contains(&key(flow)), "{expression}: the kernel left out {flow:?}");
        }
        pushed += 1;
        fewer += usize::from(through.len() < flows.len());
    }
    assert!(pushed > 50 && fewer > pushed / 2, "{pushed} were pushed down, {fewer} made a difference");
}

fn one_processor_is_enough_for_everything(world: &World) {
    world.fill(45, 20_000);
    let allowed = sched_getaffinity(Pid::from_raw(0)).unwrap();
    let mut first = CpuSet::new();
    first.set((0..CpuSet::count()).find(|processor| allowed.is_set(*processor) == Ok(true)).unwrap()).unwrap();
    // Of this thread, and so of the programs that it starts.
    sched_setaffinity(Pid::from_raw(0), &first).unwrap();
    for arguments in [
        &["list", "-q"][..],
        &["list", "-q", "--jobs", "2"],
        &["count", "-q", "--by", "src"],
        &["flush", "--trust-netlink-timeouts", "--older", "1d"],
        &["flush", "--trust-netlink-timeouts", "--older", "1h"],
        &["flush", "--all"],
    ] {
        world.ctnl(arguments).exits_with(0);
    }
    assert!(world.dump().is_empty());
}
