//! Whatever comes in: an entry, or an error that says where. Never a panic,
//! never a loop without end.

use std::ops::ControlFlow;

use ctnl::clock::Clock;
use ctnl::model::{Flow, L4, ProtoInfo, Protocol, SctpState, Status, TcpState, Tuple};
use ctnl::netlink::{Connection, Error};
use ctnl::table::{self, Action, Dump, DumpRequest, DumpTotals, NotDeletable, Target};
use proptest::prelude::*;

use crate::flows::{dumped, tuple};
use crate::netlink::{attribute, done, entry, kernel, message, nest, obedient};
use ctnl_test_support::deleting::delete_while_dumping;

/// A dump of a lab table of 80 entries on Linux 6.18, with counters and start
/// times: datagrams, each behind its length (u32, little-endian). Sequence 1.
const RECORDED: &[u8] = include_bytes!("../data/dump-6.18.bin");

fn recorded() -> Vec<Vec<u8>> {
    let (mut rest, mut datagrams) = (RECORDED, Vec::new());
    while let Some((length, after)) = rest.split_first_chunk::<4>() {
        let (datagram, after) = after.split_at(u32::from_le_bytes(*length) as usize);
        datagrams.push(datagram.to_vec());
        rest = after;
    }
    datagrams
}

fn dump(datagrams: Vec<Vec<u8>>) -> (Vec<Flow>, Result<DumpTotals, Error>) {
    let mut connection = Connection::fake(move |_| datagrams.clone());
    let mut flows = Vec::new();
    let totals = table::dump(&mut connection, DumpRequest::default(), |flow| {
        flows.push(flow.clone());
        ControlFlow::Continue(())
    });
    (flows, totals)
}

/// Fails unless the error names a place in the datagram.
fn assert_places(error: &Error, length: usize) {
    let Error::Decode { error: fault, .. } = error else {
        panic!("{error:?}");
    };
    assert!(fault.offset <= length, "offset {} of {length}", fault.offset);
    assert!(error.to_string().contains(&format!("at byte {}", fault.offset)));
}

#[test]
#[cfg_attr(target_endian = "big", ignore = "the recorded datagrams are little-endian")]
fn a_recorded_dump_is_read_whole() {
    let (flows, totals) = dump(recorded());
    assert_eq!(totals.unwrap(), DumpTotals { entries: flows.len() as u64, repeated: 0 });
    assert_eq!(flows.len(), 80);
    assert!(flows.iter().all(|flow| flow.id.is_some() && flow.start.is_some() && flow.counters_orig.is_some()));
    assert!(flows.iter().all(|flow| Target::of(flow).is_ok() && flow.unknown.count() == 0));
}

#[test]
fn a_dump_that_ends_anywhere_is_an_error_that_says_where() {
    let datagrams = recorded();
    for (place, datagram) in datagrams.iter().enumerate() {
        // Every place in the first datagram; the second, of 20 KB, in steps that
        // share no divisor with its alignment.
        for length in (0..datagram.len()).step_by(1 + 12 * place) {
            let mut cut = datagrams[..=place].to_vec();
            cut[place].truncate(length);
            let (flows, totals) = dump(cut);
            // A cut between two messages shows in that the end never comes.
            let error = totals.expect_err("a dump without an end");
            assert_places(&error, length.max(1));
            assert!(flows.len() < 80 || place + 1 == datagrams.len());
        }
    }
}

#[test]
#[cfg_attr(target_endian = "big", ignore = "the recorded datagrams are little-endian")]
fn an_entry_that_is_cut_with_its_length_made_to_fit_is_read_or_an_error() {
    let first = recorded()[0].clone();
    let length = u32::from_le_bytes(first[..4].try_into().unwrap()) as usize;
    for shorter in 0..length {
        let mut cut = first[..shorter].to_vec();
        if shorter >= 4 {
            cut[..4].copy_from_slice(&u32::try_from(shorter).unwrap().to_le_bytes());
        }
        let (flows, totals) = dump(vec![cut, done(1)]);
        match totals {
            Ok(totals) => assert_eq!(totals.entries, flows.len() as u64),
            Err(error) => assert_places(&error, shorter.max(20)),
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(1000) })]

    #[test]
    fn corrupt_bytes_are_read_or_an_error_that_says_where(
        flips in prop::collection::vec((any::<prop::sample::Index>(), any::<prop::sample::Index>(), 1u8..), 1..12),
    ) {
        let mut datagrams = recorded();
        for (which, place, bits) in &flips {
            let datagram = which.index(datagrams.len());
            let place = place.index(datagrams[datagram].len());
            datagrams[datagram][place] ^= bits;
        }
        let longest = datagrams.iter().map(Vec::len).max().unwrap();
        let (flows, totals) = dump(datagrams);
        prop_assert!(flows.len() <= 80 + flips.len());
        match totals {
            Ok(totals) => prop_assert_eq!(totals.entries, flows.len() as u64),
            Err(Error::Decode { error: fault, .. }) => prop_assert!(fault.offset <= longest),
            Err(Error::Refused(_) | Error::Overrun { .. }) => {}
            Err(other) => prop_assert!(false, "{other:?}"),
        }
    }

    #[test]
    fn noise_is_an_error_and_never_a_panic(datagrams in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..200), 0..5)) {
        let longest = datagrams.iter().map(Vec::len).max().unwrap_or(0).max(1);
        let (_, totals) = dump(datagrams);
        if let Err(Error::Decode { error: fault, .. }) = totals {
            prop_assert!(fault.offset <= longest);
        }
    }

    #[test]
    fn noise_as_attributes_of_an_entry_is_read_or_an_error(noise in prop::collection::vec(any::<u8>(), 0..120), kind in 0u16..40) {
        let flow = sample(6);
        let attributes = [tuple(1, &flow.orig), tuple(2, &flow.reply), attribute(kind, &noise), noise];
        let (_, totals) = dump(vec![entry(1, 2, &attributes), done(1)]);
        if let Err(error) = totals {
            assert_places(&error, 1000);
        }
    }
}

fn sample(protocol: u8) -> Flow {
    numbered(protocol, 1)
}

fn numbered(protocol: u8, src: u16) -> Flow {
    let orig = Tuple {
        src: [10, 0, 0, 1].into(),
        dst: [10, 0, 0, 2].into(),
        protocol: Protocol::from(protocol),
        l4: L4::Ports { src, dst: 2 },
        zone: None,
        has_unknown_part: false,
    };
    Flow { id: Some(u32::from(src)), ..Flow::new(orig, orig.inverse()) }
}

/// The one entry that a kernel sends as these attributes.
fn read_one(family: u8, attributes: &[Vec<u8>]) -> Flow {
    let (mut flows, totals) = dump(vec![entry(1, family, attributes), done(1)]);
    assert_eq!(totals.unwrap().entries, 1);
    flows.remove(0)
}

#[test]
fn a_bucket_that_is_sent_twice_is_counted_and_deleted_once() {
    let flows: Vec<Flow> = (0..40).map(|number| numbered(17, number)).collect();
    // The kernel starts a bucket again when the entry it stopped at is gone.
    let sent_again = flows[20..30].to_vec();
    let kernel_sends = move |sequence| {
        let datagram = |part: &[Flow]| part.iter().flat_map(|flow| dumped(sequence, flow)).collect::<Vec<u8>>();
        vec![datagram(&flows[..30]), datagram(&sent_again), datagram(&flows[30..]), done(sequence)]
    };
    let (mut dumper, _) = kernel(move |requests| kernel_sends(requests[0].sequence));
    let (actor, record) = kernel(obedient);
    let choose = |flow: &Flow| Target::of(flow).ok();
    let flush = delete_while_dumping(&mut dumper, actor, DumpRequest::default(), Action::Delete, choose, |_| true);
    assert_eq!(flush.dump, DumpTotals { entries: 40, repeated: 10 });
    assert_eq!((flush.outcome.done, record.messages().len()), (40, 40));
}

#[test]
fn who_remembers_all_entries_may_have_those_too_that_are_sent_twice() {
    let (flow, other) = (numbered(17, 1), numbered(17, 2));
    let datagrams = vec![dumped(1, &flow), [dumped(1, &flow), dumped(1, &other)].concat(), done(1)];
    let ports = |with_repeats| {
        let datagrams = datagrams.clone();
        let mut connection = Connection::fake(move |_| datagrams.clone());
        let mut dump = Dump::start(&mut connection, DumpRequest::default(), &Clock::system()).unwrap();
        if with_repeats {
            dump = dump.with_repeats();
        }
        let mut ports = Vec::new();
        while dump.next_datagram(|flow, _| ports.extend(flow.orig.sport())).unwrap() {}
        (ports, dump.totals())
    };
    assert_eq!(ports(false), (vec![1, 2], DumpTotals { entries: 2, repeated: 1 }));
    assert_eq!(ports(true), (vec![1, 1, 2], DumpTotals { entries: 3, repeated: 0 }));
}

#[test]
fn the_same_tuple_in_another_zone_is_another_entry() {
    let twin = Flow { zone_both: Some(1), ..sample(17) };
    let (flows, totals) = dump(vec![[dumped(1, &sample(17)), dumped(1, &twin)].concat(), done(1)]);
    assert_eq!((flows.len(), totals.unwrap().repeated), (2, 0));
}

#[test]
fn unknown_attributes_are_counted_and_the_rest_is_read() {
    let flow = sample(17);
    let newer = [attribute(99, &[1]), attribute(300, &[]), attribute(3, &0x8000_0008u32.to_be_bytes())];
    let read = read_one(2, &[vec![tuple(1, &flow.orig), tuple(2, &flow.reply)], newer.to_vec()].concat());
    assert_eq!(read.unknown.numbers(), [99, 300]);
    assert_eq!(read.status, Status::from_bits_retain(0x8000_0008));
}

#[test]
fn unknown_states_and_trackers_are_numbers() {
    let protoinfo = |info: Vec<u8>| {
        let flow = sample(6);
        read_one(2, &[tuple(1, &flow.orig), tuple(2, &flow.reply), nest(4, &[info])]).protoinfo
    };
    let ProtoInfo::Tcp(tcp) = protoinfo(nest(1, &[attribute(1, &[77])])) else { panic!("TCP") };
    assert_eq!((tcp.state, tcp.state.name()), (TcpState::Unknown(77), None));
    let ProtoInfo::Sctp(sctp) = protoinfo(nest(3, &[attribute(1, &[200])])) else { panic!("SCTP") };
    assert_eq!((sctp.state, sctp.state.name()), (SctpState::Unknown(200), None));
    assert_eq!(protoinfo(nest(9, &[attribute(1, &[1])])), ProtoInfo::Unknown(9));
}

#[test]
fn unknown_protocols_are_numbers() {
    for protocol in 0..=255 {
        let flow = sample(protocol);
        let read = read_one(2, &[tuple(1, &flow.orig), tuple(2, &flow.reply)]);
        assert_eq!(u8::from(read.orig.protocol), protocol);
        assert_eq!(read.orig, flow.orig);
    }
}

#[test]
fn an_entry_whose_tuple_has_an_unknown_part_is_shown_but_is_no_target() {
    let flow = sample(17);
    let orig = Tuple { has_unknown_part: true, ..flow.orig };
    let id = attribute(12, &7u32.to_be_bytes());
    let read = read_one(2, &[tuple(1, &orig), tuple(2, &flow.reply), id]);
    assert_eq!(read.orig, orig);
    assert_eq!(Target::of(&read), Err(NotDeletable::UnknownPart));
}

#[test]
fn messages_of_another_request_or_subsystem_are_passed_over() {
    let stale = dumped(77, &sample(17));
    let expectation = message(0x200, 2, 1, &[2, 0, 0, 0]);
    let (flows, totals) = dump(vec![[stale, expectation, dumped(1, &sample(6))].concat(), done(1)]);
    assert_eq!((flows.len(), totals.unwrap().entries), (1, 1));
}
