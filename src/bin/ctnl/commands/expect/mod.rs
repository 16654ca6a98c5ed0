//! `ctnl expect`: one command per file.

mod add;
mod count;
mod delete;
mod events;
mod flush;
mod format;
mod get;
mod list;
mod named;
mod select;

use anyhow::Result;
use ctnl::host::Host;

use crate::term::exit::Exit;

const EXAMPLES: &str = "\
Examples:
  ctnl expect list --helper ftp --master-dst 192.0.2.1
      The data connections that the FTP helper expects of this server.
  ctnl expect events -o conntrack
      As they come and go, as lines of conntrack(8).
  ctnl expect flush --master-src 10.66.6.6 --dry-run
      What would be deleted.

Helpers (ftp, sip, tftp, …) announce the connections that follow from what they read, such as
the data connection of FTP: the first packet that has an expected tuple, under its mask, is
RELATED to the master, the connection of the helper.";

/// List, create, delete and follow the expectations of helpers
#[derive(Debug, clap::Args)]
#[command(after_long_help = EXAMPLES)]
pub struct Args {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, clap::Subcommand)]
enum Verb {
    /// List expectations
    List(list::Args),
    /// Print the expectation that a packet with this tuple would meet
    Get(get::Args),
    /// Create an expectation of an entry that has a helper
    Add(Box<add::Args>),
    /// Delete the expectation of one exact tuple
    Delete(delete::Args),
    /// Delete the expectations that match
    Flush(flush::Args),
    /// Count expectations, all or those that match
    Count(count::Args),
    /// Stream events of expectations: `ctnl events --expect`
    Events(Box<events::Args>),
}

/// Runs the command.
pub fn run(args: Args, host: &Host) -> Result<Exit> {
    match args.verb {
        Verb::List(args) => list::run(&args, host),
        Verb::Get(args) => get::run(&args),
        Verb::Add(args) => add::run(&args),
        Verb::Delete(args) => delete::run(&args),
        Verb::Flush(args) => flush::run(&args, host),
        Verb::Count(args) => count::run(&args, host),
        Verb::Events(args) => events::run(*args, host),
    }
}
