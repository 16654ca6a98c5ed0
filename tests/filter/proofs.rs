//! What is proven about whole filters.

use super::parse;

#[test]
fn a_filter_that_leaves_nothing_out_is_recognised() {
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

#[test]
fn a_filter_that_leaves_something_out_is_not_taken_for_everything() {
    for text in [
        "tcp",
        "not tcp",
        "addr 0.0.0.0/0",
        "src 0.0.0.0/1 or src ::/0",
        "not (addr 10.0.0.0/8 and addr 192.0.2.0/24)",
        "not (port 80 and port 81)",
        "sport 0-65535",
        "state established or not state close",
        "mark 0x1/0x3 or mark 0/1",
        "mark < 5 or mark > 5",
        "mark 0/1,5-9",
        "mark 1/1 or mark < 3000000000",
        "timeout > 0",
        "packets >= 1",
        "label any",
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
    ] {
        assert!(parse(text).unwrap().never_matches(), "{text}");
    }
    for text in ["tcp", "addr 10.0.0.1 and addr 10.0.0.2", "port 80 and port 81", "label 1 and label 2"] {
        assert!(!parse(text).unwrap().never_matches(), "{text}");
    }
}
