//! Rules that the simulation meets only by chance.

use super::*;
use crate::model::{L4, Protocol, Tuple};

fn flow(port: u16) -> Flow {
    let [src, dst] = [[10, 0, 0, 1], [10, 0, 0, 2]].map(Into::into);
    let l4 = L4::Ports { src: port, dst: 53 };
    let orig = Tuple { src, dst, protocol: Protocol::Udp, l4, ..Tuple::UNSPECIFIED };
    Flow::new(orig, orig.inverse())
}

#[test]
fn an_entry_that_256_abandoned_passes_did_not_mark_is_removed_by_the_next_complete_pass() {
    for passes in 250..260 {
        let mut live = Live::new(false);
        live.on_new(&flow(1), Start::Event(1), 1);
        live.begin_pass();
        live.insert_dumped(&flow(2), 1);
        live.end_pass(1, |_| ());
        live.insert_dumped(&flow(3), 1);
        (0..passes).for_each(|_| {
            live.begin_pass();
            live.abandon_pass(1);
        });
        live.begin_pass();
        let mut removed = 0;
        live.end_pass(1, |_| removed += 1);
        assert_eq!((removed, live.len()), (2, 0), "{passes}");
    }
}

#[test]
fn a_dying_entry_is_not_inserted_by_its_new_event_nor_by_a_stale_dump() {
    let mut live = Live::new(false);
    live.begin_pass();
    let mut dying = flow(1);
    dying.status |= Status::Dying;
    live.on_destroy(&flow(1));
    assert_eq!(live.on_new(&dying, Start::Event(1), 1), NewOutcome::Dying(None));
    assert!(!live.on_update(&dying, 1));
    assert_eq!(live.on_dumped(&flow(1)), DumpOutcome::Stale);
    assert!(live.is_empty());
}

#[test]
fn an_entry_that_is_created_again_during_a_pass_may_match_when_it_is_dumped() {
    let mut live = Live::new(false);
    live.begin_pass();
    live.on_destroy(&flow(1));
    assert_eq!(live.on_unmatched_new(&flow(1), 1), None);
    assert_eq!(live.on_dumped(&flow(1)), DumpOutcome::Unknown);
}

#[test]
fn an_entry_of_a_dump_is_silent_until_its_first_event() {
    let timed = |port, timeout| Flow { timeout: Some(timeout), ..flow(port) };
    let mut live = Live::new(false);
    let pass = |live: &mut Live, dumped: &[Flow]| {
        live.begin_pass();
        for flow in dumped {
            if live.on_dumped(flow) == DumpOutcome::Unknown {
                live.insert_dumped(flow, 1);
            }
        }
        live.end_pass(1, |_| ());
        live.silent().map(|silent| (silent.entries, silent.longest_timeout))
    };
    live.on_new(&flow(9), Start::Event(1), 1);
    let all = [timed(1, 30), timed(2, 400), timed(3, 20), timed(9, 900)];
    assert_eq!(pass(&mut live, &all), Some((3, 400)));
    // An event of any kind shows that the entry sends events.
    assert!(live.on_update(&flow(2), 2));
    assert_eq!(live.on_new(&flow(3), Start::Event(2), 2), NewOutcome::Known);
    assert_eq!(pass(&mut live, &[timed(1, 25), timed(2, 390), timed(3, 10), timed(9, 800)]), Some((1, 25)));
    assert_eq!(pass(&mut live, &[timed(2, 380)]), None);
    assert_eq!(live.len(), 1);
}

#[test]
fn with_a_reliable_subscription_an_entry_that_sends_events_is_removed_by_its_destroy_event_alone() {
    let mut live = Live::new(true);
    live.insert_dumped(&flow(1), 1);
    live.on_new(&flow(2), Start::Event(1), 1);
    live.begin_pass();
    // Created again, before the event of the earlier entry's end arrives.
    let again = Flow { start: Some(1 << 60), ..flow(2) };
    assert_eq!(live.on_dumped(&again), DumpOutcome::Known);
    let mut removed = Vec::new();
    live.end_pass(2, |entry| removed.push(entry.flow.orig.sport()));
    live.begin_pass();
    live.end_pass(3, |entry| removed.push(entry.flow.orig.sport()));
    assert_eq!((removed, live.len()), (vec![Some(1)], 1));
    assert!(live.on_destroy(&flow(2)).is_some());
}
