//! The program: parses the arguments, runs a command, and ends with its exit code.

mod chunk;
mod commands;
mod compat;
mod conntrack_syntax;
mod doctor;
#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod fake;
mod follow;
mod host;
mod kernel_probe;
mod lab;
mod purge;
mod restore;
mod save_file;
mod scan;
mod sink;
mod stream;
mod term;
#[cfg(feature = "top")]
mod top;
mod tune;

use std::ffi::OsString;
use std::process::ExitCode;

use ctnl::host::Host;
use ctnl::netlink::Error;
use ctnl::text::printable_lines;

use term::exit::{Exit, UsageError};
use term::hint;
use term::limits;
use term::stderr::Stderr;

fn main() -> ExitCode {
    let arguments: Vec<OsString> = std::env::args_os().collect();
    if let Some(arguments) = compat::arguments(&arguments) {
        return compat::run(&arguments, &Host::system()).into();
    }
    let run = || {
        limits::check_address_space()?;
        commands::run(commands::parse()?, &Host::system())
    };
    let exit = run().unwrap_or_else(|error| fail(&error));
    exit.into()
}

/// Prints what was attempted, the kernel's error, and a hint. Returns the exit code.
fn fail(error: &anyhow::Error) -> Exit {
    if let Some(usage) = error.downcast_ref::<UsageError>() {
        print(&format!("ctnl: {}\n", printable_lines(&usage.to_string())));
        return Exit::Usage;
    }
    let kernel = error.chain().find_map(|cause| cause.downcast_ref::<Error>());
    let hint = kernel.and_then(hint::hint).map_or(String::new(), |hint| format!("  hint: {hint}\n"));
    print(&format!("ctnl: {}\n{hint}", printable_lines(&describe(error))));
    Exit::Failed
}

fn print(lines: &str) {
    // Where stderr is closed there is nobody to read it.
    let _ = Stderr::of_this_process().write_all(lines.as_bytes());
}

/// The error and its causes, without a cause that the text before it ends with.
fn describe(error: &anyhow::Error) -> String {
    error.chain().map(ToString::to_string).fold(String::new(), |text, cause| match &*text {
        "" => cause,
        text if text.ends_with(&*cause) => text.to_owned(),
        text => format!("{text}: {cause}"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cause_that_the_text_has_already_is_not_repeated() {
        let error = anyhow::anyhow!("no such file").context("open x: no such file").context("read");
        assert_eq!(describe(&error), "read: open x: no such file");
    }
}
