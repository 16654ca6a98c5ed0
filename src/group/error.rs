//! Errors in a list of fields to group by.

use std::fmt;
use std::ops::Range;

use crate::field::{FIELDS, ValueKind};
use crate::text::nearest;

/// A list of fields that cannot be grouped by.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GroupError {
    /// What is wrong.
    pub kind: GroupErrorKind,
    /// The bytes of the list that it is about.
    pub span: Range<usize>,
}

/// What is wrong with a list of fields.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum GroupErrorKind {
    /// No field is named.
    Empty,
    /// There is no such field.
    Unknown(Box<str>),
    /// Flows have several values of it, or nearly every flow has a different one.
    NotGroupable(&'static str),
    /// The field is named twice.
    Twice(&'static str),
    /// Both have several values of one flow.
    BothSeveral(&'static str, &'static str),
    /// Networks of a field that is no address.
    NoNetworks(&'static str),
    /// No prefix length.
    Prefix(Box<str>),
}

/// Words for an address in the languages of tcpdump and nft.
const ADDRESS_WORDS: [&str; 4] = ["host", "ip", "net", "address"];

impl GroupErrorKind {
    pub(super) fn at(self, span: Range<usize>) -> GroupError {
        GroupError { kind: self, span }
    }
}

impl GroupError {
    /// What to write instead.
    #[must_use]
    pub fn hint(&self) -> String {
        let groupable = || FIELDS.iter().filter(|field| field.groupable);
        let list = |names: Vec<&str>| names.join(", ");
        match &self.kind {
            GroupErrorKind::Prefix(_) => {
                "src/24 groups IPv4 by /24 and IPv6 by /64; src/48 IPv6 by /48; src/16/48 both".to_owned()
            }
            GroupErrorKind::NoNetworks(_) => {
                let addresses = groupable().filter(|field| field.kind == ValueKind::Address);
                format!("fields with networks are {}", list(addresses.map(|field| field.name).collect()))
            }
            GroupErrorKind::Unknown(name) if ADDRESS_WORDS.contains(&&*name.to_ascii_lowercase()) => {
                "src or dst; addr for either end".to_owned()
            }
            kind => {
                let names: Vec<&str> = groupable().map(|field| field.name).collect();
                let near = match kind {
                    GroupErrorKind::Unknown(name) => nearest(name, names.iter().copied()),
                    _ => None,
                };
                near.map_or_else(|| format!("one or more of {}", list(names)), |near| format!("did you mean {near}?"))
            }
        }
    }
}

impl fmt::Display for GroupError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.kind {
            GroupErrorKind::Empty => f.write_str("expected a field to group by"),
            GroupErrorKind::Unknown(name) => write!(f, "unknown field '{name}'"),
            GroupErrorKind::NotGroupable(name) => write!(f, "field '{name}' cannot be grouped by"),
            GroupErrorKind::Twice(name) => write!(f, "field '{name}' is repeated"),
            GroupErrorKind::BothSeveral(one, other) => {
                write!(f, "fields '{one}' and '{other}' both have several addresses of one entry: expected one of them")
            }
            GroupErrorKind::NoNetworks(name) => write!(f, "field '{name}' has no networks"),
            GroupErrorKind::Prefix(text) => {
                write!(f, "invalid prefix length '{text}': expected at most 32 for IPv4 and 128 for IPv6")
            }
        }
    }
}

impl std::error::Error for GroupError {}
