//! `ctnl expect count`.

use anyhow::Result;
use ctnl::host::Host;
use serde_json::json;

use super::select::SelectArgs;
use crate::commands::args::CommonArgs;
use crate::term::exit::Exit;
use crate::term::stdout::print;

const EXAMPLES: &str = "\
Examples:
  ctnl expect count --helper sip
  ctnl expect count --json
      {\"entries\":3,\"seen\":3,\"v\":1}

The kernel has no counter of expectations in use: they are dumped.";

/// Count expectations, all or those that match
#[derive(Debug, clap::Args)]
#[command(after_long_help = EXAMPLES)]
pub struct Args {
    #[command(flatten)]
    select: SelectArgs,

    /// JSON on stdout
    #[arg(long)]
    json: bool,

    #[command(flatten)]
    common: CommonArgs,
}

/// Runs the command.
pub fn run(args: &Args, host: &Host) -> Result<Exit> {
    let select = args.select.select(host)?;
    let mut matched = 0u64;
    let seen = select.each(&mut args.common.connect()?, |_| matched += 1)?;
    if args.json {
        print(format!("{}\n", json!({ "v": 1, "entries": matched, "seen": seen })))?;
    } else {
        print(format!("{matched}\n"))?;
    }
    args.common.console().note(&format!("{matched} matched, {seen} expectations seen"));
    Ok(Exit::Done)
}
