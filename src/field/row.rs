//! One row of the registry.

use super::classes::EntryClasses;
use super::id::FieldId;
use super::kernel::{DumpFilter, EventFilter};
use super::subject::Subject;
use super::value::Value;
use super::value_kind::ValueKind;

/// One row of the registry. Everything that depends on the field is an attribute of it.
#[derive(Debug, Clone, Copy)]
pub struct Field {
    /// Its identity, for comparisons in code.
    pub id: FieldId,
    /// The word in expressions, flags (`--NAME`), columns and JSON keys.
    pub name: &'static str,
    /// Further words that are accepted for it.
    pub aliases: &'static [&'static str],
    /// One line of help.
    pub doc: &'static str,
    /// A term with this field, for help.
    pub example: &'static str,
    /// The kind of its values.
    pub kind: ValueKind,
    /// One flow may have several values, e.g. the addresses of both ends.
    pub multi: bool,
    /// `count --by` accepts it.
    pub groupable: bool,
    /// `list --sort` accepts it.
    pub sortable: bool,
    /// `list --columns` accepts it.
    pub column: bool,
    /// There is a `--NAME VALUE` flag.
    pub flag: bool,
    /// The field's value in a flow.
    pub value: for<'a> fn(&Subject<'a>) -> Value<'a>,
    /// What has to be read before `value` can be computed.
    pub needs: Needs,
    /// How the kernel can leave entries out of a dump by an exact value; `None` where it
    /// cannot, or does so wrongly.
    pub dump_filter: Option<DumpFilter>,
    /// Where the value is in the messages of events, if it is never changed while the
    /// entry exists.
    pub event_filter: Option<EventFilter>,
    /// The classes in which some entries have a value.
    pub present_in: EntryClasses,
    /// The classes in which some entries have no value.
    pub absent_in: EntryClasses,
    /// The fields whose values are values of this field, each in these classes of entries.
    pub parts: &'static [(FieldId, EntryClasses)],
    /// The numbers that an entry of a dump can have, for fields whose values are numbers.
    pub live: LiveNumbers,
}

/// The numbers that an entry of a dump can have.
#[derive(Debug, Clone, Copy)]
#[non_exhaustive]
pub enum LiveNumbers {
    /// From the first to the second, both included.
    Range(u64, u64),
    /// These numbers, by classes of entries.
    OneOf(&'static [(EntryClasses, &'static [u64])]),
}

/// What has to be read to compute a field's value, besides the flow.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Needs {
    /// Idle time: the timeouts in force have to be read.
    pub idle: bool,
    /// Age: the clock has to be read.
    pub age: bool,
}

impl Needs {
    /// What `self` or `other` needs.
    #[must_use]
    pub const fn union(self, other: Needs) -> Needs {
        Needs { idle: self.idle || other.idle, age: self.age || other.age }
    }

    /// Whether the value is computed from more than the flow. Such a term is evaluated last.
    #[must_use]
    pub const fn is_costly(self) -> bool {
        self.idle || self.age
    }
}

impl PartialEq for Field {
    fn eq(&self, other: &Self) -> bool {
        self.id == other.id
    }
}

impl Eq for Field {}

impl Field {
    /// The placeholder of a value in help: `ADDR|CIDR|LIST`.
    #[must_use]
    pub fn value_name(&self) -> &'static str {
        self.kind.value_name()
    }

    /// A row of a field with one value in every flow.
    pub(super) const fn new(
        id: FieldId,
        name: &'static str,
        kind: ValueKind,
        doc: &'static str,
        example: &'static str,
        value: for<'a> fn(&Subject<'a>) -> Value<'a>,
    ) -> Self {
        Field {
            id,
            name,
            aliases: &[],
            doc,
            example,
            kind,
            multi: false,
            groupable: true,
            sortable: true,
            column: true,
            flag: true,
            value,
            needs: Needs { idle: false, age: false },
            dump_filter: None,
            event_filter: None,
            present_in: EntryClasses::ALL,
            absent_in: EntryClasses::NONE,
            parts: &[],
            live: LiveNumbers::Range(0, kind.max()),
        }
    }

    pub(super) const fn aliases(self, aliases: &'static [&'static str]) -> Self {
        Field { aliases, ..self }
    }

    /// Some flows of any class have no value.
    pub(super) const fn optional(self) -> Self {
        Field { absent_in: EntryClasses::ALL, ..self }
    }

    /// Only flows of these classes have a value, and all of them do.
    pub(super) const fn only_in(self, classes: EntryClasses) -> Self {
        self.some_in(classes, classes)
    }

    /// Flows of the classes `always` have a value, some of the classes `some`, and no other.
    pub(super) const fn some_in(self, some: EntryClasses, always: EntryClasses) -> Self {
        Field { present_in: some, absent_in: always.complement(), ..self }
    }

    /// A flow with several values is counted in the group of each.
    pub(super) const fn grouped_by_each(self) -> Self {
        Field { groupable: true, ..self }
    }

    /// One flow may have several values: no key to group or to sort by.
    pub(super) const fn multi(self) -> Self {
        Field { multi: true, groupable: false, sortable: false, ..self }
    }

    /// One flow may have two values, although no kernel creates such flows today.
    pub(super) const fn one_or_two(self) -> Self {
        Field { multi: true, ..self }
    }

    /// A quantity: nearly every flow would be a group of its own.
    pub(super) const fn quantity(self) -> Self {
        Field { groupable: false, ..self }
    }

    pub(super) const fn needs(self, needs: Needs) -> Self {
        Field { needs, ..self }
    }

    pub(super) const fn dump_filter(self, filter: DumpFilter) -> Self {
        Field { dump_filter: Some(filter), ..self }
    }

    pub(super) const fn event_filter(self, filter: EventFilter) -> Self {
        Field { event_filter: Some(filter), ..self }
    }

    pub(super) const fn parts(self, parts: &'static [(FieldId, EntryClasses)]) -> Self {
        Field { parts, ..self }
    }

    /// The numbers that an entry of a dump can have, both ends included.
    pub(super) const fn live(self, least: u64, greatest: u64) -> Self {
        Field { live: LiveNumbers::Range(least, greatest), ..self }
    }

    /// The numbers that an entry of a dump can have, by class of entry.
    pub(super) const fn live_one_of(self, numbers: &'static [(EntryClasses, &'static [u64])]) -> Self {
        Field { live: LiveNumbers::OneOf(numbers), ..self }
    }
}
