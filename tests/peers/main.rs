//! Tests beside Debian's conntrack(8), nft(8) and ip(8), with real traffic.
//!
//! Written against conntrack 1.4.7, nftables 1.0.6 and iproute2 6.1 (Debian 12);
//! what differs from the installed conntrack names its version. As any user: all
//! happens in a private user namespace, see `harness`.
//!
//! - `net`: a router between two hosts, each a network namespace
//! - `talk`: connections between the hosts; `raw`: packets made by hand
//! - `witness`: who knows when each flow had its last packet
//! - `text`: our lines are those of conntrack(8)
//! - `idle`: what `--older` matches, and what it must not
//! - `changed`: idle times after a sysctl has changed, and under policies
//! - `flushing`: what a flush does to connections that are in use
//! - `ssh`: one's own session is spared
//! - `scope`: nothing is deleted beside what was named

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stderr,
    reason = "a test fails by panicking"
)]

mod changed;
mod flushing;
#[path = "../kernel/harness.rs"]
#[allow(dead_code, reason = "the kernel tests use more of it")]
mod harness;
mod idle;
mod net;
#[path = "../../src/bin/ctnl/lab/population/mod.rs"]
#[allow(dead_code, unused_imports, reason = "the lab uses more of it, and runs its unit tests")]
mod population;
mod raw;
mod scope;
mod ssh;
mod talk;
mod text;
mod witness;

use std::process::ExitCode;

/// Most tests wait for time to pass: many at once, however few processors.
const AT_ONCE: usize = 12;

fn main() -> ExitCode {
    let mut arguments = libtest_mimic::Arguments::from_args();
    arguments.test_threads.get_or_insert(AT_ONCE);
    if !arguments.list
        && let Err(error) = harness::enter_user_namespace()
    {
        eprintln!("{error}");
        return ExitCode::FAILURE;
    }
    if !arguments.list {
        eprintln!("beside {}", net::conntrack(&["--version"]).trim());
    }
    let lists = [text::TESTS, idle::TESTS, changed::TESTS, flushing::TESTS, ssh::TESTS, scope::TESTS];
    let trials = lists.concat().into_iter().map(harness::trial).collect();
    libtest_mimic::run(&arguments, trials).exit_code()
}
