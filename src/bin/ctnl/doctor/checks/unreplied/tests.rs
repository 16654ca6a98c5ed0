use ctnl::model::{Flow, TcpState};

use super::*;
use crate::doctor::finding::Fix;
use crate::doctor::made_up::MadeUpHost;
use crate::doctor::made_up_kernel::{MadeUpKernel, address, idle, tcp, udp};

fn findings(max: u32, count: u32, flow: impl Fn(u32) -> Flow) -> Vec<Finding> {
    let mut kernel = MadeUpKernel::new(max);
    kernel.entries(count, |number| (flow(number), idle(5)));
    MadeUpHost::new().running(&kernel).findings(run)
}

fn one(flow: impl Fn(u32) -> Flow) -> Finding {
    findings(1_000_000, 5_000, flow).into_iter().next().unwrap()
}

const SERVER: u32 = 0x00ff_0001;

#[test]
fn many_syn_recv_of_many_sources_to_one_port_are_a_syn_flood() {
    let finding = one(|number| tcp(TcpState::SynRecv, address(number), address(SERVER), 443));
    assert_eq!(finding.title, "SYN flood on 10.255.0.1:443/tcp: 5000 handshakes without their last ACK");
    assert_eq!(finding.severity, Severity::Warning);
    let [Fix::Command(flush), Fix::Text(settings), Fix::Text(rules)] = &*finding.fixes else { unreachable!() };
    assert!(settings.contains("tcp_syncookies=1") && settings.contains("does not come back"), "{settings}");
    assert!(settings.lines().all(|line| line.starts_with(['#', 's'])) && !rules.contains("sysctl"), "{rules}");
    assert!(rules.contains("synproxy mss") && rules.contains("tcp dport 443 ct state invalid drop"), "{rules}");
    assert_eq!(rules.matches("ct state").count(), rules.matches("tcp dport 443 ct state").count(), "{rules}");
    assert_eq!(flush, "ctnl flush 'tcp and state syn_recv and dst 10.255.0.1 and proto tcp and dport 443'");
}

#[test]
fn syns_without_an_answer_are_told_apart_by_where_they_come_from_and_go_to() {
    let syn = |src, dst, dport: u32| tcp(TcpState::SynSent, src, dst, dport.try_into().unwrap());
    let (client, server) = (address(7), address(SERVER));
    for (finding, title, pattern) in [
        (
            one(|_| syn(client, server, 443)),
            "10.0.0.7 opens connections to 10.255.0.1:443/tcp, which does not answer: 5000",
            "one-source-one-target",
        ),
        (
            one(|number| syn(client, server, number)),
            "10.0.0.7 scans the ports of 10.255.0.1: 5000 SYNs without an answer",
            "one-source-many-ports",
        ),
        (
            one(|number| syn(client, address(1_000 + number), 443)),
            "10.0.0.7 opens connections to many addresses, which do not answer: a scan, or a worm",
            "one-source-many-addresses",
        ),
        (
            one(|number| syn(address(1_000 + number), server, 443)),
            "10.255.0.1:443/tcp does not answer 5000 SYNs of many sources",
            "many-sources-one-target",
        ),
        (
            one(|number| syn(address(1_000 + number), address(SERVER + number), 443)),
            "5000 SYNs have no answer",
            "scattered",
        ),
    ] {
        assert_eq!((&*finding.title, &finding.figures["pattern"]), (title, &pattern.into()));
    }
}

#[test]
fn unreplied_udp_of_one_source_is_one_way_traffic_or_a_scan() {
    let finding = one(|_| udp(address(7), address(SERVER), 514));
    assert_eq!(finding.title, "10.0.0.7 sends to 10.255.0.1:514/udp from 5000 ports, and gets no reply");
    let Fix::Text(rules) = &finding.fixes[0] else { unreachable!() };
    for direction in ["ip daddr 10.255.0.1 udp dport 514 notrack", "ip saddr 10.255.0.1 udp sport 514 notrack"] {
        assert!(rules.contains(direction), "{rules}");
    }
    let finding = one(|number| udp(address(7), address(SERVER + number), 53));
    assert_eq!(finding.figures["pattern"], "one-source-many-addresses");
    assert_eq!(finding.fixes[1], Fix::Command("ctnl flush 'udp and unreplied and src 10.0.0.7'".to_owned()));
}

#[test]
fn connections_of_which_one_side_passes_are_asymmetric_routing() {
    let finding = one(|number| Flow {
        status: ctnl::model::Status::empty(),
        ..tcp(TcpState::Established, address(number), address(SERVER), 443)
    });
    assert_eq!(finding.title, "only one side of 5000 TCP connections passes this host");
    let list = "ctnl list 'tcp and unreplied and not state syn_sent and dst 10.255.0.1 and proto tcp and dport 443'";
    assert_eq!(finding.fixes, [Fix::Command(list.to_owned())], "a flush would not help: they are made again");
}

#[test]
fn stale_connections_and_whole_ones_are_no_flood_and_neither_is_a_small_part_of_a_table() {
    let established = |number| tcp(TcpState::Established, address(number), address(SERVER), 443);
    assert_eq!(findings(10_000, 9_000, established), []);
    let syn = |number| tcp(TcpState::SynSent, address(number), address(SERVER), 443);
    assert_eq!(findings(1_000_000, 999, syn), []);
    let mixed = |number: u32| if number.is_multiple_of(11) { syn(number) } else { established(number) };
    assert_eq!(findings(1_000_000, 20_000, mixed), [], "1819 are a lot, and less than a tenth");
}

#[test]
fn a_flood_that_fills_half_of_the_maximum_is_critical() {
    let syn = |number| tcp(TcpState::SynRecv, address(number), address(SERVER), 443);
    let severity = |max| findings(max, 5_000, syn)[0].severity;
    assert_eq!((severity(10_000), severity(10_001)), (Severity::Critical, Severity::Warning));
}

#[test]
fn one_way_traffic_of_many_sources_in_a_table_with_room_is_a_note_and_can_be_exempted() {
    let log = |number| udp(address(number), address(SERVER), 514);
    let found = |max| findings(max, 1_500, log).remove(0);
    let note = found(262_144);
    assert_eq!((note.severity, found(15_000).severity), (Severity::Note, Severity::Warning));
    let [Fix::Text(rules), Fix::Command(_)] = &*note.fixes else { unreachable!() };
    assert!(rules.contains("ip daddr 10.255.0.1 udp dport 514 notrack"), "{rules}");
    let mut kernel = MadeUpKernel::new(20_000);
    kernel.entries(1_500, |number| (log(number), idle(5))).grows(10_000, 1_500);
    let half_full = MadeUpHost::new().running(&kernel).findings(run).remove(0);
    assert_eq!(half_full.severity, Severity::Warning);
}

#[test]
fn half_open_connections_in_a_table_with_space_are_a_note_unless_a_service_is_flooded_or_down() {
    let (client, server) = (address(7), address(SERVER));
    let one_side = |number| Flow {
        status: ctnl::model::Status::empty(),
        ..tcp(TcpState::Established, address(number), server, 443)
    };
    let kinds: [(&dyn Fn(u32) -> Flow, Severity); 6] = [
        (&|_| tcp(TcpState::SynSent, client, server, 443), Severity::Note),
        (&|number| tcp(TcpState::SynSent, address(number), address(SERVER + number), 443), Severity::Note),
        (&|_| tcp(TcpState::SynRecv, client, server, 443), Severity::Note),
        (&one_side, Severity::Note),
        (&|number| tcp(TcpState::SynSent, address(number), server, 443), Severity::Warning),
        (&|number| tcp(TcpState::SynRecv, address(number), server, 443), Severity::Warning),
    ];
    for (index, (flow, with_space)) in kinds.into_iter().enumerate() {
        let severity = |max| findings(max, 1_500, flow)[0].severity;
        assert_eq!((severity(262_144), severity(15_000)), (with_space, Severity::Warning), "{index}");
    }
}

#[test]
fn every_command_has_a_filter_that_ctnl_understands() {
    let kinds = [TcpState::SynSent, TcpState::SynRecv].map(|state| one(|_| tcp(state, address(7), address(8), 80)));
    let udp = [one(|n| udp(address(n), address(8), 53)), one(|n| udp(address(n), address(8 + n), 53))];
    let services = ctnl::filter::ServiceNames::default();
    let no_file = std::io::ErrorKind::NotFound;
    let context = ctnl::filter::Context { services: &services, label: &|_| None, read_file: &|_| Err(no_file.into()) };
    let other = Missing::Reply;
    let survey = Survey::default();
    let evidence = MadeUpHost::new().evidence();
    let reply = Kind { evidence: &evidence, survey: &survey, missing: other, entries: &Unanswered::default() };
    let commands = kinds.iter().chain(&udp).flat_map(|finding| &finding.fixes).filter_map(|fix| match fix {
        Fix::Command(line) => line.strip_prefix("ctnl flush '")?.strip_suffix('\''),
        Fix::Text(_) => None,
    });
    let filters: Vec<_> = commands.chain([reply.filter()]).collect();
    assert_eq!(filters.len(), 5);
    for filter in filters {
        assert!(ctnl::filter::Filter::parse(filter, &context).is_ok(), "{filter}");
    }
}
