//! The delivery thread of one sink: passes the oldest item to the target, and repeats that until
//! it is delivered.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use ctnl::clock::Clock;

use super::backoff::Backoff;
use super::deliver::{Deliver, DeliveryError};
use super::options::GapFormatter;
use super::queue::{DropCause, Gap, Item};
use super::state::{Phase, Sink};
use crate::chunk::Chunk;

/// Time without an item after which [`Deliver::idle`] is called.
const IDLE: Duration = Duration::from_secs(1);

/// Delivers to one target.
pub struct Worker {
    pub sink: Arc<Sink>,
    pub target: Box<dyn Deliver>,
    pub format_gap: GapFormatter,
    pub clock: Clock,
    /// Whether it was reported that lines cannot be kept.
    pub keeping_failed: bool,
}

/// What to do next.
enum Next {
    /// Deliver this item; whether it is in the spool.
    Item(Item, bool),
    /// Check again.
    Recheck,
    /// The spool cannot be read.
    Unreadable(io::Error),
    Idle,
    Finish,
    End,
}

impl Worker {
    /// Delivers until the end.
    pub fn run(mut self) {
        while self.step() {}
        let mut state = self.sink.state();
        if state.phase != Phase::Abandoned {
            state.phase = Phase::Done;
        }
        drop(state);
        self.sink.notify();
    }

    /// Returns false at the end.
    fn step(&mut self) -> bool {
        self.reopen_if_requested();
        let goes_on = match self.next() {
            Next::Item(item, spooled) => self.deliver(&item, spooled),
            Next::Recheck => true,
            Next::Unreadable(error) => self.on_error(DeliveryError::io("read the spool", &error), IDLE),
            Next::Idle => {
                let tried = self.retry(|target| target.idle(), |_| true);
                self.expire_kept(tried);
                tried != Tried::Over
            }
            // Lines that the destination has lost are delivered again first.
            Next::Finish => self.retry(|target| target.finish(), |_| true) == Tried::Restored,
            Next::End => false,
        };
        let warnings = self.target.take_warnings();
        if !warnings.is_empty() {
            self.sink.state().warnings.extend(warnings);
        }
        goes_on
    }

    /// Reopens files. Whether that was requested.
    fn reopen_if_requested(&mut self) -> bool {
        let state = self.sink.state();
        let (is_requested, requests) = (state.has_to_reopen(), state.reopens_requested);
        drop(state);
        if is_requested {
            self.target.reopen();
            // Another request meanwhile is another one.
            self.sink.state().reopens_done = requests;
        }
        is_requested
    }

    /// The next item: what is spooled is older than what is queued. The spool stays locked
    /// meanwhile, so that nothing is moved from the queue to it.
    fn next(&mut self) -> Next {
        let mut spool = self.sink.spool();
        let spooled = match spool.as_mut().map_or(Ok(None), |spool| spool.peek(self.now())) {
            Ok(spooled) => spooled,
            Err(error) => {
                drop(spool);
                return Next::Unreadable(error);
            }
        };
        let mut state = self.sink.state();
        if let Some(spool) = &mut spool {
            state.statistics.dropped += spool.take_unreadable_lines();
            state.statistics.spooled = spool.bytes();
            state.statistics.damaged = spool.damaged();
        }
        match (state.phase, spooled) {
            (Phase::Abandoned | Phase::Done, _) => return Next::End,
            (_, Some(item)) => {
                state.statistics.oldest = Some((Arc::clone(item.stream()), item.first()));
                return Next::Item(item, true);
            }
            _ => {}
        }
        if let Some(item) = state.queue.pop() {
            state.in_flight = Some(item.clone());
            state.statistics.oldest = Some((Arc::clone(item.stream()), item.first()));
            return Next::Item(item, false);
        }
        state.statistics.oldest = None;
        drop(spool);
        if state.phase == Phase::Draining {
            return Next::Finish;
        }
        if state.has_to_reopen() {
            return Next::Recheck;
        }
        let (state, timed_out) = self.sink.wait(state, IDLE);
        if timed_out && state.queue.is_empty() { Next::Idle } else { Next::Recheck }
    }

    /// Delivers one item. Returns false if nothing more is to be delivered.
    fn deliver(&mut self, item: &Item, spooled: bool) -> bool {
        let chunk = match item {
            Item::Chunk(chunk) => Arc::clone(chunk),
            Item::Gap(gap) => Arc::new(self.gap_chunk(gap)),
        };
        // While the target is down, the item is moved to the spool.
        let mut moved = false;
        let mut on_error = |sink: &Sink| {
            moved = spooled || moved || sink.spool_in_flight(item);
            moved
        };
        if !chunk.bytes.is_empty() {
            match self.retry(|target| target.deliver(&chunk), &mut on_error) {
                Tried::Done => {}
                tried => return tried == Tried::Restored,
            }
        }
        let receipt = self.target.take_receipt();
        let refused = self.target.take_refused();
        let gaps = self.refused_gaps(&refused, &chunk.stream);
        for gap in &gaps {
            match self.retry(|target| target.deliver(gap), &mut on_error) {
                Tried::Done => {}
                tried => return tried == Tried::Restored,
            }
        }
        // If the line that reports the gap is refused too, only the statistics have the loss.
        self.target.take_refused();
        let location = match (spooled, moved) {
            (true, _) => Location::Spool,
            (false, true) => Location::MovedToSpool,
            (false, false) => Location::InFlight,
        };
        let goes_on = self.mark_delivered(item, &chunk, refused.len() as u64, gaps, location);
        self.keep(item, receipt.as_ref());
        goes_on
    }

    /// Records a delivered item and removes it from where it was.
    fn mark_delivered(
        &mut self,
        item: &Item,
        chunk: &Chunk,
        refused: u64,
        gaps: Vec<Arc<Chunk>>,
        location: Location,
    ) -> bool {
        let (recent, unconfirmed) = (self.target.recent(), self.target.unconfirmed());
        // The thread that ends the sink locks the spool first too: it sees both changes or neither.
        let spool = self.sink.spool();
        let mut state = self.sink.state();
        if state.phase == Phase::Abandoned {
            return false;
        }
        // A gap is kept as such: the line for it does not contain how many numbers it covers.
        let delivered = [(item.clone(), chunk.bytes.len())];
        let gaps = gaps.into_iter().map(|line| (Item::Chunk(Arc::clone(&line)), line.bytes.len()));
        let sent = delivered.into_iter().chain(gaps).filter(|(_, size)| *size > 0);
        sent.for_each(|(item, size)| state.sent.push(item, size));
        state.sent.keep_last(recent);
        state.unconfirmed = unconfirmed;
        // It may have been moved although no delivery failed: at the end.
        let is_moved = location == Location::InFlight && state.in_flight.take().is_none();
        let location = if is_moved { Location::MovedToSpool } else { location };
        state.statistics.delivered += u64::from(chunk.lines).saturating_sub(refused);
        state.statistics.dropped += refused;
        drop(state);
        match (spool, location) {
            (Some(mut spool), Location::Spool) => spool.advance(),
            (Some(mut spool), Location::MovedToSpool) => spool.skip(item, self.now()),
            _ => {}
        }
        self.sink.notify();
        true
    }

    /// One gap line for each run of consecutive refused numbers.
    fn refused_gaps(&self, refused: &[u64], stream: &Arc<str>) -> Vec<Arc<Chunk>> {
        let now = if refused.is_empty() { 0 } else { self.now() };
        let mut sorted = refused.to_vec();
        sorted.sort_unstable();
        let gaps = sorted.chunk_by(|one, next| one + 1 == *next).filter_map(|run| {
            let (first, lines) = (*run.first()?, run.len() as u64);
            Some(Gap { stream: Arc::clone(stream), cause: DropCause::Refused, first, lines, from: now, to: now })
        });
        gaps.map(|gap| Arc::new(self.gap_chunk(&gap))).filter(|line| !line.bytes.is_empty()).collect()
    }

    fn gap_chunk(&self, gap: &Gap) -> Chunk {
        let bytes = (self.format_gap)(gap);
        Chunk { stream: Arc::clone(&gap.stream), first: gap.first, lines: u32::from(!bytes.is_empty()), bytes }
    }

    fn now(&self) -> u64 {
        self.clock.now().realtime.0
    }

    /// Repeats `attempt` until it succeeds, unless the destination has lost lines. `on_error` returns whether
    /// the item is in the spool.
    fn retry(
        &mut self,
        mut attempt: impl FnMut(&mut dyn Deliver) -> Result<(), DeliveryError>,
        mut on_error: impl FnMut(&Sink) -> bool,
    ) -> Tried {
        let mut backoff = Backoff::default();
        loop {
            match attempt(&mut *self.target) {
                Ok(()) => {
                    self.update_sent();
                    return if self.on_success() { Tried::Done } else { Tried::Over };
                }
                Err(mut error) => {
                    self.update_sent();
                    let is_spooled = on_error(&self.sink);
                    if is_spooled && self.target.has_lost_lines() {
                        match self.restore() {
                            Ok(()) => return Tried::Restored,
                            Err(why) => error = why,
                        }
                    }
                    if !self.on_error(error, backoff.next_delay()) {
                        return Tried::Over;
                    }
                }
            }
        }
    }

    /// Marks the sink as up. Returns false at the end.
    fn on_success(&self) -> bool {
        let mut state = self.sink.state();
        state.statistics.down_since = None;
        state.statistics.why = None;
        state.phase != Phase::Abandoned
    }

    /// Keeps what may have to be delivered again. After an error that is what the peer had confirmed, too.
    fn update_sent(&mut self) {
        let (recent, unconfirmed) = (self.target.recent(), self.target.unconfirmed());
        let mut state = self.sink.state();
        // When the time is over, the thread that ends the sink has taken them.
        if state.phase != Phase::Abandoned {
            state.sent.keep_last(recent);
            state.unconfirmed = unconfirmed;
        }
    }

    /// Marks the sink as down and waits. Returns false if there must be no other attempt.
    fn on_error(&mut self, error: DeliveryError, delay: Duration) -> bool {
        let mut state = self.sink.state();
        state.statistics.down_since.get_or_insert_with(|| self.clock.now().realtime.0);
        state.statistics.why = Some(error.reason);
        if error.permanent {
            state.statistics.ended = true;
            state.phase = Phase::Done;
            let lost = state.queue.clear() + state.in_flight.take().map_or(0, |item| item.lines());
            state.statistics.dropped += lost;
            return false;
        }
        drop(state);
        self.sink.notify();
        self.wait_for_retry(delay)
    }

    /// Waits for `delay`, or until files are to be reopened. Returns false at the end.
    fn wait_for_retry(&mut self, delay: Duration) -> bool {
        let deadline = self.clock.now().monotonic.plus(delay.into());
        let mut state = self.sink.state();
        loop {
            let left = deadline.since(self.clock.now().monotonic);
            if state.phase == Phase::Abandoned || left.0 == 0 {
                return state.phase != Phase::Abandoned;
            }
            if state.has_to_reopen() {
                drop(state);
                return self.reopen_if_requested();
            }
            state = self.sink.wait(state, Duration::from_nanos(left.0)).0;
        }
    }
}

/// The end of repeated attempts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Tried {
    Done,
    /// Lines that the destination had lost are in the spool, and so is the item, behind them.
    Restored,
    /// There must be no other attempt.
    Over,
}

/// Where an item was when it was delivered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Location {
    /// In the spool: it was read from there.
    Spool,
    /// Taken from the queue, and moved to the spool when the first attempt failed.
    MovedToSpool,
    /// Taken from the queue.
    InFlight,
}
