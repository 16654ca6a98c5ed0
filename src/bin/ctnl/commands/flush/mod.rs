//! `ctnl flush`.

mod choose;
mod job;
mod summary;

use std::time::Instant;

use anyhow::Result;
use ctnl::filter::Filter;
use ctnl::host::Host;
use ctnl::table;

use self::choose::{Chooser, Limits};
use self::job::Job;
use self::summary::{Share, Summary};
use super::args::{CommonArgs, FilterArgs};
use crate::host::ssh;
use crate::scan::{Selection, Watch, look_and_wait};
use crate::term::columns::Columns;
use crate::term::console::{Console, percent};
use crate::term::exit::{Exit, usage};
use crate::term::interrupt::Interrupt;
use crate::term::stdout::print;

/// Version of the summary as JSON.
const SUMMARY_VERSION: u32 = 1;

const EXAMPLES: &str = "\
Examples:
  ctnl flush --state established --older 12h --dry-run
      What would go, by state and by source. Nothing is changed.
  ctnl flush --state established --older 12h
      Free the table of connections that have been idle for 12 hours, for certain.
  ctnl flush 'udp and unreplied and dst 203.0.113.5' --max 1000
      At most a thousand of these.
  ctnl flush --dst 10.9.0.0/16 --soft
      Give them ten seconds: a flow in use gets its time back with its next packet.
  ctnl flush 'dport 53 and idle >= 30s' --confirm-idle 30 --yes --json
      For a script: look twice, do not ask, summary as JSON on stdout (docs/summary.md).

What is idle for certain, and what is undecided, `ctnl help filter` explains.
Exit codes: 0 done, also when nothing matched; 1 failed; 2 bad usage, nothing was
sent; 3 partly done.";

/// Delete the entries that match
///
/// The same filter as for list and count decides, entry by entry, in user space;
/// each entry is deleted by its whole tuple, zone and id. Your own SSH session is
/// spared. On a terminal you are asked before a large part of the table goes.
#[derive(Debug, clap::Args)]
#[command(after_long_help = EXAMPLES)]
pub struct Args {
    #[command(flatten)]
    filter: FilterArgs,

    /// Allow a filter that matches everything, or none
    #[arg(long)]
    all: bool,

    /// Only show what would be deleted, by state and by source
    #[arg(long)]
    dry_run: bool,

    /// Delete at most N entries
    #[arg(long, value_name = "N")]
    max: Option<u64>,

    /// Do not delete, but leave entries SECS seconds: those in use recover
    #[arg(long, value_name = "SECS", num_args = 0..=1, require_equals = true, default_missing_value = "10",
          value_parser = clap::value_parser!(u32).range(1..=86_400))]
    soft: Option<u32>,

    /// Do not spare your own SSH session
    #[arg(long)]
    no_spare_ssh: bool,

    /// Do not ask
    #[arg(long, short)]
    yes: bool,

    /// On a terminal, ask before more than PERCENT of the table goes
    ///
    /// Without a terminal on both standard input and standard error nobody is asked: a script bounds
    /// what goes with --max, or looks with --dry-run --json first.
    #[arg(long, value_name = "PERCENT", default_value_t = 50, value_parser = clap::value_parser!(u8).range(0..=100))]
    ask_above: u8,

    /// Read the table on N processors (1 or 2)
    ///
    /// With 2, over two sockets: the ASSURED entries, and the others. An entry that changes from one
    /// to the other meanwhile is in use, so this is exact for filters by idle time (--older) of a
    /// minute or more, and not used for others.
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u8).range(1..=2))]
    jobs: u8,

    /// Summary as JSON on stdout
    #[arg(long)]
    json: bool,

    /// Exit with 1 when nothing matched
    #[arg(long)]
    fail_if_none: bool,

    #[command(flatten)]
    common: CommonArgs,
}

/// Runs the command.
pub fn run(args: &Args, host: &Host) -> Result<Exit> {
    let filter = args.filter.filter(host)?;
    let previous_timeouts = args.filter.previous_timeouts()?;
    args.refuse_everything(&filter)?;
    let mut summary = args.new_summary(&filter);
    let mut console = args.common.console();
    if filter.never_matches() {
        console.warn("this filter can match nothing");
    }

    let interrupt = Interrupt::listen()?;
    let mut dumper = args.common.connect()?;
    let before = table::count(&mut dumper)?;
    let mut selection = Selection::new(filter, &mut dumper, previous_timeouts, false)?;
    let mut watch = Watch::new(&mut console, &interrupt, before.entries.into());
    if let Some(seconds) = args.filter.confirm_idle
        && !look_and_wait(&mut dumper, &mut selection, &mut watch, seconds)?
    {
        console.warn("interrupted; nothing was deleted");
        return Ok(Exit::Partly);
    }
    let limits = args.limits(host);
    if limits.sessions.is_empty() && !args.no_spare_ssh && watch.console.can_ask() {
        watch.console.note("no SSH session of yours was found, so none is spared");
    }
    let mut job = Job { args, chooser: Chooser::new(selection, limits), watch, before };
    let started = Instant::now();
    if args.dry_run {
        job.preview(&mut dumper, &mut summary)?;
    } else if job.may_go_on(&mut dumper)? {
        job.flush(&mut dumper, &mut summary)?;
    } else {
        console.warn("nothing was deleted");
        return Ok(if interrupt.requested() { Exit::Partly } else { Exit::Failed });
    }
    summary.seconds = started.elapsed().as_secs_f64();
    tell(args, &mut console, &summary)
}

impl Args {
    fn refuse_everything(&self, filter: &Filter) -> Result<()> {
        if self.all || !filter.matches_everything() {
            return Ok(());
        }
        let what = if filter.is_empty() { "no filter is given" } else { "this filter matches every entry" };
        Err(usage(format!(
            "{what}, so the whole table would go\n  hint: say which entries, such as --state established --older 12h; \
             or --all if you mean all of them"
        )))
    }

    fn limits(&self, host: &Host) -> Limits {
        let sessions = if self.no_spare_ssh { Vec::new() } else { ssh::own_sessions(host) };
        Limits { sessions, max: self.max, soft: self.soft }
    }

    fn new_summary(&self, filter: &Filter) -> Summary {
        Summary {
            v: SUMMARY_VERSION,
            command: "flush",
            dry_run: self.dry_run,
            action: if self.soft.is_some() { "soft" } else { "delete" },
            soft_seconds: self.soft,
            filter: filter.to_string(),
            ..Summary::default()
        }
    }
}

fn tell(args: &Args, console: &mut Console, summary: &Summary) -> Result<Exit> {
    let document = if args.json {
        format!("{}\n", serde_json::to_string(summary)?)
    } else if args.dry_run {
        breakdown(summary)
    } else {
        String::new()
    };
    let printed = print(&document);
    // What went wrong is told also to those who asked for quiet, and so is what
    // was done where standard output does not take it.
    if summary.is_partial() || printed.is_err() {
        console.warn(&summary.to_text());
    } else if !args.json {
        console.note(&summary.to_text());
    }
    for (why, count) in &summary.undecided {
        let reason = ctnl::model::Undecided::ALL.into_iter().find(|reason| reason.name() == *why);
        console.note(&format!("undecided: {count} {why}: {}", reason.map_or("", |reason| reason.advice())));
    }
    if let Some(error) = &summary.error {
        console.warn(&format!("ended early: {error}"));
    }
    match printed {
        Err(error) if summary.is_untouched() => return Err(error),
        Err(error) => {
            console.warn(&format!("ctnl: {error:#}"));
            return Ok(Exit::Partly);
        }
        Ok(()) => {}
    }
    Ok(match (summary.is_partial(), summary.is_untouched(), summary.matched) {
        (true, true, _) if !summary.interrupted => Exit::Failed,
        (true, ..) => Exit::Partly,
        (false, _, 0) if args.fail_if_none => Exit::Failed,
        _ => Exit::Done,
    })
}

fn breakdown(summary: &Summary) -> String {
    let table = |head: &str, shares: &[Share]| {
        let mut columns = Columns::new(vec!["ENTRIES".into(), "SHARE".into(), head.into()], 2);
        for share in shares {
            let part = percent(share.entries, summary.deleted);
            columns.push(vec![share.entries.to_string(), part, share.key.clone()]);
        }
        columns.to_text()
    };
    if summary.deleted == 0 {
        return String::new();
    }
    let mut text = format!("{}\n{}", table("STATE", &summary.by_state), table("TOP SOURCES", &summary.by_source));
    if summary.by_source_beyond > 0 {
        text.push_str(&format!(
            "\n{} more of sources that are not among the {} met first; ctnl count --by src with the same filter has all\n",
            summary.by_source_beyond,
            choose::MOST_SOURCES
        ));
    }
    text
}
