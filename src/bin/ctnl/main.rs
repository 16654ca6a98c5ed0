//! The program.

mod commands;
mod lab;

use std::io::Write;
use std::process::ExitCode;

use clap::Parser;

/// The conntrack table manager for Linux
#[derive(Debug, Parser)]
#[command(version)]
enum Verb {
    Lab(commands::lab::Args),
}

fn main() -> ExitCode {
    let Verb::Lab(args) = Verb::parse();
    commands::lab::run(args).map_or_else(
        |error| {
            let _ = writeln!(std::io::stderr(), "ctnl: {error:#}");
            ExitCode::FAILURE
        },
        ExitCode::from,
    )
}
