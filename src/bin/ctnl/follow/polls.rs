//! What is read of a namespace every two seconds: `nf_conntrack_events`, and the expectations.

use std::time::Duration;

use ctnl::model::{EventKind, Expectation};
use ctnl::output::{ClockSource, EventTime, ExpectationRecord, GapCause, Record, SyntheticCause};
use ctnl::table;

use super::emitter::Emitter;
use super::environment::Notification;
use super::event_sysctl::EventMode;
use super::namespace::NamespaceStream;

/// Time between two reads.
pub(super) const POLL_INTERVAL: Duration = Duration::from_secs(2);

impl Emitter<'_> {
    /// Reads the sysctl, and writes a gap record where events have been switched off, or on again.
    pub(super) fn check_event_sysctl(&mut self, stream: &mut NamespaceStream) {
        let now = self.env.realtime();
        if let Some(from) = stream.sysctl.read(now) {
            self.emit_gap(stream, GapCause::Disabled, None, from..now);
            let is_off = stream.sysctl.mode() == EventMode::Off;
            self.env.notify(Notification::Switched { netns: stream.name.as_deref(), is_off });
        }
    }

    /// Dumps the expectations of a namespace and writes those of which there was no event.
    pub(super) fn compare_expectations(&mut self, stream: &mut NamespaceStream) {
        let Some(connection) = &mut stream.connection else { return };
        let mut dumped = Vec::new();
        if let Err(error) = table::expectations(connection, |expectation| dumped.push(expectation)) {
            self.env.notify(Notification::PassFailed { netns: stream.name.as_deref(), error: &error });
            return;
        }
        let is_seed = !stream.expectations.is_seeded();
        let why = if is_seed { SyntheticCause::Seed } else { SyntheticCause::Reconcile };
        for (kind, expectation) in stream.expectations.compare(dumped) {
            if !is_seed || self.options.seed {
                self.emit_synthetic_expectation(kind, stream.name.as_deref(), &expectation, why);
            }
        }
    }

    /// Writes the record of an expectation without an event.
    pub(super) fn emit_synthetic_expectation(
        &mut self,
        kind: EventKind,
        netns: Option<&str>,
        expectation: &Expectation,
        why: SyntheticCause,
    ) {
        let time = EventTime { ns: self.env.realtime(), clock: ClockSource::Received };
        let (synthetic, requester) = (Some(why), None);
        self.lines.record(&Record::Expectation(ExpectationRecord {
            kind,
            synthetic,
            time,
            expectation,
            requester,
            netns,
        }));
    }
}
