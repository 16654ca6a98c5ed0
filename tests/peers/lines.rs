//! The lines that conntrack(8) prints name their entries.

use std::process::Stdio;

use ctnl::model::{Flow, NamedEntry};
use ctnl_test_support::harness::{TestNetns, key, tests, udp};
use ctnl_test_support::net::{PATH, conntrack};
use ctnl_test_support::running::until;

tests![every_line_of_a_list_of_conntrack_names_its_entry, every_line_of_an_event_of_conntrack_names_its_entry];

fn every_line_of_a_list_of_conntrack_names_its_entry(netns: &TestNetns) {
    netns.fill(63, 2_000);
    let flows = netns.dump();
    for options in ["extended", "id", "labels", "ktimestamp", "extended,id,timestamp,ktimestamp,labels"] {
        let mut named = 0;
        for family in ["ipv4", "ipv6"] {
            for line in conntrack(&["-L", "-f", family, "-o", options]).lines() {
                assert_names(line, &flows);
                named += 1;
            }
        }
        assert_eq!(named, flows.len(), "{options}");
    }
}

/// Fails unless `line` names exactly one of `flows`, with its zone.
fn assert_names(line: &str, flows: &[Flow]) {
    let named: NamedEntry = line.parse().unwrap_or_else(|error| panic!("{line}: {error}"));
    let is_in_zone = |flow: &&Flow| named.zone.unwrap_or(0) == flow.zone().orig();
    let found: Vec<_> = flows.iter().filter(|flow| named.is(flow)).filter(is_in_zone).map(key).collect();
    assert_eq!(found.len(), 1, "{line}: {found:?}");
}

fn every_line_of_an_event_of_conntrack_names_its_entry(netns: &TestNetns) {
    let file = tempfile::NamedTempFile::new().unwrap();
    let lines = || std::fs::read_to_string(file.path()).unwrap();
    let mut listener = std::process::Command::new("conntrack")
        .args(["-E", "-o", "timestamp,id,extended,ktimestamp"])
        .env("PATH", PATH)
        .stdout(file.reopen().unwrap())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    // The first ones may come before it listens.
    let mut ports = 1_000..;
    let create = |port: u16| netns.create(&[udp(port, 53), Flow { zone_both: Some(7), ..udp(port, 54) }]);
    until(
        || {
            ports.next().into_iter().for_each(create);
            lines().lines().count() > 4
        },
        || "no events".to_owned(),
    );
    netns.ctnl(&["flush", "--yes", "sport 1000-1001"]).exits_with(0);
    let flows: Vec<Flow> =
        (1_000..2_000).flat_map(|port| [udp(port, 53), Flow { zone_both: Some(7), ..udp(port, 54) }]).collect();
    listener.kill().unwrap();
    listener.wait().unwrap();
    for line in lines().lines() {
        let line = line.split(" id=").next().unwrap_or_default();
        assert_names(line, &flows);
    }
}
