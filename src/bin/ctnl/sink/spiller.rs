//! The thread that moves chunks from the queue into the spool: a place that is down, or
//! slow to answer, or looking for a name, blocks its own thread and not this one.

use std::sync::Arc;
use std::time::Duration;

use ctnl::output::GapCause;

use super::place::{Phase, Place, State};
use super::queue::{Gap, Item, Queue};
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
pub fn spill(place: &Place, spool: &mut Spool) -> bool {
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
    let unconfirmed = state.unconfirmed.drain(..).map(|(item, _)| item).collect::<Vec<_>>();
    let mut before = unconfirmed.into_iter().chain(state.in_flight.take()).collect::<Vec<_>>();
    let mut lost = Vec::new();
    if let Some(spool) = &mut spool {
        keep_before(spool, &mut before, now);
        keep_behind(spool, &mut state.queue, &mut lost, now);
        spool.close();
        state.statistics.spooled = spool.bytes();
    }
    let count = state.queue.clear() + before.iter().chain(&lost).map(Item::lines).sum::<u64>();
    state.statistics.dropped += count;
    count
}

/// Puts items before what is in the spool, the last one first. Those that found no place are
/// still in `items` then, and nothing stands before the gaps for them.
fn keep_before(spool: &mut Spool, items: &mut Vec<Item>, now: u64) {
    while items.last().is_some_and(|item| spool.put_first(item).is_ok()) {
        items.pop();
    }
    for gap in gaps_for(items, now).into_iter().rev() {
        let _ = spool.put_first(&Item::Gap(gap));
    }
}

/// Puts what waits behind what is in the spool. Nothing goes past an item that finds no place:
/// it and all behind it are in `lost` then, and gaps stand for them, whatever the limit:
/// they are no more than the items that waited.
fn keep_behind(spool: &mut Spool, queue: &mut Queue, lost: &mut Vec<Item>, now: u64) {
    while let Some(item) = queue.pop() {
        if !lost.is_empty() || spool.append(&item).is_err() {
            lost.push(item);
        }
    }
    for gap in gaps_for(lost, now) {
        let _ = spool.append_beyond(&Item::Gap(gap));
    }
}

/// What stands for items that are lost, in their order.
fn gaps_for(lost: &[Item], now: u64) -> Vec<Gap> {
    let mut gaps: Vec<Gap> = Vec::new();
    for item in lost {
        let gap = match item {
            Item::Chunk(chunk) => Gap::of(chunk, GapCause::Spool, now, now),
            Item::Gap(gap) => gap.clone(),
        };
        if !gaps.last_mut().is_some_and(|last| last.join(&gap)) {
            gaps.push(gap);
        }
    }
    gaps
}
