//! Events that a socket filter excludes would not have matched the filter expression. Every event is
//! received by a subscription with and by one without a socket filter.

use std::collections::BTreeSet;

use ctnl::filter::Filter;
use ctnl::model::{Event, Flow, HelperName, L4, Protocol, Tuple};
use ctnl::netlink::Netns;
use ctnl::table::{self, Events, Outcome, Step, Subscription, Target};
use ctnl::wire::uapi::nfnl_subsys;
use ctnl::wire::{AttributeWriter, Header};
use netlink_packet_core::NLM_F_CREATE;

use crate::agreement::{Table, cases, is_match, parse};
use ctnl_test_support::harness::{TestNetns, flow, tests, udp};

tests![
    events_that_the_socket_filter_excludes_would_not_have_matched,
    excluded_events_use_no_receive_buffer_and_are_not_lost,
    each_term_that_a_socket_filter_supports_excludes_every_other_event,
    expectations_are_received_whatever_the_socket_filter_excludes,
];

/// This number of events fits into a receive buffer without SO_RCVBUFFORCE.
const ROUND: usize = 100;

fn subscribe(filter: Option<&Filter>, buffer: usize) -> Events {
    let exclude = filter.map(|filter| filter.exclusion().expect("a socket filter"));
    Events::subscribe(&Netns::Current, &Subscription { buffer, exclude, ..Subscription::default() }).unwrap()
}

fn drain(events: &mut Events, into: &mut Vec<Event>) {
    let mut event = Event::blank();
    loop {
        match events.next(&mut event).unwrap() {
            Step::Event => into.push(event.clone()),
            Step::Empty => return,
            other => panic!("{other:?}"),
        }
    }
}

/// The events that these subscriptions receive while `flows` are created and deleted.
fn received(netns: &TestNetns, subscriptions: &mut [Events], flows: &[Flow]) -> Vec<Vec<Event>> {
    let mut received = vec![Vec::new(); subscriptions.len()];
    let mut drain_all = || {
        for (events, received) in subscriptions.iter_mut().zip(&mut received) {
            drain(events, received);
        }
    };
    for flows in flows.chunks(ROUND) {
        netns.create(flows);
        drain_all();
        delete_all(netns);
        drain_all();
    }
    received
}

fn events_that_the_socket_filter_excludes_would_not_have_matched(netns: &TestNetns) {
    let table = Table::new(netns, 41);
    let (present, estimator) = (netns.dump(), table.estimator());
    let (terms, nested) = cases(&present, &estimator, 300);
    let texts = terms.iter().chain(&nested).map(|ast| ast.text());
    let texts: BTreeSet<String> = texts.chain(present.iter().step_by(40).flat_map(tuple_expressions)).collect();
    let filters: Vec<Filter> = texts.iter().map(|text| parse(text)).filter(|f| f.exclusion().is_some()).collect();
    assert!(filters.len() > 150, "{} filters exclude something", filters.len());
    delete_all(netns);

    let mut subscriptions: Vec<Events> =
        std::iter::once(None).chain(filters.iter().map(Some)).map(|filter| subscribe(filter, 1 << 20)).collect();
    let mut received = received(netns, &mut subscriptions, &table.made);
    let all = received.remove(0);
    assert_eq!(all.len(), 2 * table.made.len());
    let mut excluded = 0;
    for (filter, received) in filters.iter().zip(&received) {
        let meant = |events: &[Event]| -> Vec<Event> {
            events.iter().filter(|event| is_match(filter, &event.flow, &estimator)).cloned().collect()
        };
        assert!(meant(&all) == meant(received), "{filter}");
        excluded += usize::from(received.len() < all.len());
    }
    assert!(excluded * 10 > filters.len() * 9, "{excluded} of {} filters excluded something", filters.len());
    assert!(subscriptions.iter().all(|events| events.queue().unwrap().drops == 0));
}

/// Expressions about the original tuple that match `flow`, among others.
fn tuple_expressions(flow: &Flow) -> Vec<String> {
    let (tuple, protocol) = (&flow.orig, u8::from(flow.orig.protocol));
    let (src, dst) = (tuple.src, tuple.dst);
    let bits = if src.is_ipv4() { 20 } else { 60 };
    let mut texts = vec![
        format!("src {src}"),
        format!("dst {dst} and proto {protocol}"),
        format!("src {src}/{bits} and family {}", if src.is_ipv4() { "ipv4" } else { "ipv6" }),
        format!("src {src},10.9.8.7,2001:db8::77 and proto {protocol},99"),
        format!("not dst {dst} or src {src}"),
        format!("addr {dst} and proto 6,{protocol}"),
    ];
    if let Some((sport, dport)) = tuple.ports() {
        texts.push(format!("sport {sport} and dport {dport}"));
        texts.push(format!("sport 1-{sport} and dport {dport},{sport},7-9"));
        texts.push(format!("proto {protocol} and dport {dport} and src {src} and dst {dst}"));
    }
    texts
}

fn excluded_events_use_no_receive_buffer_and_are_not_lost(netns: &TestNetns) {
    let filter = parse("udp and dport 53");
    let mut events = subscribe(Some(&filter), 4096);
    let other: Vec<Flow> = (1..2000).map(|port| udp(port, 80)).collect();
    netns.create(&other);
    assert_eq!(events.queue().unwrap().used, 0);
    netns.create(&[udp(1, 53), udp(2, 53)]);
    netns.create(&(3000..5000).map(|port| udp(port, 80)).collect::<Vec<_>>());
    let mut received = Vec::new();
    drain(&mut events, &mut received);
    let sources: Vec<_> = received.iter().map(|event| event.flow.orig.sport()).collect();
    assert_eq!(sources, [Some(1), Some(2)]);
    assert_eq!(events.queue().unwrap().drops, 0);
}

fn each_term_that_a_socket_filter_supports_excludes_every_other_event(netns: &TestNetns) {
    let expressions = [
        "ipv6",
        "tcp",
        "proto udp,icmp",
        "src 10.0.0.0/9",
        "dst 198.18.0.1,198.18.0.16/28",
        "src 2001:db8:1::/65",
        "dst 2001:db8:ffff::/48 and src 2001:db8:1::/64,10.0.0.0/8",
        "udp and sport 32768-65535",
        "tcp and dport 22,80,443,8000-8999",
    ];
    let filters = expressions.map(parse);
    let table = Table::new(netns, 42);
    let estimator = table.estimator();
    delete_all(netns);
    let mut subscriptions: Vec<Events> = filters.iter().map(|filter| subscribe(Some(filter), 1 << 20)).collect();
    let received = received(netns, &mut subscriptions, &table.made);
    for (filter, received) in filters.iter().zip(received) {
        assert!(!received.is_empty() && received.len() < 2 * table.made.len(), "{filter}: {}", received.len());
        let needless = received.iter().find(|event| !is_match(filter, &event.flow, &estimator));
        assert!(needless.is_none(), "{filter}: {needless:?}");
    }
}

fn delete_all(netns: &TestNetns) {
    let targets: Vec<Target> = netns.dump().iter().map(|flow| Target::of(flow).unwrap()).collect();
    table::delete(&mut netns.connection(), &targets, &mut Outcome::default()).unwrap();
}

fn expectations_are_received_whatever_the_socket_filter_excludes(netns: &TestNetns) {
    netns.require_ftp_helper();
    let filter = parse("ipv6 and udp and dport 53 and src 2001:db8::1");
    let subscription = Subscription { expectations: true, exclude: filter.exclusion(), ..Subscription::default() };
    let mut events = Events::subscribe(&Netns::Current, &subscription).unwrap();
    let master =
        Flow { helper: Some(HelperName::new(b"ftp")), ..flow(Protocol::Tcp, L4::Ports { src: 40000, dst: 21 }) };
    netns.create(std::slice::from_ref(&master));
    expect(netns, &master.orig, 5000);
    let mut event = Event::blank();
    assert_eq!(events.next(&mut event).unwrap(), Step::Expectation);
    assert_eq!(events.message().unwrap().kind, 0x200);
    assert_eq!(events.next(&mut event).unwrap(), Step::Empty);
}

/// Creates an expectation of the entry of `master`, with this destination port.
pub fn expect(netns: &TestNetns, master: &Tuple, port: u16) {
    let header = Header {
        subsystem: nfnl_subsys::CTNETLINK_EXP,
        command: 0,
        flags: NLM_F_CREATE,
        family: master.family(),
        sequence: 0,
    };
    let expected = Tuple { l4: L4::Ports { src: 0, dst: port }, ..*master };
    let mask = Tuple { src: [255; 4].into(), dst: [255; 4].into(), l4: L4::Ports { src: 0, dst: u16::MAX }, ..*master };
    let fill = |writer: &mut AttributeWriter<'_>| {
        [master, &expected, &mask].into_iter().zip(1..).for_each(|(tuple, kind)| tuple.emit(writer, kind));
        writer.put(4, &300_u32.to_be_bytes());
    };
    netns.connection().request("expect", header, fill, |_| Ok(())).unwrap();
}
