//! Reads the queue of a namespace, event by event.

use std::time::Duration;

use ctnl::clock::Time;
use ctnl::field::Subject;
use ctnl::filter::{Filter, Verdict};
use ctnl::netlink::Error;
use ctnl::table::Step;

use super::environment::{Environment, Notification};
use super::heartbeat::Heartbeat;
use super::lines::Lines;
use super::namespace::NamespaceStream;
use super::options::FollowOptions;
use super::sample::{ReportedStats, StreamSample};
use super::totals::Totals;

/// Events of one namespace before the others are read: about three milliseconds.
pub(super) const MAX_EVENTS_PER_TURN: u32 = 4096;
/// While the outlet has no capacity, it is checked at this interval.
pub(super) const CAPACITY_POLL: Duration = Duration::from_millis(5);
/// The clock is read once for this many events.
const EVENTS_PER_CLOCK_READ: u32 = 64;
/// The queue is sampled once for this many events: a millisecond. It fills while the thread is
/// not scheduled, and a larger queue helps then.
const EVENTS_PER_QUEUE_SAMPLE: u32 = 1024;

/// The state of a queue after a turn.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Drained {
    /// Empty, after this many events.
    Empty(u32),
    /// More may be queued.
    More,
    /// The outlet has no capacity.
    Blocked,
}

/// Turns events into records.
pub(super) struct Emitter<'a> {
    pub(super) options: FollowOptions,
    pub(super) filter: Filter,
    pub(super) lines: Lines<'a>,
    pub(super) totals: Totals,
    pub(super) reported: ReportedStats,
    pub(super) heartbeat: Heartbeat,
    pub(super) env: &'a mut dyn Environment,
    /// The stream is ending: chunks are written without regard to capacity.
    pub(super) is_ending: bool,
    /// Events were lost, and `--on-gap exit` is set.
    pub(super) is_over: bool,
}

impl Emitter<'_> {
    /// The reason to end, if there is one.
    pub(super) fn stop(&mut self) -> Option<&'static str> {
        let requested = self.env.stop();
        if self.is_over { Some("gap") } else { requested }
    }

    /// Reads at most `max` events. A socket error ends the stream, or only its namespace where
    /// there are several.
    pub(super) fn drain(&mut self, stream: &mut NamespaceStream, max: u32) -> Result<Drained, Error> {
        if stream.is_broken {
            return Ok(Drained::Empty(0));
        }
        let drained = self.read(stream, max);
        match (&stream.name, drained) {
            (Some(netns), Err(error)) => {
                self.env.notify(Notification::Failed { netns, error: &error });
                stream.is_broken = true;
                let now = self.env.realtime();
                self.emit_lost(stream, None, now);
                Ok(Drained::Empty(0))
            }
            (_, drained) => drained,
        }
    }

    /// Reads all that is queued without regard to capacity: at the end.
    pub(super) fn drain_all(&mut self, stream: &mut NamespaceStream) -> Result<(), Error> {
        while !matches!(self.drain(stream, MAX_EVENTS_PER_TURN)?, Drained::Empty(_)) {
            // For the watchdog of the service manager.
            let _ = self.stop();
        }
        Ok(())
    }

    fn read(&mut self, stream: &mut NamespaceStream, max: u32) -> Result<Drained, Error> {
        let mut now = self.read_clock(stream);
        for done in 0..max {
            if done % EVENTS_PER_QUEUE_SAMPLE == 0
                && let Some(buffer) = stream.grow(self.options.buffer_max)
            {
                self.env.notify(Notification::Grown { netns: stream.name.as_deref(), buffer });
            }
            if self.lines.is_full() && !self.lines.flush() {
                if !self.is_ending {
                    return Ok(Drained::Blocked);
                }
                self.lines.put();
            }
            if done % EVENTS_PER_CLOCK_READ == EVENTS_PER_CLOCK_READ - 1 {
                now = self.read_clock(stream);
            }
            if self.step(stream, now)? {
                return Ok(Drained::Empty(done));
            }
        }
        Ok(Drained::More)
    }

    /// Reads one event. Whether the queue was empty.
    #[inline]
    fn step(&mut self, stream: &mut NamespaceStream, now: u64) -> Result<bool, Error> {
        let step = stream.source.next(&mut stream.event)?;
        if stream.unreadable > 0 && !matches!(step, Step::Unreadable(_)) {
            self.emit_unreadable(stream, now);
        }
        match step {
            Step::Event => self.on_event(stream, now),
            Step::Expectation => self.emit_expectation(stream, now),
            Step::Empty => {
                stream.complete_until = now;
                return Ok(true);
            }
            Step::Lost(lost) => self.emit_lost(stream, lost, now),
            Step::Unreadable(_) => {
                self.totals.unreadable += 1;
                stream.unreadable += 1;
            }
        }
        Ok(false)
    }

    fn read_clock(&mut self, stream: &mut NamespaceStream) -> u64 {
        let Time { monotonic, realtime } = self.env.now();
        stream.requested.set_time(monotonic.into());
        realtime.0
    }

    /// Whether the entry certainly matches. Undecided ones are counted.
    #[inline]
    pub(super) fn matches(&mut self, subject: &Subject<'_>) -> bool {
        match self.filter.matches(subject) {
            Verdict::Match => true,
            Verdict::NoMatch => false,
            Verdict::Undecided(why) => {
                *self.totals.undecided.entry(why).or_default() += 1;
                false
            }
        }
    }

    /// Waits until another record can be written, unless the stream is ending.
    pub(super) fn wait_for_capacity(&mut self, sample: impl Fn(StreamSample) -> StreamSample) {
        while self.lines.is_full() && !self.lines.flush() {
            if self.is_ending || self.stop().is_some() {
                self.lines.put();
            } else {
                self.emit_stats(&sample);
                self.env.sleep(CAPACITY_POLL);
            }
        }
    }
}
