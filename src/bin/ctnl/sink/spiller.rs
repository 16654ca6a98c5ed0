//! The thread that moves chunks from the queue into the spool: a place that is down, or
//! slow to answer, or looking for a name, blocks its own thread and not this one.

use std::sync::Arc;
use std::time::Duration;

use ctnl::output::GapCause;

use super::place::{Phase, Place, State};
use super::queue::{Item, Queue};
use super::spool::Spool;

/// What may wait in memory for a place that is up.
const IN_MEMORY: usize = 16 << 20;
/// Time between two looks at a disk that takes nothing.
const AGAIN: Duration = Duration::from_millis(200);

/// Spills until the place is closed.
pub fn run(place: &Arc<Place>) {
    loop {
        let state = place.state();
        if state.phase != Phase::Open {
            return;
        }
        if !must_spill(&state) {
            drop(place.wait(state, Duration::from_secs(1)));
            continue;
        }
        drop(state);
        if let Some(mut spool) = place.spool()
            && !spill(place, &mut spool)
        {
            drop(spool);
            std::thread::sleep(AGAIN);
        }
    }
}

/// Nothing may go past what is in the spool already.
fn must_spill(state: &State) -> bool {
    let statistics = &state.statistics;
    let most = IN_MEMORY.min(state.queue.limit() / 2);
    !state.queue.is_empty() && (statistics.spooled > 0 || statistics.down_since.is_some() || state.queue.bytes() > most)
}

/// Moves the queue's oldest item. False: the spool takes no more, for now.
fn spill(place: &Place, spool: &mut Spool) -> bool {
    let mut state = place.state();
    if state.phase != Phase::Open {
        return true;
    }
    let Some(item) = state.queue.pop() else { return true };
    drop(state);
    let kept = spool.append(&item);
    let mut state = place.state();
    state.statistics.spooled = spool.bytes();
    state.refused = kept.as_ref().err().map(ToString::to_string);
    if kept.is_err() {
        state.queue.put_back(item);
    }
    drop(state);
    place.tell();
    kept.is_ok()
}

/// At the end: all that was not delivered goes into the spool. How many lines found no place
/// even there; the spool says so then, where it can.
pub fn keep(place: &Place, now: u64) -> u64 {
    let mut spool = place.spool();
    let mut state = place.state();
    let mut lost = Queue::new(0, now);
    let mut count = 0;
    let unconfirmed = state.unconfirmed.drain(..).map(Item::Chunk).collect::<Vec<_>>();
    for item in unconfirmed.into_iter().chain(state.in_flight.take()).rev() {
        if spool.as_mut().is_none_or(|spool| spool.put_first(&item).is_err()) {
            count += lose(&mut lost, &item, now);
        }
    }
    while let Some(item) = state.queue.pop() {
        if spool.as_mut().is_none_or(|spool| spool.append(&item).is_err()) {
            count += lose(&mut lost, &item, now);
        }
    }
    if let Some(spool) = &mut spool {
        while let Some(gap) = lost.pop() {
            let _ = spool.append(&gap);
        }
        spool.close();
        state.statistics.spooled = spool.bytes();
    }
    state.statistics.dropped += count;
    count
}

/// How many lines are lost with `item`: a gap had been counted before.
fn lose(lost: &mut Queue, item: &Item, now: u64) -> u64 {
    match item {
        Item::Chunk(chunk) => {
            lost.leave_out(chunk, GapCause::Spool, now);
            chunk.lines.into()
        }
        Item::Gap(_) => 0,
    }
}
