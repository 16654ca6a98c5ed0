//! `ctnl expect events`: `ctnl events --expect`.

use anyhow::Result;
use ctnl::host::Host;

use crate::commands::events;
use crate::term::exit::Exit;

const EXAMPLES: &str = "\
Examples:
  ctnl expect events
      Expectations as they come and go, as JSON: the same as `ctnl events --expect`.
  ctnl expect events -o conntrack --no-seed
      The lines of `conntrack -E expect`.

All options are those of `ctnl events`; docs/events.md has the records. The kernel sends events of an
expectation only if its master sends events. With nf_conntrack_events=2, the default, a connection that
is older than the first subscription does not: its expectations are found by a dump, every two seconds,
and reported with \"synthetic\":\"reconcile\". `conntrack -E expect` does not report them.";

/// Stream events of expectations: `ctnl events --expect`
#[derive(Debug, clap::Args)]
#[command(after_long_help = EXAMPLES)]
#[group(skip)]
pub struct Args {
    #[command(flatten)]
    events: events::Args,
}

/// Runs the command.
pub fn run(args: Args, host: &Host) -> Result<Exit> {
    events::run(&args.events.of_expectations()?, host)
}
