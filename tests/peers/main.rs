//! Comparisons with Debian's conntrack(8), nft(8), ip(8), iptables(8), jq(1) and rsyslogd(8), with real traffic.
//!
//! Written against conntrack 1.4.7, nftables 1.0.6, iptables 1.8.9, iproute2 6.1, rsyslog 8.2302, nats-server 2.9.10 and
//! Chromium 156, tmux 3.3a (Debian 12);
//! what differs from the installed conntrack names its version. As any user: all
//! happens in a private user namespace, see `harness`.
//!
//! - `net`: a router between two hosts, each a network namespace
//! - `connections`: connections between the hosts; `raw`: packets made by hand
//! - `packet_monitor`: when each flow had its last packet, from the kernel's counters
//! - `text`: the lines of ctnl are those of conntrack(8); `lines`: those of conntrack(8) name their entries
//! - `events`: the event lines of ctnl are those of `conntrack -E`, and jq parses them
//! - `compat`: the command line of conntrack(8), executed by both
//! - `doctor`: what `ctnl doctor` finds in traffic; `doctor_nat`: about rules and NAT; `doctor_iptables`: with rules of
//!   iptables
//! - `idle`: the flows that `--older` matches, and those that it must not
//! - `changed`: idle times after a sysctl has changed, and under policies
//! - `flushing`: connections in use survive a flush
//! - `restoring`: connections go on after a save, a router swap and a restore
//! - `meanwhile`: traffic and settings that change while a flush is stopped, waits or runs
//! - `service`: systemd-analyze on the unit in `packaging/`
//! - `ssh`: one's own session is spared
//! - `stats`: the counters are those of `conntrack -S`
//! - `scope`: only matching entries are deleted
//! - `syslog`: rsyslogd receives a stream of events, and is killed in the middle of it
//! - `pipeline`: the program with such receivers, when either of them is killed
//! - `nats`: lines published to three nats-servers (`cluster`) that are killed
//! - `doctor_page`: the page of `ctnl doctor --html` in a headless Chromium (`browser`)
//! - `top`: the screen of `ctnl top` in tmux(1)
//! - `kept`: a nats-server that has lost what it acknowledged

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stderr,
    reason = "a test fails by panicking"
)]

mod browser;
mod changed;
mod cluster;
mod compat;
mod doctor;
mod doctor_iptables;
mod doctor_nat;
mod doctor_page;
mod events;
mod flushing;
mod idle;
mod kept;
mod lines;
mod meanwhile;
mod nats;
mod packet_monitor;
mod pipeline;
mod raw;
mod restoring;
mod scope;
mod service;
mod ssh;
mod stats;
mod syslog;
mod text;
mod top;

use std::process::ExitCode;

use ctnl_test_support::{harness, net};

/// Most tests wait, so many run at a time, also on few processors.
const AT_ONCE: usize = 12;

fn main() -> ExitCode {
    harness::set_program(env!("CARGO_BIN_EXE_ctnl"));
    harness::raise_open_files();
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
        compat::TESTS,
        doctor::TESTS,
        doctor_page::TESTS,
        top::TESTS,
        doctor_nat::TESTS,
        doctor_iptables::TESTS,
        lines::TESTS,
        events::TESTS,
        idle::TESTS,
        changed::TESTS,
        flushing::TESTS,
        restoring::TESTS,
        meanwhile::TESTS,
        ssh::TESTS,
        stats::TESTS,
        scope::TESTS,
        service::TESTS,
        syslog::TESTS,
        nats::TESTS,
        kept::TESTS,
        pipeline::journal::TESTS,
        pipeline::servers::TESTS,
        pipeline::disk::TESTS,
        pipeline::service::TESTS,
        pipeline::kinds::TESTS,
        pipeline::logrotate::TESTS,
        pipeline::durability::TESTS,
    ];
    let trials = lists.concat().into_iter().map(harness::trial).collect();
    libtest_mimic::run(&arguments, trials).exit_code()
}
