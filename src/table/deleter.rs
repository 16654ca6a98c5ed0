//! Delete entries on a thread of their own, while the table is still being walked.
//!
//! The walk pushes targets; a thread with a connection of its own deletes them. So an entry is
//! deleted within some milliseconds of being judged, the whole takes no longer than the dump, and
//! memory does not grow with the table. What was judged too long ago is judged again: see
//! [`recheck`](super::recheck). Handing over after each datagram instead of four took 7 % more
//! time where one entry in a hundred is deleted.

use std::io;
use std::ops::ControlFlow;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::{Builder, JoinHandle};

use super::action::Action;
use super::batch::BATCH;
use super::recheck::{Deletions, Judgement, MAX_AGE, MAX_AGE_WITHOUT_QUEUE, Recheck, RecheckedDeletes};
use super::target::Target;
use crate::clock::Clock;
use crate::netlink::{Connection, Error};

/// Batches that may wait for the deleting thread. Where that one is slower, the walk waits: with a
/// longer queue, targets would only be older when they are deleted.
const QUEUE: usize = 4;
/// Datagrams of the dump, some 0.2 ms each, after which targets are handed over although they are
/// not a full batch. Waking the thread after each datagram for one or two targets cost a flush of
/// one entry in a hundred more than the deletes did.
const DATAGRAMS_PER_BATCH: usize = 4;
/// Capacity for a batch and for the datagram that fills it. Growing each batch from an empty one left
/// holes in the heaps of the threads, a tenth of a MiB.
const BATCH_CAPACITY: usize = 2 * BATCH;

/// The usual 2 MiB of stack may become one huge page: 2 MiB more of memory.
const STACK: usize = 256 * 1024;

/// A thread that deletes the targets pushed to it.
///
/// A deleter that is dropped without [`Deleter::finish`] deletes what has been handed over, and
/// drops the rest.
#[derive(Debug)]
pub struct Deleter {
    sender: SyncSender<Judged>,
    thread: JoinHandle<(Deletions, Result<(), Error>)>,
    batch: Judged,
    /// Since the last hand-over.
    datagrams: usize,
    pushed: u64,
}

/// Targets, and what the oldest of them was judged by.
#[derive(Debug)]
struct Judged {
    targets: Vec<Target>,
    judgement: Option<Judgement>,
}

impl Judged {
    fn new() -> Self {
        Judged { targets: Vec::with_capacity(BATCH_CAPACITY), judgement: None }
    }

    #[inline]
    fn add_judgement(&mut self, judgement: Judgement) {
        self.judgement = Some(self.judgement.map_or(judgement, |joined| joined.join(judgement)));
    }
}

impl Deleter {
    /// Starts the thread. Its connection has to be to the namespace of the dump: see
    /// [`Connection::reopen`]. `clock` has to be that of the dump; `recheck` judges the targets again that
    /// were judged too long ago.
    ///
    /// # Errors
    /// The system has no thread left (`EAGAIN`).
    pub fn start(
        connection: Connection,
        action: Action,
        clock: &Clock,
        recheck: impl Recheck + 'static,
    ) -> io::Result<Self> {
        let (sender, receiver) = sync_channel(QUEUE);
        let deletes = RecheckedDeletes::new(connection, action, clock.clone(), recheck);
        let work = move || run(deletes, &receiver);
        let thread = Builder::new().name("delete".to_owned()).stack_size(STACK).spawn(work)?;
        Ok(Deleter { sender, thread, batch: Judged::new(), datagrams: 0, pushed: 0 })
    }

    /// Adds a target, which was judged by `judgement`, to the batch.
    #[inline]
    pub fn push(&mut self, target: Target, judgement: Judgement) {
        self.batch.targets.push(target);
        self.batch.add_judgement(judgement);
        self.pushed += 1;
    }

    /// Marks the end of a datagram of the dump: after four, or with a full batch, the targets are
    /// handed over. Waits while the queue is full. Breaks when the thread has failed, so that
    /// nothing more would be deleted; [`Deleter::finish`] returns why.
    pub fn end_datagram(&mut self) -> ControlFlow<()> {
        if self.hands_over_next() {
            return self.hand_over();
        }
        self.datagrams += 1;
        ControlFlow::Continue(())
    }

    /// Whether the next [`Deleter::end_datagram`] hands the targets over: what has to be done before they are
    /// deleted has to be done now.
    #[must_use]
    pub fn hands_over_next(&self) -> bool {
        self.batch.targets.len() >= BATCH || self.datagrams + 1 >= DATAGRAMS_PER_BATCH
    }

    /// Drops the targets that have not been handed over. They are counted as not sent.
    pub fn drop_batch(&mut self) {
        self.batch = Judged::new();
    }

    /// Number of targets pushed.
    #[must_use]
    pub fn pushed(&self) -> u64 {
        self.pushed
    }

    /// Deletes the rest and ends the thread. Each target that was pushed is counted once in the
    /// [`Deletions`], also after an error.
    ///
    /// # Errors
    /// Why the thread failed: a socket call, or an answer that cannot be decoded. What the kernel
    /// refuses to delete is counted and no error.
    pub fn finish(mut self) -> (Deletions, Result<(), Error>) {
        let _ = self.hand_over();
        drop(self.sender);
        let (mut deletions, ended) = self.thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
        deletions.outcome.unsent = self.pushed.saturating_sub(deletions.accounted());
        (deletions, ended)
    }

    fn hand_over(&mut self) -> ControlFlow<()> {
        self.datagrams = 0;
        if self.batch.targets.is_empty() {
            return ControlFlow::Continue(());
        }
        let batch = std::mem::replace(&mut self.batch, Judged::new());
        // The channel is closed once the thread has failed.
        if self.sender.send(batch).is_err() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    }
}

/// Deletes what is received, with the batches that wait joined.
fn run<R: Recheck>(mut deletes: RecheckedDeletes<R>, receiver: &Receiver<Judged>) -> (Deletions, Result<(), Error>) {
    let mut waiting: Option<Judged> = None;
    while let Some(mut batch) = waiting.take().or_else(|| receiver.recv().ok()) {
        waiting = receiver.try_recv().ok();
        while batch.targets.len() < BATCH
            && let Some(more) = waiting.take()
        {
            batch.targets.extend(more.targets);
            more.judgement.into_iter().for_each(|judgement| batch.add_judgement(judgement));
            waiting = receiver.try_recv().ok();
        }
        // Few targets that wait are all in this batch.
        let max_age = if waiting.is_some() { MAX_AGE } else { MAX_AGE_WITHOUT_QUEUE };
        let deleted = deletes.delete(&batch.targets, batch.judgement.unwrap_or_default(), max_age);
        if deleted.is_err() {
            return (deletes.done, deleted);
        }
    }
    (deletes.done, Ok(()))
}
