//! `ctnl get` and `ctnl delete`: one exact entry, as typed or as pasted.

use std::path::Path;

use ctnl::model::{Flow, L4, Protocol, Tuple};
use ctnl_test_support::harness::{TestNetns, assert_same_entries, entry, flow, key, tests, udp};
use ctnl_test_support::population::has_udp_lite;
use ctnl_test_support::similar_entries::similar_entries;

tests![
    every_line_of_a_list_can_be_pasted_into_get,
    get_finds_an_entry_by_either_direction_and_in_its_zone,
    delete_removes_the_entry_of_a_pasted_line_and_no_other,
    delete_with_another_id_deletes_nothing,
    a_dry_run_of_delete_deletes_nothing,
    a_tuple_that_lacks_a_part_deletes_nothing,
    a_tuple_with_a_part_that_the_protocol_does_not_have_deletes_nothing,
    the_id_of_an_icmp_query_is_not_taken_for_the_id_of_the_entry,
    two_different_ids_or_zones_are_refused,
    every_row_of_the_table_and_every_line_of_json_can_be_pasted_into_get,
    a_row_whose_tuple_is_in_several_zones_deletes_nothing,
    a_line_of_an_event_names_its_entry_in_its_namespace,
    an_entry_that_is_missing_is_reported_with_what_is_there_instead,
    icmp_of_the_other_family_is_no_matter_of_modules,
    a_line_of_an_ipv4_and_of_an_ipv6_entry_deletes_neither,
];

const OPTIONS: [&str; 4] = ["conntrack", "id", "extended", "extended,id,labels"];

fn every_line_of_a_list_can_be_pasted_into_get(netns: &TestNetns) {
    netns.fill(61, 150);
    netns.create(&similar_entries());
    for options in OPTIONS {
        let lines = netns.ctnl(&["list", "-o", options]).exits_with(0).stdout();
        assert_eq!(lines.lines().count(), 167);
        for line in lines.lines().step_by(5) {
            let found = netns.ctnl(&["get", line, "-o", options]).exits_with(0).stdout();
            assert_eq!(comparable(&found), comparable(line), "{options}");
        }
    }
}

/// The line without the seconds left, which tick, and without the references,
/// of which a lookup holds one.
fn comparable(line: &str) -> Vec<&str> {
    let words: Vec<&str> = line.split_whitespace().collect();
    let is_number = |word: &&str| word.bytes().all(|byte| byte.is_ascii_digit());
    let last = words.iter().take_while(|word| !word.starts_with("src=")).filter(|word| is_number(word)).last();
    let time = last.and_then(|time| words.iter().rposition(|word| word == time));
    let words = words.iter().enumerate().filter(|(place, _)| Some(*place) != time).map(|(_, word)| *word);
    words.filter(|word| !word.starts_with("use=")).collect()
}

fn get_finds_an_entry_by_either_direction_and_in_its_zone(netns: &TestNetns) {
    let zoned = Flow { zone_both: Some(7), mark: Some(70), ..udp(1000, 53) };
    netns.create(&[udp(1000, 53), zoned]);
    let get = |words: &[&str]| netns.ctnl(&[&["get", "--json"], words].concat());
    let there = ["udp", "10.0.0.1:1000", "192.0.2.1:53"];
    let back = ["udp", "192.0.2.1:53", "10.0.0.1:1000"];
    for tuple in [there, back] {
        let found = get(&tuple).exits_with(0).stdout();
        assert!(found.contains("\"sport\":1000") && found.contains("\"mark\":0"), "{found}");
        let found = get(&[&tuple[..], &["--zone", "7"]].concat()).exits_with(0).stdout();
        assert!(found.contains("\"mark\":70"), "{found}");
        get(&[&tuple[..], &["--zone", "8"]].concat()).exits_with(1).stderr_contains("no such entry");
    }
    get(&["tcp", "10.0.0.1:1000", "192.0.2.1:53"]).exits_with(1);
}

fn delete_removes_the_entry_of_a_pasted_line_and_no_other(netns: &TestNetns) {
    let mut all = similar_entries();
    netns.create(&all);
    while let Some(chosen) = all.pop() {
        let dumped = netns.dump();
        let found = dumped.iter().find(|flow| key(flow) == key(&chosen)).expect("an entry");
        let id = format!("id={}", found.id.unwrap());
        let lines = netns.ctnl(&["list", "-o", "id"]).exits_with(0).stdout();
        let line = lines.lines().find(|line| line.ends_with(&id)).expect("a line");
        let run = netns.ctnl(&["delete", line, "-o", "id"]).exits_with(0).stderr_contains("1 deleted");
        assert_eq!(comparable(&run.stdout()), comparable(line));
        assert_same_entries(&netns.dump(), &all);
        netns.ctnl(&["delete", line]).exits_with(1).stderr_contains("no such entry");
    }
}

fn delete_with_another_id_deletes_nothing(netns: &TestNetns) {
    let all = similar_entries();
    netns.create(&all);
    for flow in netns.dump().iter().filter(|flow| flow.orig.sport().is_some()) {
        let other = flow.id.unwrap().wrapping_add(1).to_string();
        let zone = flow.zone().orig().to_string();
        let (sport, dport) = flow.orig.ports().unwrap();
        let end = |address: std::net::IpAddr, port| std::net::SocketAddr::new(address, port).to_string();
        let (src, dst) = (end(flow.orig.src, sport), end(flow.orig.dst, dport));
        let protocol = u8::from(flow.orig.protocol).to_string();
        let run = netns.ctnl(&["delete", &protocol, &src, &dst, "--zone", &zone, "--id", &other]);
        assert_eq!(run.exits_with(1).stderr_contains("no such entry").stdout(), "");
    }
    assert_same_entries(&netns.dump(), &all);
}

fn a_dry_run_of_delete_deletes_nothing(netns: &TestNetns) {
    netns.create(&[udp(1, 53)]);
    let delete = ["delete", "udp", "10.0.0.1:1", "192.0.2.1:53", "--dry-run"];
    assert!(netns.ctnl(&delete).exits_with(0).stdout().contains("sport=1 dport=53"));
    assert_eq!(netns.dump().len(), 1);
    netns.ctnl(&delete[..4]).exits_with(0).stderr_contains("1 deleted");
    assert_eq!(netns.dump(), []);
}

/// Entries that a tuple with zeroes in place of what is missing would name.
fn nearly_named() -> Vec<Flow> {
    vec![
        flow(Protocol::Icmp, L4::Icmp { kind: 8, code: 0, id: 0 }),
        flow(Protocol::Icmp, L4::Icmp { kind: 8, code: 0, id: 5 }),
        flow(Protocol::Other(50), L4::None),
        flow(Protocol::Gre, L4::Ports { src: 0, dst: 0 }),
        udp(1000, 53),
    ]
}

fn a_tuple_that_lacks_a_part_deletes_nothing(netns: &TestNetns) {
    let all = nearly_named();
    netns.create(&all);
    let (src, dst) = ("10.0.0.1", "192.0.2.1");
    for (tuple, missing) in [
        (&["icmp", src, dst, "type=8"][..], "missing 'code', 'id'"),
        (&["icmp", src, dst, "type=8", "code=0"], "missing 'id'"),
        (&["icmp", src, dst, "type=8", "id=5"], "missing 'code'"),
        (&["gre", src, dst, "srckey=0"], "missing 'dstkey'"),
        (&["udp", src, "192.0.2.1:53"], "missing 'sport'"),
    ] {
        netns.ctnl(&[&["delete"], tuple].concat()).exits_with(2).stderr_contains(missing);
    }
    assert_same_entries(&netns.dump(), &all);
}

fn a_tuple_with_a_part_that_the_protocol_does_not_have_deletes_nothing(netns: &TestNetns) {
    // The kernel ignores ports of a protocol that it does not track: DCCP since Linux 6.18,
    // UDP-lite since 7.3.
    let has_dccp = Path::new("/proc/sys/net/netfilter/nf_conntrack_dccp_timeout_open").exists();
    let tracked = [(Protocol::Dccp, "dccp", has_dccp), (Protocol::UdpLite, "udplite", has_udp_lite())];
    let untracked = tracked.iter().filter(|(_, _, is_tracked)| !is_tracked);
    let without_ports = untracked.clone().map(|(protocol, ..)| flow(*protocol, L4::None));
    let all: Vec<Flow> = nearly_named().into_iter().chain(without_ports).collect();
    netns.create(&all);
    let (src, dst) = ("10.0.0.1:1", "192.0.2.1:2");
    netns.ctnl(&["delete", "esp", src, dst]).exits_with(2).stderr_contains("entries have no sport");
    for (_, name, _) in untracked {
        netns.ctnl(&["delete", name, src, dst]).exits_with(1).stderr_contains("no such entry");
    }
    assert_same_entries(&netns.dump(), &all);
}

fn the_id_of_an_icmp_query_is_not_taken_for_the_id_of_the_entry(netns: &TestNetns) {
    let all = nearly_named();
    netns.create(&all);
    let id = format!("id={}", netns.dumped(&all[0].orig).unwrap().id.unwrap());
    let delete = |id: &str| netns.ctnl(&["delete", "icmp", "10.0.0.1", "192.0.2.1", id, "type=8", "code=0"]);
    delete(&id).exits_with(2).stderr_contains("at most 65535");
    delete("id=6").exits_with(1).stderr_contains("no such entry");
    assert_same_entries(&netns.dump(), &all);
    delete("id=5").exits_with(0).stderr_contains("1 deleted");
    assert_same_entries(&netns.dump(), &[&all[..1], &all[2..]].concat());
}

fn two_different_ids_or_zones_are_refused(netns: &TestNetns) {
    let all = nearly_named();
    netns.create(&all);
    let delete = |options: &[&str]| {
        netns.ctnl(&[&["delete", "udp", "10.0.0.1:1000", "192.0.2.1:53"][..], options].concat()).exits_with(2)
    };
    delete(&["zone=0", "--zone", "7"]).stderr_contains("another zone");
    delete(&["id=1", "--id", "2"]).stderr_contains("another id");
    assert_same_entries(&netns.dump(), &all);
}

fn every_row_of_the_table_and_every_line_of_json_can_be_pasted_into_get(netns: &TestNetns) {
    netns.fill(62, 150);
    let mut named = 0;
    let lists: [&[&str]; 4] = [
        &["list", "-o", "json"],
        &["list", "-o", "json", "--columns", "proto,src,dst,sport,dport,id,icmp-type,icmp-code,icmp-id,orig-zone"],
        &["list", "-o", "table"],
        &["list", "-o", "table", "addr 10.0.0.0/8"],
    ];
    for list in lists {
        let lines = netns.ctnl(list).exits_with(0).stdout();
        for line in lines.lines().filter(|line| !line.starts_with("PROTO")).step_by(3) {
            let run = netns.ctnl(&["get", line, "-o", "json"]);
            // Neither the table nor JSON with columns has the keys of GRE; a row has no parts of ICMP.
            if run.stderr().contains("'srckey', 'dstkey'") || run.stderr().contains("'type', 'code', 'id'") {
                run.exits_with(2).stderr_contains("these columns do not have it");
                continue;
            }
            let found = run.exits_with(0).stdout();
            assert_eq!(without_times(&found), without_times(if line.contains("\"v\":1") { line } else { &found }));
            named += 1;
        }
    }
    assert!(named > 100, "{named}");
}

/// A line of JSON up to what changes between two readings.
fn without_times(line: &str) -> String {
    let (start, rest) = line.split_once("\"timeout\"").unwrap_or((line, ""));
    let tuples = rest.split_once("\"orig\"").map_or("", |(_, rest)| rest);
    format!("{start}{}", tuples.split_once("\"use\"").map_or(tuples, |(tuples, _)| tuples))
}

fn a_row_whose_tuple_is_in_several_zones_deletes_nothing(netns: &TestNetns) {
    let zoned = |zone| Flow { zone_both: Some(zone), ..udp(1000, 53) };
    netns.create(&[zoned(7), udp(1001, 53)]);
    let rows = netns.ctnl(&["list", "-o", "table", "zone 7"]).exits_with(0).stdout();
    let row = rows.lines().nth(1).unwrap();
    assert!(netns.ctnl(&["get", row]).exits_with(0).stdout().contains("zone=7"), "the only zone that has it");
    let all = [zoned(7), udp(1001, 53), udp(1000, 53)];
    netns.create(&all[2..]);
    netns.ctnl(&["delete", row]).exits_with(2).stderr_contains("zones 0 and 7, and the line does not show its zone");
    assert_same_entries(&netns.dump(), &all);
    netns.ctnl(&["delete", row, "--zone", "7"]).exits_with(0).stderr_contains("1 deleted");
    assert_same_entries(&netns.dump(), &all[1..]);
}

fn a_line_of_an_event_names_its_entry_in_its_namespace(netns: &TestNetns) {
    netns.create(&[udp(1000, 53)]);
    let line = netns.ctnl(&["list", "-o", "id"]).exits_with(0).stdout();
    let line = line.trim();
    let get = |event: &str| netns.ctnl(&["get", event, "-o", "id"]);
    for event in [
        format!("    [NEW] {line}"),
        format!("[1700000000.123456]\t [UPDATE] {line}"),
        format!("[1700000000.123456]\t[DESTROY] {line} [USERSPACE] portid=77 progname=tmux: server [SEED]"),
    ] {
        assert_eq!(comparable(&get(&event).exits_with(0).stdout()), comparable(line));
    }
    get(&format!("[NEW] {line} netns=no-such-name")).exits_with(1).stderr_contains("/run/netns/no-such-name");
    get(&format!("[NEW] {line} netns=pid:77(tmux: server)")).exits_with(2).stderr_contains("add --netns");
    get(&format!("[NEW] {line} netns=/proc/self/ns/net [SEED]")).exits_with(0);
    assert_ne!(get(&format!("[NEW] {line} netns=host")).code(), Some(0), "the host has no such entry");
    assert_eq!(netns.dump().len(), 1);
}

fn an_entry_that_is_missing_is_reported_with_what_is_there_instead(netns: &TestNetns) {
    let tuple = ["udp", "10.0.0.1:1000", "192.0.2.1:53"];
    let get = |more: &[&str]| netns.ctnl(&[&["get"], &tuple[..], more].concat()).exits_with(1);
    get(&[]).stderr_contains("no such entry in zone 0").stderr_contains("the table is empty");
    netns.create(&[udp(1, 2)]);
    let run = get(&[]).stderr_contains("no such entry in zone 0");
    assert!(!run.stderr().contains("hint"), "{}", run.stderr());
    let zoned = |zone| Flow { zone_both: Some(zone), ..udp(1000, 53) };
    netns.create(&[zoned(65_535)]);
    get(&[]).stderr_contains("no such entry in zone 0\n  hint: this tuple is in zone 65535: add --zone 65535");
    netns.create(&[zoned(7)]);
    get(&["--zone", "8"]).stderr_contains("no such entry in zone 8\n  hint: this tuple is in zones 7 and 65535");
    assert!(!get(&["-q"]).stderr().contains("hint"));
    let id = netns.dump().iter().find(|flow| flow.zone_both == Some(7)).and_then(|flow| flow.id).unwrap();
    let other = id.wrapping_add(1).to_string();
    get(&["--zone", "7", "--id", &other]).stderr_contains(&format!("another id, {id}, not {other}"));
    let reply = "src=192.0.2.1 dst=192.0.2.99 sport=53 dport=1000";
    netns
        .ctnl(&["get", &format!("udp src=10.0.0.1 dst=192.0.2.1 sport=1000 dport=53 {reply} zone=7")])
        .exits_with(1)
        .stderr_contains("another reply tuple");
    netns.ctnl(&[&["delete"], &tuple[..]].concat()).exits_with(1).stderr_contains("zones 7 and 65535");
    assert_eq!(netns.dump().len(), 3);
}

fn icmp_of_the_other_family_is_no_matter_of_modules(netns: &TestNetns) {
    for (words, answer) in [
        ("icmp ::1 ::2 type=128 code=0 id=5", "with IPv6 addresses the protocol is icmpv6"),
        ("icmp ::1 ::2 type=8 code=0 id=5", "with IPv6 addresses the protocol is icmpv6"),
        ("icmpv6 10.0.0.1 10.0.0.2 type=8 code=0 id=5", "with IPv4 addresses the protocol is icmp"),
        ("icmp 10.0.0.1 10.0.0.2 type=3 code=0 id=5", "does not track icmp type 3: expected a query"),
    ] {
        let run = netns.ctnl(&["get", words]).exits_with(1).stderr_contains(answer);
        assert!(!run.stderr().contains("modprobe"), "{}", run.stderr());
    }
}

/// An IPv6 entry with IPv4-mapped addresses, whose line of `-o conntrack` shows no family.
fn a_line_of_an_ipv4_and_of_an_ipv6_entry_deletes_neither(netns: &TestNetns) {
    let ipv4 = udp(1000, 53);
    let ipv6 = |zone| {
        let (src, dst) = ("::ffff:10.0.0.1".parse().unwrap(), "::ffff:192.0.2.1".parse().unwrap());
        Flow { zone_both: zone, ..entry(Tuple { src, dst, ..ipv4.orig }) }
    };
    netns.create(&[ipv6(None)]);
    let line = netns.ctnl(&["list", "-o", "conntrack"]).exits_with(0).stdout();
    let row = netns.ctnl(&["list", "-o", "table"]).exits_with(0).stdout();
    let (line, row) = (line.trim(), row.lines().nth(1).unwrap());
    for named in [line, row] {
        let run = netns
            .ctnl(&["delete", named])
            .exits_with(1)
            .stderr_contains("the entry with these addresses is one of IPv6");
        assert_eq!(run.stderr_contains("hint: write ipv6 in front of the protocol").stdout(), "");
    }
    netns.create(std::slice::from_ref(&ipv4));
    for named in [line, row] {
        for command in ["get", "delete"] {
            let run =
                netns.ctnl(&[command, named]).exits_with(2).stderr_contains("ambiguous: an IPv4 entry and an IPv6");
            assert_eq!(run.stdout(), "");
        }
    }
    assert_same_entries(&netns.dump(), &[ipv6(None), ipv4.clone()]);
    netns.ctnl(&["get", &format!("ipv6 {row}")]).exits_with(0);
    netns.ctnl(&["delete", &format!("ipv6 10 {line}")]).exits_with(0).stderr_contains("1 deleted");
    assert_same_entries(&netns.dump(), std::slice::from_ref(&ipv4));
    netns.create(&[ipv6(Some(7))]);
    netns.ctnl(&["delete", row]).exits_with(2).stderr_contains("ambiguous: an IPv4 entry and an IPv6");
    netns.ctnl(&["delete", line]).exits_with(0).stderr_contains("1 deleted");
    assert_same_entries(&netns.dump(), &[ipv6(Some(7))]);
}
