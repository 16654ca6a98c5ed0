//! The thread of one place: takes what is oldest and delivers it, again and again until
//! it is where it belongs.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use ctnl::output::GapCause;

use super::backoff::Backoff;
use super::deliver::{Deliver, Down};
use super::place::{Phase, Place};
use super::queue::{Gap, Item};
use super::{Clock, GapLine};
use crate::chunk::Chunk;

/// Time without work after which the place may look after itself.
const IDLE: Duration = Duration::from_secs(1);

/// Delivers to one place.
pub struct Worker {
    pub place: Arc<Place>,
    pub sink: Box<dyn Deliver>,
    pub gap_line: GapLine,
    pub clock: Clock,
}

/// What to do next.
enum Next {
    /// Deliver this; whether it came out of the spool.
    Item(Item, bool),
    /// Look again.
    Again,
    /// The spool cannot be read.
    Unreadable(io::Error),
    Idle,
    Finish,
    End,
}

impl Worker {
    /// Delivers until there is nothing more to come.
    pub fn run(mut self) {
        loop {
            if std::mem::take(&mut self.place.state().reopen) {
                self.sink.reopen();
            }
            let goes_on = match self.next() {
                Next::Item(item, spooled) => self.bring(&item, spooled),
                Next::Again => true,
                Next::Unreadable(error) => self.is_down(Down::of("read the spool", &error), IDLE),
                Next::Idle => self.until_up(|sink| sink.idle(), |_| ()),
                Next::Finish => {
                    self.until_up(|sink| sink.finish(), |_| ());
                    false
                }
                Next::End => false,
            };
            if !goes_on {
                break;
            }
        }
        let mut state = self.place.state();
        if state.phase != Phase::Abandoned {
            state.phase = Phase::Done;
        }
        drop(state);
        self.place.tell();
    }

    /// The spool is older than the queue; while its lock is held nothing goes into it.
    fn next(&mut self) -> Next {
        let mut spool = self.place.spool();
        let spooled = match spool.as_mut().map_or(Ok(None), |spool| spool.peek((self.clock)())) {
            Ok(spooled) => spooled,
            Err(error) => {
                drop(spool);
                return Next::Unreadable(error);
            }
        };
        let mut state = self.place.state();
        if let Some(spool) = &mut spool {
            state.statistics.dropped += spool.take_lost();
            state.statistics.spooled = spool.bytes();
            state.statistics.damaged = spool.damaged();
        }
        match (state.phase, spooled) {
            (Phase::Abandoned | Phase::Done, _) => return Next::End,
            (_, Some(item)) => return Next::Item(item, true),
            _ => {}
        }
        if let Some(item) = state.queue.pop() {
            state.in_flight = Some(item.clone());
            return Next::Item(item, false);
        }
        drop(spool);
        if state.phase == Phase::Closing {
            return Next::Finish;
        }
        if state.reopen {
            return Next::Again;
        }
        let (state, timed_out) = self.place.wait(state, IDLE);
        if timed_out && state.queue.is_empty() { Next::Idle } else { Next::Again }
    }

    /// Delivers one item. False: nothing more is delivered.
    fn bring(&mut self, item: &Item, spooled: bool) -> bool {
        let chunk = match item {
            Item::Chunk(chunk) => Arc::clone(chunk),
            Item::Gap(gap) => Arc::new(self.line_of(gap)),
        };
        let mut kept = false;
        let mut keep = |place: &Place| kept = spooled || kept || place.keep_first(item);
        if !chunk.bytes.is_empty() && !self.until_up(|sink| sink.deliver(&chunk), &mut keep) {
            return false;
        }
        let refused = self.sink.refused();
        let gaps = self.gaps_of(&refused, &chunk.stream);
        // A gap that is refused too is in the count at least.
        if !gaps.iter().all(|gap| self.until_up(|sink| sink.deliver(gap), &mut keep)) {
            return false;
        }
        self.sink.refused();
        let unconfirmed = self.sink.unconfirmed();
        let refused = refused.len() as u64;
        let spool = self.place.spool();
        let mut state = self.place.state();
        if state.phase == Phase::Abandoned {
            return false;
        }
        // A gap as such: its line does not tell how many numbers it stands for.
        let delivered = [(item.clone(), chunk.bytes.len())];
        let gaps = gaps.into_iter().map(|line| (Item::Chunk(Arc::clone(&line)), line.bytes.len()));
        state.unconfirmed.extend(delivered.into_iter().chain(gaps).filter(|(_, size)| *size > 0));
        state.confirm_but(unconfirmed);
        if !spooled && !kept {
            state.in_flight = None;
        }
        state.statistics.delivered += u64::from(chunk.lines).saturating_sub(refused);
        state.statistics.dropped += refused;
        drop(state);
        // The end takes the spool's lock first, so that it finds both or neither.
        match spool {
            Some(mut spool) if spooled => spool.advance(),
            Some(mut spool) if kept => spool.pass(item, (self.clock)()),
            _ => {}
        }
        self.place.tell();
        true
    }

    /// The lines that stand for those that the place did not take, one for each run of numbers.
    fn gaps_of(&self, refused: &[u64], stream: &Arc<str>) -> Vec<Arc<Chunk>> {
        let now = if refused.is_empty() { 0 } else { (self.clock)() };
        let mut sorted = refused.to_vec();
        sorted.sort_unstable();
        let gaps = sorted.chunk_by(|one, next| one + 1 == *next).filter_map(|run| {
            let (first, lines) = (*run.first()?, run.len() as u64);
            Some(Gap { stream: Arc::clone(stream), cause: GapCause::Refused, first, lines, from: now, to: now })
        });
        gaps.map(|gap| Arc::new(self.line_of(&gap))).filter(|line| !line.bytes.is_empty()).collect()
    }

    fn line_of(&self, gap: &Gap) -> Chunk {
        let bytes = (self.gap_line)(gap);
        Chunk { stream: Arc::clone(&gap.stream), first: gap.first, lines: u32::from(!bytes.is_empty()), bytes }
    }

    /// Tries until it works. False: it never will, or there is no more time.
    fn until_up(
        &mut self,
        mut attempt: impl FnMut(&mut dyn Deliver) -> Result<(), Down>,
        mut when_down: impl FnMut(&Place),
    ) -> bool {
        let mut backoff = Backoff::default();
        loop {
            match attempt(&mut *self.sink) {
                Ok(()) => {
                    let unconfirmed = self.sink.unconfirmed();
                    return self.is_up(unconfirmed);
                }
                Err(down) => {
                    when_down(&self.place);
                    if !self.is_down(down, backoff.wait()) {
                        return false;
                    }
                }
            }
        }
    }

    /// False: nobody waits for more.
    fn is_up(&self, unconfirmed: usize) -> bool {
        let mut state = self.place.state();
        state.statistics.down_since = None;
        state.statistics.why = None;
        if state.phase == Phase::Abandoned {
            return false;
        }
        state.confirm_but(unconfirmed);
        true
    }

    /// Notes it, and waits. False: there is no use in another try.
    fn is_down(&mut self, down: Down, wait: Duration) -> bool {
        let mut state = self.place.state();
        state.statistics.down_since.get_or_insert_with(|| (self.clock)());
        state.statistics.why = Some(down.why);
        if down.for_good {
            state.statistics.ended = true;
            state.phase = Phase::Done;
            // Nobody will ever take it.
            let lost = state.queue.clear() + state.in_flight.take().map_or(0, |item| item.lines());
            state.statistics.dropped += lost;
            return false;
        }
        self.place.tell();
        let end = std::time::Instant::now() + wait;
        // What it is told meanwhile is heard at once, but only the end makes it hurry.
        while let Some(left) = end.checked_duration_since(std::time::Instant::now()) {
            if state.phase == Phase::Abandoned {
                return false;
            }
            if state.reopen {
                state.reopen = false;
                drop(state);
                self.sink.reopen();
                return true;
            }
            state = self.place.wait(state, left).0;
        }
        state.phase != Phase::Abandoned
    }
}
