//! Errors in a list of fields to group by.

use std::fmt;

use crate::field::FIELDS;
use crate::text::nearest;

/// A list of fields that cannot be grouped by.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum GroupError {
    /// No field is named.
    Empty,
    /// There is no such field.
    Unknown(Box<str>),
    /// Flows have several values of it, or nearly every flow has a different one.
    NotGroupable(&'static str),
    /// The field is named twice.
    Twice(&'static str),
}

impl GroupError {
    /// What to write instead.
    #[must_use]
    pub fn hint(&self) -> String {
        let groupable = || FIELDS.iter().filter(|field| field.groupable).map(|field| field.name);
        if let GroupError::Unknown(name) = self
            && matches!(&*name.to_ascii_lowercase(), "host" | "ip" | "net" | "address")
        {
            return "src or dst".to_owned();
        }
        if let GroupError::Unknown(name) = self
            && let Some(near) = nearest(name, groupable())
        {
            return format!("did you mean {near}?");
        }
        let names: Vec<&str> = groupable().collect();
        format!("one or more of {}", names.join(", "))
    }
}

impl fmt::Display for GroupError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            GroupError::Empty => f.write_str("expected a field to group by"),
            GroupError::Unknown(name) => write!(f, "unknown field '{name}'"),
            GroupError::NotGroupable(name) => write!(f, "field '{name}' cannot be grouped by"),
            GroupError::Twice(name) => write!(f, "field '{name}' is repeated"),
        }
    }
}

impl std::error::Error for GroupError {}
