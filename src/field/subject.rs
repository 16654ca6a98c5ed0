//! A flow with the data that its fields are computed from.

use super::value::Value;
use crate::age::{Idle, IdleEstimator};
use crate::model::{EventKind, Flow, Undecided};

/// A flow, and the timeouts and the clock that its idle time and age are computed from.
#[derive(Debug, Clone, Copy)]
pub struct Subject<'a> {
    /// The flow.
    pub flow: &'a Flow,
    /// Timeouts and clock.
    pub ages: &'a IdleEstimator,
    /// Seconds without a packet between two samples; `None`: sampled once.
    pub confirmed_idle: Option<u32>,
    /// The kind of event, for a flow of an event: events have fewer attributes than a dump.
    pub event: Option<EventKind>,
}

impl<'a> Subject<'a> {
    /// A flow of a dump that was sampled once.
    #[must_use]
    pub fn new(flow: &'a Flow, ages: &'a IdleEstimator) -> Self {
        Subject { flow, ages, confirmed_idle: None, event: None }
    }

    /// A flow of an event. A missing attribute that the kind of event does not always carry is
    /// undecided: labels in UPDATE and DESTROY, helper and security context in DESTROY
    /// (`ctnetlink_conntrack_event` in net/netfilter/nf_conntrack_netlink.c).
    #[must_use]
    pub fn of_event(flow: &'a Flow, ages: &'a IdleEstimator, kind: EventKind) -> Self {
        Subject { event: Some(kind), ..Subject::new(flow, ages) }
    }

    /// The value of a missing attribute that UPDATE carries only after a change, and DESTROY never.
    pub(super) fn absent_if_new(&self) -> Value<'static> {
        match self.event {
            Some(EventKind::Update | EventKind::Destroy) => NOT_SENT,
            Some(EventKind::New) | None => Value::Absent,
        }
    }

    /// The value of a missing attribute that only DESTROY never carries.
    pub(super) fn absent_unless_destroy(&self) -> Value<'static> {
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
