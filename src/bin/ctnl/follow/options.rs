//! What a stream shall be like, and what it needs of the world.

use std::os::fd::BorrowedFd;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use ctnl::netlink::Error;
use ctnl::output::Resynced;
use ctnl::table::Buffer;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use super::stream::Stream;
use super::totals::Snapshot;

/// Which events are told.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Kinds {
    /// Entries that come.
    pub new: bool,
    /// Entries that change.
    pub update: bool,
    /// Entries that go.
    pub destroy: bool,
    /// Expectations.
    pub expectations: bool,
    /// Connections that are over: one record for each (`--flows`).
    pub flows: bool,
}

/// What to do after events were lost.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OnGap {
    /// Compare the table with what the consumer knows, and tell the difference.
    Resync,
    /// Go on.
    Continue,
    /// End.
    Exit,
}

/// What a stream shall be like.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Options {
    /// What is told.
    pub kinds: Kinds,
    /// Whether entries that are there at the start are told.
    pub seed: bool,
    /// After a loss.
    pub on_gap: OnGap,
    /// Time between two dumps that find what came or went without an event.
    pub reconcile: Option<Duration>,
    /// Bytes up to which the socket's queue may be made larger.
    pub buffer_max: usize,
    /// Whether the kernel delivers again what found no room (`--reliable`).
    pub reliable: bool,
    /// Time between two snapshots.
    pub stats_interval: Option<Duration>,
    /// The name of the stream.
    pub stream: Arc<str>,
    /// The version of the program.
    pub version: &'static str,
}

impl Options {
    /// Whether the entries that the consumer knows are kept. Without them memory is
    /// constant.
    pub fn keeps_entries(&self) -> bool {
        self.seed || self.on_gap == OnGap::Resync || self.reconcile.is_some() || self.kinds.flows
    }
}

/// A network namespace has come or gone.
#[derive(Debug)]
pub enum Change {
    /// Follow this one, too.
    Appeared(Box<Stream>),
    /// The one of this number is gone, and with it its entries. Names are given again.
    Vanished(u64),
    /// The one of this number has this name from now on.
    Renamed(u64, String),
}

/// Something a person may want to know.
#[derive(Debug)]
pub enum Notification<'a> {
    /// All streams are subscribed: what happens from now on is told.
    Ready,
    /// A queue was made larger.
    Grown {
        /// The namespace, where there are several.
        netns: Option<&'a str>,
        /// What it is now.
        buffer: Buffer,
    },
    /// It ends: what is queued is being told.
    Ending,
    /// So many events were lost in the kernel.
    Lost(u64),
    /// A dump was compared with what the consumer knows.
    Resynced(&'a Resynced<'a>),
    /// A dump did not come to its end; it is tried again.
    PassFailed {
        /// The namespace, where there are several.
        netns: Option<&'a str>,
        /// Why.
        error: &'a Error,
    },
    /// The socket of one namespace of several does not work: it is not followed any more.
    Failed {
        /// The namespace.
        netns: &'a str,
        /// Why.
        error: &'a Error,
    },
    /// The hash table was resized during a dump, which is done again.
    Resized,
    /// It is time for statistics.
    Stats(&'a Snapshot),
}

/// What the stream needs of the world.
pub trait Environment {
    /// Nanoseconds of `CLOCK_REALTIME`.
    fn wall_clock(&mut self) -> u64;

    /// Time since some beginning; never goes back.
    fn elapsed(&mut self) -> Duration;

    /// Why it shall end, if it shall. Called several times a second, whatever happens, also
    /// while there is no room: what may not wait for room is done here.
    fn stop(&mut self) -> Option<&'static str>;

    /// How long it may wait without calling [`Environment::stop`], where that is limited.
    fn longest_wait(&self) -> Option<Duration> {
        None
    }

    /// What has changed about namespaces. Called several times a second between dumps.
    fn changes(&mut self) -> Vec<Change>;

    /// Takes note of something.
    fn notice(&mut self, notice: Notification<'_>);

    /// Sleeps.
    fn nap(&mut self, time: Duration) {
        thread::sleep(time);
    }

    /// Waits until something is queued, or a signal comes, or the time is over.
    fn wait(&mut self, descriptors: &[BorrowedFd<'_>], time: Duration) {
        let mut descriptors: Vec<_> = descriptors.iter().map(|fd| PollFd::new(*fd, PollFlags::POLLIN)).collect();
        let time = PollTimeout::try_from(time).unwrap_or(PollTimeout::MAX);
        // Whatever came of it, the queues are looked at next.
        let _ = poll(&mut descriptors, time);
    }
}
