//! Conntrack over netlink. The modules, each built only on those below it:
//!
//! ```text
//! output  snapshot         entries and events → bytes; save files ↔ entries
//! filter  group  metrics   expression → predicate; count by fields; figures of a service
//! field                    one row per flow field: name, doc, value
//! age  live                idle time and age of entries; the entries that a stream has reported
//! table  host              one kernel verb per file, streaming
//! netlink  sysctl  clock   the only code that touches the kernel
//! model                    Flow, Tuple, Status …: plain values
//! wire  units  text        bytes ↔ views; durations and sizes; text for people
//! ```
//!
//! `tests/layers` checks the imports. The library is synchronous and without global state:
//! the kernel, the clock and paths are arguments. Start with [`table`].
//!
//! Dump the table and count (needs CAP_NET_ADMIN):
//!
//! ```no_run
//! use std::ops::ControlFlow;
//!
//! use ctnl::model::Protocol;
//! use ctnl::netlink::{Connection, Netns};
//! use ctnl::table::{self, DumpRequest};
//!
//! let mut connection = Connection::open(&Netns::Current)?;
//! let mut tcp = 0;
//! let totals = table::dump(&mut connection, DumpRequest::default(), |flow| {
//!     tcp += u64::from(flow.orig.protocol == Protocol::Tcp);
//!     ControlFlow::Continue(())
//! })?;
//! println!("{tcp} of {} entries are TCP", totals.entries);
//! # Ok::<(), ctnl::netlink::Error>(())
//! ```

pub mod age;
pub mod clock;
pub mod field;
pub mod filter;
pub mod group;
pub mod host;
pub mod live;
pub mod metrics;
pub mod model;
pub mod netlink;
pub mod output;
pub mod snapshot;
pub mod sysctl;
pub mod table;
pub mod text;
pub mod units;
pub mod wire;
