//! What the value of a field is computed from.

use super::value::Value;
use crate::age::{Idle, IdleEstimator};
use crate::model::{EventKind, Flow, Undecided};

/// A flow together with what its idle time and age are computed from.
#[derive(Debug, Clone, Copy)]
pub struct Subject<'a> {
    /// The flow.
    pub flow: &'a Flow,
    /// Timeouts and clock.
    pub ages: &'a IdleEstimator,
    /// Seconds without a packet, where two samples have shown so.
    pub confirmed_idle: Option<u32>,
    /// The kind of event that had the flow: events have fewer attributes than a dump.
    pub event: Option<EventKind>,
}

impl<'a> Subject<'a> {
    /// A flow of a dump that was sampled once.
    #[must_use]
    pub fn new(flow: &'a Flow, ages: &'a IdleEstimator) -> Self {
        Subject { flow, ages, confirmed_idle: None, event: None }
    }

    /// A flow of an event. An attribute that events of its kind do not carry is undecided
    /// where it is missing: labels and security context in UPDATE and DESTROY, the helper in
    /// DESTROY (`ctnetlink_conntrack_event` in net/netfilter/nf_conntrack_netlink.c).
    #[must_use]
    pub fn of_event(flow: &'a Flow, ages: &'a IdleEstimator, kind: EventKind) -> Self {
        Subject { event: Some(kind), ..Subject::new(flow, ages) }
    }

    /// The value of a missing attribute that UPDATE carries only when it has changed.
    pub(super) fn without_change(&self) -> Value<'static> {
        match self.event {
            Some(EventKind::Update | EventKind::Destroy) => NOT_SENT,
            Some(EventKind::New) | None => Value::Absent,
        }
    }

    /// The value of a missing attribute that only DESTROY leaves out.
    pub(super) fn without_end(&self) -> Value<'static> {
        if self.event == Some(EventKind::Destroy) { NOT_SENT } else { Value::Absent }
    }

    /// Time since the last packet, from the remaining time and from a second sample.
    #[must_use]
    pub fn idle(&self) -> Idle {
        let idle = self.ages.idle(self.flow);
        self.confirmed_idle.map_or(idle, |seconds| idle.confirmed(seconds))
    }
}

/// The kernel has sent no such attribute.
pub(super) const NOT_SENT: Value<'static> = Value::Undecided(Undecided::NotSent);
