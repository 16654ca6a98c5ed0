//! Floor 10: parse, run, exit code. `commands` has the verbs.

mod advice;
mod buckets;
mod chunk;
mod columns;
mod commands;
mod console;
mod exit;
#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod fake;
mod files;
mod follow;
mod interrupt;
mod lab;
mod namespaces;
mod privileges;
mod requester;
mod scan;
mod settings;
mod sink;
mod ssh;
mod stdout;
mod supervisor;

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

/// Says what was tried, what the kernel answered, and what to do next.
fn fail(error: &anyhow::Error) -> Exit {
    let mut stderr = io::stderr().lock();
    if let Some(usage) = error.downcast_ref::<UsageError>() {
        let _ = writeln!(stderr, "ctnl: {}", printable(&usage.to_string()));
        return Exit::Usage;
    }
    let _ = writeln!(stderr, "ctnl: {}", printable(&in_words(error)));
    let kernel = error.chain().find_map(|cause| cause.downcast_ref::<Error>());
    if let Some(advice) = kernel.and_then(advice::advice) {
        let _ = writeln!(stderr, "  hint: {advice}");
    }
    Exit::Failed
}

/// What was tried and each cause, but for one that the words before it end with.
fn in_words(error: &anyhow::Error) -> String {
    error.chain().map(ToString::to_string).fold(String::new(), |words, cause| match &*words {
        "" => cause,
        words if words.ends_with(&*cause) => words.to_owned(),
        words => format!("{words}: {cause}"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cause_that_was_named_already_is_not_named_again() {
        let error = anyhow::anyhow!("no such file").context("open x: no such file").context("read");
        assert_eq!(in_words(&error), "read: open x: no such file");
    }
}
