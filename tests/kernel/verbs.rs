//! Each verb changes the named entry and no other.

use std::time::{SystemTime, UNIX_EPOCH};

use ctnl::clock::Clock;
use ctnl::model::{Flow, L4, Tuple, Zone};
use ctnl::table::{self, Dump, DumpRequest, Family, Outcome, Target};
use ctnl_test_support::similar_entries::similar_entries;

use ctnl_test_support::harness::{TestNetns, assert_same_entries, entry, tests, udp};

tests![
    an_entry_is_found_by_either_direction,
    an_entry_is_found_in_its_zone_and_in_no_other,
    the_zones_of_a_tuple_are_found_in_a_small_table_and_in_a_large_one,
    an_entry_with_nat_is_found_by_its_reply_tuple,
    an_entry_that_does_not_exist_is_none_and_an_incomplete_tuple_an_error,
    count_is_the_length_of_a_dump_of_a_fresh_table,
    a_dump_of_one_family_has_only_that_family,
    delete_removes_one_entry_and_leaves_similar_ones,
    every_kind_of_dumped_entry_can_be_deleted,
    deleting_an_entry_that_is_gone_counts_as_gone,
    a_target_with_another_id_deletes_nothing,
    an_entry_with_a_zone_in_one_direction_is_stored_found_and_deleted,
    lower_timeout_lowers_the_target_and_no_other,
    creating_an_entry_that_exists_fails_with_eexist_and_the_rest_goes_on,
    an_abandoned_dump_does_not_affect_the_next_request,
    requests_that_span_several_datagrams_are_all_counted,
    accounting_and_start_times_are_read_where_they_were_on_at_creation,
];

fn delete(netns: &TestNetns, targets: &[Target]) -> Outcome {
    let mut outcome = Outcome::default();
    table::delete(&mut netns.connection(), targets, &mut outcome).expect("delete");
    outcome
}

fn done(done: u64) -> Outcome {
    Outcome { done, ..Outcome::default() }
}

fn an_entry_is_found_by_either_direction(netns: &TestNetns) {
    netns.create(&[udp(1000, 53), udp(1001, 53)]);
    let (sought, connection) = (udp(1000, 53), &mut netns.connection());
    for tuple in [sought.orig, sought.reply] {
        let found = table::get(connection, &tuple, 0).unwrap().expect("an entry");
        assert_eq!((found.orig, found.reply), (sought.orig, sought.reply));
        assert!(found.id.is_some());
    }
}

fn an_entry_is_found_in_its_zone_and_in_no_other(netns: &TestNetns) {
    netns.create(&[Flow { zone_both: Some(7), mark: Some(70), ..udp(1000, 53) }]);
    let (tuple, connection) = (udp(1000, 53).orig, &mut netns.connection());
    assert_eq!(table::get(connection, &tuple, 7).unwrap().expect("an entry").mark, Some(70));
    assert_eq!(table::get(connection, &tuple, 0).unwrap(), None);
    assert_eq!(table::get(connection, &tuple, 8).unwrap(), None);
}

fn the_zones_of_a_tuple_are_found_in_a_small_table_and_in_a_large_one(netns: &TestNetns) {
    let tuple = udp(1000, 53).orig;
    let zoned = |zone| Flow { zone_both: Some(zone), ..udp(1000, 53) };
    // The reply tuple of this one is in the default zone.
    let orig_side = entry(Tuple { zone: Some(9), ..udp(1000, 53).orig });
    netns.create(&[zoned(7), zoned(65_535), orig_side, udp(1001, 53)]);
    let connection = &mut netns.connection();
    let mut check = || {
        assert_eq!(table::zones_of(connection, &tuple).unwrap(), [7, 9, 65_535]);
        assert_eq!(table::zones_of(connection, &tuple.inverse()).unwrap(), [0, 7, 65_535]);
        assert_eq!(table::zones_of(connection, &udp(1002, 53).orig).unwrap(), [0; 0]);
    };
    check();
    netns.fill(8, 33_000);
    check();
}

fn an_entry_with_nat_is_found_by_its_reply_tuple(netns: &TestNetns) {
    let flows = netns.fill(5, 300);
    let connection = &mut netns.connection();
    for flow in flows.iter().filter(|flow| matches!(flow.zone(), Zone::Default)) {
        let found = table::get(connection, &flow.reply, 0).unwrap().expect("an entry");
        assert_eq!(found.orig, flow.orig);
    }
}

fn an_entry_that_does_not_exist_is_none_and_an_incomplete_tuple_an_error(netns: &TestNetns) {
    let connection = &mut netns.connection();
    assert_eq!(table::get(connection, &udp(1, 2).orig, 0).unwrap(), None);
    let refused = table::get(connection, &Tuple { l4: L4::None, ..udp(1, 2).orig }, 0).unwrap_err();
    assert!(refused.to_string().contains("EINVAL"), "{refused}");
}

fn count_is_the_length_of_a_dump_of_a_fresh_table(netns: &TestNetns) {
    let connection = &mut netns.connection();
    assert_eq!(table::count(connection).unwrap().entries, 0);
    netns.fill(2, 1_234);
    let occupancy = table::count(connection).unwrap();
    assert_eq!((occupancy.entries, netns.dump().len()), (1_234, 1_234));
    let max = netns.sysctl("netfilter/nf_conntrack_max");
    assert_eq!(occupancy.max.map(|max| max.to_string()), Some(max));
}

fn a_dump_of_one_family_has_only_that_family(netns: &TestNetns) {
    let flows = netns.fill(3, 800);
    for family in [Family::V4, Family::V6] {
        let mut dumped = Vec::new();
        let keep = |flow: &Flow| {
            dumped.push(flow.clone());
            std::ops::ControlFlow::Continue(())
        };
        table::dump(&mut netns.connection(), DumpRequest { family: Some(family), ..DumpRequest::default() }, keep)
            .unwrap();
        let expected: Vec<Flow> = flows.iter().filter(|flow| flow.family == family).cloned().collect();
        assert_same_entries(&dumped, &expected);
    }
}

fn delete_removes_one_entry_and_leaves_similar_ones(netns: &TestNetns) {
    let all = similar_entries();
    netns.create(&all);
    let targets: Vec<Target> = all.iter().map(|flow| netns.target(flow)).collect();
    for (place, chosen) in targets.into_iter().enumerate() {
        assert_eq!(delete(netns, &[chosen]), done(1));
        let rest: Vec<Flow> = all[place + 1..].to_vec();
        assert_same_entries(&netns.dump(), &rest);
    }
}

fn every_kind_of_dumped_entry_can_be_deleted(netns: &TestNetns) {
    netns.fill(4, 2_000);
    let (odd, even): (Vec<_>, Vec<_>) = netns.dump().into_iter().enumerate().partition(|(place, _)| place % 2 == 1);
    let targets: Vec<Target> = odd.iter().map(|(_, flow)| Target::of(flow).expect("a target")).collect();
    assert_eq!(delete(netns, &targets), done(1_000));
    let rest: Vec<Flow> = even.into_iter().map(|(_, flow)| flow).collect();
    assert_same_entries(&netns.dump(), &rest);
}

fn deleting_an_entry_that_is_gone_counts_as_gone(netns: &TestNetns) {
    let all = similar_entries();
    netns.create(&all);
    let chosen = netns.target(&all[0]);
    assert_eq!(delete(netns, &[chosen]), done(1));
    assert_eq!(delete(netns, &[chosen, chosen]), Outcome { gone: 2, ..Outcome::default() });
    assert_same_entries(&netns.dump(), &all[1..]);
}

fn a_target_with_another_id_deletes_nothing(netns: &TestNetns) {
    let all = similar_entries();
    netns.create(&all);
    for flow in netns.dump() {
        let other = Flow { id: flow.id.map(|id| id.wrapping_add(1)), ..flow };
        let target = Target::of(&other).expect("a target");
        assert_eq!(delete(netns, &[target]), Outcome { gone: 1, ..Outcome::default() });
    }
    assert_same_entries(&netns.dump(), &all);
}

fn an_entry_with_a_zone_in_one_direction_is_stored_found_and_deleted(netns: &TestNetns) {
    let tuple = udp(1000, 53).orig;
    let orig_side = entry(Tuple { zone: Some(4), ..tuple });
    // Its reply tuple is in the default zone, and would meet a second one there.
    let mut reply_side = udp(1001, 53);
    reply_side.reply.zone = Some(6);
    let all = [orig_side, reply_side, udp(1002, 53)];
    netns.create(&all);
    assert_same_entries(&netns.dump(), &all);
    assert_eq!(netns.dumped(&all[0].orig).unwrap().zone(), Zone::Orig(4));
    assert_eq!(netns.dumped(&all[1].orig).unwrap().zone(), Zone::Reply(6));
    let connection = &mut netns.connection();
    assert!(table::get(connection, &all[0].orig, 0).unwrap().is_some());
    assert!(table::get(connection, &tuple, 0).unwrap().is_none(), "it is in zone 4 in this direction");
    assert_eq!(delete(netns, &[netns.target(&all[0])]), done(1));
    assert_same_entries(&netns.dump(), &all[1..]);
    assert_eq!(delete(netns, &[netns.target(&all[1])]), done(1));
    assert_same_entries(&netns.dump(), &all[2..]);
}

fn lower_timeout_lowers_the_target_and_no_other(netns: &TestNetns) {
    let all = similar_entries();
    netns.create(&all);
    let mut outcome = Outcome::default();
    for chosen in [&all[0], &all[2], &all[4], &all[6]] {
        let target = netns.target(chosen);
        table::lower_timeout(&mut netns.connection(), &[target], 100, &mut outcome).unwrap();
    }
    assert_eq!(outcome, done(4));
    let dumped = netns.dump();
    assert_same_entries(&dumped, &all);
    assert_eq!(dumped.iter().filter(|flow| flow.timeout <= Some(100)).count(), 4);
    for chosen in [&all[0], &all[2], &all[4], &all[6]] {
        let lowered = dumped.iter().find(|flow| (flow.orig, flow.zone()) == (chosen.orig, chosen.zone()));
        assert!(lowered.unwrap().timeout <= Some(100));
    }
}

fn creating_an_entry_that_exists_fails_with_eexist_and_the_rest_goes_on(netns: &TestNetns) {
    netns.create(&[udp(1, 53)]);
    let mut outcome = Outcome::default();
    table::create(&mut netns.connection(), &[udp(1, 53), udp(2, 53), udp(1, 53)], &mut outcome).unwrap();
    assert_eq!((outcome.done, outcome.failed), (1, [(17, 2)].into()));
    assert_same_entries(&netns.dump(), &[udp(1, 53), udp(2, 53)]);
}

fn an_abandoned_dump_does_not_affect_the_next_request(netns: &TestNetns) {
    let flows = netns.fill(6, 3_000);
    let connection = &mut netns.connection();
    for _ in 0..3 {
        let mut dump = Dump::start(connection, DumpRequest::default(), &Clock::system()).unwrap();
        assert!(dump.next_datagram(|_, _| {}).unwrap(), "the table takes more than one datagram");
        drop(dump);
        let flow = flows.iter().find(|flow| flow.zone() == Zone::Default).unwrap();
        assert!(table::get(connection, &flow.orig, 0).unwrap().is_some());
        assert_eq!(table::count(connection).unwrap().entries, 3_000);
        let totals = table::dump(connection, DumpRequest::default(), |_| std::ops::ControlFlow::Break(()));
        assert!(totals.unwrap().entries < 3_000);
        let mut outcome = Outcome::default();
        let gone = netns.target(flow);
        table::lower_timeout(connection, &[gone], 900, &mut outcome).unwrap();
        assert_eq!(outcome, done(1));
    }
}

fn requests_that_span_several_datagrams_are_all_counted(netns: &TestNetns) {
    netns.fill(7, 1_000);
    let mut targets: Vec<Target> = netns.dump().iter().map(|flow| Target::of(flow).unwrap()).collect();
    targets.extend_from_within(..300);
    assert_eq!(delete(netns, &targets), Outcome { done: 1_000, gone: 300, ..Outcome::default() });
    assert_eq!(netns.dump(), []);
}

fn accounting_and_start_times_are_read_where_they_were_on_at_creation(netns: &TestNetns) {
    netns.create(&[udp(1, 53)]);
    netns.set_sysctl("netfilter/nf_conntrack_acct", 1);
    netns.set_sysctl("netfilter/nf_conntrack_timestamp", 1);
    let now = || SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_nanos();
    let creation_start = now();
    netns.create(&[udp(2, 53)]);
    let creation = creation_start..=now();
    let [before, after] = [1, 2].map(|port| netns.dumped(&udp(port, 53).orig).unwrap());
    assert_eq!((before.packets(), before.bytes(), before.start), (None, None, None));
    assert_eq!((after.packets(), after.bytes()), (Some(0), Some(0)));
    let start = u128::from(after.start.expect("a start time"));
    assert!(creation.contains(&start), "{start} is not in {creation:?}");
}
