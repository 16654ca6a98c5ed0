//! `ctnl expect` on the real kernel.

use std::process::Stdio;
use std::thread;
use std::time::Duration;

use ctnl::model::{Flow, HelperName, L4, ProtoInfo, Protocol, TcpInfo, TcpState};
use ctnl::table;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;

use ctnl_test_support::harness::{Run, TestNetns, flow, tests};
use ctnl_test_support::running::wait_for_listeners;

tests![
    an_expectation_is_created_found_and_deleted_and_a_similar_one_stays,
    a_created_expectation_that_takes_the_place_of_another_one_names_it,
    what_the_kernel_refuses_to_create_is_explained,
    a_packet_s_tuple_finds_an_expectation_and_deletes_none,
    a_flush_deletes_what_matches_in_every_zone_and_nothing_else,
    a_flush_without_a_filter_needs_the_word_all,
    a_list_and_a_count_agree_for_every_option,
    the_events_of_expectations_are_those_of_events_expect,
];

/// Control connections of FTP with these source ports, in no zone or in that one.
fn masters(netns: &TestNetns, ports: &[(u16, Option<u16>)]) {
    netns.require_ftp_helper();
    let protoinfo = ProtoInfo::Tcp(TcpInfo { state: TcpState::Established, ..TcpInfo::default() });
    let master = |(port, zone_both): &(u16, Option<u16>)| Flow {
        helper: Some(HelperName::new(b"ftp")),
        zone_both: *zone_both,
        protoinfo,
        timeout: Some(600),
        ..flow(Protocol::Tcp, L4::Ports { src: *port, dst: 21 })
    };
    netns.create(&ports.iter().map(master).collect::<Vec<_>>());
}

/// Runs `ctnl expect add` for any port of the client, and this one of the server.
fn add(netns: &TestNetns, dport: u16, master: u16, more: &[&str]) -> Run {
    let (tuple, master) = (format!("10.0.0.1:0 192.0.2.1:{dport}"), format!("tcp 10.0.0.1:{master} 192.0.2.1:21"));
    let (src, dst) = tuple.split_once(' ').unwrap();
    netns.ctnl(&[&["expect", "add", "tcp", src, dst, "--master", &master][..], more].concat())
}

fn ports(netns: &TestNetns) -> Vec<u16> {
    let mut ports = Vec::new();
    table::expectations(&mut netns.connection(), |expectation| ports.extend(expectation.tuple.dport())).unwrap();
    ports.sort_unstable();
    ports
}

fn an_expectation_is_created_found_and_deleted_and_a_similar_one_stays(netns: &TestNetns) {
    masters(netns, &[(40000, None), (40001, None), (40000, Some(5))]);
    let line = add(netns, 4000, 40000, &["--timeout", "77", "--flag", "permanent"]).exits_with(0).stdout();
    // Some of the 77 seconds may have passed on a slow machine.
    let (seconds, rest) = line.split_once(' ').unwrap();
    assert!((60..=77).contains(&seconds.parse::<u32>().unwrap()), "{line}");
    assert!(
        rest.starts_with("proto=6 src=10.0.0.1 dst=192.0.2.1 sport=0 dport=4000 mask-src=255.255.255.255"),
        "{line}"
    );
    assert!(
        line.contains("sport=0 dport=65535 master-src=10.0.0.1 master-dst=192.0.2.1 sport=40000 dport=21 PERMANENT")
    );
    add(netns, 4001, 40001, &[]).exits_with(0);
    let zoned = add(netns, 4000, 40000, &["--zone", "5", "--json"]).exits_with(0).stdout();
    let zoned: Value = serde_json::from_str(&zoned).unwrap();
    assert_eq!((&zoned["v"], &zoned["expectation"]["zone"]), (&1.into(), &5.into()), "{zoned}");
    // The line of a list does not show the zone.
    let run = netns.ctnl(&["expect", "delete", &line]).exits_with(2);
    run.stderr_contains("ambiguous: several expectations have this tuple");
    assert_eq!(ports(netns), [4000, 4000, 4001]);
    let preview = netns.ctnl(&["expect", "delete", &line, "--zone", "5", "--dry-run", "--json"]).exits_with(0).stdout();
    assert_eq!(serde_json::from_str::<Value>(&preview).unwrap()["expectation"]["id"], zoned["expectation"]["id"]);
    assert_eq!(ports(netns), [4000, 4000, 4001]);
    netns.ctnl(&["expect", "delete", &line, "--zone", "5"]).exits_with(0).stderr_contains("1 deleted");
    let left = netns.ctnl(&["expect", "list", "-q", "--zone", "0"]).exits_with(0).stdout();
    assert!(left.contains("PERMANENT") && left.lines().count() == 2, "{left}");
    let id = zoned["expectation"]["id"].to_string();
    netns.ctnl(&["expect", "delete", &line, "--id", &id]).exits_with(1).stderr_contains("no such expectation");
    netns.ctnl(&["expect", "delete", &line]).exits_with(0);
    assert_eq!(ports(netns), [4001]);
}

fn a_created_expectation_that_takes_the_place_of_another_one_names_it(netns: &TestNetns) {
    masters(netns, &[(40000, None)]);
    add(netns, 4000, 40000, &[]).exits_with(0);
    // The FTP helper allows one.
    let run = add(netns, 4001, 40000, &[]).exits_with(0).stderr_contains("not there any more: ");
    run.stderr_contains("dport=4000 ").stderr_contains("the kernel deletes the oldest");
    assert_eq!(ports(netns), [4001]);
}

fn what_the_kernel_refuses_to_create_is_explained(netns: &TestNetns) {
    masters(netns, &[(40000, None), (40001, None)]);
    netns.create(&[flow(Protocol::Tcp, L4::Ports { src: 50000, dst: 21 })]);
    add(netns, 4000, 40000, &[]).exits_with(0);
    add(netns, 4000, 40000, &[]).exits_with(1).stderr_contains("it exists");
    add(netns, 4001, 50000, &[]).exits_with(1).stderr_contains("the master has no helper");
    add(netns, 4001, 40009, &[]).exits_with(1).stderr_contains("no such master in this zone");
    add(netns, 4001, 40000, &["--zone", "5"]).exits_with(1).stderr_contains("no such master in this zone");
    add(netns, 4001, 40001, &["--helper", "ftp", "--class", "9"]).exits_with(1).stderr_contains("EINVAL");
    let wider = ["expect", "add", "tcp", "10.0.0.0:0", "192.0.2.1:4000", "--mask-src", "255.0.0.0"];
    let run = netns.ctnl(&[&wider[..], &["--master", "tcp 10.0.0.1:40001 192.0.2.1:21"]].concat());
    run.exits_with(1).stderr_contains("clashes");
    assert_eq!(ports(netns), [4000]);
    let printed = add(netns, 4001, 40001, &["--dry-run", "--timeout", "5"]).exits_with(0).stdout();
    assert!(printed.starts_with("5 proto=6 src=10.0.0.1 "), "{printed}");
    assert_eq!(ports(netns), [4000]);
}

fn a_packet_s_tuple_finds_an_expectation_and_deletes_none(netns: &TestNetns) {
    masters(netns, &[(40000, None), (40001, Some(5))]);
    let line = add(netns, 4000, 40000, &[]).exits_with(0).stdout();
    let zoned = add(netns, 4001, 40001, &["--zone", "5"]).exits_with(0).stdout();
    let without_timeout = |line: &str| line.split_once(' ').map(|(_, rest)| rest.to_owned());
    let packet = ["tcp", "10.0.0.1:41234", "192.0.2.1:4000"];
    let found = netns.ctnl(&[&["expect", "get"], &packet[..]].concat()).exits_with(0).stdout();
    assert_eq!(without_timeout(&found), without_timeout(&line));
    netns.ctnl(&[&["expect", "delete"], &packet[..]].concat()).exits_with(1).stderr_contains("the whole tuple");
    let packet = ["expect", "get", "tcp", "10.0.0.1:41234", "192.0.2.1:4001"];
    netns.ctnl(&packet).exits_with(1).stderr_contains("no such expectation");
    netns.ctnl(&[&packet[..], &["--zone", "5"]].concat()).exits_with(0);
    // The line of a list does not show the zone, and only one has the tuple.
    let found = netns.ctnl(&["expect", "get", &zoned]).exits_with(0).stdout();
    assert_eq!(without_timeout(&found), without_timeout(&zoned));
    assert_eq!(ports(netns), [4000, 4001]);
}

fn a_flush_deletes_what_matches_in_every_zone_and_nothing_else(netns: &TestNetns) {
    let (all, zones) = ([40000, 40001, 40002, 40003], [None, Some(5), None, Some(7)]);
    masters(netns, &all.into_iter().zip(zones).collect::<Vec<_>>());
    let names = zones.map(|zone| zone.unwrap_or(0).to_string());
    for (place, zone) in names.iter().enumerate() {
        add(netns, 4000 + place as u16, all[place], &["--zone", zone]).exits_with(0);
    }
    let preview = netns.ctnl(&["expect", "flush", "--dport", "4000-4002", "--dry-run"]).exits_with(0);
    preview.stderr_contains("4 expectations seen, 3 matched, 3 would be deleted");
    assert_eq!(ports(netns).len(), 4);
    let run = netns.ctnl(&["expect", "flush", "--dport", "4000-4002", "--zone", "0,5", "--json"]).exits_with(0);
    let summary: Value = serde_json::from_str(&run.stdout()).unwrap();
    let numbers = ["seen", "matched", "deleted"].map(|key| summary[key].as_u64().unwrap());
    assert_eq!(numbers, [4, 3, 3], "{summary}");
    assert_eq!(ports(netns), [4003]);
    netns.ctnl(&["expect", "flush", "--master-dport", "22"]).exits_with(0).stderr_contains("0 deleted");
    assert_eq!(ports(netns), [4003]);
    netns.ctnl(&["expect", "flush", "--all"]).exits_with(0).stderr_contains("1 deleted");
    assert_eq!((ports(netns).len(), netns.dump().len()), (0, 4));
}

fn a_flush_without_a_filter_needs_the_word_all(netns: &TestNetns) {
    masters(netns, &[(40000, None)]);
    add(netns, 4000, 40000, &[]).exits_with(0);
    netns.ctnl(&["expect", "flush"]).exits_with(2).stderr_contains("--all deletes every expectation");
    assert_eq!(ports(netns), [4000]);
}

fn a_list_and_a_count_agree_for_every_option(netns: &TestNetns) {
    masters(netns, &[(40000, None), (40001, Some(5))]);
    add(netns, 4000, 40000, &[]).exits_with(0);
    add(netns, 4001, 40001, &["--zone", "5"]).exits_with(0);
    for (option, value, expected) in [
        ("--src", "10.0.0.0/8", 2),
        ("--dst", "192.0.2.2", 0),
        ("--sport", "0", 2),
        ("--dport", "4001", 1),
        ("--proto", "udp", 0),
        ("--family", "ipv4", 2),
        ("--helper", "ftp", 2),
        ("--zone", "5", 1),
        ("--zone", "0", 1),
        ("--master-src", "10.0.0.1", 2),
        ("--master-dst", "10.0.0.1", 0),
        ("--master-sport", "40000", 1),
        ("--master-dport", "ftp", 2),
    ] {
        let run = netns.ctnl(&["expect", "count", "-q", option, value]).exits_with(0);
        assert_eq!(run.stdout().trim(), expected.to_string(), "{option} {value}");
        let run = netns.ctnl(&["expect", "list", "-q", option, value]).exits_with(0);
        assert_eq!(run.stdout().lines().count(), expected, "{option} {value}");
    }
    let run = netns.ctnl(&["expect", "count", "--json", "--dport", "4000"]).exits_with(0);
    assert_eq!(
        serde_json::from_str::<Value>(&run.stdout()).unwrap(),
        serde_json::json!({"v": 1, "entries": 1, "seen": 2})
    );
}

fn the_events_of_expectations_are_those_of_events_expect(netns: &TestNetns) {
    netns.set_sysctl("netfilter/nf_conntrack_events", 1);
    netns.ctnl(&["expect", "events", "tcp"]).exits_with(2).stderr_contains("does not apply to expectations");
    let commands =
        [&["expect", "events", "-q", "-o", "conntrack"][..], &["events", "--expect", "-q", "-o", "conntrack"]];
    let children: Vec<_> = commands
        .iter()
        .map(|command| netns.ctnl_command(command).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap())
        .collect();
    wait_for_listeners(2);
    masters(netns, &[(40000, None)]);
    add(netns, 4000, 40000, &[]).exits_with(0);
    netns.ctnl(&["expect", "flush", "--all"]).exits_with(0);
    thread::sleep(Duration::from_millis(500));
    let outputs: Vec<String> = children
        .into_iter()
        .map(|child| {
            kill(Pid::from_raw(child.id().try_into().unwrap()), Signal::SIGTERM).unwrap();
            String::from_utf8(child.wait_with_output().unwrap().stdout).unwrap()
        })
        .collect();
    assert_eq!(outputs[0], outputs[1]);
    let kinds: Vec<&str> = outputs[0].lines().filter_map(|line| line.split_whitespace().next()).collect();
    assert_eq!(kinds, ["[NEW]", "[DESTROY]"], "{}", outputs[0]);
    assert!(outputs[0].lines().all(|line| line.contains("dport=4000 ")), "{}", outputs[0]);
}
