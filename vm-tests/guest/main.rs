//! The guest: the first process of the virtual machine, and the cases.
//!
//! As process 1 (`init`) it makes a system of what the initramfs has and starts
//! itself anew for each case, so that a case that panics or hangs ends alone. The
//! cases use the harness, the router between two hosts and the connections of the
//! project's own tests.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a case fails by panicking"
)]
#![allow(clippy::print_stderr, clippy::print_stdout, reason = "what a case says is kept where it fails")]

mod bare;
mod cases;
mod emergency;
mod events;
mod facts;
mod flush;
mod full;
#[path = "../../tests/kernel/harness.rs"]
#[allow(dead_code, unused_macros, unused_imports, reason = "the kernel tests use more of it")]
mod harness;
mod host;
mod init;
mod namespaces;
#[path = "../../tests/peers/net.rs"]
#[allow(dead_code, reason = "the peer tests use more of it")]
mod net;
mod offload;
mod policies;
#[path = "../../src/bin/ctnl/lab/population/mod.rs"]
#[allow(dead_code, unused_imports, reason = "the lab uses more of it, and runs its unit tests")]
mod population;
mod running;
#[path = "../../tests/kernel/summary.rs"]
#[allow(dead_code, reason = "the kernel tests use more of it")]
mod summary;
#[path = "../../tests/peers/talk.rs"]
#[allow(dead_code, reason = "the peer tests use more of it")]
mod talk;
mod tcp;
mod traffic;
#[path = "../../tests/kernel/verbs.rs"]
#[allow(dead_code, reason = "only its bystanders")]
mod verbs;

use std::process::ExitCode;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if std::process::id() == 1 {
        init::run();
    }
    let Some(name) = arguments.first() else {
        eprintln!("usage: guest CASE");
        return ExitCode::from(2);
    };
    cases::run(name)
}
