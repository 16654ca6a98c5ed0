//! Changing entries, and expectations, on the real kernel.

use std::ops::ControlFlow;

use ctnl::model::{
    Expectation, Flow, HelperName, L4, Labels, ProtoInfo, Protocol, SctpInfo, SctpState, SequenceAdjustment, Status,
    Synproxy, TcpInfo, TcpState, Tuple,
};
use ctnl::table::{
    self, DumpRequest, DumpSource, ExpectationTarget, Masked, Outcome, Patch, SctpPatch, Target, TcpPatch,
};

use ctnl_test_support::harness::{TestNetns, entry, flow, tests, udp};
use ctnl_test_support::similar_entries::similar_entries;

tests![
    a_patch_changes_its_entry_and_no_similar_one,
    a_status_bit_that_came_meanwhile_makes_the_status_fail_and_nothing_after_it,
    the_state_of_an_sctp_entry_is_set_with_its_tags,
    labels_without_room_are_refused_before_anything_else_is_changed,
    a_timeout_of_a_fixed_entry_is_refused_before_it_is_sent,
    creating_or_updating_changes_an_entry_that_exists,
    creating_or_updating_without_a_status_keeps_that_of_the_entry,
    a_created_entry_has_its_sequence_adjustment_and_syn_proxy_numbers,
    the_list_of_unconfirmed_entries_is_readable,
    expectations_are_created_read_and_deleted_one_by_one,
];

fn tcp(port: u16) -> Flow {
    let state = ProtoInfo::Tcp(TcpInfo { state: TcpState::Established, ..TcpInfo::default() });
    Flow { protoinfo: state, timeout: Some(600), ..flow(Protocol::Tcp, L4::Ports { src: port, dst: 21 }) }
}

fn update(netns: &TestNetns, target: Target, patch: Patch) -> Outcome {
    let mut outcome = Outcome::default();
    table::update(&mut netns.connection(), &[(target, patch)], &mut outcome).unwrap();
    outcome
}

fn a_patch_changes_its_entry_and_no_similar_one(netns: &TestNetns) {
    let all = similar_entries();
    netns.create(&all);
    netns.create(&[Flow { mark: Some(0xf0), ..tcp(1) }]);
    let before = netns.dump();
    let chosen = netns.dumped(&tcp(1).orig).unwrap();
    let patch = Patch {
        timeout: Some(50),
        mark: Some(Masked { value: 0xff03, mask: 0xff }),
        add_status: Status::Assured | Status::FixedTimeout,
        tcp: TcpPatch { state: Some(TcpState::TimeWait), flags_orig: Some((8, 8)), flags_reply: None },
        ..Patch::default()
    };
    assert!(!patch.is_met_by(&chosen));
    let target = patch.target_of(&chosen).unwrap();
    assert_eq!(update(netns, target, patch), Outcome { done: 1, ..Outcome::default() });
    let changed = netns.dumped(&tcp(1).orig).unwrap();
    assert!(changed.timeout <= Some(50) && changed.mark == Some(3), "{changed:?}");
    assert!(changed.status.contains(Status::Assured | Status::FixedTimeout));
    let ProtoInfo::Tcp(info) = changed.protoinfo else { panic!("{changed:?}") };
    assert_eq!((info.state, info.flags_orig.map(|flags| flags & 8)), (TcpState::TimeWait, Some(8)));
    assert!(Patch { timeout: None, ..patch }.is_met_by(&changed));
    let without_time = |flows: &[Flow]| {
        let mut rest: Vec<_> = flows.iter().filter(|flow| flow.orig != tcp(1).orig).cloned().collect();
        rest.iter_mut().for_each(|flow| (flow.timeout, flow.use_count) = (None, None));
        rest.sort_by_key(|flow| (flow.id, flow.zone_both));
        rest
    };
    assert_eq!(without_time(&netns.dump()), without_time(&before));
}

fn a_status_bit_that_came_meanwhile_makes_the_status_fail_and_nothing_after_it(netns: &TestNetns) {
    netns.create(&[udp(1, 53)]);
    let stale = netns.target(&udp(1, 53));
    let seen = Patch { add_status: Status::SeenReply, ..Patch::default() };
    assert_eq!(update(netns, stale, seen).done, 1);
    let mark = Some(Masked { value: 9, mask: u32::MAX });
    let patch = Patch { add_status: Status::Assured, mark, ..Patch::timeout(77) };
    let outcome = update(netns, stale, patch);
    assert_eq!((outcome.failed, outcome.partly), ([(16, 1)].into(), 1));
    let found = netns.dumped(&udp(1, 53).orig).unwrap();
    assert_eq!((found.mark, found.status.contains(Status::Assured)), (Some(0), false));
    assert!(found.timeout <= Some(77));
    // A target of the entry as it is now.
    let outcome = update(netns, netns.target(&udp(1, 53)), Patch { timeout: None, ..patch });
    assert_eq!((outcome.done, netns.dumped(&udp(1, 53).orig).unwrap().mark), (1, Some(9)));
}

fn the_state_of_an_sctp_entry_is_set_with_its_tags(netns: &TestNetns) {
    let info = |state| SctpInfo { state, vtag_orig: Some(7), vtag_reply: Some(8) };
    let ports = L4::Ports { src: 1, dst: 2 };
    let created = Flow { protoinfo: ProtoInfo::Sctp(info(SctpState::Established)), ..flow(Protocol::Sctp, ports) };
    netns.create(std::slice::from_ref(&created));
    let sctp = Some(SctpPatch { state: SctpState::ShutdownSent, vtag_orig: 7, vtag_reply: 8 });
    let patch = Patch { sctp, ..Patch::default() };
    let target = patch.target_of(&netns.dumped(&created.orig).unwrap()).unwrap();
    assert_eq!(update(netns, target, patch).done, 1);
    let found = netns.dumped(&created.orig).unwrap();
    assert_eq!(found.protoinfo, ProtoInfo::Sctp(info(SctpState::ShutdownSent)));
    assert!(patch.is_met_by(&found));
}

fn labels_without_room_are_refused_before_anything_else_is_changed(netns: &TestNetns) {
    netns.create(&[udp(1, 53)]);
    let mark = Some(Masked { value: 9, mask: u32::MAX });
    let patch = Patch { add_labels: Labels::from_numbers([3]), mark, ..Patch::timeout(77) };
    let outcome = update(netns, netns.target(&udp(1, 53)), patch);
    assert_eq!((outcome.failed, outcome.partly), ([(28, 1)].into(), 0));
    let found = netns.dumped(&udp(1, 53).orig).unwrap();
    assert!(found.mark == Some(0) && found.timeout > Some(77), "{found:?}");
}

fn a_timeout_of_a_fixed_entry_is_refused_before_it_is_sent(netns: &TestNetns) {
    netns.create(&[Flow { status: Status::Confirmed | Status::FixedTimeout, ..udp(1, 53) }]);
    let found = netns.dumped(&udp(1, 53).orig).unwrap();
    assert_eq!(Patch::timeout(5).target_of(&found), Err(table::NotUpdatable::FixedTimeout));
}

fn creating_or_updating_changes_an_entry_that_exists(netns: &TestNetns) {
    netns.create(&[udp(1, 53), udp(2, 53)]);
    let mut outcome = Outcome::default();
    let changed = Flow { mark: Some(5), timeout: Some(44), ..udp(1, 53) };
    let unseen = Flow { status: Status::Confirmed, ..udp(2, 53) };
    let flows = [changed, unseen, udp(3, 53)];
    table::create_or_update(&mut netns.connection(), &flows, &mut outcome).unwrap();
    assert_eq!((outcome.done, outcome.failures()), (3, 0), "{outcome:?}");
    let found = netns.dumped(&udp(1, 53).orig).unwrap();
    assert!(found.mark == Some(5) && found.timeout <= Some(44) && netns.dump().len() == 3);
}

fn creating_or_updating_without_a_status_keeps_that_of_the_entry(netns: &TestNetns) {
    let status = Status::Confirmed | Status::SeenReply | Status::Assured;
    netns.create(&[Flow { status, ..udp(1, 53) }]);
    let mut outcome = Outcome::default();
    let flows = [udp(1, 53), udp(2, 53)].map(|flow| Flow { status: Status::Confirmed, mark: Some(5), ..flow });
    table::create_or_update(&mut netns.connection(), &flows, &mut outcome).unwrap();
    assert_eq!((outcome.done, outcome.failures()), (2, 0), "{outcome:?}");
    let found = [1, 2].map(|port| netns.dumped(&udp(port, 53).orig).unwrap());
    assert!(found.iter().all(|flow| flow.mark == Some(5)), "{found:?}");
    assert!(found[0].status.contains(status) && found[1].status.contains(Status::Confirmed), "{found:?}");
}

fn a_created_entry_has_its_sequence_adjustment_and_syn_proxy_numbers(netns: &TestNetns) {
    let adjustment = |position| Some(SequenceAdjustment { position, before: 2, after: 3 });
    let created = Flow {
        status: Status::Confirmed | Status::SeqAdjust,
        seq_adj_orig: adjustment(7),
        seq_adj_reply: adjustment(8),
        synproxy: Some(Synproxy { isn: 1, its: 2, tsoff: 3 }),
        ..tcp(1)
    };
    netns.create(std::slice::from_ref(&created));
    let found = netns.dumped(&created.orig).unwrap();
    assert_eq!((found.seq_adj_orig, found.seq_adj_reply), (created.seq_adj_orig, created.seq_adj_reply));
    assert_eq!(found.synproxy, created.synproxy);
}

fn list(netns: &TestNetns, source: DumpSource) -> Vec<Flow> {
    let mut found = Vec::new();
    let request = DumpRequest { source, ..DumpRequest::default() };
    table::dump(&mut netns.connection(), request, |flow| {
        found.push(flow.clone());
        ControlFlow::Continue(())
    })
    .unwrap();
    found
}

fn the_list_of_unconfirmed_entries_is_readable(netns: &TestNetns) {
    netns.create(&[udp(1, 53)]);
    assert_eq!(list(netns, DumpSource::Unconfirmed), []);
    assert_eq!(list(netns, DumpSource::Dying), []);
}

fn expectations_are_created_read_and_deleted_one_by_one(netns: &TestNetns) {
    netns.require_ftp_helper();
    let ftp = |zone_both| Flow { helper: Some(HelperName::new(b"ftp")), zone_both, ..tcp(1) };
    netns.create(&[ftp(None), ftp(Some(5))]);
    let mask = Tuple { l4: L4::Ports { src: 0, dst: u16::MAX }, ..flow(Protocol::Tcp, L4::None).orig };
    let mask = Tuple { src: [255; 4].into(), dst: [255; 4].into(), ..mask };
    let expected = |port, zone| Expectation {
        family: ctnl::model::Family::V4,
        tuple: entry(Tuple { l4: L4::Ports { src: 0, dst: port }, ..tcp(1).orig }).orig,
        mask,
        master: tcp(1).orig,
        timeout: Some(77),
        id: None,
        helper: Some(HelperName::new(b"ftp")),
        zone,
        flags: 0,
        class: Some(0),
        nat: None,
        function: None,
        unknown: ctnl::model::UnknownAttributes::default(),
    };
    let connection = &mut netns.connection();
    let mut outcome = Outcome::default();
    let all = [expected(2001, None), expected(2002, Some(5))];
    table::expect_create(connection, &all, &mut outcome).unwrap();
    assert_eq!(outcome, Outcome { done: 2, ..Outcome::default() });
    table::expect_create(connection, &[expected(2001, None), expected(2003, Some(9))], &mut outcome).unwrap();
    assert_eq!((outcome.failed.clone(), outcome.gone), ([(17, 1)].into(), 1));
    let found = table::expect_get(connection, &expected(2001, None).tuple, 0).unwrap().expect("an expectation");
    assert!(found.timeout <= Some(77) && found.timeout > Some(70), "{found:?}");
    assert_eq!((found.helper, found.mask.l4), (Some(HelperName::new(b"ftp")), mask.l4));
    assert_eq!(table::expect_get(connection, &expected(2002, None).tuple, 0).unwrap(), None);
    let zoned = table::expect_get(connection, &expected(2002, None).tuple, 5).unwrap().expect("an expectation");

    // Another id, another zone: not this one.
    let mut outcome = Outcome::default();
    let other = Expectation { id: found.id.map(|id| id ^ 1), ..found.clone() };
    let wrong = [ExpectationTarget::of(&other).unwrap(), ExpectationTarget::of(&zoned).unwrap()];
    table::expect_delete(connection, &wrong, &mut outcome).unwrap();
    assert_eq!(outcome, Outcome { gone: 2, ..Outcome::default() });
    let left = |connection: &mut _| {
        let mut ids = Vec::new();
        table::expectations(connection, |expectation| ids.push(expectation.id)).unwrap();
        ids.sort();
        ids
    };
    assert_eq!(left(connection).len(), 2);
    assert_eq!(table::expect_zone(connection, &found).unwrap(), Some(0));
    assert_eq!(table::expect_zone(connection, &zoned).unwrap(), Some(5));
    assert_eq!(table::expect_zone(connection, &other).unwrap(), None);
    table::expect_delete(connection, &[ExpectationTarget::of(&zoned).unwrap().in_zone(5)], &mut outcome).unwrap();
    assert_eq!((outcome.done, left(connection)), (1, vec![found.id]));
    table::expect_create(connection, &[expected(2004, Some(5))], &mut outcome).unwrap();
    let mut outcome = Outcome::default();
    table::expect_flush(connection, |expectation| expectation.tuple.dport() == Some(1), &mut outcome).unwrap();
    assert_eq!(left(connection).len(), 2);
    // Also the one of a master in another zone.
    assert_eq!(table::expect_flush(connection, |_| true, &mut outcome).unwrap(), 0);
    assert_eq!((outcome.done, outcome.gone, left(connection).len()), (2, 0, 0));
}
