//! Floor 9, one verb per file: arguments → options → the library or floor 8 →
//! exit code.
//!
//! Adding a command is one file and its rows here.

mod args;
mod completions;
mod count;
mod delete;
mod filter;
mod flush;
mod format;
mod get;
mod lab;
mod list;
mod man;
mod report;
mod tuple;

use anyhow::Result;
use clap::{CommandFactory, Parser};

use crate::exit::Exit;

const EXAMPLES: &str = "\
The table is full:
  ctnl count --by state                                 of what kind are they
  ctnl count --by src --top 10                          who fills it
  ctnl flush --state established --older 12h --dry-run  what would go
  ctnl flush --state established --older 12h            let it go

Rehearse in a private namespace, no root needed:
  ctnl lab --entries 200000 -- ctnl flush --state established --older 12h

`ctnl help filter` explains what list, count and flush can be told to match.
Exit codes: 0 done, also when nothing matched; 1 failed; 2 bad usage, nothing
was sent; 3 partly done.";

/// The conntrack table manager for Linux: list, count and flush entries, safely
#[derive(Debug, Parser)]
#[command(name = "ctnl", version, after_help = EXAMPLES, disable_help_subcommand = false)]
pub struct Cli {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, clap::Subcommand)]
enum Verb {
    List(list::Args),
    Count(count::Args),
    Get(get::Args),
    Delete(delete::Args),
    Flush(flush::Args),
    #[command(after_long_help = filter::help())]
    Filter(filter::Args),
    Lab(lab::Args),
    Completions(completions::Args),
    Man(man::Args),
}

/// Runs what was asked for.
pub fn run(cli: Cli) -> Result<Exit> {
    match cli.verb {
        Verb::List(args) => list::run(&args),
        Verb::Count(args) => count::run(&args),
        Verb::Get(args) => get::run(&args),
        Verb::Delete(args) => delete::run(&args),
        Verb::Flush(args) => flush::run(&args),
        Verb::Filter(args) => filter::run(&args),
        Verb::Lab(args) => lab::run(args).map(Exit::Child),
        Verb::Completions(args) => completions::run(&args, Cli::command()),
        Verb::Man(args) => man::run(&args, Cli::command()),
    }
}
