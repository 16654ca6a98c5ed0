//! Tests on the real kernel, each in a network namespace of its own.
//!
//! `main` enters a private user namespace while the process has one thread; so
//! any user can run them, and nothing reaches the machine's own table. Where that
//! is forbidden the tests fail and say how to allow it: a test that did not run
//! must not look like one that passed.
//!
//! What a test gets and how tests are listed is in `ctnl_test_support::harness`.
//!
//! - `ages`: timeouts as the kernel tells them
//! - `verbs`: create, get, delete, update, count and their bystanders
//! - `flushing`: the flush pipeline while the table changes under it
//! - `agreement`: every verb means the same entries, whatever the expression
//! - `following`: the event stream, and what its reader knows
//! - `flush`, `list`, `entries`: the commands
//! - `events`: each event once, in order, and what is missing counted; `exclusion`: the
//!   part of a filter that the kernel applies to them
//! - `memory`: it does not grow with the table
//! - `host`: what the event stream asks of the host: namespaces, settings, privileges
//! - `lab`: the program's `lab`, and the population it fills in
//! - `netns`: other network namespaces
//! - `processors`: two jobs, one processor, the kernel's own filters
//! - `safety`: what a flush must not do
//! - `meanwhile`: what happens to the table while a flush is stopped, waits or runs

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stderr,
    reason = "a test fails by panicking"
)]

mod ages;
mod agreement;
mod entries;
mod events;
mod exclusion;
mod flush;
mod flushing;
mod following;
mod host;
mod lab;
mod list;
mod meanwhile;
mod memory;
mod netns;
mod processors;
mod safety;
mod verbs;

use std::process::ExitCode;

use ctnl_test_support::harness;

fn main() -> ExitCode {
    harness::set_program(env!("CARGO_BIN_EXE_ctnl"));
    if let Some(code) = memory::measure_if_asked() {
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
        ages::TESTS,
        agreement::TESTS,
        verbs::TESTS,
        flushing::TESTS,
        flush::TESTS,
        following::TESTS,
        entries::TESTS,
        events::TESTS,
        exclusion::TESTS,
        list::TESTS,
        host::TESTS,
        lab::TESTS,
        netns::TESTS,
        processors::TESTS,
        safety::TESTS,
        meanwhile::TESTS,
    ];
    let run = |lists: &[&[harness::Test]]| {
        let trials: Vec<_> = lists.concat().into_iter().map(harness::trial).collect();
        let is_meant = |name: &str| arguments.filter.as_ref().is_none_or(|filter| name.contains(&**filter));
        let any = trials.iter().any(|trial| is_meant(trial.name()));
        any && libtest_mimic::run(&arguments, trials).has_failed()
    };
    // All namespaces share one hash table, and every dump walks all of it: the
    // large table comes when the others are done.
    let failed = [run(&lists), run(&[memory::TESTS])];
    if failed.contains(&true) { ExitCode::FAILURE } else { ExitCode::SUCCESS }
}
