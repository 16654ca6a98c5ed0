//! What becomes of an event: judged, noted in the live set, and told.

use std::time::Duration;

use ctnl::field::Subject;
use ctnl::filter::{Filter, Verdict};
use ctnl::live::{Known, NewOutcome, Start};
use ctnl::model::{EventKind, ExpectationEvent, Flow, Status};
use ctnl::netlink::Error;
use ctnl::output::{
    Clock, Closing, Ended, ExpectationRecord, FlowRecord, Gap, GapCause, Opening, Record, Since, Stamp, Synthetic,
};
use ctnl::table::Step;

use super::engine::BUDGET;
use super::lines::Lines;
use super::options::{Environment, Notification, OnGap, Options};
use super::stats::{Said, Seen};
use super::stream::Stream;
use super::totals::Totals;

/// Events between two looks at the clock.
const CLOCK_EVERY: u32 = 64;
/// Events between two looks at how full the queue is: a millisecond. While its reader is
/// descheduled the queue fills, and to make it larger is what helps then.
const LOOK_EVERY: u32 = 1024;
/// How long to wait for room in the outlet before it is asked again.
pub(super) const ROOM: Duration = Duration::from_millis(5);

/// How far a queue was emptied.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Drained {
    /// To the end, after so many events.
    Empty(u32),
    /// There may be more.
    More,
    /// There is no room for more lines.
    Blocked,
}

/// Tells what happens.
pub(super) struct Emitter<'a> {
    pub(super) options: Options,
    pub(super) filter: Filter,
    pub(super) lines: Lines<'a>,
    pub(super) totals: Totals,
    pub(super) said: Said,
    pub(super) world: &'a mut dyn Environment,
    /// Nobody waits for room any more: it is the end.
    pub(super) ends: bool,
    /// Events were lost, and that shall be the end.
    pub(super) is_over: bool,
}

impl Emitter<'_> {
    /// Why it shall end, if it shall.
    pub(super) fn stop(&mut self) -> Option<&'static str> {
        let asked = self.world.stop();
        if self.is_over { Some("gap") } else { asked }
    }

    /// Reads at most `budget` events. A socket that does not work is the end, unless it is
    /// one of several.
    pub(super) fn drain(&mut self, stream: &mut Stream, budget: u32) -> Result<Drained, Error> {
        if stream.is_broken {
            return Ok(Drained::Empty(0));
        }
        let drained = self.read(stream, budget);
        match (&stream.name, drained) {
            (Some(netns), Err(error)) => {
                self.world.notice(Notification::Failed { netns, error: &error });
                stream.is_broken = true;
                let now = self.world.wall_clock();
                self.lost(stream, 0, now);
                Ok(Drained::Empty(0))
            }
            (_, drained) => drained,
        }
    }

    /// Reads all that is queued, room or not: at the end.
    pub(super) fn drain_all(&mut self, stream: &mut Stream) -> Result<(), Error> {
        while !matches!(self.drain(stream, BUDGET)?, Drained::Empty(_)) {
            // For the service manager, which wants to hear that we live.
            let _ = self.stop();
        }
        Ok(())
    }

    fn read(&mut self, stream: &mut Stream, budget: u32) -> Result<Drained, Error> {
        let mut now = self.look_at_clocks(stream);
        for done in 0..budget {
            if done % LOOK_EVERY == 0
                && let Some(buffer) = stream.grow(self.options.buffer_max)
            {
                self.world.notice(Notification::Grown { netns: stream.name.as_deref(), buffer });
            }
            if self.lines.is_full() && !self.lines.flush() {
                if !self.ends {
                    return Ok(Drained::Blocked);
                }
                self.lines.put();
            }
            if done % CLOCK_EVERY == CLOCK_EVERY - 1 {
                now = self.look_at_clocks(stream);
            }
            let step = stream.source.next(&mut stream.event)?;
            if stream.unreadable > 0 && !matches!(step, Step::Unreadable(_)) {
                self.tell_unreadable(stream, now);
            }
            match step {
                Step::Event => self.tell(stream, now),
                Step::Expectation => self.tell_expectation(stream, now),
                Step::Empty => {
                    stream.known_until = now;
                    return Ok(Drained::Empty(done));
                }
                Step::Lost(lost) => self.lost(stream, lost, now),
                Step::Unreadable(_) => {
                    self.totals.unreadable += 1;
                    stream.unreadable += 1;
                }
            }
        }
        Ok(Drained::More)
    }

    fn look_at_clocks(&mut self, stream: &mut Stream) -> u64 {
        stream.asked.tick();
        self.world.wall_clock()
    }

    /// Says that the stream begins.
    pub(super) fn open(&mut self) {
        let time = self.world.wall_clock();
        let Options { stream, version, .. } = &self.options;
        self.lines.record(&Record::Opening(Opening { time, stream, version }));
    }

    /// Says that it ends, with the sums.
    pub(super) fn close(&mut self, reason: &str) {
        let (time, records) = (self.world.wall_clock(), self.lines.count());
        let Totals { received, lost, .. } = self.totals;
        self.lines.record(&Record::Closing(Closing { time, reason, received, lost, records }));
        self.lines.put();
    }

    #[inline]
    fn tell(&mut self, stream: &mut Stream, now: u64) {
        self.totals.received += 1;
        stream.known_until = stream.known_until.max(stream.event.flow.event_time.unwrap_or(0));
        stream.ages.now = now;
        match stream.event.kind {
            EventKind::New => {
                let matches = self.judge_event(stream);
                self.came(stream, matches, now);
            }
            EventKind::Update => {
                let matches = self.judge_event(stream);
                self.changed(stream, matches, now);
            }
            EventKind::Destroy => self.left(stream, now),
        }
    }

    #[inline]
    fn judge_event(&mut self, stream: &Stream) -> bool {
        let Stream { event, ages, .. } = stream;
        self.judge(&Subject::of_event(&event.flow, ages, event.kind))
    }

    /// Whether the entry is meant for certain. What is in doubt is counted.
    #[inline]
    pub(super) fn judge(&mut self, subject: &Subject<'_>) -> bool {
        match self.filter.matches(subject) {
            Verdict::Match => true,
            Verdict::NoMatch => false,
            Verdict::Undecided(why) => {
                *self.totals.undecided.entry(why).or_default() += 1;
                false
            }
        }
    }

    #[inline]
    fn came(&mut self, stream: &mut Stream, matches: bool, now: u64) {
        let Stream { live, event, .. } = stream;
        let came = match live {
            None if matches && event.flow.status.contains(Status::Dying) => NewOutcome::Dying(None),
            None if matches => NewOutcome::New,
            None => return,
            Some(live) if matches => live.came(&event.flow, start(event.flow.event_time, &event.flow, now), now),
            Some(live) => match live.replaced(&event.flow, now) {
                Some(known) => return self.missed(stream, &known, now),
                None => return,
            },
        };
        match came {
            NewOutcome::New => self.write(stream, EventKind::New, None, None, now),
            NewOutcome::Known => self.write(stream, EventKind::Update, None, None, now),
            NewOutcome::Again(known) => {
                self.missed(stream, &known, now);
                self.write(stream, EventKind::New, None, None, now);
            }
            NewOutcome::Dying(known) => {
                known.into_iter().for_each(|known| self.missed(stream, &known, now));
                self.write(stream, EventKind::New, None, None, now);
                self.take_back(stream, now);
            }
        }
    }

    #[inline]
    fn changed(&mut self, stream: &mut Stream, matches: bool, now: u64) {
        let Stream { live, event, .. } = stream;
        let is_there = match live {
            Some(live) if matches => live.changed(&event.flow, now),
            Some(live) => live.touched(&event.flow),
            None => !event.flow.status.contains(Status::Dying),
        };
        if matches {
            self.write(stream, EventKind::Update, None, None, now);
            if !is_there {
                self.take_back(stream, now);
            }
        }
    }

    /// The end of what was told of is told whatever the expression says by now.
    #[inline]
    fn left(&mut self, stream: &mut Stream, now: u64) {
        let killed = stream.was_killed();
        let Stream { live, event, .. } = stream;
        let known = live.as_mut().and_then(|live| live.left(&event.flow));
        if known.is_some() || self.judge_event(stream) {
            let since = stream.event.flow.start.map(Since::Exactly).or(known.map(since));
            self.write(stream, EventKind::Destroy, since, killed, now);
        }
    }

    /// The event that was read last is of an entry that is over, and its `destroy` event may
    /// have come before: nobody shall wait for it. If it is still to come it is told, too, and
    /// the one record of `--flows` is made of it in any case.
    #[cold]
    fn take_back(&mut self, stream: &mut Stream, now: u64) {
        let Stream { name, event, ages, .. } = stream;
        let flow = event.flow.clone();
        let start = start(flow.event_time, &flow, now);
        self.tell_destroyed(name.as_deref(), ages, &Known { flow, start }, Synthetic::Reconcile, now);
    }

    /// The end of an entry was missed, and shows only now.
    #[cold]
    fn missed(&mut self, stream: &mut Stream, known: &Known, now: u64) {
        let why = if stream.is_behind() { Synthetic::Resync } else { Synthetic::Reconcile };
        self.tell_gone(stream.name.as_deref(), &mut stream.ages, known, why, now);
    }

    /// Writes the event that was read last.
    #[inline]
    fn write(&mut self, stream: &mut Stream, kind: EventKind, since: Option<Since>, killed: Option<bool>, now: u64) {
        let Stream { name, event, ages, asked, .. } = stream;
        let (flow, netns) = (&event.flow, name.as_deref());
        let time = stamp(flow, kind, now);
        let Emitter { lines, options, .. } = self;
        let is_wanted = is_wanted(options, kind);
        let is_end = options.kinds.flows && kind == EventKind::Destroy;
        if !is_wanted && !is_end {
            return;
        }
        let (requester, is_mark_implied) = (asked.by(event.port), event.is_mark_implied);
        if is_end {
            let (start, end, synthetic) = (since, time, None);
            let ended = Ended { flow, start, end, synthetic, killed, requester, netns, is_mark_implied };
            lines.record(&Record::Ended(ended));
        }
        if is_wanted {
            let (subject, synthetic) = (&Subject::of_event(flow, ages, kind), None);
            let record =
                FlowRecord { kind, synthetic, time, subject, since, killed, requester, netns, is_mark_implied };
            lines.record(&Record::Flow(record));
        }
    }

    /// Tells of an entry that a dump has shown.
    pub(super) fn tell_found(&mut self, netns: Option<&str>, subject: &Subject<'_>, why: Synthetic, now: u64) {
        self.tell_synthetic(EventKind::New, netns, subject, None, why, now);
    }

    /// Tells of the end of an entry that no event told of.
    pub(super) fn tell_gone(
        &mut self,
        netns: Option<&str>,
        ages: &mut ctnl::age::IdleEstimator,
        known: &Known,
        why: Synthetic,
        now: u64,
    ) {
        if self.options.kinds.flows {
            let (flow, start, synthetic) = (&known.flow, Some(since(known.start)), Some(why));
            let end = Stamp { ns: now, clock: Clock::Received };
            let ended =
                Ended { flow, start, end, synthetic, killed: None, requester: None, netns, is_mark_implied: false };
            self.lines.record(&Record::Ended(ended));
        }
        ages.now = now;
        self.tell_destroyed(netns, ages, known, why, now);
    }

    fn tell_destroyed(
        &mut self,
        netns: Option<&str>,
        ages: &ctnl::age::IdleEstimator,
        known: &Known,
        why: Synthetic,
        now: u64,
    ) {
        let subject = &Subject::new(&known.flow, ages);
        self.tell_synthetic(EventKind::Destroy, netns, subject, Some(since(known.start)), why, now);
    }

    /// Tells of what no event told of.
    fn tell_synthetic(
        &mut self,
        kind: EventKind,
        netns: Option<&str>,
        subject: &Subject<'_>,
        since: Option<Since>,
        why: Synthetic,
        now: u64,
    ) {
        if is_wanted(&self.options, kind) {
            let (synthetic, time) = (Some(why), Stamp { ns: now, clock: Clock::Received });
            let (killed, requester, is_mark_implied) = (None, None, false);
            let record =
                FlowRecord { kind, synthetic, time, subject, since, killed, requester, netns, is_mark_implied };
            self.lines.record(&Record::Flow(record));
        }
    }

    /// A namespace is called otherwise. The name is part of an entry's key, so what is
    /// known is taken back under the old one and told under the new one.
    pub(super) fn tell_renamed(&mut self, stream: &mut Stream, to: String) {
        let now = self.world.wall_clock();
        let Stream { name, live, ages, .. } = stream;
        ages.now = now;
        if let Some(live) = live {
            live.each(|known| {
                self.make_room(|last| last);
                let subject = Subject::new(&known.flow, ages);
                self.tell_found(Some(&to), &subject, Synthetic::Netns, now);
                // The connection goes on: no record of `--flows`.
                self.tell_destroyed(name.as_deref(), ages, &known, Synthetic::Netns, now);
            });
        }
        *name = Some(to);
    }

    /// A namespace is gone, and with it all of its entries.
    pub(super) fn tell_vanished(&mut self, stream: &mut Stream) {
        let now = self.world.wall_clock();
        let Stream { name, live, ages, .. } = stream;
        if let Some(live) = live {
            live.clear(|known| {
                self.make_room(|last| last);
                self.tell_gone(name.as_deref(), ages, &known, Synthetic::Netns, now);
            });
        }
    }

    /// Waits until another record can be written, unless it is the end.
    pub(super) fn make_room(&mut self, look: impl Fn(Seen) -> Seen) {
        while self.lines.is_full() && !self.lines.flush() {
            if self.ends || self.stop().is_some() {
                self.lines.put();
            } else {
                self.tell_stats(&look);
                self.world.nap(ROOM);
            }
        }
    }

    /// The expression is about entries: expectations are told whatever it says.
    #[cold]
    fn tell_expectation(&mut self, stream: &mut Stream, now: u64) {
        let Stream { name, source, asked, .. } = stream;
        let event = source.message().map(|message| ExpectationEvent::decode(&message));
        let Some(Ok(ExpectationEvent { kind, port, expectation })) = event else {
            self.totals.unreadable += 1;
            stream.unreadable += 1;
            return;
        };
        self.totals.received += 1;
        let time = Stamp { ns: now, clock: Clock::Received };
        let (requester, netns) = (asked.by(port), name.as_deref());
        let record = ExpectationRecord { kind, time, expectation: &expectation, requester, netns };
        self.lines.record(&Record::Expectation(record));
    }

    /// Says that `lost` events are missing here.
    #[cold]
    pub(super) fn lost(&mut self, stream: &mut Stream, lost: u64, now: u64) {
        self.totals.lost += lost;
        self.totals.uncounted += u64::from(lost == 0);
        self.gap(stream, GapCause::Kernel, lost, now);
        self.world.notice(Notification::Lost(lost));
    }

    #[cold]
    fn tell_unreadable(&mut self, stream: &mut Stream, now: u64) {
        let unreadable = std::mem::take(&mut stream.unreadable);
        self.gap(stream, GapCause::Unreadable, unreadable, now);
    }

    fn gap(&mut self, stream: &mut Stream, cause: GapCause, lost: u64, now: u64) {
        let netns = stream.name.as_deref();
        self.lines.record(&Record::Gap(Gap { cause, lost, from: stream.known_until.min(now), to: now, netns }));
        stream.gaps += 1;
        if cause == GapCause::Kernel {
            // What the kernel refused stood behind all that was queued: that has been read.
            stream.known_until = now;
        }
        match self.options.on_gap {
            OnGap::Resync => stream.compare_later(self.world.elapsed()),
            OnGap::Continue => {}
            OnGap::Exit => self.is_over = true,
        }
    }
}

/// Whether records of this kind were asked for.
fn is_wanted(options: &Options, kind: EventKind) -> bool {
    match kind {
        EventKind::New => options.kinds.new,
        EventKind::Update => options.kinds.update,
        EventKind::Destroy => options.kinds.destroy,
    }
}

/// When the entry of a `new` event began.
fn start(event_time: Option<u64>, flow: &Flow, now: u64) -> Start {
    Start::of(flow, Start::Event(event_time.unwrap_or(now)))
}

fn since(start: Start) -> Since {
    match start {
        Start::Kernel(ns) | Start::Event(ns) => Since::Exactly(ns),
        Start::Before(ns) => Since::Before(ns),
    }
}

/// The time of an event: the kernel's where it gives one. An entry that has expired stands
/// in the table until the garbage collector comes by, so its end is when it stopped.
#[inline]
fn stamp(flow: &Flow, kind: EventKind, now: u64) -> Stamp {
    let stop = if kind == EventKind::Destroy { flow.stop } else { None };
    match stop.or(flow.event_time) {
        Some(ns) => Stamp { ns, clock: Clock::Kernel },
        None => Stamp { ns: now, clock: Clock::Received },
    }
}
