//! Delete targets only while what they were judged by is recent.
//!
//! The kernel has no conditional delete: a packet that arrives after an entry was read and before it is
//! deleted is not noticed. So a target is sent only within [`MAX_AGE`] of the time at which the kernel
//! read its entry ([`MAX_AGE_WITHOUT_QUEUE`] where no others wait), and only if the settings (timeouts,
//! policies) were read again after that and were the same. Any other target is fetched again, judged
//! again, and sent in a small batch.

use std::num::NonZeroI32;

use super::action::Action;
use super::batch::{BATCH, Outcome, Requests};
use super::get::{Found, get_each};
use super::patch::Patch;
use super::sampled_at::{DatagramTime, SampledAt};
use super::target::Target;
use super::update::Progress;
use super::{delete, update};
use crate::clock::Clock;
use crate::model::Flow;
use crate::netlink::{Connection, Error};
use crate::units::Nanos;

/// How old the sample that a target was judged by may be when the target is sent. A flush of everything
/// needs 2 to 8 ms (a datagram is filled ahead, four are handed over together, four batches may wait); a
/// process that was stopped or throttled exceeds it. With 10 ms, a guest whose processor is emulated
/// fetched every entry again, 1.4 ms each, and left some.
pub const MAX_AGE: Nanos = Nanos(50_000_000);

/// How old it may be while no targets wait: the deleting thread then has time to fetch an entry again,
/// which makes the window shorter and takes the dump no longer. A dump's datagram is seldom as young.
pub const MAX_AGE_WITHOUT_QUEUE: Nanos = Nanos(300_000);

/// How old it may be the first time that a target was fetched again. A thread that is preempted once is not
/// the next time.
const MAX_AGE_FETCHED: Nanos = Nanos(5_000_000);

/// Targets that are fetched, judged and sent together. Few, so that little time passes between an entry's
/// sample and its delete. The longest such time in a flush of few entries was 0.1 to 0.6 ms.
const RECHECK_BATCH: usize = 16;
/// The same where there are many targets. With 16, a flush of half of the table on one processor took
/// 2.8 times as long as the dump instead of 2.0.
const LARGE_RECHECK_BATCH: usize = 64;

/// How often a single target is fetched again that always is too old before it can be sent.
const ATTEMPTS: usize = 8;

/// What a target was judged by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Judgement {
    /// When the kernel read the entry.
    pub sampled: SampledAt,
    /// The version of the settings: see [`Recheck::settings`].
    pub settings: u64,
}

impl Judgement {
    /// The judgement of several targets: as old as that of the oldest.
    pub(super) fn join(self, other: Judgement) -> Judgement {
        let (one, two) = (self.sampled, other.sampled);
        Judgement {
            sampled: SampledAt { earliest: one.earliest.min(two.earliest), latest: one.latest.max(two.latest) },
            settings: self.settings.min(other.settings),
        }
    }
}

/// Judges targets again on the deleting thread.
pub trait Recheck: Send {
    /// The version of the settings by which entries are judged, which grows when they change. They are
    /// read again unless the last reading began at `after` (of `CLOCK_MONOTONIC`) or later.
    ///
    /// # Errors
    /// They cannot be read.
    fn settings(&mut self, after: Nanos) -> Result<u64, Error>;

    /// Whether `flow`, as it is now, is still to be deleted.
    fn is_still_chosen(&mut self, flow: &Flow, time: &DatagramTime) -> bool;
}

/// The results of a [`Deleter`](super::Deleter).
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Deletions {
    /// The results of the requests. Targets that were not sent because they were too old each time are
    /// `unsent`.
    pub outcome: Outcome,
    /// Targets that were fetched and judged again, whatever became of them.
    pub rechecked: u64,
    /// Targets that were no longer to be deleted when they were judged again.
    pub no_longer_matching: u64,
    /// The longest time from the sample that a target was judged by to the return of its send.
    pub window: Nanos,
}

impl Deletions {
    /// Targets of which it is known what became of them.
    pub(super) fn accounted(&self) -> u64 {
        self.outcome.sent() + self.no_longer_matching
    }
}

/// What the deleting thread works with.
#[derive(Debug)]
pub(super) struct RecheckedDeletes<R> {
    connection: Connection,
    /// The steps of the patch; none where targets are deleted.
    steps: Option<Vec<Patch>>,
    clock: Clock,
    recheck: R,
    requests: Requests,
    pub(super) done: Deletions,
}

impl<R: Recheck> RecheckedDeletes<R> {
    pub(super) fn new(connection: Connection, action: Action, clock: Clock, recheck: R) -> Self {
        let (operation, steps) = match action {
            Action::Delete => (delete::OPERATION, None),
            Action::Update(patch) => (update::OPERATION, Some(patch.steps())),
        };
        let (requests, done) = (Requests::new(operation), Deletions::default());
        RecheckedDeletes { connection, steps, clock, recheck, requests, done }
    }

    /// Deletes `targets`, which were judged by `judgement` or by something more recent. Those whose sample
    /// is older than `max_age` are judged again.
    pub(super) fn delete(&mut self, targets: &[Target], judgement: Judgement, max_age: Nanos) -> Result<(), Error> {
        let batch = if targets.len() < BATCH { RECHECK_BATCH } else { LARGE_RECHECK_BATCH };
        for part in targets.chunks(BATCH) {
            let is_current = self.recheck.settings(judgement.sampled.latest)? == judgement.settings;
            if is_current && self.send_if_recent(part, judgement.sampled.earliest, max_age)? {
                continue;
            }
            self.done.rechecked += part.len() as u64;
            for few in part.chunks(batch) {
                self.judge_and_send(few, ATTEMPTS)?;
            }
        }
        Ok(())
    }

    /// Sends requests for `targets` unless their sample is older than `max_age` by now. The requests are written before
    /// the clock is read.
    fn send_if_recent(&mut self, targets: &[Target], earliest: Nanos, max_age: Nanos) -> Result<bool, Error> {
        let Some(steps) = &self.steps else { return self.delete_if_recent(targets, earliest, max_age) };
        let step_of = |_: usize, step: usize| steps.get(step).copied();
        let mut progress = Progress::new(targets);
        progress.fill(&mut self.requests, &mut self.connection, step_of);
        if self.clock.now().monotonic.since(earliest) > max_age {
            return Ok(false);
        }
        self.requests.send(&mut self.connection)?;
        self.done.window = self.done.window.max(self.clock.now().monotonic.since(earliest));
        let (requests, outcome) = (&mut self.requests, &mut self.done.outcome);
        let finished = progress.finish(requests, &mut self.connection, step_of, outcome);
        if steps.len() > 1 {
            self.done.window = self.done.window.max(self.clock.now().monotonic.since(earliest));
        }
        finished.map(|()| true)
    }

    fn delete_if_recent(&mut self, targets: &[Target], earliest: Nanos, max_age: Nanos) -> Result<bool, Error> {
        self.requests.fill(&mut self.connection, targets, delete::write);
        if self.clock.now().monotonic.since(earliest) > max_age {
            return Ok(false);
        }
        self.requests.send(&mut self.connection)?;
        self.done.window = self.done.window.max(self.clock.now().monotonic.since(earliest));
        self.requests.count_answers(&mut self.connection, &mut self.done.outcome)?;
        Ok(true)
    }

    /// Fetches `targets`, judges them again and sends those that are still to be deleted. Where that took
    /// too long it is repeated, at last with half of them at a time; a single target is not sent after some
    /// attempts.
    fn judge_and_send(&mut self, targets: &[Target], attempts: usize) -> Result<(), Error> {
        let (left, earliest) = self.judge_again(targets)?;
        let is_first = attempts == ATTEMPTS;
        let max_age = if is_first { MAX_AGE_FETCHED } else { MAX_AGE };
        if left.is_empty() || self.send_if_recent(&left, earliest, max_age)? {
            return Ok(());
        }
        match left.split_at(left.len().div_ceil(2)) {
            _ if is_first => self.judge_and_send(&left, attempts - 1),
            (one, []) if attempts > 1 => self.judge_and_send(one, attempts - 1),
            (_, []) => Ok(()),
            (first, second) => {
                self.judge_and_send(first, attempts)?;
                self.judge_and_send(second, attempts)
            }
        }
    }

    /// Those of `targets` that are still to be deleted, and the time before which they were not sampled.
    fn judge_again(&mut self, targets: &[Target]) -> Result<(Vec<Target>, Nanos), Error> {
        let before = self.clock.now();
        let found = get_each(&mut self.connection, targets)?;
        let sampled = SampledAt { earliest: before.monotonic, latest: self.clock.now().monotonic };
        let time = DatagramTime { sampled, realtime: before.realtime };
        self.recheck.settings(sampled.latest)?;
        let mut left = Vec::with_capacity(targets.len());
        for (target, found) in targets.iter().zip(found) {
            left.extend(self.still_chosen(target, found, &time));
        }
        Ok((left, sampled.earliest))
    }

    /// The target as of now, if it is still to be deleted.
    fn still_chosen(&mut self, target: &Target, found: Found, time: &DatagramTime) -> Option<Target> {
        let flow = match found.map_err(NonZeroI32::get) {
            Ok(flow) => flow,
            Err(errno) => {
                self.done.outcome.add_refused(errno);
                return None;
            }
        };
        let Some(now) = Target::of(&flow).ok().filter(|now| target.is(now)) else {
            // Another entry has its tuple.
            self.done.outcome.gone += 1;
            return None;
        };
        if self.recheck.is_still_chosen(&flow, time) {
            return Some(now);
        }
        self.done.no_longer_matching += 1;
        None
    }
}
