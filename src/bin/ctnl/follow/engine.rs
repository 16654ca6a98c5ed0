//! The loop: which stream is read next, when to nap and when to wait, what is due,
//! and the end.
//!
//! Under load the queue is read empty, and then the thread naps for a millisecond:
//! each event wakes nobody, which is half of what it costs. When nothing has come
//! for one nap, it waits for the sockets.

use std::os::fd::BorrowedFd;
use std::time::Duration;

use ctnl::filter::Filter;
use ctnl::netlink::Error;

use super::emitter::{Drained, Emitter, ROOM};
use super::lines::Lines;
use super::options::{Change, Environment, Notification, Options};
use super::pass::{catch_up, pass};
use super::stats::{Said, Seen};
use super::stream::Stream;
use super::totals::Totals;

/// Events of one stream before the others get their turn: some three milliseconds.
pub(super) const BUDGET: u32 = 4096;
/// The default queue of 13 107 events takes 40 ms to fill at the fastest rate seen.
const NAP: Duration = Duration::from_millis(1);
/// Signals wake a waiting thread, but for one that comes just before it waits.
const WAIT: Duration = Duration::from_millis(200);

/// How a stream ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct End {
    /// Why: a signal's name, or `gap`.
    pub reason: &'static str,
    /// The sums.
    pub totals: Totals,
    /// Records that were written.
    pub records: u64,
}

/// What a turn brought.
enum Turn {
    /// So many events, and all queues are empty.
    Drained(u32),
    /// There is more.
    More,
    /// There is no room for more lines.
    Blocked,
}

struct Engine<'a> {
    emitter: Emitter<'a>,
    streams: Vec<Stream>,
    changes_at: Duration,
}

/// Tells what happens in `streams` until it is asked to stop.
///
/// # Errors
/// A socket does not work, or the table cannot be dumped at the start. The closing
/// record is written all the same.
pub fn follow<'a>(
    options: Options,
    filter: Filter,
    streams: Vec<Stream>,
    lines: Lines<'a>,
    world: &'a mut dyn Environment,
) -> Result<End, Error> {
    let at = world.elapsed();
    let (totals, said) = (Totals::default(), Said::nothing(at));
    let emitter = Emitter { options, filter, lines, totals, said, world, ends: false, is_over: false };
    let mut engine = Engine { emitter, streams, changes_at: at };
    engine.begin();
    let ended = engine.run().and_then(|reason| engine.finish().map(|()| reason));
    engine.emitter.close(ended.as_ref().copied().unwrap_or("error"));
    let Emitter { totals, lines, .. } = engine.emitter;
    ended.map(|reason| End { reason, totals, records: lines.count() })
}

impl Engine<'_> {
    fn begin(&mut self) {
        let Emitter { options, world, .. } = &mut self.emitter;
        let (wall_clock, now) = (world.wall_clock(), world.elapsed());
        self.streams.iter_mut().for_each(|stream| stream.begin(options, wall_clock, now));
        self.emitter.open();
        // Not after the seed: a full disk can hold that back for hours.
        self.emitter.world.notice(Notification::Ready);
    }

    /// Why it ended.
    fn run(&mut self) -> Result<&'static str, Error> {
        loop {
            if let Some(reason) = self.emitter.stop() {
                return Ok(reason);
            }
            let now = self.emitter.world.elapsed();
            self.apply_changes(now)?;
            self.emitter.tell_stats(|_| Seen::of(&self.streams));
            let turn = self.turn()?;
            if !matches!(turn, Turn::Blocked) && self.pass_if_due(now)? {
                continue;
            }
            match turn {
                // Where few events match, it takes long to fill a chunk.
                Turn::More => drop(self.emitter.lines.flush_old(now)),
                Turn::Blocked => self.emitter.world.nap(ROOM),
                Turn::Drained(0) if self.emitter.lines.flush() => self.wait(now),
                Turn::Drained(0) => self.emitter.world.nap(ROOM),
                Turn::Drained(_) => {
                    self.emitter.lines.flush_old(now);
                    self.emitter.world.nap(NAP);
                }
            }
        }
    }

    /// Reads each stream once.
    fn turn(&mut self) -> Result<Turn, Error> {
        let (mut events, mut more) = (0, false);
        for stream in &mut self.streams {
            match self.emitter.drain(stream, BUDGET)? {
                Drained::Empty(count) => events += count,
                Drained::More => more = true,
                Drained::Blocked => return Ok(Turn::Blocked),
            }
        }
        Ok(if more { Turn::More } else { Turn::Drained(events) })
    }

    /// Compares one stream with its table, if that is due. Whether it was.
    fn pass_if_due(&mut self, now: Duration) -> Result<bool, Error> {
        let due = self.streams.iter().position(|stream| stream.next_pass().is_some_and(|(at, _)| at <= now));
        if let Some(place) = due {
            let mut stream = self.streams.remove(place);
            let why = stream.next_pass().map(|(_, why)| why);
            let passed = why.map_or(Ok(()), |why| pass(&mut self.emitter, &mut stream, &mut self.streams, why));
            self.streams.insert(place, stream);
            passed?;
        }
        Ok(due.is_some())
    }

    fn wait(&mut self, now: Duration) {
        let next_pass = self.streams.iter().filter_map(Stream::next_pass).map(|(at, _)| at).min();
        let next = next_pass.into_iter().chain(self.emitter.next_stats()).map(|at| at.saturating_sub(now)).min();
        let descriptors: Vec<BorrowedFd<'_>> =
            self.streams.iter().filter_map(|stream| stream.source.descriptor()).collect();
        let longest = self.emitter.world.longest_wait().unwrap_or(WAIT).min(WAIT);
        self.emitter.world.wait(&descriptors, next.unwrap_or(longest).min(longest));
    }

    fn apply_changes(&mut self, now: Duration) -> Result<(), Error> {
        if now < self.changes_at {
            return Ok(());
        }
        self.changes_at = now + WAIT;
        for change in self.emitter.world.changes() {
            match change {
                Change::Appeared(mut stream) => {
                    let wall_clock = self.emitter.world.wall_clock();
                    stream.begin(&self.emitter.options, wall_clock, now);
                    self.streams.push(*stream);
                }
                Change::Renamed(inode, to) => {
                    let stream = self.streams.iter_mut().find(|stream| stream.is_numbered(inode));
                    stream.into_iter().for_each(|stream| self.emitter.tell_renamed(stream, to.clone()));
                }
                Change::Vanished(inode) => self.remove(|stream| stream.is_numbered(inode))?,
            }
        }
        self.remove(|stream| stream.is_broken)
    }

    /// Ends streams: what is queued is told, and then that their entries are gone.
    fn remove(&mut self, which: impl Fn(&Stream) -> bool) -> Result<(), Error> {
        while let Some(place) = self.streams.iter().position(&which) {
            let mut stream = self.streams.remove(place);
            // One that cannot be left cannot be read either, which will show.
            let _ = stream.source.leave();
            if !catch_up(&mut self.emitter, &mut stream, &mut self.streams)? {
                // It is the end, which reads what is left.
                self.streams.insert(place, stream);
                return Ok(());
            }
            self.emitter.tell_vanished(&mut stream);
        }
        Ok(())
    }

    /// Reads what was sent until now, and says what was lost of it. One stream that cannot be
    /// read does not keep this from the others.
    fn finish(&mut self) -> Result<(), Error> {
        self.emitter.ends = true;
        self.emitter.world.notice(Notification::Ending);
        // First all, so that there is an end: what comes from now on is nobody's loss.
        let sound = self.streams.iter_mut().filter(|stream| !stream.is_broken);
        let mut ended = Ok(());
        for stream in sound {
            if ended_with(&mut ended, stream.source.leave()) {
                // It goes on, and has no end to be read to.
                ended_with(&mut ended, self.emitter.drain(stream, BUDGET).map(drop));
                stream.is_broken = true;
            }
        }
        for stream in &mut self.streams {
            ended_with(&mut ended, self.emitter.drain_all(stream));
        }
        ended
    }
}

/// Keeps the first error; whether this is one.
fn ended_with(first: &mut Result<(), Error>, result: Result<(), Error>) -> bool {
    let failed = result.is_err();
    if first.is_ok() {
        *first = result;
    }
    failed
}
