//! A flush that fails halfway still accounts for every entry that was chosen.

use std::sync::atomic::{AtomicU64, Ordering};

use ctnl::model::{Flow, L4, Tuple};
use ctnl::table::{Action, Choose, DumpRequest, Flush, Target};

use crate::flows::dumped;
use crate::netlink::{Sent, answer, done, kernel, message, obedient};

const DONE: u16 = 3;
const ENOMEM: i32 = 12;

fn flow(number: u16) -> Flow {
    let tuple = |src, dst| Tuple {
        src: [10, 0, 0, 1].into(),
        dst: [10, 0, 0, 2].into(),
        protocol: 17.into(),
        l4: L4::Ports { src, dst },
        zone: None,
        has_unknown_part: false,
    };
    Flow { id: Some(number.into()), ..Flow::new(tuple(number, 53), tuple(53, number)) }
}

/// A dump of entries 1 to `count`, ten to a datagram, that ends as `end` says.
fn dumping(count: u16, end: impl Fn(u32) -> Vec<u8> + Send + 'static) -> impl FnMut(&[Sent]) -> Vec<Vec<u8>> + Send {
    move |requests| {
        let sequence = requests[0].sequence;
        let flows: Vec<Flow> = (1..=count).map(flow).collect();
        let chunks = flows.chunks(10).map(|chunk| chunk.iter().flat_map(|flow| dumped(sequence, flow)).collect());
        chunks.chain([end(sequence)]).collect()
    }
}

#[test]
fn what_was_chosen_and_never_sent_is_told() {
    let (mut dumper, _) = kernel(dumping(5_000, done));
    // The third datagram of deletes is answered with what nobody can read.
    let mut datagrams = 0;
    let (mut actor, actor_sent) = kernel(move |requests| {
        datagrams += 1;
        if datagrams < 3 { obedient(requests) } else { vec![vec![0xff; 7]] }
    });
    let chosen = AtomicU64::new(0);
    let choose = |flow: &Flow| {
        chosen.fetch_add(1, Ordering::Relaxed);
        Target::of(flow).ok()
    };
    let flush = Flush::run(&mut dumper, &mut actor, DumpRequest::default(), Action::Delete, choose, |_| true);
    let chosen = chosen.into_inner();
    assert!(flush.error.is_some());
    assert!(flush.outcome.done > 0 && flush.outcome.unanswered > 0);
    assert_eq!(flush.outcome.requests(), actor_sent.messages().len() as u64);
    assert_eq!(flush.outcome.requests() + flush.unsent, chosen, "{flush:?}");
}

#[test]
fn of_two_halves_too() {
    let (mut one, mut other) = (kernel(dumping(900, done)).0, kernel(dumping(0, done)).0);
    let (mut actor, _) = kernel(|_| vec![vec![0xff; 7]]);
    let requests = DumpRequest::default().halves().unwrap();
    let mut chosen = 0;
    let choose: [&mut Choose<'_>; 2] = [
        &mut |flow| {
            chosen += 1;
            Target::of(flow).ok()
        },
        &mut |_| None,
    ];
    // What the fake sends is not ASSURED: the second half is where it belongs.
    let [assured, rest] = requests;
    let flush = Flush::run_halves(
        [&mut one, &mut other],
        &mut actor,
        [rest, assured],
        Action::Delete,
        choose,
        |_| true,
        || true,
    );
    assert!(flush.error.is_some() && chosen > 0);
    assert_eq!(flush.outcome.requests() + flush.unsent, chosen, "{flush:?}");
}

#[test]
fn the_second_half_stops_when_asked_although_the_first_has_ended() {
    let (mut one, mut other) = (kernel(dumping(0, done)).0, kernel(dumping(900, done)).0);
    let (mut actor, _) = kernel(obedient);
    let asked = AtomicU64::new(0);
    let choose: [&mut Choose<'_>; 2] = [&mut |_| None, &mut |flow| Target::of(flow).ok()];
    let flush = Flush::run_halves(
        [&mut one, &mut other],
        &mut actor,
        DumpRequest::default().halves().unwrap(),
        Action::Delete,
        choose,
        |_| true,
        || asked.fetch_add(1, Ordering::Relaxed) < 3,
    );
    assert!(flush.error.is_none());
    assert_eq!((flush.dump.entries, flush.outcome.done), (40, 40), "four datagrams of ten");
}

#[test]
fn a_dump_that_ends_with_an_error_is_an_error_and_tells_what_was_deleted() {
    for end in
        [(|sequence| message(DONE, 2, sequence, &(-ENOMEM).to_ne_bytes())) as fn(u32) -> Vec<u8>, |_| vec![0xff; 7]]
    {
        let (mut dumper, _) = kernel(dumping(25, end));
        let (mut actor, _) = kernel(obedient);
        let choose = |flow: &Flow| Target::of(flow).ok();
        let flush = Flush::run(&mut dumper, &mut actor, DumpRequest::default(), Action::Delete, choose, |_| true);
        assert!(flush.error.is_some());
        assert_eq!((flush.dump.entries, flush.outcome.done, flush.unsent), (25, 25, 0));
    }
}

#[test]
fn an_entry_that_the_kernel_refuses_to_delete_ends_nothing() {
    let (mut dumper, _) = kernel(dumping(30, done));
    let (mut actor, _) = kernel(|requests| requests.iter().map(|request| answer(request, 16)).collect());
    let choose = |flow: &Flow| Target::of(flow).ok();
    let flush = Flush::run(&mut dumper, &mut actor, DumpRequest::default(), Action::Delete, choose, |_| true);
    assert!(flush.error.is_none());
    assert_eq!((flush.outcome.done, flush.outcome.failures(), flush.unsent), (0, 30, 0));
}
