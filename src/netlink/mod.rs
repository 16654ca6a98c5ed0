//! Floor 2, the only code that touches the kernel's netlink sockets.
//!
//! A [`Connection`] sends requests and receives answers, for one namespace. It
//! knows sequence numbers, ACKs and dumps, and nothing of conntrack. A [`Listener`]
//! receives what the kernel sends unasked, and says when some did not fit.

mod connection;
mod error;
mod listener;
mod meminfo;
mod netns;
mod sock_diag;
mod socket;
mod socket_filter;

pub use connection::{Connection, DumpStream};
pub use error::{Error, KernelError};
pub use listener::{Listener, Received};
pub use meminfo::MemInfo;
pub use netns::{HeldNetns, Netns};
pub use sock_diag::{SockDiag, TcpSocket};
pub use socket::Socket;
pub use socket_filter::{Instruction, Size, SocketFilter};
