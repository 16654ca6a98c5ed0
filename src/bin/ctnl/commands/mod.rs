//! One command per file: arguments → options → the modules below → exit code.
//!
//! Adding a command is one file and its rows here.

mod add;
mod all_netns;
mod args;
mod completions;
mod count;
mod delete;
mod direction;
mod doctor;
mod entry_values;
mod events;
mod expect;
mod filter;
mod flush;
mod format;
mod get;
mod lab;
mod list;
mod lookup;
mod man;
mod purging;
mod read;
mod report;
mod restore;
mod save;
mod spool;
mod stats;
#[cfg(feature = "top")]
mod top;
mod tune;
mod update;

use std::ffi::OsString;

use anyhow::Result;
use clap::error::ErrorKind;
use clap::{CommandFactory, Parser};
use ctnl::host::Host;

use crate::term::exit::Exit;

const EXAMPLES: &str = "\
The table is full:
  ctnl doctor                                           why, and what mends it
  ctnl count --by state                                 count by state
  ctnl count --by src --top 10                          the sources with most entries
  ctnl flush --state established --older 12h --dry-run  preview by state and source
  ctnl flush --state established --older 12h            delete

Rehearse in private namespaces, no root needed:
  ctnl lab --entries 200000 -- ctnl flush --state established --older 12h

`ctnl help filter` explains the filters of list, count, flush, update, save and events.
`ctnl conntrack` takes the command line of conntrack(8), for scripts; a link to this
program that is named conntrack does, too. `ctnl help conntrack` lists its options.
Exit codes: 0 done, also when nothing matched; 1 failed; 2 usage error, nothing
was changed; 3 partly done; doctor: 4 warnings, 5 critical.";

/// The conntrack table manager for Linux: list, count and flush entries, safely
#[derive(Debug, Parser)]
#[command(name = "ctnl", version, after_help = EXAMPLES, disable_help_subcommand = false)]
pub struct Cli {
    #[command(subcommand)]
    verb: Verb,
}

/// `defer`: only the arguments of the command that is called are built, since building all takes most of
/// the time of a short command. So the lines of `ctnl help` are here; each is the first line of the
/// command's own help.
#[derive(Debug, clap::Subcommand)]
#[command(defer = true)]
enum Verb {
    /// List entries
    List(list::Args),
    /// Count entries, all or those that match, or by field
    Count(count::Args),
    /// Print the entry of one exact tuple, of either direction
    Get(get::Args),
    /// Delete the entry of one exact tuple
    Delete(delete::Args),
    /// Delete the entries that match
    Flush(flush::Args),
    /// Create entries
    Add(Box<add::Args>),
    /// Change the entries that match: mark, timeout, status, TCP state, labels
    Update(Box<update::Args>),
    /// Save the entries that match to a file, for `ctnl restore`
    Save(Box<save::Args>),
    /// Create the entries of a save file
    Restore(restore::Args),
    /// List, create, delete and follow the expectations of helpers
    Expect(expect::Args),
    /// Show the counters of connection tracking: drops, evictions, failed inserts
    Stats(stats::Args),
    /// Show the table as it changes: who fills it, how fast, and when it is full
    #[cfg(feature = "top")]
    Top(Box<top::Args>),
    /// Find out why the table is full, and what mends it
    Doctor(doctor::Args),
    /// Change settings now and at boot: maximum, buckets, timeouts
    Tune(tune::Args),
    /// Stream conntrack events
    Events(Box<events::Args>),
    /// Show or check what is in a spool of `ctnl events`
    Spool(spool::Args),
    /// Check a filter, or explain the filter language
    Filter(filter::Args),
    /// Run a command, or a shell, in private namespaces with a synthetic busy table
    Lab(lab::Args),
    /// Print a completion script for a shell
    Completions(completions::Args),
    /// Write man pages, one for each command, to a directory
    Man(man::Args),
}

/// Parses the arguments of the process. Ends it where they are help, or not valid.
///
/// # Errors
/// A line that `get` and `delete` do not read begins like an option.
pub fn parse() -> Result<Cli> {
    let arguments: Vec<OsString> = std::env::args_os().collect();
    Cli::try_parse_from(&arguments).or_else(|error| match lookup::refused_line(&arguments) {
        Some(refused) if error.kind() == ErrorKind::UnknownArgument => Err(refused),
        _ => error.exit(),
    })
}

/// Runs the command.
pub fn run(cli: Cli, host: &Host) -> Result<Exit> {
    match cli.verb {
        Verb::List(args) => list::run(&args, host),
        Verb::Count(args) => count::run(&args, host),
        Verb::Get(args) => get::run(&args, host),
        Verb::Delete(args) => delete::run(&args, host),
        Verb::Flush(args) => flush::run(&args, host),
        Verb::Save(args) => save::run(&args, host),
        Verb::Restore(args) => restore::run(&args, host),
        Verb::Add(args) => add::run(&args, host),
        Verb::Update(args) => update::run(&args, host),
        Verb::Expect(args) => expect::run(args, host),
        Verb::Tune(args) => tune::run(args, host),
        Verb::Stats(args) => stats::run(&args, host),
        #[cfg(feature = "top")]
        Verb::Top(args) => top::run(&args, host),
        Verb::Doctor(args) => doctor::run(&args, host),
        Verb::Events(args) => events::run(&args, host),
        Verb::Spool(args) => spool::run(&args, host),
        Verb::Filter(args) => filter::run(&args, host),
        Verb::Lab(args) => lab::run(args, host),
        Verb::Completions(args) => completions::run(&args, Cli::command()),
        Verb::Man(args) => man::run(&args, Cli::command()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_list_of_commands_has_the_first_line_of_each_command_s_help() {
        let (listed, mut built) = (Cli::command(), Cli::command());
        built.build();
        for command in listed.get_subcommands() {
            let own = built.find_subcommand(command.get_name()).and_then(clap::Command::get_about);
            assert!(own.is_some());
            assert_eq!(command.get_about().map(ToString::to_string), own.map(ToString::to_string));
        }
    }
}
