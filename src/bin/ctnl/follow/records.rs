//! Writes records: of events, of synthetic events, of gaps, of the beginning and the end.

use std::ops::Range;

use ctnl::age::IdleEstimator;
use ctnl::field::Subject;
use ctnl::live::{LiveEntry, Start};
use ctnl::model::{EventKind, ExpectationEvent, Flow, Status};
use ctnl::output::{
    BeginRecord, ClockSource, CloseRecord, EndRecord, EventTime, ExpectationRecord, FlowRecord, GapCause, GapRecord,
    OpenRecord, Record, StartTime, SyntheticCause,
};

use super::emitter::Emitter;
use super::environment::Notification;
use super::last_packet::last_packet;
use super::namespace::NamespaceStream;
use super::options::{FollowOptions, OnGap};
use super::totals::Totals;

impl Emitter<'_> {
    /// Writes the `open` record.
    pub(super) fn emit_open(&mut self) {
        let time = self.env.realtime();
        let version = self.options.version;
        self.lines.record(&Record::Open(OpenRecord { time, version }));
    }

    /// Writes the `close` record, with the sums.
    pub(super) fn emit_close(&mut self, reason: &str) {
        let (time, records) = (self.env.realtime(), self.lines.count());
        let Totals { received, lost, uncounted_losses, .. } = self.totals;
        self.lines.record(&Record::Close(CloseRecord { time, reason, received, lost, uncounted_losses, records }));
        self.lines.put();
    }

    /// Writes the record of the last event.
    #[inline]
    pub(super) fn emit_event(
        &mut self,
        stream: &mut NamespaceStream,
        kind: EventKind,
        start: Option<StartTime>,
        killed: Option<bool>,
        now: u64,
    ) {
        let NamespaceStream { name, event, ages, requested, .. } = stream;
        let (flow, netns) = (&event.flow, name.as_deref());
        let time = event_time(flow, kind, now);
        let Emitter { lines, options, .. } = self;
        let is_wanted = is_wanted(options, kind);
        let is_end = options.kinds.flows && kind == EventKind::Destroy;
        let is_begin = options.kinds.begins && kind == EventKind::New && !flow.status.contains(Status::Dying);
        if !is_wanted && !is_end && !is_begin {
            return;
        }
        let (requester, is_mark_implied) = (requested.by(event.port), event.is_mark_implied);
        if is_end {
            let (end, synthetic) = (time, None);
            let last_packet = last_packet(ages, flow, start, end, killed);
            let ended =
                EndRecord { flow, start, end, last_packet, synthetic, killed, requester, netns, is_mark_implied };
            lines.record(&Record::End(ended));
        }
        if is_begin {
            let (start, synthetic) = (exact_start(flow, time), None);
            let begun = BeginRecord { flow, start, time, synthetic, requester, netns, is_mark_implied };
            lines.record(&Record::Begin(begun));
        }
        if is_wanted {
            let (subject, synthetic) = (&Subject::of_event(flow, ages, kind), None);
            let record =
                FlowRecord { kind, synthetic, time, subject, start, killed, requester, netns, is_mark_implied };
            lines.record(&Record::Flow(record));
        }
    }

    /// Writes the synthetic `new` record of an entry that a dump contained.
    pub(super) fn emit_added(&mut self, netns: Option<&str>, subject: &Subject<'_>, why: SyntheticCause, now: u64) {
        self.emit_begun(netns, subject.flow, why, now);
        self.emit_synthetic(EventKind::New, netns, subject, None, why, now);
    }

    /// Writes the record of `--flows=both` of a connection that a dump contained.
    fn emit_begun(&mut self, netns: Option<&str>, flow: &Flow, why: SyntheticCause, now: u64) {
        if self.options.kinds.begins {
            let (synthetic, time) = (Some(why), EventTime { ns: now, clock: ClockSource::Received });
            let start = Some(flow.start.map_or(StartTime::Before(now), StartTime::Exact));
            let (requester, is_mark_implied) = (None, false);
            let begun = BeginRecord { flow, start, time, synthetic, requester, netns, is_mark_implied };
            self.lines.record(&Record::Begin(begun));
        }
    }

    /// Writes the synthetic records of the end of an entry: `destroy`, and `end` with `--flows`.
    pub(super) fn emit_removed(
        &mut self,
        netns: Option<&str>,
        ages: &mut IdleEstimator,
        entry: &LiveEntry,
        why: SyntheticCause,
        now: u64,
    ) {
        if self.options.kinds.flows {
            let (flow, start, synthetic) = (&entry.flow, Some(start_time(entry.start)), Some(why));
            let end = EventTime { ns: now, clock: ClockSource::Received };
            let (killed, requester, last_packet, is_mark_implied) = (None, None, None, false);
            let ended =
                EndRecord { flow, start, end, last_packet, synthetic, killed, requester, netns, is_mark_implied };
            self.lines.record(&Record::End(ended));
        }
        ages.now = now;
        self.emit_destroyed(netns, ages, entry, why, now);
    }

    /// Writes the synthetic `destroy` record of an entry.
    pub(super) fn emit_destroyed(
        &mut self,
        netns: Option<&str>,
        ages: &IdleEstimator,
        entry: &LiveEntry,
        why: SyntheticCause,
        now: u64,
    ) {
        let subject = &Subject::new(&entry.flow, ages);
        self.emit_synthetic(EventKind::Destroy, netns, subject, Some(start_time(entry.start)), why, now);
    }

    fn emit_synthetic(
        &mut self,
        kind: EventKind,
        netns: Option<&str>,
        subject: &Subject<'_>,
        start: Option<StartTime>,
        why: SyntheticCause,
        now: u64,
    ) {
        if is_wanted(&self.options, kind) {
            let (synthetic, time) = (Some(why), EventTime { ns: now, clock: ClockSource::Received });
            let (killed, requester, is_mark_implied) = (None, None, false);
            let record =
                FlowRecord { kind, synthetic, time, subject, start, killed, requester, netns, is_mark_implied };
            self.lines.record(&Record::Flow(record));
        }
    }

    /// Namespaces have other names. The name is part of an entry's key, so each entry gets a `destroy`
    /// record with the old name and a `new` record with the new one. All ends come first: with swapped
    /// names the beginning of one entry can have the key of the other one's end.
    pub(super) fn emit_renamed(&mut self, mut streams: Vec<(&mut NamespaceStream, String)>) {
        let now = self.env.realtime();
        for (stream, to) in &mut streams {
            self.emit_name(stream, EventKind::Destroy, now);
            self.env.notify(Notification::Renamed { from: stream.name.as_deref(), to });
            stream.name = Some(std::mem::take(to));
        }
        for (stream, _) in streams {
            self.emit_name(stream, EventKind::New, now);
        }
    }

    /// Writes a record of each entry with the name of its namespace. `--flows` has none: the connections
    /// go on.
    fn emit_name(&mut self, stream: &mut NamespaceStream, kind: EventKind, now: u64) {
        let NamespaceStream { name, live, ages, expectations, .. } = stream;
        let netns = name.as_deref();
        ages.now = now;
        if let Some(live) = live {
            live.for_each(|entry| {
                self.wait_for_capacity(|last| last);
                if kind == EventKind::Destroy {
                    self.emit_destroyed(netns, ages, &entry, SyntheticCause::Netns, now);
                } else {
                    let subject = Subject::new(&entry.flow, ages);
                    self.emit_synthetic(kind, netns, &subject, None, SyntheticCause::Netns, now);
                }
            });
        }
        for expectation in expectations.known() {
            self.emit_synthetic_expectation(kind, netns, expectation, SyntheticCause::Netns);
        }
    }

    /// A namespace has vanished, and its entries with it.
    pub(super) fn emit_vanished(&mut self, stream: &mut NamespaceStream) {
        let now = self.env.realtime();
        let NamespaceStream { name, live, ages, expectations, .. } = stream;
        if let Some(live) = live {
            live.drain(|entry| {
                self.wait_for_capacity(|last| last);
                self.emit_removed(name.as_deref(), ages, &entry, SyntheticCause::Netns, now);
            });
        }
        for expectation in expectations.drain() {
            self.emit_synthetic_expectation(EventKind::Destroy, name.as_deref(), &expectation, SyntheticCause::Netns);
        }
    }

    /// Writes the record of an expectation. The filter is about entries and does not apply.
    #[cold]
    pub(super) fn emit_expectation(&mut self, stream: &mut NamespaceStream, now: u64) {
        let NamespaceStream { name, source, requested, expectations, .. } = stream;
        let event = source.message().map(|message| ExpectationEvent::decode(&message));
        let Some(Ok(ExpectationEvent { kind, port, expectation })) = event else {
            self.totals.unreadable += 1;
            stream.unreadable += 1;
            return;
        };
        self.totals.received += 1;
        let time = EventTime { ns: now, clock: ClockSource::Received };
        let (requester, netns) = (requested.by(port), name.as_deref());
        expectations.on_event(kind, &expectation);
        let (synthetic, expectation) = (None, &expectation);
        let record = ExpectationRecord { kind, synthetic, time, expectation, requester, netns };
        self.lines.record(&Record::Expectation(record));
    }

    /// Writes a gap record: `lost` events are missing here, `None` for an unknown number.
    #[cold]
    pub(super) fn emit_lost(&mut self, stream: &mut NamespaceStream, lost: Option<u64>, now: u64) {
        match lost {
            Some(lost) => self.totals.lost += lost,
            None => self.totals.uncounted_losses += 1,
        }
        self.emit_gap(stream, GapCause::Kernel, lost, stream.complete_until.min(now)..now);
        self.env.notify(Notification::Lost(lost));
    }

    /// Writes a gap record for the messages that could not be decoded.
    #[cold]
    pub(super) fn emit_unreadable(&mut self, stream: &mut NamespaceStream, now: u64) {
        let unreadable = std::mem::take(&mut stream.unreadable);
        self.emit_gap(stream, GapCause::Unreadable, Some(unreadable), stream.complete_until.min(now)..now);
    }

    pub(super) fn emit_gap(
        &mut self,
        stream: &mut NamespaceStream,
        cause: GapCause,
        lost: Option<u64>,
        Range { start: from, end: to }: Range<u64>,
    ) {
        let netns = stream.name.as_deref();
        self.lines.record(&Record::Gap(GapRecord { cause, lost, from, to, netns }));
        stream.gaps += 1;
        if cause == GapCause::Kernel {
            // Refused events are behind all that was queued, which has been read.
            stream.complete_until = to;
            stream.on_lost(self.env.monotonic());
        }
        match self.options.on_gap {
            OnGap::Resync => stream.schedule_resync(self.env.monotonic()),
            OnGap::Continue => {}
            OnGap::Exit => self.is_over = true,
        }
    }
}

/// Whether records of this kind are written.
fn is_wanted(options: &FollowOptions, kind: EventKind) -> bool {
    match kind {
        EventKind::New => options.kinds.new,
        EventKind::Update => options.kinds.update,
        EventKind::Destroy => options.kinds.destroy,
    }
}

pub(super) fn start_time(start: Start) -> StartTime {
    match start {
        Start::Kernel(ns) | Start::Event(ns) => StartTime::Exact(ns),
        Start::Between { after, .. } => StartTime::After(after),
        Start::Before(ns) => StartTime::Before(ns),
    }
}

/// The start of the connection of a `new` event, where the kernel sends a time.
fn exact_start(flow: &Flow, time: EventTime) -> Option<StartTime> {
    let event = (time.clock == ClockSource::Kernel).then_some(time.ns);
    flow.start.or(event).map(StartTime::Exact)
}

/// The time of an event: the kernel's, where it sends one. An expired entry stays in the table
/// until `gc_worker` (nf_conntrack_core.c) removes it, so its end is its stop time.
#[inline]
fn event_time(flow: &Flow, kind: EventKind, now: u64) -> EventTime {
    let stop = if kind == EventKind::Destroy { flow.stop } else { None };
    match stop.or(flow.event_time) {
        Some(ns) => EventTime { ns, clock: ClockSource::Kernel },
        None => EventTime { ns: now, clock: ClockSource::Received },
    }
}
