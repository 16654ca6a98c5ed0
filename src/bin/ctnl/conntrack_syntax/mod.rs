//! The command line of conntrack(8) 1.4.9: arguments → plain values. It opens no file and no socket.
//!
//! `getopt` splits arguments as getopt_long(3) does; `options` has the options and which command takes
//! which; `protocols` those that `-p` adds; `values` reads addresses and numbers, `names` lists of names;
//! `parse` puts them together, and `batch` splits the lines of `-R`.
//!
//! What conntrack(8) accepts is accepted, with one exception: where it ignores a part of a value, or takes
//! another value than was written, the value is refused. Such a [`SyntaxError`] `is_stricter`.
//! docs/compat.md has the list.

mod batch;
mod error;
mod getopt;
mod names;
mod options;
mod parse;
mod protocols;
mod request;
mod saved_line;
#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)]
mod tests;
mod values;

pub use batch::{MAX_LINE, is_saved_line, parse_line};
pub use error::{ErrorExit, SyntaxError};
pub use parse::parse;
pub use request::{
    AddressPair, Command, EventMask, Invocation, LabelChange, Mark, NatArgument, PortPair, Request, StatusArgument,
    Table,
};
