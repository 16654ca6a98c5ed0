//! A delete is never sent without a complete tuple.
//!
//! To the kernel, a delete whose tuple is missing or unreadable is a flush of
//! everything, and some attributes turn one into a filtered flush. So every byte
//! of every request is checked here.

use std::net::IpAddr;

use ctnl::model::{Flow, L4, Tuple};
use ctnl::table::{self, Action, DumpRequest, Outcome, Patch, Target};
use proptest::prelude::*;
use proptest::strategy::ValueTree;

use crate::flows::{any_flow, dumped};
use crate::netlink::{
    ACK, CT_DELETE, CT_GET, CT_NEW, DUMP, REQUEST, Sent, answer, attributes, done, kernel, obedient, one,
};
use ctnl_test_support::deleting::delete_while_dumping;

const TUPLE_ORIG: u16 = 1;
const TIMEOUT: u16 = 7;
const ID: u16 = 12;
const ZONE: u16 = 18;

fn targets(flows: &[Flow]) -> Vec<(Flow, Target)> {
    flows.iter().filter_map(|flow| Some((flow.clone(), Target::of(flow).ok()?))).collect()
}

/// Fails unless `sent` names `flow` whole, and nothing else.
pub fn assert_names(sent: &Sent, flow: &Flow) {
    assert!(matches!(sent.family, 2 | 10), "family {}", sent.family);
    assert_eq!(sent.family, if flow.orig.src.is_ipv4() { 2 } else { 10 });
    assert_tuple(&attributes(sent.value(TUPLE_ORIG)), &flow.orig);
    assert_eq!(sent.value(ID), flow.id.expect("an id").to_be_bytes());
    match flow.zone_both {
        Some(zone) => assert_eq!(sent.value(ZONE), zone.to_be_bytes()),
        None => assert!(!sent.kinds().contains(&ZONE)),
    }
}

fn assert_tuple(tuple: &[(u16, Vec<u8>)], expected: &Tuple) {
    let (addresses, proto) = (attributes(one(tuple, 1)), attributes(one(tuple, 2)));
    let (v4, v6) = ([1, 2], [3, 4]);
    for (place, address) in [expected.src, expected.dst].into_iter().enumerate() {
        match address {
            IpAddr::V4(address) => assert_eq!(one(&addresses, v4[place]), address.octets()),
            IpAddr::V6(address) => assert_eq!(one(&addresses, v6[place]), address.octets()),
        }
    }
    assert_eq!(addresses.len(), 2, "addresses of one family");
    assert_l4(&proto, expected);
    let parts = if let Some(zone) = expected.zone {
        assert_eq!(one(tuple, 3), zone.to_be_bytes());
        3
    } else {
        2
    };
    assert_eq!(tuple.len(), parts, "nothing else in the tuple");
}

/// The protocol, and what the kernel keeps for it.
fn assert_l4(proto: &[(u16, Vec<u8>)], expected: &Tuple) {
    let number = u8::from(expected.protocol);
    assert_eq!(one(proto, 1), [number]);
    let needs = match number {
        // Not DCCP and UDP-lite, of which newer kernels keep no ports.
        6 | 17 | 47 | 132 => vec![2, 3],
        1 => vec![4, 5, 6],
        58 => vec![7, 8, 9],
        _ => vec![],
    };
    assert!(needs.iter().all(|kind| one(proto, *kind).len() == if matches!(kind, 5 | 6 | 8 | 9) { 1 } else { 2 }));
    match expected.l4 {
        L4::None => assert_eq!(proto.len(), 1),
        L4::Ports { src, dst } => {
            assert_eq!((one(proto, 2), one(proto, 3)), (&src.to_be_bytes()[..], &dst.to_be_bytes()[..]));
            assert_eq!(proto.len(), 3);
        }
        L4::Icmp { kind, code, id } => {
            let first = if number == 58 { 7 } else { 4 };
            assert_eq!(one(proto, first), id.to_be_bytes());
            assert_eq!((one(proto, first + 1), one(proto, first + 2)), (&[kind][..], &[code][..]));
            assert_eq!(proto.len(), 4);
        }
    }
}

/// Fails unless `sent` deletes `flow` and could do nothing else.
fn assert_delete(sent: &Sent, flow: &Flow) {
    assert_eq!(sent.kind, CT_DELETE);
    assert_eq!(sent.flags & !ACK, REQUEST);
    assert_names(sent, flow);
    // No filter, mask, mark or status: those make a delete a flush.
    assert!(sent.kinds().iter().all(|kind| [TUPLE_ORIG, ZONE, ID].contains(kind)), "{:?}", sent.kinds());
}

/// Fails unless `sent` sets the timeout of `flow`, which must exist.
fn assert_update(sent: &Sent, flow: &Flow, seconds: u32) {
    assert_eq!(sent.kind, CT_NEW);
    assert_eq!(sent.flags & !ACK, REQUEST, "no CREATE: an entry that is gone must not come back");
    assert_names(sent, flow);
    assert_eq!(sent.value(TIMEOUT), seconds.to_be_bytes());
    assert!(sent.kinds().iter().all(|kind| [TUPLE_ORIG, ZONE, ID, TIMEOUT].contains(kind)), "{:?}", sent.kinds());
}

/// A kernel that dumps `flows`, some to a datagram.
fn dumping(flows: Vec<Flow>) -> impl FnMut(&[Sent]) -> Vec<Vec<u8>> + Send + 'static {
    move |requests| {
        let sequence = requests[0].sequence;
        let chunks = flows.chunks(7).map(|chunk| chunk.iter().flat_map(|flow| dumped(sequence, flow)).collect());
        chunks.chain([done(sequence)]).collect()
    }
}

/// Each once: a dump leaves out what it has seen.
fn distinct(flows: Vec<Flow>) -> Vec<Flow> {
    let mut distinct: Vec<Flow> = Vec::new();
    for flow in flows {
        if !distinct.iter().any(|known| (known.orig, known.zone_both) == (flow.orig, flow.zone_both)) {
            distinct.push(flow);
        }
    }
    distinct
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(300) })]

    #[test]
    fn a_delete_is_never_sent_without_a_complete_tuple(flows in prop::collection::vec(any_flow(), 0..30)) {
        let named = targets(&flows);
        let only_targets: Vec<Target> = named.iter().map(|(_, target)| *target).collect();
        let (mut connection, record) = kernel(obedient);
        let mut outcome = Outcome::default();
        table::delete(&mut connection, &only_targets, &mut outcome).unwrap();
        let sent = record.messages();
        prop_assert_eq!(sent.len(), named.len());
        for (sent, (flow, _)) in sent.iter().zip(&named) {
            assert_delete(sent, flow);
        }
        prop_assert_eq!(outcome, Outcome { done: named.len() as u64, ..Outcome::default() });
    }

    #[test]
    fn lowering_a_timeout_sends_the_complete_tuple_and_creates_no_entry(
        flows in prop::collection::vec(any_flow(), 0..30),
        seconds in any::<u32>(),
    ) {
        let named = targets(&flows);
        let only_targets: Vec<Target> = named.iter().map(|(_, target)| *target).collect();
        let (mut connection, record) = kernel(obedient);
        table::lower_timeout(&mut connection, &only_targets, seconds, &mut Outcome::default()).unwrap();
        let sent = record.messages();
        prop_assert_eq!(sent.len(), named.len());
        for (sent, (flow, _)) in sent.iter().zip(&named) {
            assert_update(sent, flow, seconds);
        }
    }

    #[test]
    fn a_flush_sends_one_dump_and_then_only_requests_that_name_one_entry(
        flows in prop::collection::vec(any_flow(), 0..60),
        soft in any::<Option<u32>>(),
    ) {
        let flows = distinct(flows);
        let (mut dumper, dumper_sent) = kernel(dumping(flows.clone()));
        let (actor, actor_sent) = kernel(obedient);
        let action = soft.map_or(Action::Delete, |soft| Action::Update(Patch::timeout(soft)));
        let mut chosen = Vec::new();
        let flush = delete_while_dumping(&mut dumper, actor, DumpRequest::default(), action, |flow| {
            let target = Target::of(flow).ok()?;
            chosen.push(flow.clone());
            Some(target)
        }, |_| true);

        let dump = dumper_sent.messages();
        prop_assert_eq!((dump.len(), dump[0].kind, dump[0].flags), (1, CT_GET, REQUEST | DUMP));
        let sent = actor_sent.messages();
        prop_assert_eq!(sent.len(), chosen.len());
        for (sent, flow) in sent.iter().zip(&chosen) {
            match soft {
                Some(seconds) => assert_update(sent, flow, seconds),
                None => assert_delete(sent, flow),
            }
        }
        if flush.error.is_none() {
            prop_assert_eq!(flush.dump.entries, flows.len() as u64);
            prop_assert_eq!(chosen.len(), targets(&flows).len());
        }
        prop_assert_eq!(flush.outcome.done, chosen.len() as u64);
    }

    #[test]
    fn every_answer_is_counted_once_by_its_errno(
        answers in prop::collection::vec(prop_oneof![3 => Just(0), 2 => Just(2), 1 => Just(1), 1 => Just(16), 1 => Just(22)], 0..700),
        per_datagram in 1usize..50,
    ) {
        let expected = |errno| answers.iter().filter(|answer| **answer == errno).count() as u64;
        let mut given = answers.clone().into_iter();
        let (mut connection, _) = kernel(move |requests| {
            // Errors always answer, success only where an ACK is requested.
            let datagrams: Vec<Vec<u8>> = requests.iter().zip(given.by_ref())
                .filter(|(request, errno)| *errno != 0 || request.flags & ACK != 0)
                .map(|(request, errno)| answer(request, errno)).collect();
            datagrams.chunks(per_datagram).map(<[_]>::concat).collect()
        });
        let target = one_target();
        let mut outcome = Outcome::default();
        table::delete(&mut connection, &vec![target; answers.len()], &mut outcome).unwrap();
        prop_assert_eq!((outcome.done, outcome.gone, outcome.unanswered), (expected(0), expected(2), 0));
        let failed: Vec<(i32, u64)> = outcome.failed.into_iter().collect();
        let expected: Vec<(i32, u64)> = [1, 16, 22].map(|errno| (errno, expected(errno))).into_iter().filter(|(_, n)| *n > 0).collect();
        prop_assert_eq!(failed, expected);
    }

    #[test]
    fn unanswered_requests_are_counted(
        count in 1usize..700,
        answered in 0usize..700,
        refused in 0usize..100,
    ) {
        let mut left = answered;
        let (mut connection, record) = kernel(move |requests| {
            let mut datagrams: Vec<Vec<u8>> = requests.iter().take(refused).map(|request| answer(request, 1)).collect();
            if left >= requests.len() {
                left -= requests.len();
                datagrams.extend(obedient(&requests[refused.min(requests.len())..]));
            } else {
                left = 0;
                datagrams.push(vec![0xff; 7]);
            }
            datagrams
        });
        let mut outcome = Outcome::default();
        let deleted = table::delete(&mut connection, &vec![one_target(); count], &mut outcome);
        let sent = record.messages().len() as u64;
        prop_assert_eq!(outcome.done + outcome.gone + outcome.failures() + outcome.unanswered, sent);
        prop_assert_eq!(deleted.is_err(), outcome.unanswered > 0);
        prop_assert!(deleted.is_err() || sent == count as u64);
    }
}

fn one_target() -> Target {
    let address = IpAddr::from([10, 0, 0, 1]);
    let tuple = Tuple {
        src: address,
        dst: address,
        protocol: 17.into(),
        l4: L4::Ports { src: 1, dst: 2 },
        zone: None,
        has_unknown_part: false,
    };
    Target::of(&Flow { id: Some(1), ..Flow::new(tuple, tuple) }).unwrap()
}

/// The conditions of a target, written a second time.
fn names_one_entry(flow: &Flow) -> bool {
    let tuple = &flow.orig;
    let l4 = match (u8::from(tuple.protocol), tuple.l4) {
        (6 | 17 | 47 | 132 | 136, l4) => matches!(l4, L4::Ports { .. }),
        (1 | 58, l4) => matches!(l4, L4::Icmp { .. }),
        (33, l4) => !matches!(l4, L4::Icmp { .. }),
        _ => true,
    };
    let family = match (tuple.src, tuple.dst) {
        (IpAddr::V4(_), IpAddr::V4(_)) => 2,
        (IpAddr::V6(_), IpAddr::V6(_)) => 10,
        _ => return false,
    };
    l4 && flow.family.number() == family && flow.id.is_some() && !tuple.has_unknown_part
}

#[test]
fn an_entry_is_deletable_if_and_only_if_its_tuple_is_complete() {
    let mut runner = proptest::test_runner::TestRunner::deterministic();
    let flows: Vec<Flow> = (0..5000).map(|_| any_flow().new_tree(&mut runner).unwrap().current()).collect();
    for flow in &flows {
        assert_eq!(Target::of(flow).is_ok(), names_one_entry(flow), "{flow:?}");
    }
    // So that the properties above are not vacuous.
    let share = targets(&flows).len();
    assert!((1000..4000).contains(&share), "{share} targets of 5000");
}

#[test]
fn the_strict_parser_rejects_a_delete_without_a_tuple() {
    let (mut connection, record) = kernel(obedient);
    table::delete(&mut connection, &[one_target()], &mut Outcome::default()).unwrap();
    let mut sent = record.messages().remove(0);
    sent.attributes.retain(|(kind, _)| kind & 0x7fff != TUPLE_ORIG);
    let flow = Flow { id: Some(1), ..Flow::new(*one_target().tuple(), *one_target().tuple()) };
    assert!(std::panic::catch_unwind(|| assert_delete(&sent, &flow)).is_err());
}

#[test]
fn no_targets_send_no_request() {
    let (mut connection, record) = kernel(obedient);
    let mut outcome = Outcome::default();
    table::delete(&mut connection, &[], &mut outcome).unwrap();
    table::lower_timeout(&mut connection, &[], 1, &mut outcome).unwrap();
    assert_eq!((record.messages().len(), outcome), (0, Outcome::default()));
}
