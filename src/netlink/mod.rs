//! Floor 2, the only code that touches the kernel's netlink sockets.
//!
//! A [`Connection`] sends requests and receives answers, for one namespace. It
//! knows sequence numbers, ACKs and dumps, and nothing of conntrack.

mod connection;
mod error;
mod netns;
mod socket;

pub use connection::{Connection, DumpStream};
pub use error::{Error, Refusal};
pub use netns::{HeldNetns, Netns};
pub use socket::Socket;
