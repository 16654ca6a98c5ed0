//! `ctnl flush`.

use anyhow::Result;
use ctnl::filter::Filter;
use ctnl::host::Host;
use ctnl::table::{self, Action, Patch};

use super::args::{CommonArgs, FilterArgs, seconds};
use crate::host::ssh::{self, OwnSessions};
use crate::host::timeout_notes::{self, WrittenTimeout};
use crate::purge::{Options, Purge, Purged, report};
use crate::scan::{Selection, Watch, sample_and_wait};
use crate::term::console::percent;
use crate::term::exit::{Exit, usage};
use crate::term::interrupt::Interrupt;

const EXAMPLES: &str = "\
Examples:
  ctnl flush --state established --older 12h --dry-run
      Preview by state and source. Nothing is changed.
  ctnl flush --state established --older 12h
      Delete established entries that have certainly been idle for 12 hours.
  ctnl flush 'udp and unreplied and dst 203.0.113.5' --max 1000
      Delete at most a thousand of these.
  ctnl flush --dst 10.9.0.0/16 --soft
      Lower their timeout to ten seconds: the next packet of a live flow restores it.
  ctnl flush 'dport 53 and idle >= 30s' --confirm-idle 30s --yes --json
      For a script: two samples, no question, summary as JSON on stdout (docs/summary.md).

`ctnl help filter` explains idle times and undecided entries.
Exit codes: 0 done, also when nothing matched; 1 failed; 2 bad usage, nothing was
changed; 3 partly done.";

/// Without a terminal, a flush that requires no idle time stops before it deletes more than this part of a
/// table, in percent.
const STOP_ABOVE: u8 = 90;

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
    let filter = args.filter.filter(host)?;
    let timeouts = args.filter.timeout_options()?;
    args.refuse_everything(&filter)?;
    let mut console = args.common.console();
    if filter.never_matches() {
        console.warn("this filter can match nothing");
    }

    let interrupt = Interrupt::listen()?;
    let mut connection = args.common.connect()?;
    let before = table::count(&mut connection)?;
    let mut selection = Selection::new(filter, &mut connection, host, &timeouts, false)?;
    let mut watch = Watch::new(&mut console, &interrupt, host, before.entries.into());
    if let Some(seconds) = args.filter.confirm_idle
        && !sample_and_wait(&mut connection, &mut selection, &mut watch, seconds)?
    {
        console.warn("interrupted; nothing was deleted");
        return Ok(Exit::Partly);
    }
    let own = if args.no_spare_ssh { OwnSessions::default() } else { ssh::own_sessions(host)? };
    if let Some(warning) = own.warning() {
        watch.console.warn(&warning);
    }
    if let Some(note) = own.note() {
        watch.console.note(&note);
    } else if own.sessions.is_empty() && !args.no_spare_ssh && watch.console.can_ask() {
        watch.console.note("found no SSH session of yours, so none is spared");
    }
    let options = args.options(selection.filter(), own);
    let soft = options.soft().filter(|_| !args.dry_run);
    let written = soft.map(|seconds| WrittenTimeout::new(connection.netns(), host, seconds));
    let mut purge = Purge::new(selection, options, watch, before);
    if !args.no_spare_ssh {
        purge = purge.looking_up_sessions(|| ssh::own_sessions(host));
    }
    let purged = purge.run(&mut connection, |console| {
        if let Some(Err(error)) = written.as_ref().map(WrittenTimeout::begin) {
            console.warn(&format!(
                "cannot note the written timeout in {}: {error}\n  hint: until these entries have expired or had a \
                 packet, idle times do not take it into account",
                timeout_notes::FOLDER
            ));
        }
    })?;
    drop(written);
    match purged {
        Purged::Ran(summary) => report(&summary, &mut console, args.json, args.fail_if_none),
        Purged::Declined => {
            console.warn("nothing was deleted");
            Ok(Exit::Failed)
        }
        Purged::Interrupted => {
            console.warn("interrupted; nothing was deleted");
            Ok(Exit::Partly)
        }
        Purged::Stopped { chosen, seen } => Err(usage(format!(
            "this filter matches {chosen} of {seen} entries ({}) and requires no idle time, and there is no terminal \
             to ask on: nothing was deleted\n  hint: allow it with --yes; check it with --dry-run, bound it with --max \
             N or --older",
            percent(chosen, seen)
        ))),
    }
}

impl Args {
    fn refuse_everything(&self, filter: &Filter) -> Result<()> {
        if self.all {
            return Ok(());
        }
        if filter.negates_empty_file() {
            return Err(usage(format!(
                "the filter excludes what is in '{}', which contains no values: nothing is excluded\n  hint: leave that \
                 term out, or delete nevertheless with --all",
                filter.empty_files().join("', '")
            )));
        }
        if !filter.matches_everything() {
            return Ok(());
        }
        let what = if filter.is_empty() { "no filter is given" } else { "this filter matches every entry" };
        Err(usage(format!(
            "{what}, which would delete the whole table\n  hint: select entries, e.g. --state established --older \
             12h; or delete all with --all"
        )))
    }

    /// Whether a script has to allow what would empty most of the table. A table of which most is stale is
    /// the emergency that a flush by idle time is for.
    fn stops_where_nobody_is_asked(&self, filter: &Filter) -> bool {
        let requires_idle = filter.bounds_idle_from_below() || self.filter.confirm_idle.is_some();
        !self.yes && !self.all && !requires_idle
    }

    fn options(&self, filter: &Filter, sessions: OwnSessions) -> Options {
        Options {
            command: "flush",
            preview: self.dry_run,
            action: self.soft.map_or(Action::Delete, |soft| Action::Update(Patch::timeout(soft))),
            sessions,
            max: self.max,
            ask_above: (!self.yes).then_some(self.ask_above),
            stop_above: self.stops_where_nobody_is_asked(filter).then_some(STOP_ABOVE),
        }
    }
}
