//! Idle times after a sysctl has changed, and under timeout policies.

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use crate::idle::distinct;
use crate::packet_monitor::PacketMonitor;
use ctnl_test_support::connections::Tcp;
use ctnl_test_support::harness::{TestNetns, tests};
use ctnl_test_support::net::nft;

tests![
    a_lowered_timeout_leaves_entries_undecided_unless_its_previous_value_is_given,
    a_slightly_lowered_timeout_never_makes_an_entry_look_more_idle,
    a_raised_timeout_overstates_idle_times_as_documented_unless_its_previous_value_is_given,
    sampling_twice_is_exact_after_a_timeout_was_raised,
    sampling_twice_needs_no_counters,
    a_timeout_policy_leaves_its_protocol_undecided_unless_sampled_twice,
];

const ESTABLISHED: &str = "tcp_timeout_established";
const SECOND: Duration = Duration::from_secs(1);

fn a_lowered_timeout_leaves_entries_undecided_unless_its_previous_value_is_given(netns: &TestNetns) {
    let net = distinct(netns);
    net.set_timeout(ESTABLISHED, 6000);
    let mut connection = Tcp::open(&net);
    connection.exchange();
    let mut monitor = PacketMonitor::with_previous_timeouts(&net, &["tcp.established=6000"]);
    let mut monitor_without = PacketMonitor::new(&net);
    net.set_timeout(ESTABLISHED, 600);
    monitor.watch(5 * SECOND);
    monitor_without.sample_all();
    netns.ctnl(&["count", "--older", "3s", "tcp"]).exits_with(0).stderr_contains("undecided: 1 longer-than-sysctl");
    assert_eq!(monitor.list_older(3, &[]), []);
    let previous = ["--base-timeout", "tcp.established=100m"];
    assert_eq!(monitor.list_older(3, &previous), [connection.tuple()]);
    // The next packet sets the new timeout, and the idle time is exact again.
    connection.exchange();
    assert_eq!(monitor.list_older(60, &previous), []);
    monitor.watch(4 * SECOND);
    assert_eq!(monitor.list_older(3, &[]), [connection.tuple()]);
}

fn a_slightly_lowered_timeout_never_makes_an_entry_look_more_idle(netns: &TestNetns) {
    let net = distinct(netns);
    let mut connection = Tcp::open(&net);
    connection.exchange();
    let mut monitor = PacketMonitor::new(&net);
    monitor.watch(5 * SECOND);
    net.set_timeout(ESTABLISHED, 598);
    monitor.watch(3 * SECOND);
    monitor.list_older(4, &["--base-timeout", "tcp.established=600"]);
    assert_eq!(monitor.list_older(4, &[]), [connection.tuple()]);
}

/// As documented in `ctnl help filter` and README: the computed idle time is too large by the
/// difference until the entry's next packet, unless the previous value is given.
fn a_raised_timeout_overstates_idle_times_as_documented_unless_its_previous_value_is_given(netns: &TestNetns) {
    let net = distinct(netns);
    let mut connection = Tcp::open(&net);
    connection.exchange();
    net.set_timeout(ESTABLISHED, 6000);
    let count = |more: &[&str]| {
        let arguments = [&["count", "tcp", "--older", "5000s"], more].concat();
        netns.ctnl(&arguments).exits_with(0).stdout().trim().to_owned()
    };
    assert_eq!(count(&[]), "1", "the idle time is exact: change the help");
    assert_eq!(count(&["--base-timeout", "tcp.established=600"]), "0");
    let mut monitor = PacketMonitor::with_previous_timeouts(&net, &["tcp.established=600"]);
    monitor.watch(2 * SECOND);
    connection.exchange();
    assert_eq!(count(&[]), "0");
    let help = netns.ctnl(&["help", "filter"]).exits_with(0).stdout();
    assert!(help.contains("was raised: until its next packet, an entry then seems idle for the\ndifference"), "{help}");
}

fn sampling_twice_is_exact_after_a_timeout_was_raised(netns: &TestNetns) {
    sample_twice_after_raising_a_timeout(netns, true);
}

fn sampling_twice_needs_no_counters(netns: &TestNetns) {
    sample_twice_after_raising_a_timeout(netns, false);
}

/// A connection in use and an idle one.
fn sample_twice_after_raising_a_timeout(netns: &TestNetns, with_counters: bool) {
    let net = distinct(netns);
    netns.set_sysctl("netfilter/nf_conntrack_acct", u8::from(with_counters));
    let (mut busy, mut idle) = (Tcp::open(&net), Tcp::open(&net));
    busy.exchange();
    idle.exchange();
    net.set_timeout(ESTABLISHED, 6000);
    let finished = AtomicBool::new(false);
    let run = thread::scope(|scope| {
        scope.spawn(|| {
            while !finished.load(Ordering::Relaxed) {
                // Rare enough that both samples find about the same remaining timeout.
                busy.exchange();
                thread::sleep(SECOND);
            }
        });
        let arguments = ["flush", "tcp", "--older", "3s", "--confirm-idle", "4"];
        let run = netns.ctnl(&arguments);
        finished.store(true, Ordering::Relaxed);
        run
    });
    run.exits_with(0).stderr_contains("1 matched, 1 deleted;");
    assert!(netns.dumped(&busy.tuple()).is_some(), "the one in use stays");
    assert!(netns.dumped(&idle.tuple()).is_none(), "the idle one goes");
    busy.exchange();
}

const POLICY: &str = "table ip policies {
    ct timeout short {
        protocol tcp
        l3proto ip
        policy = { established : 300 }
    }
    chain forward {
        type filter hook prerouting priority -150;
        tcp dport 1-65535 ct timeout set \"short\"
    }
}";

fn a_timeout_policy_leaves_its_protocol_undecided_unless_sampled_twice(netns: &TestNetns) {
    let net = distinct(netns);
    nft(POLICY);
    let (mut connection, mut other) = (Tcp::open(&net), Tcp::open6(&net));
    connection.exchange();
    other.exchange();
    let left = netns.dumped(&connection.tuple()).and_then(|flow| flow.timeout);
    assert!(left <= Some(300), "the policy is in force: {left:?}");
    let mut monitor = PacketMonitor::new(&net);
    assert_eq!(monitor.list_older(2, &["ipv4"]), []);
    monitor.watch(5 * SECOND);
    assert_eq!(monitor.list_older(3, &["ipv4"]), []);
    netns.ctnl(&["count", "ipv4", "--older", "3s"]).exits_with(0).stderr_contains("undecided: 1 timeout-policy");
    assert_eq!(monitor.list_older(3, &["ipv4", "--confirm-idle", "4"]), [connection.tuple()]);
    // The policy is for IPv4 only.
    assert_eq!(monitor.list_older(3, &["ipv6"]), [other.tuple()]);
}
