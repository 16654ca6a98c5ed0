//! One sink: its queue, its spool and its statistics, shared by the thread that reads events, the
//! thread that delivers and the thread that spills.
//!
//! The order of items is always: the one being delivered, the spool, the queue. The spool's lock is
//! taken before the state's, and never by the thread that reads events. Nobody writes to the disk
//! while the state is locked, except at the end.

use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::queue::{DropCause, Item, Queue};
use super::sent::SentItems;
use super::spool::{Spool, SpoolError};
use crate::chunk::Chunk;

/// The state of one sink.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Statistics {
    /// The argument of `--to`, without a password.
    pub name: String,
    /// Bytes of memory that queued lines occupy.
    pub queued: u64,
    /// Bytes in the spool.
    pub spooled: u64,
    /// Delivered lines, including repeated ones and those that report gaps.
    pub delivered: u64,
    /// Dropped lines.
    pub dropped: u64,
    /// Parts of the spool that could not be read, after a crash or because of a failing disk.
    pub damaged: u64,
    /// The line that is delivered next, if one is waiting: its stream and its number.
    pub oldest: Option<(Arc<str>, u64)>,
    /// Since when the sink is down, ns of `CLOCK_REALTIME`.
    pub down_since: Option<u64>,
    /// Why it is down.
    pub why: Option<String>,
    /// It is closed and stays so: the reader of standard output is gone.
    pub ended: bool,
}

/// The phases of a sink, in their order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Phase {
    /// Lines are accepted and delivered.
    Running,
    /// No more lines are accepted; what is queued is delivered.
    Draining,
    /// The time for that is over: nothing more is delivered.
    Abandoned,
    /// Everything was delivered, or nothing more can be.
    Done,
}

/// The part behind the lock.
#[derive(Debug)]
pub struct State {
    pub queue: Queue,
    pub phase: Phase,
    /// The item being delivered, if it came from the queue. One from the spool stays there.
    pub in_flight: Option<Item>,
    /// Delivered items that may have to be delivered again.
    pub sent: SentItems,
    /// Bytes of the last of them that are not confirmed.
    pub unconfirmed: usize,
    /// How often files were to be reopened, and how often that was done.
    pub reopens_requested: u64,
    pub reopens_done: u64,
    /// Why the spool accepts nothing.
    pub spool_error: Option<String>,
    /// What the operator must know and was not reported yet.
    pub warnings: Vec<String>,
    pub statistics: Statistics,
}

impl State {
    /// Whether files are still to be reopened. A sink that is closed for good has none.
    pub fn has_to_reopen(&self) -> bool {
        self.reopens_requested > self.reopens_done && matches!(self.phase, Phase::Running | Phase::Draining)
    }
}

/// A sink, as all its threads see it.
pub struct Sink {
    state: Mutex<State>,
    /// Signalled at each change of the state.
    changed: Condvar,
    spool: Option<Mutex<Spool>>,
    applies_backpressure: bool,
}

impl Sink {
    /// A sink with a queue of `queue_max` bytes; `now` is in ns of `CLOCK_REALTIME`.
    pub fn new(name: String, applies_backpressure: bool, queue_max: usize, spool: Option<Spool>, now: u64) -> Self {
        let spooled = spool.as_ref().map_or(0, Spool::bytes);
        let state = State {
            queue: Queue::new(queue_max, now),
            phase: Phase::Running,
            in_flight: None,
            sent: SentItems::default(),
            unconfirmed: 0,
            reopens_requested: 0,
            reopens_done: 0,
            spool_error: None,
            warnings: Vec::new(),
            statistics: Statistics { name, spooled, ..Statistics::default() },
        };
        Sink { state: Mutex::new(state), changed: Condvar::new(), spool: spool.map(Mutex::new), applies_backpressure }
    }

    /// Locks the state.
    pub fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits for a change of the state, `timeout` at most. Also returns whether that has passed.
    pub fn wait<'a>(&self, state: MutexGuard<'a, State>, timeout: Duration) -> (MutexGuard<'a, State>, bool) {
        let (state, timeout) = self.changed.wait_timeout(state, timeout).unwrap_or_else(PoisonError::into_inner);
        (state, timeout.timed_out())
    }

    /// Wakes the threads that wait for a change.
    pub fn notify(&self) {
        self.changed.notify_all();
    }

    /// Locks the spool, if there is one.
    pub fn spool(&self) -> Option<MutexGuard<'_, Spool>> {
        self.spool.as_ref().map(|spool| spool.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Whether there is a spool.
    pub fn has_spool(&self) -> bool {
        self.spool.is_some()
    }

    /// Whether the reader may go on. False only for a sink that applies backpressure.
    pub fn has_capacity(&self) -> bool {
        let state = self.state();
        !self.applies_backpressure || state.phase == Phase::Done || state.queue.has_capacity()
    }

    /// Queues a chunk, or drops it if the queue is full and the sink applies no backpressure.
    pub fn push(&self, chunk: Arc<Chunk>, now: u64) {
        let mut state = self.state();
        if state.phase != Phase::Running {
            state.statistics.dropped += u64::from(chunk.lines);
        } else if self.applies_backpressure || state.queue.has_capacity() {
            state.queue.push(chunk, now);
        } else {
            let cause = if state.spool_error.is_some() { DropCause::Spool } else { DropCause::Queue };
            state.statistics.dropped += u64::from(chunk.lines);
            state.queue.push_gap(&chunk, cause, now);
        }
        drop(state);
        self.notify();
    }

    /// Begins to drain: no more lines come.
    pub fn close(&self) {
        let mut state = self.state();
        if state.phase == Phase::Running {
            state.phase = Phase::Draining;
        }
        drop(state);
        self.notify();
    }

    /// Moves the item in flight to the spool, where it survives the end of the process. Returns
    /// false if there is no spool or it accepts nothing.
    pub fn spool_in_flight(&self, item: &Item) -> bool {
        let Some(mut spool) = self.spool() else { return false };
        let state = self.state();
        let (is_over, is_moved) = (state.phase == Phase::Abandoned, state.in_flight.is_none());
        // It is not locked during the write: the thread that reads events must not wait.
        drop(state);
        if is_over || is_moved {
            return is_moved && !is_over;
        }
        self.prepend_in_flight(&mut spool, item)
    }

    /// The same for whatever item is in flight. Returns false if the spool does not accept it.
    pub fn move_in_flight(&self, spool: &mut Spool) -> bool {
        let state = self.state();
        let item = state.in_flight.clone().filter(|_| state.phase == Phase::Running);
        drop(state);
        item.is_none_or(|item| self.prepend_in_flight(spool, &item))
    }

    /// The delivery thread needs the spool's lock to take the item away.
    fn prepend_in_flight(&self, spool: &mut Spool, item: &Item) -> bool {
        let written = spool.prepend(item);
        let mut state = self.state();
        state.statistics.spooled = spool.bytes();
        match written {
            Ok(()) => state.in_flight = None,
            Err(error) => {
                state.spool_error = Some(SpoolError::Disk(error).to_string());
                return false;
            }
        }
        true
    }

    /// Changes the phase.
    pub fn set_phase(&self, phase: Phase) {
        self.state().phase = phase;
        self.notify();
    }

    /// The statistics now.
    pub fn statistics(&self) -> Statistics {
        let state = self.state();
        let in_flight = state.in_flight.as_ref().map_or(0, Item::memory);
        Statistics { queued: (state.queue.memory() + in_flight) as u64, ..state.statistics.clone() }
    }
}
