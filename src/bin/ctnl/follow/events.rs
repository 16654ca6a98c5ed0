//! Applies an event to the live set, and writes the records that follow from it.

use ctnl::field::Subject;
use ctnl::live::{LiveEntry, NewOutcome, Start};
use ctnl::model::{EventKind, Status};
use ctnl::output::{StartTime, SyntheticCause};

use super::emitter::Emitter;
use super::namespace::NamespaceStream;
use super::records::start_time;

impl Emitter<'_> {
    /// Applies the last event.
    #[inline]
    pub(super) fn on_event(&mut self, stream: &mut NamespaceStream, now: u64) {
        self.totals.received += 1;
        stream.complete_until = stream.complete_until.max(stream.event.flow.event_time.unwrap_or(0));
        stream.ages.now = now;
        match stream.event.kind {
            EventKind::New => {
                let matches = self.event_matches(stream);
                self.on_new(stream, matches, now);
            }
            EventKind::Update => {
                let matches = self.event_matches(stream);
                self.on_update(stream, matches, now);
            }
            EventKind::Destroy => self.on_destroy(stream, now),
        }
    }

    #[inline]
    fn event_matches(&mut self, stream: &NamespaceStream) -> bool {
        let NamespaceStream { event, ages, .. } = stream;
        let matches = self.matches(&Subject::of_event(&event.flow, ages, event.kind));
        self.totals.matched += u64::from(matches);
        matches
    }

    #[inline]
    fn on_new(&mut self, stream: &mut NamespaceStream, matches: bool, now: u64) {
        let start = start(stream, self.options.reliable, now);
        let NamespaceStream { live, event, .. } = stream;
        let outcome = match live {
            None if matches && event.flow.status.contains(Status::Dying) => NewOutcome::Dying(None),
            None if matches => NewOutcome::New,
            None => return,
            Some(live) if matches => live.on_new(&event.flow, start, now),
            Some(live) => match live.on_unmatched_new(&event.flow, now) {
                Some(earlier) => return self.on_missed_destroy(stream, &earlier, now),
                None => return,
            },
        };
        match outcome {
            NewOutcome::New => self.emit_event(stream, EventKind::New, None, None, now),
            NewOutcome::Known => self.emit_event(stream, EventKind::Update, None, None, now),
            NewOutcome::Recreated(earlier) => {
                self.on_missed_destroy(stream, &earlier, now);
                self.emit_event(stream, EventKind::New, None, None, now);
            }
            NewOutcome::Dying(earlier) => {
                earlier.into_iter().for_each(|earlier| self.on_missed_destroy(stream, &earlier, now));
                self.emit_event(stream, EventKind::New, None, None, now);
                self.retract(stream, now);
            }
        }
    }

    #[inline]
    fn on_update(&mut self, stream: &mut NamespaceStream, matches: bool, now: u64) {
        let NamespaceStream { live, event, .. } = stream;
        let is_alive = match live {
            Some(live) if matches => live.on_update(&event.flow, now),
            Some(live) => live.on_unmatched_update(&event.flow),
            None => !event.flow.status.contains(Status::Dying),
        };
        if matches {
            self.emit_event(stream, EventKind::Update, None, None, now);
            if !is_alive {
                self.retract(stream, now);
            }
        }
    }

    /// The end of an entry of the live set is written whether or not it still matches.
    #[inline]
    fn on_destroy(&mut self, stream: &mut NamespaceStream, now: u64) {
        let killed = stream.was_killed();
        let NamespaceStream { live, event, .. } = stream;
        let known = live.as_mut().and_then(|live| live.on_destroy(&event.flow));
        self.totals.matched += u64::from(known.is_some());
        if known.is_some() || self.event_matches(stream) {
            let start = stream.event.flow.start.map(StartTime::Exact).or(known.map(start_time));
            self.emit_event(stream, EventKind::Destroy, start, killed, now);
        }
    }

    /// Writes a synthetic `destroy` record behind the last event, whose entry is dying: its
    /// `destroy` event may have been read before, and the reader would wait for it. If it is
    /// still to come it is written as well; the record of `--flows` is made of it in any case.
    #[cold]
    fn retract(&mut self, stream: &mut NamespaceStream, now: u64) {
        let start = start(stream, self.options.reliable, now);
        let NamespaceStream { name, event, ages, .. } = stream;
        let flow = event.flow.clone();
        self.emit_destroyed(name.as_deref(), ages, &LiveEntry { flow, start }, SyntheticCause::Reconcile, now);
    }

    /// The `destroy` event of an entry was lost, which the last event has shown.
    #[cold]
    fn on_missed_destroy(&mut self, stream: &mut NamespaceStream, earlier: &LiveEntry, now: u64) {
        let why = if stream.needs_resync() { SyntheticCause::Resync } else { SyntheticCause::Reconcile };
        self.emit_removed(stream.name.as_deref(), &mut stream.ages, earlier, why, now);
    }
}

/// When the entry of the last event, a `new` event, was created. Without a time of the kernel: after
/// the time until which every event has been received. With `--reliable` a `new` event that did not fit
/// into the queue is sent with the next event of its entry (`missed` in
/// net/netfilter/nf_conntrack_ecache.c), at any time later.
#[inline]
fn start(stream: &NamespaceStream, is_reliable: bool, now: u64) -> Start {
    let NamespaceStream { event, complete_until, gaps, .. } = stream;
    let received = if is_reliable && *gaps > 0 {
        Start::Before(now)
    } else {
        Start::Between { after: *complete_until, before: now }
    };
    Start::of(&event.flow, event.flow.event_time.map_or(received, Start::Event))
}
