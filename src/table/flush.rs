//! Delete what matches, while the table is still being walked.
//!
//! One thread dumps and decides; a second one, with a connection of its own,
//! deletes what the first hands over after every datagram. So an entry is
//! deleted within about a millisecond of being judged, the whole takes no longer
//! than the dump, and memory does not grow with the table.

use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread;

use super::batch::{BATCH, Outcome};
use super::delete::delete;
use super::dump::{Dump, DumpRequest, DumpTotals};
use super::target::Target;
use super::update::lower_timeout;
use crate::model::Flow;
use crate::netlink::{Connection, Error};

/// Datagrams' worth of targets that may wait for the deleting thread.
const QUEUE: usize = 16;

/// What to do with an entry that matches.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    /// Delete it.
    Delete,
    /// Leave it this many seconds: a flow in use recovers with its next packet.
    LowerTimeout(u32),
}

/// How far a flush has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Progress {
    /// What the dump has seen.
    pub dump: DumpTotals,
    /// Entries handed to the deleting thread.
    pub handed_over: u64,
}

/// A flush, as far as it came: also after an error.
#[derive(Debug, Default)]
pub struct Flush {
    /// What the dump has seen.
    pub dump: DumpTotals,
    /// What became of the entries that were chosen.
    pub outcome: Outcome,
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
            let mut flush = Flush::default();
            let walked = walk(dumper, request, &mut flush.dump, &mut choose, &mut go_on, &sender);
            drop(sender);
            let (outcome, acted) = acting.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
            flush.outcome = outcome;
            flush.error = acted.err().or(walked.err());
            flush
        })
    }
}

fn walk(
    dumper: &mut Connection,
    request: DumpRequest,
    totals: &mut DumpTotals,
    choose: &mut dyn FnMut(&Flow) -> Option<Target>,
    go_on: &mut dyn FnMut(Progress) -> bool,
    sender: &SyncSender<Vec<Target>>,
) -> Result<(), Error> {
    let mut dump = Dump::start(dumper, request)?;
    let mut handed_over = 0;
    loop {
        let mut targets = Vec::new();
        let more = dump.next_chunk(|flow| targets.extend(choose(flow)));
        *totals = dump.totals();
        handed_over += targets.len() as u64;
        // A closed channel: the deleting thread has failed, and says why.
        if !targets.is_empty() && sender.send(targets).is_err() {
            return Ok(());
        }
        if !more? || !go_on(Progress { dump: *totals, handed_over }) {
            return Ok(());
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
