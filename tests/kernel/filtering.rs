//! Notations of the filter language, on the real table.

use std::net::IpAddr;

use ctnl::model::{Flow, L4, ProtoInfo, Protocol, TcpInfo, TcpState, Tuple};
use ctnl_test_support::harness::{TestNetns, assert_same_entries, entry, flow, tests, udp};

tests![
    an_ipv4_mapped_address_is_the_ipv4_address_in_every_command,
    a_state_that_two_protocols_spell_differently_is_that_of_both,
    a_file_without_values_matches_nothing_and_is_not_excluded_by_a_flush,
    a_list_of_another_system_is_read_as_it_is,
    entries_without_labels_have_none_of_the_bits_of_a_mask,
    echo_requests_of_both_families_have_one_name,
    times_of_options_have_units,
];

fn from(src: &str, sport: u16) -> Flow {
    let tuple = Tuple { src: src.parse().unwrap(), ..udp(sport, 53).orig };
    entry(tuple)
}

fn count(netns: &TestNetns, arguments: &[&str]) -> String {
    netns.ctnl(&[&["count"], arguments].concat()).exits_with(0).stdout().trim().to_owned()
}

/// A file of values in a folder that is removed at the end.
fn file(text: &[u8]) -> (tempfile::TempDir, String) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("values");
    std::fs::write(&path, text).unwrap();
    let argument = format!("@{}", path.display());
    (folder, argument)
}

fn an_ipv4_mapped_address_is_the_ipv4_address_in_every_command(netns: &TestNetns) {
    let all = [from("192.0.2.3", 1), from("198.51.100.7", 2)];
    netns.create(&all);
    let (_folder, list) = file(b"::ffff:192.0.2.3\n::ffff:203.0.113.0/120\n");
    for value in ["::ffff:192.0.2.3", "::ffff:192.0.2.0/120", "2001:db8::1,[::ffff:c000:203]", &list] {
        assert_eq!(count(netns, &["--src", value]), "1", "{value}");
        assert_eq!(count(netns, &["not", "src", value]), "1", "{value}");
        assert_eq!(count(netns, &["--src", value, "--kernel-filter"]), "1", "{value}");
    }
    assert_eq!(count(netns, &["--src", "::ffff:0:0/96"]), "2");
    let tuple = ["udp", "[::ffff:192.0.2.3]:1", "[::ffff:192.0.2.1]:53"];
    let found = netns.ctnl(&[&["get"], &tuple[..]].concat()).exits_with(0).stdout();
    assert!(found.contains("src=192.0.2.3 "), "{found}");
    netns.ctnl(&[&["delete"], &tuple[..]].concat()).exits_with(0).stderr_contains("1 deleted");
    assert_same_entries(&netns.dump(), &all[1..]);
    netns.ctnl(&["flush", "--src", "::ffff:198.51.100.7", "--yes"]).exits_with(0);
    assert_eq!(netns.dump(), []);
}

fn in_state(state: TcpState, sport: u16) -> Flow {
    let protoinfo = ProtoInfo::Tcp(TcpInfo { state, ..TcpInfo::default() });
    Flow { protoinfo, ..flow(Protocol::Tcp, L4::Ports { src: sport, dst: 443 }) }
}

fn a_state_that_two_protocols_spell_differently_is_that_of_both(netns: &TestNetns) {
    let closing = [in_state(TcpState::TimeWait, 1), in_state(TcpState::Close, 2)];
    netns.create(&closing);
    netns.create(&[in_state(TcpState::Established, 3)]);
    for (state, expected) in
        [("timewait", "1"), ("time-wait", "1"), ("closed", "1"), ("close", "1"), ("closed,timewait", "2")]
    {
        assert_eq!(count(netns, &["--state", state]), expected, "{state}");
    }
    netns.ctnl(&["flush", "not state open", "--yes"]).exits_with(2).stderr_contains("dccp and state open");
    assert_eq!(netns.dump().len(), 3);
    netns.ctnl(&["flush", "not state timewait,closed", "--yes"]).exits_with(0).stderr_contains("1 deleted");
    assert_same_entries(&netns.dump(), &closing);
}

fn a_file_without_values_matches_nothing_and_is_not_excluded_by_a_flush(netns: &TestNetns) {
    let all = [from("192.0.2.3", 1), from("198.51.100.7", 2)];
    netns.create(&all);
    let (_folder, list) = file(b"\xef\xbb\xbf# nothing today\r\n");
    for command in ["list", "count", "flush"] {
        netns.ctnl(&[command, "--src", &list]).exits_with(0).stderr_contains("contains no values");
    }
    let excluding = format!("udp and not src {list}");
    netns.ctnl(&["count", &excluding]).exits_with(0).stderr_contains("contains no values");
    for arguments in [&["--yes"][..], &["--dry-run"]] {
        let run = netns.ctnl(&[&["flush", &excluding], arguments].concat());
        run.exits_with(2).stderr_contains("nothing is excluded");
    }
    assert_same_entries(&netns.dump(), &all);
    netns.ctnl(&["flush", &excluding, "--all", "--yes"]).exits_with(0).stderr_contains("2 deleted");
}

fn a_list_of_another_system_is_read_as_it_is(netns: &TestNetns) {
    netns.create(&[from("192.0.2.3", 1), from("198.51.100.7", 2), from("203.0.113.9", 3)]);
    let (_folder, list) = file(b"\xef\xbb\xbf; DROP list, \xa9 2026\r\n192.0.2.0/24 ; SBL1\r\n198.51.100.7;SBL2\r\n");
    assert_eq!(count(netns, &["--src", &list]), "2");
    let (_folder, list) = file(b"192.0.2.0/24\n198.51.100.\xff\n");
    let run = netns.ctnl(&["flush", "--src", &list, "--yes"]).exits_with(2).stderr_contains("not UTF-8");
    run.stderr_contains("values:2: ");
    assert_eq!(netns.dump().len(), 3);
}

fn entries_without_labels_have_none_of_the_bits_of_a_mask(netns: &TestNetns) {
    netns.create(&[udp(1, 53), udp(2, 53)]);
    assert_eq!(count(netns, &["--label", "0x0/0x3"]), "2");
    assert_eq!(
        count(netns, &["--label", "0x10000000000000000000000000000000/0xf0000000000000000000000000000000"]),
        "0"
    );
    for filter in ["label 0/0", "label 0/1 or label 1/1", "label 1/3 or not label 1/3"] {
        netns.ctnl(&["flush", filter, "--yes"]).exits_with(2).stderr_contains("matches every entry");
    }
}

fn echo_requests_of_both_families_have_one_name(netns: &TestNetns) {
    let (src, dst): (IpAddr, IpAddr) = ("2001:db8::1".parse().unwrap(), "2001:db8::2".parse().unwrap());
    let v4 = flow(Protocol::Icmp, L4::Icmp { kind: 8, code: 0, id: 5 });
    let v6 = Tuple { src, dst, protocol: Protocol::Ipv6Icmp, l4: L4::Icmp { kind: 128, code: 0, id: 5 }, ..v4.orig };
    netns.create(&[v4, entry(v6), flow(Protocol::Icmp, L4::Icmp { kind: 13, code: 0, id: 6 })]);
    assert_eq!(count(netns, &["icmp-type", "echo-request"]), "2");
    assert_eq!(count(netns, &["icmp-type", "echo-request", "and", "dst", "[2001:db8::2]"]), "1");
    assert_eq!(count(netns, &["icmp-type", "timestamp-request"]), "1");
}

fn times_of_options_have_units(netns: &TestNetns) {
    netns.create(&[udp(1, 53), udp(2, 54)]);
    for (value, seconds) in [("--soft=2m", 120), ("--soft=30s", 30), ("--soft=20", 20), ("--soft", 10)] {
        netns.ctnl(&["flush", "dport 53", value, "--yes"]).exits_with(0).stderr_contains("1 given a timeout");
        let left = netns.dumped(&udp(1, 53).orig).unwrap().timeout.unwrap();
        assert!((seconds - 2..=seconds).contains(&left), "{value}: {left}");
    }
    netns.ctnl(&["count", "dport 54", "--confirm-idle", "1s"]).exits_with(0).stderr_contains("1 matched");
}
