//! A timeout policy of nftables: a dump does not contain which flows it applies to.

use std::time::Duration;

use ctnl_test_support::connections::{Tcp, Udp};
use ctnl_test_support::harness::{TestNetns, tests};
use ctnl_test_support::net::{Net, nft};

tests![a_timeout_policy_makes_idle_times_unknown_for_its_protocol_only];

const POLICY: &str = "table ip policies {
    ct timeout long {
        protocol tcp
        l3proto ip
        policy = { established : 864000 }
    }
    chain prerouting {
        type filter hook prerouting priority -150
        tcp dport 1-65535 ct timeout set \"long\"
    }
}";

fn a_timeout_policy_makes_idle_times_unknown_for_its_protocol_only(netns: &TestNetns) {
    let net = Net::new(netns);
    nft(POLICY);
    let (mut tcp, mut tcp6, udp) = (Tcp::open(&net), Tcp::open6(&net), Udp::open(&net));
    Tcp::exchange_all([&mut tcp, &mut tcp6]);
    udp.exchange();
    let left = |tuple| netns.dumped(&tuple).and_then(|flow| flow.timeout);
    assert!(left(tcp.tuple()) > Some(432_000), "the policy is in force: {:?}", left(tcp.tuple()));
    assert!(left(tcp6.tuple()) <= Some(432_000), "and for IPv4 only");
    std::thread::sleep(Duration::from_secs(5));
    let old = netns.ctnl(&["count", "--older", "3s"]).exits_with(0);
    assert_eq!(old.stdout().trim(), "2");
    old.stderr_contains("1 timeout-policy");
    netns.ctnl(&["flush", "--older", "3s"]).exits_with(0).stderr_contains("2 matched, 2 deleted");
    assert!(left(tcp.tuple()).is_some());
}
