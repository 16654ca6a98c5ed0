//! Only matching entries are deleted, in cases where conntrack(8) 1.4.7 deletes more.

use std::net::Ipv4Addr;

use ctnl::model::{Family, Flow, L4, Protocol, Status, Tuple};

use ctnl_test_support::harness::{TestNetns, assert_same_entries, tests, udp};
use ctnl_test_support::net::conntrack;

tests![
    flushing_unreplied_entries_leaves_replied_ones,
    flushing_a_family_leaves_the_other_family,
    flushing_a_zone_leaves_the_same_tuples_in_other_zones,
    a_set_of_ports_matches_each_of_them_and_no_other,
    deleting_an_entry_of_a_zone_leaves_the_same_tuple_in_the_default_zone,
    conntrack_and_ctnl_count_the_same_number_of_entries,
];

fn with(flow: Flow, change: impl FnOnce(&mut Flow)) -> Flow {
    let mut flow = flow;
    change(&mut flow);
    flow
}

/// `conntrack -D -u UNREPLIED` deletes the whole table.
fn flushing_unreplied_entries_leaves_replied_ones(netns: &TestNetns) {
    let flows = netns.fill(5, 3_000);
    netns.ctnl(&["flush", "unreplied", "--yes"]).exits_with(0);
    let replied: Vec<Flow> = flows.into_iter().filter(|flow| flow.status.contains(Status::SeenReply)).collect();
    assert!(replied.len() > 1_000 && replied.len() < 2_900);
    assert_same_entries(&netns.dump(), &replied);
}

/// `conntrack -F -f ipv6` flushes IPv4 as well.
fn flushing_a_family_leaves_the_other_family(netns: &TestNetns) {
    let flows = netns.fill(6, 3_000);
    netns.ctnl(&["flush", "ipv6", "--yes"]).exits_with(0);
    let v4: Vec<Flow> = flows.into_iter().filter(|flow| flow.family == Family::V4).collect();
    assert_same_entries(&netns.dump(), &v4);
    assert_eq!(conntrack(&["-L", "-f", "ipv6"]), "");
}

fn flushing_a_zone_leaves_the_same_tuples_in_other_zones(netns: &TestNetns) {
    let plain: Vec<Flow> = (1..=100).map(|port| udp(port, 53)).collect();
    let zoned = |zone| plain.iter().map(move |flow| with(flow.clone(), |flow| flow.zone_both = Some(zone)));
    let one_way = with(udp(7, 53), |flow| flow.orig.zone = Some(5));
    let (fifth, sixth): (Vec<Flow>, Vec<Flow>) = (zoned(5).collect(), zoned(6).collect());
    // The entry of a zone in one direction would clash with the same tuple in a zone of both.
    let fifth: Vec<Flow> = fifth.into_iter().filter(|flow| flow.orig.sport() != Some(7)).collect();
    let without_clash: Vec<Flow> = plain.iter().filter(|flow| flow.orig.sport() != Some(7)).cloned().collect();
    netns.create(&[without_clash.clone(), fifth, sixth.clone(), vec![one_way]].concat());
    netns.ctnl(&["flush", "zone 5", "--yes"]).exits_with(0);
    let left = netns.dump();
    assert!(left.iter().all(|flow| flow.zone_both != Some(5)));
    let others: Vec<Flow> = left.into_iter().filter(|flow| flow.orig.zone.is_none()).collect();
    assert_same_entries(&others, &[without_clash, sixth].concat());
}

/// conntrack(8) takes `--dport 80,443` for 80.
fn a_set_of_ports_matches_each_of_them_and_no_other(netns: &TestNetns) {
    let flows: Vec<Flow> = [79, 80, 81, 443, 444].map(|port| udp(9, port)).into();
    netns.create(&flows);
    netns.ctnl(&["flush", "--dport", "80,443", "--yes"]).exits_with(0).stderr_contains("2 deleted");
    let rest: Vec<Flow> = [79, 81, 444].map(|port| udp(9, port)).into();
    assert_same_entries(&netns.dump(), &rest);
    netns.ctnl(&["flush", "--dport", "79,x", "--yes"]).exits_with(2);
    netns.ctnl(&["flush", "--dport", "http:", "--yes"]).exits_with(2);
    assert_same_entries(&netns.dump(), &rest);
}

fn deleting_an_entry_of_a_zone_leaves_the_same_tuple_in_the_default_zone(netns: &TestNetns) {
    let (plain, zoned) = (udp(1, 2), with(udp(1, 2), |flow| flow.zone_both = Some(5)));
    netns.create(&[plain.clone(), zoned.clone()]);
    let tuple = ["udp", "10.0.0.1:1", "192.0.2.1:2"];
    netns.ctnl(&[&["delete"][..], &tuple, &["zone=5"]].concat()).exits_with(0);
    assert_same_entries(&netns.dump(), std::slice::from_ref(&plain));
    // And the other way round: without a zone, only the one in no zone.
    netns.create(std::slice::from_ref(&zoned));
    netns.ctnl(&[&["delete"][..], &tuple].concat()).exits_with(0);
    assert_same_entries(&netns.dump(), &[zoned]);
}

fn conntrack_and_ctnl_count_the_same_number_of_entries(netns: &TestNetns) {
    let portless = Tuple {
        src: Ipv4Addr::new(10, 0, 0, 9).into(),
        dst: Ipv4Addr::new(192, 0, 2, 9).into(),
        protocol: Protocol::from(99),
        l4: L4::None,
        zone: None,
        has_unknown_part: false,
    };
    netns.fill(8, 500);
    netns.create(&[ctnl_test_support::harness::entry(portless)]);
    assert_eq!(conntrack(&["-C"]).trim(), "501");
    assert_eq!(netns.ctnl(&["count"]).exits_with(0).stdout().trim(), "501");
}
