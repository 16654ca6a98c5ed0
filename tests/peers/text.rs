//! The lines of ctnl are those of conntrack(8), for a large generated table and for the entries of real
//! traffic with NAT.
//!
//! Timeouts and ages change while the programs run. So conntrack(8) is run before and after ctnl: every
//! line must be the same in all three except for the remaining seconds and the age, for which the value
//! of ctnl must be between both of conntrack(8).
//!
//! Differs on purpose, from conntrack 1.4.7: its XML names states of SCTP
//! and DCCP after TCP's of the same number, and its `-o save` has `(null)` for SCTP's HEARTBEAT_SENT.

use std::collections::HashMap;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use ctnl::model::{Family, Flow, L4, Labels, ProtoInfo, Protocol, TcpState, Tuple};

use crate::raw;
use ctnl_test_support::connections::{Tcp, Udp, listen};
use ctnl_test_support::harness::{Run, TestNetns, entry, tests};
use ctnl_test_support::net::{INSIDE, INSIDE6, Net, OUTSIDE, OUTSIDE6, PATH, ROUTER, ROUTER_OUTSIDE, conntrack, nft};

tests![
    lines_of_a_large_table_are_those_of_conntrack,
    without_any_name_labels_are_shown_as_by_conntrack,
    xml_of_a_large_table_is_that_of_conntrack,
    times_are_those_of_conntrack_in_every_time_zone,
    lines_of_every_protocol_number_are_those_of_conntrack,
    lines_of_translated_traffic_are_those_of_conntrack,
];

/// Every option of the format, alone and with others. (conntrack(8) accepts `timestamp` and ignores it
/// in a list, ctnl refuses it.)
const OPTIONS: [&str; 8] = ["", "extended", "id", "labels", "ktimestamp", "extended,id", ALL, SAVE];
const SAVE: &str = "save";
const ALL: &str = "extended,id,ktimestamp,labels";

const CONNLABEL: &str = "3 important\n5 other-site\n127 last\n";

/// Names of labels, in an /etc that only the command sees: the file's path is
/// fixed in conntrack(8), and the host may have none. And a time zone that is not
/// UTC.
const WITH_OWN_ETC: &str = "mount -t tmpfs etc /etc && mkdir /etc/xtables &&
    ln -s /usr/share/zoneinfo/Europe/Berlin /etc/localtime &&
    printf %s \"$CONNLABEL\" > /etc/xtables/connlabel.conf && exec \"$@\"";

fn run(program: &[&str], zone: Option<&str>) -> Vec<String> {
    run_with(program, zone, CONNLABEL)
}

fn run_with(program: &[&str], zone: Option<&str>, names: &str) -> Vec<String> {
    let mut command = Command::new("unshare");
    command.args(["--mount", "sh", "-c", WITH_OWN_ETC, "sh"]).args(program);
    command.env_clear().env("PATH", PATH).env("CONNLABEL", names).envs(zone.map(|zone| ("TZ", zone)));
    Run::of(&mut command).exits_with(0).stdout().lines().map(str::to_owned).collect()
}

/// What to list, and how.
#[derive(Clone, Copy, Default)]
struct Listing<'a> {
    /// `ipv4` or `ipv6`; both without.
    family: Option<&'a str>,
    xml: bool,
    options: &'a str,
    /// `TZ`.
    zone: Option<&'a str>,
    /// Labels have no names.
    unnamed: bool,
}

impl Listing<'_> {
    fn ours(&self) -> Vec<String> {
        let format = if self.xml { "xml" } else { "conntrack" };
        // A format of ours, an option of conntrack's that excludes all others.
        let format = [if self.options == SAVE { "" } else { format }, self.options]
            .into_iter()
            .filter(|word| !word.is_empty())
            .collect::<Vec<_>>()
            .join(",");
        let mut program = vec![env!("CARGO_BIN_EXE_ctnl"), "list", "-o", &format];
        program.extend(self.family);
        self.run(&program)
    }

    fn run(&self, program: &[&str]) -> Vec<String> {
        run_with(program, self.zone, if self.unnamed { "" } else { CONNLABEL })
    }

    fn theirs(&self) -> Vec<String> {
        let format = [if self.xml { "xml" } else { "" }, self.options];
        let format = format.into_iter().filter(|word| !word.is_empty()).collect::<Vec<_>>().join(",");
        let mut program = vec!["conntrack", "-L"];
        program.extend(self.family.iter().flat_map(|family| ["-f", family]));
        if !format.is_empty() {
            program.extend(["-o", &format]);
        }
        self.run(&program)
    }

    /// Fails unless both print the same; the number of lines.
    fn compare(&self) -> usize {
        let (before, ours, after) = (self.theirs(), self.ours(), self.theirs());
        let (before, after) = (numbers_by_line(&before), numbers_by_line(&after));
        for line in &ours {
            let (rest, numbers) = split_numbers(line);
            let (Some(before), Some(after)) = (before.get(&rest), after.get(&rest)) else {
                let near = nearest(&rest, before.keys());
                panic!("{} has no such line ({}):\n{line}\nthe nearest is\n{near}", version(), self.options);
            };
            let between = |ours: Option<u64>, low: Option<u64>, high: Option<u64>| low <= ours && ours <= high;
            assert!(
                between(numbers.left, after.left, before.left) && between(numbers.age, before.age, after.age),
                "{}: {before:?}, then {after:?}\n{line}",
                version()
            );
        }
        assert_eq!(ours.len(), before.len(), "as many lines as {} ({})", version(), self.options);
        ours.len()
    }
}

/// Compares each family by itself; the number of lines.
fn compare(listing: Listing<'_>) -> usize {
    ["ipv4", "ipv6"].into_iter().map(|family| Listing { family: Some(family), ..listing }.compare()).sum()
}

fn with(options: &str) -> Listing<'_> {
    Listing { options, ..Listing::default() }
}

fn version() -> String {
    run(&["conntrack", "--version"], None).concat()
}

/// The numbers that tick.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Numbers {
    left: Option<u64>,
    age: Option<u64>,
}

fn numbers_by_line(lines: &[String]) -> HashMap<String, Numbers> {
    let parts: HashMap<_, _> = lines.iter().map(|line| split_numbers(line)).collect();
    assert_eq!(parts.len(), lines.len(), "no line comes twice");
    parts
}

/// The line without what ticks, and that.
fn split_numbers(line: &str) -> (String, Numbers) {
    // The use count is of the moment: on older kernels (5.10) a dump itself uses the
    // entry at which a datagram ends.
    if line.starts_with('<') {
        let (line, _) = take(line, "<use>", '<');
        let (line, left) = take(&line, "<timeout>", '<');
        let (line, age) = take(&line, "<deltatime>", '<');
        // See the top: names of the states of SCTP and DCCP.
        let is_misnamed = ["132", "33"].iter().any(|number| line.contains(&format!("<layer4 protonum=\"{number}\"")));
        let line = if is_misnamed { take(&line, "<state>", '<').0 } else { line };
        return (line, Numbers { left, age });
    }
    if line.starts_with("-A ") {
        let (line, left) = take(line, "-t ", ' ');
        let line = line.replace("--state (null)", "--state HEARTBEAT_SENT");
        return (line, Numbers { left, age: None });
    }
    let (line, _) = take(line, " use=", ' ');
    let (line, age) = take(&line, " delta-time=", ' ');
    // NAME NUMBER LEFT, after another NAME NUMBER with `extended`.
    let place = if line.starts_with("ipv") { 4 } else { 2 };
    let word = line.split_ascii_whitespace().nth(place).expect("a third word");
    let left = word.parse().ok();
    let start = word.as_ptr() as usize - line.as_ptr() as usize;
    let line = format!("{}{}", &line[..start], &line[start + word.len()..]);
    (line, Numbers { left, age })
}

/// Removes the value between `key` and `end` from the line.
fn take(line: &str, key: &str, end: char) -> (String, Option<u64>) {
    let Some((before, rest)) = line.split_once(key) else { return (line.to_owned(), None) };
    let (value, rest) = rest.split_at(rest.find(end).unwrap_or(rest.len()));
    (format!("{before}{key}{rest}"), value.parse().ok())
}

/// The line with the longest common beginning.
fn nearest<'a>(line: &str, lines: impl Iterator<Item = &'a String>) -> &'a str {
    let common = |other: &str| line.bytes().zip(other.bytes()).take_while(|(a, b)| a == b).count();
    lines.max_by_key(|other| common(other)).map_or("(none)", String::as_str)
}

/// A table of everything that can be made over netlink, of which nothing expires
/// soon: counted, with times, and with labels on some.
fn fill(netns: &TestNetns) {
    netns.set_sysctl("netfilter/nf_conntrack_acct", 1);
    netns.set_sysctl("netfilter/nf_conntrack_timestamp", 1);
    // Entries have room for labels only while some rule sets one.
    nft("table inet labels {\nchain forward {\ntype filter hook forward priority 0; ct mark 77 ct label set 3\n}\n}");
    let population = ctnl_test_support::population::Population {
        shortest: 600,
        ftp_helper: netns.has_ftp_helper(),
        udp_lite: ctnl_test_support::population::has_udp_lite(),
        ..ctnl_test_support::population::Population::new(31, 6_000)
    };
    let labelled = |(place, mut flow): (usize, Flow)| {
        let named: &[u8] = match place % 30 {
            0 => &[3],
            1 => &[3, 5, 127],
            2 => &[9],
            3 => &[5, 9],
            _ => return flow,
        };
        flow.labels = Some(Labels::from_numbers(named.iter().copied()));
        flow
    };
    let flows: Vec<Flow> = population.flows().enumerate().map(labelled).collect();
    netns.create(&flows);
}

fn lines_of_a_large_table_are_those_of_conntrack(netns: &TestNetns) {
    fill(netns);
    for options in ["", ALL, SAVE] {
        assert_eq!(compare(with(options)), 6_000);
    }
}

fn without_any_name_labels_are_shown_as_by_conntrack(netns: &TestNetns) {
    fill(netns);
    assert_eq!(compare(Listing { unnamed: true, ..with("labels") }), 6_000);
    assert_eq!(compare(Listing { unnamed: true, xml: true, ..with("labels") }), 6_000 + 2 * 3);
}

fn xml_of_a_large_table_is_that_of_conntrack(netns: &TestNetns) {
    fill(netns);
    for options in ["", "ktimestamp,labels"] {
        // Three lines around the flows of each family.
        assert_eq!(compare(Listing { xml: true, ..with(options) }), 6_000 + 2 * 3);
    }
}

fn times_are_those_of_conntrack_in_every_time_zone(netns: &TestNetns) {
    for zone in ["Europe/Berlin", "America/St_Johns", "Asia/Tokyo"] {
        let path = format!("/usr/share/zoneinfo/{zone}");
        assert!(Path::new(&path).exists(), "no {path}: apt-get install tzdata");
    }
    netns.set_sysctl("netfilter/nf_conntrack_timestamp", 1);
    netns.create(&[ctnl_test_support::harness::udp(1, 2)]);
    for zone in ["America/St_Johns", ":Asia/Tokyo", "CET-1CEST,M3.5.0,M10.5.0/3", "<-03>3", "", "nonsense"] {
        Listing { zone: Some(zone), ..with("ktimestamp") }.compare();
    }
}

/// Without accounting and times, as most tables are.
fn lines_of_every_protocol_number_are_those_of_conntrack(netns: &TestNetns) {
    let tuple = |number: u8, v6: bool| Tuple {
        src: if v6 { INSIDE6.into() } else { INSIDE.into() },
        dst: if v6 { OUTSIDE6.into() } else { OUTSIDE.into() },
        protocol: Protocol::from(number),
        l4: match number {
            1 | 58 if (number == 58) == v6 => L4::Icmp { kind: if v6 { 128 } else { 8 }, code: 0, id: 300 },
            6 | 17 | 47 | 132 | 136 => L4::Ports { src: 300, dst: 0xabc },
            _ => L4::None,
        },
        zone: None,
        has_unknown_part: false,
    };
    let both = [false, true].into_iter();
    let flows: Vec<Flow> = both.flat_map(|v6| (0..=255).map(move |number| entry(tuple(number, v6)))).collect();
    let mut outcome = ctnl::table::Outcome::default();
    ctnl::table::create(&mut netns.connection(), &flows, &mut outcome).expect("create");
    assert!(outcome.done > 500, "{outcome:?}");
    for options in OPTIONS {
        assert_eq!(with(options).compare() as u64, outcome.done);
    }
}

const TRANSLATED: &str = "table inet nat {
    chain before {
        type nat hook prerouting priority -100;
        ip daddr 10.1.0.1 tcp dport 8080 dnat ip to 10.2.0.2:8000
        ip daddr 10.1.0.1 tcp dport 8081 redirect to :9000
        ip daddr 10.1.0.1 udp dport 5353 dnat ip to 10.2.0.2:5300
    }
    chain after {
        type nat hook postrouting priority 100;
        oifname out0 masquerade
    }
    chain marks {
        type filter hook forward priority 0;
        tcp dport 8000 ct mark set 0x2a
        udp dport 5300 ct label set 5
    }
}";

fn lines_of_translated_traffic_are_those_of_conntrack(netns: &TestNetns) {
    let net = Net::new(netns);
    netns.set_sysctl("netfilter/nf_conntrack_timestamp", 1);
    // Packets made by hand carry no checksums of their protocols.
    netns.set_sysctl("netfilter/nf_conntrack_checksum", 0);
    for name in [
        "udp_timeout",
        "udp_timeout_stream",
        "icmp_timeout",
        "icmpv6_timeout",
        "gre_timeout",
        "tcp_timeout_close",
        "sctp_timeout_closed",
    ] {
        // So that nothing expires between two runs.
        net.set_timeout(name, 600);
    }
    nft(TRANSLATED);
    let kept = make_traffic(&net);
    let flows = netns.dump();
    let some = |what: &str, test: &dyn Fn(&Flow) -> bool| {
        assert!(flows.iter().any(test), "no {what} in\n{}", conntrack(&["-L"]));
    };
    let nat = ctnl::model::Nat::of;
    some("masquerade", &|flow| nat(flow).src && !nat(flow).dst && flow.family == Family::V4);
    some("IPv6 masquerade", &|flow| nat(flow).src && flow.family == Family::V6);
    some("destination NAT with masquerade", &|flow| nat(flow).dst && nat(flow).src);
    some("redirect", &|flow| nat(flow).dport && !nat(flow).src && flow.reply.src == ROUTER);
    some("mark", &|flow| flow.mark == Some(0x2a));
    some("TIME_WAIT", &|flow| matches!(flow.protoinfo, ProtoInfo::Tcp(tcp) if tcp.state == TcpState::TimeWait));
    for number in [1, 6, 17, 33, 47, 50, 132, 253] {
        some("protocol", &|flow| u8::from(flow.orig.protocol) == number);
    }
    for options in OPTIONS {
        assert_eq!(with(options).compare(), flows.len());
    }
    compare(Listing { xml: true, ..with("") });
    drop(kept);
}

/// The sockets that stay open while the table is compared.
type Kept = (Vec<Tcp>, Vec<Udp>, TcpStream);

fn make_traffic(net: &Net<'_>) -> Kept {
    let service = net.outside.run(|| TcpListener::bind((OUTSIDE, 8000)).expect("listen"));
    let names = net.outside.run(|| std::net::UdpSocket::bind((OUTSIDE, 5300)).expect("bind"));
    let local = TcpListener::bind((ROUTER, 9000)).expect("listen");
    let mut open = vec![Tcp::open(net), Tcp::open6(net)];
    open.push(Tcp::through(net, &service, (ROUTER, 8080).into()));
    open.push(Tcp::through(net, &local, (ROUTER, 8081).into()));
    open.iter_mut().for_each(Tcp::exchange);
    for mut closed in [Tcp::open(net), Tcp::open6(net)] {
        closed.exchange();
        close(closed);
    }
    let udp = vec![Udp::open(net), Udp::open(net), Udp::open6(net)];
    udp[0].send_one_way();
    udp[1].exchange();
    udp[2].exchange();
    let client = net.inside.run(|| std::net::UdpSocket::bind((INSIDE, 0)).expect("bind"));
    client.send_to(b"?", (ROUTER, 5353)).expect("send");
    let (_, from) = names.recv_from(&mut [0]).expect("receive");
    assert_eq!(from.ip(), std::net::IpAddr::from(ROUTER_OUTSIDE), "masqueraded");
    names.send_to(b"!", from).expect("answer");
    net.inside.run(|| {
        raw::ping(INSIDE, OUTSIDE, 4711);
        // SCTP INIT, GRE with a key, DCCP, and what has no tracker.
        let init = [&[0xb, 0x59, 0xb, 0x59][..], &[0; 8], &[1, 0, 0, 20], &[0, 0, 0, 9], &[0; 12]].concat();
        raw::send(132, INSIDE, OUTSIDE, &init);
        raw::send(47, INSIDE, OUTSIDE, &[0x20, 1, 0x88, 0xb, 0, 4, 0, 7, 0, 0, 0, 0]);
        raw::send(33, INSIDE, OUTSIDE, &[0, 9, 0, 10, 4, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0]);
        raw::send(50, INSIDE, OUTSIDE, &[1; 16]);
        raw::send(253, INSIDE, OUTSIDE, &[1; 16]);
    });
    let refused = listen(net, OUTSIDE.into());
    let stream = net.inside.run(|| TcpStream::connect(refused.local_addr().expect("name")).expect("connect"));
    std::thread::sleep(Duration::from_millis(200));
    (open, udp, stream)
}

/// Closes both ends, the client first.
fn close(mut connection: Tcp) {
    connection.client.shutdown(std::net::Shutdown::Write).expect("close");
    assert_eq!(connection.server.read(&mut [0]).expect("read"), 0);
    connection.server.write_all(b"bye").expect("send");
    drop(connection.server);
    connection.client.read_to_end(&mut Vec::new()).expect("read the rest");
}
