//! What the integration tests and the cases of `vm-tests` share.
//!
//! - `harness`: a test in a network namespace of its own, and runs of the program
//! - `net`, `talk`: two hosts and a router between them; their connections
//! - `bystanders`: entries that differ in one part of what names an entry
//! - `deleting`: deletes of what a dump chooses, while it runs
//! - `summary`: the program's JSON summaries, key by key
//! - `flows`, `expressions`: random entries and random filters
//! - `reference`: an evaluator of filters written apart from the library's
//!
//! The program is a binary, which a test cannot import: its modules that tests call are
//! compiled here a second time, `population` and `host` always, the sinks with the
//! feature `sink`.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stderr,
    reason = "a test fails by panicking"
)]

pub mod bystanders;
pub mod deleting;
pub mod expressions;
pub mod flows;
pub mod harness;
pub mod net;
pub mod reference;
pub mod running;
pub mod summary;
pub mod talk;

#[path = "../../../src/bin/ctnl/host/mod.rs"]
#[allow(dead_code, unused_imports, reason = "the program uses more of it")]
pub mod host;
#[path = "../../../src/bin/ctnl/lab/population/mod.rs"]
#[allow(dead_code, unused_imports, reason = "the program uses more of it")]
pub mod population;

#[cfg(feature = "sink")]
#[path = "../../../src/bin/ctnl/chunk.rs"]
#[allow(dead_code, reason = "the program uses more of it")]
pub mod chunk;
#[cfg(feature = "sink")]
#[path = "../../../src/bin/ctnl/sink/mod.rs"]
#[allow(dead_code, unused_imports, reason = "the program uses more of it")]
pub mod sink;
#[cfg(feature = "sink")]
#[path = "../../../src/bin/ctnl/term"]
#[allow(dead_code, unused_imports, reason = "the program uses more of it")]
mod term {
    pub mod exit;
    pub mod stdout;
}
