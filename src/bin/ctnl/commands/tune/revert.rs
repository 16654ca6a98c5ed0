//! `ctnl tune revert`.

use anyhow::{Result, anyhow, bail};
use ctnl::host::Host;

use super::pending;
use super::plan::{entries, sizes};
use super::report::{Outcome, diff_text, show_diff};
use super::run::{Env, Job};
use super::set::confirm_time;
use super::target::{self, Opened, Target, TargetArgs};
use crate::host::table_memory::TableMemory;
use crate::term::console::Console;
use crate::term::exit::{Exit, usage};
use crate::term::interrupt::Interrupt;
use crate::tune::{Change, End, Log, Operation, Place, Rollback, Setting, State, Words, boot_id, judge, reverting};

const EXAMPLES: &str = "\
Examples:
  ctnl tune revert --dry-run
      What would be put back.
  ctnl tune revert
      The last operation that is in force. The same again puts the new values back.
  ctnl tune revert 7 --confirm-within 60s

Exit codes: 0 done; 1 failed, everything is as before; 2 refused, nothing was changed; 3 a part could not be rolled back.";

/// Put back what was before an operation
///
/// Values and files. It is an operation itself, in the log, and can be reverted. Refuses where somebody else changed a
/// value or file since.
#[derive(Debug, clap::Args)]
#[command(after_long_help = EXAMPLES)]
pub struct Args {
    /// The operation [default: the last one that is in force]
    #[arg(value_name = "OP")]
    op: Option<u64>,

    /// Also where somebody else changed a value (not a file) since, or what was before would be refused now
    #[arg(long)]
    force: bool,

    /// Show what would be changed, change nothing
    #[arg(long)]
    dry_run: bool,

    /// Do not ask
    #[arg(long, short)]
    yes: bool,

    /// Roll back by itself unless confirmed within TIME
    #[arg(long, value_name = "TIME", value_parser = confirm_time)]
    confirm_within: Option<u64>,

    #[command(flatten)]
    target: TargetArgs,
}

/// Runs the command.
pub fn run(args: &Args, host: &Host) -> Result<Exit> {
    let Opened { target, log, mut console } = args.target.open(host)?;
    let operations = log.read()?.operations;
    let operation = args.choose(&operations, &log, &target, &mut console)?;
    let op = operation.begun.op;
    pending::warn(&target, &log, &mut console, Some(op))?;
    let target = target.for_operation(operation)?;
    let interrupt = Interrupt::listen()?;
    let Rollback { changes, left } = args.changes(operation, &target)?;
    args.show(&changes, &left, &mut console)?;
    let outcome = Outcome {
        command: "revert",
        dry_run: args.dry_run,
        changes: changes.clone(),
        notes: left.iter().map(|left| is_left(left)).collect(),
        ..Outcome::default()
    };
    let nothing_to_do = changes.is_empty() && !operation.state.is_pending();
    if args.dry_run || nothing_to_do {
        return outcome.report(&mut console, args.target.json);
    }
    if !super::ask::may_begin(&mut console, args.yes, &interrupt)? {
        return Err(anyhow!("nothing was changed"));
    }
    let common = &args.target.common;
    let mut env = Env { target: &target, log: &log, common, console: &mut console, interrupt: &interrupt };
    let outcome = if operation.state.is_pending() {
        return end_pending(&mut env, op, args.force, outcome, args.target.json);
    } else {
        let (files, values): (Vec<_>, Vec<_>) =
            changes.into_iter().partition(|change| matches!(change.place(), Some(Place::File(_))));
        let waits = args.confirm_within.is_some();
        let (now, later) = if waits { (values, files) } else { ([values, files].concat(), Vec::new()) };
        let job = Job {
            command: "revert",
            reverts: Some(op),
            changes: now,
            changes_on_confirm: later,
            confirm_within: args.confirm_within,
            entries: target::entries(&target),
            ..Job::default()
        };
        env.run(job, outcome)?
    };
    outcome.report(&mut console, args.target.json)
}

/// Ends an operation that waits or was not finished. That is what was asked for, so its rollback is no failure.
fn end_pending(env: &mut Env<'_>, op: u64, force: bool, mut outcome: Outcome, as_json: bool) -> Result<Exit> {
    outcome.op = Some(op);
    env.roll_back(op, "reverted", force, &mut outcome)?;
    if matches!(outcome.end, Some(End::Applied(_) | End::Waiting(_))) {
        bail!("operation {op} was finished or confirmed meanwhile: nothing was changed\n  hint: run it again");
    }
    Ok(match outcome.report(env.console, as_json)? {
        Exit::Failed => Exit::Done,
        exit => exit,
    })
}

impl Args {
    fn choose<'o>(
        &self,
        operations: &'o [Operation],
        log: &Log,
        target: &Target,
        console: &mut Console,
    ) -> Result<&'o Operation> {
        let Some(op) = self.op else {
            // What could not be rolled back is reverted by its number alone: it may be impossible for ever.
            let in_force = |operation: &&Operation| {
                operation.state.is_in_force()
                    && operation.state != State::PartlyRolledBack
                    && (operation.state.is_pending() || !operation.is_of_entries_alone())
            };
            let mut last = operations.iter().rev().filter(in_force).peekable();
            let newest = last.peek().copied();
            // One of which everything is as before already must not hide those before it.
            let found = last.find(|operation| self.has_something_to_revert(operation, target)).or(newest);
            if let (Some(found), Some(newest)) = (found, newest)
                && found.begun.op != newest.begun.op
            {
                console.note(&format!("operation {}: everything is as it was before it already", newest.begun.op));
            }
            return found.ok_or_else(|| {
                anyhow!("no operation is in force that can be put back (log: {})", log.path().display())
            });
        };
        let found = operations.iter().rfind(|operation| operation.begun.op == op);
        let found = found.ok_or_else(|| usage(format!("there is no operation {op}\n  hint: ctnl tune log")))?;
        match (found.state, found.reverted_by) {
            (State::Reverted, Some(by)) => {
                bail!(
                    "operation {op} was reverted by operation {by} already\n  hint: ctnl tune revert {by} applies it again"
                )
            }
            (State::RolledBack, _) => bail!("operation {op} was rolled back: nothing of it is in force"),
            (state, _) if !state.is_pending() && found.is_of_entries_alone() => bail!(
                "operation {op} lowered the timeouts of existing entries alone: there is nothing to put back, since the next \
                 packet sets the timeout of the setting"
            ),
            _ => Ok(found),
        }
    }

    /// Whether something of the operation is in force, or it cannot be known.
    fn has_something_to_revert(&self, operation: &Operation, target: &Target) -> bool {
        let Ok(target) = target.clone().for_operation(operation) else { return true };
        let changes = reverting(operation, &mut target.places(), self.force);
        operation.state.is_pending() || changes.map_or(true, |changes| !changes.is_empty())
    }

    /// What is going to be changed, and what is left.
    fn changes(&self, operation: &Operation, target: &Target) -> Result<Rollback> {
        let rollback = if operation.state.is_pending() {
            Rollback::of(operation, &mut target.places(), self.force)
        } else {
            Rollback { changes: self.reverting(operation, target)?, left: Vec::new() }
        };
        if !self.force {
            refuse_what_hurts(&rollback.changes, target)?;
        }
        Ok(rollback)
    }

    /// The changes that revert an operation as a whole.
    fn reverting(&self, operation: &Operation, target: &Target) -> Result<Vec<Change>> {
        let changes = reverting(operation, &mut target.places(), self.force);
        changes.map_err(|refused| {
            let boot = boot_id(&target.host);
            let rebooted = boot.is_some() && operation.begun.boot_id.is_some() && boot != operation.begun.boot_id;
            let hint = if rebooted { "the host was booted since; " } else { "" };
            let files = operation.made().iter().any(|change| matches!(change.place(), Some(Place::File(_))));
            let later = if files {
                "; a file that changed since is never put back: revert the later operation first"
            } else {
                ""
            };
            usage(format!(
                "operation {} cannot be reverted as a whole, so nothing was changed:\n  {}\n  hint: {hint}put back the \
                 values of before nevertheless with --force{later}",
                operation.begun.op,
                refused.join("\n  ")
            ))
        })
    }

    fn show(&self, changes: &[Change], left: &[String], console: &mut Console) -> Result<()> {
        for left in left {
            console.warn(&is_left(left));
        }
        let text = diff_text(changes);
        show_diff(&text, self.dry_run, self.target.json, self.yes, console)
    }
}

fn is_left(left: &str) -> String {
    format!("is left as it is: {left}")
}

/// What was harmless then may hurt now: the table may be fuller.
fn refuse_what_hurts(changes: &[Change], target: &Target) -> Result<()> {
    let number = |text: &Option<String>| text.as_ref().and_then(|text| text.parse().ok());
    let value = |change: &Change| match change.place() {
        Some(Place::Sysctl(setting)) => Some((setting, number(&change.to)?)),
        _ => None,
    };
    let new: Vec<(Setting, u64)> = changes.iter().filter_map(value).collect();
    let mut places = target.places();
    let entries = entries(&mut places, target, &new);
    let sizes = sizes(&mut places, &new, entries);
    let verdict = judge(&new, &sizes, &TableMemory::read(&target.host), Words::default());
    if verdict.refusals.is_empty() {
        return Ok(());
    }
    let reasons: Vec<_> = verdict.refusals.into_iter().map(|refusal| refusal.reason).collect();
    Err(usage(format!(
        "what was before is refused, nothing was changed:\n  {}\n  hint: put it back nevertheless with --force",
        reasons.join("\n  ")
    )))
}
