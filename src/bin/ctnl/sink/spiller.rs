//! The thread that moves items from the queue to the spool. It is not the delivery thread, which
//! may block in a connect, a name lookup or a write.

use std::sync::Arc;
use std::time::Duration;

use super::queue::{DropCause, Gap, Item, Queue};
use super::spool::Spool;
use super::state::{Phase, Sink, State};

/// Bytes of memory that stay in use for a sink that is up.
const MAX_IN_MEMORY: usize = 16 << 20;
/// Delay before the next attempt to write to a spool that failed.
const RETRY: Duration = Duration::from_millis(200);

/// Spills until the sink is closed.
pub fn run(sink: &Arc<Sink>) {
    loop {
        let state = sink.state();
        if state.phase != Phase::Running {
            return;
        }
        if !must_spill(&state) {
            drop(sink.wait(state, Duration::from_secs(1)));
            continue;
        }
        drop(state);
        if let Some(mut spool) = sink.spool()
            && !spill_oldest(sink, &mut spool)
        {
            drop(spool);
            std::thread::sleep(RETRY);
        }
    }
}

/// While anything is spooled, everything behind it has to be spooled too: order is kept.
fn must_spill(state: &State) -> bool {
    let statistics = &state.statistics;
    let max = MAX_IN_MEMORY.min(state.queue.limit() / 2);
    !state.queue.is_empty() && (statistics.spooled > 0 || statistics.down_since.is_some() || state.queue.memory() > max)
}

/// Moves the oldest item of the queue to the spool, and before it the one being delivered: if the process is
/// killed, the next run would otherwise deliver what is behind that one, and it would be missing without
/// a gap. Returns false if the spool accepts nothing now.
pub fn spill_oldest(sink: &Sink, spool: &mut Spool) -> bool {
    if !sink.move_in_flight(spool) {
        return false;
    }
    let mut state = sink.state();
    if state.phase != Phase::Running {
        return true;
    }
    let Some(item) = state.queue.pop() else { return true };
    drop(state);
    let appended = spool.append(&item);
    let mut state = sink.state();
    state.statistics.spooled = spool.bytes();
    state.spool_error = appended.as_ref().err().map(ToString::to_string);
    if appended.is_err() {
        state.queue.push_front(item);
    }
    drop(state);
    sink.notify();
    appended.is_ok()
}

/// Moves what waits to the spool although its delivery goes on: whoever kills a process that takes too
/// long to end (`docker stop` after ten seconds) then costs no line. What the spool does not accept
/// stays in memory. What was sent and is not confirmed does, too: it has to precede the rest, and may
/// still be confirmed.
pub fn spool_before_the_end(sink: &Sink) {
    let Some(mut spool) = sink.spool() else { return };
    let mut state = sink.state();
    state.in_flight = state.in_flight.take().filter(|item| spool.prepend(item).is_err());
    while let Some(item) = state.queue.pop() {
        if spool.append(&item).is_err() {
            state.queue.push_front(item);
            break;
        }
    }
    state.statistics.spooled = spool.bytes();
    drop(state);
    sink.notify();
}

/// Moves everything undelivered to the spool at the end. Returns the number of lines that could
/// not be spooled; the spool then contains gaps for them, if it accepts those.
pub fn spool_undelivered(sink: &Sink, now: u64) -> u64 {
    let mut spool = sink.spool();
    let mut state = sink.state();
    let unconfirmed = state.unconfirmed;
    state.sent.keep_last(unconfirmed);
    let mut sent = state.sent.take_all().chain(state.in_flight.take()).collect::<Vec<_>>();
    let mut lost = Vec::new();
    if let Some(spool) = &mut spool {
        prepend_all(spool, &mut sent, now);
        append_all(spool, &mut state.queue, &mut lost, now);
        spool.close();
        state.statistics.spooled = spool.bytes();
    }
    let count = state.queue.clear() + sent.iter().chain(&lost).map(Item::lines).sum::<u64>();
    state.statistics.dropped += count;
    count
}

/// Inserts items before the spooled ones, beginning with the last. After the first failure no more
/// are inserted: they stay in `items`, and only gaps for them go before the spooled ones.
fn prepend_all(spool: &mut Spool, items: &mut Vec<Item>, now: u64) {
    while items.last().is_some_and(|item| spool.prepend(item).is_ok()) {
        items.pop();
    }
    for gap in gaps_for(items, now).into_iter().rev() {
        let _ = spool.prepend(&Item::Gap(gap));
    }
}

/// Appends the queue. After the first failure no more items are appended: they are moved to
/// `lost`, and gaps for them are appended beyond the limit. There are no more gaps than there were
/// items.
fn append_all(spool: &mut Spool, queue: &mut Queue, lost: &mut Vec<Item>, now: u64) {
    while let Some(item) = queue.pop() {
        if !lost.is_empty() || spool.append(&item).is_err() {
            lost.push(item);
        }
    }
    for gap in gaps_for(lost, now) {
        let _ = spool.append_beyond_limit(&Item::Gap(gap));
    }
}

/// The gaps for lost items, in their order.
fn gaps_for(lost: &[Item], now: u64) -> Vec<Gap> {
    let mut gaps: Vec<Gap> = Vec::new();
    for item in lost {
        let gap = match item {
            Item::Chunk(chunk) => Gap::for_chunk(chunk, DropCause::Spool, now, now),
            Item::Gap(gap) => gap.clone(),
        };
        if !gaps.last_mut().is_some_and(|last| last.merge(&gap)) {
            gaps.push(gap);
        }
    }
    gaps
}
