//! The stream of one network namespace: its socket, what the consumer knows of it,
//! and when it is to be compared with the table.

use std::time::{Duration, Instant};

use ctnl::age::IdleEstimator;
use ctnl::live::Live;
use ctnl::model::{Event, Flow, ProtoInfo};
use ctnl::netlink::Connection;
use ctnl::output::{Requester, Synthetic};
use ctnl::table::Buffer;

use super::options::Options;
use super::source::Source;
use crate::host::process_by_portid::ProcessByPortid;

/// A dump waits so long after a loss for the next one: while events are being lost,
/// what it finds is soon wrong again, and it takes time from reading them.
const CALM: Duration = Duration::from_secs(1);
/// But not longer than this, however long the loss goes on.
const PATIENCE: Duration = Duration::from_secs(10);

/// One network namespace.
#[derive(Debug)]
pub struct Stream {
    /// Its name, where there are several.
    pub(super) name: Option<String>,
    /// The kernel's number of it, by which [`super::Change`] names it.
    inode: u64,
    pub(super) source: Box<dyn Source>,
    /// For dumps. Not there while one is under way.
    pub(super) connection: Option<Connection>,
    pub(super) live: Option<Live>,
    pub(super) ages: IdleEstimator,
    pub(super) asked: Asked,
    /// The event that was read last.
    pub(super) event: Event,
    /// Nothing that happened before is missing, other than what gap records tell of: when
    /// the queue was empty last, or the kernel's time of the last event. Ns of the wall clock.
    pub(super) known_until: u64,
    /// Gaps so far.
    pub(super) gaps: u64,
    /// Events in a row that could not be read, and have no gap record yet.
    pub(super) unreadable: u64,
    due: Option<Due>,
    reconcile: Option<Duration>,
    /// The kernel has shown that it puts more than tuples into destroy events.
    destroy_is_detailed: bool,
    /// The queue cannot be made larger.
    is_clamped: bool,
    /// The socket does not work: there is nothing to be read any more.
    pub(super) is_broken: bool,
}

/// Who asked for a change.
#[derive(Debug)]
pub(super) struct Asked {
    requesters: Option<ProcessByPortid>,
    /// When the clock was looked at last: a look for each event would cost as much as the rest.
    now: Instant,
}

impl Asked {
    /// Looks at the clock.
    #[inline]
    pub(super) fn tick(&mut self) {
        if self.requesters.is_some() {
            self.now = Instant::now();
        }
    }

    /// Who has this port; None for the kernel itself.
    #[inline]
    pub(super) fn by(&mut self, port: u32) -> Option<Requester<'_>> {
        if port == 0 { None } else { Some(self.find(port)) }
    }

    #[cold]
    fn find(&mut self, port: u32) -> Requester<'_> {
        let found = self.requesters.as_mut().and_then(|requesters| requesters.find(port, self.now));
        let is_certain = found.is_some_and(|process| process.is_certain);
        Requester { port, process: found.map(|process| &*process.name), is_certain }
    }
}

/// A pass that is to come.
#[derive(Debug, Clone, Copy)]
struct Due {
    why: Synthetic,
    at: Duration,
    latest: Duration,
}

impl Stream {
    /// The stream of what `source` gives, and `connection` dumps.
    pub fn new(
        name: Option<String>,
        source: Box<dyn Source>,
        connection: Connection,
        ages: IdleEstimator,
        requesters: Option<ProcessByPortid>,
    ) -> Self {
        Stream {
            name,
            inode: 0,
            source,
            connection: Some(connection),
            live: None,
            ages,
            asked: Asked { requesters, now: Instant::now() },
            event: Event::blank(),
            known_until: 0,
            gaps: 0,
            unreadable: 0,
            due: None,
            reconcile: None,
            destroy_is_detailed: false,
            is_clamped: false,
            is_broken: false,
        }
    }

    /// That of the namespace with this number.
    pub fn numbered(self, inode: u64) -> Self {
        Stream { inode, ..self }
    }

    /// Whether it is that of the namespace with this number.
    pub(super) fn is_numbered(&self, inode: u64) -> bool {
        self.inode == inode
    }

    /// The size of its queue.
    pub fn buffer(&self) -> Buffer {
        self.source.buffer()
    }

    /// The stream begins now.
    pub(super) fn begin(&mut self, options: &Options, wall_clock: u64, now: Duration) {
        self.known_until = wall_clock;
        self.live = options.keeps_entries().then(|| Live::new(options.reliable));
        self.due = options.seed.then_some(Due { why: Synthetic::Seed, at: now, latest: now });
        self.reconcile = options.reconcile.map(|interval| now + interval);
    }

    /// Events were lost: what the consumer knows is to be compared with the table.
    pub(super) fn compare_later(&mut self, now: Duration) {
        match &mut self.due {
            Some(due) => due.at = (now + CALM).min(due.latest),
            None => self.due = Some(Due { why: Synthetic::Resync, at: now + CALM, latest: now + PATIENCE }),
        }
    }

    /// The pass is to be done again at once.
    pub(super) fn compare_now(&mut self, why: Synthetic, now: Duration) {
        self.due = Some(Due { why, at: now, latest: now });
    }

    /// The pass did not come to its end.
    pub(super) fn try_again(&mut self, why: Synthetic, now: Duration) {
        let at = now + PATIENCE;
        self.due.get_or_insert(Due { why, at, latest: at });
    }

    /// When the next pass is due, and what it is for.
    pub(super) fn next_pass(&self) -> Option<(Duration, Synthetic)> {
        let due = self.due.map(|due| (due.at, due.why));
        let reconcile = self.reconcile.map(|at| (at, Synthetic::Reconcile));
        match (due, reconcile) {
            (Some(due), Some(reconcile)) => Some(if reconcile.0 < due.0 { reconcile } else { due }),
            (due, reconcile) => due.or(reconcile),
        }
    }

    /// A pass begins: whatever was due is done by it.
    pub(super) fn pass_begins(&mut self, options: &Options, now: Duration) {
        self.due = None;
        self.reconcile = options.reconcile.map(|interval| now + interval);
    }

    /// Whether a loss has not been made good yet.
    pub(super) fn is_behind(&self) -> bool {
        self.due.is_some()
    }

    /// Makes the queue larger when more than half of it is taken. What it is then.
    pub(super) fn grow(&mut self, most: usize) -> Option<Buffer> {
        if self.is_clamped || self.source.queue().is_ok_and(|queue| queue.used <= queue.capacity / 2) {
            return None;
        }
        let before = self.source.buffer();
        // The kernel counts twice what was asked for.
        let larger = before.got.min(most);
        let grown = if larger > before.got / 2 { self.source.grow(larger).ok() } else { None };
        // What cannot be made larger can still be read.
        let grown = grown.filter(|after| after.got > before.got);
        self.is_clamped = grown.is_none();
        grown
    }

    /// Whether the entry of the destroy event that was read last went before its time.
    pub(super) fn was_killed(&mut self) -> Option<bool> {
        let Flow { timeout, protoinfo, .. } = &self.event.flow;
        // A kernel that sends neither (5.10) would seem to kill nothing.
        self.destroy_is_detailed |= timeout.is_some() || *protoinfo != ProtoInfo::None;
        match timeout {
            Some(1..) => Some(true),
            _ => self.destroy_is_detailed.then_some(false),
        }
    }
}
