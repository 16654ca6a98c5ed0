//! Idle times after a sysctl has changed, and under timeout policies.

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use crate::idle::distinct;
use crate::witness::Witness;
use ctnl_test_support::harness::{World, tests};
use ctnl_test_support::net::nft;
use ctnl_test_support::talk::Tcp;

tests![
    a_lowered_sysctl_leaves_entries_undecided_until_its_earlier_value_is_told,
    a_slightly_lowered_sysctl_makes_entries_look_less_idle_never_more,
    a_raised_sysctl_is_the_documented_hole_and_a_base_timeout_closes_it,
    looking_twice_closes_the_hole_of_a_raised_sysctl,
    looking_twice_needs_no_counters,
    a_timeout_policy_leaves_its_protocol_undecided_until_one_looks_twice,
];

const ESTABLISHED: &str = "tcp_timeout_established";
const SECOND: Duration = Duration::from_secs(1);

fn a_lowered_sysctl_leaves_entries_undecided_until_its_earlier_value_is_told(world: &World) {
    let net = distinct(world);
    net.set_timeout(ESTABLISHED, 6000);
    let mut connection = Tcp::open(&net);
    connection.exchange();
    let mut witness = Witness::with_bases(&net, &["tcp.established=6000"]);
    let mut witness_without = Witness::new(&net);
    net.set_timeout(ESTABLISHED, 600);
    witness.watch(5 * SECOND);
    witness_without.look_at_all();
    world.ctnl(&["count", "--older", "3s", "tcp"]).exits_with(0).says("undecided: 1 longer-than-sysctl");
    assert_eq!(witness.list_older(3, &[]), []);
    let told = ["--base-timeout", "tcp.established=100m"];
    assert_eq!(witness.list_older(3, &told), [connection.tuple()]);
    // The next packet sets the entry right, told or not.
    connection.exchange();
    assert_eq!(witness.list_older(60, &told), []);
    witness.watch(4 * SECOND);
    assert_eq!(witness.list_older(3, &[]), [connection.tuple()]);
}

fn a_slightly_lowered_sysctl_makes_entries_look_less_idle_never_more(world: &World) {
    let net = distinct(world);
    let mut connection = Tcp::open(&net);
    connection.exchange();
    let mut witness = Witness::new(&net);
    witness.watch(5 * SECOND);
    net.set_timeout(ESTABLISHED, 598);
    witness.watch(3 * SECOND);
    witness.list_older(4, &["--base-timeout", "tcp.established=600"]);
    assert_eq!(witness.list_older(4, &[]), [connection.tuple()]);
}

/// What `ctnl help filter` and README say of it: the entry looks idle for the
/// difference until its next packet, or until the old value is told.
fn a_raised_sysctl_is_the_documented_hole_and_a_base_timeout_closes_it(world: &World) {
    let net = distinct(world);
    let mut connection = Tcp::open(&net);
    connection.exchange();
    net.set_timeout(ESTABLISHED, 6000);
    let count = |more: &[&str]| {
        let arguments = [&["count", "tcp", "--older", "5000s"], more].concat();
        world.ctnl(&arguments).exits_with(0).stdout().trim().to_owned()
    };
    assert_eq!(count(&[]), "1", "the hole is gone: say so in the help");
    assert_eq!(count(&["--base-timeout", "tcp.established=600"]), "0");
    let mut witness = Witness::with_bases(&net, &["tcp.established=600"]);
    witness.watch(2 * SECOND);
    connection.exchange();
    assert_eq!(count(&[]), "0");
    let help = world.ctnl(&["help", "filter"]).exits_with(0).stdout();
    assert!(help.contains("was raised: until its next packet, an entry then seems idle for the\ndifference"), "{help}");
}

fn looking_twice_closes_the_hole_of_a_raised_sysctl(world: &World) {
    looks_twice_after_raising(world, true);
}

fn looking_twice_needs_no_counters(world: &World) {
    looks_twice_after_raising(world, false);
}

/// A connection in use and an idle one.
fn looks_twice_after_raising(world: &World, with_counters: bool) {
    let net = distinct(world);
    world.set_sysctl("netfilter/nf_conntrack_acct", u8::from(with_counters));
    let (mut busy, mut idle) = (Tcp::open(&net), Tcp::open(&net));
    busy.exchange();
    idle.exchange();
    net.set_timeout(ESTABLISHED, 6000);
    let finished = AtomicBool::new(false);
    let run = thread::scope(|scope| {
        scope.spawn(|| {
            while !finished.load(Ordering::Relaxed) {
                // Rare enough that both looks find about the same time left.
                busy.exchange();
                thread::sleep(SECOND);
            }
        });
        let arguments = ["flush", "tcp", "--older", "3s", "--confirm-idle", "4"];
        let run = world.ctnl(&arguments);
        finished.store(true, Ordering::Relaxed);
        run
    });
    run.exits_with(0).says("1 matched, 1 deleted;");
    assert!(world.dumped(&busy.tuple()).is_some(), "the one in use stays");
    assert!(world.dumped(&idle.tuple()).is_none(), "the idle one goes");
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

fn a_timeout_policy_leaves_its_protocol_undecided_until_one_looks_twice(world: &World) {
    let net = distinct(world);
    nft(POLICY);
    let (mut connection, mut other) = (Tcp::open(&net), Tcp::open6(&net));
    connection.exchange();
    other.exchange();
    let left = world.dumped(&connection.tuple()).and_then(|flow| flow.timeout);
    assert!(left <= Some(300), "the policy is in force: {left:?}");
    let mut witness = Witness::new(&net);
    assert_eq!(witness.list_older(2, &["ipv4"]), []);
    witness.watch(5 * SECOND);
    assert_eq!(witness.list_older(3, &["ipv4"]), []);
    world.ctnl(&["count", "ipv4", "--older", "3s"]).exits_with(0).says("undecided: 1 timeout-policy");
    assert_eq!(witness.list_older(3, &["ipv4", "--confirm-idle", "4"]), [connection.tuple()]);
    // The policy is for IPv4 only.
    assert_eq!(witness.list_older(3, &["ipv6"]), [other.tuple()]);
}
