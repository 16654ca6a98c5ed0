//! `ctnl conntrack` beside conntrack(8) 1.4.9, which is fetched from Debian's unstable suite.
//!
//! - `original`: that program
//! - `cases`: the tables in tests/data/compat, whose README has their form
//! - `grammar`: the command lines of the tables, and random ones, are accepted or refused by both
//! - `execution`: the cases do the same; `listing` compares what is printed

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stderr,
    reason = "a test fails by panicking"
)]

mod cases;
#[path = "../../src/bin/ctnl/conntrack_syntax/mod.rs"]
#[allow(dead_code, unused_imports, reason = "the program uses more of it")]
mod conntrack_syntax;
mod execution;
mod grammar;
mod listing;
mod original;

use std::process::ExitCode;

use ctnl_test_support::harness;

fn main() -> ExitCode {
    harness::set_program(env!("CARGO_BIN_EXE_ctnl"));
    let arguments = libtest_mimic::Arguments::from_args();
    if !arguments.list {
        // apt has no network in the private namespace.
        let prepared = original::fetch().map_err(|error| format!("{error:#}"));
        if let Err(error) = prepared.and_then(|()| harness::enter_user_namespace()) {
            eprintln!("{error}");
            return ExitCode::FAILURE;
        }
    }
    let trials = [grammar::TESTS, execution::TESTS].concat().into_iter().map(harness::trial).collect();
    libtest_mimic::run(&arguments, trials).exit_code()
}
