//! A flush deletes the matching entries and no similar ones, also on kernels that ignore a filter.

use std::collections::HashSet;

use ctnl::model::{Family, Flow, Status};

use ctnl_test_support::harness::{Key, TestNetns, key, tests, udp};
use ctnl_test_support::similar_entries::similar_entries;
use ctnl_test_support::summary::Summary;

tests![a_flush_deletes_the_matching_entries_and_no_similar_ones, the_kernel_filter_does_not_change_the_result,];

/// An expression, and the entries that it matches.
type Named = (&'static str, fn(&Flow) -> bool);

const EXPRESSIONS: [Named; 11] = [
    ("zone 1", |flow| flow.zone_both == Some(1)),
    ("zone 0", |flow| flow.zone_both.is_none() && flow.orig.zone.is_none()),
    ("status assured", |flow| flow.status.contains(Status::Assured)),
    ("not status assured", |flow| !flow.status.contains(Status::Assured)),
    ("mark 7", |flow| flow.mark == Some(7)),
    ("mark 0x1/0x1", |flow| flow.mark.is_some_and(|mark| mark & 1 == 1)),
    ("ipv6", |flow| flow.family == Family::V6),
    ("udp", |flow| u8::from(flow.orig.protocol) == 17),
    ("sctp and dport 53", |flow| u8::from(flow.orig.protocol) == 132 && flow.orig.dport() == Some(53)),
    ("dst 2001:db8::2", |flow| flow.orig.dst.to_string() == "2001:db8::2"),
    ("udp and zone 1 and mark 0", |flow| {
        u8::from(flow.orig.protocol) == 17 && flow.zone_both == Some(1) && flow.mark == Some(0)
    }),
];

/// Entries that are similar in every filtered field.
fn population() -> Vec<Flow> {
    let assured = Status::Confirmed | Status::SeenReply | Status::Assured;
    let more = [
        Flow { mark: Some(7), ..udp(2000, 53) },
        Flow { mark: Some(1), ..udp(2001, 53) },
        Flow { mark: Some(7), zone_both: Some(1), ..udp(2000, 53) },
        Flow { status: assured, ..udp(2002, 53) },
        Flow { status: assured, zone_both: Some(1), ..udp(2002, 53) },
        Flow { status: assured, mark: Some(8), zone_both: Some(2), ..udp(2002, 53) },
    ];
    similar_entries().into_iter().chain(more).collect()
}

fn a_flush_deletes_the_matching_entries_and_no_similar_ones(netns: &TestNetns) {
    for (expression, is_named) in EXPRESSIONS {
        netns.create(&population());
        let (named, others): (Vec<Flow>, Vec<Flow>) = netns.dump().into_iter().partition(is_named);
        assert!(!named.is_empty() && !others.is_empty(), "{expression}");
        let summary = Summary::read(&netns.ctnl(&["flush", expression, "--json", "--yes"]).exits_with(0).stdout());
        assert_eq!(summary.deleted, named.len() as u64, "{expression}: {summary:?}");
        let keys = |flows: &[Flow]| flows.iter().map(key).collect::<HashSet<Key>>();
        assert_eq!(keys(&netns.dump()), keys(&others), "{expression}");
        netns.ctnl(&["flush", "--all", "--yes"]).exits_with(0);
        assert_eq!(netns.dump(), []);
    }
}

fn the_kernel_filter_does_not_change_the_result(netns: &TestNetns) {
    netns.create(&population());
    for (expression, is_named) in EXPRESSIONS {
        let named = netns.dump().into_iter().filter(is_named).count();
        for options in [&[][..], &["--kernel-filter"]] {
            let count = netns.ctnl(&[&["count", expression], options].concat()).exits_with(0);
            assert_eq!(count.stdout().trim(), named.to_string(), "{expression} {options:?}");
        }
    }
}
