//! A router is replaced: its table is saved, and restored in another namespace that gets its links and addresses.
//! Connections through NAT go on, in both directions.
//!
//! Neither router admits a packet of a connection that it does not know (`nf_conntrack_tcp_loose` is 0, and
//! invalid packets are dropped), and source ports are random: only the restored entries carry the connections.

use std::fs;
use std::io::{Read, Write};
use std::net::{TcpListener, UdpSocket};
use std::time::Duration;

use ctnl::model::Nat;

use ctnl_test_support::connections::Tcp;
use ctnl_test_support::harness::{TestNetns, tests};
use ctnl_test_support::net::{INSIDE, Namespace, Net, OUTSIDE, ROUTER, ip, nft};
use ctnl_test_support::summary::Restored;

tests![connections_through_nat_go_on_after_a_router_swap];

const RULES: &str = "table inet router {
    chain before {
        type nat hook prerouting priority -100
        ip daddr 10.1.0.1 tcp dport 8080 dnat ip to 10.2.0.2:8000
    }
    chain after {
        type nat hook postrouting priority 100
        oifname out0 masquerade random
    }
    chain between {
        type filter hook forward priority 0; policy drop
        ct state established,related accept
        ct state new tcp flags & (fin|syn|rst|ack) == syn accept
        ct state new meta l4proto udp accept
    }
}";

fn set_sysctl(name: &str, value: &str) {
    let path = format!("/proc/sys/net/{name}");
    fs::write(&path, value).unwrap_or_else(|error| panic!("cannot write {path}: {error}"));
}

/// Gives the links of the router, with their addresses, to `second`.
fn swap(second: &Namespace) {
    let path = second.path();
    ip(&format!("link set in0 netns {path}\nlink set out0 netns {path}"));
    second.run(|| {
        set_sysctl("ipv6/conf/all/accept_dad", "0");
        set_sysctl("ipv6/conf/default/accept_dad", "0");
        ip("link set lo up
            addr add 10.1.0.1/24 dev in0
            addr add fd00:1::1/64 dev in0 nodad
            addr add 10.2.0.1/24 dev out0
            addr add fd00:2::1/64 dev out0 nodad
            link set in0 up
            link set out0 up");
        set_sysctl("ipv4/ip_forward", "1");
        set_sysctl("ipv6/conf/all/forwarding", "1");
        set_sysctl("netfilter/nf_conntrack_tcp_loose", "0");
        nft(RULES);
    });
}

fn connections_through_nat_go_on_after_a_router_swap(netns: &TestNetns) {
    let net = Net::new(netns);
    netns.set_sysctl("netfilter/nf_conntrack_tcp_loose", 0);
    nft(RULES);
    let service = net.outside.run(|| TcpListener::bind((OUTSIDE, 8000)).expect("listen"));
    let mut kept = [Tcp::open(&net), Tcp::open6(&net), Tcp::through(&net, &service, (ROUTER, 8080).into())];
    let mut lost = Tcp::open(&net);
    kept.iter_mut().chain([&mut lost]).for_each(Tcp::exchange);
    let client = net.inside.run(|| UdpSocket::bind((INSIDE, 0)).expect("bind"));
    let server = net.outside.run(|| UdpSocket::bind((OUTSIDE, 5300)).expect("bind"));
    client.send_to(b"?", (OUTSIDE, 5300)).expect("send");
    let (_, seen_as) = server.recv_from(&mut [0; 8]).expect("receive");
    assert_ne!(seen_as.ip(), INSIDE, "it is translated");
    let before = netns.dump();
    assert!(before.iter().filter(|flow| Nat::of(flow).src).count() >= 5, "{before:#?}");

    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("table").to_str().expect("a name").to_owned();
    let without = format!("not sport {}", lost.client.local_addr().expect("a name").port());
    netns.ctnl(&["save", &without, &file]).exits_with(0);
    let second = Namespace::new();
    swap(&second);
    let restored = netns.ctnl(&["restore", "--json", "--netns", &second.path(), &file]).exits_with(0).stdout();
    let restored = Restored::read(&restored);
    assert_eq!((restored.restored, restored.expired), (restored.entries, 0), "{restored:?}");

    // The server begins: its packets reach the client only by the restored translation.
    for connection in &mut kept {
        connection.server.write_all(b"!").expect("send");
        connection.client.read_exact(&mut [0]).expect("receive");
        connection.exchange();
    }
    client.set_read_timeout(Some(Duration::from_secs(10))).expect("timeout");
    server.send_to(b"!", seen_as).expect("send");
    assert_eq!(client.recv(&mut [0; 8]).expect("receive"), 1);
    // What was not saved is lost: the others went on because they were restored.
    lost.server.set_read_timeout(Some(Duration::from_secs(1))).expect("timeout");
    lost.client.write_all(b"?").expect("send");
    assert!(lost.server.read_exact(&mut [0]).is_err());
}
