//! One conntrack entry, named in text: short (`tcp 10.0.0.1:40000 10.0.0.2:443`) or as
//! conntrack(8) and `ctnl list` print it (`tcp 6 431999 ESTABLISHED src=… dst=… sport=…`), so
//! that a printed line can be pasted.
//!
//! The name is exact: a part that is missing, repeated, or that entries of the protocol do not
//! have is an error, since a request without it can match another entry.

mod direction;
mod error;
mod line;
mod named_entry;
mod reader;
#[cfg(test)]
mod tests;

pub use error::NamedEntryError;
pub use named_entry::NamedEntry;
