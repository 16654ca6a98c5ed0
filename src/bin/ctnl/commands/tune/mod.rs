//! `ctnl tune`: one subcommand per file.

mod ask;
mod confirm;
mod existing;
mod log;
mod pending;
mod plan;
mod report;
mod revert;
mod run;
mod set;
mod set_args;
mod show;
mod show_row;
mod target;
mod watch;

use anyhow::Result;
use ctnl::host::Host;

use crate::term::exit::Exit;

const EXAMPLES: &str = "\
Examples:
  ctnl tune show
      Each setting now, at boot, and what is recommended and why.
  ctnl tune set --max 524288 --buckets 524288 --established-timeout 12h --dry-run
      What would be changed.
  ctnl tune set --max 524288 --buckets 524288 --persist
      Now and at every boot.
  ctnl tune set --established-timeout 1h --existing --confirm-within 60s
      Rolled back by itself unless it is confirmed within a minute.
  ctnl tune confirm
      From another session.
  ctnl tune log
  ctnl tune revert
      Put back what was before the last operation.

docs/tune.md has the files, the log, the order of changes and what a rollback does.";

/// Change settings now and at boot: maximum, buckets, timeouts
#[derive(Debug, clap::Args)]
#[command(after_long_help = EXAMPLES)]
pub struct Args {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, clap::Subcommand)]
enum Verb {
    /// Show each setting: now, at boot, and what is recommended and why
    Show(show::Args),
    /// Change settings: validated, applied, read back, and rolled back where any part fails
    Set(Box<set::Args>),
    /// Confirm an operation that is rolled back otherwise
    Confirm(confirm::Args),
    /// List the operations
    Log(log::Args),
    /// Put back what was before an operation
    Revert(revert::Args),
    /// Roll an operation back unless it is confirmed in time
    #[command(hide = true)]
    Watch(watch::Args),
}

/// Runs the command.
pub fn run(args: Args, host: &Host) -> Result<Exit> {
    match args.verb {
        Verb::Show(args) => show::run(&args, host),
        Verb::Set(args) => set::run(&args, host),
        Verb::Confirm(args) => confirm::run(&args, host),
        Verb::Log(args) => log::run(&args, host),
        Verb::Revert(args) => revert::run(&args, host),
        Verb::Watch(args) => watch::run(&args, host),
    }
}
