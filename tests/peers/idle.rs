//! The flows that `--older` matches, and those that it must never match, with real traffic.
//!
//! The timeouts differ so much that a wrong one gives an idle time that is minutes too long, and are so
//! long that nothing expires on a busy machine.

use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use ctnl::model::{Flow, ProtoInfo, Status, TcpState, Tuple, tcp_flag};

use crate::packet_monitor::PacketMonitor;
use crate::raw::{self, Sniffer};
use ctnl_test_support::connections::{Tcp, Udp};
use ctnl_test_support::harness::{TestNetns, tests};
use ctnl_test_support::net::{INSIDE, Net, OUTSIDE};

tests![
    connections_in_use_are_not_idle,
    a_connection_that_retransmits_is_not_idle,
    a_connection_that_probes_a_closed_window_is_not_idle,
    a_connection_with_unanswered_keepalives_is_not_idle,
    a_connection_with_answered_keepalives_is_not_idle,
    a_connection_picked_up_in_the_middle_is_not_idle,
    a_connection_that_ignored_a_forged_reset_is_not_idle,
    an_unanswered_connection_attempt_is_undecided_and_never_idle,
    udp_flows_are_idle_only_after_they_stopped,
    idle_connections_are_listed,
];

const ESTABLISHED: u32 = 600;
const UNACKNOWLEDGED: u32 = 250;
const RETRANSMITTED: u32 = 200;
const CLOSED: u32 = 150;

/// A network whose router has distinct timeouts, so that a wrong one is noticed.
pub fn distinct(netns: &TestNetns) -> Net<'_> {
    let net = Net::new(netns);
    for (name, seconds) in [
        ("tcp_timeout_established", ESTABLISHED),
        ("tcp_timeout_unacknowledged", UNACKNOWLEDGED),
        ("tcp_timeout_max_retrans", RETRANSMITTED),
        ("tcp_timeout_close", CLOSED),
        ("udp_timeout", 200),
        ("udp_timeout_stream", 400),
        ("icmp_timeout", 100),
    ] {
        net.set_timeout(name, seconds);
    }
    net
}

const SECOND: Duration = Duration::from_secs(1);

/// Watches for so many seconds, and runs the program every other second.
fn watch_and_list(monitor: &mut PacketMonitor<'_>, seconds: u32) {
    for _ in 0..seconds.div_ceil(2) {
        monitor.watch(2 * SECOND);
        for older in [1, 60] {
            monitor.list_older(older, &[]);
        }
    }
}

fn entry(netns: &TestNetns, tuple: &Tuple) -> Flow {
    netns.dumped(tuple).unwrap_or_else(|| panic!("no entry for {tuple:?} in {:#?}", netns.dump()))
}

/// Fails unless the entry is ESTABLISHED with a shorter timeout than that of ESTABLISHED: an idle time
/// computed from the timeout of ESTABLISHED is wrong by the difference.
#[track_caller]
fn assert_established_with_less(netns: &TestNetns, tuple: &Tuple, timeout: u32) {
    let flow = entry(netns, tuple);
    assert!(matches!(flow.protoinfo, ProtoInfo::Tcp(info) if info.state == TcpState::Established), "{flow:?}");
    assert!(flow.timeout <= Some(timeout), "{flow:?}");
}

fn connections_in_use_are_not_idle(netns: &TestNetns) {
    let net = distinct(netns);
    let mut connections = [Tcp::open(&net), Tcp::open6(&net)];
    let mut monitor = PacketMonitor::new(&net);
    for _ in 0..4 {
        for _ in 0..4 {
            connections.iter_mut().for_each(Tcp::exchange);
            monitor.watch(SECOND / 4);
        }
        monitor.list_older(1, &[]);
    }
}

fn a_connection_that_retransmits_is_not_idle(netns: &TestNetns) {
    let net = distinct(netns);
    let mut connection = Tcp::open(&net);
    connection.exchange();
    net.drop_output("");
    send(&connection);
    let mut monitor = PacketMonitor::new(&net);
    watch_and_list(&mut monitor, 7);
    let tuple = connection.tuple();
    assert_established_with_less(netns, &tuple, UNACKNOWLEDGED);
    let ProtoInfo::Tcp(info) = entry(netns, &tuple).protoinfo else { panic!("TCP") };
    assert!(info.flags_orig.unwrap_or(0) & tcp_flag::DATA_UNACKNOWLEDGED != 0);
}

fn a_connection_that_probes_a_closed_window_is_not_idle(netns: &TestNetns) {
    let net = distinct(netns);
    let mut connection = Tcp::open_narrow(&net);
    connection.send_until_full();
    let mut monitor = PacketMonitor::new(&net);
    watch_and_list(&mut monitor, 7);
    assert_established_with_less(netns, &connection.tuple(), RETRANSMITTED);
}

fn a_connection_with_unanswered_keepalives_is_not_idle(netns: &TestNetns) {
    let net = distinct(netns);
    let mut connection = Tcp::open(&net);
    connection.exchange();
    connection.keep_alive();
    net.drop_output("");
    let mut monitor = PacketMonitor::new(&net);
    watch_and_list(&mut monitor, 7);
    assert_established_with_less(netns, &connection.tuple(), RETRANSMITTED);
    assert!(monitor.packets(&connection.tuple()) >= 10, "the keepalives have passed");
}

fn a_connection_with_answered_keepalives_is_not_idle(netns: &TestNetns) {
    let net = distinct(netns);
    let mut connection = Tcp::open(&net);
    connection.exchange();
    connection.keep_alive();
    let mut monitor = PacketMonitor::new(&net);
    let before = monitor.packets(&connection.tuple());
    watch_and_list(&mut monitor, 4);
    assert!(monitor.packets(&connection.tuple()) >= before + 4, "the keepalives have passed");
}

fn a_connection_picked_up_in_the_middle_is_not_idle(netns: &TestNetns) {
    let net = distinct(netns);
    let mut connection = Tcp::open(&net);
    connection.exchange();
    netns.ctnl(&["flush", "--all", "--yes", "--no-spare-ssh"]).exits_with(0);
    assert_eq!(netns.dump(), []);
    net.drop_output("");
    send(&connection);
    let mut monitor = PacketMonitor::new(&net);
    watch_and_list(&mut monitor, 5);
    assert_established_with_less(netns, &connection.tuple(), UNACKNOWLEDGED);
    assert!(!entry(netns, &connection.tuple()).status.contains(Status::SeenReply));
}

/// A forged reset with the right ports and a sequence number within the window. The receiver answers
/// with a challenge ACK and keeps the connection; the answer is dropped before the router, because it
/// would restore the timeout.
fn a_connection_that_ignored_a_forged_reset_is_not_idle(netns: &TestNetns) {
    let net = distinct(netns);
    let mut connection = Tcp::open(&net);
    connection.exchange();
    let (client, server) =
        (connection.client.local_addr().unwrap().port(), connection.server.local_addr().unwrap().port());
    net.outside.run(|| {
        let sniffer = Sniffer::new();
        connection.exchange();
        let (_, expected) = sniffer.next(client, server);
        std::thread::sleep(SECOND / 5);
        net.inside.run(|| {
            ctnl_test_support::net::nft(
                "table inet deaf {\nchain input {\ntype filter hook input priority 0; policy drop;\n}\n}",
            )
        });
        // The answer to the client's question was one byte long.
        raw::reset((OUTSIDE, server), (INSIDE, client), expected.wrapping_add(1 + 10));
    });
    let mut monitor = PacketMonitor::new(&net);
    watch_and_list(&mut monitor, 4);
    // CLOSE's timeout, and on Linux 7.3 that of data which is not acknowledged.
    assert_established_with_less(netns, &connection.tuple(), UNACKNOWLEDGED);
}

fn an_unanswered_connection_attempt_is_undecided_and_never_idle(netns: &TestNetns) {
    let net = distinct(netns);
    net.drop_output("");
    let target = SocketAddr::new(OUTSIDE.into(), 9);
    std::thread::scope(|scope| {
        scope.spawn(|| net.inside.run(|| TcpStream::connect_timeout(&target, 5 * SECOND).expect_err("silence")));
        let mut monitor = PacketMonitor::new(&net);
        watch_and_list(&mut monitor, 4);
        assert_eq!(monitor.list_older(1, &["tcp"]), []);
        netns.ctnl(&["count", "--older", "1s", "tcp"]).exits_with(0).stderr_contains("undecided: 1 not-refreshed");
    });
}

fn udp_flows_are_idle_only_after_they_stopped(netns: &TestNetns) {
    let net = distinct(netns);
    let (once, answered, stream, stream6) = (Udp::open(&net), Udp::open(&net), Udp::open(&net), Udp::open6(&net));
    once.send_one_way();
    answered.exchange();
    let mut monitor = PacketMonitor::new(&net);
    // A flow with replies after two seconds is a stream (`nf_conntrack_udp_packet`).
    for _ in 0..10 {
        stream.exchange();
        stream6.exchange();
        monitor.watch(SECOND / 3);
    }
    for stream in [&stream, &stream6] {
        assert!(entry(netns, &stream.tuple()).status.contains(Status::Assured));
        stream.exchange();
    }
    let listed = monitor.list_older(2, &["udp"]);
    assert!(listed.contains(&once.tuple()) && listed.contains(&answered.tuple()), "{listed:?}");
    monitor.watch(3 * SECOND);
    assert_eq!(monitor.list_older(2, &["udp"]).len(), 4);
}

fn idle_connections_are_listed(netns: &TestNetns) {
    let net = distinct(netns);
    let mut idle = [Tcp::open(&net), Tcp::open6(&net)];
    idle.iter_mut().for_each(Tcp::exchange);
    net.inside.run(|| raw::ping(INSIDE, OUTSIDE, 77));
    let mut fresh = Tcp::open(&net);
    let mut monitor = PacketMonitor::new(&net);
    for _ in 0..9 {
        fresh.exchange();
        monitor.watch(SECOND / 2);
    }
    fresh.exchange();
    let listed = monitor.list_older(3, &[]);
    for tuple in idle.iter().map(Tcp::tuple) {
        assert!(listed.contains(&tuple), "{tuple:?}");
    }
    assert_eq!(monitor.list_older(3, &["icmp"]).len(), 1);
    let count = netns.ctnl(&["count", "--older", "3s", "tcp"]).exits_with(0).stdout();
    // On a very busy machine the fresh one may have become idle as well; the two that are idle count always.
    let possible: &[&str] = if monitor.silent_for(&fresh.tuple()) < 3 * SECOND { &["2"] } else { &["2", "3"] };
    assert!(possible.contains(&count.trim()), "{count}");
}

/// Sends a byte that may get lost.
fn send(connection: &Tcp) {
    use std::io::Write;
    (&connection.client).write_all(b"?").expect("send");
}
