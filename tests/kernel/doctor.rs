//! `ctnl doctor` on the running kernel: what it reads of it, and the checks on that.

use std::time::{Duration, Instant};

use ctnl::model::{Flow, L4, ProtoInfo, Protocol, Status, TcpInfo, TcpState};
use ctnl::netlink::Netns;
use nix::sys::signal::Signal;
use serde_json::Value;

use ctnl_test_support::harness::{Run, TestNetns, flow, tests};
use ctnl_test_support::running::Running;

tests![
    a_table_with_room_has_nothing_worse_than_notes,
    what_a_flush_frees_is_what_its_dry_run_says,
    the_sources_and_destinations_with_most_entries_are_those_of_count,
    half_open_connections_of_many_sources_to_one_port_are_a_flood,
    a_signal_ends_the_window_and_what_was_read_is_reported,
    the_report_follows_its_schema_and_names_no_entry_of_another_namespace,
];

/// The checks on what is read of the running kernel. Others depend on the host of the test.
const CHECKS: [&str; 4] = ["fullness", "counters", "entries", "unreplied"];

/// Runs the program with the trust in entries made over netlink that a lab has.
fn trusting(netns: &TestNetns, arguments: &[&str]) -> Run {
    let mut command = netns.ctnl_command(arguments);
    command.env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin");
    if let Some(cookie) = Netns::current_cookie().unwrap() {
        command.env("CTNL_LAB_NETNS", cookie.to_string());
    }
    Run::of(&mut command)
}

fn doctor(netns: &TestNetns) -> Value {
    let run = trusting(netns, &["doctor", "--watch", "0", "--json"]);
    assert!(matches!(run.code(), Some(0 | 4 | 5)), "{}", run.stderr());
    serde_json::from_str(&run.stdout()).unwrap()
}

fn findings<'d>(report: &'d Value, check: &str) -> Vec<&'d Value> {
    report["findings"].as_array().unwrap().iter().filter(|finding| finding["check"] == check).collect()
}

fn tcp(state: TcpState, number: u16, seconds: u32) -> Flow {
    let status = match state {
        TcpState::Established => Status::SeenReply | Status::Assured,
        TcpState::SynRecv => Status::SeenReply,
        _ => Status::empty(),
    };
    let mut flow = flow(Protocol::Tcp, L4::Ports { src: 1024 + number, dst: 443 });
    let [high, low] = number.to_be_bytes();
    flow.orig.src = [10, 200, high, low].into();
    flow.reply = flow.orig.inverse();
    let protoinfo = ProtoInfo::Tcp(TcpInfo { state, ..TcpInfo::default() });
    Flow { status, timeout: Some(seconds), protoinfo, ..flow }
}

fn a_table_with_room_has_nothing_worse_than_notes(netns: &TestNetns) {
    netns.fill(7, 3_000);
    let report = doctor(netns);
    for check in CHECKS {
        for finding in findings(&report, check) {
            assert_eq!(finding["severity"], "note", "{finding}");
        }
    }
    let not_run: Vec<_> = report["not_run"].as_array().unwrap().iter().map(|check| &check["check"]).collect();
    assert!(CHECKS.iter().all(|check| !not_run.contains(&&Value::from(*check))), "{report}");
    assert_eq!(findings(&report, "entries")[0]["figures"]["entries"], 3_000);
}

/// Of idle times of minutes, hours and days. None is near a limit, so that the seconds between the commands do not matter.
fn what_a_flush_frees_is_what_its_dry_run_says(netns: &TestNetns) {
    let max: u32 = netns.sysctl("netfilter/nf_conntrack_tcp_timeout_established").parse().unwrap();
    let idle = [1_800, 7_200, 30_000, 50_000, 80_000, 100_000, 300_000];
    let flows: Vec<_> = (0..1_400_u16)
        .map(|number| tcp(TcpState::Established, number, max - idle[usize::from(number % 7)]))
        .chain((1_400..1_700).map(|number| tcp(TcpState::SynRecv, number, 600)))
        .collect();
    netns.create(&flows);
    netns.set_sysctl("netfilter/nf_conntrack_tcp_timeout_syn_recv", 200_000);
    let report = doctor(netns);
    let freed = &findings(&report, "entries")[0]["figures"]["freed"];
    let is_trusted = Netns::current_cookie().unwrap().is_some();
    for (older, expected) in [("1h", 1_200), ("12h", 800), ("1d", 400)] {
        let flush = ["flush", "--state", "established", "--older", older, "--dry-run", "--json"];
        let summary: Value = serde_json::from_str(&trusting(netns, &flush).exits_with(0).stdout()).unwrap();
        assert_eq!(freed[older], summary["matched"], "{older}: {report}");
        assert_eq!(freed[older], if is_trusted { expected } else { 0 }, "{older}");
    }
}

fn the_sources_and_destinations_with_most_entries_are_those_of_count(netns: &TestNetns) {
    netns.fill(7, 5_000);
    let report = doctor(netns);
    let figures = &findings(&report, "entries")[0]["figures"];
    let counted = |by: &str| -> Vec<Value> {
        let stdout = netns.ctnl(&["count", "--by", by, "--json"]).exits_with(0).stdout();
        stdout.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    };
    let sources = counted("src");
    let top = figures["sources"]["top"].as_array().unwrap();
    assert_eq!((top.len(), &figures["sources"]["error"]), (10, &0.into()));
    for (found, place) in top.iter().zip(0..) {
        // Sources with the same number of entries may be in another order.
        assert_eq!(found["entries"], sources[place]["entries"], "{found}");
        assert!(sources.iter().any(|row| row["src"] == found["key"] && row["entries"] == found["entries"]), "{found}");
    }
    let destinations: Vec<u64> =
        counted("dst,dport,proto").iter().map(|row| row["entries"].as_u64().unwrap()).take(10).collect();
    let top = figures["destinations"]["top"].as_array().unwrap();
    let top: Vec<u64> = top.iter().map(|row| row["entries"].as_u64().unwrap()).collect();
    assert_eq!(top, destinations);
    let evictable: u64 = counted("proto").iter().map(|row| row["evictable"].as_u64().unwrap()).sum();
    assert_eq!(figures["evictable"], evictable);
}

fn half_open_connections_of_many_sources_to_one_port_are_a_flood(netns: &TestNetns) {
    let half_open: Vec<_> = (0..2_000).map(|number| tcp(TcpState::SynRecv, number, 600)).collect();
    netns.create(&half_open);
    let report = doctor(netns);
    let finding = findings(&report, "unreplied")[0];
    assert_eq!(
        (&finding["severity"], &finding["figures"]["pattern"]),
        (&"warning".into(), &"many-sources-one-target".into())
    );
    // The command that it gives selects them.
    let fixes = finding["fixes"].as_array().unwrap();
    let command = fixes.iter().find_map(|fix| fix["command"].as_str()).unwrap();
    let expression = command.strip_prefix("ctnl flush '").and_then(|rest| rest.strip_suffix('\'')).unwrap();
    assert_eq!(netns.ctnl(&["count", "-q", expression]).exits_with(0).stdout().trim(), "2000");
    // Many established ones are none.
    let established: Vec<_> = (0..2_000).map(|number| tcp(TcpState::Established, number + 10_000, 600)).collect();
    netns.ctnl(&["flush", "--all", "--yes"]).exits_with(0);
    netns.create(&established);
    assert_eq!(findings(&doctor(netns), "unreplied"), Vec::<&Value>::new());
}

fn a_signal_ends_the_window_and_what_was_read_is_reported(netns: &TestNetns) {
    netns.fill(7, 500);
    let started = Instant::now();
    let running = Running::start(netns, &["doctor", "--watch", "1h", "--json"]);
    running.wait_until_it_handles(Signal::SIGINT);
    std::thread::sleep(Duration::from_millis(1_500));
    running.signal(Signal::SIGINT);
    let run = running.wait().exits_with(3).stderr_contains("interrupted");
    assert!(started.elapsed() < Duration::from_secs(60));
    let report: Value = serde_json::from_str(&run.stdout()).unwrap();
    assert_eq!(findings(&report, "entries")[0]["figures"]["entries"], 500, "{report}");
}

fn the_report_follows_its_schema_and_names_no_entry_of_another_namespace(netns: &TestNetns) {
    netns.fill(7, 300);
    let schema: Value = serde_json::from_str(include_str!("../../docs/doctor.schema.json")).unwrap();
    let validator = jsonschema::validator_for(&schema).unwrap();
    let report = doctor(netns);
    let errors: Vec<_> = validator.iter_errors(&report).map(|error| error.to_string()).collect();
    assert_eq!(errors, Vec::<String>::new(), "{report}");
    // With --netns only that one is read, and commands have it.
    let thread = std::fs::read_link("/proc/thread-self").unwrap();
    let path = format!("/proc/{}/ns/net", thread.display());
    let run = trusting(netns, &["doctor", "--watch", "0", "--json", "--netns", &path]);
    let report: Value = serde_json::from_str(&run.stdout()).unwrap();
    assert_eq!(findings(&report, "fullness"), Vec::<&Value>::new(), "{report}");
    assert_eq!(findings(&report, "entries")[0]["figures"]["entries"], 300);
}
