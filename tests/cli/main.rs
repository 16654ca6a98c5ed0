//! The program without a kernel: what it refuses, what it teaches, what it
//! generates.
//!
//! - `program`: how it is run here
//! - `usage`: bad input ends before anything is sent, with a caret under the fault
//! - `examples`: whatever help and documents tell users to type is understood
//! - `generated`: version, completions, man pages
//! - `service`: the systemd unit starts what the program understands

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

mod examples;
mod generated;
mod program;
mod service;
mod usage;
