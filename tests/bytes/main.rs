//! The bytes sent to the kernel and received from it. No kernel is needed: a closure answers instead.
//!
//! - `netlink`: a second reader and writer of netlink messages, which shares no
//!   code with the library
//! - `flows`: arbitrary entries, also ones that no kernel would send
//! - `sending`: a delete is never sent without a complete tuple, and the answers
//!   are counted exactly
//! - `receiving`: truncated, corrupt, repeated and unknown data
//! - `events`: the attributes of recorded events
//! - `updating`: an update is applied as a whole or not at all; expectations are named whole
//! - `save_lines`: lines of `-o save` are read as the entries that they were written of
//! - `failing`: deletes that fail halfway account for every entry

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

mod events;
mod failing;
mod flows;
mod netlink;
mod receiving;
mod save_lines;
mod sending;
mod updating;
