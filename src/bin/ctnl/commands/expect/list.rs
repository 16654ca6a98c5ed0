//! `ctnl expect list`.

use anyhow::Result;
use ctnl::host::Host;

use super::format::FormatArgs;
use super::select::SelectArgs;
use crate::commands::args::CommonArgs;
use crate::scan::{finish_chunks, stdout_in_chunks};
use crate::term::exit::Exit;

const EXAMPLES: &str = "\
Examples:
  ctnl expect list
      The lines of `conntrack -L expect`, of IPv4 and IPv6.
  ctnl expect list --helper sip --master-src 10.0.0.0/8 -o json
      One JSON object a line; docs/json.md has the schema.";

/// List expectations
#[derive(Debug, clap::Args)]
#[command(after_long_help = EXAMPLES)]
pub struct Args {
    #[command(flatten)]
    select: SelectArgs,

    #[command(flatten)]
    format: FormatArgs,

    #[command(flatten)]
    common: CommonArgs,
}

/// Runs the command.
pub fn run(args: &Args, host: &Host) -> Result<Exit> {
    let select = args.select.select(host)?;
    let mut connection = args.common.connect()?;
    let (mut chunks, mut failed, mut matched) = (stdout_in_chunks(), None, 0u64);
    let seen = select.each(&mut connection, |chosen| {
        if failed.is_none() {
            matched += 1;
            args.format.put(chunks.buffer(), &chosen.expectation, chosen.zone);
            failed = chunks.commit().err();
        }
    });
    // Also where the dump failed.
    finish_chunks(chunks, failed)?;
    args.common.console().note(&format!("{matched} matched, {} expectations seen", seen?));
    Ok(Exit::Done)
}
