//! One row of the registry.

use super::kind::Kind;
use super::value::Value;
use crate::age::{Ages, Idle};
use crate::model::Flow;

/// A flow together with what its idle time and age are computed from.
#[derive(Debug, Clone, Copy)]
pub struct Subject<'a> {
    /// The flow.
    pub flow: &'a Flow,
    /// Timeouts and clock.
    pub ages: &'a Ages,
    /// Seconds without a packet, where two looks have shown so.
    pub quiet_for: Option<u32>,
}

impl<'a> Subject<'a> {
    /// A flow that was looked at once.
    #[must_use]
    pub fn new(flow: &'a Flow, ages: &'a Ages) -> Self {
        Subject { flow, ages, quiet_for: None }
    }

    /// Time since the last packet, from the time left and from a second look.
    #[must_use]
    pub fn idle(&self) -> Idle {
        let idle = self.ages.idle(self.flow);
        self.quiet_for.map_or(idle, |seconds| idle.confirmed(seconds))
    }
}

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
    pub(super) const fn perhaps_two(self) -> Self {
        Field { multi: true, ..self }
    }

    /// A quantity: nearly every flow would be a group of its own.
    pub(super) const fn quantity(self) -> Self {
        Field { groupable: false, ..self }
    }
}
