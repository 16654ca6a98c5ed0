//! Tests on the real kernel, each in a network namespace of its own.
//!
//! `main` enters a private user namespace while the process has one thread; so
//! any user can run them, and nothing reaches the machine's own table. Where that
//! is forbidden the tests fail and say how to allow it: a test that did not run
//! must not look like one that passed.
//!
//! - `harness`: what a test gets ([`harness::World`]), how tests are listed
//! - `ages`: timeouts as the kernel tells them
//! - `verbs`: create, get, delete, update, count and their bystanders
//! - `flushing`: the flush pipeline while the table changes under it
//! - `lab`: the program's `lab`, and the population it fills in
//! - `netns`: other network namespaces
//! - `safety`: what a flush must not do

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stderr,
    reason = "a test fails by panicking"
)]

mod ages;
mod flushing;
mod harness;
mod lab;
mod netns;
#[path = "../../src/bin/ctnl/lab/population/mod.rs"]
#[allow(dead_code, unused_imports, reason = "the lab uses more of it, and runs its unit tests")]
mod population;
mod safety;
mod verbs;

use std::process::ExitCode;

fn main() -> ExitCode {
    let arguments = libtest_mimic::Arguments::from_args();
    if !arguments.list
        && let Err(error) = harness::enter_user_namespace()
    {
        eprintln!("{error}");
        return ExitCode::FAILURE;
    }
    let lists = [ages::TESTS, verbs::TESTS, flushing::TESTS, lab::TESTS, netns::TESTS, safety::TESTS];
    let trials = lists.concat().into_iter().map(harness::trial).collect();
    libtest_mimic::run(&arguments, trials).exit_code()
}
