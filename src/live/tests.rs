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
