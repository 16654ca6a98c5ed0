//! `ctnl flush`.

use anyhow::Result;
use ctnl::host::Host;

use super::args::{CommonArgs, FilterArgs, seconds};
use super::purging;
use crate::purge::Task;
use crate::term::exit::Exit;

const EXAMPLES: &str = "\
Examples:
  ctnl flush --state established --older 12h --dry-run
      Preview by state and source. Nothing is changed.
  ctnl flush --state established --older 12h
      Delete established entries that have certainly been idle for 12 hours.
  ctnl flush 'udp and unreplied and dst 203.0.113.5' --max 1000
      Delete at most a thousand of these.
  ctnl flush --src 203.0.113.9 --save undo.ctnl
      Delete, and undo with: ctnl restore undo.ctnl
  ctnl flush --dst 10.9.0.0/16 --soft
      Lower their timeout to ten seconds: the next packet of a live flow restores it.
  ctnl flush 'dport 53 and idle >= 30s' --confirm-idle 30s --yes --json
      For a script: two samples, no question, summary as JSON on stdout (docs/summary.md).

`ctnl help filter` explains idle times and undecided entries.
Exit codes: 0 done, also when nothing matched; 1 failed; 2 bad usage, nothing was
changed; 3 partly done.";

/// Delete the entries that match
///
/// ctnl evaluates the same filter as list and count, entry by entry, and deletes each entry by its
/// whole tuple, zone and id. Your own SSH session is spared. On a terminal, it asks before it deletes
/// a large part of the table; without one, it stops (exit 2, nothing deleted) before it deletes more than
/// 90 % of a table of at least 100 entries, unless the filter requires an idle time or --yes or --all is given.
///
/// The kernel has no conditional delete, so a packet that arrives between the last reading of an entry and its
/// delete is not noticed. That window is at most 50 ms, and mostly below 1 ms: an entry that was read earlier is
/// read again first. A process that is stopped just before the send exceeds it. The summary has the longest
/// window that was measured.
#[derive(Debug, clap::Args)]
#[command(after_long_help = EXAMPLES)]
pub struct Args {
    #[command(flatten)]
    filter: FilterArgs,

    /// Allow deleting every entry (an empty or match-all filter)
    #[arg(long)]
    all: bool,

    /// Preview by state and source, delete nothing
    #[arg(long)]
    dry_run: bool,

    /// Delete at most N entries
    #[arg(long, value_name = "N")]
    max: Option<u64>,

    /// Lower timeouts to TIME (30s, or seconds) instead of deleting (default 10s): a live flow's next packet restores its own
    #[arg(long, value_name = "TIME", num_args = 0..=1, require_equals = true, default_missing_value = "10s",
          value_parser = soft_timeout)]
    soft: Option<u32>,

    /// Write each entry to FILE before its delete is sent: `ctnl restore FILE` creates them again
    ///
    /// FILE must not exist. Where it cannot be written any more (a full disk), nothing more is deleted. docs/save.md
    /// has what is kept and what is not.
    #[arg(long, value_name = "FILE")]
    save: Option<String>,

    /// Do not spare your own SSH session
    #[arg(long)]
    no_spare_ssh: bool,

    /// Do not ask, and do not stop before deleting most of the table
    #[arg(long, short)]
    yes: bool,

    /// On a terminal, ask before deleting more than PERCENT of the table
    ///
    /// The answer allows the number in the question and a tenth more, at least 10 more, for entries that arrive
    /// while the question stands; what is beyond that is left and counted.
    ///
    /// Without a terminal on both standard input and standard error there is no question: a script bounds
    /// the deletes with --max, or checks them with --dry-run --json first.
    #[arg(long, value_name = "PERCENT", default_value_t = 50, value_parser = clap::value_parser!(u8).range(0..=100))]
    ask_above: u8,

    /// Summary as JSON on stdout
    #[arg(long)]
    json: bool,

    /// Exit with 1 when nothing matched
    #[arg(long)]
    fail_if_none: bool,

    #[command(flatten)]
    common: CommonArgs,
}

/// A timeout of up to a day.
fn soft_timeout(text: &str) -> Result<u32, String> {
    seconds(text, 86_400).map(|seconds| u32::try_from(seconds).unwrap_or(u32::MAX))
}

/// Runs the command.
pub fn run(args: &Args, host: &Host) -> Result<Exit> {
    let request = purging::Request {
        command: "flush",
        task: args.soft.map_or(Task::Delete, Task::LowerTimeout),
        filter: &args.filter,
        all: args.all,
        dry_run: args.dry_run,
        max: args.max,
        save: args.save.as_deref(),
        no_spare_ssh: args.no_spare_ssh,
        yes: args.yes,
        ask_above: args.ask_above,
        json: args.json,
        fail_if_none: args.fail_if_none,
        common: &args.common,
    };
    purging::run(&request, host)
}
