//! `ctnl doctor --kernel`: the facts, and that the probes reach no other table.

use std::collections::HashSet;
use std::fs;
use std::process::Command;

use ctnl::model::{Flow, Status};
use serde_json::Value;

use ctnl_test_support::harness::{Run, TestNetns, assert_same_entries, by_key, program, tests, udp};
use ctnl_test_support::similar_entries::similar_entries;

tests![
    entries_of_the_callers_namespace_survive_the_probes_of_the_kernel,
    the_callers_entries_survive_where_no_user_namespace_is_permitted,
    the_probes_change_no_setting_of_the_callers_namespace,
    each_fact_has_a_value_that_the_documentation_has,
    settings_are_reported_as_a_new_namespace_has_them,
    without_the_right_to_make_a_namespace_the_error_says_how_to_permit_it,
];

/// Entries that the requests of the probes would hit if they were sent here: with their mark, zone,
/// status, ports and addresses.
fn bystanders() -> Vec<Flow> {
    let mut flows = similar_entries();
    flows.extend([
        Flow { mark: Some(7), ..udp(3001, 53) },
        Flow { zone_both: Some(5), ..udp(3002, 53) },
        Flow { status: Status::Confirmed | Status::SeenReply | Status::Assured, ..udp(3003, 54) },
        Flow { status: Status::Confirmed | Status::FixedTimeout, ..udp(3004, 53) },
    ]);
    flows
}

fn facts(run: &Run) -> Vec<Value> {
    let report: Value = serde_json::from_str(&run.stdout()).expect("JSON");
    assert_eq!(report["v"], 1);
    report["facts"].as_array().expect("facts").clone()
}

fn value(facts: &[Value], name: &str) -> Value {
    facts.iter().find(|fact| fact["name"] == name).unwrap_or_else(|| panic!("no fact {name}"))["value"].clone()
}

/// The table of the caller before and after `command`.
fn assert_unchanged(netns: &TestNetns, command: impl FnOnce() -> Run) -> Run {
    netns.create(&bystanders());
    let before = netns.dump();
    let run = command();
    let after = netns.dump();
    assert_same_entries(&after, &before);
    let (before, after) = (by_key(&before), by_key(&after));
    for (key, flow) in before {
        let now = after[&key];
        assert_eq!((flow.id, flow.status, flow.mark, &flow.labels), (now.id, now.status, now.mark, &now.labels));
        assert!(flow.timeout.unwrap() - now.timeout.unwrap() < 120, "{flow:?} {now:?}");
    }
    run
}

fn entries_of_the_callers_namespace_survive_the_probes_of_the_kernel(netns: &TestNetns) {
    let run = assert_unchanged(netns, || netns.ctnl(&["doctor", "--kernel", "--json"])).exits_with(0);
    // They were sent: a delete by id alone empties the table on every kernel.
    assert_eq!(value(&facts(&run), "flush_by_id"), "deletes_everything");
    let report: Value = serde_json::from_str(&run.stdout()).unwrap();
    let own = fs::read_link("/proc/thread-self/ns/net").unwrap();
    assert_ne!(own.to_str().unwrap(), format!("net:[{}]", report["netns"]));
}

/// There only the new network namespace protects the caller's: the process keeps its capabilities over both.
fn the_callers_entries_survive_where_no_user_namespace_is_permitted(_: &TestNetns) {
    let script = "\"$0\" add udp 10.0.0.1:1 192.0.2.1:53 --timeout 1h --mark 7 >&2
        echo 0 > /proc/sys/user/max_user_namespaces
        \"$0\" doctor --kernel --json
        echo \"$(\"$0\" count --mark 7) left\" >&2";
    let mut command = Command::new("unshare");
    command.args(["--user", "--map-root-user", "--net", "sh", "-e", "-c", script, program()]);
    let run = Run::of(command.env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin")).exits_with(0);
    assert_eq!(value(&facts(&run), "flush_by_id"), "deletes_everything");
    run.stderr_contains("1 left");
}

fn the_probes_change_no_setting_of_the_callers_namespace(netns: &TestNetns) {
    let settings = || {
        let folder = fs::read_dir("/proc/sys/net/netfilter").unwrap();
        let names = folder.map(|entry| entry.unwrap().file_name().into_string().unwrap());
        let names = names.filter(|name| name.starts_with("nf_conntrack_") && name != "nf_conntrack_count");
        let mut settings: Vec<_> = names.map(|name| (netns.sysctl(&format!("netfilter/{name}")), name)).collect();
        settings.sort();
        settings
    };
    let before = settings();
    netns.ctnl(&["doctor", "--kernel"]).exits_with(0);
    assert_eq!(settings(), before);
    assert_eq!(netns.dump(), []);
}

fn each_fact_has_a_value_that_the_documentation_has(netns: &TestNetns) {
    let documentation = include_str!("../../docs/doctor-kernel.md");
    let rows: Vec<&str> = documentation.lines().filter(|line| line.starts_with("| `")).collect();
    let run = netns.ctnl(&["doctor", "--kernel", "--json"]).exits_with(0);
    let facts = facts(&run);
    for fact in &facts {
        let name = fact["name"].as_str().unwrap();
        let row = rows.iter().find(|row| row.starts_with(&format!("| `{name}` |")));
        let row = row.unwrap_or_else(|| panic!("{name} is not in docs/doctor-kernel.md"));
        match &fact["value"] {
            Value::String(word) => assert!(row.contains(&format!("`{word}`")), "{name}: {word} is not in: {row}"),
            Value::Number(_) => assert!(row.contains("number"), "{row}"),
            Value::Array(_) => assert!(row.contains("list"), "{row}"),
            other => panic!("{name}: {other}"),
        }
        assert!(fact["meaning"].as_str().is_some_and(|meaning| !meaning.is_empty()), "{fact}");
    }
    let names: HashSet<_> = facts.iter().map(|fact| fact["name"].as_str().unwrap()).collect();
    assert_eq!((names.len(), rows.len()), (facts.len(), facts.len()));
    let text = netns.ctnl(&["doctor", "--kernel"]).exits_with(0).stdout();
    assert!(text.lines().all(|line| line.chars().count() <= 80), "{text}");
}

fn settings_are_reported_as_a_new_namespace_has_them(netns: &TestNetns) {
    // This namespace is a new one, too.
    let events = netns.sysctl("netfilter/nf_conntrack_events");
    let sctp = netns.sysctl("netfilter/nf_conntrack_sctp_timeout_established");
    netns.set_sysctl("netfilter/nf_conntrack_events", u8::from(events != "1"));
    netns.set_sysctl("netfilter/nf_conntrack_sctp_timeout_established", 77);
    let run = netns.ctnl(&["doctor", "--kernel", "--json"]).exits_with(0);
    let facts = facts(&run);
    assert_eq!(value(&facts, "events_default").to_string(), events);
    assert_eq!(value(&facts, "sctp_established_timeout").to_string(), sctp);
}

fn without_the_right_to_make_a_namespace_the_error_says_how_to_permit_it(netns: &TestNetns) {
    netns.create(&bystanders());
    let before = netns.dump();
    let script = "echo 0 > /proc/sys/user/max_user_namespaces
        echo 0 > /proc/sys/user/max_net_namespaces
        exec \"$0\" doctor --kernel";
    let mut command = Command::new("unshare");
    command.args(["--user", "--map-root-user", "sh", "-c", script, program()]);
    let run = Run::of(command.env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin"))
        .exits_with(1)
        .stderr_contains("cannot create private namespaces: ENOSPC")
        .stderr_contains("sysctl -w user.max_user_namespaces=10000");
    assert_eq!(run.stdout(), "");
    assert_same_entries(&netns.dump(), &before);
}
