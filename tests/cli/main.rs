//! The program without a kernel: refused input, help and documents, generated files.
//!
//! - `program`: runs the program
//! - `usage`: invalid input is refused before a request is sent, with a caret under the error
//! - `examples`: every command line in help and documents is parsed
//! - `generated`: version, completions, man pages
//! - `hosts`: doctor on the files of seven distributions, healthy and with faults
//! - `spool`: what is damaged in a spool has an exit code
//! - `service`: the command line of the systemd unit is parsed

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

mod examples;
mod generated;
mod hosts;
mod program;
mod service;
mod spool;
mod usage;
