//! One conntrack entry, named in text: short (`tcp 10.0.0.1:40000 10.0.0.2:443`) or as ctnl and
//! conntrack(8) print it, so that a printed line can be pasted: the line of a list or of an event
//! (`[NEW] tcp 6 120 SYN_SENT src=… dst=… sport=…`), a line of JSON, a row of the table.
//!
//! The name is exact: a part that is missing, repeated, or that entries of the protocol do not
//! have is an error, since a request without it can match another entry.

mod direction;
mod error;
mod json;
mod json_scanner;
mod line;
#[cfg(test)]
mod line_tests;
mod named_entry;
mod reader;
mod row;
#[cfg(test)]
mod tests;
mod words;

pub use error::NamedEntryError;
pub use named_entry::NamedEntry;
