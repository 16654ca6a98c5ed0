//! `ctnl events --flows=both`, the last packet of a connection, and heartbeats.

use std::thread;
use std::time::Duration;

use ctnl::model::Flow;
use serde_json::Value;

use ctnl_test_support::harness::{TestNetns, tests};

use crate::following::{Follower, count, delete, is, real, synthetic, udp_flows, wall_clock};

tests![
    with_both_each_connection_has_one_begin_record_and_one_end_record,
    the_last_packet_of_a_connection_lies_between_the_bounds_of_its_end_record,
    a_changed_timeout_is_read_also_where_the_namespace_may_not_be_entered_again,
    a_heartbeat_tells_a_quiet_stream_from_one_whose_events_are_disabled,
];

fn with_both_each_connection_has_one_begin_record_and_one_end_record(netns: &TestNetns) {
    netns.set_sysctl("netfilter/nf_conntrack_events", 1);
    netns.create(&udp_flows(1000, 3));
    let follower = Follower::start(netns, &["--flows=both"]);
    netns.create(&udp_flows(2000, 4));
    follower.wait_for("the beginnings", |records| real(records, "begin") == 4);
    delete(netns, |_| true);
    follower.wait_for("the ends", |records| count(records, "end") == 7);
    let records = follower.stop().records;
    assert_eq!((synthetic(&records, "begin", "seed"), count(&records, "begin")), (3, 7));
    let keys = |event: &str| {
        let of_kind = records.iter().filter(|record| is(record, event));
        let key = |record: &Value| ["proto", "src", "dst", "sport", "dport"].map(|key| record[key].to_string());
        let mut keys: Vec<_> = of_kind.map(key).collect();
        keys.sort();
        keys
    };
    assert_eq!(keys("begin"), keys("end"));
    let seeded = records.iter().find(|record| record["synthetic"] == "seed").unwrap();
    assert_eq!((&seeded["since"], &seeded["clock"]), (&"before".into(), &"received".into()), "{seeded}");
}

fn the_last_packet_of_a_connection_lies_between_the_bounds_of_its_end_record(netns: &TestNetns) {
    for (name, value) in [("events", 1), ("timestamp", 1), ("udp_timeout", 60), ("udp_timeout_stream", 60)] {
        netns.set_sysctl(&format!("netfilter/nf_conntrack_{name}"), value);
    }
    let follower = Follower::start(netns, &["--flows"]);
    let with_timeout = |port, timeout| -> Vec<Flow> {
        udp_flows(port, 1).into_iter().map(|flow| Flow { timeout: Some(timeout), ..flow }).collect()
    };
    let before = wall_clock();
    // As if a packet had set the timeout; and one that no packet sets.
    netns.create(&with_timeout(1000, 60));
    let created = before..wall_clock();
    netns.create(&with_timeout(2000, 1000));
    thread::sleep(Duration::from_millis(2500));
    delete(netns, |_| true);
    follower.wait_for("the ends", |records| count(records, "end") == 2);
    let records = follower.stop().records;
    let end = |port: u16| records.iter().find(|record| is(record, "end") && record["sport"] == port).unwrap();
    let bounds = |end: &Value| ["last_packet_after_ns", "last_packet_before_ns"].map(|key| end[key].as_u64());
    assert_eq!(bounds(end(2000)), [None, None]);
    let end = end(1000);
    match bounds(end) {
        [Some(after), Some(before)] => {
            assert!(after <= created.end && created.start <= before, "{created:?} {end}");
            assert!(before < end["time_ns"].as_u64().unwrap() && before - after < 2_000_000_000, "{end}");
        }
        // Linux 5.10 does not send the remaining timeout.
        bounds => assert_eq!((bounds, end.get("killed")), ([None, None], None), "{end}"),
    }
}

/// With `--netns` the privilege to enter it has been dropped.
fn a_changed_timeout_is_read_also_where_the_namespace_may_not_be_entered_again(netns: &TestNetns) {
    for (name, value) in [("events", 1), ("timestamp", 1), ("udp_timeout", 60), ("udp_timeout_stream", 60)] {
        netns.set_sysctl(&format!("netfilter/nf_conntrack_{name}"), value);
    }
    let namespace = format!("/proc/{}/task/{}/ns/net", std::process::id(), nix::unistd::gettid());
    let follower = Follower::start(netns, &["--flows", "--netns", &namespace]);
    netns.set_sysctl("netfilter/nf_conntrack_udp_timeout", 50);
    // They are read two seconds after the start, and every ten seconds.
    thread::sleep(Duration::from_millis(3500));
    let before = wall_clock();
    // As if a packet had set the timeout.
    netns.create(&udp_flows(1000, 1).into_iter().map(|flow| Flow { timeout: Some(50), ..flow }).collect::<Vec<_>>());
    let created = before..wall_clock();
    thread::sleep(Duration::from_millis(1500));
    delete(netns, |_| true);
    follower.wait_for("the end", |records| count(records, "end") == 1);
    let records = follower.stop().records;
    let end = records.iter().find(|record| is(record, "end")).unwrap();
    match ["last_packet_after_ns", "last_packet_before_ns"].map(|key| end[key].as_u64()) {
        [Some(after), Some(before)] => {
            assert!(after <= created.end && created.start <= before, "{created:?} {end}");
        }
        // Linux 5.10 does not send the remaining timeout.
        bounds => assert_eq!((bounds, end.get("killed")), ([None, None], None), "{end}"),
    }
}

fn a_heartbeat_tells_a_quiet_stream_from_one_whose_events_are_disabled(netns: &TestNetns) {
    for name in ["events", "acct"] {
        netns.set_sysctl(&format!("netfilter/nf_conntrack_{name}"), 1);
    }
    let follower = Follower::start(netns, &["--heartbeat", "1s"]);
    let with_events = |records: &[Value], value: u64| -> usize {
        let of_kind = records.iter().filter(|record| is(record, "heartbeat"));
        of_kind.filter(|record| record["sysctls"][0]["nf_conntrack_events"] == value).count()
    };
    follower.wait_for("two heartbeats", |records| with_events(records, 1) >= 2);
    netns.set_sysctl("netfilter/nf_conntrack_events", 0);
    follower.wait_for("one of the change", |records| with_events(records, 0) >= 1);
    let records = follower.stop().records;
    let heartbeat = records.iter().find(|record| is(record, "heartbeat")).unwrap();
    let sysctls = serde_json::json!([{"namespaces": 1, "nf_conntrack_events": 1, "nf_conntrack_acct": 1,
        "nf_conntrack_timestamp": 0}]);
    assert_eq!((&heartbeat["sysctls"], &heartbeat["sinks"][0]["name"]), (&sysctls, &"-".into()), "{heartbeat}");
    assert!(heartbeat["buffer_limit_bytes"].as_u64().unwrap() > 0, "{heartbeat}");
}
