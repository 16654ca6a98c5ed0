//! What goes out to the kernel and what may come in, byte by byte: no kernel
//! needed, a closure stands for it.
//!
//! - `netlink`: a second reader and writer of netlink messages, which shares no
//!   code with the library
//! - `flows`: arbitrary entries, also ones that no kernel would send
//! - `sending`: a delete is never sent without a complete tuple, and the answers
//!   are counted exactly
//! - `receiving`: truncated, corrupt, repeated and unknown data
//! - `events`: what a recorded event says, and what it leaves unsaid
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
mod sending;
