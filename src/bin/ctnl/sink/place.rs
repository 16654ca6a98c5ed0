//! One place with all that stands before it: what the reader, the thread that delivers
//! and the thread that spills share.
//!
//! The order is always: the chunk that is being delivered, the spool, the queue. The
//! spool's lock is taken before the queue's, and never by the reader. Whoever holds the
//! queue's does not touch the disk, but at the end.

use std::collections::VecDeque;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use ctnl::output::GapCause;

use super::Statistics;
use super::queue::{Item, Queue};
use super::spool::Spool;
use crate::chunk::Chunk;

/// Where a place stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Phase {
    /// Lines come and are delivered.
    Open,
    /// No more come; what is there is delivered.
    Closing,
    /// The time for that is over: nothing more is delivered.
    Abandoned,
    /// All is delivered, or nothing more can be.
    Done,
}

/// What changes.
#[derive(Debug)]
pub struct State {
    pub queue: Queue,
    pub phase: Phase,
    /// What is being delivered out of the queue. What is out of the spool stays there.
    pub in_flight: Option<Item>,
    /// What was delivered and may not have arrived, oldest first, with the bytes that it had.
    pub unconfirmed: VecDeque<(Item, usize)>,
    pub reopen: bool,
    /// Why the spool takes no more.
    pub refused: Option<String>,
    pub statistics: Statistics,
}

impl State {
    /// Of what was delivered, only the last `bytes` may not have arrived.
    pub fn confirm_but(&mut self, bytes: usize) {
        let mut total: usize = self.unconfirmed.iter().map(|(_, size)| size).sum();
        while let Some((item, size)) = self.unconfirmed.pop_front() {
            if total <= bytes || total - size < bytes {
                self.unconfirmed.push_front((item, size));
                return;
            }
            total -= size;
        }
    }
}

/// A place, seen by all its threads.
pub struct Place {
    state: Mutex<State>,
    /// Something changed in the state.
    changed: Condvar,
    pub spool: Option<Mutex<Spool>>,
    pub holds: bool,
}

impl Place {
    /// A place whose queue takes `limit` bytes; the time is now `now`.
    pub fn new(name: String, holds: bool, limit: usize, spool: Option<Spool>, now: u64) -> Self {
        let spooled = spool.as_ref().map_or(0, Spool::bytes);
        let statistics = Statistics { name, spooled, ..Statistics::default() };
        let queue = Queue::new(limit, now);
        let unconfirmed = VecDeque::new();
        let (phase, in_flight, reopen, refused) = (Phase::Open, None, false, None);
        let state = State { queue, phase, in_flight, unconfirmed, reopen, refused, statistics };
        Place { state: Mutex::new(state), changed: Condvar::new(), spool: spool.map(Mutex::new), holds }
    }

    pub fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The state once something in it has changed, or after `most`; whether it was that.
    pub fn wait<'a>(&self, state: MutexGuard<'a, State>, most: Duration) -> (MutexGuard<'a, State>, bool) {
        let (state, timeout) = self.changed.wait_timeout(state, most).unwrap_or_else(PoisonError::into_inner);
        (state, timeout.timed_out())
    }

    pub fn tell(&self) {
        self.changed.notify_all();
    }

    pub fn spool(&self) -> Option<MutexGuard<'_, Spool>> {
        self.spool.as_ref().map(|spool| spool.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Whether a chunk can be put without holding back or leaving out. Only places that
    /// hold the reader back ever say no.
    pub fn has_room(&self) -> bool {
        let state = self.state();
        !self.holds || state.phase == Phase::Done || state.queue.has_room()
    }

    /// Takes a chunk, or leaves it out where there is no room.
    pub fn put(&self, chunk: Arc<Chunk>, now: u64) {
        let mut state = self.state();
        if state.phase != Phase::Open {
            state.statistics.dropped += u64::from(chunk.lines);
        } else if self.holds || state.queue.has_room() {
            state.queue.push(chunk, now);
        } else {
            let cause = if state.refused.is_some() { GapCause::Spool } else { GapCause::Queue };
            state.statistics.dropped += u64::from(chunk.lines);
            state.queue.leave_out(&chunk, cause, now);
        }
        drop(state);
        self.tell();
    }

    /// No more lines come.
    pub fn close(&self) {
        let mut state = self.state();
        if state.phase == Phase::Open {
            state.phase = Phase::Closing;
        }
        drop(state);
        self.tell();
    }

    /// Puts what is in flight into the spool, where the program's death cannot take it. False
    /// where there is none, or it takes nothing.
    pub fn keep_first(&self, item: &Item) -> bool {
        let Some(mut spool) = self.spool() else { return false };
        // The reader must not wait for the disk: nothing is written while the state is locked.
        let is_over = self.state().phase == Phase::Abandoned;
        if is_over || spool.put_first(item).is_err() {
            return false;
        }
        let mut state = self.state();
        state.in_flight = None;
        state.statistics.spooled = spool.bytes();
        true
    }

    /// Changes the phase, and says so.
    pub fn enter(&self, phase: Phase) {
        self.state().phase = phase;
        self.tell();
    }

    pub fn statistics(&self) -> Statistics {
        let state = self.state();
        let in_flight = state.in_flight.as_ref().map_or(0, Item::bytes);
        Statistics { queued: (state.queue.bytes() + in_flight) as u64, ..state.statistics.clone() }
    }
}
