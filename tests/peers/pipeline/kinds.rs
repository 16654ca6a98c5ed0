//! Every kind of record, from events of the kernel and parsed by jq.

use std::collections::BTreeSet;
use std::process::Command;

use ctnl::model::{Flow, HelperName, L4, Protocol};
use nix::sys::signal::Signal;

use super::{Folder, Running, account, finished, lines, parse, udp_flows, until};
use crate::events::{RULES, jq, make_events};
use ctnl_test_support::harness::{Run, TestNetns, flow, tests};
use ctnl_test_support::net::{Net, PATH, conntrack, nft};

tests![
    jq_parses_a_whole_stream_with_every_kind_of_record,
    every_line_says_which_run_wrote_it_on_which_host_and_with_which_fields,
    an_expectation_is_reported_when_it_is_created_and_destroyed,
    every_namespace_of_the_host_is_reported_by_its_name,
    a_namespace_that_cannot_be_followed_is_reported_once,
    without_the_capability_to_enter_namespaces_it_fails_and_names_it,
];

/// The number of lines that contain `text`.
fn count(folder: &Folder, text: &str) -> usize {
    lines(&folder.path("log")).iter().filter(|line| line.contains(text)).count()
}

fn jq_parses_a_whole_stream_with_every_kind_of_record(netns: &TestNetns) {
    netns.require_ftp_helper();
    let net = Net::new(netns);
    nft(RULES);
    netns.set_sysctl("netfilter/nf_conntrack_acct", 1);
    let folder = Folder::new();
    let file = folder.spec("file", "log");
    let kinds = ["--new", "--update", "--destroy", "--expect", "--flows"];
    let small = ["--to", &file, "--buffer", "32KiB", "--buffer-max", "32KiB"];
    let running = Running::start(netns, &[&kinds[..], &small].concat());
    until("seed", || count(&folder, "\"event\":\"resync\"") == 1);
    make_events(netns, &net);
    until("last event", || count(&folder, "\"mark\":424242") > 0);
    running.signal(Signal::SIGSTOP);
    netns.create(&udp_flows(1000, 1000));
    running.signal(Signal::SIGCONT);
    until("resync", || count(&folder, "\"event\":\"gap\"") > 0 && count(&folder, "\"reason\":\"resync\"") > 0);
    running.stop();
    let written = finished(&folder.path("log"));
    let text = written.join("\n") + "\n";
    let read = jq(".event", &text);
    assert_eq!(read.lines().count(), written.len());
    let found: BTreeSet<&str> = read.lines().collect();
    let entries = ["open", "new", "update", "destroy", "end", "gap", "resync", "close"];
    let expectations = ["expect-new", "expect-destroy"];
    assert_eq!(found, entries.into_iter().chain(expectations).collect());
    // jq and serde_json agree on each line.
    let again = jq(".", &text);
    assert!(again.lines().zip(&written).all(|(theirs, ours)| parse(theirs)["seq"] == parse(ours)["seq"]));
    let (_, lost) = account(&written);
    assert!(lost > 0);
}

fn every_line_says_which_run_wrote_it_on_which_host_and_with_which_fields(netns: &TestNetns) {
    netns.set_sysctl("netfilter/nf_conntrack_events", 1);
    let (folder, mut ids) = (Folder::new(), BTreeSet::new());
    let host = std::fs::read_to_string("/proc/sys/kernel/hostname").expect("a name");
    let (spec, fields) = (folder.spec("file", "log"), ["--field", "site=ams1", "--field", "owner=a \"b\""]);
    for run in 1..=2 {
        let running = Running::start(netns, &[&["--to", &spec], &fields[..]].concat());
        netns.create(&udp_flows(1000 * run, 10));
        until("events", || count(&folder, "\"event\":\"new\"") >= 10 * usize::from(run));
        running.stop();
        let written = finished(&folder.path("log"));
        let streams: BTreeSet<String> = written.iter().map(|line| parse(line)["stream"].to_string()).collect();
        assert_eq!(streams.len(), usize::from(run), "{streams:?}");
        for record in written.iter().map(|line| parse(line)) {
            let (stream, seq) = (record["stream"].as_str().expect("a name"), super::number(&record, "seq"));
            assert_eq!(record["line_id"], format!("{stream}-{seq}"), "{record}");
            assert_eq!(record["host"], host.trim(), "{record}");
            assert_eq!(record["fields"], serde_json::json!({"site": "ams1", "owner": "a \"b\""}), "{record}");
            ids.insert(record["line_id"].to_string());
        }
        assert_eq!(ids.len(), written.len());
    }
}

fn an_expectation_is_reported_when_it_is_created_and_destroyed(netns: &TestNetns) {
    netns.require_ftp_helper();
    netns.set_sysctl("netfilter/nf_conntrack_events", 1);
    let folder = Folder::new();
    let running = Running::start(netns, &["--expect", "--to", &folder.spec("file", "log")]);
    let control = flow(Protocol::Tcp, L4::Ports { src: 40_000, dst: 21 });
    netns.create(&[Flow { helper: Some(HelperName::new(b"ftp")), ..control }]);
    let master = ["--orig-src", "10.0.0.1", "--orig-dst", "192.0.2.1", "-p", "tcp"];
    let master_ports = ["--orig-port-src", "40000", "--orig-port-dst", "21"];
    let tuple = ["--tuple-src", "10.0.0.1", "--tuple-dst", "192.0.2.1", "--tuple-port-src", "0"];
    let mask = ["--tuple-port-dst", "4000", "--mask-src", "255.255.255.255", "--mask-dst", "255.255.255.255"];
    let mask_ports = ["--mask-port-src", "0", "--mask-port-dst", "65535", "-t", "30"];
    conntrack(&[&["-I", "expect"][..], &master, &master_ports, &tuple, &mask, &mask_ports].concat());
    until("expectation", || count(&folder, "\"event\":\"expect-new\"") == 1);
    conntrack(&["-F", "expect"]);
    until("its end", || count(&folder, "\"event\":\"expect-destroy\"") == 1);
    running.stop();
    let written = finished(&folder.path("log"));
    let new = written.iter().map(|line| parse(line)).find(|record| record["event"] == "expect-new").expect("a record");
    assert!(new.to_string().contains("4000") && new.to_string().contains("40000"), "{new}");
    assert_eq!(written.iter().filter(|line| line.contains("\"event\":\"new\"")).count(), 0, "--expect alone");
}

/// The functions of the scripts.
const BEGIN: &str = r#"
fail() { echo "$1" >&2; cat "$OUT" >&2; exit 1; }
until_true() { n=0; while ! eval "$2"; do n=$((n+1)); [ $n -lt 1500 ] || fail "no $1"; sleep 0.02; done; }
tenant() { unshare -n sleep "$1" & pid=$!; until_true tenant '[ "$(cat /proc/$pid/comm)" = sleep ]'; }
"#;

/// Runs `script` in a PID namespace of its own: the processes of the host are not visible.
fn on_a_host(folder: &Folder, script: &str) -> Run {
    let mut command = Command::new("unshare");
    let script = [BEGIN, script].concat();
    command.args(["--pid", "--fork", "--mount-proc", "--kill-child", "sh", "-c", &script]);
    command.env_clear().env("PATH", PATH).env("OUT", folder.path("log")).env("CTNL", env!("CARGO_BIN_EXE_ctnl"));
    Run::of(&mut command)
}

/// One network namespace exists, a second one is created and destroyed.
const HOST: &str = r#"
add() { conntrack -I -p udp -s 10.0.0.1 -d 10.0.0.2 --sport "$1" --dport 53 -t 600 >&2; }
tenant 601; a=$pid
"$CTNL" events --all-netns --to "file:$OUT" & ctnl=$!
until_true seeds '[ "$(grep -c "\"event\":\"resync\"" "$OUT")" = 2 ]'
add 1001
nsenter -t $a -n conntrack -I -p udp -s 10.0.0.1 -d 10.0.0.2 --sport 1002 --dport 53 -t 600 >&2
tenant 602; b=$pid
until_true third '[ "$(grep -c "\"event\":\"resync\"" "$OUT")" = 3 ]'
nsenter -t $b -n conntrack -I -p udp -s 10.0.0.1 -d 10.0.0.2 --sport 1003 --dport 53 -t 600 >&2
until_true records '[ "$(grep -c "\"event\":\"new\"" "$OUT")" = 3 ]'
kill -9 $b
until_true end 'grep -q "\"synthetic\":\"netns\"" "$OUT"'
kill -TERM $ctnl
wait $ctnl || fail "exit code $?"
echo "$a $b"
"#;

fn every_namespace_of_the_host_is_reported_by_its_name(netns: &TestNetns) {
    netns.set_sysctl("netfilter/nf_conntrack_events", 1);
    let folder = Folder::new();
    let pids = on_a_host(&folder, HOST).exits_with(0).stdout();
    let (first, second) = pids.trim().split_once(' ').expect("two processes");
    let written = finished(&folder.path("log"));
    let records: Vec<_> = written.iter().map(|line| parse(line)).collect();
    let of_process = |pid: &str| format!("pid:{pid}(");
    let of = |port: u64, event: &str| {
        let found = records.iter().filter(|record| record["event"] == event && record["flow"]["orig"]["sport"] == port);
        let names: Vec<&str> = found.map(|record| record["netns"].as_str().expect("a name")).collect();
        assert_eq!(names.len(), 1, "{event} of {port}: {records:#?}");
        names[0]
    };
    let names = [1001, 1002, 1003].map(|port| of(port, "new"));
    assert!(names[1].contains(&of_process(first)) && names[2].contains(&of_process(second)), "{names:?} {pids}");
    assert!(!names[0].contains("pid:"), "{names:?} {pids}");
    assert_eq!(of(1003, "destroy"), names[2]);
    let unnamed = records.iter().filter(|record| record.get("netns").is_none());
    let unnamed: Vec<&str> = unnamed.map(|record| record["event"].as_str().expect("a kind")).collect();
    assert_eq!(unnamed, ["open", "close"]);
    account(&written);
}

/// Another file is mounted over the file of a namespace.
const HIDDEN: &str = r#"
touch "$OUT.netns"
unshare --net="$OUT.netns" true
mount --bind /proc/version "$OUT.netns"
timeout --preserve-status -s TERM 20 "$CTNL" events --all-netns --to "file:$OUT"
"#;

fn a_namespace_that_cannot_be_followed_is_reported_once(netns: &TestNetns) {
    netns.set_sysctl("netfilter/nf_conntrack_events", 1);
    let folder = Folder::new();
    let stderr = on_a_host(&folder, HIDDEN).exits_with(0).stderr();
    assert_eq!(stderr.lines().filter(|line| line.contains("log.netns: ")).count(), 1, "{stderr}");
    assert_eq!(count(&folder, "\"event\":\"resync\""), 1, "the others are followed");
}

fn without_the_capability_to_enter_namespaces_it_fails_and_names_it(_: &TestNetns) {
    let folder = Folder::new();
    let run = on_a_host(&folder, r#"exec setpriv --bounding-set=-all --inh-caps=-all "$CTNL" events --all-netns"#);
    let stderr = run.exits_with(1).stderr();
    assert!(stderr.contains("EPERM") && stderr.contains("CAP_SYS_ADMIN"), "{stderr}");
}
