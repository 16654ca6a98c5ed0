//! Tests: the lines that can be pasted.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use proptest::prelude::*;

use super::{NamedEntry, NamedEntryError};
use crate::model::L4;

fn read(text: &str) -> Result<NamedEntry, NamedEntryError> {
    text.parse()
}

const LINE: &str = "tcp      6 431999 ESTABLISHED src=10.0.0.1 dst=10.0.0.2 sport=40000 dport=443 src=10.0.0.2 \
                    dst=10.0.0.1 sport=443 dport=40000 [ASSURED] mark=0 use=1";

#[test]
fn every_recorded_event_of_conntrack_names_its_entry() {
    let mut count = 0;
    for text in
        [include_str!("../../../tests/data/events.conntrack"), include_str!("../../../tests/data/events.conntrack-all")]
    {
        for line in text.lines() {
            let entry = read(line).unwrap_or_else(|error| panic!("{}", error.render()));
            assert!(entry.reply.is_some() && entry.tuple.is_complete() && !entry.lacks_zone, "{line}");
            assert_eq!((entry.zone, entry.netns), (zone_in(line), None), "{line}");
            count += 1;
        }
    }
    assert!(count > 100, "{count}");
}

fn zone_in(line: &str) -> Option<u16> {
    let mut words = line.split_whitespace();
    words
        .find_map(|word| word.strip_prefix("zone=").or(word.strip_prefix("zone-orig=")))
        .map(|zone| zone.parse().unwrap())
}

#[test]
fn a_recorded_expectation_is_no_entry() {
    for line in include_str!("../../../tests/data/expectations.conntrack").lines() {
        assert_eq!(read(line).expect_err(line).to_string(), "an expectation is not an entry");
    }
}

#[test]
fn what_is_printed_around_an_event_does_not_change_the_name() {
    let plain = read(LINE).unwrap();
    for event in [
        format!("    [NEW] {LINE}"),
        format!("[1795325354.935078]\t [UPDATE] {LINE}"),
        format!("[DESTROY] {LINE} [USERSPACE] portid=77 progname=conntrack"),
        format!("[DESTROY] {LINE} [USERSPACE] portid=77 progname=tmux: server"),
        format!("[NEW] {LINE} [SEED]"),
        format!("{LINE} helper=a b secctx=c d"),
    ] {
        assert_eq!(read(&event).unwrap(), plain, "{event}");
    }
}

#[test]
fn what_may_be_a_part_of_the_tuple_or_of_the_name_of_a_process_is_refused() {
    for text in ["zone=7", "x id=5", "a zone=7 netns=blue"] {
        let error = read(&format!("[DESTROY] {LINE} [USERSPACE] portid=77 progname=tmux: {text}")).unwrap_err();
        assert!(error.to_string().starts_with("ambiguous '"), "{error}");
    }
    let in_front = read(&format!("[DESTROY] {LINE} zone=7 [USERSPACE] portid=77 progname=tmux: server"));
    assert_eq!(in_front.unwrap().zone, Some(7));
}

#[test]
fn the_namespace_of_an_event_is_a_part_of_the_name() {
    let netns = |text: &str| read(&format!("[NEW] {LINE} {text}")).unwrap().netns;
    assert_eq!(netns("netns=blue").as_deref(), Some("blue"));
    assert_eq!(netns("netns=blue [RESYNC]").as_deref(), Some("blue"));
    assert_eq!(netns("[USERSPACE] portid=7 progname=a b netns=host [SEED]").as_deref(), Some("host"));
    assert_eq!(netns("netns=pid:77(tmux: server) [SEED]").as_deref(), Some("pid:77(tmux: server)"));
    assert!(read(&format!("{LINE} netns=a netns=b")).is_err());
}

#[test]
fn a_number_in_front_of_the_addresses_is_the_protocol() {
    let igmp = read("igmp 10.0.0.1 10.0.0.2").unwrap();
    for text in ["2 10.0.0.1 10.0.0.2", "ipv4 2 10.0.0.1 10.0.0.2", "ipv4 2 src=10.0.0.1 dst=10.0.0.2"] {
        assert_eq!(read(text).unwrap(), igmp, "{text}");
    }
    assert_eq!(u8::from(read("ipv6 10 ::1 ::2").unwrap().tuple.protocol), 10);
    assert!(read("ipv6 2 tcp ::1:1 ::2:2").is_err());
}

#[test]
fn a_row_of_the_table_is_a_name_without_a_zone() {
    let short = read("tcp [2001:db8::1]:40000 [2001:db8::2]:443").unwrap();
    let ends = "[2001:db8::1]:40000  [2001:db8::2]:443";
    for row in [
        format!("tcp    ESTABLISHED  {ends}  2m49s  4d23h"),
        format!("tcp    ESTABLISHED  {ends}  src+dst  2m49s+  4d23h  12  4711"),
        format!("tcp    ?            {ends}  none  ?  -"),
        format!("tcp    ESTABLISHED  {ends}"),
    ] {
        assert_eq!(read(&row).unwrap(), NamedEntry { lacks_zone: true, ..short.clone() }, "{row}");
    }
    let row = "tcp TIME_WAIT [::ffff:192.0.2.3]:1 [::ffff:10.0.0.2]:2 2m 1s";
    assert!(read(&format!("ipv6 {row}")).unwrap().tuple.src.is_ipv6());
    assert!(read(&format!("ipv4 {row}")).unwrap().as_ipv6().is_none());
    assert_eq!(read("udp - 10.0.0.1:1 10.0.0.2:2 29s 0s 0 0").unwrap().tuple.ports(), Some((1, 2)));
}

#[test]
fn what_a_row_lacks_is_named() {
    for (row, missing) in [
        ("icmp -  10.0.0.1  10.0.0.2  none  16s  13s  0  0", "incomplete icmp tuple: missing 'type', 'code', 'id'"),
        ("gre  -  10.0.0.1  10.0.0.2     ?  34s", "incomplete gre tuple: missing 'srckey', 'dstkey'"),
        ("tcp  ESTABLISHED  10.0.0.1  10.0.0.2  16s  13s", "incomplete tcp tuple: missing 'sport', 'dport'"),
    ] {
        let error = read(row).unwrap_err();
        assert_eq!(error.to_string(), missing);
        assert!(error.render().contains("these columns do not have it"), "{}", error.render());
    }
    // Not the columns of a row.
    for text in [
        "tcp ESTABLISHED 10.0.0.1:1 10.0.0.2:2 5",
        "tcp ESTABLISHED 10.0.0.1:1 10.0.0.2:2 2m49s",
        "tcp 10.0.0.1:1 10.0.0.2:2 2m49s 4d23h",
        "tcp ESTABLISHED 10.0.0.1:1 10.0.0.2:2 2m49s 4d23h 5",
        "fnord ESTABLISHED 10.0.0.1:1 10.0.0.2:2 2m49s 4d23h",
    ] {
        assert!(read(text).is_err(), "{text}");
    }
}

const JSON: &str = r#"{"v":1,"family":"ipv4","proto":6,"protocol":"tcp","state":"ESTABLISHED","timeout":40,"orig":{"src":"10.0.0.1","dst":"10.0.0.2","sport":40000,"dport":443,"packets":7,"bytes":9},"reply":{"src":"10.0.0.2","dst":"10.0.0.1","sport":443,"dport":40000},"status":["assured"],"mark":0,"id":77,"master":{"src":"1.2.3.4","dst":"1.2.3.5"},"idle":{"at_least":259}}"#;

#[test]
fn a_line_of_json_names_its_entry() {
    let named = NamedEntry { id: Some(77), ..read(LINE).unwrap() };
    assert_eq!(read(JSON).unwrap(), named);
    let zoned = JSON.replace("\"mark\":0", "\"zone\":5");
    assert_eq!(read(&zoned).unwrap(), NamedEntry { zone: Some(5), ..named.clone() });
    let of_orig = JSON.replace("\"packets\":7", "\"zone\":6");
    assert_eq!(read(&of_orig).unwrap(), NamedEntry { zone: Some(6), ..named.clone() });
    let flow = JSON.replace("\"v\":1,", "");
    let event = format!(
        "{{\"v\":1,\"seq\":3,\"event\":\"destroy\",\"netns\":\"blue\",\"requester\":{{\"port\":7,\"process\":\"a\\\"b\"}},\"flow\":{flow}}}"
    );
    assert_eq!(read(&event).unwrap(), NamedEntry { netns: Some("blue".into()), ..named });
}

#[test]
fn the_flat_record_of_a_connection_names_its_entry() {
    let end = r#"{"v":1,"seq":9,"event":"end","proto":1,"src":"10.0.0.1","dst":"10.0.0.2","icmp_type":8,"icmp_code":0,"icmp_id":5,"nat_src":"1.2.3.4","nat_icmp_id":6,"zone_orig":4}"#;
    let named = read(end).unwrap();
    assert_eq!((named.tuple.l4, named.zone, named.id), (L4::Icmp { kind: 8, code: 0, id: 5 }, Some(4), None));
}

#[test]
fn json_with_columns_has_a_zone_only_if_it_is_one_of_them() {
    let columns =
        r#"{"proto":"icmp","src":"10.0.0.1","dst":"10.0.0.2","icmp-type":8,"icmp-code":0,"icmp-id":5,"id":77"#;
    let named = read(&format!("{columns}}}")).unwrap();
    assert_eq!((named.tuple.l4, named.id), (L4::Icmp { kind: 8, code: 0, id: 5 }, Some(77)));
    assert!(named.lacks_zone);
    let with_zone = read(&format!("{columns},\"zone\":0}}")).unwrap();
    assert_eq!((with_zone.zone, with_zone.lacks_zone), (Some(0), false));
    // That of either direction is not certainly that of the tuple.
    for (zone, is_certain) in [("\"zone\":7", false), ("\"zone\":7,\"orig-zone\":7", true)] {
        let with_zone = read(&format!("{columns},{zone}}}")).unwrap();
        assert_eq!((with_zone.zone, with_zone.lacks_zone), (is_certain.then_some(7), !is_certain));
    }
    let error = read(r#"{"proto":"icmp","src":"10.0.0.1","dst":"10.0.0.2","icmp-type":8,"id":77}"#).unwrap_err();
    assert_eq!(error.to_string(), "incomplete icmp tuple: missing 'code', 'id'");
    assert!(error.render().contains("these columns do not have it"));
}

#[test]
fn json_that_names_no_entry_is_refused() {
    for (text, message) in [
        (r#"{"v":1,"event":"gap","lost":3}"#, "a record 'gap' has no entry"),
        (r#"{"v":1,"event":"expect-new","proto":6}"#, "a record 'expect-new' has no entry"),
        ("{}", "missing protocol: expected e.g. tcp"),
        (r#"{"v":1,"proto":6"#, "invalid JSON: expected '}'"),
        (r#"{"v":1,"proto":6} x"#, "unexpected text after the JSON object"),
        (r#"{"v":1,"proto":6,"proto":17}"#, "repeated proto"),
        (r#"{"v":1,"proto":"#, "invalid JSON: expected a value"),
        (r#"{"v":1,"proto":"tcp}"#, "unclosed '\"'"),
        (r#"{"v":1,"orig":{"src":"10.0.0.1","src":"10.0.0.2"}}"#, "repeated src"),
        (r#"{"v":1,"orig":{"unknown_part":true}}"#, "the tuple has a part that this version does not know"),
        (r#"{"proto":6,"zone":[1,2]}"#, "expected one value"),
        (r#"{"v":1,"netns":"a\"b"}"#, "unexpected '\\': expected a value without escapes"),
    ] {
        assert_eq!(read(text).expect_err(text).to_string(), message, "{text}");
    }
    let deep = "{\"a\":".repeat(100_000);
    assert!(read(&deep).is_err(), "and the stack is not exhausted");
    assert!(read(&format!("{{\"a\":{}", "[".repeat(100_000))).is_err());
}

#[test]
fn lines_of_other_formats_are_refused_with_those_that_can_be_pasted() {
    for text in [
        "<flow><meta direction=\"original\">",
        "tcp,ESTABLISHED,10.0.0.1,40000,10.0.0.2,443",
        "-A -t 119 -u SEEN_REPLY -s 10.0.0.1 -d 10.0.0.2 -p tcp --sport 1 --dport 2",
    ] {
        assert!(read(text).unwrap_err().render().contains("paste the line of '-o conntrack' or '-o json'"), "{text}");
    }
    assert_eq!(read("    [GAP] lost=7 cause=kernel").unwrap_err().to_string(), "a gap in a stream is not an entry");
}

#[test]
fn what_a_log_has_in_front_of_an_entry_is_to_be_removed() {
    for text in [
        format!("Nov 28 20:00:00 fw kernel: {LINE}"),
        format!("<134>1 2026-11-28T20:00:00Z fw ctnl - - - {LINE}"),
        format!("1 2026-11-28T20:00:00Z fw ctnl {LINE}"),
        format!("Nov 28 20:00:00 fw ctnl[77]: [NEW] ipv4 2 {LINE}"),
        format!("Nov 28 20:00:00 fw ctnl[77]: {JSON}"),
    ] {
        assert_eq!(read(&text).unwrap_err().hint, "remove what is in front of the protocol", "{text}");
    }
    for text in ["Nov 28 20:00:00 fw kernel: tcp", "foo 10.0.0.1 10.0.0.2", "tcp 10.0.0.1:1 10.0.0.2:2 fnord=1"] {
        assert_ne!(read(text).unwrap_err().hint, "remove what is in front of the protocol", "{text}");
    }
}

proptest! {
    #[test]
    fn no_text_that_looks_like_json_makes_the_parser_panic(text in "\\{[a-z0-9\"\\\\:,\\[\\]{} é]{0,60}") {
        if let Err(error) = read(&text) {
            prop_assert!(error.render().contains('^'));
        }
    }

    #[test]
    fn a_line_of_json_that_is_cut_off_is_refused(length in 0..JSON.len()) {
        prop_assert!(read(&JSON[..length]).is_err());
    }
}
