//! Delete what matches, while the table is still being walked.
//!
//! One thread dumps and decides; a second one, with a connection of its own,
//! deletes what the first hands over after every few datagrams. So an entry is
//! deleted within about a millisecond of being judged, the whole takes no longer
//! than the dump, and memory does not grow with the table.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread;

use super::batch::{BATCH, Outcome};
use super::delete::delete;
use super::dump::{Dump, DumpRequest, DumpTotals};
use super::target::Target;
use super::update::lower_timeout;
use crate::model::Flow;
use crate::netlink::{Connection, Error};

/// Batches of targets that may wait for the deleting thread. Where that one is slower, the dump
/// waits: a longer queue only makes what was judged older.
const QUEUE: usize = 4;
/// Datagrams of the dump, some 0.2 ms each, after which targets are handed over although they are
/// no full batch. After each one of them, waking the thread for a target or two cost a flush of
/// one entry in a hundred more than the deletes did.
const HOLD: usize = 4;
/// Room for a batch and for the datagram that makes it full. To let each one grow from nothing left
/// holes in the heaps of the threads, a tenth of a MiB of them.
const ROOM: usize = 2 * BATCH;

/// What to do with an entry that matches.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    /// Delete it.
    Delete,
    /// Leave it this many seconds: a flow in use recovers with its next packet.
    LowerTimeout(u32),
}

/// Gives the target that an entry is, if it is to go.
pub type Choose<'a> = dyn FnMut(&Flow) -> Option<Target> + Send + 'a;

/// How far a flush has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Progress {
    /// What the dump has seen.
    pub dump: DumpTotals,
    /// Entries that were chosen: handed to the deleting thread, or about to be.
    pub handed_over: u64,
}

/// A flush, as far as it came: also after an error.
#[derive(Debug, Default)]
pub struct Flush {
    /// What the dump has seen.
    pub dump: DumpTotals,
    /// What became of the entries that were chosen.
    pub outcome: Outcome,
    /// Entries that were chosen and never sent, since the deleting thread had
    /// failed before their rotate: nothing happened to them.
    pub unsent: u64,
    /// Why it ended early.
    pub error: Option<Error>,
}

impl Flush {
    /// Walks the table over `dumper` and carries out `action` over `actor`, on
    /// each target that `choose` gives for an entry. After every datagram
    /// `go_on` may end the walk.
    #[must_use]
    pub fn run(
        dumper: &mut Connection,
        actor: &mut Connection,
        request: DumpRequest,
        action: Action,
        mut choose: impl FnMut(&Flow) -> Option<Target>,
        mut go_on: impl FnMut(Progress) -> bool,
    ) -> Self {
        let (sender, receiver) = sync_channel(QUEUE);
        thread::scope(|scope| {
            let acting = scope.spawn(move || act(actor, action, &receiver));
            let mut progress = Progress::default();
            let walked = walk(dumper, request, &mut progress, &mut choose, &mut go_on, &sender);
            drop(sender);
            let (outcome, acted) = acting.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
            Flush::ended([progress, Progress::default()], outcome, acted.err().or(walked.err()))
        })
    }

    fn ended([one, other]: [Progress; 2], outcome: Outcome, error: Option<Error>) -> Self {
        let dump = DumpTotals {
            entries: one.dump.entries + other.dump.entries,
            repeated: one.dump.repeated + other.dump.repeated,
        };
        let unsent = (one.handed_over + other.handed_over).saturating_sub(outcome.requests());
        Flush { dump, outcome, unsent, error }
    }
}

impl Flush {
    /// As [`Flush::run`], with the table dumped in two halves at once (see
    /// [`DumpRequest::halves`]): for filters that no entry matches whose half
    /// changes meanwhile, such as those by idle time. `go_on` is asked in the
    /// walk of the first half, and ends both; `go_on_there` in that of the second,
    /// which may last longer.
    #[must_use]
    pub fn run_halves(
        dumpers: [&mut Connection; 2],
        actor: &mut Connection,
        requests: [DumpRequest; 2],
        action: Action,
        choose: [&mut Choose<'_>; 2],
        mut go_on: impl FnMut(Progress) -> bool,
        go_on_there: impl Fn() -> bool + Send,
    ) -> Self {
        let (sender, receiver) = sync_channel(QUEUE);
        let ended = AtomicBool::new(false);
        let ([one, other], [first, second], [mine, yours]) = (dumpers, requests, choose);
        thread::scope(|scope| {
            let acting = scope.spawn(move || act(actor, action, &receiver));
            let (ended, their_sender) = (&ended, sender.clone());
            let their_walk = scope.spawn(move || {
                let mut there = Progress::default();
                let go_on = &mut |_| !ended.load(Ordering::Relaxed) && go_on_there();
                let walked = walk(other, second, &mut there, yours, go_on, &their_sender);
                (there, walked)
            });
            let mut here = Progress::default();
            let walked = walk(one, first, &mut here, mine, &mut go_on, &sender);
            // At its end the first half lets the second go on; at a signal or an error it does not.
            ended.store(!matches!(walked, Ok(Ended::AtTheEnd)), Ordering::Relaxed);
            let (there, theirs) = their_walk.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
            drop(sender);
            let (outcome, acted) = acting.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
            Flush::ended([here, there], outcome, acted.err().or(walked.err()).or(theirs.err()))
        })
    }
}

/// Why a walk ended without an error.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Ended {
    AtTheEnd,
    Early,
}

fn walk(
    dumper: &mut Connection,
    request: DumpRequest,
    progress: &mut Progress,
    choose: &mut dyn FnMut(&Flow) -> Option<Target>,
    go_on: &mut dyn FnMut(Progress) -> bool,
    sender: &SyncSender<Vec<Target>>,
) -> Result<Ended, Error> {
    let mut dump = Dump::start(dumper, request)?;
    let (mut targets, mut held) = (Vec::with_capacity(ROOM), 0);
    loop {
        let before = targets.len();
        let more = dump.next_datagram(|flow| targets.extend(choose(flow)));
        progress.dump = dump.totals();
        progress.handed_over += (targets.len() - before) as u64;
        held += 1;
        let goes_on = matches!(more, Ok(true)) && go_on(*progress);
        if targets.len() >= BATCH || held == HOLD || !goes_on {
            held = 0;
            // A closed channel: the deleting thread has failed, and says why.
            if !targets.is_empty() && sender.send(std::mem::replace(&mut targets, Vec::with_capacity(ROOM))).is_err() {
                return Ok(Ended::Early);
            }
        }
        match more? {
            false => return Ok(Ended::AtTheEnd),
            true if !goes_on => return Ok(Ended::Early),
            true => {}
        }
    }
}

/// Carries out what comes in, in batches of what is waiting.
fn act(actor: &mut Connection, action: Action, receiver: &Receiver<Vec<Target>>) -> (Outcome, Result<(), Error>) {
    let mut outcome = Outcome::default();
    while let Ok(mut targets) = receiver.recv() {
        while targets.len() < BATCH
            && let Ok(more) = receiver.try_recv()
        {
            targets.extend(more);
        }
        let acted = match action {
            Action::Delete => delete(actor, &targets, &mut outcome),
            Action::LowerTimeout(seconds) => lower_timeout(actor, &targets, seconds, &mut outcome),
        };
        if acted.is_err() {
            return (outcome, acted);
        }
    }
    (outcome, Ok(()))
}
