//! Flows that nftables has put into a flowtable: the kernel forwards them past the
//! tracker, so the time of their last packet is unknown.

use std::time::{Duration, Instant};

use ctnl::model::{Flow, Status};

use crate::host;
use ctnl_test_support::connections::{Tcp, Udp};
use ctnl_test_support::harness::{TestNetns, tests};
use ctnl_test_support::net::{Net, conntrack, nft};

tests![
    an_offloaded_flow_is_never_idle_and_is_deleted_only_by_an_explicit_filter,
    a_flow_returned_from_a_flowtable_is_undecided_and_not_idle,
];

const FLOWTABLE: &str = "table inet fast {
    flowtable fast {
        hook ingress priority 0
        devices = { in0, out0 }
    }
    chain forward {
        type filter hook forward priority 0
        meta l4proto { tcp, udp } flow add @fast
    }
}";

fn an_offloaded_flow_is_never_idle_and_is_deleted_only_by_an_explicit_filter(netns: &TestNetns) {
    let net = Net::new(netns);
    let mut slow = Tcp::open(&net);
    slow.exchange();
    nft(FLOWTABLE);
    let (mut tcp, mut tcp6, udp) = (Tcp::open(&net), Tcp::open6(&net), Udp::open(&net));
    let offloaded = [tcp.tuple(), tcp6.tuple(), udp.tuple()];
    let deadline = Instant::now() + Duration::from_secs(20);
    let mut flows: Vec<Flow> = Vec::new();
    while flows.len() < offloaded.len() {
        assert!(Instant::now() < deadline, "the flowtable takes nothing: {:#?}", netns.dump());
        Tcp::exchange_all([&mut tcp, &mut tcp6]);
        udp.exchange();
        let is_offloaded = |flow: &Flow| flow.status.contains(Status::Offload) && offloaded.contains(&flow.orig);
        flows = netns.dump().into_iter().filter(is_offloaded).collect();
    }
    assert!(flows.iter().all(|flow| flow.timeout.is_none()), "{flows:#?}");

    // As conntrack(8) lists it.
    let listed = netns.ctnl(&["list", "-o", "conntrack", "ipv4", "and", "udp"]).exits_with(0).stdout();
    assert!(listed.contains("[OFFLOAD]"), "{listed}");
    assert_eq!(without_use(&listed), without_use(&conntrack(&["-L", "-p", "udp"])));

    // Whatever idle time is computed from their timeouts.
    let count = |filter: &[&str]| netns.ctnl(&[&["count"], filter].concat()).exits_with(0);
    assert_eq!(count(&["status", "offload"]).stdout().trim(), "3");
    std::thread::sleep(Duration::from_secs(4));
    for filter in [&["--older", "1s"][..], &["idle", "<", "1d"]] {
        count(filter).stderr_contains("3 offloaded");
    }
    netns
        .ctnl(&["flush", "--older", "1s", "--dry-run"])
        .exits_with(0)
        .stderr_contains("0 matched")
        .stderr_contains("3 offloaded");
    // The idle time of the slow one is unknown, too: it may have been in the flowtable.
    count(&["--older", "1s"]).stderr_contains("1 flowtable");

    let port = udp.tuple().dport().unwrap();
    netns
        .ctnl(&["flush", "status offload", "--dry-run"])
        .exits_with(0)
        .stderr_contains("3 matched, 3 would be deleted");
    netns.ctnl(&["flush", &format!("udp and dport {port}")]).exits_with(0).stderr_contains("1 matched, 1 deleted");
    let is_left = |tuple| netns.dumped(&tuple).is_some();
    assert!(is_left(tcp.tuple()) && is_left(tcp6.tuple()) && !is_left(udp.tuple()));
    // Its next packet makes it anew.
    udp.exchange();
    Tcp::exchange_all([&mut tcp, &mut tcp6]);
}

/// Packets in a flowtable do not refresh the tracker's timeout: a flow that was busy there has a computed
/// idle time as if it had been silent.
fn a_flow_returned_from_a_flowtable_is_undecided_and_not_idle(netns: &TestNetns) {
    const BUSY: Duration = Duration::from_secs(20);
    let net = Net::new(netns);
    nft(FLOWTABLE);
    // Where it is a setting, not the half minute.
    let setting = "/proc/sys/net/netfilter/nf_flowtable_tcp_timeout";
    let is_setting = std::fs::exists(setting).unwrap();
    assert_eq!(is_setting, host::release() >= (5, 13));
    if is_setting {
        host::write(setting, 3).unwrap();
    }
    let mut tcp = Tcp::open(&net);
    let is_offloaded = |flow: &Flow| flow.status.contains(Status::Offload);
    let began = Instant::now();
    while began.elapsed() < BUSY {
        tcp.exchange();
        std::thread::sleep(Duration::from_millis(250));
    }
    let quiet = Instant::now();
    let entry = || netns.dumped(&tcp.tuple()).expect("its entry");
    assert!(is_offloaded(&entry()), "{:#?}", entry());
    while is_offloaded(&entry()) {
        assert!(quiet.elapsed() < Duration::from_secs(90), "still in the flowtable");
        std::thread::sleep(Duration::from_millis(250));
    }
    let idle = quiet.elapsed().as_secs();
    let left = entry().timeout.expect("a timeout");
    println!("note: back after {idle} s without a packet and {} s of traffic, {left} s left", BUSY.as_secs());
    let older = format!("{}s", idle + 8);
    netns.ctnl(&["count", "--older", &older]).exits_with(0).stderr_contains("0 matched").stderr_contains("1 flowtable");
    netns.ctnl(&["flush", "--older", &older]).exits_with(0).stderr_contains("0 matched");
    // Two samples decide it.
    netns.ctnl(&["count", "--older", "2s", "--confirm-idle", "4"]).exits_with(0).stderr_contains("1 matched");
    tcp.exchange();
}

/// Lines without the reference count, which changes.
fn without_use(lines: &str) -> Vec<String> {
    let words = |line: &str| line.split(' ').filter(|word| !word.starts_with("use=")).collect::<Vec<_>>().join(" ");
    lines.lines().map(words).collect()
}
