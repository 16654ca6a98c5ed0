#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use proptest::prelude::*;

use super::{NamedEntry, NamedEntryError};
use crate::model::{Flow, L4, Protocol, Tuple};

fn read(text: &str) -> Result<NamedEntry, NamedEntryError> {
    text.parse()
}

/// The message, and the part of the text that is marked.
fn fault(text: &str) -> (String, &str) {
    let error = read(text).expect_err(text);
    (error.to_string(), &text[error.span])
}

#[test]
fn the_short_form_and_a_pasted_line_name_the_same_tuple() {
    let short = read("tcp 10.0.0.1:40000 10.0.0.2:443").unwrap();
    let line = "tcp      6 431999 ESTABLISHED src=10.0.0.1 dst=10.0.0.2 sport=40000 dport=443 src=10.0.0.2 \
                dst=10.0.0.1 sport=443 dport=40000 [ASSURED] mark=0 use=1";
    let pasted = read(line).unwrap();
    assert_eq!(pasted, NamedEntry { reply: Some(short.tuple.inverse()), ..short.clone() });
    let extended = format!("ipv4     2 {line} id=77");
    assert_eq!(read(&extended).unwrap(), NamedEntry { id: Some(77), ..pasted });
}

/// Lines as conntrack(8) printed them, with counters, times, zones, helpers and ids.
#[test]
fn every_recorded_line_of_conntrack_is_a_name() {
    let mut count = 0;
    for table in [
        include_str!("../../../tests/data/traffic.conntrack-all"),
        include_str!("../../../tests/data/created.conntrack-all"),
        include_str!("../../../tests/data/traffic.conntrack"),
    ] {
        for line in table.lines().filter(|line| !line.starts_with('#')) {
            let entry = read(line).unwrap_or_else(|error| panic!("{}", error.render()));
            assert!(entry.reply.is_some() && entry.tuple.is_complete(), "{line}");
            assert_eq!(entry.id.is_some(), line.contains("use=1 id="), "{line}");
            count += 1;
        }
    }
    assert!(count > 20, "{count}");
}

#[test]
fn a_protocol_without_a_name_is_read_from_a_line() {
    let line = "ipv4     2 unknown  2 599 src=10.0.0.1 dst=10.0.0.2 src=10.0.0.2 dst=10.0.0.1 mark=0 use=1";
    assert_eq!(read(line).unwrap().tuple, read("igmp 10.0.0.1 10.0.0.2").unwrap().tuple);
}

#[test]
fn icmp_has_an_id_of_its_own_before_that_of_the_entry() {
    let line = "icmp 1 29 src=10.0.0.1 dst=10.0.0.2 type=8 code=0 id=5 src=10.0.0.2 dst=10.0.0.1 type=0 code=0 id=5 \
                mark=0 id=3000000000";
    let entry = read(line).unwrap();
    assert_eq!(entry.tuple.l4, L4::Icmp { kind: 8, code: 0, id: 5 });
    assert_eq!(entry.reply.unwrap().l4, L4::Icmp { kind: 0, code: 0, id: 5 });
    assert_eq!(entry.id, Some(3_000_000_000));
}

#[test]
fn the_id_of_an_icmp_query_may_stand_before_its_type() {
    for text in ["icmp 10.0.0.1 10.0.0.2 id=5 type=8 code=0", "icmp id=5 10.0.0.1 10.0.0.2 code=0 type=8"] {
        let entry = read(text).unwrap();
        assert_eq!((entry.tuple.l4, entry.id), (L4::Icmp { kind: 8, code: 0, id: 5 }, None), "{text}");
    }
}

#[test]
fn what_is_missing_is_listed() {
    for (text, message) in [
        ("", "missing protocol: expected e.g. tcp"),
        ("10.0.0.1 10.0.0.2", "missing protocol: expected e.g. tcp"),
        ("tcp", "incomplete tcp tuple: missing 'src', 'dst', 'sport', 'dport'"),
        ("tcp 10.0.0.1:1 10.0.0.2", "incomplete tcp tuple: missing 'dport'"),
        ("udp 10.0.0.1:1", "incomplete udp tuple: missing 'dst', 'dport'"),
        ("udp src=10.0.0.1 dst=10.0.0.2 dport=2", "incomplete udp tuple: missing 'sport'"),
        ("icmp 10.0.0.1 10.0.0.2", "incomplete icmp tuple: missing 'type', 'code', 'id'"),
        ("icmp 10.0.0.1 10.0.0.2 type=8", "incomplete icmp tuple: missing 'code', 'id'"),
        ("icmp 10.0.0.1 10.0.0.2 type=8 code=0", "incomplete icmp tuple: missing 'id'"),
        ("icmp 10.0.0.1 10.0.0.2 type=8 id=5", "incomplete icmp tuple: missing 'code'"),
        ("icmpv6 ::1 ::2 code=0 id=5", "incomplete icmpv6 tuple: missing 'type'"),
        ("gre 10.0.0.1 10.0.0.2 srckey=1", "incomplete gre tuple: missing 'dstkey'"),
        ("dccp 10.0.0.1:1 10.0.0.2", "incomplete dccp tuple: missing 'dport'"),
        ("esp 10.0.0.1", "incomplete protocol 50 tuple: missing 'dst'"),
        (
            "udp src=10.0.0.1 dst=10.0.0.2 sport=1 dport=2 src=10.0.0.2 dport=1",
            "incomplete udp reply tuple: missing 'dst', 'sport'",
        ),
        // The only sport is that of the reply: it is read as the original one.
        (
            "udp src=10.0.0.1 dst=10.0.0.2 dport=2 src=10.0.0.2 dst=10.0.0.1 sport=2 dport=1",
            "incomplete udp reply tuple: missing 'sport'",
        ),
    ] {
        assert_eq!(fault(text), (message.to_owned(), ""), "{text}");
    }
}

#[test]
fn what_the_protocol_does_not_have_is_refused() {
    for (text, message, part) in [
        ("esp 10.0.0.1:1 10.0.0.2:2", "unexpected 'sport': protocol 50 entries have no sport", "10.0.0.1:1"),
        ("esp 10.0.0.1 10.0.0.2 dport=2", "unexpected 'dport': protocol 50 entries have no dport", "dport=2"),
        ("icmp 10.0.0.1:1 10.0.0.2 type=8 code=0 id=1", "unexpected 'sport': icmp entries have no sport", "10.0.0.1:1"),
        ("tcp 10.0.0.1:1 10.0.0.2:2 type=8", "unexpected 'type': tcp entries have no type", "type=8"),
        ("tcp 10.0.0.1:1 10.0.0.2:2 srckey=8", "unexpected 'srckey': tcp entries have no srckey", "srckey=8"),
        ("gre 10.0.0.1 10.0.0.2 sport=1 dport=2", "unexpected 'sport': gre entries have no sport", "sport=1"),
    ] {
        assert_eq!(fault(text), (message.to_owned(), part), "{text}");
    }
}

#[test]
fn what_is_repeated_or_contradicts_itself_is_refused() {
    for (text, part) in [
        ("udp src=10.0.0.1 dst=10.0.0.2 sport=1 dport=2 src=10.0.0.2 dst=10.0.0.1 sport=2 dport=1 sport=3", "sport=3"),
        ("tcp 10.0.0.1:1 10.0.0.2:2 sport=3", "10.0.0.1:1"),
        ("tcp 10.0.0.1:1 src=10.0.0.2 dport=2", "src=10.0.0.2"),
        ("tcp 10.0.0.1:1 10.0.0.2:2 id=1 id=2", "id=2"),
        ("icmp 10.0.0.1 10.0.0.2 type=8 code=0 id=5 id=77", "id=77"),
        ("icmp 10.0.0.1 10.0.0.2 type=8 code=0 id=3000000000", "id=3000000000"),
        ("udp 10.0.0.1:1 10.0.0.2:2 zone=1 zone=2", "zone=2"),
        ("udp 10.0.0.1:1 10.0.0.2:2 zone=1 zone-orig=2", "zone-orig=2"),
        ("udp 10.0.0.1:1 10.0.0.2:2 10.0.0.3:3", "10.0.0.3:3"),
        ("tcp 17 10.0.0.1:1 10.0.0.2:2", "17"),
        ("tcp 6 10 20 10.0.0.1:1 10.0.0.2:2", "20"),
        ("tcp 6 10 NONE CLOSE 10.0.0.1:1 10.0.0.2:2", "CLOSE"),
        ("ipv6 2 tcp 6 src=10.0.0.1 dst=10.0.0.2 sport=1 dport=2", "2"),
        ("ipv6 10 tcp 6 src=10.0.0.1 dst=10.0.0.2 sport=1 dport=2", "src=10.0.0.1"),
        ("tcp udp 10.0.0.1:1 10.0.0.2:2", "udp"),
    ] {
        assert_eq!(fault(text).1, part, "{text}");
    }
}

#[test]
fn what_is_not_understood_is_marked() {
    for (text, part) in [
        ("tcp 10.0.0.1:40000 10.0.0.2:x", "10.0.0.2:x"),
        ("foo 10.0.0.1 10.0.0.2", "foo"),
        ("tcp 10.0.0.1:1 [fe80::1]:2", "[fe80::1]:2"),
        ("udp src=10.0.0.1 dst=10.0.0.2 sport=1 dport=99999", "dport=99999"),
        ("udp src=10.0.0.1 dst=10.0.0.2 sport=01 dport=9", "sport=01"),
        ("udp src=10.0.0.1 dst=10.0.0.2 sport=+1 dport=9", "sport=+1"),
        ("gre 10.0.0.1 10.0.0.2 srckey=0x+1 dstkey=2", "srckey=0x+1"),
        ("tcp 10.0.0.1:1 10.0.0.2:2 fnord=1", "fnord=1"),
        ("tcp 10.0.0.1:1 10.0.0.2:2 [start=Sun Nov", "[start=Sun"),
        ("tcp 10.0.0.1:1 10.0.0.2:2 5", "5"),
    ] {
        assert_eq!(fault(text).1, part, "{text}");
    }
    let rendered = read("tcp 10.0.0.1:40000 10.0.0.2:x").unwrap_err().render();
    assert!(rendered.contains("\n  tcp 10.0.0.1:40000 10.0.0.2:x\n                     ^^^^^^^^^^\n"), "{rendered}");
}

#[test]
fn zones_are_read_from_a_line() {
    let zone = |text: &str| read(&format!("udp src=10.0.0.1 dst=10.0.0.2 sport=1 dport=2 {text}")).unwrap().zone;
    assert_eq!((zone("zone=7"), zone("zone-orig=8"), zone("zone=0"), zone("")), (Some(7), Some(8), Some(0), None));
}

#[test]
fn ipv6_ports_are_behind_brackets() {
    let entry = read("udp [2001:db8::1]:53 [2001:db8::2]:4000").unwrap();
    assert_eq!(entry.tuple.ports(), Some((53, 4000)));
    assert_eq!(read("esp [2001:db8::1] 2001:db8::2").unwrap().tuple.l4, L4::None);
}

#[test]
fn ipv4_mapped_addresses_name_the_entry_of_the_ipv4_addresses() {
    let entry = read("tcp 192.0.2.3:1 10.0.0.2:2").unwrap();
    for text in [
        "tcp [::ffff:192.0.2.3]:1 [::ffff:10.0.0.2]:2",
        "tcp [::ffff:192.0.2.3]:1 10.0.0.2:2",
        "tcp src=::ffff:192.0.2.3 dst=::ffff:a00:2 sport=1 dport=2",
        "ipv4 tcp src=::ffff:192.0.2.3 dst=::ffff:10.0.0.2 sport=1 dport=2",
    ] {
        assert_eq!(NamedEntry { may_be_ipv6: false, ..read(text).unwrap() }, entry, "{text}");
    }
    let line = format!(
        "tcp src=::ffff:192.0.2.3 dst=::ffff:10.0.0.2 sport=1 dport=2 {}",
        "src=10.0.0.2 dst=::ffff:192.0.2.3 sport=2 dport=1"
    );
    assert_eq!(read(&line).unwrap().reply, Some(entry.tuple.inverse()));
}

#[test]
fn a_mapped_address_of_an_ipv6_packet_stays_ipv6_where_the_family_shows_it() {
    for text in [
        "ipv6 10 tcp src=::ffff:192.0.2.3 dst=::ffff:10.0.0.2 sport=1 dport=2",
        "tcp [::ffff:192.0.2.3]:1 [2001:db8::1]:2",
        "icmpv6 ::ffff:192.0.2.3 ::ffff:10.0.0.2 type=128 code=0 id=1",
        "tcp src=::ffff:192.0.2.3 dst=::ffff:10.0.0.2 sport=1 dport=2 src=2001:db8::1 dst=::ffff:192.0.2.3 sport=2 dport=1",
    ] {
        let entry = read(text).unwrap();
        assert!(entry.tuple.src.is_ipv6() && entry.as_ipv6().is_none(), "{text}");
        assert!(entry.reply.is_none_or(|reply| reply.src.is_ipv6()), "{text}");
    }
}

#[test]
fn a_line_with_mapped_addresses_alone_and_no_family_may_be_that_of_an_ipv6_entry() {
    let mapped = "src=::ffff:192.0.2.3 dst=::ffff:10.0.0.2 sport=1 dport=2";
    let reply = "src=::ffff:10.0.0.2 dst=::ffff:192.0.2.3 sport=2 dport=1";
    for text in [
        format!("tcp 6 119 TIME_WAIT {mapped} {reply} [ASSURED] mark=0 use=1"),
        format!("tcp {mapped}"),
        "tcp [::ffff:192.0.2.3]:1 [::ffff:10.0.0.2]:2".to_owned(),
        "tcp TIME_WAIT [::ffff:192.0.2.3]:1 [::ffff:10.0.0.2]:2 2m 1s".to_owned(),
        r#"{"proto":"tcp","src":"::ffff:192.0.2.3","dst":"::ffff:10.0.0.2","sport":1,"dport":2}"#.to_owned(),
    ] {
        let entry = read(&text).unwrap();
        assert!(entry.tuple.src.is_ipv4() && entry.may_be_ipv6, "{text}");
        let ipv6 = entry.as_ipv6().unwrap();
        let shown = read(&format!("ipv6 10 tcp {mapped} {reply}")).unwrap();
        assert_eq!(ipv6, NamedEntry { reply: ipv6.reply, lacks_zone: ipv6.lacks_zone, ..shown.clone() }, "{text}");
        assert!(ipv6.reply.is_none() || ipv6.reply == shown.reply, "{text}");
    }
    for text in [
        format!("ipv4 tcp {mapped}"),
        format!("tcp {mapped} src=10.0.0.2 dst=192.0.2.3 sport=2 dport=1"),
        "tcp 192.0.2.3:1 10.0.0.2:2".to_owned(),
        "tcp [::ffff:192.0.2.3]:1 10.0.0.2:2".to_owned(),
        "icmp ::ffff:192.0.2.3 ::ffff:10.0.0.2 type=8 code=0 id=1".to_owned(),
    ] {
        let entry = read(&text).unwrap();
        assert!(entry.tuple.src.is_ipv4() && entry.as_ipv6().is_none(), "{text}");
    }
}

#[test]
fn a_type_of_icmp_has_the_number_of_its_protocol() {
    for (text, kind) in [
        ("icmp 10.0.0.1 10.0.0.2 type=echo-request code=0 id=5", 8),
        ("icmp type=ECHO_REPLY 10.0.0.1 10.0.0.2 code=0 id=5", 0),
        ("type=echo-request code=0 id=5 icmpv6 ::1 ::2", 128),
        ("icmp 10.0.0.1 10.0.0.2 type=info-reply code=0 id=5", 16),
    ] {
        assert_eq!(read(text).unwrap().tuple.l4, L4::Icmp { kind, code: 0, id: 5 }, "{text}");
    }
    for text in ["icmpv6 ::1 ::2 type=info-reply code=0 id=5", "icmp 10.0.0.1 10.0.0.2 type=time-exceeded code=0 id=5"]
    {
        assert!(fault(text).1.starts_with("type="), "{text}");
    }
}

#[test]
fn icmp_without_a_type_names_the_protocol_of_its_addresses() {
    for (text, hint) in [
        ("icmp 2001:db8::1 2001:db8::2", "with IPv6 addresses the protocol is icmpv6"),
        ("icmp - 2001:db8::1 2001:db8::2 none 16s 13s 0 0", "with IPv6 addresses the protocol is icmpv6"),
        ("icmpv6 10.0.0.1 10.0.0.2", "with IPv4 addresses the protocol is icmp"),
        ("icmp6 ::1 ::2", "did you mean icmpv6?"),
    ] {
        assert_eq!(read(text).unwrap_err().hint, hint, "{text}");
    }
    assert_ne!(read("icmp ::ffff:10.0.0.1 10.0.0.2").unwrap_err().hint, "with IPv6 addresses the protocol is icmpv6");
}

#[test]
fn keys_of_gre_are_decimal_or_hexadecimal() {
    let entry = read("gre 10.0.0.1 10.0.0.2 srckey=0x0 dstkey=0xabcd").unwrap();
    assert_eq!(entry.tuple.l4, L4::Ports { src: 0, dst: 0xabcd });
    assert_eq!(read("gre 10.0.0.1:0 10.0.0.2:43981").unwrap().tuple, entry.tuple);
}

fn flow(tuple: Tuple) -> Flow {
    Flow { id: Some(77), ..Flow::new(tuple, tuple.inverse()) }
}

#[test]
fn an_entry_that_differs_in_a_part_that_was_named_is_another_one() {
    let named = read("tcp 10.0.0.1:40000 10.0.0.2:443").unwrap();
    let found = flow(named.tuple);
    assert!(named.is(&found));
    assert!(NamedEntry { tuple: named.tuple.inverse(), ..named.clone() }.is(&found), "either direction names it");
    let without_ports = Tuple { l4: L4::None, ..named.tuple };
    assert!(!named.is(&flow(without_ports)));
    let with_id = |id| NamedEntry { id: Some(id), ..named.clone() };
    assert!(with_id(77).is(&found) && !with_id(78).is(&found));
    let nat = Tuple { dst: "192.0.2.1".parse().unwrap(), ..named.tuple.inverse() };
    let with_reply = NamedEntry { reply: Some(nat), ..named };
    assert!(!with_reply.is(&found) && with_reply.is(&Flow { reply: nat, ..found }));
}

#[test]
fn ports_of_0_that_conntrack_prints_for_none_name_the_entry_without_ports() {
    let named = read("dccp src=10.0.0.1 dst=10.0.0.2 sport=0 dport=0").unwrap();
    let without_ports = Tuple { l4: L4::None, ..named.tuple };
    assert!(named.is(&flow(without_ports)));
    assert!(!read("dccp 10.0.0.1:1 10.0.0.2:2").unwrap().is(&flow(without_ports)));
    let tcp = Tuple { protocol: Protocol::Tcp, ..without_ports };
    assert!(!NamedEntry { tuple: Tuple { protocol: Protocol::Tcp, ..named.tuple }, ..named }.is(&flow(tcp)));
}

proptest! {
    #[test]
    fn no_text_makes_the_parser_panic(text in "[a-z0-9=:.\\[\\] é]{0,60}") {
        if let Err(error) = read(&text) {
            prop_assert!(error.render().contains('^'));
        }
    }
}
