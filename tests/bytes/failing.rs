//! A flush that fails halfway accounts for every entry that was chosen.

use ctnl::model::{Flow, L4, Tuple};
use ctnl::table::{self, Action, DumpRequest, Outcome, Target};

use crate::flows::dumped;
use crate::netlink::{Sent, answer, done, kernel, message, obedient};
use ctnl_test_support::deleting::delete_while_dumping;

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

/// A dump of entries 1 to `count`, ten to a datagram, with the end that `end` returns.
fn dumping(count: u16, end: impl Fn(u32) -> Vec<u8> + Send + 'static) -> impl FnMut(&[Sent]) -> Vec<Vec<u8>> + Send {
    move |requests| {
        let sequence = requests[0].sequence;
        let flows: Vec<Flow> = (1..=count).map(flow).collect();
        let chunks = flows.chunks(10).map(|chunk| chunk.iter().flat_map(|flow| dumped(sequence, flow)).collect());
        chunks.chain([end(sequence)]).collect()
    }
}

#[test]
fn targets_that_were_never_sent_are_counted_as_unsent() {
    let (mut dumper, _) = kernel(dumping(5_000, done));
    // The third datagram of deletes is answered with a malformed datagram.
    let mut datagrams = 0;
    let (actor, actor_sent) = kernel(move |requests| {
        datagrams += 1;
        if datagrams < 3 { obedient(requests) } else { vec![vec![0xff; 7]] }
    });
    let mut chosen = 0;
    let choose = |flow: &Flow| {
        chosen += 1;
        Target::of(flow).ok()
    };
    let flush = delete_while_dumping(&mut dumper, actor, DumpRequest::default(), Action::Delete, choose, |_| true);
    assert!(flush.error.is_some());
    assert!(flush.outcome.done > 0 && flush.outcome.unanswered > 0);
    assert_eq!(flush.outcome.sent(), actor_sent.messages().len() as u64);
    assert_eq!(flush.outcome.sent() + flush.outcome.unsent, chosen, "{flush:?}");
}

#[test]
fn a_dump_that_ends_with_an_error_still_counts_what_was_deleted() {
    for end in
        [(|sequence| message(DONE, 2, sequence, &(-ENOMEM).to_ne_bytes())) as fn(u32) -> Vec<u8>, |_| vec![0xff; 7]]
    {
        let (mut dumper, _) = kernel(dumping(25, end));
        let (actor, _) = kernel(obedient);
        let choose = |flow: &Flow| Target::of(flow).ok();
        let flush = delete_while_dumping(&mut dumper, actor, DumpRequest::default(), Action::Delete, choose, |_| true);
        assert!(flush.error.is_some());
        assert_eq!((flush.dump.entries, flush.outcome.done, flush.outcome.unsent), (25, 25, 0));
    }
}

#[test]
fn a_refused_delete_does_not_stop_the_flush() {
    let (mut dumper, _) = kernel(dumping(30, done));
    let (actor, _) = kernel(|requests| requests.iter().map(|request| answer(request, 16)).collect());
    let choose = |flow: &Flow| Target::of(flow).ok();
    let flush = delete_while_dumping(&mut dumper, actor, DumpRequest::default(), Action::Delete, choose, |_| true);
    assert!(flush.error.is_none());
    assert_eq!((flush.outcome.done, flush.outcome.failures(), flush.outcome.unsent), (0, 30, 0));
}

#[test]
fn deletes_after_one_that_failed_are_counted_as_unsent() {
    let (mut connection, sent) = kernel(|_| vec![vec![0xff; 7]]);
    let targets: Vec<Target> = (0..500).map(|number| Target::of(&flow(number)).unwrap()).collect();
    let mut outcome = Outcome::default();
    table::delete(&mut connection, &targets, &mut outcome).unwrap_err();
    assert_eq!((outcome.unanswered, outcome.unsent), (200, 300));
    assert_eq!(sent.messages().len(), 200);
}
