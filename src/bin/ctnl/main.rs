//! Floor 10: parse, run, exit code. `commands` has the verbs.

mod chunk;
mod commands;
#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod fake;
mod follow;
mod host;
mod lab;
mod purge;
mod scan;
mod sink;
mod stream;
mod term;

use std::io::{self, Write};
use std::process::ExitCode;

use clap::Parser;
use ctnl::host::Host;
use ctnl::netlink::Error;
use ctnl::text::printable_lines;

use term::exit::{Exit, UsageError};
use term::hint;

fn main() -> ExitCode {
    let cli = commands::Cli::parse();
    let exit = commands::run(cli, &Host::system()).unwrap_or_else(|error| fail(&error));
    exit.into()
}

/// Says what was tried, what the kernel answered, and what to do next.
fn fail(error: &anyhow::Error) -> Exit {
    let mut stderr = io::stderr().lock();
    if let Some(usage) = error.downcast_ref::<UsageError>() {
        let _ = writeln!(stderr, "ctnl: {}", printable_lines(&usage.to_string()));
        return Exit::Usage;
    }
    let _ = writeln!(stderr, "ctnl: {}", printable_lines(&describe(error)));
    let kernel = error.chain().find_map(|cause| cause.downcast_ref::<Error>());
    if let Some(advice) = kernel.and_then(hint::hint) {
        let _ = writeln!(stderr, "  hint: {advice}");
    }
    Exit::Failed
}

/// What was tried and each cause, but for one that the words before it end with.
fn describe(error: &anyhow::Error) -> String {
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
        assert_eq!(describe(&error), "read: open x: no such file");
    }
}
