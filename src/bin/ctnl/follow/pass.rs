//! A pass: a dump that is compared with the live set, while events are read between its
//! datagrams. Seed, resync and reconciliation are passes.

use std::ops::ControlFlow;
use std::time::Duration;

use ctnl::field::Subject;
use ctnl::live::{DumpOutcome, Live, Silent};
use ctnl::model::Flow;
use ctnl::netlink::{Connection, Error};
use ctnl::output::{Record, ResyncRecord, SyntheticCause};
use ctnl::table::{DatagramTime, DumpRequest, DumpTotals};

use super::emitter::{CAPACITY_POLL, Drained, Emitter, MAX_EVENTS_PER_TURN};
use super::environment::Notification;
use super::event_sysctl::EventMode;
use super::namespace::NamespaceStream;
use super::options::{Reconcile, RecordKinds};
use super::sample::StreamSample;
use super::streams::Streams;
use super::turn::turn;
use crate::host::buckets::Buckets;
use crate::scan::{self, Visitor};

/// Much longer than the kernel takes between the `destroy` event and the removal of the entry
/// from the hash table (`nf_ct_delete` in net/netfilter/nf_conntrack_core.c).
const UNLINK_TIME: Duration = Duration::from_millis(2);

/// The end of a pass.
#[derive(Debug)]
enum PassEnd {
    /// The dump is complete; this many synthetic records were written.
    Complete { added: u64, removed: u64 },
    /// The stream is ending.
    Stopped,
    /// `destroy` events may be waiting in the kernel to be sent again: what is missing in the dump has one.
    Unsettled,
    /// The hash table was resized during the dump, so entries may be missing from it.
    Resized,
    /// The dump failed.
    Failed(Error),
}

/// Compares a namespace with its table. The other namespaces are read meanwhile.
pub(super) fn pass(
    emitter: &mut Emitter<'_>,
    stream: &mut NamespaceStream,
    others: &mut Streams,
    why: SyntheticCause,
) -> Result<(), Error> {
    let Some(mut connection) = stream.connection.take() else { return Ok(()) };
    stream.on_pass(&emitter.options, emitter.env.monotonic());
    let gaps = stream.gaps;
    let ended = walk(emitter, stream, others, &mut connection, why);
    stream.connection = Some(connection);
    let now = emitter.env.realtime();
    match ended? {
        PassEnd::Complete { added, removed } => {
            schedule_reconciliation(emitter, stream, removed);
            if stream.gaps == gaps {
                emit_resynced(
                    emitter,
                    stream,
                    ResyncRecord { reason: why, time: now, entries: None, added, removed, netns: None },
                );
            } else if why == SyntheticCause::Seed {
                // With `--on-gap resync` the next pass is scheduled. Without it, the reader still
                // needs a complete seed.
                stream.retry_pass(why, emitter.env.monotonic());
            }
            return Ok(());
        }
        PassEnd::Stopped => {}
        PassEnd::Unsettled => stream.retry_pass(why, emitter.env.monotonic()),
        PassEnd::Resized => {
            emitter.env.notify(Notification::Resized);
            stream.repeat_pass(why, emitter.env.monotonic());
        }
        // An error of the first dump is reported to the user. One of several namespaces does not end
        // the others.
        PassEnd::Failed(error) if why == SyntheticCause::Seed && stream.name.is_none() => return Err(error),
        PassEnd::Failed(error) => {
            emitter.env.notify(Notification::PassFailed { netns: stream.name.as_deref(), error: &error });
            stream.retry_pass(why, emitter.env.monotonic());
        }
    }
    if let Some(live) = &mut stream.live {
        live.abandon_pass(now);
    }
    Ok(())
}

/// Schedules the next comparison where the live set has entries that may end without an event, and
/// reports them.
fn schedule_reconciliation(emitter: &mut Emitter<'_>, stream: &mut NamespaceStream, removed: u64) {
    let (reconcile, now) = (emitter.options.reconcile, emitter.env.monotonic());
    let (silent, mode) = (stream.live.as_ref().and_then(Live::silent), stream.sysctl.mode());
    stream.reconcile.on_compared(reconcile, mode, removed, silent, now);
    if let Some(Silent { entries, .. }) = silent.filter(|_| reconcile == Reconcile::Auto && mode != EventMode::On) {
        emitter.env.notify(Notification::Silent { netns: stream.name.as_deref(), entries });
    }
}

fn emit_resynced(emitter: &mut Emitter<'_>, stream: &NamespaceStream, resynced: ResyncRecord<'_>) {
    let entries = Some(stream.live.as_ref().map_or(0, Live::len) as u64);
    let compared = ResyncRecord { entries, netns: stream.name.as_deref(), ..resynced };
    emitter.lines.record(&Record::Resync(written(compared, &emitter.options.kinds)));
    emitter.env.notify(Notification::Resynced(&compared));
}

/// The comparison as far as it is in the stream. A reader of one kind of records cannot keep a set.
fn written<'a>(compared: ResyncRecord<'a>, kinds: &RecordKinds) -> ResyncRecord<'a> {
    let RecordKinds { new, destroy, flows, begins, .. } = *kinds;
    ResyncRecord {
        entries: compared.entries.filter(|_| new && destroy),
        added: if new || begins { compared.added } else { 0 },
        removed: if destroy || flows { compared.removed } else { 0 },
        ..compared
    }
}

fn walk(
    emitter: &mut Emitter<'_>,
    stream: &mut NamespaceStream,
    others: &mut Streams,
    connection: &mut Connection,
    why: SyntheticCause,
) -> Result<PassEnd, Error> {
    let netfilter = emitter.options.netfilter.clone();
    let buckets = Buckets::read(&netfilter);
    if let Some(live) = &mut stream.live {
        live.begin_pass();
    }
    // `destroy` events that were read before the pass began precede the removal of their entries
    // by less than this.
    emitter.env.sleep(UNLINK_TIME);
    let clock = emitter.env.clock();
    let mut comparison =
        Comparison { emitter, stream, others, why, datagram: Vec::new(), added: 0, removed: 0, caught_up: Ok(true) };
    let walked = scan::walk(connection, DumpRequest::default(), &clock, &mut comparison);
    let Comparison { emitter, stream, others, added, mut removed, caught_up, .. } = comparison;
    if !caught_up? {
        return Ok(PassEnd::Stopped);
    }
    if let Err(error) = walked {
        return Ok(PassEnd::Failed(error));
    }
    if !catch_up(emitter, stream, others)? {
        return Ok(PassEnd::Stopped);
    }
    if buckets.resized_since(&netfilter) {
        return Ok(PassEnd::Resized);
    }
    if stream.awaits_destroys(emitter.env.monotonic()) {
        return Ok(PassEnd::Unsettled);
    }
    removed += end_pass(emitter, stream, others, why);
    Ok(PassEnd::Complete { added, removed })
}

/// Compares the entries of each datagram, after the events that were queued before the kernel filled
/// it: so only entries without an event get a synthetic record.
struct Comparison<'p, 'e> {
    emitter: &'p mut Emitter<'e>,
    stream: &'p mut NamespaceStream,
    others: &'p mut Streams,
    why: SyntheticCause,
    datagram: Vec<Flow>,
    added: u64,
    removed: u64,
    /// False if the whole stream is ending.
    caught_up: Result<bool, Error>,
}

impl Visitor for Comparison<'_, '_> {
    fn entry(&mut self, flow: &Flow, _: &DatagramTime) {
        self.datagram.push(flow.clone());
    }

    fn end_datagram(&mut self, _: DumpTotals) -> ControlFlow<()> {
        let Comparison { emitter, stream, others, why, datagram, .. } = self;
        self.caught_up = catch_up(emitter, stream, others);
        if !matches!(self.caught_up, Ok(true)) {
            return ControlFlow::Break(());
        }
        for flow in datagram.drain(..) {
            let (new, destroy) = compare(emitter, stream, others, &flow, *why);
            self.added += new;
            self.removed += destroy;
        }
        ControlFlow::Continue(())
    }
}

/// Reads until the queue of `stream` is empty; false if the whole stream is ending.
pub(super) fn catch_up(
    emitter: &mut Emitter<'_>,
    stream: &mut NamespaceStream,
    others: &mut Streams,
) -> Result<bool, Error> {
    while emitter.stop().is_none() {
        emitter.emit_stats(|_| StreamSample::of(others.iter().chain([&*stream])));
        turn(emitter, others)?;
        // A dump without differences fills no chunk.
        let now = emitter.env.monotonic();
        emitter.lines.flush_old(now);
        match emitter.drain(stream, MAX_EVENTS_PER_TURN)? {
            Drained::Empty(_) => return Ok(true),
            Drained::More => {}
            Drained::Blocked => emitter.env.sleep(CAPACITY_POLL),
        }
    }
    Ok(false)
}

/// Compares an entry of the dump; returns the number of `new` and `destroy` records written.
fn compare(
    emitter: &mut Emitter<'_>,
    stream: &mut NamespaceStream,
    others: &Streams,
    flow: &Flow,
    why: SyntheticCause,
) -> (u64, u64) {
    emitter.wait_for_capacity(|_| StreamSample::of(others.iter().chain([&*stream])));
    let now = emitter.env.realtime();
    let NamespaceStream { name, live, ages, .. } = stream;
    let Some(live) = live else { return (0, 0) };
    let removed = match live.on_dumped(flow) {
        DumpOutcome::Known | DumpOutcome::Stale => return (0, 0),
        DumpOutcome::Unknown => 0,
        DumpOutcome::Recreated(earlier) => {
            emitter.emit_removed(name.as_deref(), ages, &earlier, why, now);
            1
        }
    };
    ages.now = now;
    let subject = Subject::new(flow, ages);
    if !emitter.matches(&subject) {
        return (0, removed);
    }
    live.insert_dumped(flow, now);
    emitter.emit_added(name.as_deref(), &subject, why, now);
    (1, removed)
}

/// Writes the end of the entries that were neither in the dump nor created since; returns their
/// number.
fn end_pass(emitter: &mut Emitter<'_>, stream: &mut NamespaceStream, others: &Streams, why: SyntheticCause) -> u64 {
    let now = emitter.env.realtime();
    let NamespaceStream { name, live, ages, source, .. } = stream;
    let mut removed = 0;
    if let Some(live) = live {
        let entries = live.len() as u64;
        live.end_pass(now, |entry| {
            emitter.wait_for_capacity(|_| {
                StreamSample::of(others.iter()).with(&**source, entries.saturating_sub(removed))
            });
            emitter.emit_removed(name.as_deref(), ages, &entry, why, now);
            removed += 1;
        });
    }
    removed
}
