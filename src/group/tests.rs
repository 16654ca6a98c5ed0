//! Tests of counting and sorting groups.

use super::*;
use crate::age::IdleEstimator;
use crate::field::{FIELDS, Subject, Value};
use crate::model::{Counters, Flow, L4, ProtoInfo, Protocol, Undecided};

#[test]
fn exactly_the_groupable_fields_can_be_grouped_by() {
    for field in FIELDS {
        let expected = if field.groupable { None } else { Some(GroupErrorKind::NotGroupable(field.name)) };
        assert_eq!(Groups::by(field.name).err().map(|error| error.kind), expected);
    }
}

#[test]
fn with_more_groups_than_the_limit_the_kept_ones_are_counted_exactly() {
    let mut groups = Groups::by("mark").unwrap().at_most(2);
    let ages = IdleEstimator::without_timeouts(0);
    for mark in [7, 8, 9, 7, 10, 7, 9] {
        let flow = Flow { mark: Some(mark), ..Flow::blank() };
        groups.add(&Subject::new(&flow, &ages));
    }
    let entries: Vec<_> = groups.top(9).iter().map(|group| group.totals.entries).collect();
    assert_eq!(entries, [3, 1]);
    assert_eq!((groups.beyond(), groups.total().entries), (3, 7));
}

#[test]
fn groups_that_are_removed_are_counted_as_beyond_and_the_others_are_found_at_their_new_places() {
    let mut groups = Groups::by("mark").unwrap();
    let ages = IdleEstimator::without_timeouts(0);
    let add = |groups: &mut Groups, mark| {
        let flow = Flow { mark: Some(mark), ..Flow::blank() };
        groups.add(&Subject::new(&flow, &ages))
    };
    for mark in [0, 7, 70_000, 7, 0, 70_000, 70_000, 9] {
        add(&mut groups, mark);
    }
    groups.retain(|place| place % 2 == 1);
    assert_eq!((groups.len(), groups.beyond(), groups.total().entries), (2, 5, 8));
    assert_eq!([7, 9, 0, 70_000].map(|mark| add(&mut groups, mark)), [Some(0), Some(1), Some(2), Some(3)]);
    let entries: Vec<_> = groups.top(9).iter().map(|group| group.totals.entries).collect();
    assert_eq!(entries, [3, 2, 1, 1]);
    groups.retain(|_| false);
    assert_eq!((groups.len(), groups.beyond(), add(&mut groups, 7)), (0, 12, Some(0)));
}

#[test]
fn a_group_is_found_in_other_groups_by_the_same_fields() {
    let groups = |marks: &[u32], most| {
        let mut groups = Groups::by("mark").unwrap().at_most(most);
        let ages = IdleEstimator::without_timeouts(0);
        let add = |mark: &u32| groups.add(&Subject::new(&Flow { mark: Some(*mark), ..Flow::blank() }, &ages));
        let places: Vec<Option<usize>> = marks.iter().map(add).collect();
        (groups, places)
    };
    let ((one, places), (other, _)) = (groups(&[7, 8, 9, 7], 2), groups(&[8, 8, 6], 9));
    assert_eq!(places, [Some(0), Some(1), None, Some(0)]);
    assert_eq!([0, 1, 2].map(|place| other.place_in(&one, place)), [None, Some(0), None]);
    assert_eq!(other.totals_at(0).map(|totals| totals.entries), Some(2));
    assert_eq!(one.group_at(1).map(|group| (group.place, group.values[0])), Some((1, Value::Number(8))));
    assert_eq!(Groups::by("zone").unwrap().place_in(&one, 0), None, "other fields");
}

#[test]
fn equal_values_in_two_parts_are_two_groups_and_equal_counts_are_in_the_order_of_the_parts() {
    let mut groups = Groups::by("mark").unwrap().in_parts();
    let ages = IdleEstimator::without_timeouts(0);
    for (part, mark) in [(7, 1), (7, 1), (300, 1), (7, 2), (2, 2)] {
        groups.start_part(part);
        groups.add(&Subject::new(&Flow { mark: Some(mark), ..Flow::blank() }, &ages));
    }
    let shown = |groups: &Groups| {
        groups
            .top(9)
            .iter()
            .map(|group| (group.part, group.values[0].to_string(), group.totals.entries))
            .collect::<Vec<_>>()
    };
    let expected = [(7, "1", 2), (2, "2", 1), (7, "2", 1), (300, "1", 1)];
    assert_eq!(shown(&groups), expected.map(|(part, mark, entries)| (part, mark.to_owned(), entries)));
    let mut groups = Groups::by("mark").unwrap();
    groups.start_part(7);
    groups.add(&Subject::new(&Flow { mark: Some(1), ..Flow::blank() }, &ages));
    assert_eq!(shown(&groups), [(0, "1".to_owned(), 1)]);
}

/// Groups by mark: of each flow its mark, and its packets where they are counted.
#[test]
fn groups_by_part_alone_have_the_flows_of_each_part_whatever_their_values() {
    let by_part = |parts: &[u32]| {
        let mut groups = Groups::by_part();
        for (mark, part) in (0..).zip(parts) {
            groups.start_part(*part);
            let flow = Flow { mark: Some(mark), ..Flow::blank() };
            groups.add(&Subject::new(&flow, &IdleEstimator::without_timeouts(0)));
        }
        groups
    };
    let (groups, other) = (by_part(&[7, 300, 7, 7]), by_part(&[1, 300]));
    let shown: Vec<_> =
        groups.top(9).iter().map(|group| (group.part, group.values.len(), group.totals.entries)).collect();
    assert_eq!(shown, [(7, 0, 3), (300, 0, 1)]);
    assert_eq!((other.place_in(&groups, 1), other.place_in(&groups, 0)), (Some(1), None));
}

fn by_mark(flows: &[(u32, Option<u64>)]) -> Groups {
    let mut groups = Groups::by("mark").unwrap();
    for (mark, packets) in flows {
        let counters = packets.map(|packets| Counters { packets, bytes: 10 * packets });
        let zero = counters.map(|_| Counters::default());
        let flow = Flow { mark: Some(*mark), counters_orig: counters, counters_reply: zero, ..Flow::blank() };
        groups.add(&Subject::new(&flow, &IdleEstimator::without_timeouts(0)));
    }
    groups
}

#[test]
fn a_sum_of_flows_that_were_never_counted_is_unknown_and_one_of_some_has_their_number() {
    let groups = by_mark(&[(1, None), (2, Some(0)), (3, Some(5)), (3, None)]);
    let sums: Vec<_> = groups
        .first(9, GroupOrder { key: OrderKey::Field(0), descending: false })
        .unwrap()
        .iter()
        .map(|group| (group.totals.packets, group.totals.bytes, group.totals.counted, group.totals.is_all_counted()))
        .collect();
    assert_eq!(sums, [(None, None, 0, false), (Some(0), Some(0), 1, true), (Some(5), Some(50), 1, false)]);
    assert_eq!((groups.total().packets, groups.total().counted), (Some(5), 2));
    assert_eq!(by_mark(&[(1, None)]).total().bytes, None);
}

#[test]
fn groups_are_sorted_by_sums_and_fields_and_unknown_ones_come_last_in_both_directions() {
    let groups = by_mark(&[(1, None), (2, Some(3)), (2, Some(4)), (3, Some(5)), (4, Some(9))]);
    let marks = |name: &str, descending| {
        let key = groups.order_key(name).unwrap();
        let first = groups.first(4, GroupOrder { key, descending }).unwrap();
        first.iter().map(|group| group.values[0].to_string()).collect::<Vec<_>>().concat()
    };
    assert_eq!((marks("packets", true), marks("bytes", false)), ("4231".into(), "3241".into()));
    assert_eq!((marks("mark", true), marks("mark", false)), ("4321".into(), "1234".into()));
    assert_eq!((marks("entries", true), marks("entries", false)), ("2134".into(), "1342".into()));
    let first = groups.first(1, GroupOrder { key: OrderKey::Bytes, descending: true }).unwrap();
    assert_eq!(first.iter().map(|group| group.values).collect::<Vec<_>>(), [[Value::Number(4)]]);
    assert!(groups.order_key("src").is_none());
    assert_eq!(groups.order_names().collect::<Vec<_>>(), ["entries", "evictable", "packets", "bytes", "mark"]);
}

#[test]
fn values_that_cannot_be_determined_are_counted_by_field_and_reason() {
    let mut groups = Groups::by("proto,mark,state").unwrap();
    let mut flow = Flow { protoinfo: ProtoInfo::Unknown(9), ..Flow::blank() };
    flow.orig.protocol = Protocol::Tcp;
    flow.orig.l4 = L4::Ports { src: 1, dst: 2 };
    let ages = IdleEstimator::without_timeouts(0);
    groups.add(&Subject::new(&flow, &ages));
    groups.add(&Subject::new(&Flow { mark: Some(1), ..flow }, &ages));
    let undecided: Vec<_> = groups.undecided().map(|(by, why, flows)| (by.to_string(), why, flows)).collect();
    assert_eq!(
        undecided,
        [("mark".to_owned(), Undecided::NotSent, 1), ("state".to_owned(), Undecided::UnknownState, 2)]
    );
}

#[test]
fn addresses_are_grouped_by_network() {
    let mut groups = Groups::by("src/24,dst").unwrap();
    let ages = IdleEstimator::without_timeouts(0);
    for src in ["192.0.2.1", "192.0.2.200", "192.0.3.1", "2001:db8::1", "2001:db8::ffff:1", "2001:db8:0:1::1"] {
        let mut flow = Flow::blank();
        flow.orig.src = src.parse().unwrap();
        groups.add(&Subject::new(&flow, &ages));
    }
    let found: Vec<_> =
        groups.top(9).iter().map(|group| format!("{} {}", group.totals.entries, group.values[0])).collect();
    assert_eq!(found, ["2 192.0.2.0/24", "2 2001:db8::/64", "1 192.0.3.0/24", "1 2001:db8:0:1::/64"]);
}

#[test]
fn groups_are_sorted_by_a_field_that_is_named_with_any_spelling_of_its_lengths() {
    for (by, names) in
        [("src/64", ["src", "src/64", "src/32", "src/32/64"]), ("src/24", ["src", "src/24", "source/24", "src/24/64"])]
    {
        let groups = Groups::by(by).unwrap();
        for name in names {
            assert_eq!(groups.order_key(name), Some(OrderKey::Field(0)), "--by {by} --sort {name}");
        }
        assert_eq!((groups.order_key("src/16"), groups.order_key("dst")), (None, None));
    }
}

#[test]
fn a_wrong_list_of_fields_is_an_error_with_its_place_and_a_hint() {
    let error = |names: &str| Groups::by(names).err().unwrap();
    assert_eq!(error(" , ").kind, GroupErrorKind::Empty);
    assert_eq!(error("src,dport, src/8"), GroupError { kind: GroupErrorKind::Twice("src"), span: 11..16 });
    assert_eq!((error("src,dprot").hint().as_str(), error("src,dprot").span), ("did you mean dport?", 4..9));
    let ends = "src or dst; addr for either end";
    assert_eq!((error("host").hint().as_str(), error("net/24").hint().as_str()), (ends, ends));
    assert!(error("bytes").hint().contains("nat-src"));
    let both = GroupErrorKind::BothSeveral("addr", "nat-addr");
    assert_eq!(error("addr, nat-addr/24"), GroupError { kind: both, span: 6..17 });
    assert!(error("dport/8").hint().contains("reply-dst, any-addr, nat-addr, nat-src"));
}

/// An entry from `src` to `dst`, without NAT.
fn between(src: &str, dst: &str) -> Flow {
    let mut flow = Flow::blank();
    (flow.orig.src, flow.orig.dst) = (src.parse().unwrap(), dst.parse().unwrap());
    flow
}

#[test]
fn a_flow_is_in_the_group_of_each_of_its_addresses_once() {
    let ages = IdleEstimator::without_timeouts(0);
    let flows = [between("192.0.2.1", "192.0.2.7"), between("192.0.2.7", "198.51.100.1"), between("::1", "::1")];
    for (by, expected) in [
        ("addr", vec!["2 192.0.2.7", "1 192.0.2.1", "1 198.51.100.1", "1 ::1"]),
        ("addr/24", vec!["2 192.0.2.0/24", "1 198.51.100.0/24", "1 ::/64"]),
    ] {
        let mut groups = Groups::by(by).unwrap();
        for flow in &flows {
            groups.add(&Subject::new(flow, &ages));
        }
        let shown = |group: &Group<'_>| format!("{} {}", group.totals.entries, group.values[0]);
        assert_eq!(groups.top(9).iter().map(shown).collect::<Vec<_>>(), expected, "{by}");
        assert_eq!((groups.total().entries, groups.beyond()), (3, 0), "each flow counts once in the total");
    }
}

#[test]
fn a_flow_without_nat_has_no_address_of_nat_and_is_counted_all_the_same() {
    let mut groups = Groups::by("nat-addr,mark").unwrap();
    groups.add(&Subject::new(&between("192.0.2.1", "192.0.2.7"), &IdleEstimator::without_timeouts(0)));
    assert_eq!(groups.top(9)[0].values[0], Value::Absent);
    // Once, although the flow may be in several groups.
    assert_eq!(groups.undecided().map(|(_, _, flows)| flows).collect::<Vec<_>>(), [1]);
}

#[test]
fn a_state_has_its_protocol_in_front_of_it() {
    let fields = |names: &str| {
        let groups = Groups::by(names).unwrap();
        groups.fields().iter().map(|by| by.field.name).collect::<Vec<_>>()
    };
    assert_eq!(fields("state"), ["proto", "state"]);
    assert_eq!(fields("src,state"), ["src", "proto", "state"]);
    assert_eq!(fields("state,proto"), ["state", "proto"]);
    assert_eq!(fields("proto,src,state"), ["proto", "src", "state"]);
}
