//! A dump, compared with what the consumer knows, while events are read between its
//! datagrams: seed, resync and reconciliation are this.

use std::ops::ControlFlow;
use std::time::Duration;

use ctnl::clock::Clock;
use ctnl::field::Subject;
use ctnl::live::{DumpOutcome, Live};
use ctnl::model::Flow;
use ctnl::netlink::{Connection, Error};
use ctnl::output::{Record, Resynced, Synthetic};
use ctnl::sysctl::Sysctl;
use ctnl::table::{DatagramTime, DumpRequest, DumpTotals};

use super::emitter::{Drained, Emitter, ROOM};
use super::engine::BUDGET;
use super::options::Notification;
use super::stats::Seen;
use super::stream::Stream;
use crate::host::buckets::Buckets;
use crate::scan::{self, Visitor};

/// Much longer than the kernel takes from the event to the end of the entry.
const UNLINKED: Duration = Duration::from_millis(2);

/// How a pass ended, where nothing was wrong with the events.
#[derive(Debug)]
enum Ended {
    /// At the end of the table, after so many records of each kind.
    Whole { added: u64, removed: u64 },
    /// It was to stop.
    Stopped,
    /// The hash table was resized: entries may have been missing.
    Resized,
    /// The dump failed.
    Failed(Error),
}

/// Compares `stream` with its table. The streams of the other namespaces are read
/// meanwhile.
pub(super) fn pass(
    emitter: &mut Emitter<'_>,
    stream: &mut Stream,
    others: &mut [Stream],
    why: Synthetic,
) -> Result<(), Error> {
    let Some(mut connection) = stream.connection.take() else { return Ok(()) };
    stream.pass_begins(&emitter.options, emitter.world.elapsed());
    let gaps = stream.gaps;
    let ended = walk(emitter, stream, others, &mut connection, why);
    stream.connection = Some(connection);
    let now = emitter.world.wall_clock();
    match ended? {
        Ended::Whole { added, removed } => {
            if stream.gaps == gaps {
                tell(emitter, stream, Resynced { why, time: now, entries: 0, added, removed, netns: None });
            } else if why == Synthetic::Seed {
                // With a resync after each loss the next pass is due already. Without, the consumer
                // still waits for a beginning that is whole.
                stream.try_again(why, emitter.world.elapsed());
            }
            return Ok(());
        }
        Ended::Stopped => {}
        Ended::Resized => {
            emitter.world.notice(Notification::Resized);
            stream.compare_now(why, emitter.world.elapsed());
        }
        // At the start nothing is known yet, and what is wrong should be seen. One of several
        // namespaces is not the end of the others.
        Ended::Failed(error) if why == Synthetic::Seed && stream.name.is_none() => return Err(error),
        Ended::Failed(error) => {
            emitter.world.notice(Notification::PassFailed { netns: stream.name.as_deref(), error: &error });
            stream.try_again(why, emitter.world.elapsed());
        }
    }
    if let Some(live) = &mut stream.live {
        live.abandon(now);
    }
    Ok(())
}

fn tell(emitter: &mut Emitter<'_>, stream: &Stream, resynced: Resynced<'_>) {
    let entries = stream.live.as_ref().map_or(0, Live::len) as u64;
    let resynced = Resynced { entries, netns: stream.name.as_deref(), ..resynced };
    emitter.lines.record(&Record::Resynced(resynced));
    emitter.world.notice(Notification::Resynced(&resynced));
}

fn walk(
    emitter: &mut Emitter<'_>,
    stream: &mut Stream,
    others: &mut [Stream],
    connection: &mut Connection,
    why: Synthetic,
) -> Result<Ended, Error> {
    let netfilter = Sysctl::default();
    let buckets = Buckets::read(&netfilter);
    if let Some(live) = &mut stream.live {
        live.begin();
    }
    // The kernel tells of an end a moment before the entry leaves the table: what was read
    // before the pass began has left it after this.
    emitter.world.nap(UNLINKED);
    let mut comparison =
        Comparison { emitter, stream, others, why, datagram: Vec::new(), added: 0, removed: 0, caught_up: Ok(true) };
    let walked = scan::walk(connection, DumpRequest::default(), &Clock::system(), &mut comparison);
    let Comparison { emitter, stream, others, added, mut removed, caught_up, .. } = comparison;
    if !caught_up? {
        return Ok(Ended::Stopped);
    }
    if let Err(error) = walked {
        return Ok(Ended::Failed(error));
    }
    if !catch_up(emitter, stream, others)? {
        return Ok(Ended::Stopped);
    }
    if buckets.resized_since(&netfilter) {
        return Ok(Ended::Resized);
    }
    removed += sweep(emitter, stream, others, why);
    Ok(Ended::Whole { added, removed })
}

/// Compares the entries of each datagram, after the events that were queued before it was filled: so
/// only entries without an event get a synthetic record.
struct Comparison<'p, 'e> {
    emitter: &'p mut Emitter<'e>,
    stream: &'p mut Stream,
    others: &'p mut [Stream],
    why: Synthetic,
    datagram: Vec<Flow>,
    added: u64,
    removed: u64,
    /// False when it is to stop.
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
            let (came, went) = look(emitter, stream, others, &flow, *why);
            self.added += came;
            self.removed += went;
        }
        ControlFlow::Continue(())
    }
}

/// Reads until nothing is queued in `stream`; false when it is to stop.
pub(super) fn catch_up(emitter: &mut Emitter<'_>, stream: &mut Stream, others: &mut [Stream]) -> Result<bool, Error> {
    while emitter.stop().is_none() {
        emitter.tell_stats(|_| Seen::of(others.iter().chain([&*stream])));
        for other in &mut *others {
            emitter.drain(other, BUDGET)?;
        }
        // A dump in which nothing is new fills no chunk.
        let now = emitter.world.elapsed();
        emitter.lines.flush_old(now);
        match emitter.drain(stream, BUDGET)? {
            Drained::Empty(_) => return Ok(true),
            Drained::More => {}
            Drained::Blocked => emitter.world.nap(ROOM),
        }
    }
    Ok(false)
}

/// Compares an entry of the dump; how many records came of it, `new` and `destroy`.
fn look(emitter: &mut Emitter<'_>, stream: &mut Stream, others: &[Stream], flow: &Flow, why: Synthetic) -> (u64, u64) {
    emitter.make_room(|_| Seen::of(others.iter().chain([&*stream])));
    let now = emitter.world.wall_clock();
    let Stream { name, live, ages, .. } = stream;
    let Some(live) = live else { return (0, 0) };
    let removed = match live.in_dump(flow) {
        DumpOutcome::Known | DumpOutcome::Stale => return (0, 0),
        DumpOutcome::Unknown => 0,
        DumpOutcome::Again(known) => {
            emitter.tell_gone(name.as_deref(), ages, &known, why, now);
            1
        }
    };
    ages.now = now;
    let subject = Subject::new(flow, ages);
    if !emitter.judge(&subject) {
        return (0, removed);
    }
    live.add(flow, now);
    emitter.tell_found(name.as_deref(), &subject, why, now);
    (1, removed)
}

/// Tells what was neither in the dump nor made since; how many that are.
fn sweep(emitter: &mut Emitter<'_>, stream: &mut Stream, others: &[Stream], why: Synthetic) -> u64 {
    let now = emitter.world.wall_clock();
    let Stream { name, live, ages, source, .. } = stream;
    let mut removed = 0;
    if let Some(live) = live {
        let entries = live.len() as u64;
        live.end(now, |known| {
            emitter.make_room(|_| Seen::of(others).with(&**source, entries.saturating_sub(removed)));
            emitter.tell_gone(name.as_deref(), ages, &known, why, now);
            removed += 1;
        });
    }
    removed
}
