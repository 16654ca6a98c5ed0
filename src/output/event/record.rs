//! The records of an event stream. `docs/events.md` describes them for readers of the stream.

use super::heartbeat::HeartbeatRecord;
use crate::field::Subject;
use crate::model::{EventKind, Expectation, Flow};

/// One record of an event stream.
#[derive(Debug, Clone, Copy)]
#[non_exhaustive]
pub enum Record<'a> {
    /// The start of the stream.
    Open(OpenRecord<'a>),
    /// An event of a conntrack entry.
    Flow(FlowRecord<'a>),
    /// An event of an expectation.
    Expectation(ExpectationRecord<'a>),
    /// A connection has begun: with `--flows=both`.
    Begin(BeginRecord<'a>),
    /// A connection has ended: its only record with `--flows`.
    End(EndRecord<'a>),
    /// Records are missing at this position.
    Gap(GapRecord<'a>),
    /// The reader's set of entries equals the table again.
    Resync(ResyncRecord<'a>),
    /// The state of the stream, at an interval.
    Heartbeat(HeartbeatRecord<'a>),
    /// The end of the stream.
    Close(CloseRecord<'a>),
}

/// A time, and the clock that it was read from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EventTime {
    /// Nanoseconds of `CLOCK_REALTIME`.
    pub ns: u64,
    /// Who read the clock.
    pub clock: ClockSource,
}

/// Who read the clock.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ClockSource {
    /// The kernel, at the time of the event (`nf_conntrack_timestamp=1`).
    Kernel,
    /// This program, when it received the event.
    Received,
}

/// Why a record was written without an event of the kernel.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum SyntheticCause {
    /// The initial snapshot: the entry existed when the stream started.
    Seed,
    /// The dump after a gap.
    Resync,
    /// The periodic dump: the entry was created or removed without an event.
    Reconcile,
    /// Its network namespace was removed or renamed.
    Netns,
}

/// When a connection started.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StartTime {
    /// The kernel's start time, or its time of the `new` event, in ns.
    Exact(u64),
    /// It did not exist at this time, in ns: all events that were sent until then had been received, and
    /// its `new` event was not among them.
    After(u64),
    /// It already existed at this time, in ns.
    Before(u64),
}

/// The process that requested a change over netlink.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Requester<'a> {
    /// The netlink port id.
    #[doc(alias = "nlmsg_pid")]
    pub port: u32,
    /// The name of the process, if it was found.
    pub process: Option<&'a str>,
    /// Whether the process was found as the owner of the port. If not, only its process id equals the
    /// port id, and the owner may be another process that has ended.
    pub is_certain: bool,
}

/// An event of a conntrack entry.
#[derive(Debug, Clone, Copy)]
pub struct FlowRecord<'a> {
    /// Whether the entry was created, changed or destroyed.
    pub kind: EventKind,
    /// Why there is a record without an event of the kernel; None for an event of the kernel.
    pub synthetic: Option<SyntheticCause>,
    /// The time of the event.
    pub time: EventTime,
    /// The entry.
    pub subject: &'a Subject<'a>,
    /// When the connection started. Only in destroy events.
    pub start: Option<StartTime>,
    /// Whether the entry was destroyed before its timeout; None if the event does not show it.
    pub killed: Option<bool>,
    /// The process that requested the change; None for packets, expiry and garbage collection.
    pub requester: Option<Requester<'a>>,
    /// The name of the network namespace, if the stream covers several.
    pub netns: Option<&'a str>,
    /// The event has no mark, which means mark 0: [`crate::model::Event::is_mark_implied`].
    pub is_mark_implied: bool,
}

/// An event of an expectation.
#[derive(Debug, Clone, Copy)]
pub struct ExpectationRecord<'a> {
    /// Whether the expectation was created, changed or destroyed.
    pub kind: EventKind,
    /// Why there is a record without an event of the kernel; None for an event of the kernel.
    pub synthetic: Option<SyntheticCause>,
    /// The time of the event. The kernel sends no timestamps for expectations.
    pub time: EventTime,
    /// The expectation.
    pub expectation: &'a Expectation,
    /// The process that requested the change; None for packets and expiry.
    pub requester: Option<Requester<'a>>,
    /// The name of the network namespace, if the stream covers several.
    pub netns: Option<&'a str>,
}

/// When the last packet of a connection was, in ns of `CLOCK_REALTIME`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LastPacket {
    /// At this time or later; None if that is unknown.
    pub after: Option<u64>,
    /// At this time or earlier.
    pub before: u64,
}

/// A connection that has begun.
#[derive(Debug, Clone, Copy)]
pub struct BeginRecord<'a> {
    /// The entry.
    pub flow: &'a Flow,
    /// When the connection started. For an event that is the time of the event.
    pub start: Option<StartTime>,
    /// The time of the event, or of the dump.
    pub time: EventTime,
    /// Why there is a record without a `new` event: the connection began some time before. None for an event.
    pub synthetic: Option<SyntheticCause>,
    /// The process that requested the entry.
    pub requester: Option<Requester<'a>>,
    /// The name of the network namespace, if the stream covers several.
    pub netns: Option<&'a str>,
    /// The event has no mark, which means mark 0: [`crate::model::Event::is_mark_implied`].
    pub is_mark_implied: bool,
}

/// A connection that has ended.
#[derive(Debug, Clone, Copy)]
pub struct EndRecord<'a> {
    /// The last state of the entry. It has counters with `nf_conntrack_acct=1`.
    pub flow: &'a Flow,
    /// When the connection started, if that is known.
    pub start: Option<StartTime>,
    /// When it ended.
    pub end: EventTime,
    /// When its last packet was, if that is known.
    pub last_packet: Option<LastPacket>,
    /// Why there is a record without a destroy event of the kernel: the connection ended some time before
    /// [`EndRecord::end`]. None for a destroy event.
    pub synthetic: Option<SyntheticCause>,
    /// Whether the entry was destroyed before its timeout; None if the event does not show it.
    pub killed: Option<bool>,
    /// The process that requested the deletion.
    pub requester: Option<Requester<'a>>,
    /// The name of the network namespace, if the stream covers several.
    pub netns: Option<&'a str>,
    /// The event has no mark, which means mark 0: [`crate::model::Event::is_mark_implied`].
    pub is_mark_implied: bool,
}

/// Why records are missing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum GapCause {
    /// Overrun: the receive buffer of the event socket was full (ENOBUFS).
    #[doc(alias = "ENOBUFS")]
    Kernel,
    /// The queue of the sink was full.
    Queue,
    /// The spool on disk was full, or could not be read or written.
    Spool,
    /// Events could not be decoded.
    Unreadable,
    /// The sink rejected the lines permanently.
    Refused,
    /// The kernel sent no events of the entries that were created meanwhile.
    #[doc(alias = "nf_conntrack_events")]
    Disabled,
}

/// Records between the previous and the next one are missing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct GapRecord<'a> {
    /// Why.
    pub cause: GapCause,
    /// The exact number of lost events or lines; None if it is unknown. For [`GapCause::Kernel`] it
    /// counts events of all subscribed kinds, before the filter expression.
    pub lost: Option<u64>,
    /// When the last record before the gap was received, in ns of `CLOCK_REALTIME`.
    pub from: u64,
    /// When the loss was detected, in ns.
    pub to: u64,
    /// The name of the network namespace, if the stream covers several.
    pub netns: Option<&'a str>,
}

/// A dump was compared with the reader's set of entries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ResyncRecord<'a> {
    /// Why the table was dumped.
    pub reason: SyntheticCause,
    /// When the comparison ended, in ns.
    pub time: u64,
    /// The number of entries in the reader's set after this record; `None` if the stream has not both kinds
    /// of records that make a set, `new` and `destroy`.
    pub entries: Option<u64>,
    /// The number of entries of which the comparison wrote a synthetic beginning.
    pub added: u64,
    /// The number of entries of which the comparison wrote a synthetic end.
    pub removed: u64,
    /// The name of the network namespace, if the stream covers several.
    pub netns: Option<&'a str>,
}

/// The start of the stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OpenRecord<'a> {
    /// When, in ns.
    pub time: u64,
    /// The version of the program.
    pub version: &'a str,
}

/// The end of the stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CloseRecord<'a> {
    /// When, in ns.
    pub time: u64,
    /// Why: the name of a signal, or why the stream ended without one.
    pub reason: &'a str,
    /// The number of events received.
    pub received: u64,
    /// The number of events lost in the kernel: the sum of all gap records with cause
    /// [`GapCause::Kernel`] whose number is known.
    pub lost: u64,
    /// The number of gap records with cause [`GapCause::Kernel`] whose number is unknown.
    pub uncounted_losses: u64,
    /// The number of records written, without this one.
    pub records: u64,
}

impl Record<'_> {
    /// The time of the record, in ns.
    pub(super) fn time(&self) -> u64 {
        match self {
            Record::Open(record) => record.time,
            Record::Flow(record) => record.time.ns,
            Record::Expectation(record) => record.time.ns,
            Record::Begin(record) => record.time.ns,
            Record::End(record) => record.end.ns,
            Record::Gap(record) => record.to,
            Record::Resync(record) => record.time,
            Record::Heartbeat(record) => record.time,
            Record::Close(record) => record.time,
        }
    }
}

impl ClockSource {
    /// The name: `kernel`, `received`.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            ClockSource::Kernel => "kernel",
            ClockSource::Received => "received",
        }
    }
}

impl SyntheticCause {
    /// The name: `seed`, `resync`, `reconcile`, `netns`.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            SyntheticCause::Seed => "seed",
            SyntheticCause::Resync => "resync",
            SyntheticCause::Reconcile => "reconcile",
            SyntheticCause::Netns => "netns",
        }
    }
}

impl GapCause {
    /// The name: `kernel`, `queue`, `spool`, `unreadable`, `refused`, `disabled`.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            GapCause::Kernel => "kernel",
            GapCause::Queue => "queue",
            GapCause::Spool => "spool",
            GapCause::Unreadable => "unreadable",
            GapCause::Refused => "refused",
            GapCause::Disabled => "disabled",
        }
    }
}
