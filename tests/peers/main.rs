//! Tests beside Debian's conntrack(8), nft(8), ip(8), jq(1) and rsyslogd(8), with real traffic.
//!
//! Written against conntrack 1.4.7, nftables 1.0.6, iproute2 6.1, rsyslog 8.2302 and nats-server 2.9.10 (Debian 12);
//! what differs from the installed conntrack names its version. As any user: all
//! happens in a private user namespace, see `harness`.
//!
//! - `net`: a router between two hosts, each a network namespace
//! - `talk`: connections between the hosts; `raw`: packets made by hand
//! - `witness`: who knows when each flow had its last packet
//! - `text`: our lines are those of conntrack(8)
//! - `events`: our lines of events are those of `conntrack -E`, and jq reads them
//! - `idle`: what `--older` matches, and what it must not
//! - `changed`: idle times after a sysctl has changed, and under policies
//! - `flushing`: what a flush does to connections that are in use
//! - `meanwhile`: traffic and settings that change while a flush is stopped, waits or runs
//! - `service`: what systemd says of the unit in `packaging/`
//! - `ssh`: one's own session is spared
//! - `scope`: nothing is deleted beside what was named
//! - `syslog`: what rsyslogd makes of a stream of events, killed in the middle of it
//! - `pipeline`: the program between the kernel and such receivers, whoever dies
//! - `nats`: what is published to three nats-servers (`cluster`) while they die

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stderr,
    reason = "a test fails by panicking"
)]

mod changed;
mod cluster;
mod events;
mod flushing;
mod idle;
mod meanwhile;
mod nats;
mod pipeline;
mod raw;
mod scope;
mod service;
mod ssh;
mod syslog;
mod text;
mod witness;

use std::process::ExitCode;

use ctnl_test_support::{harness, net};

/// Most tests wait for time to pass: many at once, however few processors.
const AT_ONCE: usize = 12;

fn main() -> ExitCode {
    harness::set_program(env!("CARGO_BIN_EXE_ctnl"));
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
    let lists = [
        text::TESTS,
        events::TESTS,
        idle::TESTS,
        changed::TESTS,
        flushing::TESTS,
        meanwhile::TESTS,
        ssh::TESTS,
        scope::TESTS,
        service::TESTS,
        syslog::TESTS,
        nats::TESTS,
        pipeline::journal::TESTS,
        pipeline::servers::TESTS,
        pipeline::disk::TESTS,
        pipeline::service::TESTS,
        pipeline::kinds::TESTS,
    ];
    let trials = lists.concat().into_iter().map(harness::trial).collect();
    libtest_mimic::run(&arguments, trials).exit_code()
}
