//! `ctnl list` and `ctnl count`: formats, sorting, limits, closed pipes.

use std::io::{BufRead, BufReader};
use std::process::{Command, Output, Stdio};
use std::time::Instant;

use ctnl::model::{Flow, L4, Protocol};

use ctnl_test_support::harness::{Run, TestNetns, flow, tests, udp};

tests![
    a_closed_pipe_is_success_in_every_format,
    a_reader_that_stopped_gets_no_summary,
    a_reader_that_stopped_gets_the_unknown_values_of_a_sort,
    a_sort_by_values_that_are_unknown_says_so_and_why,
    a_sum_of_entries_that_were_not_counted_is_not_zero,
    groups_are_networks_and_are_sorted,
    a_sorted_list_or_groups_that_do_not_fit_into_memory_are_an_error,
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
        let (line, output) = first_line(netns, &["list", "-o", format]);
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success() && !stderr.contains("ipe"), "{format}: {} {stderr}", output.status);
        assert!(!line.is_empty(), "{format}");
    }
}

/// The first line, and the rest of a run whose reader stops behind it.
fn first_line(netns: &TestNetns, arguments: &[&str]) -> (String, Output) {
    let mut command = netns.ctnl_command(arguments);
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("the program starts");
    let mut line = String::new();
    BufReader::with_capacity(512, child.stdout.take().unwrap()).read_line(&mut line).unwrap();
    (line, child.wait_with_output().unwrap())
}

/// More than a pipe holds, so that the list ends before the table.
fn a_reader_that_stopped_gets_no_summary(netns: &TestNetns) {
    netns.fill(75, 20_000);
    for options in [&["-o", "json"][..], &["-o", "json", "--sort", "src"], &["-o", "json", "--jobs", "2"]] {
        let (_, output) = first_line(netns, &[&["list"], options].concat());
        assert_eq!(output.status.code(), Some(0), "{options:?}");
        assert_eq!(String::from_utf8_lossy(&output.stderr), "", "{options:?}");
    }
}

fn a_reader_that_stopped_gets_the_unknown_values_of_a_sort(netns: &TestNetns) {
    netns.fill(78, 20_000);
    let (_, output) = first_line(netns, &["list", "-o", "json", "--sort", "bytes:desc", "tcp or idle > 5d"]);
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(0), "{stderr}");
    let unknown = |line: &str| line.starts_with("--sort bytes: ") && line.contains(" unknown and come last: no-acc");
    assert_eq!(stderr.lines().filter(|line| unknown(line)).count(), 1, "{stderr}");
    assert!(stderr.contains("undecided: ") && !stderr.contains("matched"), "{stderr}");
}

fn a_sort_by_values_that_are_unknown_says_so_and_why(netns: &TestNetns) {
    netns.fill(76, 50);
    let why = "created while net.netfilter.nf_conntrack_acct was 0";
    let unknown = format!("--sort bytes: 50 of 50 are unknown and come last: no-accounting: {why}");
    netns.ctnl(&["list", "--sort", "bytes:desc"]).exits_with(0).stderr_contains(&unknown);
    let quiet = netns.ctnl(&["list", "--sort", "bytes:desc", "-q"]).exits_with(0);
    assert_eq!(quiet.stderr(), "");
    let known = netns.ctnl(&["list", "--sort", "src"]).exits_with(0).stderr();
    assert!(!known.contains("--sort"), "{known}");
    let grouped = netns.ctnl(&["count", "--by", "proto", "--sort", "bytes"]).exits_with(0);
    let grouped = grouped.stderr_contains(&format!("packets and bytes: 50 of 50 are unknown: no-accounting: {why}"));
    assert!(grouped.stdout().lines().skip(1).all(|line| line.contains("?      ?")), "{}", grouped.stdout());
}

fn a_sum_of_entries_that_were_not_counted_is_not_zero(netns: &TestNetns) {
    netns.create(&[udp(1, 53), udp(2, 53), udp(3, 80)]);
    netns.set_sysctl("netfilter/nf_conntrack_acct", 1);
    netns.create(&[udp(4, 53), udp(5, 123)]);
    let run = netns.ctnl(&["count", "--by", "dport", "--sort", "dport"]).exits_with(0);
    let rows: Vec<Vec<String>> =
        run.stdout().lines().skip(1).map(|line| line.split_whitespace().map(str::to_owned).collect()).collect();
    let sums: Vec<_> = rows.iter().map(|row| row[row.len() - 3..].join(" ")).collect();
    assert_eq!(sums, ["0+ 0+ 53", "? ? 80", "0 0 123"]);
    let run = run.stderr_contains("packets and bytes: 3 of 5 are unknown: no-accounting");
    assert!(!run.stderr().contains("--by"), "{}", run.stderr());
    let json = netns.ctnl(&["count", "--by", "dport", "--sort", "dport", "--json"]).exits_with(0).stdout();
    let groups: Vec<serde_json::Value> = json.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    let counted = |group: &serde_json::Value| (group.get("counted").cloned(), group.get("bytes").cloned());
    let found: Vec<_> = groups.iter().map(counted).collect();
    assert_eq!(found, [(Some(1.into()), Some(0.into())), (None, None), (Some(1.into()), Some(0.into()))]);
}

fn groups_are_networks_and_are_sorted(netns: &TestNetns) {
    let from = |address: &str, port| {
        let mut flow = udp(port, 53);
        (flow.orig.src, flow.reply.dst) = (address.parse().unwrap(), address.parse().unwrap());
        flow
    };
    netns.create(&[from("10.1.2.3", 1), from("10.1.2.200", 1), from("10.1.3.1", 1), from("10.1.2.3", 2)]);
    let rows = |options: &[&str]| {
        let run = netns.ctnl(&[&["count", "--by"], options].concat()).exits_with(0);
        let words = |line: &str| line.split_whitespace().map(str::to_owned).collect::<Vec<_>>();
        run.stdout().lines().map(|line| (words(line)[0].clone(), words(line).pop().unwrap())).collect::<Vec<_>>()
    };
    let row = |count: &str, key: &str| (count.to_owned(), key.to_owned());
    assert_eq!(rows(&["src/24"]), [row("ENTRIES", "SRC/24"), row("3", "10.1.2.0/24"), row("1", "10.1.3.0/24")]);
    assert_eq!(
        rows(&["src/64", "--sort", "src/64", "--top", "1"]),
        [row("ENTRIES", "SRC/32/64"), row("2", "10.1.2.3/32")]
    );
    assert_eq!(rows(&["src/8", "--top", "1"]), [row("ENTRIES", "SRC/8"), row("4", "10.0.0.0/8")]);
    assert_eq!(rows(&["src/24", "--sort", "src:desc", "--top", "1"])[1], row("1", "10.1.3.0/24"));
    assert_eq!(rows(&["src/24", "--sort", "entries:asc"])[1], row("1", "10.1.3.0/24"));
    let json = netns.ctnl(&["count", "--by", "src/24", "--top", "1", "--json"]).exits_with(0).stdout();
    assert!(json.contains("\"src\":\"10.1.2.0/24\""), "{json}");
}

/// Listing fits, keeping every entry does not: these need some 50 MiB. Groups need some 10 MiB.
fn a_sorted_list_or_groups_that_do_not_fit_into_memory_are_an_error(netns: &TestNetns) {
    netns.fill(77, 120_000);
    let program = env!("CARGO_BIN_EXE_ctnl");
    let size = address_space_of_a_list(program);
    let many = ["count", "--by", "src,sport,dst,dport,reply-src,reply-dst,proto,state,status,mark"];
    let mut out_of_memory = 0;
    for mebibytes in [0, 8] {
        let limit = format!("--as={}", size + (mebibytes << 20));
        let limited = |arguments: &[&str]| Run::of(Command::new("prlimit").args([&*limit, program]).args(arguments));
        limited(&["list", "-o", "json"]).exits_with(0).stderr_contains("120000 matched");
        let sorted = limited(&["list", "-o", "json", "--sort", "src"]).exits_with(1);
        let sorted = sorted.stderr_contains("ctnl: --sort: out of memory after ").stderr_contains("hint: --limit N");
        assert_eq!(sorted.stdout(), "");
        let groups = limited(&many);
        if groups.code() != Some(0) {
            let groups = groups.exits_with(1).stderr_contains("ctnl: --by: out of memory at ");
            assert_eq!(groups.stdout(), "");
            out_of_memory += 1;
        }
    }
    assert!(out_of_memory > 0);
    let limit = format!("--as={}", size + (8 << 20));
    let first = ["list", "-o", "json", "--sort", "src", "--limit", "10"];
    let first = Run::of(Command::new("prlimit").args([&*limit, program]).args(first)).exits_with(0);
    assert_eq!(first.stderr_contains("10 shown of 120000").stdout().lines().count(), 10);
}

/// The least bytes of address space, to 2 MiB, in which the program lists the table.
fn address_space_of_a_list(program: &str) -> u64 {
    let suffices = |mebibytes: &u64| {
        let limit = format!("--as={}", mebibytes << 20);
        let mut command = Command::new("prlimit");
        Run::of(command.args([&*limit, program, "list", "-o", "json"])).code() == Some(0)
    };
    (20..200).step_by(2).find(suffices).expect("an address space in which the table is listed") << 20
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
    for command in [&["list"][..], &["count"], &["count", "tcp"], &["count", "--by", "src"]] {
        let stderr = netns.ctnl(command).exits_with(0).stderr();
        assert_eq!(stderr.matches("the table is empty").count(), 1, "{command:?}: {stderr}");
    }
}
