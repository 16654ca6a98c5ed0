//! One row of the registry.

use super::kind::Kind;
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
    /// Seconds without a packet, where two looks have shown so.
    pub quiet_for: Option<u32>,
    /// The kind of event that brought the flow: it has less than a dump.
    pub event: Option<EventKind>,
}

impl<'a> Subject<'a> {
    /// A flow of a dump that was looked at once.
    #[must_use]
    pub fn new(flow: &'a Flow, ages: &'a IdleEstimator) -> Self {
        Subject { flow, ages, quiet_for: None, event: None }
    }

    /// A flow of an event. What events of its kind do not carry is undecided where it
    /// is not there: the labels and security context of one that changed or went, and
    /// the helper of one that went.
    #[must_use]
    pub fn of_event(flow: &'a Flow, ages: &'a IdleEstimator, kind: EventKind) -> Self {
        Subject { event: Some(kind), ..Subject::new(flow, ages) }
    }

    /// What it means that an attribute is not there which only changes bring.
    pub(super) fn without_change(&self) -> Value<'static> {
        match self.event {
            Some(EventKind::Update | EventKind::Destroy) => NOT_SENT,
            Some(EventKind::New) | None => Value::Absent,
        }
    }

    /// What it means that an attribute is not there which only the end leaves out.
    pub(super) fn without_end(&self) -> Value<'static> {
        if self.event == Some(EventKind::Destroy) { NOT_SENT } else { Value::Absent }
    }

    /// Time since the last packet, from the time left and from a second look.
    #[must_use]
    pub fn idle(&self) -> Idle {
        let idle = self.ages.idle(self.flow);
        self.quiet_for.map_or(idle, |seconds| idle.confirmed(seconds))
    }
}

/// The kernel has sent no such attribute.
pub(super) const NOT_SENT: Value<'static> = Value::Undecided(Undecided::NotSent);

/// One row of the registry.
#[derive(Debug, Clone, Copy)]
pub struct Field {
    /// The word in expressions, flags (`--NAME`), columns and JSON keys.
    pub name: &'static str,
    /// Further words that are understood.
    pub aliases: &'static [&'static str],
    /// One line of help.
    pub doc: &'static str,
    /// A term with this field, for help.
    pub example: &'static str,
    /// Which values it takes.
    pub kind: Kind,
    /// Some flows have no such thing.
    pub optional: bool,
    /// One flow may have several: both ends' addresses, say.
    pub multi: bool,
    /// `count --by` takes it.
    pub groupable: bool,
    /// `list --sort` takes it.
    pub sortable: bool,
    /// `list --columns` takes it.
    pub column: bool,
    /// There is a `--NAME VALUE` flag.
    pub flag: bool,
    /// The field's value in a flow.
    pub value: for<'a> fn(&Subject<'a>) -> Value<'a>,
}

impl Field {
    /// What stands for a value in help: `ADDR|CIDR|LIST`.
    #[must_use]
    pub fn value_name(&self) -> &'static str {
        self.kind.value_name()
    }

    /// A row that every flow has one value of.
    pub(super) const fn new(
        name: &'static str,
        kind: Kind,
        doc: &'static str,
        example: &'static str,
        value: for<'a> fn(&Subject<'a>) -> Value<'a>,
    ) -> Self {
        Field {
            name,
            aliases: &[],
            doc,
            example,
            kind,
            optional: false,
            multi: false,
            groupable: true,
            sortable: true,
            column: true,
            flag: true,
            value,
        }
    }

    pub(super) const fn aliases(self, aliases: &'static [&'static str]) -> Self {
        Field { aliases, ..self }
    }

    /// Some flows have none.
    pub(super) const fn optional(self) -> Self {
        Field { optional: true, ..self }
    }

    /// One flow may have several: no key to group or to sort by.
    pub(super) const fn multi(self) -> Self {
        Field { multi: true, groupable: false, sortable: false, ..self }
    }

    /// One flow may have two, though no kernel makes such flows today.
    pub(super) const fn one_or_two(self) -> Self {
        Field { multi: true, ..self }
    }

    /// A quantity: nearly every flow would be a group of its own.
    pub(super) const fn quantity(self) -> Self {
        Field { groupable: false, ..self }
    }
}
