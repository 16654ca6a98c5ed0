//! `ctnl doctor` about rules and NAT: with rules of nft, and real packets.

use std::fs;
use std::net::{IpAddr, Ipv4Addr, UdpSocket};
use std::process::{Command, Stdio};
use std::time::Duration;

use ctnl::model::{Flow, L4, Protocol, Status, Tuple};
use serde_json::Value;

use ctnl_test_support::harness::{TestNetns, entry, tests};
use ctnl_test_support::net::{
    INSIDE, INSIDE6, Namespace, Net, OUTSIDE, OUTSIDE6, PATH, ROUTER, ROUTER_OUTSIDE, ip, nft,
};
use ctnl_test_support::running::until;

tests![
    a_range_of_nat_ports_that_runs_dry_is_found_with_the_sources_that_use_it,
    clients_of_a_changed_dnat_rule_are_found_and_the_flush_hits_no_other_entry,
    entries_with_a_source_address_that_is_gone_are_found_and_flushed,
    with_the_rules_that_are_printed_no_entry_is_made_in_either_direction,
    entries_that_are_left_of_removed_rules_are_tracked_without_need,
    entries_from_before_a_listener_may_be_silent,
];

/// What doctor prints.
pub fn doctor(netns: &TestNetns) -> Value {
    let report = netns.ctnl(&["doctor", "--json", "--watch", "1s"]).stdout();
    serde_json::from_str(&report).unwrap_or_else(|error| panic!("{error}: {report}"))
}

/// The findings of a check.
pub fn findings<'r>(report: &'r Value, check: &str) -> Vec<&'r Value> {
    report["findings"].as_array().unwrap().iter().filter(|finding| finding["check"] == check).collect()
}

/// The only finding of a check.
pub fn finding<'r>(report: &'r Value, check: &str) -> &'r Value {
    let found = findings(report, check);
    assert_eq!(found.len(), 1, "{report:#}");
    found[0]
}

/// The texts for review of a finding.
pub fn texts(finding: &Value) -> Vec<&str> {
    finding["fixes"].as_array().unwrap().iter().filter_map(|fix| fix["text"].as_str()).collect()
}

/// Runs the command of a finding that begins with `words`, with `more` arguments.
fn run(netns: &TestNetns, finding: &Value, words: &str, more: &[&str]) -> String {
    let commands = finding["fixes"].as_array().unwrap().iter().filter_map(|fix| fix["command"].as_str());
    let command = commands.clone().find(|line| line.starts_with(words)).unwrap_or_else(|| panic!("{finding:#}"));
    let arguments = shlex::split(command).unwrap();
    let arguments: Vec<_> = arguments.iter().skip(1).map(String::as_str).chain(more.iter().copied()).collect();
    netns.ctnl(&arguments).exits_with(0).stdout()
}

/// Sockets of the host inside, on ports from `first` on.
pub fn clients(net: &Net<'_>, first: u16, count: u16) -> Vec<UdpSocket> {
    let bind = |port| net.inside.run(|| UdpSocket::bind((INSIDE, port)).unwrap());
    (first..first + count).map(bind).collect()
}

/// Sends `packets` from each. An ICMP error of an earlier one is of no matter.
pub fn send(clients: &[UdpSocket], packets: usize, to: Ipv4Addr, port: u16) {
    for client in clients {
        (0..packets).for_each(|_| drop(client.send_to(b"?", (to, port))));
    }
}

/// A socket that receives, and answers nothing.
pub fn sink(namespace: &Namespace, address: impl Into<IpAddr>, port: u16) -> UdpSocket {
    let address = address.into();
    namespace.run(|| UdpSocket::bind((address, port)).unwrap())
}

fn nat_rules(hook: &str, priority: i32, rule: &str) {
    nft(&format!(
        "table ip nat\ndelete table ip nat\ntable ip nat {{\nchain c {{\ntype nat hook {hook} priority {priority}\n{rule}\n}}\n}}"
    ));
}

fn with(flows: &[Flow], wanted: impl Fn(&Flow) -> bool) -> usize {
    flows.iter().filter(|flow| wanted(flow)).count()
}

fn a_range_of_nat_ports_that_runs_dry_is_found_with_the_sources_that_use_it(netns: &TestNetns) {
    let net = Net::new(netns);
    let _server = sink(&net.outside, OUTSIDE, 5353);
    nat_rules("postrouting", 100, "ip protocol udp oifname out0 snat to 10.2.0.1:2000-2009");
    let many = clients(&net, 40_000, 12);
    send(&many[..7], 1, OUTSIDE, 5353);
    // Ports are used anew for another destination.
    send(&many[..7], 1, OUTSIDE, 5354);
    assert!(findings(&doctor(netns), "nat-ports").is_empty(), "7 of 10");
    send(&many[7..9], 1, OUTSIDE, 5353);
    let report = doctor(netns);
    let found = finding(&report, "nat-ports");
    assert_eq!(found["severity"], "warning");
    let figures =
        ["used", "ports", "first_port", "last_port", "destination_port"].map(|name| found["figures"][name].as_u64());
    assert_eq!(figures, [9, 10, 2000, 2009, 5353].map(Some));
    assert!(found["evidence"].as_array().unwrap().contains(&Value::from("10.1.0.2 uses 9 of them")), "{found:#}");
    let counted = run(netns, found, "ctnl count", &[]);
    let row: Vec<_> = counted.lines().nth(1).unwrap_or_default().split_whitespace().collect();
    assert_eq!((row.first(), row.last()), (Some(&"9"), Some(&"10.1.0.2")), "{counted}");
    // The last free port, and two connections that fail.
    send(&many[9..], 1, OUTSIDE, 5353);
    let report = doctor(netns);
    let found = finding(&report, "nat-ports");
    assert_eq!((&found["severity"], &found["figures"]["used"]), (&Value::from("critical"), &Value::from(10)));
    let evidence = found["evidence"].to_string();
    assert!(evidence.contains("insert_failed: 0 in 1 s, 2 in total"), "{evidence}");
}

fn clients_of_a_changed_dnat_rule_are_found_and_the_flush_hits_no_other_entry(netns: &TestNetns) {
    const NEW: Ipv4Addr = Ipv4Addr::new(10, 2, 0, 7);
    let net = Net::new(netns);
    net.outside.run(|| ip("addr add 10.2.0.7/24 dev eth0"));
    let old_server = sink(&net.outside, OUTSIDE, 514);
    let _new_server = sink(&net.outside, NEW, 514);
    nat_rules("prerouting", -100, "ip daddr 10.1.0.1 udp dport 514 dnat to 10.2.0.2:514");
    let (stale, served) = (clients(&net, 50_000, 5), clients(&net, 51_000, 1));
    send(&stale, 4, ROUTER, 514);
    send(&served, 1, ROUTER, 514);
    old_server.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
    loop {
        let (_, from) = old_server.recv_from(&mut [0; 8]).unwrap();
        if from.port() == 51_000 {
            old_server.send_to(b"!", from).unwrap();
            break;
        }
    }
    served[0].recv_from(&mut [0; 8]).unwrap();
    // Without NAT, and unreplied.
    let plain = clients(&net, 52_000, 3);
    send(&plain, 4, OUTSIDE, 514);
    assert!(findings(&doctor(netns), "stale-nat").is_empty(), "the rule is still there");

    nat_rules("prerouting", -100, "ip daddr 10.1.0.1 udp dport 514 dnat to 10.2.0.7:514");
    send(&stale, 1, ROUTER, 514);
    let report = doctor(netns);
    let found = finding(&report, "stale-nat");
    assert_eq!(found["figures"]["entries"], 5, "{found:#}");
    let before = netns.dump();
    let filter = found["figures"]["filter"].as_str().unwrap();
    assert_eq!(netns.ctnl(&["count", filter]).exits_with(0).stdout().trim(), "5");
    run(netns, found, "ctnl flush", &["--yes"]);
    let after = netns.dump();
    let is_stale = |flow: &Flow| flow.orig.sport().is_some_and(|port| (50_000..50_005).contains(&port));
    assert_eq!((with(&before, is_stale), with(&after, is_stale)), (5, 0));
    let is_other = |flow: &Flow| !is_stale(flow);
    assert_eq!((with(&before, is_other), with(&after, is_other)), (4, 4), "{after:?}");
    send(&stale, 1, ROUTER, 514);
    let to_new = |flow: &Flow| is_stale(flow) && flow.reply.src == IpAddr::from(NEW);
    // On a busy host the kernel forwards packets later, in a thread of its own.
    until(|| with(&netns.dump(), to_new) == 5, || format!("entries of now: {:?}", netns.dump()));
    assert!(findings(&doctor(netns), "stale-nat").is_empty());
}

fn entries_with_a_source_address_that_is_gone_are_found_and_flushed(netns: &TestNetns) {
    let net = Net::new(netns);
    let _server = sink(&net.outside, OUTSIDE, 5353);
    ip("addr add 10.2.0.9/24 dev out0");
    nat_rules("postrouting", 100, "ip protocol udp oifname out0 snat to 10.2.0.9");
    let (clients, bystander) = (clients(&net, 53_000, 4), clients(&net, 54_000, 1));
    send(&clients, 4, OUTSIDE, 5353);
    nat_rules("postrouting", 100, "ip protocol udp oifname out0 snat to 10.2.0.1");
    send(&bystander, 4, OUTSIDE, 5353);
    assert!(findings(&doctor(netns), "stale-nat").is_empty(), "the host still has the address");
    ip("addr del 10.2.0.9/24 dev out0");
    let report = doctor(netns);
    let found = finding(&report, "stale-nat");
    assert_eq!(
        (&found["figures"]["source"], &found["figures"]["entries"]),
        (&Value::from("10.2.0.9"), &Value::from(4))
    );
    let filter = found["figures"]["filter"].as_str().unwrap();
    assert_eq!(netns.ctnl(&["count", filter]).exits_with(0).stdout().trim(), "4");
    run(netns, found, "ctnl flush", &["--yes"]);
    send(&clients, 1, OUTSIDE, 5353);
    let of_now = |flow: &Flow| flow.reply.dst == IpAddr::from(ROUTER_OUTSIDE);
    until(|| with(&netns.dump(), of_now) == 5, || format!("entries of now: {:?}", netns.dump()));
    assert!(findings(&doctor(netns), "stale-nat").is_empty());
}

/// Fills a third of the table with entries of DNS, of both families, and returns the finding about them.
pub fn busy_dns(netns: &TestNetns) -> Value {
    let max: u32 = netns.sysctl("netfilter/nf_conntrack_max").parse().unwrap();
    let dns = |number: u32| {
        let v6 = number.is_multiple_of(2);
        let dst: IpAddr = if v6 { OUTSIDE6.into() } else { OUTSIDE.into() };
        let src: IpAddr = if v6 {
            (u128::from(number) | 0xfd00_0001 << 96).to_be_bytes().into()
        } else {
            (number | 0x0b00_0000).to_be_bytes().into()
        };
        let l4 = L4::Ports { src: 4000, dst: 53 };
        let mut flow = entry(Tuple { src, dst, protocol: Protocol::Udp, l4, ..Tuple::UNSPECIFIED });
        flow.status |= Status::SeenReply;
        flow
    };
    netns.create(&(0..max / 3).map(dns).collect::<Vec<_>>());
    let report = doctor(netns);
    let found = finding(&report, "busy-port");
    assert_eq!((&found["figures"]["protocol"], &found["figures"]["port"]), (&Value::from("udp"), &Value::from(53)));
    found.clone()
}

/// Sends DNS through, to and from the router, with answers, and something else; returns the entries of DNS.
pub fn dns_entries_after_traffic(net: &Net<'_>) -> Vec<Flow> {
    net.netns.ctnl(&["flush", "--all", "--yes"]).exits_with(0);
    let servers = [sink(&net.outside, OUTSIDE, 53), sink(&net.outside, OUTSIDE6, 53)];
    let on_router = [UdpSocket::bind((ROUTER, 53)).unwrap()];
    let clients = [
        net.inside.run(|| UdpSocket::bind((INSIDE, 0)).unwrap()),
        net.inside.run(|| UdpSocket::bind((INSIDE6, 0)).unwrap()),
    ];
    let of_router = UdpSocket::bind((ROUTER_OUTSIDE, 0)).unwrap();
    for (client, server) in [
        (&clients[0], &servers[0]),
        (&clients[1], &servers[1]),
        (&clients[0], &on_router[0]),
        (&of_router, &servers[0]),
    ] {
        for socket in [client, server] {
            socket.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
        }
        client.send_to(b"?", server.local_addr().unwrap()).unwrap();
        let (_, from) = server.recv_from(&mut [0; 8]).unwrap();
        server.send_to(b"!", from).unwrap();
        client.recv_from(&mut [0; 8]).unwrap();
    }
    clients[0].send_to(b"?", (OUTSIDE, 54)).unwrap();
    let all = net.netns.dump();
    assert_eq!(with(&all, |flow| flow.orig.dport() == Some(54)), 1, "others are tracked");
    all.into_iter().filter(|flow| [flow.orig.sport(), flow.orig.dport()].contains(&Some(53))).collect()
}

fn with_the_rules_that_are_printed_no_entry_is_made_in_either_direction(netns: &TestNetns) {
    let net = Net::new(netns);
    let found = busy_dns(netns);
    assert_eq!(dns_entries_after_traffic(&net).len(), 4, "tracked without the rules");
    let file = tempfile::NamedTempFile::new().unwrap();
    fs::write(file.path(), texts(&found)[0]).unwrap();
    let check = Command::new("nft").arg("-c").arg("-f").arg(file.path()).env("PATH", PATH).status().unwrap();
    assert!(check.success());
    nft(texts(&found)[0]);
    assert_eq!(dns_entries_after_traffic(&net), []);
    let report = doctor(netns);
    let need = finding(&report, "tracking-need");
    assert!(need["evidence"].to_string().contains("4 of them exempt packets from tracking (notrack)"), "{need:#}");
}

fn entries_that_are_left_of_removed_rules_are_tracked_without_need(netns: &TestNetns) {
    let net = Net::new(netns);
    let _server = sink(&net.outside, OUTSIDE, 5353);
    nft("table inet track {\nchain forward {\nct state invalid drop\n}\n}");
    send(&clients(&net, 40_000, 3), 1, OUTSIDE, 5353);
    assert!(findings(&doctor(netns), "tracking-need").is_empty(), "a rule drops by state");
    nft(
        "flush ruleset\ntable inet track {\nchain forward {\ntype filter hook forward priority 0\nct state established accept\n}\n}",
    );
    let report = doctor(netns);
    assert_eq!(finding(&report, "tracking-need")["title"], "connections are tracked for rules that decide nothing");
    nft(
        "flush ruleset\ntable ip raw {\nchain c {\ntype filter hook prerouting priority -300\nudp dport 53 notrack\n}\n}",
    );
    let before = netns.dump().len();
    send(&clients(&net, 41_000, 3), 1, OUTSIDE, 5353);
    assert_eq!(netns.dump().len(), before, "the kernel tracks nothing for notrack");
    let report = doctor(netns);
    let found = finding(&report, "tracking-need");
    assert_eq!(found["figures"]["entries"], before, "{found:#}");
    assert!(found["evidence"].to_string().contains("1 of them exempt packets from tracking"), "{found:#}");
}

fn entries_from_before_a_listener_may_be_silent(netns: &TestNetns) {
    let net = Net::new(netns);
    let _server = sink(&net.outside, OUTSIDE, 5353);
    netns.set_sysctl("netfilter/nf_conntrack_timestamp", 1);
    // Before Linux 5.19 there is no 2, and every entry has events.
    let may_be_silent = netns.sysctl("netfilter/nf_conntrack_events") == "2";
    netns.ctnl(&["flush", "--all", "--yes"]).exits_with(0);
    send(&clients(&net, 40_000, 3), 1, OUTSIDE, 5353);
    assert!(findings(&doctor(netns), "silent-flows").is_empty(), "nobody listens");
    // The time of a start has whole seconds.
    std::thread::sleep(Duration::from_millis(2100));
    let mut command = Command::new("conntrack");
    let mut listener = command.arg("-E").env("PATH", PATH).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    let found = || {
        let report = doctor(netns);
        findings(&report, "silent-flows").first().map(|found| (*found).clone())
    };
    if !may_be_silent {
        std::thread::sleep(Duration::from_millis(2100));
        let found = found();
        listener.kill().unwrap();
        listener.wait().unwrap();
        assert_eq!(found, None);
        return;
    }
    until(|| found().is_some(), || "conntrack -E does not listen".to_owned());
    send(&clients(&net, 41_000, 2), 1, OUTSIDE, 5353);
    let found = found().unwrap();
    listener.kill().unwrap();
    listener.wait().unwrap();
    assert_eq!(found["figures"]["older"], 3, "{found:#}");
    assert_eq!(found["title"], "up to 3 of 5 entries may send no events to those who listen");
    assert!(found["evidence"].to_string().contains("conntrack (pid "), "{found:#}");
}
