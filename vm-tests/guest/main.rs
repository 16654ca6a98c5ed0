//! The guest: the first process of the virtual machine, and the cases.
//!
//! As process 1 (`init`) it mounts file systems and starts itself again for each case, so that a case
//! that panics or hangs does not affect the others. The
//! cases use the harness, the router between two hosts and the connections of the
//! project's own tests.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a case fails by panicking"
)]
#![allow(clippy::print_stderr, clippy::print_stdout, reason = "the output of a failed case is reported")]

mod bare;
mod cases;
mod disk;
mod doctor;
mod emergency;
mod events;
mod facts;
mod flush;
mod full;
mod host;
mod init;
mod namespaces;
mod offload;
mod policies;
mod reboot;
mod running;
mod tcp;
mod traffic;

use std::process::ExitCode;

fn main() -> ExitCode {
    ctnl_test_support::harness::set_program("/usr/bin/ctnl");
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
