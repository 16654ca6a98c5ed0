//! The loop: the order of the namespaces, when to sleep and when to wait, timers, the end.
//!
//! Under load the queues are emptied and then the thread sleeps for a millisecond: waking it for
//! each event would be half of an event's cost (ARCHITECTURE.md). After a turn without events
//! it waits for the sockets. A turn reads only those that have something ([`super::streams`]).

use std::collections::BTreeMap;
use std::time::Duration;

use ctnl::filter::Filter;
use ctnl::netlink::Error;

use super::emitter::{CAPACITY_POLL, Emitter, MAX_EVENTS_PER_TURN};
use super::environment::{Environment, NamespaceChange, Notification};
use super::heartbeat::Heartbeat;
use super::lines::Lines;
use super::namespace::NamespaceStream;
use super::options::{FollowOptions, Reconcile};
use super::pass::{catch_up, pass};
use super::polls::POLL_INTERVAL;
use super::sample::{ReportedStats, StreamSample};
use super::streams::Streams;
use super::totals::Totals;
use super::turn::{Turn, turn};
use crate::host::timeout_refresh::longest_due;

/// The default queue of 13 107 events takes 40 ms to fill at the highest rate that was measured.
const SLEEP: Duration = Duration::from_millis(1);
/// Namespaces whose timeouts are read at once: one takes 0.3 ms, and a thread that enters the namespace.
const MAX_REFRESHES: usize = 8;
/// The longest wait. A signal interrupts it, unless it arrives just before poll(2).
const MAX_WAIT: Duration = Duration::from_millis(200);

/// The reason of an end: the only namespace has been deleted.
pub const DELETED: &str = "deleted";

/// The end of a stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StreamEnd {
    /// The reason: the name of a signal, `closed`, `gap` or [`DELETED`].
    pub reason: &'static str,
    /// The sums.
    pub totals: Totals,
    /// Records written.
    pub records: u64,
}

struct Engine<'a> {
    emitter: Emitter<'a>,
    streams: Streams,
    /// There is one namespace only, and no other will appear.
    is_single: bool,
    changes_at: Duration,
    sysctls_at: Duration,
    timeouts_at: Duration,
    /// When the expectations are compared next; `None` where they are not.
    expectations_at: Option<Duration>,
}

/// Follows `streams` until the environment requests the end.
///
/// # Errors
/// A socket fails, or the first dump fails. The `close` record is written in any case.
pub fn follow<'a>(
    options: FollowOptions,
    filter: Filter,
    streams: Vec<NamespaceStream>,
    lines: Lines<'a>,
    env: &'a mut dyn Environment,
) -> Result<StreamEnd, Error> {
    let at = env.monotonic();
    let is_single = streams.iter().all(|stream| stream.name.is_none());
    let streams = streams_of(streams)?;
    let (totals, reported) = (Totals::default(), ReportedStats::none(at));
    let heartbeat = Heartbeat::new(options.heartbeat, at);
    let (is_ending, is_over) = (false, false);
    let emitter = Emitter { options, filter, lines, totals, reported, heartbeat, env, is_ending, is_over };
    let expectations_at = emitter.options.kinds.expectations.then_some(at);
    let (changes_at, sysctls_at, timeouts_at) = (at, at + POLL_INTERVAL, at + POLL_INTERVAL);
    let mut engine = Engine { emitter, streams, is_single, changes_at, sysctls_at, timeouts_at, expectations_at };
    engine.begin();
    let ended = engine.run().and_then(|reason| engine.finish().map(|()| reason));
    engine.emitter.emit_close(ended.as_ref().copied().unwrap_or("error"));
    let Emitter { totals, lines, .. } = engine.emitter;
    ended.map(|reason| StreamEnd { reason, totals, records: lines.count() })
}

fn streams_of(of: Vec<NamespaceStream>) -> Result<Streams, Error> {
    let mut streams = Streams::new()?;
    of.into_iter().try_for_each(|stream| streams.add(Box::new(stream)))?;
    Ok(streams)
}

impl Engine<'_> {
    fn begin(&mut self) {
        let Emitter { options, env, .. } = &mut self.emitter;
        let now = env.now();
        self.streams.iter_mut().for_each(|stream| stream.begin(options, now));
        self.emitter.emit_open();
        self.check_sysctls();
        // Before the seed: a full disk can delay its end for hours.
        self.emitter.env.notify(Notification::Ready);
    }

    /// Runs until there is a reason to end.
    fn run(&mut self) -> Result<&'static str, Error> {
        loop {
            if let Some(reason) = self.emitter.stop() {
                return Ok(reason);
            }
            let now = self.emitter.env.monotonic();
            self.apply_changes(now)?;
            if self.is_single && self.streams.iter().next().is_none() {
                return Ok(DELETED);
            }
            self.check_event_sysctls(now);
            self.refresh_timeouts(now);
            self.emitter.emit_stats(|_| StreamSample::of(self.streams.iter()));
            let turned = turn(&mut self.emitter, &mut self.streams)?;
            if !matches!(turned, Turn::Blocked) && self.pass_if_due(now)? {
                continue;
            }
            if matches!(turned, Turn::Drained(_)) {
                self.compare_expectations(now);
            }
            match turned {
                // Where few events match, a chunk takes long to fill.
                Turn::More => drop(self.emitter.lines.flush_old(now)),
                Turn::Blocked => self.emitter.env.sleep(CAPACITY_POLL),
                Turn::Drained(0) if self.emitter.lines.flush() => self.wait(now),
                Turn::Drained(0) => self.emitter.env.sleep(CAPACITY_POLL),
                Turn::Drained(_) => {
                    self.emitter.lines.flush_old(now);
                    self.emitter.env.sleep(SLEEP);
                }
            }
        }
    }

    /// Runs the pass of one namespace, if one is due. Whether it was.
    fn pass_if_due(&mut self, now: Duration) -> Result<bool, Error> {
        let due = self.streams.take(|stream| stream.next_pass().is_some_and(|(at, _)| at <= now));
        let Some((place, mut stream)) = due else { return Ok(false) };
        let why = stream.next_pass().map(|(_, why)| why);
        let passed = why.map_or(Ok(()), |why| pass(&mut self.emitter, &mut stream, &mut self.streams, why));
        self.streams.put_back(place, stream);
        passed.map(|()| true)
    }

    fn wait(&mut self, now: Duration) {
        let next_pass = self.streams.iter().filter_map(NamespaceStream::next_pass).map(|(at, _)| at).min();
        let next = next_pass.into_iter().chain(self.emitter.next_stats()).map(|at| at.saturating_sub(now)).min();
        let longest = self.emitter.env.longest_wait().unwrap_or(MAX_WAIT).min(MAX_WAIT);
        self.emitter.env.wait(&mut self.streams, next.unwrap_or(longest).min(longest));
    }

    fn apply_changes(&mut self, now: Duration) -> Result<(), Error> {
        if now < self.changes_at {
            return Ok(());
        }
        self.changes_at = now + MAX_WAIT;
        for change in self.emitter.env.changes() {
            match change {
                NamespaceChange::Appeared(stream) => self.add(stream),
                NamespaceChange::Renamed(names) => self.rename(names),
                NamespaceChange::Vanished(inode) => self.remove(|stream| stream.has_inode(inode))?,
            }
        }
        self.remove(|stream| stream.is_broken)
    }

    /// Begins to follow a namespace.
    fn add(&mut self, mut stream: Box<NamespaceStream>) {
        let now = self.emitter.env.now();
        stream.begin(&self.emitter.options, now);
        self.emitter.check_event_sysctl(&mut stream);
        let name = stream.name.clone();
        if let Err(error) = self.streams.add(stream) {
            let netns = name.as_deref().unwrap_or_default();
            self.emitter.env.notify(Notification::Failed { netns, error: &error });
        }
    }

    fn rename(&mut self, names: Vec<(u64, String)>) {
        let mut names: BTreeMap<u64, String> = names.into_iter().collect();
        let renamed = self.streams.iter_mut().filter_map(|stream| Some((names.remove(&stream.inode)?, stream)));
        self.emitter.emit_renamed(renamed.map(|(name, stream)| (stream, name)).collect());
    }

    fn compare_expectations(&mut self, now: Duration) {
        if self.expectations_at.is_some_and(|at| at <= now) {
            self.streams.iter_mut().for_each(|stream| self.emitter.compare_expectations(stream));
            self.expectations_at = (self.emitter.options.reconcile != Reconcile::Off).then_some(now + POLL_INTERVAL);
        }
    }

    fn check_event_sysctls(&mut self, now: Duration) {
        if now >= self.sysctls_at {
            self.sysctls_at = now + POLL_INTERVAL;
            self.check_sysctls();
        }
    }

    /// Reads the timeouts of a few namespaces again.
    fn refresh_timeouts(&mut self, now: Duration) {
        if now < self.timeouts_at {
            return;
        }
        self.timeouts_at = now + MAX_WAIT;
        for _ in 0..MAX_REFRESHES {
            let due_at = self.streams.iter().map(|stream| stream.timeouts_due_at().unwrap_or(Duration::MAX));
            let Some(index) = longest_due(due_at, now) else { return };
            self.streams.iter_mut().nth(index).into_iter().for_each(|stream| stream.refresh_timeouts(now));
        }
    }

    fn check_sysctls(&mut self) {
        self.streams.iter_mut().for_each(|stream| self.emitter.check_event_sysctl(stream));
        self.emitter.heartbeat.sample_sysctls(self.streams.iter());
    }

    /// Ends the streams of some namespaces: writes what is queued, and then a `destroy` record for
    /// each of their entries.
    fn remove(&mut self, which: impl Fn(&NamespaceStream) -> bool) -> Result<(), Error> {
        while let Some((place, mut stream)) = self.streams.take(&which) {
            // If this fails, reading fails too and reports it.
            let _ = stream.source.unsubscribe();
            if !catch_up(&mut self.emitter, &mut stream, &mut self.streams)? {
                // The whole stream ends; `finish` reads the rest.
                self.streams.put_back(place, stream);
                return Ok(());
            }
            self.emitter.emit_vanished(&mut stream);
            self.streams.remove(place);
        }
        Ok(())
    }

    /// Writes what was sent until now, and the losses of it. A namespace whose socket fails does
    /// not keep the others from that.
    fn finish(&mut self) -> Result<(), Error> {
        self.emitter.is_ending = true;
        self.emitter.env.notify(Notification::Ending);
        // A namespace that appeared last has a queue, too.
        for change in self.emitter.env.changes() {
            if let NamespaceChange::Appeared(stream) = change {
                self.add(stream);
            }
        }
        // All of them first, so that every queue has an end.
        let sound = self.streams.all_at_the_end().filter(|stream| !stream.is_broken);
        let mut ended = Ok(());
        for stream in sound {
            if keep_error(&mut ended, stream.source.unsubscribe()) {
                // Events keep arriving, so the queue has no end: one turn.
                keep_error(&mut ended, self.emitter.drain(stream, MAX_EVENTS_PER_TURN).map(drop));
                stream.is_broken = true;
            }
        }
        for stream in self.streams.iter_mut() {
            keep_error(&mut ended, self.emitter.drain_all(stream));
        }
        ended
    }
}

/// Stores the first error. Whether `result` is one.
fn keep_error(first: &mut Result<(), Error>, result: Result<(), Error>) -> bool {
    let failed = result.is_err();
    if first.is_ok() {
        *first = result;
    }
    failed
}
