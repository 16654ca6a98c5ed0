//! An update names one whole entry, creates none, and has at most one part that the kernel can refuse; a delete of an
//! expectation is never sent without its tuple.

use ctnl::model::{Expectation, Flow, Labels, Status, TcpState, Tuple};
use ctnl::netlink::Connection;
use ctnl::table::{self, DumpRequest, DumpSource, ExpectationTarget, Masked, Outcome, Patch, Target, TcpPatch};
use proptest::prelude::*;

use crate::flows::{any_flow, tuple};
use crate::netlink::{
    ACK, CT_NEW, DUMP, REQUEST, Sent, answer, attribute, attributes, done, kernel, message, obedient, one,
};
use crate::sending::assert_names;

const STATUS: u16 = 3;
const PROTOINFO: u16 = 4;
const HELP: u16 = 5;
const TIMEOUT: u16 = 7;
const MARK: u16 = 8;
const MARK_MASK: u16 = 21;
const LABELS: u16 = 22;
const LABELS_MASK: u16 = 23;

const EXP_NEW: u16 = 0x200;
const EXP_GET: u16 = 0x201;
const EXP_DELETE: u16 = 0x202;
const ENOENT: i32 = 2;
const EBUSY: i32 = 16;

fn any_patch() -> impl Strategy<Value = Patch> {
    let status = prop::sample::select(vec![0, 2, 4, 6, 0x400, 0x404]).prop_map(Status::from_bits_retain);
    let mark = prop::option::of((any::<u32>(), any::<u32>()).prop_map(|(value, mask)| Masked { value, mask }));
    let labels = || prop::collection::vec(0_u8..128, 0..3).prop_map(Labels::from_numbers);
    let state = prop::option::of((0_u8..10).prop_map(TcpState::from));
    let flags = || prop::option::of(any::<(u8, u8)>());
    let tcp = (state, flags(), flags()).prop_map(|(state, flags_orig, flags_reply)| TcpPatch {
        state,
        flags_orig,
        flags_reply,
    });
    (any::<Option<u32>>(), mark, status, tcp, labels(), labels(), any::<bool>()).prop_map(
        |(timeout, mark, add_status, tcp, add_labels, remove_labels, remove_helper)| Patch {
            timeout,
            mark,
            add_status,
            tcp,
            sctp: None,
            add_labels,
            remove_labels,
            remove_helper,
        },
    )
}

/// Fails unless `sent` changes `flow` and could do nothing else, and applies at once what it has.
fn assert_update(sent: &Sent, flow: &Flow, patch: &Patch) {
    assert_eq!(
        (sent.kind, sent.flags & !ACK),
        (CT_NEW, REQUEST),
        "no CREATE: an entry that is gone must not come back"
    );
    assert_names(sent, flow);
    let kinds = sent.kinds();
    assert!(kinds.iter().all(|kind| [1, 12, 18, 3, 4, 5, 7, 8, 21, 22, 23].contains(kind)), "{kinds:?}");
    let refusable = [HELP, TIMEOUT, STATUS, LABELS].iter().filter(|kind| kinds.contains(kind)).count();
    assert!(refusable <= 1, "{kinds:?}");
    assert!(!kinds.contains(&LABELS) || !(kinds.contains(&MARK) || kinds.contains(&PROTOINFO)), "{kinds:?}");
    if kinds.contains(&STATUS) {
        assert_eq!(sent.value(STATUS), (flow.status | patch.add_status).bits().to_be_bytes());
    }
    if kinds.contains(&MARK) {
        let mark = patch.mark.unwrap();
        assert_eq!(sent.value(MARK), (mark.value & mark.mask).to_be_bytes());
        assert_eq!(sent.value(MARK_MASK), mark.mask.to_be_bytes());
    }
    if kinds.contains(&LABELS) {
        assert_eq!((sent.value(LABELS).len(), sent.value(LABELS_MASK).len()), (16, 16));
    }
}

/// The attributes that a patch needs, written a second time.
fn expected_kinds(patch: &Patch) -> Vec<u16> {
    let labels = !(patch.add_labels.is_empty() && patch.remove_labels.is_empty());
    let tcp = patch.tcp.state.is_some() || patch.tcp.flags_orig.is_some() || patch.tcp.flags_reply.is_some();
    let rows = [
        (!patch.add_status.is_empty(), STATUS),
        (tcp, PROTOINFO),
        (patch.remove_helper, HELP),
        (patch.timeout.is_some(), TIMEOUT),
        (patch.mark.is_some(), MARK),
        (patch.mark.is_some(), MARK_MASK),
        (labels, LABELS),
        (labels, LABELS_MASK),
    ];
    rows.into_iter().filter(|(is_there, _)| *is_there).map(|(_, kind)| kind).collect()
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(100) })]

    #[test]
    fn an_update_sends_each_part_once_in_requests_that_name_the_entry(
        updates in prop::collection::vec((any_flow(), any_patch()), 0..30),
    ) {
        let named: Vec<(Flow, Target, Patch)> = (1..).zip(updates)
            .map(|(id, (flow, patch))| (Flow { id: Some(id), ..flow }, patch))
            .filter_map(|(flow, patch)| { let target = Target::of(&flow).ok()?; Some((flow, target, patch)) }).collect();
        let (mut connection, record) = kernel(obedient);
        let mut outcome = Outcome::default();
        let requests: Vec<(Target, Patch)> = named.iter().map(|(_, target, patch)| (*target, *patch)).collect();
        table::update(&mut connection, &requests, &mut outcome).unwrap();
        let sent = record.messages();
        for (flow, _, patch) in &named {
            let id = flow.id.unwrap().to_be_bytes();
            let of_flow: Vec<&Sent> = sent.iter().filter(|sent| sent.value(12) == id).collect();
            of_flow.iter().for_each(|sent| assert_update(sent, flow, patch));
            let mut kinds: Vec<u16> = of_flow.iter().flat_map(|sent| sent.kinds()).filter(|kind| ![1, 12, 18].contains(kind)).collect();
            kinds.sort_unstable();
            let mut expected = expected_kinds(patch);
            expected.sort_unstable();
            prop_assert_eq!(kinds, expected);
        }
        prop_assert_eq!(outcome, Outcome { done: named.len() as u64, ..Outcome::default() });
    }

    #[test]
    fn an_entry_of_which_a_step_is_refused_gets_no_further_one_and_is_counted_once(
        patches in prop::collection::vec(any_patch(), 1..250),
        errors in prop::collection::vec(prop::sample::select(vec![0, 0, 0, ENOENT, EBUSY]), 1..40),
    ) {
        let (mut number, answers) = (0, errors.clone());
        let (mut connection, record) = kernel(move |requests| {
            requests.iter().filter_map(|request| {
                let errno = answers[number % answers.len()];
                number += 1;
                (errno != 0 || request.flags & ACK != 0).then(|| answer(request, errno))
            }).collect()
        });
        let updates: Vec<(Target, Patch)> = (1..).map(numbered).zip(patches.iter().copied()).collect();
        let mut outcome = Outcome::default();
        table::update(&mut connection, &updates, &mut outcome).unwrap();
        let mut expected = Outcome::default();
        let (mut of_id, sent) = (std::collections::BTreeMap::<Vec<u8>, Vec<i32>>::new(), record.messages());
        for (place, sent) in sent.iter().enumerate() {
            of_id.entry(sent.value(12).to_vec()).or_default().push(errors[place % errors.len()]);
        }
        for (id, (_, patch)) in (1_u32..).zip(&updates) {
            let answers = of_id.remove(&id.to_be_bytes()[..]).unwrap_or_default();
            match answers.split_last() {
                Some((0, rest)) => {
                    prop_assert!(rest.iter().all(|errno| *errno == 0));
                    prop_assert_eq!(answers.len(), patch.steps().len());
                    expected.done += 1;
                }
                None => { prop_assert!(patch.is_empty()); expected.done += 1; }
                Some((errno, rest)) => {
                    prop_assert!(rest.iter().all(|errno| *errno == 0), "a step after one that was refused");
                    if *errno == ENOENT { expected.gone += 1 } else { *expected.failed.entry(*errno).or_default() += 1 }
                    expected.partly += u64::from(!rest.is_empty());
                }
            }
        }
        prop_assert_eq!(outcome, expected);
    }
}

fn numbered(id: u32) -> Target {
    Target::of(&Flow { id: Some(id), status: Status::Confirmed, ..Flow::new(udp(), udp().inverse()) }).unwrap()
}

fn udp() -> Tuple {
    ctnl_test_support::harness::udp(1, 53).orig
}

#[test]
fn updates_after_a_datagram_that_failed_are_counted_as_unanswered_and_unsent() {
    let patch = Patch { mark: Some(Masked { value: 1, mask: 1 }), add_status: Status::Assured, ..Patch::timeout(5) };
    assert_eq!(patch.steps().len(), 2);
    // The second step of the first datagram is answered with a malformed datagram.
    let mut datagrams = 0;
    let (mut connection, _) = kernel(move |requests| {
        datagrams += 1;
        if datagrams < 2 { obedient(requests) } else { vec![vec![0xff; 7]] }
    });
    let updates: Vec<(Target, Patch)> = (1..=500).map(|id| (numbered(id), patch)).collect();
    let mut outcome = Outcome::default();
    table::update(&mut connection, &updates, &mut outcome).unwrap_err();
    assert_eq!((outcome.done, outcome.unanswered, outcome.unsent), (0, 200, 300));
}

#[test]
fn each_list_of_entries_is_dumped_by_its_own_request() {
    for (source, command) in [
        (DumpSource::Table, 0x101),
        (DumpSource::TableResettingCounters, 0x103),
        (DumpSource::Dying, 0x106),
        (DumpSource::Unconfirmed, 0x107),
    ] {
        let (mut connection, record) = kernel(|requests: &[Sent]| vec![done(requests[0].sequence)]);
        let request = DumpRequest { source, ..DumpRequest::default() };
        table::dump(&mut connection, request, |_| std::ops::ControlFlow::Continue(())).unwrap();
        let sent = record.messages();
        assert_eq!((sent.len(), sent[0].kind, sent[0].flags), (1, command, REQUEST | DUMP));
        assert_eq!(sent[0].kinds(), [0; 0]);
    }
}

fn expectation(id: u32) -> Expectation {
    let bytes = expectation_message(0, id);
    Expectation::decode(&ctnl::wire::Messages::new(&bytes).next().unwrap().unwrap()).unwrap()
}

fn expectation_message(sequence: u32, id: u32) -> Vec<u8> {
    let parts = [tuple(1, &udp()), tuple(2, &udp().inverse()), tuple(3, &udp()), attribute(5, &id.to_be_bytes())];
    message(EXP_NEW, 0, sequence, &[vec![2, 0, 0, 0], parts.concat()].concat())
}

/// A kernel that finds no expectation by the id of a delete, and by its tuple the one with `id`.
fn old_kernel(id: u32) -> (Connection, crate::netlink::Record) {
    kernel(move |requests| {
        let datagrams = requests.iter().map(|request| match request.kind {
            EXP_GET => [expectation_message(request.sequence, id), answer(request, 0)].concat(),
            _ => answer(request, if request.kinds().contains(&5) { ENOENT } else { 0 }),
        });
        datagrams.collect()
    })
}

#[test]
fn a_delete_of_an_expectation_has_its_tuple_and_id_or_follows_a_get_that_found_the_id() {
    let targets = [7, 8].map(|id| ExpectationTarget::of(&expectation(id)).unwrap().in_zone(3));
    let (mut connection, record) = old_kernel(8);
    let mut outcome = Outcome::default();
    table::expect_delete(&mut connection, &targets, &mut outcome).unwrap();
    assert_eq!((outcome.done, outcome.gone), (1, 1));
    let sent = record.messages();
    let kinds: Vec<(u16, bool)> = sent.iter().map(|sent| (sent.kind, sent.kinds().contains(&5))).collect();
    // The second one is found with its id, and only that one is deleted without it.
    assert_eq!(
        kinds,
        [(EXP_DELETE, true), (EXP_DELETE, true), (EXP_GET, false), (EXP_GET, false), (EXP_DELETE, false)]
    );
    for sent in &sent {
        let parts = attributes(sent.value(2));
        assert_eq!((sent.family, parts.len()), (2, 2));
        assert_eq!(attributes(one(&parts, 2)).len(), 3);
        assert_eq!(sent.value(7), 3_u16.to_be_bytes());
        assert!(sent.kinds().iter().all(|kind| [2, 5, 7].contains(kind)));
    }
}

#[test]
fn an_expectation_without_a_complete_tuple_or_an_id_is_no_target() {
    let whole = expectation(1);
    assert!(ExpectationTarget::of(&whole).is_ok());
    let broken = [
        Expectation { id: None, ..whole.clone() },
        Expectation { tuple: Tuple { l4: ctnl::model::L4::None, ..whole.tuple }, ..whole.clone() },
        Expectation { tuple: Tuple { has_unknown_part: true, ..whole.tuple }, ..whole.clone() },
        Expectation { family: ctnl::model::Family::V6, ..whole.clone() },
    ];
    for expectation in broken {
        assert!(ExpectationTarget::of(&expectation).is_err(), "{expectation:?}");
    }
}

#[test]
fn an_expectation_is_created_and_then_gets_its_timeout() {
    let (mut connection, record) = kernel(|requests: &[Sent]| {
        let errno = |request: &Sent| if request.flags & 0x600 == 0 { 62 } else { 0 };
        requests.iter().map(|request| answer(request, errno(request))).collect()
    });
    let with = |timeout| Expectation { timeout, zone: Some(4), class: Some(0), ..expectation(1) };
    let mut outcome = Outcome::default();
    table::expect_create(&mut connection, &[with(None), with(Some(9))], &mut outcome).unwrap();
    assert_eq!((outcome.done, outcome.failed, outcome.partly), (1, [(62, 1)].into(), 1));
    let sent = record.messages();
    assert_eq!(
        sent.iter().map(|sent| (sent.kind, sent.flags & !ACK)).collect::<Vec<_>>(),
        [(EXP_NEW, REQUEST | 0x600), (EXP_NEW, REQUEST | 0x600), (EXP_NEW, REQUEST)]
    );
    assert_eq!(sent[2].value(4), 9_u32.to_be_bytes());
    for sent in &sent {
        let kinds = sent.kinds();
        assert!([1, 2, 3, 7, 8, 9].iter().all(|kind| kinds.contains(kind)) && !kinds.contains(&5), "{kinds:?}");
    }
}
