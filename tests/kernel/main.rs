//! Tests on the real kernel, each in a private network namespace.
//!
//! `main` enters a private user namespace while the process has one thread; so any user can run the
//! tests, and the host's table is never changed. Where that is not permitted, the run fails with the
//! sysctls that permit it.
//!
//! The harness is `ctnl_test_support::harness`.
//!
//! - `timeouts`: timeouts and timeout policies as read from the kernel
//! - `verbs`: create, get, delete, update and count, next to similar entries
//! - `updating`: changing entries, lists other than the table, expectations
//! - `flushing`: the flush pipeline while the table changes under it
//! - `agreement`: list, count, dry run and flush match the same entries
//! - `following`: `ctnl events`, and the entries that its reader can derive
//! - `flow_log`: `ctnl events --flows=both`, the last packet of a connection, heartbeats
//! - `flush`, `list`, `entries`: the commands; `filtering`: notations of the filter language
//! - `compat`: conntrack(8)'s command line, and callers that parse its output
//! - `doctor`: `ctnl doctor` on the entries and counters of the running kernel
//! - `changing`: the commands `update` and `add`
//! - `events`: each event once and in order, and losses counted; `exclusion`: the part of a filter
//!   that the kernel applies to events
//! - `expecting`: the commands `expect list`, `add`, `delete`, `flush`, `events` and others
//! - `memory`: peak memory does not grow with the table
//! - `host`: what the event stream reads of the host: namespaces, settings, privileges
//! - `kernel_probe`: `ctnl doctor --kernel`
//! - `lab`: `ctnl lab`, and the population that it creates
//! - `namespaces`: `ctnl events` while namespaces get other names or vanish
//! - `netns`: other network namespaces
//! - `no_proc`: the commands where /proc is not mounted
//! - `processors`: `--jobs 2`, a single processor, `--kernel-filter`
//! - `safety`: what a flush must not do
//! - `saving`: `ctnl save`, `ctnl restore`, `ctnl flush --save`
//! - `signals`: signals that come twice
//! - `stats`: the counters of connection tracking
//! - `top`: `ctnl top`, also on a terminal
//! - `top_netns`: `ctnl top --all-netns`
//! - `tuning`: `ctnl tune`: values, rollback, confirmation
//! - `meanwhile`: what happens to the table while a flush is stopped, waits or runs

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stderr,
    reason = "a test fails by panicking"
)]

mod agreement;
mod changing;
mod compat;
mod doctor;
mod entries;
mod events;
mod exclusion;
mod expecting;
mod filtering;
mod flow_log;
mod flush;
mod flushing;
mod following;
mod host;
mod kernel_probe;
mod lab;
mod list;
mod meanwhile;
mod memory;
mod namespaces;
mod netns;
mod no_proc;
mod processors;
mod safety;
mod saving;
mod signals;
mod stats;
mod timeouts;
mod top;
mod top_netns;
mod tuning;
mod updating;
mod verbs;

use std::process::ExitCode;

use ctnl_test_support::harness;

fn main() -> ExitCode {
    harness::set_program(env!("CARGO_BIN_EXE_ctnl"));
    harness::raise_open_files();
    if let Some(code) = memory::measure_if_requested() {
        return code;
    }
    let arguments = libtest_mimic::Arguments::from_args();
    if !arguments.list
        && let Err(error) = harness::enter_user_namespace()
    {
        eprintln!("{error}");
        return ExitCode::FAILURE;
    }
    let lists = [
        timeouts::TESTS,
        agreement::TESTS,
        compat::TESTS,
        doctor::TESTS,
        verbs::TESTS,
        updating::TESTS,
        changing::TESTS,
        flushing::TESTS,
        flush::TESTS,
        flow_log::TESTS,
        following::TESTS,
        entries::TESTS,
        events::TESTS,
        exclusion::TESTS,
        expecting::TESTS,
        filtering::TESTS,
        list::TESTS,
        host::TESTS,
        kernel_probe::TESTS,
        lab::TESTS,
        namespaces::TESTS,
        netns::TESTS,
        no_proc::TESTS,
        processors::TESTS,
        safety::TESTS,
        saving::TESTS,
        signals::TESTS,
        stats::TESTS,
        top::TESTS,
        top_netns::TESTS,
        tuning::TESTS,
        meanwhile::TESTS,
    ];
    let run = |lists: &[&[harness::Test]]| {
        let trials: Vec<_> = lists.concat().into_iter().map(harness::trial).collect();
        let is_selected = |name: &str| arguments.filter.as_ref().is_none_or(|filter| name.contains(&**filter));
        let any = trials.iter().any(|trial| is_selected(trial.name()));
        any && libtest_mimic::run(&arguments, trials).has_failed()
    };
    // All namespaces share one hash table, and every dump walks all of it (`ctnetlink_dump_table`), so
    // the tests with large tables run last.
    let failed = [run(&lists), run(&[memory::TESTS])];
    if failed.contains(&true) { ExitCode::FAILURE } else { ExitCode::SUCCESS }
}
