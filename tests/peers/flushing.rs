//! What a flush does to connections that are in use.

use std::time::{Duration, Instant};

use crate::idle::distinct;
use crate::packet_monitor::PacketMonitor;
use crate::raw;
use ctnl_test_support::connections::{Tcp, Udp};
use ctnl_test_support::harness::{TestNetns, tests};
use ctnl_test_support::net::INSIDE;
use ctnl_test_support::net::OUTSIDE;

tests![
    a_flush_of_idle_entries_keeps_every_connection_in_use_working,
    a_soft_flush_of_everything_removes_only_idle_entries,
    a_connection_that_was_deleted_is_picked_up_again,
];

const SECOND: Duration = Duration::from_secs(1);

fn a_flush_of_idle_entries_keeps_every_connection_in_use_working(netns: &TestNetns) {
    let net = distinct(netns);
    let (mut idle, mut idle6) = (Tcp::open(&net), Tcp::open6(&net));
    let (mut busy, mut busy6, mut stuck) = (Tcp::open(&net), Tcp::open6(&net), Tcp::open(&net));
    let (idle_udp, busy_udp) = (Udp::open(&net), Udp::open(&net));
    Tcp::exchange_all([&mut idle, &mut idle6, &mut stuck]);
    idle_udp.exchange();
    net.inside.run(|| raw::ping(INSIDE, OUTSIDE, 7));
    let mut monitor = PacketMonitor::new(&net);
    net.drop_output(&format!("tcp sport {}", stuck.server.local_addr().unwrap().port()));
    for round in 0..19 {
        Tcp::exchange_all([&mut busy, &mut busy6]);
        busy_udp.exchange();
        if round == 16 {
            std::io::Write::write_all(&mut stuck.client, b"?").unwrap();
        }
        monitor.watch(SECOND / 2);
    }
    let before = netns.dump();
    let live = [busy.tuple(), busy6.tuple(), stuck.tuple(), busy_udp.tuple()];

    netns.ctnl(&["flush", "--older", "8s"]).exits_with(0).stderr_contains("4 matched, 4 deleted");

    let after = netns.dump();
    assert_eq!(after.len(), live.len(), "{after:#?}");
    for tuple in &live {
        let find = |flows: &[ctnl::model::Flow]| flows.iter().find(|flow| flow.orig == *tuple).map(|flow| flow.id);
        assert_eq!(find(&before), find(&after), "the entry of {tuple:?} is the same as before");
    }
    net.stop_dropping();
    std::io::Read::read_exact(&mut stuck.server, &mut [0]).expect("the byte that was on its way");
    Tcp::exchange_all([&mut busy, &mut busy6, &mut stuck]);
    busy_udp.exchange();
}

fn a_soft_flush_of_everything_removes_only_idle_entries(netns: &TestNetns) {
    let net = distinct(netns);
    let (mut idle, mut busy, mut busy6) = (Tcp::open(&net), Tcp::open(&net), Tcp::open6(&net));
    let (idle_udp, busy_udp) = (Udp::open(&net), Udp::open(&net));
    Tcp::exchange_all([&mut idle, &mut busy, &mut busy6]);
    [&idle_udp, &busy_udp].into_iter().for_each(Udp::exchange);
    netns.ctnl(&["flush", "--all", "--yes", "--soft=10"]).exits_with(0).stderr_contains("5 given a timeout of 10 s");
    assert_eq!(netns.dump().len(), 5, "none is gone at once");
    let start = Instant::now();
    while netns.dumped(&idle.tuple()).is_some() || netns.dumped(&idle_udp.tuple()).is_some() {
        assert!(start.elapsed() < 60 * SECOND, "an idle entry does not expire");
        Tcp::exchange_all([&mut busy, &mut busy6]);
        busy_udp.exchange();
        std::thread::sleep(SECOND / 4);
    }
    for connection in [&busy, &busy6] {
        let left = netns.dumped(&connection.tuple()).and_then(|flow| flow.timeout);
        assert!(left > Some(500), "the timeout is whole again: {left:?}");
    }
    assert!(netns.dumped(&busy_udp.tuple()).is_some());
}

/// What a wrong decision costs without NAT and with loose pickup (the default):
/// the counters, not the connection.
fn a_connection_that_was_deleted_is_picked_up_again(netns: &TestNetns) {
    let net = distinct(netns);
    let mut connection = Tcp::open(&net);
    connection.exchange();
    netns.ctnl(&["flush", "--all", "--yes"]).exits_with(0).stderr_contains("1 deleted");
    connection.exchange();
    assert!(netns.dumped(&connection.tuple()).is_some());
}
