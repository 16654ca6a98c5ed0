//! Traffic and settings that change while a flush is stopped, waits for an answer, or runs.

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use ctnl::model::{Flow, Tuple};
use ctnl::table;

use ctnl_test_support::connections::{Tcp, Udp};
use ctnl_test_support::harness::{Run, TestNetns, tests, udp};
use ctnl_test_support::net::{Net, nft};
use ctnl_test_support::running::{Running, until};
use ctnl_test_support::summary::Summary;

tests![
    a_flow_that_has_a_packet_while_a_flush_is_stopped_is_not_deleted,
    no_connection_is_deleted_by_a_timeout_that_is_lowered_while_a_flush_is_stopped,
    no_connection_is_deleted_by_a_timeout_that_is_lowered_while_a_flush_runs,
    no_connection_is_deleted_by_a_timeout_that_is_lowered_while_the_question_stands,
    no_connection_is_deleted_by_a_policy_that_is_attached_while_a_flush_is_stopped,
];

const SECOND: Duration = Duration::from_secs(1);

/// Entries that any flush of these tests deletes, so that it takes a while.
const FILLER: u32 = 40_000;

/// A router with that many entries, of which 100 seconds are left.
fn filled(netns: &TestNetns) -> Net<'_> {
    let net = Net::new(netns);
    net.set_timeout("udp_timeout", 600);
    net.set_timeout("udp_timeout_stream", 600);
    let filler = (0..FILLER).map(|number| {
        let (src, dst) = (1_000 + u16::try_from(number / 100).unwrap(), 1 + u16::try_from(number % 100).unwrap());
        Flow { timeout: Some(100), ..udp(src, dst) }
    });
    netns.create(&filler.collect::<Vec<_>>());
    net
}

fn entries(netns: &TestNetns) -> u32 {
    table::count(&mut netns.connection()).unwrap().entries
}

/// Starts a flush of the filler and of what `condition` says, and stops it in the middle.
fn stopped_flush(netns: &TestNetns, condition: &str) -> Running {
    let filter = format!("(src 10.0.0.1 and timeout < 300s) or ({condition})");
    let before = entries(netns);
    let flush = Running::start(netns, &["flush", &filter, "--yes", "--json"]);
    until(|| entries(netns) < before - 1_000, || "the flush does not begin".to_owned());
    assert!(flush.stop(), "it has ended");
    flush
}

/// Continues a flush; the entries of `tuples` must be left.
#[track_caller]
fn leaves(netns: &TestNetns, flush: Running, tuples: &[Tuple]) -> Summary {
    flush.go_on();
    let summary = ended(flush.wait());
    assert_in_table(netns, tuples, &summary);
    summary
}

/// The summary of a flush to its end. On a starved host targets may have been too old to be sent, each time.
#[track_caller]
fn ended(run: Run) -> Summary {
    let code = run.code();
    assert!(matches!(code, Some(0 | 3)), "{}", run.stderr());
    let summary = Summary::read(&run.stdout());
    let sent = summary.deleted + summary.gone + summary.no_longer_matching;
    assert_eq!(sent + summary.unsent, summary.matched, "{summary:?}");
    assert_eq!(code == Some(3), summary.unsent > 0, "{summary:?}");
    summary
}

#[track_caller]
fn assert_in_table(netns: &TestNetns, tuples: &[Tuple], summary: &Summary) {
    let table = netns.dump();
    let missing = tuples.iter().filter(|tuple| !table.iter().any(|flow| flow.orig == **tuple)).count();
    assert_eq!(missing, 0, "{missing} of {} deleted although in use: {summary:?}", tuples.len());
}

fn connections(net: &Net<'_>, count: usize) -> Vec<Tcp> {
    (0..count).map(|_| Tcp::open(net)).collect()
}

fn tuples(connections: &[Tcp]) -> Vec<Tuple> {
    connections.iter().map(Tcp::tuple).collect()
}

fn a_flow_that_has_a_packet_while_a_flush_is_stopped_is_not_deleted(netns: &TestNetns) {
    let net = filled(netns);
    let flows: Vec<Udp> = (0..120).map(|_| Udp::open(&net)).collect();
    flows.iter().for_each(Udp::exchange);
    thread::sleep(5 * SECOND);
    let flush = stopped_flush(netns, "udp and idle >= 3s");
    let left = netns.dump();
    let live: Vec<&Udp> = flows.iter().filter(|udp| left.iter().any(|flow| flow.orig == udp.tuple())).collect();
    assert!(live.len() > 20, "stopped too late");
    live.iter().for_each(|udp| udp.exchange());
    thread::sleep(SECOND / 10);
    let tuples: Vec<Tuple> = live.iter().map(|udp| udp.tuple()).collect();
    // On a slow machine the rest of the flush takes longer than these flows may be silent.
    let has_ended = AtomicBool::new(false);
    let summary = thread::scope(|scope| {
        scope.spawn(|| {
            while !has_ended.load(Ordering::Relaxed) {
                live.iter().for_each(|udp| udp.exchange());
                thread::sleep(SECOND / 5);
            }
        });
        flush.go_on();
        let run = flush.wait();
        has_ended.store(true, Ordering::Relaxed);
        ended(run)
    });
    assert_in_table(netns, &tuples, &summary);
    assert!(summary.rechecked > 0, "{summary:?}");
}

fn no_connection_is_deleted_by_a_timeout_that_is_lowered_while_a_flush_is_stopped(netns: &TestNetns) {
    let net = filled(netns);
    let mut connections = connections(&net, 100);
    connections.iter_mut().for_each(Tcp::exchange);
    let flush = stopped_flush(netns, "tcp and idle >= 1h");
    net.set_timeout("tcp_timeout_established", 600);
    connections.iter_mut().for_each(Tcp::exchange);
    leaves(netns, flush, &tuples(&connections));
}

fn no_connection_is_deleted_by_a_timeout_that_is_lowered_while_a_flush_runs(netns: &TestNetns) {
    let net = filled(netns);
    let mut connections = connections(&net, 100);
    connections.iter_mut().for_each(Tcp::exchange);
    let filter = "(src 10.0.0.1 and timeout < 300s) or (tcp and idle >= 1h)";
    let flush = Running::start(netns, &["flush", filter, "--yes", "--json"]);
    until(|| entries(netns) < FILLER - 1_000, || "the flush does not begin".to_owned());
    net.set_timeout("tcp_timeout_established", 600);
    connections.iter_mut().for_each(Tcp::exchange);
    let summary = ended(flush.wait());
    assert_in_table(netns, &tuples(&connections), &summary);
}

fn no_connection_is_deleted_by_a_timeout_that_is_lowered_while_the_question_stands(netns: &TestNetns) {
    let net = Net::new(netns);
    let mut connections = connections(&net, 5);
    connections.iter_mut().for_each(Tcp::exchange);
    netns.create(&[Flow { timeout: Some(100), ..udp(1, 2) }, Flow { timeout: Some(100), ..udp(1, 3) }]);
    let filter = "timeout < 300s or (tcp and idle >= 1h)";
    let mut flush = Running::on_terminal(netns, &["flush", filter, "--ask-above", "0", "--json"]);
    flush.wait_for("[y/N]");
    net.set_timeout("tcp_timeout_established", 600);
    connections.iter_mut().for_each(Tcp::exchange);
    flush.type_in("y\n");
    let summary = ended(flush.wait());
    // While data is not acknowledged, 299 s are left: matched, and no longer when it is read again.
    assert_eq!((summary.deleted, summary.matched - summary.no_longer_matching), (2, 2), "{summary:?}");
    assert_in_table(netns, &tuples(&connections), &summary);
}

fn no_connection_is_deleted_by_a_policy_that_is_attached_while_a_flush_is_stopped(netns: &TestNetns) {
    let net = filled(netns);
    let flush = stopped_flush(netns, "tcp and idle >= 1h");
    nft("table ip bound {
        ct timeout short { protocol tcp; policy = { established : 600 }; }
        chain forward { type filter hook forward priority -10; ct timeout set \"short\"; }
    }");
    let mut connections = connections(&net, 40);
    connections.iter_mut().for_each(Tcp::exchange);
    let tuples = tuples(&connections);
    let left = netns.dumped(&tuples[0]).and_then(|flow| flow.timeout);
    assert!(left <= Some(600), "the policy is in force: {left:?}");
    leaves(netns, flush, &tuples);
}
