//! Floor 5, the registry of flow fields: filter terms, `--by` keys, columns,
//! sort keys, completion and help are drawn from it. Adding a term is one row.

use std::fmt;
use std::net::IpAddr;

use crate::age::Ages;
use crate::model::{Flow, Undecided};

/// A flow together with what its idle time and age are computed from.
#[derive(Debug, Clone, Copy)]
pub struct Subject<'a> {
    /// The flow.
    pub flow: &'a Flow,
    /// Timeouts and clock.
    pub ages: &'a Ages,
}

/// The value of one field of one flow.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Value<'a> {
    /// The flow has no such thing (a port of an ICMP flow).
    Absent,
    /// It has one, but it cannot be known.
    Undecided(Undecided),
    /// A number.
    Number(u64),
    /// An address.
    Address(IpAddr),
    /// A word.
    Text(&'a str),
}

impl fmt::Display for Value<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Value::Absent => f.write_str("-"),
            Value::Undecided(_) => f.write_str("?"),
            Value::Number(number) => number.fmt(f),
            Value::Address(address) => address.fmt(f),
            Value::Text(text) => text.fmt(f),
        }
    }
}

/// One row of the registry.
#[derive(Debug)]
pub struct Field {
    /// The word in expressions, flags (`--NAME`), columns and JSON keys.
    pub name: &'static str,
    /// Further words that are understood.
    pub aliases: &'static [&'static str],
    /// One line of help.
    pub doc: &'static str,
    /// The field's value in a flow.
    pub value: for<'a> fn(&Subject<'a>) -> Value<'a>,
}

/// The registry.
pub static FIELDS: &[Field] = &[Field {
    name: "src",
    aliases: &[],
    doc: "source address of the original direction",
    value: |subject| Value::Address(subject.flow.orig.src),
}];

/// The field of a name or an alias.
#[must_use]
pub fn field(name: &str) -> Option<&'static Field> {
    FIELDS.iter().find(|field| field.name == name || field.aliases.contains(&name))
}
