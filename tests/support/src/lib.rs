//! Shared code of the integration tests and of the cases of `vm-tests`.
//!
//! - `harness`: tests in private network namespaces, and runs of the program
//! - `net`, `connections`: two hosts and a router between them; their connections
//! - `similar_entries`: entries that differ in one part of their identity
//! - `deleting`: deletes chosen entries while they are dumped
//! - `apt`: packages of another suite of Debian; `command`: other programs, run to their end
//! - `summary`: the program's JSON summaries, key by key
//! - `flows`, `expressions`: random entries and random filters
//! - `reference`: the reference evaluator of filters, which shares no code with the library's
//!
//! The program is a binary, which a test cannot import. Its modules that tests call are
//! compiled here a second time: `population` and `host` always, the sinks with the
//! feature `sink`.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stderr,
    reason = "a test fails by panicking"
)]

pub mod apt;
pub mod command;
pub mod connections;
pub mod deleting;
pub mod expressions;
pub mod flows;
pub mod harness;
pub mod net;
pub mod reference;
pub mod running;
pub mod screen;
pub mod similar_entries;
pub mod summary;

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
