//! What is proven about whole filters.

use super::parse;

#[test]
fn a_filter_that_matches_everything_is_recognised() {
    for text in [
        "",
        "tcp or not tcp",
        "ipv4 or ipv6",
        "addr 0.0.0.0/0 or addr ::/0",
        "src 0.0.0.0/0 or src ::/0",
        "src 0.0.0.0/0 or ipv6",
        "not (src 0.0.0.0/0 and ipv6)",
        "src 0.0.0.0/1,128.0.0.0/1,::/0",
        "mark 0/0",
        "mark 0x1/0x1 or mark 0/1",
        "not mark 0x10/0xf0 or mark 0x10/0x30",
        "mark 0/1,1/1,5-9",
        "mark 0/0,5-9",
        "not mark 5-9 or mark 6/7 or mark 0-20",
        "sport 0-65535 or not sport 0-65535",
        "sport < 1000 or sport >= 1000 or not sport 0-65535",
        "timeout >= 0",
        "idle >= 0",
        "idle >= 5m or idle < 5m",
        "id >= 0",
        "id 0-4294967295",
        "packets >= 0",
        "zone 0-65535",
        "assured or not assured",
        "unreplied or seen-reply",
        "nat any or nat none",
        "nat src or nat dst or nat none",
        "label any or label none",
        "label 0/0",
        "label 0/1 or label 1/1",
        "not label 1/3 or label 1/3",
        "label 0/3 or label 1/3 or label 2/3 or label 3/3",
        "not label 0x10/0xf0 or label 4",
        "label any or label 0/0xff",
        "helper ftp or not helper ftp",
        "not (tcp and udp)",
        "not (state established and state close)",
        "(tcp and (assured or not assured)) or not tcp",
        "dport 80 or dport != 80",
        "icmp or (not icmp and (ipv4 or not ipv4))",
        "src @nets or not src @nets",
    ] {
        let filter = parse(text).unwrap();
        assert!(filter.matches_everything(), "{text}");
        assert!(!filter.never_matches(), "{text}");
    }
}

/// What the kernel guarantees of the entries of its table, in many spellings.
pub const OF_LIVE_ENTRIES: &[&str] = &[
    "confirmed",
    "not dying",
    "not template",
    "not nat-clash",
    "not status 31",
    "status 0,1,2,3,4,5,6,7,8,9",
    "use >= 1",
    "not use 0",
    "timeout < 100000d",
    "idle < 100000d",
    "age < 100000d",
    "start < 100000000000",
    "bytes < 9999999T",
    "not icmp-type 8 or icmp",
    "not icmp-type 128 or icmpv6",
    "not icmp-type 7",
    "not icmp or ipv4",
    "sport 0-65535 or not (tcp or udp)",
    "not sport 0-65535 or tcp or udp or sctp or dccp or udplite",
    "tcp or not orig-tcp-flags 0/0",
    "orig-tcp-flags 0-255 or not tcp",
    "state none,syn_sent,syn_recv,established,fin_wait,close_wait,last_ack,time_wait,close,syn_sent2 or not tcp",
    "nat src or not status src-nat",
    "nat-src 0.0.0.0/0,::/0 or not nat src",
    "not nat-port 0-65535 or nat any",
    "expected or not master-src 0.0.0.0/0,::/0",
    "gre-key 0-65535 or not gre-key 0-65535",
    "not gre-key 5 or gre",
    "addr 10.0.0.0/8 or not src 10.0.0.0/8",
    "any-addr 10.0.0.0/8 or not addr 10.0.0.0/8",
    "port 80 or dport != 80",
    "nat-dst 10.0.0.1 or not reply-src 10.0.0.1 or not nat dst",
];

#[test]
fn a_property_of_every_live_entry_matches_everything() {
    for text in OF_LIVE_ENTRIES {
        assert!(parse(text).unwrap().matches_everything(), "{text}");
    }
}

/// A field whose terms have too many answers stays unknown, and the others decide.
#[test]
fn many_bits_of_one_field_do_not_prevent_a_proof_by_the_others() {
    let bits = |field: &str, join: &str| {
        [0, 1, 2, 4, 5, 6, 7, 8, 10, 13, 14, 15].map(|bit| format!("{field} {bit}")).join(join)
    };
    for text in [
        "tcp or not tcp or label 0,1,2,3,4,5,6,7,8,9".to_owned(),
        format!("tcp or not tcp or ({})", bits("label", " and ")),
        format!("tcp or not tcp or ({})", bits("status", " and ")),
        format!("({}) or timeout >= 0", bits("status", " and ")),
        format!("label none or label {}", (0..128).map(|label| label.to_string()).collect::<Vec<_>>().join(",")),
    ] {
        assert!(parse(&text).unwrap().matches_everything(), "{text}");
    }
    for text in ["label 0,1,2,3,4,5,6,7,8,9", "label none or label 0,1,2,3,4,5,6,7,8,9", "status 0,1,2,4,5,6,7,8,9,10"]
    {
        assert!(!parse(text).unwrap().matches_everything(), "{text}");
    }
}

/// An event of an entry that is removed has `dying`, so such filters are of use there.
#[test]
fn a_property_of_no_live_entry_may_match_an_event() {
    for text in ["dying", "not confirmed", "use 0", "timeout > 100000d"] {
        assert!(!parse(text).unwrap().never_matches(), "{text}");
    }
}

#[test]
fn a_filter_that_does_not_match_some_entry_is_not_taken_for_everything() {
    for text in [
        "tcp",
        "not tcp",
        "addr 0.0.0.0/0",
        "src 0.0.0.0/1 or src ::/0",
        "not (addr 10.0.0.0/8 and addr 192.0.2.0/24)",
        "not (port 80 and port 81)",
        "sport 0-65535",
        "sport 0-65535 or tcp",
        "sport 0-65535 or icmp",
        "not icmp-type 8",
        "not icmp-type 8 or icmpv6",
        "not sctp or sport 0-65535",
        "confirmed and tcp",
        "use >= 2",
        "timeout < 10d",
        "idle < 5d",
        "not nat-src 0.0.0.0/0",
        "addr 10.0.0.0/8 or not any-addr 10.0.0.0/8",
        "src 10.0.0.0/8 or not addr 10.0.0.0/8",
        "state established or not state close",
        "mark 0x1/0x3 or mark 0/1",
        "mark < 5 or mark > 5",
        "mark 0/1,5-9",
        "mark 1/1 or mark < 3000000000",
        "timeout > 0",
        "packets >= 1",
        "label any",
        "label any or label 1/3",
        "label 0/3",
        "label 0/3 or label 1/3 or label 2/3",
        "not label 1/3",
        "not label 5",
        "not status {assured, seen-reply}",
        "nat src or nat none",
        "helper any or helper ftp",
        "zone 1-65535",
        "idle >= 1s",
        "src @many or not dport 443",
    ] {
        assert!(!parse(text).unwrap().matches_everything(), "{text}");
    }
}

#[test]
fn a_filter_that_nothing_can_match_is_recognised() {
    for text in [
        "tcp and udp",
        "src 10.0.0.1 and src 10.0.0.2",
        "ipv6 and src 10.0.0.0/8",
        "assured and not assured",
        "packets < 0",
        "idle > 5m and idle < 4m",
        "mark 1/3 and mark 2/3",
        "mark 1/3 and mark 2/3 and mark 5-9",
        "nat none and nat src",
        "label 1/3 and label 2/3",
        "label none and label 1/3",
        "label 0x80000000000000000000000000000000/0xc0000000000000000000000000000000 and not label 127",
    ] {
        assert!(parse(text).unwrap().never_matches(), "{text}");
    }
    for text in ["tcp", "addr 10.0.0.1 and addr 10.0.0.2", "port 80 and port 81", "label 1 and label 2"] {
        assert!(!parse(text).unwrap().never_matches(), "{text}");
    }
}
