//! `ctnl events` on the real kernel: the entries that its reader can derive from the records, and the
//! records of losses.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{BufRead, BufReader};
use std::os::unix::process::ExitStatusExt;
use std::process::{Child, ChildStdout, ExitStatus, Stdio};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use ctnl::model::{Flow, HelperName, L4, Protocol};
use ctnl::table::{self, Outcome, Target};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;

use ctnl_test_support::harness::{TestNetns, flow, has_automatic_events, tests};

use crate::exclusion::expect;

tests![
    a_snapshot_is_followed_by_each_event_exactly_once,
    events_lost_to_a_small_receive_buffer_are_counted_and_followed_by_a_resync,
    a_sysctl_that_is_off_is_reported_with_its_line_for_sysctl_d_and_not_changed,
    a_stalled_reader_has_every_loss_counted_and_ends_with_the_current_table,
    reconciliation_finds_entries_created_and_deleted_without_an_event,
    an_entry_older_than_the_subscription_that_expires_without_an_event_has_an_end_unless_reconciliation_is_off,
    entries_created_while_events_are_switched_off_are_found_when_they_are_on_again,
    an_expectation_of_a_connection_that_sends_no_events_is_reported_and_so_is_its_end,
    a_stream_terminated_in_a_burst_has_whole_lines_and_correct_totals,
    an_undecided_entry_is_counted_and_not_reported,
    a_connection_is_one_record_with_its_start_and_its_end,
    the_duration_of_an_expired_entry_ends_at_its_expiry_and_not_at_its_collection,
    a_filtered_stream_reports_matching_entries_and_their_destruction,
    on_gap_exits_or_continues_with_a_gap_record,
    a_closed_reader_ends_the_stream,
];

/// How long a condition may take to become true.
const TIMEOUT: Duration = Duration::from_secs(30);

/// A running `ctnl events`.
pub struct Follower {
    child: Child,
    reader: Option<JoinHandle<()>>,
    lines: Arc<Mutex<Vec<String>>>,
    stderr: tempfile::NamedTempFile,
}

/// One that has ended.
pub struct Ended {
    status: ExitStatus,
    pub records: Vec<Value>,
    stderr: String,
}

impl Follower {
    /// Starts it and reads its output.
    pub fn start(netns: &TestNetns, arguments: &[&str]) -> Self {
        let mut follower = Follower::unread(netns, arguments);
        follower.read();
        // Its opening record follows the subscription.
        follower.wait_for("the beginning", |records| count(records, "open") == 1);
        if !arguments.contains(&"--no-seed") {
            follower.wait_for("the seed", |records| count(records, "resync") == 1);
        }
        follower
    }

    fn unread(netns: &TestNetns, arguments: &[&str]) -> Self {
        let stderr = tempfile::NamedTempFile::new().expect("a file");
        let mut command = netns.ctnl_command(&[&["events"], arguments].concat());
        command.stdout(Stdio::piped()).stderr(stderr.reopen().expect("the file"));
        let child = command.spawn().expect("the program");
        Follower { child, reader: None, lines: Arc::default(), stderr }
    }

    fn read(&mut self) {
        let stdout = self.child.stdout.take().expect("a pipe");
        let lines = Arc::clone(&self.lines);
        self.reader = Some(thread::spawn(move || read_lines(stdout, &lines)));
    }

    fn records(&self) -> Vec<Value> {
        self.lines.lock().unwrap().iter().map(|line| parse(line)).collect()
    }

    #[track_caller]
    pub fn wait_for(&self, what: &str, is_true: impl Fn(&[Value]) -> bool) {
        let until = Instant::now() + TIMEOUT;
        while !is_true(&self.records()) {
            let stderr = std::fs::read_to_string(self.stderr.path()).unwrap();
            assert!(Instant::now() < until, "no {what} within {TIMEOUT:?}\n{:#?}\n{stderr}", self.records());
            thread::sleep(Duration::from_millis(10));
        }
    }

    fn signal(&self, signal: Signal) {
        kill(Pid::from_raw(self.child.id().try_into().unwrap()), signal).expect("kill");
    }

    /// Waits for its end.
    fn wait(mut self) -> Ended {
        let status = self.child.wait().expect("its end");
        self.reader.take().into_iter().for_each(|reader| reader.join().unwrap());
        let stderr = std::fs::read_to_string(self.stderr.path()).unwrap();
        Ended { status, records: self.records(), stderr }
    }

    /// Terminates it as a service manager does. Fails unless its records are complete.
    #[track_caller]
    pub fn stop(self) -> Ended {
        self.signal(Signal::SIGTERM);
        let ended = self.wait();
        assert_eq!(ended.status.code(), Some(0), "{:?}\n{}", ended.status, ended.stderr);
        ended.check();
        ended
    }
}

impl Drop for Follower {
    fn drop(&mut self) {
        // Also after a failed test, and if the process is stopped.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn read_lines(stdout: ChildStdout, lines: &Mutex<Vec<String>>) {
    for line in BufReader::new(stdout).lines() {
        lines.lock().unwrap().push(line.expect("a whole line"));
    }
}

fn parse(line: &str) -> Value {
    serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"))
}

impl Ended {
    /// Fails unless the lines have consecutive numbers and the closing record has the sums.
    #[track_caller]
    fn check(&self) {
        for (place, record) in self.records.iter().enumerate() {
            assert_eq!(record["seq"], place as u64 + 1, "{record}");
        }
        let close = self.records.last().expect("a record");
        assert_eq!(close["event"], "close", "{close}");
        assert_eq!(close["records"], self.records.len() as u64 - 1);
        assert_eq!(close["lost"], lost(&self.records));
    }

    fn received(&self) -> u64 {
        self.records.last().expect("a record")["received"].as_u64().expect("a number")
    }
}

pub fn is(record: &Value, event: &str) -> bool {
    record["event"] == event
}

pub fn count(records: &[Value], event: &str) -> usize {
    records.iter().filter(|record| is(record, event)).count()
}

/// The number of the kernel's events, without synthetic records.
pub fn real(records: &[Value], event: &str) -> usize {
    records.iter().filter(|record| is(record, event) && record.get("synthetic").is_none()).count()
}

pub fn synthetic(records: &[Value], event: &str, why: &str) -> usize {
    records.iter().filter(|record| is(record, event) && record["synthetic"] == why).count()
}

fn lost(records: &[Value]) -> u64 {
    let gaps = records.iter().filter(|record| is(record, "gap") && record["cause"] == "kernel");
    gaps.map(|gap| gap["lost"].as_u64().expect("a number")).sum()
}

/// The identity of an entry in JSON.
fn name(flow: &Value) -> String {
    let mut orig = flow["orig"].clone();
    for counter in ["packets", "bytes"] {
        orig.as_object_mut().expect("an object").remove(counter);
    }
    let zones: Vec<_> = ["zone", "zone_orig", "zone_reply"].map(|zone| flow[zone].to_string()).into();
    format!("{} {orig} {zones:?} {} {}", flow["proto"], flow["reply"]["zone"], flow["orig"]["zone"])
}

/// The entries that a reader has after it applied all records. Each entry is reported as new once
/// before it is destroyed; only the kernel's destroy events may be of unknown entries.
#[track_caller]
fn reader_entries(records: &[Value]) -> BTreeSet<String> {
    let mut known = BTreeSet::new();
    for record in records {
        match record["event"].as_str().expect("a word") {
            "new" => assert!(known.insert(name(&record["flow"])), "new twice: {record}"),
            "destroy" => {
                let was_known = known.remove(&name(&record["flow"]));
                assert!(
                    was_known || record.get("synthetic").is_none(),
                    "a synthetic destroy of an unknown entry: {record}"
                );
            }
            _ => {}
        }
    }
    known
}

/// The table, by another command.
fn in_table(netns: &TestNetns) -> BTreeSet<String> {
    let list = netns.ctnl(&["list", "-o", "json"]).exits_with(0).stdout();
    list.lines().map(|line| name(&parse(line))).collect()
}

pub fn udp_flows(from: u16, count: u16) -> Vec<Flow> {
    (from..from + count).map(|port| flow(Protocol::Udp, L4::Ports { src: port, dst: 53 })).collect()
}

/// Deletes the matching entries. Returns their number.
pub fn delete(netns: &TestNetns, is_meant: impl Fn(&Flow) -> bool) -> u64 {
    let targets: Vec<Target> =
        netns.dump().iter().filter(|flow| is_meant(flow)).map(|flow| Target::of(flow).expect("a target")).collect();
    let mut outcome = Outcome::default();
    table::delete(&mut netns.connection(), &targets, &mut outcome).expect("delete");
    assert_eq!(outcome.done, targets.len() as u64);
    outcome.done
}

/// Ns since 1970.
pub fn wall_clock() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).expect("a time after 1970");
    since.as_nanos().try_into().expect("a time before 2554")
}

fn port(flow: &Flow) -> u16 {
    flow.orig.sport().unwrap_or(0)
}

fn a_snapshot_is_followed_by_each_event_exactly_once(netns: &TestNetns) {
    netns.set_sysctl("netfilter/nf_conntrack_events", 1);
    let before = netns.fill(91, 300);
    let follower = Follower::start(netns, &[]);
    assert_eq!(synthetic(&follower.records(), "new", "seed"), before.len());
    // In small batches: the receive buffer of an unprivileged user holds 166 events.
    for batch in 0..10 {
        netns.create(&udp_flows(1000 + 50 * batch, 50));
        let expected = usize::from(50 * (batch + 1));
        follower.wait_for("new records", |records| real(records, "new") == expected);
    }
    for batch in 0..10u16 {
        let gone = delete(netns, |flow| (1000 + 50 * batch..1040 + 50 * batch).contains(&port(flow)));
        assert_eq!(gone, 40);
        follower.wait_for("destroy records", |records| real(records, "destroy") == usize::from(40 * (batch + 1)));
    }
    let table = in_table(netns);
    let ended = follower.stop();
    assert_eq!((lost(&ended.records), ended.received()), (0, 900));
    assert_eq!(reader_entries(&ended.records), table);
    assert_eq!(table.len(), 400);
    let killed = if has_automatic_events() { Value::from(true) } else { Value::Null };
    for record in ended.records.iter().filter(|record| is(record, "destroy")) {
        assert_eq!((&record["killed"], &record["since"]), (&killed, &"after".into()), "{record}");
        assert!(record["requester"]["port"].as_u64() > Some(0), "{record}");
    }
}

fn events_lost_to_a_small_receive_buffer_are_counted_and_followed_by_a_resync(netns: &TestNetns) {
    netns.set_sysctl("netfilter/nf_conntrack_events", 1);
    let follower = Follower::start(netns, &["--buffer", "32KiB", "--buffer-max", "32KiB"]);
    let mut sent = 0;
    for round in 0..3u16 {
        follower.signal(Signal::SIGSTOP);
        let flows = udp_flows(1000 * (round + 1), 600);
        netns.create(&flows);
        sent += 600;
        // Also half of the entries that were reported before.
        sent += delete(netns, |flow| port(flow) % 2 == (round + 1) % 2);
        sent += 300;
        netns.create(&udp_flows(20_000 + 1000 * round, 300));
        follower.signal(Signal::SIGCONT);
        let resyncs = usize::from(round) + 1;
        follower.wait_for("resync", |records| {
            records.iter().filter(|record| is(record, "resync") && record["reason"] == "resync").count() == resyncs
        });
        let table = in_table(netns);
        assert_eq!(reader_entries(&follower.records()), table, "round {round}");
    }
    let ended = follower.stop();
    assert!(lost(&ended.records) > 0);
    assert_eq!(ended.received() + lost(&ended.records), sent);
    assert_eq!((real(&ended.records, "new") + real(&ended.records, "destroy")) as u64, ended.received());
    assert!(ended.stderr.contains("events lost in the kernel"), "{}", ended.stderr);
}

fn a_sysctl_that_is_off_is_reported_with_its_line_for_sysctl_d_and_not_changed(netns: &TestNetns) {
    let names = ["events", "acct", "timestamp"].map(|name| format!("netfilter/nf_conntrack_{name}"));
    for (name, value) in names.iter().zip([1, 0, 1]) {
        netns.set_sysctl(name, value);
    }
    let ended = Follower::start(netns, &[]).stop();
    let off = "net.netfilter.nf_conntrack_acct is 0: new entries have no packet and byte counters\n";
    let hint = "  hint: a line for /etc/sysctl.d: net.netfilter.nf_conntrack_acct = 1\n";
    assert!(ended.stderr.contains(&[off, hint].concat()), "{}", ended.stderr);
    assert_eq!(ended.stderr.matches("/etc/sysctl.d").count(), 1, "{}", ended.stderr);
    assert_eq!(names.map(|name| netns.sysctl(&name)), ["1", "0", "1"]);
}

fn a_stalled_reader_has_every_loss_counted_and_ends_with_the_current_table(netns: &TestNetns) {
    netns.set_sysctl("netfilter/nf_conntrack_events", 1);
    let small = ["--buffer", "32KiB", "--buffer-max", "64KiB", "--queue-max", "64KiB", "--no-seed"];
    let mut follower = Follower::unread(netns, &small);
    // It reports its receive buffer after the subscription.
    let until = Instant::now() + TIMEOUT;
    while !std::fs::read_to_string(follower.stderr.path()).unwrap().contains("receive buffer") {
        assert!(Instant::now() < until, "it does not subscribe");
        thread::sleep(Duration::from_millis(10));
    }
    let mut sent = 0;
    for batch in 0..20u16 {
        netns.create(&udp_flows(1000 + 250 * batch, 250));
        sent += 250;
        // So that its own queue is filled, too.
        thread::sleep(Duration::from_millis(20));
    }
    sent += delete(netns, |flow| port(flow).is_multiple_of(3));
    follower.read();
    follower.wait_for("resync", |records| count(records, "resync") > 0);
    let table = in_table(netns);
    let ended = follower.stop();
    assert!(lost(&ended.records) > 0);
    assert_eq!(ended.received() + lost(&ended.records), sent);
    assert_eq!(reader_entries(&ended.records), table);
}

fn reconciliation_finds_entries_created_and_deleted_without_an_event(netns: &TestNetns) {
    // An entry that is created now never sends an event (`nf_ct_ecache_ext_add` adds no extension).
    netns.set_sysctl("netfilter/nf_conntrack_events", 0);
    netns.create(&udp_flows(1000, 100));
    let follower = Follower::start(netns, &["--reconcile", "1s"]);
    assert_eq!(delete(netns, |flow| port(flow) < 1040), 40);
    netns.create(&udp_flows(2000, 7));
    follower.wait_for("reconciliation", |records| {
        synthetic(records, "destroy", "reconcile") == 40 && synthetic(records, "new", "reconcile") == 7
    });
    let table = in_table(netns);
    let ended = follower.stop();
    assert_eq!((ended.received(), reader_entries(&ended.records)), (0, table));
    let gone = ended.records.iter().find(|record| is(record, "destroy")).expect("one that is gone");
    assert_eq!((&gone["since"], gone.get("duration_ns")), (&"before".into(), None), "{gone}");
}

fn an_entry_older_than_the_subscription_that_expires_without_an_event_has_an_end_unless_reconciliation_is_off(
    netns: &TestNetns,
) {
    // As with the default of 2: an entry that is created now never sends an event. (With 2 it would if
    // anybody was subscribed in any namespace of the host.)
    netns.set_sysctl("netfilter/nf_conntrack_events", 0);
    let mut flows = udp_flows(1000, 3);
    flows.iter_mut().for_each(|flow| flow.timeout = Some(2));
    netns.create(&flows);
    netns.set_sysctl("netfilter/nf_conntrack_events", if has_automatic_events() { 2 } else { 1 });
    let off = Follower::start(netns, &["--flows", "--reconcile", "off"]);
    let follower = Follower::start(netns, &["--flows", "--new", "--destroy"]);
    follower.wait_for("the ends", |records| synthetic(records, "end", "reconcile") == 3);
    let ended = follower.stop();
    assert_eq!(synthetic(&ended.records, "destroy", "reconcile"), 3);
    assert_eq!(reader_entries(&ended.records), in_table(netns));
    if has_automatic_events() {
        let said = "3 entries are older than this subscription and may end without an event";
        assert_eq!(ended.stderr.matches(said).count(), 1, "{}", ended.stderr);
    }
    assert_eq!(count(&off.stop().records, "end"), 0);
}

fn entries_created_while_events_are_switched_off_are_found_when_they_are_on_again(netns: &TestNetns) {
    netns.set_sysctl("netfilter/nf_conntrack_events", 1);
    let follower = Follower::start(netns, &[]);
    let disabled = |records: &[Value]| records.iter().filter(|record| record["cause"] == "disabled").count();
    netns.set_sysctl("netfilter/nf_conntrack_events", 0);
    follower.wait_for("the gap", |records| disabled(records) == 1);
    netns.create(&udp_flows(1000, 20));
    assert_eq!(delete(netns, |flow| port(flow) < 1005), 5);
    netns.set_sysctl("netfilter/nf_conntrack_events", 1);
    follower.wait_for("the second gap", |records| disabled(records) == 2);
    follower.wait_for("the resync", |records| records.last().is_some_and(|record| is(record, "resync")));
    netns.create(&udp_flows(2000, 5));
    follower.wait_for("new entries", |records| real(records, "new") == 5);
    let table = in_table(netns);
    let ended = follower.stop();
    assert_eq!(reader_entries(&ended.records), table);
    assert_eq!(table.len(), 20);
    assert!(ended.stderr.contains("nf_conntrack_events is 0: "), "{}", ended.stderr);
    assert!(ended.stderr.contains("nf_conntrack_events is on again: "), "{}", ended.stderr);
}

fn an_expectation_of_a_connection_that_sends_no_events_is_reported_and_so_is_its_end(netns: &TestNetns) {
    netns.require_ftp_helper();
    // As one that is older than the first subscription with the default of 2.
    netns.set_sysctl("netfilter/nf_conntrack_events", 0);
    let master = flow(Protocol::Tcp, L4::Ports { src: 40000, dst: 21 });
    netns.create(&[Flow { helper: Some(HelperName::new(b"ftp")), ..master.clone() }]);
    netns.set_sysctl("netfilter/nf_conntrack_events", 1);
    expect(netns, &master.orig, 5000);
    let follower = Follower::start(netns, &["--expect", "--no-seed", "--new"]);
    thread::sleep(Duration::from_millis(300));
    follower.signal(Signal::SIGTERM);
    assert_eq!(count(&follower.wait().records, "expect-new"), 0, "that is a part of the snapshot");
    let follower = Follower::start(netns, &["--expect"]);
    follower.wait_for("the seed", |records| synthetic(records, "expect-new", "seed") == 1);
    expect(netns, &master.orig, 5001);
    follower.wait_for("the new one", |records| synthetic(records, "expect-new", "reconcile") == 1);
    assert_eq!(delete(netns, |_| true), 1);
    follower.wait_for("the ends", |records| synthetic(records, "expect-destroy", "reconcile") == 2);
    follower.stop();
}

fn a_stream_terminated_in_a_burst_has_whole_lines_and_correct_totals(netns: &TestNetns) {
    netns.set_sysctl("netfilter/nf_conntrack_events", 1);
    let follower = Follower::start(netns, &["--buffer", "64KiB", "--on-gap", "continue"]);
    let pid = Pid::from_raw(follower.child.id().try_into().unwrap());
    let lines = Arc::clone(&follower.lines);
    let killer = thread::spawn(move || {
        let until = Instant::now() + TIMEOUT;
        while lines.lock().unwrap().len() < 500 && Instant::now() < until {
            thread::sleep(Duration::from_millis(1));
        }
        kill(pid, Signal::SIGTERM).expect("kill");
    });
    for batch in 0..30u16 {
        netns.create(&udp_flows(1000 + 1000 * batch, 1000));
    }
    killer.join().unwrap();
    let ended = follower.wait();
    assert_eq!(ended.status.code(), Some(0), "{}", ended.stderr);
    ended.check();
    assert!(ended.records.len() >= 500, "{} records", ended.records.len());
    assert_eq!(real(&ended.records, "new") as u64, ended.received());
    assert!(ended.received() + lost(&ended.records) <= 30_000);
    assert_eq!(ended.records.last().unwrap()["reason"], "SIGTERM");
}

fn an_undecided_entry_is_counted_and_not_reported(netns: &TestNetns) {
    netns.set_sysctl("netfilter/nf_conntrack_events", 1);
    netns.create(&udp_flows(1000, 5));
    // Without timestamps no age is known, and with `not` neither.
    let follower = Follower::start(netns, &["dport 53 and not age > 1s or sport 2001"]);
    netns.create(&udp_flows(2000, 10));
    follower.wait_for("the one that is certain", |records| real(records, "new") == 1);
    let ended = follower.stop();
    assert_eq!(count(&ended.records, "new"), 1);
    assert!(ended.stderr.contains("undecided: 14"), "{}", ended.stderr);
}

fn a_connection_is_one_record_with_its_start_and_its_end(netns: &TestNetns) {
    netns.set_sysctl("netfilter/nf_conntrack_events", 1);
    netns.create(&udp_flows(1000, 1));
    netns.set_sysctl("netfilter/nf_conntrack_acct", 1);
    let follower = Follower::start(netns, &["--flows"]);
    follower.signal(Signal::SIGSTOP);
    let before = wall_clock();
    netns.create(&udp_flows(2000, 1));
    let created = before..wall_clock();
    // The event waits in the queue.
    thread::sleep(Duration::from_millis(300));
    follower.signal(Signal::SIGCONT);
    netns.set_sysctl("netfilter/nf_conntrack_timestamp", 1);
    netns.create(&udp_flows(3000, 1));
    delete(netns, |_| true);
    follower.wait_for("three ends", |records| count(records, "end") == 3);
    let ended = follower.stop();
    assert_eq!(count(&ended.records, "new") + count(&ended.records, "destroy"), 0);
    let ends: BTreeMap<u64, &Value> = ended
        .records
        .iter()
        .filter(|record| is(record, "end"))
        .map(|end| (end["sport"].as_u64().unwrap(), end))
        .collect();
    let [seeded, seen, stamped] = [1000, 2000, 3000].map(|port| ends[&port]);
    assert_eq!((&seeded["since"], seeded.get("packets_orig")), (&"before".into(), None), "{seeded}");
    assert!(!seeded.as_object().unwrap().keys().any(|key| key.starts_with("duration")), "{seeded}");
    assert_eq!(
        (&seen["since"], &seen["clock"], &seen["packets_orig"]),
        (&"after".into(), &"received".into(), &0.into())
    );
    // Without times of the kernel the connection was between the two times that the record has.
    let [since, time] = ["since_ns", "time_ns"].map(|key| seen[key].as_u64().unwrap());
    assert!(since <= created.start && created.end <= time && time - since < 5_000_000_000, "{created:?} {seen}");
    assert_eq!(seen["duration_at_most_ns"], time - since);
    assert_eq!((&stamped["since"], &stamped["clock"]), (&"exactly".into(), &"kernel".into()), "{stamped}");
    assert!(stamped["duration_ns"].as_u64().is_some(), "{stamped}");
}

fn the_duration_of_an_expired_entry_ends_at_its_expiry_and_not_at_its_collection(netns: &TestNetns) {
    for name in ["events", "timestamp"] {
        netns.set_sysctl(&format!("netfilter/nf_conntrack_{name}"), 1);
    }
    let follower = Follower::start(netns, &["--destroy", "--flows"]);
    let mut flows = udp_flows(1000, 1);
    flows.iter_mut().for_each(|flow| flow.timeout = Some(1));
    netns.create(&flows);
    thread::sleep(Duration::from_secs(4));
    // The kernel deletes an expired entry when a dump reaches it.
    assert!(netns.dump().is_empty());
    follower.wait_for("its end", |records| real(records, "destroy") + count(records, "end") == 2);
    for record in follower.stop().records.iter().filter(|record| is(record, "destroy") || is(record, "end")) {
        let lived = record["duration_ns"].as_u64().expect("a duration");
        assert!((900_000_000..2_500_000_000).contains(&lived), "{record}");
    }
}

fn a_filtered_stream_reports_matching_entries_and_their_destruction(netns: &TestNetns) {
    netns.set_sysctl("netfilter/nf_conntrack_events", 1);
    let follower = Follower::start(netns, &["--new", "--destroy", "--update", "timeout > 500s"]);
    netns.create(&udp_flows(1000, 3));
    follower.wait_for("three new", |records| real(records, "new") == 3);
    // It does not match any more, but it was reported as new.
    netns.ctnl(&["flush", "sport 1000", "--soft=10", "--yes"]).exits_with(0);
    delete(netns, |_| true);
    follower.wait_for("three destroyed", |records| real(records, "destroy") == 3);
    let ended = follower.stop();
    assert_eq!((count(&ended.records, "update"), reader_entries(&ended.records).len()), (0, 0));
    let follower = Follower::start(netns, &["--destroy", "--no-seed", "dport 53"]);
    netns.create(&udp_flows(1000, 3));
    delete(netns, |_| true);
    follower.wait_for("three destroyed", |records| real(records, "destroy") == 3);
    assert_eq!(count(&follower.stop().records, "new"), 0);
}

fn on_gap_exits_or_continues_with_a_gap_record(netns: &TestNetns) {
    netns.set_sysctl("netfilter/nf_conntrack_events", 1);
    for (on_gap, code, reason) in [("exit", 3, "gap"), ("continue", 0, "SIGTERM")] {
        let tiny = ["--no-seed", "--buffer", "32KiB", "--buffer-max", "32KiB", "--on-gap", on_gap];
        let follower = Follower::start(netns, &tiny);
        follower.signal(Signal::SIGSTOP);
        netns.create(&udp_flows(1000, 800));
        let sent = wall_clock();
        thread::sleep(Duration::from_millis(300));
        follower.signal(Signal::SIGCONT);
        follower.wait_for("the gap", |records| count(records, "gap") == 1);
        for gap in follower.records().iter().filter(|record| is(record, "gap")) {
            let [from, to] = ["from_ns", "to_ns"].map(|name| gap[name].as_u64().expect("a time"));
            assert!((from..to).contains(&sent), "events were lost until {sent}: {gap}");
        }
        if on_gap == "continue" {
            // Longer than a resync waits.
            thread::sleep(Duration::from_millis(1500));
            follower.signal(Signal::SIGTERM);
        }
        let ended = follower.wait();
        ended.check();
        assert_eq!((ended.status.code(), &ended.records.last().unwrap()["reason"]), (Some(code), &reason.into()));
        assert_eq!((count(&ended.records, "resync"), ended.received() + lost(&ended.records)), (0, 800));
        delete(netns, |_| true);
    }
}

fn a_closed_reader_ends_the_stream(netns: &TestNetns) {
    netns.set_sysctl("netfilter/nf_conntrack_events", 1);
    let mut follower = Follower::unread(netns, &["--no-seed"]);
    drop(follower.child.stdout.take());
    let until = Instant::now() + TIMEOUT;
    let status = loop {
        if let Some(status) = follower.child.try_wait().expect("its end") {
            break status;
        }
        assert!(Instant::now() < until, "it goes on");
        thread::sleep(Duration::from_millis(10));
    };
    assert_eq!((status.code(), status.signal()), (Some(0), None));
}
