//! The stream of one network namespace: its socket, its live set, and when that set is to be
//! compared with the table.

use std::time::Duration;

use ctnl::age::IdleEstimator;
use ctnl::clock::Time;
use ctnl::live::Live;
use ctnl::model::{Event, Flow, ProtoInfo};
use ctnl::netlink::Connection;
use ctnl::output::{Requester, SyntheticCause};
use ctnl::sysctl::Setting;
use ctnl::table::Buffer;

use super::event_sysctl::{EventSysctl, ReportedSysctls};
use super::expectations::Expectations;
use super::options::FollowOptions;
use super::reconcile::ReconcileTimer;
use super::source::Source;
use crate::host::process_by_portid::ProcessByPortid;
use crate::host::timeout_refresh::TimeoutRefresh;

/// A resync begins when no event was lost for this time: while events are being lost its
/// result is soon wrong again, and it delays the reading of events.
const QUIET_TIME: Duration = Duration::from_secs(1);
/// With `--reliable` it begins after this time: the kernel sends a refused event again within a second
/// (`ecache_work` in net/netfilter/nf_conntrack_ecache.c), so none is waiting then.
const RELIABLE_QUIET_TIME: Duration = Duration::from_secs(3);
/// And at the latest this long after the first loss.
const MAX_RESYNC_DELAY: Duration = Duration::from_secs(10);

/// The stream of one network namespace.
#[derive(Debug)]
pub struct NamespaceStream {
    /// Its name, where there are several.
    pub(super) name: Option<String>,
    /// The inode number of the namespace: its key in [`super::NamespaceChange`].
    pub(super) inode: u64,
    pub(super) source: Box<dyn Source>,
    /// For dumps. `None` during a dump.
    pub(super) connection: Option<Connection>,
    pub(super) live: Option<Live>,
    pub(super) expectations: Expectations,
    pub(super) ages: IdleEstimator,
    timeouts: Option<TimeoutRefresh>,
    pub(super) requested: Requested,
    /// The last event that was received.
    pub(super) event: Event,
    /// Every event before this time is in the stream, except those in gap records: the last time
    /// that the queue was empty, or the kernel's time of the last event. Ns of `CLOCK_REALTIME`.
    pub(super) complete_until: u64,
    /// Number of gap records.
    pub(super) gaps: u64,
    /// Consecutive messages that could not be decoded and have no gap record yet.
    pub(super) unreadable: u64,
    pub(super) sysctl: EventSysctl,
    pub(super) reported_sysctls: ReportedSysctls,
    /// The kernel sends refused events again.
    is_reliable: bool,
    /// When events were lost last.
    lost_at: Option<Duration>,
    due: Option<DuePass>,
    pub(super) reconcile: ReconcileTimer,
    /// A destroy event had a timeout or a protocol state: this kernel sends them.
    has_detailed_destroys: bool,
    /// The queue cannot grow any more.
    is_limited: bool,
    /// The socket has failed: nothing can be received any more.
    pub(super) is_broken: bool,
}

/// The processes that requested changes.
#[derive(Debug)]
pub(super) struct Requested {
    processes: Option<ProcessByPortid>,
    /// `CLOCK_MONOTONIC` when it was last read: reading it for each event would double the cost of
    /// an event.
    now: Duration,
}

impl Requested {
    /// Sets the time.
    #[inline]
    pub(super) fn set_time(&mut self, now: Duration) {
        self.now = now;
    }

    /// The requester with this netlink port; `None` for the kernel itself.
    #[inline]
    pub(super) fn by(&mut self, port: u32) -> Option<Requester<'_>> {
        if port == 0 { None } else { Some(self.find(port)) }
    }

    #[cold]
    fn find(&mut self, port: u32) -> Requester<'_> {
        let found = self.processes.as_mut().and_then(|processes| processes.find(port, self.now));
        let is_certain = found.is_some_and(|process| process.is_certain);
        Requester { port, process: found.map(|process| &*process.name), is_certain }
    }
}

/// A pass that is due.
#[derive(Debug, Clone, Copy)]
struct DuePass {
    why: SyntheticCause,
    at: Duration,
    latest: Duration,
}

impl NamespaceStream {
    /// The stream of the events of `source` and the dumps of `connection`.
    pub fn new(
        name: Option<String>,
        source: Box<dyn Source>,
        connection: Connection,
        ages: IdleEstimator,
        processes: Option<ProcessByPortid>,
    ) -> Self {
        NamespaceStream {
            name,
            inode: 0,
            source,
            connection: Some(connection),
            live: None,
            expectations: Expectations::default(),
            ages,
            timeouts: None,
            requested: Requested { processes, now: Duration::ZERO },
            event: Event::blank(),
            complete_until: 0,
            gaps: 0,
            unreadable: 0,
            sysctl: EventSysctl::default(),
            reported_sysctls: ReportedSysctls::default(),
            is_reliable: false,
            lost_at: None,
            due: None,
            reconcile: ReconcileTimer::default(),
            has_detailed_destroys: false,
            is_limited: false,
            is_broken: false,
        }
    }

    /// The same with the inode number of its namespace.
    pub fn with_inode(self, inode: u64) -> Self {
        NamespaceStream { inode, ..self }
    }

    /// The same with the timeouts of its namespace, which are read again while it runs.
    pub fn with_timeouts(self, timeouts: TimeoutRefresh) -> Self {
        NamespaceStream { ages: timeouts.estimator(), timeouts: Some(timeouts), ..self }
    }

    /// When the timeouts are to be read again.
    pub(super) fn timeouts_due_at(&self) -> Option<Duration> {
        self.timeouts.as_ref().map(TimeoutRefresh::due_at)
    }

    /// Reads the timeouts again.
    pub(super) fn refresh_timeouts(&mut self, now: Duration) {
        if let (Some(timeouts), Some(connection)) = (&mut self.timeouts, &mut self.connection)
            && let Some(ages) = timeouts.refresh(connection, now)
        {
            self.ages = ages;
        }
    }

    /// The same with `nf_conntrack_events` of its namespace, where it can be read.
    pub fn with_event_sysctl(self, setting: Option<Setting>) -> Self {
        NamespaceStream { sysctl: EventSysctl::new(setting), ..self }
    }

    /// The same with the sysctls that heartbeat records have.
    pub fn with_reported_sysctls(self, reported_sysctls: ReportedSysctls) -> Self {
        NamespaceStream { reported_sysctls, ..self }
    }

    /// Whether its namespace has this inode number.
    pub(super) fn has_inode(&self, inode: u64) -> bool {
        self.inode == inode
    }

    /// The size of its queue.
    pub fn buffer(&self) -> Buffer {
        self.source.buffer()
    }

    /// Begins the stream.
    pub(super) fn begin(&mut self, options: &FollowOptions, time: Time) {
        let now = Duration::from(time.monotonic);
        self.sysctl.begin(time.realtime.0);
        self.complete_until = time.realtime.0;
        self.is_reliable = options.reliable;
        self.live = options.keeps_live_set().then(|| Live::new(options.reliable));
        self.due = options.seed.then_some(DuePass { why: SyntheticCause::Seed, at: now, latest: now });
        self.reconcile.restart(options.reconcile, now);
    }

    /// Events were lost.
    pub(super) fn on_lost(&mut self, now: Duration) {
        self.lost_at = Some(now);
    }

    /// Whether `destroy` events may be waiting in the kernel to be sent again.
    pub(super) fn awaits_destroys(&self, now: Duration) -> bool {
        self.is_reliable && self.lost_at.is_some_and(|lost| now < lost + RELIABLE_QUIET_TIME)
    }

    /// Schedules a resync.
    pub(super) fn schedule_resync(&mut self, now: Duration) {
        let at = now + if self.is_reliable { RELIABLE_QUIET_TIME } else { QUIET_TIME };
        match &mut self.due {
            Some(due) => due.at = at.min(due.latest),
            None => self.due = Some(DuePass { why: SyntheticCause::Resync, at, latest: now + MAX_RESYNC_DELAY }),
        }
    }

    /// Schedules the pass again, at once.
    pub(super) fn repeat_pass(&mut self, why: SyntheticCause, now: Duration) {
        self.due = Some(DuePass { why, at: now, latest: now });
    }

    /// Schedules the pass again, unless one is scheduled already.
    pub(super) fn retry_pass(&mut self, why: SyntheticCause, now: Duration) {
        let at = now + MAX_RESYNC_DELAY;
        self.due.get_or_insert(DuePass { why, at, latest: at });
    }

    /// When the next pass is due, and its reason.
    pub(super) fn next_pass(&self) -> Option<(Duration, SyntheticCause)> {
        let due = self.due.map(|due| (due.at, due.why));
        let reconcile = self.reconcile.at().map(|at| (at, SyntheticCause::Reconcile));
        match (due, reconcile) {
            (Some(due), Some(reconcile)) => Some(if reconcile.0 < due.0 { reconcile } else { due }),
            (due, reconcile) => due.or(reconcile),
        }
    }

    /// A pass begins; it covers all that was scheduled.
    pub(super) fn on_pass(&mut self, options: &FollowOptions, now: Duration) {
        self.due = None;
        self.reconcile.restart(options.reconcile, now);
    }

    /// Whether a loss has not been followed by a resync yet.
    pub(super) fn needs_resync(&self) -> bool {
        self.due.is_some()
    }

    /// Enlarges the queue when more than half of it is in use; returns its new size.
    pub(super) fn grow(&mut self, max: usize) -> Option<Buffer> {
        if self.is_limited || self.source.queue().is_ok_and(|queue| queue.used <= queue.capacity / 2) {
            return None;
        }
        let before = self.source.buffer();
        // The capacity is twice the size that was requested (`__sock_set_rcvbuf`).
        let larger = before.capacity.min(max);
        let grown = if larger > before.capacity / 2 { self.source.grow(larger).ok() } else { None };
        // An error is not fatal: the queue can still be read.
        let grown = grown.filter(|after| after.capacity > before.capacity);
        self.is_limited = grown.is_none();
        grown
    }

    /// Whether the entry of the last destroy event was deleted before its timeout; `None` where the
    /// kernel does not send the timeout.
    pub(super) fn was_killed(&mut self) -> Option<bool> {
        let Flow { timeout, protoinfo, .. } = &self.event.flow;
        // `ctnetlink_conntrack_event` of Linux 5.10 sends neither in destroy events.
        self.has_detailed_destroys |= timeout.is_some() || *protoinfo != ProtoInfo::None;
        match timeout {
            Some(1..) => Some(true),
            _ => self.has_detailed_destroys.then_some(false),
        }
    }
}
