//! `ctnl doctor` beside real traffic.

use std::net::{SocketAddr, UdpSocket};
use std::thread;
use std::time::Duration;

use serde_json::Value;

use ctnl_test_support::connections::Tcp;
use ctnl_test_support::harness::{TestNetns, tests};
use ctnl_test_support::net::Net;

tests![
    a_counter_that_moves_in_the_window_is_found_and_one_that_has_moved_before_is_not,
    datagrams_that_nobody_answers_are_told_by_their_source_and_destination,
];

fn doctor(netns: &TestNetns, window: &str) -> Value {
    let run = netns.ctnl(&["doctor", "--watch", window, "--json"]);
    assert!(matches!(run.code(), Some(0 | 4 | 5)), "{}", run.stderr());
    serde_json::from_str(&run.stdout()).expect("a report")
}

fn findings(report: &Value, check: &str) -> Vec<Value> {
    let all = report["findings"].as_array().expect("findings");
    all.iter().filter(|finding| finding["check"] == check).cloned().collect()
}

/// Packets of a connection whose entry was deleted are INVALID where connections are not picked up in the middle.
fn a_counter_that_moves_in_the_window_is_found_and_one_that_has_moved_before_is_not(netns: &TestNetns) {
    let net = Net::new(netns);
    netns.set_sysctl("netfilter/nf_conntrack_tcp_loose", 0);
    let mut tcp = Tcp::open(&net);
    tcp.exchange();
    netns.ctnl(&["flush", "--all", "--yes", "--no-spare-ssh"]).exits_with(0);
    let moving = thread::scope(|scope| {
        let report = scope.spawn(|| doctor(netns, "3s"));
        // Until it ends: on a slow machine the window begins late.
        while !report.is_finished() {
            tcp.exchange();
            thread::sleep(Duration::from_millis(5));
        }
        report.join().expect("a report")
    });
    let moving = findings(&moving, "counters");
    let invalid: Vec<_> = moving.iter().filter(|finding| finding["figures"]["invalid"].is_u64()).collect();
    assert_eq!(invalid.len(), 1, "{moving:?}");
    assert!(invalid[0]["figures"]["invalid"].as_u64().expect("a number") >= 30, "{moving:?}");
    let still = findings(&doctor(netns, "1s"), "counters");
    assert!(still.iter().all(|finding| !finding["figures"]["invalid"].is_u64()), "{still:?}");
}

fn datagrams_that_nobody_answers_are_told_by_their_source_and_destination(netns: &TestNetns) {
    let net = Net::new(netns);
    net.set_timeout("udp_timeout", 300);
    let target: SocketAddr = ([10, 2, 0, 2], 514).into();
    // Nobody listens, and no error comes back.
    net.drop_output("ip protocol icmp");
    net.inside.run(|| {
        for port in 20_000..21_200 {
            let socket = UdpSocket::bind(("0.0.0.0", port)).expect("a port");
            socket.send_to(b"x", target).expect("send");
        }
    });
    let found = findings(&doctor(netns, "0"), "unreplied");
    let [finding] = &*found else { panic!("{found:?}") };
    assert_eq!(finding["figures"]["pattern"], "one-source-one-target");
    let title = finding["title"].as_str().expect("a title");
    assert!(title.starts_with("10.1.0.2 sends to 10.2.0.2:514/udp from 1"), "{title}");
}
