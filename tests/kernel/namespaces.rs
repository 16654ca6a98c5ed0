//! `ctnl events` while network namespaces get names, swap them and lose them.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use ctnl::model::{Flow, L4, Protocol};
use ctnl::netlink::{Connection, Netns};
use ctnl::table::{self, Outcome};
use nix::sched::{CloneFlags, unshare};
use serde_json::Value;

use ctnl_test_support::harness::{Run, TestNetns, flow, tests};

use crate::netns::NetnsProcess;

tests![
    after_two_namespaces_have_swapped_their_names_the_set_agrees_with_a_dump_of_each,
    the_stream_of_a_namespace_ends_when_its_name_and_its_last_process_are_gone,
    a_count_of_all_namespaces_is_that_of_each_with_a_filter_and_by_field,
];

/// How long a condition may take to become true.
const TIMEOUT: Duration = Duration::from_secs(60);

/// Runs with the namespaces of the processes $A and $B as `/run/netns/a` and `b`, in a mount and a PID
/// namespace of its own: no other namespace is visible. Options are those of busybox, too.
const OUTSIDE: &str = r#"
mount -t tmpfs none /run && mkdir /run/netns && touch /run/netns/a /run/netns/b /run/netns/other &&
mount --bind /proc/$A/ns/net /run/netns/a && mount --bind /proc/$B/ns/net /run/netns/b &&
exec unshare -p -f --mount-proc sh -c "$INSIDE"
"#;

const FUNCTIONS: &str = r#"
fail() { echo "$1" >&2; cat "$OUT" >&2; exit 1; }
until_true() { n=0; while ! eval "$2"; do n=$((n+1)); [ $n -lt 1500 ] || fail "no $1"; sleep 0.02; done; }
"#;

const SWAP: &str = r#"
"$CTNL" events --all-netns --to "file:$OUT" & ctnl=$!
until_true seeds '[ "$(grep -c "\"event\":\"resync\"" "$OUT")" = 3 ]'
cd /run/netns
mount --move a other && mount --move b a && mount --move other b || fail "mount"
until_true entries 'grep -q "\"sport\":7002," "$OUT"'
kill -TERM $ctnl
wait $ctnl || fail "exit code $?"
for name in a b; do "$CTNL" list -q -o json --netns $name >"$OUT.$name" || fail list; done
"#;

/// `ip netns delete` unmounts like this.
const DELETE: &str = r#"
touch /run/netns/c && unshare --net=/run/netns/c true || fail unshare
nsenter --net=/run/netns/c sleep 600 & user=$!
"$CTNL" events --netns c --to "file:$OUT" & ctnl=$!
until_true seed 'grep -q "\"event\":\"resync\"" "$OUT"'
umount -l /run/netns/c || fail umount
sleep 6
kill -0 $ctnl || fail "it has ended while a process is in the namespace"
kill $user
wait $ctnl
[ $? = 1 ] || fail "exit code $?"
"#;

/// For each way to count: the objects of all namespaces, then those of each one.
const COUNT: &str = r#"
for what in "" "udp and dport 53" "--by proto,dport" "--by dport udp"; do
    "$CTNL" count -q --json --all-netns $what >>"$OUT.all" || fail "$what"
    for name in a b; do "$CTNL" count -q --json --netns $name $what >"$OUT.one" || fail "$what in $name"
        sed "s/^{/{\"netns\":\"$name\",/" "$OUT.one" >>"$OUT.each"; done
done
"$CTNL" count --all-netns --by dport --top 1 --sort dport:desc
"$CTNL" count --all-netns
"$CTNL" count -q --all-netns --fail-if-none sctp
[ $? = 1 ] || fail "nothing matches"
"#;

/// A namespace with a process.
pub struct Tenant(NetnsProcess);

impl Tenant {
    pub fn new() -> Self {
        let new = thread::spawn(|| {
            unshare(CloneFlags::CLONE_NEWNET).expect("a network namespace");
            Tenant(NetnsProcess::new())
        });
        new.join().expect("a namespace")
    }

    /// A connection to it.
    pub fn connection(&self) -> Connection {
        let netns = Netns::Path(format!("/proc/{}/ns/net", self.0.pid()).into());
        Connection::open(&netns).expect("a connection")
    }

    pub fn create(&self, flows: &[Flow]) {
        let (mut connection, mut outcome) = (self.connection(), Outcome::default());
        table::create(&mut connection, flows, &mut outcome).expect("create");
        assert_eq!(outcome.done, flows.len() as u64);
    }
}

fn udp_flows(from: u16, count: u16) -> Vec<Flow> {
    (from..from + count).map(|port| flow(Protocol::Udp, L4::Ports { src: port, dst: 53 })).collect()
}

/// Runs the script in the namespace of the calling thread.
fn run(tenants: [&Tenant; 2], out: &Path, script: &str) -> Run {
    Run::of(&mut command_of(tenants, out, script))
}

/// The script, to be run in the namespace of the calling thread. It finds the program as $CTNL.
pub fn command_of(tenants: [&Tenant; 2], out: &Path, script: &str) -> Command {
    let mut command = Command::new("unshare");
    command.args(["--mount", "sh", "-c", OUTSIDE]).env_clear().env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin");
    command.env("A", tenants[0].0.pid().to_string()).env("B", tenants[1].0.pid().to_string());
    command.env("INSIDE", [FUNCTIONS, script].concat()).env("OUT", out).env("CTNL", env!("CARGO_BIN_EXE_ctnl"));
    command
}

/// The namespace and the ports of an entry.
fn key(netns: &str, flow: &Value) -> String {
    format!("{netns} {} {}", flow["orig"]["sport"], flow["orig"]["dport"])
}

fn parse(text: &str) -> Vec<Value> {
    text.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect()
}

/// The entries that a reader has after it applied all records.
fn reader_entries(records: &[Value]) -> BTreeSet<String> {
    let mut entries = BTreeSet::new();
    for record in records {
        let key = || key(record["netns"].as_str().expect("a name"), &record["flow"]);
        match record["event"].as_str() {
            Some("new") => assert!(entries.insert(key()), "twice: {record}"),
            Some("destroy") => assert!(entries.remove(&key()), "unknown: {record}"),
            _ => {}
        }
    }
    entries
}

fn after_two_namespaces_have_swapped_their_names_the_set_agrees_with_a_dump_of_each(_: &TestNetns) {
    let folder = tempfile::tempdir().expect("a folder");
    let out = folder.path().join("log");
    let (a, b) = (Tenant::new(), Tenant::new());
    a.create(&[udp_flows(1000, 50), udp_flows(2000, 50)].concat());
    b.create(&[udp_flows(1000, 50), udp_flows(3000, 50)].concat());
    let run = thread::scope(|scope| {
        let waiting = scope.spawn(|| run([&a, &b], &out, SWAP));
        // Entries that are created after the namespaces were renamed.
        let until = Instant::now() + TIMEOUT;
        while fs::read_to_string(&out).unwrap_or_default().matches("\"synthetic\":\"netns\"").count() < 400 {
            assert!(Instant::now() < until && !waiting.is_finished(), "no records of the names");
            thread::sleep(Duration::from_millis(20));
        }
        a.create(&udp_flows(7001, 1));
        b.create(&udp_flows(7002, 1));
        waiting.join().expect("the run")
    });
    let run = run.exits_with(0);
    let records = parse(&fs::read_to_string(&out).expect("the records"));
    let dumped = ["a", "b"].iter().flat_map(|name| {
        let list = fs::read_to_string(out.with_file_name(format!("log.{name}"))).expect("a list");
        parse(&list).iter().map(|flow| key(name, flow)).collect::<Vec<_>>()
    });
    assert_eq!(reader_entries(&records), dumped.collect(), "{}", run.stderr());
    for (port, name) in [(7001, "b"), (7002, "a")] {
        let created = records.iter().find(|record| record["flow"]["orig"]["sport"] == port);
        assert_eq!(created.map(|record| &record["netns"]), Some(&Value::from(name)), "{port}");
    }
    run.stderr_contains("a is called b from now on").stderr_contains("b is called a from now on");
}

fn the_stream_of_a_namespace_ends_when_its_name_and_its_last_process_are_gone(_: &TestNetns) {
    let folder = tempfile::tempdir().expect("a folder");
    let out = folder.path().join("log");
    let (a, b) = (Tenant::new(), Tenant::new());
    let run = run([&a, &b], &out, DELETE).exits_with(0);
    let records = parse(&fs::read_to_string(&out).expect("the records"));
    assert_eq!(records.last().map(|record| &record["reason"]), Some(&Value::from("deleted")), "{records:#?}");
    run.stderr_contains("/run/netns/c has been deleted");
}

fn a_count_of_all_namespaces_is_that_of_each_with_a_filter_and_by_field(_: &TestNetns) {
    let folder = tempfile::tempdir().expect("a folder");
    let out = folder.path().join("log");
    let (a, b) = (Tenant::new(), Tenant::new());
    let https = |from: u16, count: u16| -> Vec<Flow> {
        (from..from + count).map(|port| flow(Protocol::Udp, L4::Ports { src: port, dst: 443 })).collect()
    };
    a.create(&[udp_flows(1000, 30), https(1000, 7)].concat());
    b.create(&udp_flows(1000, 20));
    let run = run([&a, &b], &out, COUNT).exits_with(0);
    let read = |end: &str| parse(&fs::read_to_string(format!("{}.{end}", out.display())).expect("lines"));
    // Shares are of all namespaces; the third one is that of the test.
    let plain = |mut line: Value| {
        let object = line.as_object_mut().expect("an object");
        ["netns_inode", "netns_cookie", "share"].iter().for_each(|key| drop(object.remove(*key)));
        line.to_string()
    };
    let all: BTreeSet<String> = read("all").into_iter().filter(|line| line["netns"] != "host").map(plain).collect();
    let each: BTreeSet<String> = read("each").into_iter().map(plain).collect();
    assert!(each.len() >= 8 && all == each, "{all:#?}\n{each:#?}");
    let shares: f64 =
        read("all").iter().filter(|line| line["proto"] == "udp").filter_map(|line| line["share"].as_f64()).sum();
    assert!((shares - 1.0).abs() < 1e-9, "{shares}");
    let stdout = run.stdout();
    let rows: Vec<Vec<&str>> = stdout.lines().map(|line| line.split_whitespace().collect()).collect();
    assert_eq!(rows[0], ["ENTRIES", "SHARE", "EVICTABLE", "NETNS", "DPORT"], "{rows:?}");
    assert_eq!(rows[1], ["7", "12.3", "%", "7", "a", "443"], "{rows:?}");
    assert!(rows[2] == ["ENTRIES", "MAX", "NETNS"] && rows[3][0] == "37" && rows[3][2] == "a", "{rows:?}");
    run.stderr_contains("57 matched, 57 entries seen, 3 groups, 57 evictable in 3 network namespaces")
        .stderr_contains("57 entries in 3 network namespaces");
}
