//! `ctnl events` on the real kernel: what its reader knows, and what it is told of
//! what was lost.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{BufRead, BufReader};
use std::os::unix::process::ExitStatusExt;
use std::process::{Child, ChildStdout, ExitStatus, Stdio};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use ctnl::model::{Flow, L4, Protocol};
use ctnl::table::{self, Outcome, Target};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;

use ctnl_test_support::harness::{World, flow, has_automatic_events, tests};

tests![
    every_event_is_told_once_and_what_was_there_before_is_told_first,
    what_a_tiny_queue_lost_is_counted_and_made_good,
    a_sysctl_that_is_off_is_reported_with_its_line_for_sysctl_d_and_not_changed,
    a_reader_that_does_not_read_loses_nothing_uncounted_and_ends_with_the_table,
    what_comes_and_goes_without_an_event_is_found_by_reconciliation,
    a_stream_that_is_ended_in_a_burst_has_whole_lines_and_right_totals,
    an_entry_that_cannot_be_judged_is_counted_and_not_told,
    a_connection_is_one_record_with_its_start_and_its_end,
    an_entry_that_expired_lived_until_then_and_not_until_it_was_collected,
    only_what_was_asked_for_is_told_and_its_end_whatever_it_is_by_then,
    a_loss_may_be_the_end_or_nothing_but_a_gap,
    the_end_of_the_reader_is_the_end_of_the_stream,
];

/// How long a condition may take to become true.
const PATIENCE: Duration = Duration::from_secs(30);

/// A running `ctnl events`.
struct Follower {
    child: Child,
    reader: Option<JoinHandle<()>>,
    lines: Arc<Mutex<Vec<String>>>,
    stderr: tempfile::NamedTempFile,
}

/// One that has ended.
struct Ended {
    status: ExitStatus,
    records: Vec<Value>,
    stderr: String,
}

impl Follower {
    /// Starts it, and reads what it writes.
    fn start(world: &World, arguments: &[&str]) -> Self {
        let mut follower = Follower::unread(world, arguments);
        follower.read();
        // What is there is told, so it has subscribed.
        follower.wait_for("the beginning", |records| count(records, "open") == 1);
        if !arguments.contains(&"--no-seed") {
            follower.wait_for("the seed", |records| count(records, "resync") == 1);
        }
        follower
    }

    fn unread(world: &World, arguments: &[&str]) -> Self {
        let stderr = tempfile::NamedTempFile::new().expect("a file");
        let mut command = world.ctnl_command(&[&["events"], arguments].concat());
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
    fn wait_for(&self, what: &str, is_true: impl Fn(&[Value]) -> bool) {
        let until = Instant::now() + PATIENCE;
        while !is_true(&self.records()) {
            let stderr = std::fs::read_to_string(self.stderr.path()).unwrap();
            assert!(Instant::now() < until, "no {what} within {PATIENCE:?}\n{:#?}\n{stderr}", self.records());
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

    /// Ends it as a service manager does; all that was sent is told and adds up.
    #[track_caller]
    fn stop(self) -> Ended {
        self.signal(Signal::SIGTERM);
        let ended = self.wait();
        assert_eq!(ended.status.code(), Some(0), "{:?}\n{}", ended.status, ended.stderr);
        ended.check();
        ended
    }
}

impl Drop for Follower {
    fn drop(&mut self) {
        // A test that failed leaves nothing behind. It may be stopped.
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
    /// The lines are numbered without a hole, and the closing record has the sums.
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

fn is(record: &Value, event: &str) -> bool {
    record["event"] == event
}

fn count(records: &[Value], event: &str) -> usize {
    records.iter().filter(|record| is(record, event)).count()
}

/// Events of the kernel, not those that were made up.
fn real(records: &[Value], event: &str) -> usize {
    records.iter().filter(|record| is(record, event) && record.get("synthetic").is_none()).count()
}

fn synthetic(records: &[Value], event: &str, why: &str) -> usize {
    records.iter().filter(|record| is(record, event) && record["synthetic"] == why).count()
}

fn lost(records: &[Value]) -> u64 {
    let gaps = records.iter().filter(|record| is(record, "gap") && record["cause"] == "kernel");
    gaps.map(|gap| gap["lost"].as_u64().expect("a number")).sum()
}

/// What names an entry in JSON.
fn name(flow: &Value) -> String {
    let mut orig = flow["orig"].clone();
    for counter in ["packets", "bytes"] {
        orig.as_object_mut().expect("an object").remove(counter);
    }
    let zones: Vec<_> = ["zone", "zone_orig", "zone_reply"].map(|zone| flow[zone].to_string()).into();
    format!("{} {orig} {zones:?} {} {}", flow["proto"], flow["reply"]["zone"], flow["orig"]["zone"])
}

/// What a reader knows who does nothing but apply the records. Each entry comes once
/// before it goes; only the end of what was never told may be told without it.
#[track_caller]
fn known(records: &[Value]) -> BTreeSet<String> {
    let mut known = BTreeSet::new();
    for record in records {
        match record["event"].as_str().expect("a word") {
            "new" => assert!(known.insert(name(&record["flow"])), "came twice: {record}"),
            "destroy" => {
                let was_known = known.remove(&name(&record["flow"]));
                assert!(was_known || record.get("synthetic").is_none(), "a ghost: {record}");
            }
            _ => {}
        }
    }
    known
}

/// The table, by another command.
fn in_table(world: &World) -> BTreeSet<String> {
    let list = world.ctnl(&["list", "-o", "json"]).exits_with(0).stdout();
    list.lines().map(|line| name(&parse(line))).collect()
}

fn udp_flows(from: u16, count: u16) -> Vec<Flow> {
    (from..from + count).map(|port| flow(Protocol::Udp, L4::Ports { src: port, dst: 53 })).collect()
}

/// Deletes those of the entries that are there; how many were.
fn delete(world: &World, is_meant: impl Fn(&Flow) -> bool) -> u64 {
    let targets: Vec<Target> =
        world.dump().iter().filter(|flow| is_meant(flow)).map(|flow| Target::of(flow).expect("a target")).collect();
    let mut outcome = Outcome::default();
    table::delete(&mut world.connection(), &targets, &mut outcome).expect("delete");
    assert_eq!(outcome.done, targets.len() as u64);
    outcome.done
}

/// Ns since 1970.
fn wall_clock() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).expect("a time after 1970");
    since.as_nanos().try_into().expect("a time before 2554")
}

fn port(flow: &Flow) -> u16 {
    flow.orig.sport().unwrap_or(0)
}

fn every_event_is_told_once_and_what_was_there_before_is_told_first(world: &World) {
    world.set_sysctl("netfilter/nf_conntrack_events", 1);
    let before = world.fill(91, 300);
    let follower = Follower::start(world, &[]);
    assert_eq!(synthetic(&follower.records(), "new", "seed"), before.len());
    // Few at a time: the queue of an ordinary user holds 166 events.
    for batch in 0..10 {
        world.create(&udp_flows(1000 + 50 * batch, 50));
        let told = usize::from(50 * (batch + 1));
        follower.wait_for("new records", |records| real(records, "new") == told);
    }
    for batch in 0..10u16 {
        let gone = delete(world, |flow| (1000 + 50 * batch..1040 + 50 * batch).contains(&port(flow)));
        assert_eq!(gone, 40);
        follower.wait_for("destroy records", |records| real(records, "destroy") == usize::from(40 * (batch + 1)));
    }
    let table = in_table(world);
    let ended = follower.stop();
    assert_eq!((lost(&ended.records), ended.received()), (0, 900));
    assert_eq!(known(&ended.records), table);
    assert_eq!(table.len(), 400);
    let killed = if has_automatic_events() { Value::from(true) } else { Value::Null };
    for record in ended.records.iter().filter(|record| is(record, "destroy")) {
        assert_eq!((&record["killed"], &record["since"]), (&killed, &"exactly".into()), "{record}");
        assert!(record["requester"]["port"].as_u64() > Some(0), "{record}");
    }
}

fn what_a_tiny_queue_lost_is_counted_and_made_good(world: &World) {
    world.set_sysctl("netfilter/nf_conntrack_events", 1);
    let follower = Follower::start(world, &["--buffer", "32KiB", "--buffer-max", "32KiB"]);
    let mut sent = 0;
    for round in 0..3u16 {
        follower.signal(Signal::SIGSTOP);
        let flows = udp_flows(1000 * (round + 1), 600);
        world.create(&flows);
        sent += 600;
        // Half of those that were told of before, too.
        sent += delete(world, |flow| port(flow) % 2 == (round + 1) % 2);
        sent += 300;
        world.create(&udp_flows(20_000 + 1000 * round, 300));
        follower.signal(Signal::SIGCONT);
        let resyncs = usize::from(round) + 1;
        follower.wait_for("resync", |records| {
            records.iter().filter(|record| is(record, "resync") && record["reason"] == "resync").count() == resyncs
        });
        let table = in_table(world);
        assert_eq!(known(&follower.records()), table, "round {round}");
    }
    let ended = follower.stop();
    assert!(lost(&ended.records) > 0);
    assert_eq!(ended.received() + lost(&ended.records), sent);
    assert_eq!((real(&ended.records, "new") + real(&ended.records, "destroy")) as u64, ended.received());
    assert!(ended.stderr.contains("events lost in the kernel"), "{}", ended.stderr);
}

fn a_sysctl_that_is_off_is_reported_with_its_line_for_sysctl_d_and_not_changed(world: &World) {
    let names = ["events", "acct", "timestamp"].map(|name| format!("netfilter/nf_conntrack_{name}"));
    for (name, value) in names.iter().zip([1, 0, 1]) {
        world.set_sysctl(name, value);
    }
    let ended = Follower::start(world, &[]).stop();
    let off = "net.netfilter.nf_conntrack_acct is 0: new entries have no packet and byte counters\n";
    let hint = "  hint: a line for /etc/sysctl.d: net.netfilter.nf_conntrack_acct = 1\n";
    assert!(ended.stderr.contains(&[off, hint].concat()), "{}", ended.stderr);
    assert_eq!(ended.stderr.matches("/etc/sysctl.d").count(), 1, "{}", ended.stderr);
    assert_eq!(names.map(|name| world.sysctl(&name)), ["1", "0", "1"]);
}

fn a_reader_that_does_not_read_loses_nothing_uncounted_and_ends_with_the_table(world: &World) {
    world.set_sysctl("netfilter/nf_conntrack_events", 1);
    let small = ["--buffer", "32KiB", "--buffer-max", "64KiB", "--queue-max", "64KiB", "--no-seed"];
    let mut follower = Follower::unread(world, &small);
    // It has subscribed when the kernel sends it what happens.
    let until = Instant::now() + PATIENCE;
    while !std::fs::read_to_string(follower.stderr.path()).unwrap().contains("receive buffer") {
        assert!(Instant::now() < until, "no subscription");
        thread::sleep(Duration::from_millis(10));
    }
    let mut sent = 0;
    for batch in 0..20u16 {
        world.create(&udp_flows(1000 + 250 * batch, 250));
        sent += 250;
        // Time to fill its own queue, too.
        thread::sleep(Duration::from_millis(20));
    }
    sent += delete(world, |flow| port(flow).is_multiple_of(3));
    follower.read();
    follower.wait_for("resync", |records| count(records, "resync") > 0);
    let table = in_table(world);
    let ended = follower.stop();
    assert!(lost(&ended.records) > 0);
    assert_eq!(ended.received() + lost(&ended.records), sent);
    assert_eq!(known(&ended.records), table);
}

fn what_comes_and_goes_without_an_event_is_found_by_reconciliation(world: &World) {
    // Entries that are made now are mute for life.
    world.set_sysctl("netfilter/nf_conntrack_events", 0);
    world.create(&udp_flows(1000, 100));
    let follower = Follower::start(world, &["--reconcile", "1s"]);
    assert_eq!(delete(world, |flow| port(flow) < 1040), 40);
    world.create(&udp_flows(2000, 7));
    follower.wait_for("reconciliation", |records| {
        synthetic(records, "destroy", "reconcile") == 40 && synthetic(records, "new", "reconcile") == 7
    });
    let table = in_table(world);
    let ended = follower.stop();
    assert_eq!((ended.received(), known(&ended.records)), (0, table));
    let gone = ended.records.iter().find(|record| is(record, "destroy")).expect("one that is gone");
    assert_eq!((&gone["since"], gone.get("duration_ns")), (&"before".into(), None), "{gone}");
}

fn a_stream_that_is_ended_in_a_burst_has_whole_lines_and_right_totals(world: &World) {
    world.set_sysctl("netfilter/nf_conntrack_events", 1);
    let follower = Follower::start(world, &["--buffer", "64KiB", "--on-gap", "continue"]);
    let pid = Pid::from_raw(follower.child.id().try_into().unwrap());
    let lines = Arc::clone(&follower.lines);
    let killer = thread::spawn(move || {
        let until = Instant::now() + PATIENCE;
        while lines.lock().unwrap().len() < 500 && Instant::now() < until {
            thread::sleep(Duration::from_millis(1));
        }
        kill(pid, Signal::SIGTERM).expect("kill");
    });
    for batch in 0..30u16 {
        world.create(&udp_flows(1000 + 1000 * batch, 1000));
    }
    killer.join().unwrap();
    let ended = follower.wait();
    assert_eq!(ended.status.code(), Some(0), "{}", ended.stderr);
    ended.check();
    assert_eq!(real(&ended.records, "new") as u64, ended.received());
    assert!(ended.received() + lost(&ended.records) <= 30_000);
    assert_eq!(ended.records.last().unwrap()["reason"], "SIGTERM");
}

fn an_entry_that_cannot_be_judged_is_counted_and_not_told(world: &World) {
    world.set_sysctl("netfilter/nf_conntrack_events", 1);
    world.create(&udp_flows(1000, 5));
    // Without timestamps no age is known, and with `not` neither.
    let follower = Follower::start(world, &["dport 53 and not age > 1s or sport 2001"]);
    world.create(&udp_flows(2000, 10));
    follower.wait_for("the one that is certain", |records| real(records, "new") == 1);
    let ended = follower.stop();
    assert_eq!(count(&ended.records, "new"), 1);
    assert!(ended.stderr.contains("undecided: 14"), "{}", ended.stderr);
}

fn a_connection_is_one_record_with_its_start_and_its_end(world: &World) {
    world.set_sysctl("netfilter/nf_conntrack_events", 1);
    world.create(&udp_flows(1000, 1));
    world.set_sysctl("netfilter/nf_conntrack_acct", 1);
    let follower = Follower::start(world, &["--flows"]);
    world.create(&udp_flows(2000, 1));
    world.set_sysctl("netfilter/nf_conntrack_timestamp", 1);
    world.create(&udp_flows(3000, 1));
    delete(world, |_| true);
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
    assert!(seeded["duration_at_least_ns"].as_u64().is_some(), "{seeded}");
    assert_eq!(
        (&seen["since"], &seen["clock"], &seen["packets_orig"]),
        (&"exactly".into(), &"received".into(), &0.into())
    );
    assert!(seen["duration_ns"].as_u64().is_some(), "{seen}");
    assert_eq!((&stamped["since"], &stamped["clock"]), (&"exactly".into(), &"kernel".into()), "{stamped}");
    assert!(stamped["duration_ns"].as_u64().is_some(), "{stamped}");
}

fn an_entry_that_expired_lived_until_then_and_not_until_it_was_collected(world: &World) {
    for name in ["events", "timestamp"] {
        world.set_sysctl(&format!("netfilter/nf_conntrack_{name}"), 1);
    }
    let follower = Follower::start(world, &["--destroy", "--flows"]);
    let mut flows = udp_flows(1000, 1);
    flows.iter_mut().for_each(|flow| flow.timeout = Some(1));
    world.create(&flows);
    thread::sleep(Duration::from_secs(4));
    // Who finds an entry that has expired collects it: a dump does.
    assert!(world.dump().is_empty());
    follower.wait_for("its end", |records| real(records, "destroy") + count(records, "end") == 2);
    for record in follower.stop().records.iter().filter(|record| is(record, "destroy") || is(record, "end")) {
        let lived = record["duration_ns"].as_u64().expect("a duration");
        assert!((900_000_000..2_500_000_000).contains(&lived), "{record}");
    }
}

fn only_what_was_asked_for_is_told_and_its_end_whatever_it_is_by_then(world: &World) {
    world.set_sysctl("netfilter/nf_conntrack_events", 1);
    let follower = Follower::start(world, &["--new", "--destroy", "--update", "timeout > 500s"]);
    world.create(&udp_flows(1000, 3));
    follower.wait_for("three new", |records| real(records, "new") == 3);
    // Ten seconds are left: it does not match any more, but was told of.
    world.ctnl(&["flush", "sport 1000", "--soft=10", "--yes"]).exits_with(0);
    delete(world, |_| true);
    follower.wait_for("three destroyed", |records| real(records, "destroy") == 3);
    let ended = follower.stop();
    assert_eq!((count(&ended.records, "update"), known(&ended.records).len()), (0, 0));
    let follower = Follower::start(world, &["--destroy", "--no-seed", "dport 53"]);
    world.create(&udp_flows(1000, 3));
    delete(world, |_| true);
    follower.wait_for("three destroyed", |records| real(records, "destroy") == 3);
    assert_eq!(count(&follower.stop().records, "new"), 0);
}

fn a_loss_may_be_the_end_or_nothing_but_a_gap(world: &World) {
    world.set_sysctl("netfilter/nf_conntrack_events", 1);
    for (on_gap, code, reason) in [("exit", 3, "gap"), ("continue", 0, "SIGTERM")] {
        let tiny = ["--no-seed", "--buffer", "32KiB", "--buffer-max", "32KiB", "--on-gap", on_gap];
        let follower = Follower::start(world, &tiny);
        follower.signal(Signal::SIGSTOP);
        world.create(&udp_flows(1000, 800));
        let sent = wall_clock();
        thread::sleep(Duration::from_millis(300));
        follower.signal(Signal::SIGCONT);
        follower.wait_for("the gap", |records| count(records, "gap") == 1);
        for gap in follower.records().iter().filter(|record| is(record, "gap")) {
            let [from, to] = ["from_ns", "to_ns"].map(|name| gap[name].as_u64().expect("a time"));
            assert!((from..to).contains(&sent), "they were lost until {sent}: {gap}");
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
        delete(world, |_| true);
    }
}

fn the_end_of_the_reader_is_the_end_of_the_stream(world: &World) {
    world.set_sysctl("netfilter/nf_conntrack_events", 1);
    let mut follower = Follower::unread(world, &["--no-seed"]);
    drop(follower.child.stdout.take());
    let until = Instant::now() + PATIENCE;
    let status = loop {
        if let Some(status) = follower.child.try_wait().expect("its end") {
            break status;
        }
        assert!(Instant::now() < until, "it goes on");
        thread::sleep(Duration::from_millis(10));
    };
    assert_eq!((status.code(), status.signal()), (Some(0), None));
}
