//! `ctnl expect delete`.

use anyhow::{Context, Result, anyhow};
use ctnl::netlink::Connection;
use ctnl::table::{ExpectationTarget, Outcome, expect_delete};
use nix::errno::Errno;

use super::format::FormatArgs;
use super::named::{find, tuple_in_zone};
use super::select::Chosen;
use crate::commands::args::CommonArgs;
use crate::term::exit::{Exit, usage};
use crate::term::stdout::print;

const EXAMPLES: &str = "\
Examples:
  ctnl expect delete tcp 10.0.0.1:0 192.0.2.1:4000
  ctnl expect delete '300 proto=6 src=10.0.0.1 dst=192.0.2.1 sport=0 dport=4000 mask-src=…' -w 5
      A line of `ctnl expect list` or of conntrack.

The tuple is the whole one that the list shows, 0 for a port of which any is expected: unlike
`conntrack -D expect`, a tuple that an expectation would match under its mask does not name it. The
expectation is printed to stdout, and deleted by its tuple, zone and id. Exit code 1 when there
is none.";

/// Delete the expectation of one exact tuple
#[derive(Debug, clap::Args)]
#[command(after_long_help = EXAMPLES)]
pub struct Args {
    /// PROTOCOL SRC[:PORT] DST[:PORT], or a line of an expectation
    #[arg(required = true, num_args = 1.., value_name = "TUPLE")]
    tuple: Vec<String>,

    /// Zone of the master; default: the one in which the expectation is
    #[arg(long, short = 'w')]
    zone: Option<u16>,

    /// Match only an expectation with this id
    #[arg(long)]
    id: Option<u32>,

    /// Print the expectation, delete nothing
    #[arg(long)]
    dry_run: bool,

    #[command(flatten)]
    format: FormatArgs,

    #[command(flatten)]
    common: CommonArgs,
}

/// Runs the command.
pub fn run(args: &Args) -> Result<Exit> {
    let (tuple, zone) = tuple_in_zone(&args.tuple.join(" "), args.zone)?;
    let (mut console, mut connection) = (args.common.console(), args.common.connect()?);
    let mut chosen = find(&mut connection, &tuple, args.id)?;
    chosen.retain(|chosen| zone.is_none_or(|zone| chosen.zone == Some(zone)));
    let Chosen { expectation, zone } = match (chosen.pop(), chosen.is_empty()) {
        (Some(only), true) => only,
        (Some(_), false) => {
            return Err(usage(
                "ambiguous: several expectations have this tuple\n  hint: add --zone or --id; `ctnl expect list --json` \
                 shows the ids",
            ));
        }
        (None, _) => {
            console.warn("no such expectation\n  hint: expected the whole tuple, as `ctnl expect list` prints it");
            return Ok(Exit::Failed);
        }
    };
    let target = ExpectationTarget::of(&expectation)
        .context("refusing to delete the expectation: a delete cannot identify it")?
        .in_zone(zone.unwrap_or(0));
    if !args.dry_run {
        delete(&mut connection, target).map(|line| console.note(line))?;
    }
    match print(args.format.line(&expectation, zone.filter(|zone| *zone != 0))) {
        // It is deleted, whatever becomes of its line.
        Err(error) if !args.dry_run => {
            console.warn(&format!("ctnl: {error:#}"));
            Ok(Exit::Partly)
        }
        printed => printed.map(|()| Exit::Done),
    }
}

fn delete(connection: &mut Connection, target: ExpectationTarget) -> Result<&'static str> {
    let mut outcome = Outcome::default();
    expect_delete(connection, &[target], &mut outcome)?;
    match outcome.failed.keys().next() {
        Some(errno) => {
            let errno = Errno::from_raw(*errno);
            Err(anyhow!("delete the expectation: {errno:?}: {}", errno.desc()))
        }
        None => Ok(if outcome.gone > 0 { "already gone" } else { "1 deleted" }),
    }
}
