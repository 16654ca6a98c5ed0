//! What an event stream is made of.

use crate::field::Subject;
use crate::model::{EventKind, Expectation, Flow};

/// One record of an event stream.
#[derive(Debug, Clone, Copy)]
#[non_exhaustive]
pub enum Record<'a> {
    /// The stream begins.
    Opening(Opening<'a>),
    /// Something happened to an entry.
    Flow(FlowRecord<'a>),
    /// Something happened to an expectation.
    Expectation(ExpectationRecord<'a>),
    /// A connection is over: the one record that `--flows` makes of it.
    Ended(Ended<'a>),
    /// Records are missing here.
    Gap(Gap<'a>),
    /// After this record the consumer's set is the table again.
    Resynced(Resynced<'a>),
    /// The stream ends.
    Closing(Closing<'a>),
}

/// A time, and whose it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stamp {
    /// Nanoseconds of `CLOCK_REALTIME`.
    pub ns: u64,
    /// Who looked at the clock.
    pub clock: Clock,
}

/// Who looked at the clock.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Clock {
    /// The kernel, when it happened (`nf_conntrack_timestamp=1`).
    Kernel,
    /// This program, when it received the event.
    Received,
}

/// Why a record stands here that is no event of the kernel.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Synthetic {
    /// The entry was there when the stream began.
    Seed,
    /// Found by the dump after a gap.
    Resync,
    /// Found by the periodic dump: the entry came or went without an event.
    Reconcile,
    /// Its network namespace is gone.
    Netns,
}

/// When a connection began.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Since {
    /// The kernel's own time, or that of the event of its beginning, ns.
    Exactly(u64),
    /// It was there already at this time, ns.
    Before(u64),
}

/// Who asked for the change over netlink.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Requester<'a> {
    /// The netlink port.
    pub port: u32,
    /// The name of the process, where it can be found.
    pub process: Option<&'a str>,
    /// That process was seen to have the port. Otherwise only its number is the port,
    /// as with one that has ended meanwhile.
    pub is_certain: bool,
}

/// Something happened to an entry.
#[derive(Debug, Clone, Copy)]
pub struct FlowRecord<'a> {
    /// What.
    pub kind: EventKind,
    /// Why, where the kernel has not said so.
    pub synthetic: Option<Synthetic>,
    /// When.
    pub time: Stamp,
    /// The entry.
    pub subject: &'a Subject<'a>,
    /// When it began, where that is known. Of destroyed entries.
    pub since: Option<Since>,
    /// Whether it was destroyed before its time was over; None where the kernel does not tell.
    pub killed: Option<bool>,
    /// Who asked for it. None for the packet path, expiry and the garbage collector.
    pub requester: Option<Requester<'a>>,
    /// The name of its network namespace, where there are several.
    pub netns: Option<&'a str>,
    /// Its mark is 0 because none was sent: [`crate::model::Event::is_mark_implied`].
    pub is_mark_implied: bool,
}

/// Something happened to an expectation.
#[derive(Debug, Clone, Copy)]
pub struct ExpectationRecord<'a> {
    /// What.
    pub kind: EventKind,
    /// When. The kernel has no clock for these.
    pub time: Stamp,
    /// The expectation.
    pub expectation: &'a Expectation,
    /// Who asked for it. None for the packet path and expiry.
    pub requester: Option<Requester<'a>>,
    /// The name of the network namespace, where there are several.
    pub netns: Option<&'a str>,
}

/// A connection that is over.
#[derive(Debug, Clone, Copy)]
pub struct Ended<'a> {
    /// Its last state. Counters are there with `nf_conntrack_acct=1`.
    pub flow: &'a Flow,
    /// When it began, where that is known.
    pub start: Option<Since>,
    /// When it ended.
    pub end: Stamp,
    /// Why the end is known, where the kernel has not said it: it ended at some time before [`Ended::end`].
    pub synthetic: Option<Synthetic>,
    /// Whether it was destroyed before its time was over; None where the kernel does not tell.
    pub killed: Option<bool>,
    /// Who asked for its end.
    pub requester: Option<Requester<'a>>,
    /// The name of its network namespace, where there are several.
    pub netns: Option<&'a str>,
    /// Its mark is 0 because none was sent: [`crate::model::Event::is_mark_implied`].
    pub is_mark_implied: bool,
}

/// Why records are missing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum GapCause {
    /// The socket's queue in the kernel was full.
    Kernel,
    /// The queue to where the stream goes was full.
    Queue,
    /// The spool on disk was full, or could not be written or read.
    Spool,
    /// Events that could not be read.
    Unreadable,
    /// The place does not take lines like these, however often they are given.
    Refused,
}

/// Records are missing between the one before and the one after this.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Gap<'a> {
    /// Why.
    pub cause: GapCause,
    /// The exact number; None where it is unknown. For [`GapCause::Kernel`] it counts events of
    /// every kind that was subscribed to, before the filter expression.
    pub lost: Option<u64>,
    /// When the last one before the gap came, ns of `CLOCK_REALTIME`.
    pub from: u64,
    /// When the loss was noticed, ns.
    pub to: u64,
    /// The name of the network namespace, where there are several.
    pub netns: Option<&'a str>,
}

/// A dump was compared with what the consumer knows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Resynced<'a> {
    /// What it was for.
    pub why: Synthetic,
    /// When it ended, ns.
    pub time: u64,
    /// Entries in the consumer's set from now on.
    pub entries: u64,
    /// Synthetic `new` records before this one.
    pub added: u64,
    /// Synthetic `destroy` records before this one.
    pub removed: u64,
    /// The name of the network namespace, where there are several.
    pub netns: Option<&'a str>,
}

/// The stream begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Opening<'a> {
    /// When, ns.
    pub time: u64,
    /// The name of the stream, another one at each start.
    pub stream: &'a str,
    /// The version of the program.
    pub version: &'a str,
}

/// The stream ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Closing<'a> {
    /// When, ns.
    pub time: u64,
    /// Why: a signal's name, or a word.
    pub reason: &'a str,
    /// Events that were received.
    pub received: u64,
    /// Events that were lost in the kernel: the sum over all gap records of that cause whose
    /// number is known.
    pub lost: u64,
    /// Gap records of that cause whose number is unknown.
    pub uncounted_losses: u64,
    /// Records that were written, this one not counted.
    pub records: u64,
}

impl Clock {
    /// Its word: `kernel`, `received`.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Clock::Kernel => "kernel",
            Clock::Received => "received",
        }
    }
}

impl Synthetic {
    /// Its word: `seed`, `resync`, `reconcile`, `netns`.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Synthetic::Seed => "seed",
            Synthetic::Resync => "resync",
            Synthetic::Reconcile => "reconcile",
            Synthetic::Netns => "netns",
        }
    }
}

impl GapCause {
    /// Its word: `kernel`, `queue`, `spool`, `unreadable`.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            GapCause::Kernel => "kernel",
            GapCause::Queue => "queue",
            GapCause::Spool => "spool",
            GapCause::Unreadable => "unreadable",
            GapCause::Refused => "refused",
        }
    }
}
