//! What happens to the table while a flush is stopped, waits for an answer, or runs.

use std::collections::HashSet;
use std::fs;
use std::process::Command;
use std::thread;
use std::time::Duration;

use ctnl::model::Flow;
use ctnl::table::{self, Outcome, Target};
use nix::sched::{CloneFlags, unshare};
use nix::sys::signal::Signal;

use ctnl_test_support::harness::{Key, TestNetns, key, tests, udp};
use ctnl_test_support::running::{Running, until};
use ctnl_test_support::summary::Summary;

tests![
    a_flow_that_is_refreshed_while_a_flush_is_stopped_is_not_deleted,
    a_flow_that_is_refreshed_while_a_soft_flush_is_stopped_keeps_its_timeout,
    a_flow_that_was_confirmed_to_be_idle_and_is_refreshed_while_the_flush_is_stopped_is_not_deleted,
    a_flush_that_gets_a_tenth_of_a_processor_deletes_no_flow_that_was_refreshed,
    what_arrives_while_the_question_stands_is_not_deleted_beyond_a_margin,
    a_flush_that_needs_no_question_is_bounded_by_the_share_that_needs_one,
    the_time_of_the_question_is_not_part_of_the_seconds,
    a_hangup_ends_a_flush_with_a_summary,
    without_a_terminal_a_flush_of_most_of_the_table_has_to_be_allowed,
    a_flush_reports_its_longest_window,
    a_timeout_that_another_process_writes_while_the_question_stands_makes_no_entry_idle,
    an_entry_with_a_timeout_that_an_earlier_soft_flush_wrote_is_not_deleted_as_idle,
    a_soft_flush_that_is_declined_leaves_no_note,
];

/// In a mount namespace of its own, so that the notes of these tests are theirs for any user.
pub(crate) fn with_a_run_folder_of_its_own() {
    unshare(CloneFlags::CLONE_NEWNS).expect("a private mount namespace");
    for arguments in [&["--make-rprivate", "/"][..], &["-t", "tmpfs", "none", "/run"]] {
        assert!(Command::new("mount").args(arguments).status().unwrap().success(), "{arguments:?}");
    }
}

/// Ten entries that have been idle for days, and four that have just had a packet: those to port 7.
fn ten_stale_and_four_live(netns: &TestNetns) {
    netns.set_sysctl("netfilter/nf_conntrack_udp_timeout", 432_000);
    let entry = |dst, left| move |src| Flow { timeout: Some(left), ..udp(src, dst) };
    netns.create(&(1..=10).map(entry(53, 100_000)).collect::<Vec<_>>());
    netns.create(&(1..=4).map(entry(7, 432_000)).collect::<Vec<_>>());
}

const OLDER: [&str; 5] = ["flush", "--older", "1h", "--trust-netlink-timeouts", "--json"];

fn a_timeout_that_another_process_writes_while_the_question_stands_makes_no_entry_idle(netns: &TestNetns) {
    with_a_run_folder_of_its_own();
    ten_stale_and_four_live(netns);
    let mut flush = Running::on_terminal(netns, &OLDER);
    flush.wait_for("Delete 10 of 14 entries");
    netns.ctnl(&["flush", "udp and dport 7", "--soft=600", "--yes"]).exits_with(0);
    flush.type_in("y\n");
    let run = flush.wait().exits_with(0);
    let summary = Summary::read(&run.stdout());
    assert_eq!((summary.deleted, netns.dump().len()), (10, 4), "{summary:?}");
}

fn an_entry_with_a_timeout_that_an_earlier_soft_flush_wrote_is_not_deleted_as_idle(netns: &TestNetns) {
    with_a_run_folder_of_its_own();
    ten_stale_and_four_live(netns);
    netns.ctnl(&["flush", "udp and dport 7", "--soft=600", "--yes"]).exits_with(0);
    netns.ctnl(&OLDER).exits_with(0).stderr_contains("undecided: 4 written-timeout");
    assert_eq!(netns.dump().len(), 4);
}

fn a_soft_flush_that_is_declined_leaves_no_note(netns: &TestNetns) {
    with_a_run_folder_of_its_own();
    ten_stale_and_four_live(netns);
    let mut flush = Running::on_terminal(netns, &["flush", "udp", "--soft=600"]);
    flush.wait_for("[y/N]");
    flush.type_in("n\n");
    flush.wait().exits_with(1);
    assert!(!fs::exists("/run/ctnl").unwrap());
    netns.ctnl(&["flush", "udp", "--soft=600", "--yes"]).exits_with(0);
    assert_eq!(fs::read_dir("/run/ctnl").unwrap().count(), 1);
}

/// Idle flows: 100 seconds are left.
fn idle(sources: std::ops::Range<u16>) -> Vec<Flow> {
    let flow = |(src, dst)| Flow { timeout: Some(100), ..udp(src, dst) };
    sources.flat_map(|src| (1..=100).map(move |dst| (src, dst))).map(flow).collect()
}

fn entries(netns: &TestNetns) -> u32 {
    table::count(&mut netns.connection()).unwrap().entries
}

/// Starts a flush of 40,000 idle flows, stops it in the middle, and gives every second flow that is left the
/// timeout that a packet would. Returns the flush and these flows.
fn stopped_in_the_middle(
    netns: &TestNetns,
    arguments: &[&str],
    has_begun: impl Fn() -> bool,
) -> (Running, HashSet<Key>) {
    netns.create(&idle(1000..1400));
    let arguments = [&["flush", "--yes", "--json"], arguments].concat();
    let flush = Running::start(netns, &arguments);
    until(has_begun, || "the flush does not begin".to_owned());
    assert!(flush.stop(), "it has ended");
    let left = netns.dump().into_iter().filter(|flow| flow.timeout > Some(50));
    let live: Vec<Flow> = left.step_by(2).collect();
    assert!(live.len() > 1_000, "stopped too late: {} left", live.len());
    refresh(netns, &live);
    thread::sleep(Duration::from_millis(60));
    (flush, live.iter().map(key).collect())
}

fn refresh(netns: &TestNetns, flows: &[Flow]) {
    let targets: Vec<Target> = flows.iter().map(|flow| Target::of(flow).unwrap()).collect();
    table::lower_timeout(&mut netns.connection(), &targets, 600, &mut Outcome::default()).unwrap();
}

fn a_flow_that_is_refreshed_while_a_flush_is_stopped_is_not_deleted(netns: &TestNetns) {
    let (flush, live) = stopped_in_the_middle(netns, &["udp and timeout < 300s"], || entries(netns) < 39_000);
    assert_spared(netns, flush, &live);
}

/// As under a CPU quota: it runs for some 6 ms, then it is stopped for 60 ms. The kernel has no conditional delete, so
/// where a stop comes between the last reading of entries and their send, those may be deleted (docs/summary.md):
/// the window that is measured then exceeds its bound.
fn a_flush_that_gets_a_tenth_of_a_processor_deletes_no_flow_that_was_refreshed(netns: &TestNetns) {
    let flows = idle(1000..1200);
    netns.create(&flows);
    let flush = Running::start(netns, &["flush", "udp and timeout < 300s", "--yes", "--json"]);
    let (mut connection, mut live) = (netns.connection(), HashSet::new());
    // Each slice is from all over the hash table.
    let mut slices = flows.chunks(100).cycle();
    while flush.stop() {
        let slice = slices.next().unwrap();
        let mut entry = |flow: &Flow| table::get(&mut connection, &flow.orig, 0).unwrap();
        let left: Vec<Flow> = slice.iter().filter_map(&mut entry).collect();
        refresh(netns, &left);
        live.extend(left.iter().map(key));
        thread::sleep(Duration::from_millis(60));
        flush.go_on();
        thread::sleep(Duration::from_millis(6));
    }
    let summary = Summary::read(&flush.wait().exits_with(0).stdout());
    let left: HashSet<Key> = netns.dump().iter().map(key).collect();
    let cut = live.difference(&left).count();
    assert!(cut == 0 || cut <= 10 && summary.window_ms > 50.0, "{cut} deleted although in use: {summary:?}");
    assert_eq!(left.len() + cut, live.len(), "{summary:?}");
    assert!(summary.rechecked > 0, "{summary:?}");
    assert_eq!(summary.deleted + left.len() as u64, 20_000, "{summary:?}");
}

/// Both samples of `--confirm-idle` are over for some of these; the filter alone would match all of them.
fn a_flow_that_was_confirmed_to_be_idle_and_is_refreshed_while_the_flush_is_stopped_is_not_deleted(netns: &TestNetns) {
    let arguments = ["udp", "--confirm-idle", "1"];
    let (flush, live) = stopped_in_the_middle(netns, &arguments, || entries(netns) < 39_000);
    assert_spared(netns, flush, &live);
}

/// Continues a flush: all but `live` is deleted.
#[track_caller]
fn assert_spared(netns: &TestNetns, flush: Running, live: &HashSet<Key>) {
    flush.go_on();
    let summary = Summary::read(&flush.wait().exits_with(0).stdout());
    let left: HashSet<Key> = netns.dump().iter().map(key).collect();
    assert_eq!(live.difference(&left).count(), 0, "deleted although in use: {summary:?}");
    assert_eq!(left.len(), live.len(), "{summary:?}");
    assert!(summary.rechecked > 0, "{summary:?}");
    assert_eq!(summary.deleted + live.len() as u64, 40_000, "{summary:?}");
}

fn a_flow_that_is_refreshed_while_a_soft_flush_is_stopped_keeps_its_timeout(netns: &TestNetns) {
    // A dump would take as long as the flush.
    let sample: Vec<Flow> = idle(1000..1400).into_iter().step_by(1_000).collect();
    let has_begun = || {
        let mut connection = netns.connection();
        let mut entry = |flow: &Flow| table::get(&mut connection, &flow.orig, 0).unwrap();
        sample.iter().any(|flow| entry(flow).is_some_and(|flow| flow.timeout <= Some(50)))
    };
    let (flush, live) = stopped_in_the_middle(netns, &["udp and timeout < 300s", "--soft=50"], has_begun);
    flush.go_on();
    let summary = Summary::read(&flush.wait().exits_with(0).stdout());
    let lowered = netns.dump().iter().filter(|flow| live.contains(&key(flow)) && flow.timeout < Some(300)).count();
    assert_eq!(lowered, 0, "lowered although in use: {summary:?}");
    assert_eq!(summary.deleted + live.len() as u64, 40_000, "{summary:?}");
}

fn what_arrives_while_the_question_stands_is_not_deleted_beyond_a_margin(netns: &TestNetns) {
    netns.create(&[udp(1, 1), udp(1, 2), udp(1, 3)]);
    let mut flush = Running::on_terminal(netns, &["flush", "udp", "--json"]);
    flush.wait_for("Delete 3 of 3 entries (100.0 %), and no more than 13? [y/N]");
    netns.create(&idle(1000..1010));
    flush.type_in("y\n");
    let summary = Summary::read(&flush.wait().exits_with(0).stdout());
    assert_eq!((summary.matched, summary.deleted, summary.beyond_agreed), (1_003, 13, 990), "{summary:?}");
    assert_eq!(netns.dump().len(), 990);
}

fn a_flush_that_needs_no_question_is_bounded_by_the_share_that_needs_one(netns: &TestNetns) {
    netns.create(&idle(1000..1010));
    netns.create(&(1..=400).map(|port| udp(port, 2000)).collect::<Vec<_>>());
    let flush = Running::on_terminal(netns, &["flush", "dport 2000", "--json"]);
    let summary = Summary::read(&flush.wait().exits_with(0).stdout());
    assert_eq!((summary.deleted, summary.beyond_agreed), (400, 0), "{summary:?}");
}

fn the_time_of_the_question_is_not_part_of_the_seconds(netns: &TestNetns) {
    netns.create(&[udp(1, 1)]);
    let mut flush = Running::on_terminal(netns, &["flush", "udp", "--json"]);
    flush.wait_for("[y/N]");
    thread::sleep(Duration::from_secs(3));
    flush.type_in("y\n");
    let summary = Summary::read(&flush.wait().exits_with(0).stdout());
    assert!(summary.deleted == 1 && summary.seconds < 2.5, "{summary:?}");
}

fn a_hangup_ends_a_flush_with_a_summary(netns: &TestNetns) {
    netns.create(&idle(1000..1400));
    let flush = Running::start(netns, &["flush", "udp", "--yes", "--json"]);
    until(|| entries(netns) < 39_000, || "the flush does not begin".to_owned());
    flush.signal(Signal::SIGHUP);
    let summary = Summary::read(&flush.wait().exits_with(3).stdout());
    assert!(summary.interrupted && summary.deleted > 0, "{summary:?}");
    assert_eq!(netns.dump().len() as u64, 40_000 - summary.deleted);
}

fn without_a_terminal_a_flush_of_most_of_the_table_has_to_be_allowed(netns: &TestNetns) {
    netns.create(&idle(1000..1001));
    let refused = netns.ctnl(&["flush", "udp and timeout < 1h", "--json"]).exits_with(2);
    let refused = refused.stderr_contains("100 of 100 entries").stderr_contains("hint:").stderr_contains("--yes");
    assert_eq!((refused.stdout(), netns.dump().len()), (String::new(), 100));
    netns.ctnl(&["flush", "udp and timeout < 1h", "--soft=5"]).exits_with(2);
    // Nothing is changed, the bound is smaller, or an idle time is required.
    netns.ctnl(&["flush", "udp", "--dry-run"]).exits_with(0);
    netns.ctnl(&["flush", "udp", "--older", "1h"]).exits_with(0);
    netns.ctnl(&["flush", "udp", "--max", "5"]).exits_with(0).stderr_contains("5 deleted");
    // Of a small table, and of a part of it.
    netns.ctnl(&["flush", "udp"]).exits_with(0).stderr_contains("95 deleted");
    netns.create(&idle(1000..1001));
    netns.create(&idle(2000..2001));
    netns.ctnl(&["flush", "udp and sport 2000"]).exits_with(0).stderr_contains("100 deleted");
    netns.create(&idle(2000..2001));
    netns.ctnl(&["flush", "udp", "--yes"]).exits_with(0);
    netns.create(&idle(2000..2001));
    netns.ctnl(&["flush", "udp", "--all"]).exits_with(0).stderr_contains("100 deleted");
}

fn a_flush_reports_its_longest_window(netns: &TestNetns) {
    netns.create(&idle(1000..1100));
    let summary = Summary::read(&netns.ctnl(&["flush", "udp", "--yes", "--json"]).exits_with(0).stdout());
    assert_eq!(summary.deleted, 10_000, "{summary:?}");
    assert!(summary.window_ms > 0.0 && summary.no_longer_matching == 0, "{summary:?}");
}
