//! `ctnl list` and `ctnl count`: formats, sorting, limits, closed pipes.

use std::io::{BufRead, BufReader};
use std::process::Stdio;
use std::time::Instant;

use ctnl::model::{Flow, L4, Protocol};

use ctnl_test_support::harness::{TestNetns, flow, tests, udp};

tests![
    a_closed_pipe_is_success_in_every_format,
    order_limit_and_columns_work_in_every_format_that_has_them,
    count_is_the_number_of_lines_of_a_list,
    groups_add_up_to_the_count_and_evictable_entries_to_those_not_assured,
    protocols_without_a_name_are_listed_and_matched_by_number,
    an_empty_table_is_an_empty_list_in_every_format,
];

const FORMATS: [&str; 5] = ["table", "conntrack", "json", "csv", "xml"];

fn a_closed_pipe_is_success_in_every_format(netns: &TestNetns) {
    netns.fill(71, 3_000);
    for format in FORMATS {
        let mut command = netns.ctnl_command(&["list", "-o", format]);
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("the program starts");
        let mut line = String::new();
        BufReader::with_capacity(512, child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let output = child.wait_with_output().unwrap();
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success() && !stderr.contains("ipe"), "{format}: {} {stderr}", output.status);
        assert!(!line.is_empty(), "{format}");
    }
}

fn order_limit_and_columns_work_in_every_format_that_has_them(netns: &TestNetns) {
    let start = Instant::now();
    let flows = netns.fill(72, 500);
    let mut expected: Vec<u32> = flows.iter().map(|flow| flow.timeout.unwrap()).collect();
    expected.sort_unstable_by_key(|timeout| std::cmp::Reverse(*timeout));
    expected.truncate(7);
    let list = ["list", "--sort", "timeout:desc", "--limit", "7", "-o"];
    let is_near = |found: &[u32]| {
        let elapsed = u32::try_from(start.elapsed().as_secs()).unwrap() + 1;
        let is_near = |(found, timeout): (&u32, &u32)| found <= timeout && timeout - found <= elapsed;
        found.len() == 7 && found.iter().zip(&expected).all(is_near)
    };
    for format in FORMATS {
        let run = netns.ctnl(&[&list[..], &[format]].concat()).exits_with(0);
        let shown = run.stderr_contains("7 shown of 500 matched").stdout();
        if format == "table" {
            // Human-readable: 4d23h.
            assert_eq!(shown.lines().count(), 8, "{shown}");
        } else {
            let found = timeouts(format, &shown);
            assert!(is_near(&found), "{format}: {found:?} instead of {expected:?}\n{shown}");
        }
        let columns = [&list[..], &[format, "--columns", "timeout,src,idle"]].concat();
        match format {
            "conntrack" | "xml" => netns.ctnl(&columns).exits_with(2).stderr_contains("has no columns"),
            _ => netns.ctnl(&columns).exits_with(0),
        };
    }
    let csv = netns.ctnl(&["list", "-o", "csv", "--sort", "timeout", "--columns", "timeout"]).exits_with(0).stdout();
    let found: Vec<u32> = csv.lines().skip(1).map(|line| line.parse().unwrap()).collect();
    assert!(found.len() == 500 && found.is_sorted(), "{csv}");
    assert_eq!(netns.ctnl(&["list", "--limit", "3"]).exits_with(0).stdout().lines().count(), 3);
}

/// The seconds left in each entry of a list.
fn timeouts(format: &str, shown: &str) -> Vec<u32> {
    let parse = |text: &str| text.trim().parse().unwrap_or_else(|_| panic!("no number: {text}\n{shown}"));
    match format {
        "json" => {
            let values = shown.lines().map(|line| serde_json::from_str::<serde_json::Value>(line).expect("JSON"));
            values.map(|value| parse(&value["timeout"].to_string())).collect()
        }
        "xml" => shown.split("<timeout>").skip(1).map(|rest| parse(rest.split('<').next().unwrap())).collect(),
        "conntrack" => shown.lines().map(|line| parse(line.split_whitespace().nth(2).unwrap())).collect(),
        _ => {
            let head = shown.lines().next().unwrap();
            // From the right: quoted values are in front of it.
            let place = head.rsplit(',').position(|name| name == "timeout").expect("a column");
            shown.lines().skip(1).map(|line| parse(line.rsplit(',').nth(place).unwrap())).collect()
        }
    }
}

fn count_is_the_number_of_lines_of_a_list(netns: &TestNetns) {
    netns.fill(73, 1_000);
    for expression in ["tcp", "udp and unreplied", "not nat any", "zone 1-5", "proto 253", "icmp and ipv6"] {
        let lines = netns.ctnl(&["list", expression]).exits_with(0).stdout().lines().count();
        let count = netns.ctnl(&["count", expression]).exits_with(0).stdout();
        assert_eq!(count.trim(), lines.to_string(), "{expression}");
    }
    assert_eq!(netns.ctnl(&["count"]).exits_with(0).stdout().trim(), "1000");
}

fn groups_add_up_to_the_count_and_evictable_entries_to_those_not_assured(netns: &TestNetns) {
    let flows = netns.fill(74, 800);
    let evictable = flows.iter().filter(|flow| flow.status.bits() & 4 == 0).count() as u64;
    let lines = netns.ctnl(&["count", "--by", "proto,state", "--json"]).exits_with(0).stdout();
    let groups: Vec<serde_json::Value> = lines.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    let sum = |key: &str| groups.iter().map(|group| group[key].as_u64().unwrap()).sum::<u64>();
    assert_eq!((sum("entries"), sum("evictable")), (800, evictable));
    let share: f64 = groups.iter().map(|group| group["share"].as_f64().unwrap()).sum();
    assert!((share - 1.0).abs() < 1e-9, "{share}");
    let keys = ["v", "proto", "state", "entries", "share", "evictable"];
    assert!(groups.iter().all(|group| group.as_object().unwrap().keys().all(|key| keys.contains(&key.as_str()))));
    let top = netns.ctnl(&["count", "--by", "src", "--top", "3"]).exits_with(0).stdout();
    assert_eq!(top.lines().count(), 4, "{top}");
}

fn protocols_without_a_name_are_listed_and_matched_by_number(netns: &TestNetns) {
    let unnamed = [2, 50, 89, 115, 200, 253, 255].map(|number| flow(Protocol::from(number), L4::None));
    netns.create(&unnamed);
    netns.create(&[udp(1, 53)]);
    for flow in &unnamed {
        let number = u8::from(flow.orig.protocol);
        let expression = format!("proto {number}");
        assert_eq!(netns.ctnl(&["count", &expression]).exits_with(0).stdout(), "1\n");
        let line = netns.ctnl(&["list", &expression]).exits_with(0).stdout();
        assert!(line.split_whitespace().nth(1) == Some(&number.to_string()), "{line}");
        let json = netns.ctnl(&["list", "--json", &expression]).exits_with(0).stdout();
        assert!(json.contains(&format!("\"proto\":{number},")), "{json}");
        for format in ["table", "csv", "xml"] {
            let shown = netns.ctnl(&["list", "-o", format, &expression]).exits_with(0).stdout();
            assert!(shown.contains("10.0.0.1"), "{shown}");
        }
        let line = line.trim_end();
        netns.ctnl(&["get", line]).exits_with(0);
        netns.ctnl(&["delete", line]).exits_with(0);
    }
    assert_eq!(netns.dump().iter().map(|flow: &Flow| flow.orig).collect::<Vec<_>>(), [udp(1, 53).orig]);
}

fn an_empty_table_is_an_empty_list_in_every_format(netns: &TestNetns) {
    for (format, lines) in [("table", 1), ("conntrack", 0), ("json", 0), ("csv", 1), ("xml", 3)] {
        let shown = netns.ctnl(&["list", "-o", format]).exits_with(0).stdout();
        assert_eq!(shown.lines().count(), lines, "{format}: {shown}");
    }
}
