//! `ctnl expect flush`.

use anyhow::Result;
use ctnl::host::Host;
use ctnl::table::{ExpectationTarget, Outcome, expect_delete};
use nix::errno::Errno;
use serde_json::{Map, Value, json};

use super::select::{Chosen, SelectArgs};
use crate::commands::args::CommonArgs;
use crate::term::console::Console;
use crate::term::exit::{Exit, usage};
use crate::term::stdout::print;

const EXAMPLES: &str = "\
Examples:
  ctnl expect flush --helper ftp --master-dst 192.0.2.1
  ctnl expect flush --all --dry-run

Expectations are listed, and each is deleted by its tuple, zone and id: one that is created meanwhile
stays. Their masters stay, too. Connections that an expectation has led to are not affected.
Exit codes: 0 done, 1 failed, 2 bad usage, nothing was deleted; 3 partly done.";

/// Delete the expectations that match
#[derive(Debug, clap::Args)]
#[command(after_long_help = EXAMPLES)]
pub struct Args {
    #[command(flatten)]
    select: SelectArgs,

    /// Delete every expectation
    #[arg(long)]
    all: bool,

    /// Count what would be deleted, delete nothing
    #[arg(long)]
    dry_run: bool,

    /// Summary as JSON on stdout
    #[arg(long)]
    json: bool,

    #[command(flatten)]
    common: CommonArgs,
}

/// What became of the expectations.
struct Summary {
    dry_run: bool,
    seen: u64,
    matched: u64,
    /// Those that a delete cannot identify.
    skipped: u64,
    outcome: Outcome,
    error: Option<String>,
}

/// Runs the command.
pub fn run(args: &Args, host: &Host) -> Result<Exit> {
    let select = args.select.select(host)?;
    if args.select.is_empty() && !args.all {
        return Err(usage("expected which expectations, e.g. --helper ftp\n  hint: --all deletes every expectation"));
    }
    let mut connection = args.common.connect()?;
    let (chosen, seen) = select.with_zones(&mut connection)?;
    let targets: Vec<ExpectationTarget> = chosen.iter().filter_map(target).collect();
    let (matched, found) = (chosen.len() as u64, targets.len() as u64);
    let outcome = if args.dry_run { Outcome { done: found, ..Outcome::default() } } else { Outcome::default() };
    let mut summary = Summary { dry_run: args.dry_run, seen, matched, skipped: matched - found, outcome, error: None };
    if !args.dry_run {
        let deleted = expect_delete(&mut connection, &targets, &mut summary.outcome);
        summary.error = deleted.err().map(|error| error.to_string());
    }
    summary.print(&mut args.common.console());
    if args.json {
        print(format!("{}\n", summary.document()))?;
    }
    Ok(summary.exit())
}

fn target(chosen: &Chosen) -> Option<ExpectationTarget> {
    // One that no zone has is gone, which its delete shows.
    ExpectationTarget::of(&chosen.expectation).ok().map(|target| target.in_zone(chosen.zone.unwrap_or(0)))
}

impl Summary {
    fn not_done(&self) -> u64 {
        self.skipped + self.outcome.failures() + self.outcome.unanswered + self.outcome.unsent
    }

    fn exit(&self) -> Exit {
        match (self.not_done() > 0 || self.error.is_some(), self.outcome.done > 0 || self.outcome.unanswered > 0) {
            (false, _) => Exit::Done,
            (true, true) => Exit::Partly,
            (true, false) => Exit::Failed,
        }
    }

    fn print(&self, console: &mut Console) {
        let Summary { seen, matched, outcome, .. } = self;
        let done = if self.dry_run { "would be deleted" } else { "deleted" };
        let mut line = format!("{seen} expectations seen, {matched} matched, {} {done}", outcome.done);
        if outcome.gone > 0 {
            line += &format!(", {} already gone", outcome.gone);
        }
        console.note(&line);
        if self.skipped > 0 {
            console.warn(&format!("{} skipped: a delete cannot identify them", self.skipped));
        }
        for (errno, count) in &outcome.failed {
            let errno = Errno::from_raw(*errno);
            console.warn(&format!("{count} failed: {errno:?}: {}", errno.desc()));
        }
        for (count, what) in [(outcome.unanswered, "unanswered"), (outcome.unsent, "not sent")] {
            if count > 0 {
                console.warn(&format!("{count} {what}"));
            }
        }
        if let Some(error) = &self.error {
            console.warn(&format!("ended early: {error}"));
        }
    }

    fn document(&self) -> Value {
        let Outcome { done, gone, failed, unanswered, unsent, .. } = &self.outcome;
        let name = |errno: i32| format!("{:?}", Errno::from_raw(errno));
        let failed: Map<String, Value> = failed.iter().map(|(errno, count)| (name(*errno), (*count).into())).collect();
        let mut document = json!({ "v": 1, "command": "expect flush", "dry_run": self.dry_run, "seen": self.seen,
            "matched": self.matched, "deleted": done, "gone": gone, "skipped": self.skipped, "failed": failed,
            "unanswered": unanswered, "unsent": unsent });
        if let (Some(error), Some(document)) = (&self.error, document.as_object_mut()) {
            document.insert("error".into(), error.as_str().into());
        }
        document
    }
}
