//! `ctnl expect get`.

use anyhow::Result;
use ctnl::model::{Expectation, Tuple};
use ctnl::netlink::Connection;
use ctnl::table::expect_get;

use super::format::FormatArgs;
use super::named::{find, tuple_in_zone};
use crate::commands::args::CommonArgs;
use crate::term::exit::{Exit, usage};
use crate::term::stdout::print;

const EXAMPLES: &str = "\
Examples:
  ctnl expect get tcp 10.0.0.1:41000 192.0.2.1:4000
      What a packet with this tuple would meet, under the mask.
  ctnl expect get '300 proto=6 src=10.0.0.1 dst=192.0.2.1 sport=0 dport=4000 mask-src=…'
      A line of `ctnl expect list` or of conntrack.

Exit code 1 when there is none.";

/// Print the expectation that a packet with this tuple would meet
#[derive(Debug, clap::Args)]
#[command(after_long_help = EXAMPLES)]
pub struct Args {
    /// PROTOCOL SRC[:PORT] DST[:PORT], or a line of an expectation
    #[arg(required = true, num_args = 1.., value_name = "TUPLE")]
    tuple: Vec<String>,

    /// Zone of the master; default: 0, else the one in which an expectation with this very tuple is
    #[arg(long, short = 'w')]
    zone: Option<u16>,

    #[command(flatten)]
    format: FormatArgs,

    #[command(flatten)]
    common: CommonArgs,
}

/// Runs the command.
pub fn run(args: &Args) -> Result<Exit> {
    let (tuple, given) = tuple_in_zone(&args.tuple.join(" "), args.zone)?;
    let mut connection = args.common.connect()?;
    let zone = given.unwrap_or(0);
    let mut found = expect_get(&mut connection, &tuple, zone)?.map(|expectation| (expectation, zone));
    if found.is_none() && given.is_none() {
        found = in_another_zone(&mut connection, &tuple)?;
    }
    match found {
        Some((found, zone)) => {
            print(args.format.line(&found, Some(zone).filter(|zone| *zone != 0)))?;
            Ok(Exit::Done)
        }
        None => {
            let zone = given.map_or_else(|| "any zone".to_owned(), |zone| format!("zone {zone}"));
            args.common.console().warn(&format!(
                "no such expectation in {zone}\n  hint: `ctnl expect list` prints all; a packet's tuple needs the --zone"
            ));
            Ok(Exit::Failed)
        }
    }
}

/// The one expectation with exactly this tuple.
fn in_another_zone(connection: &mut Connection, tuple: &Tuple) -> Result<Option<(Expectation, u16)>> {
    let mut found = find(connection, tuple, None)?;
    if found.len() > 1 {
        return Err(usage("missing zone: several zones have an expectation with this tuple\n  hint: add --zone"));
    }
    Ok(found.pop().and_then(|chosen| Some((chosen.expectation, chosen.zone?))))
}
