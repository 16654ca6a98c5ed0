//! Floor 10: parse, run, exit code. `commands` has the verbs.

mod advice;
mod columns;
mod commands;
mod console;
mod exit;
mod files;
mod interrupt;
mod lab;
mod scan;
mod ssh;

use std::io::{self, Write};
use std::process::ExitCode;

use clap::Parser;
use ctnl::netlink::Error;

use console::printable;
use exit::{Exit, UsageError};

fn main() -> ExitCode {
    let cli = commands::Cli::parse();
    let exit = commands::run(cli).unwrap_or_else(|error| fail(&error));
    exit.into()
}

/// The error and what it came from; a cause that is in the words before it is not said twice.
fn with_causes(error: &anyhow::Error) -> String {
    let mut text = String::new();
    for cause in error.chain().map(ToString::to_string) {
        if !text.ends_with(&cause) {
            text += if text.is_empty() { "" } else { ": " };
            text += &cause;
        }
    }
    text
}

/// Says what was tried, what the kernel answered, and what to do next.
fn fail(error: &anyhow::Error) -> Exit {
    let mut stderr = io::stderr().lock();
    if let Some(usage) = error.downcast_ref::<UsageError>() {
        let _ = writeln!(stderr, "ctnl: {}", printable(&usage.to_string()));
        return Exit::Usage;
    }
    let _ = writeln!(stderr, "ctnl: {}", printable(&with_causes(error)));
    let kernel = error.chain().find_map(|cause| cause.downcast_ref::<Error>());
    if let Some(advice) = kernel.and_then(advice::advice) {
        let _ = writeln!(stderr, "  hint: {advice}");
    }
    Exit::Failed
}
