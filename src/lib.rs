//! Conntrack over netlink, one floor above the other:
//!
//! ```text
//! 7  output            flows → bytes
//! 6  filter  group  metrics  expression → predicate;  count by fields;  figures of a service
//! 5  field             one row per flow field: name, doc, value
//! 4  age  live         how long idle, how old;  the entries that are known
//! 3  table             one kernel verb per file, streaming
//! 2  netlink  sysctl   the only code that touches the kernel
//! 1  model             Flow, Tuple, Status … plain values
//! 0  wire              bytes ↔ views
//! ```
//!
//! A file imports only from floors below its own (`tests/floors.rs` checks it).
//! Synchronous, no global state: the kernel, the clock and paths are arguments.
//! Start with [`table`].

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
pub mod sysctl;
pub mod table;
pub mod units;
pub mod wire;
