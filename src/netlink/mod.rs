//! Netlink sockets: the only code that opens and uses them.
//!
//! A [`Connection`] sends requests to the netfilter subsystems of one network namespace and
//! receives the replies: sequence numbers, ACKs, dumps. A [`Listener`] receives multicast
//! messages (events) and reports overruns. Neither interprets conntrack attributes.
//!
//! ```no_run
//! use ctnl::netlink::{Connection, Netns};
//! use ctnl::wire::{Family, Header, uapi};
//!
//! let mut connection = Connection::open(&Netns::parse("blue"))?;
//! let header = Header {
//!     subsystem: uapi::nfnl_subsys::CTNETLINK,
//!     command: uapi::ipctnl_msg_ct::GET_STATS,
//!     flags: 0,
//!     family: Family::UNSPEC,
//!     sequence: 0,
//! };
//! connection.request("count entries", header, |_| {}, |message| {
//!     for attribute in message.attributes() {
//!         println!("{:?}", attribute?);
//!     }
//!     Ok(())
//! })?;
//! # Ok::<(), ctnl::netlink::Error>(())
//! ```

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
pub use netns::{Netns, PinnedNetns};
pub use sock_diag::{SockDiag, TcpSocket};
pub use socket::Socket;
pub use socket_filter::{Instruction, Size, SocketFilter};
