//! The course of an operation, for set and revert: the lock, the process that watches, the confirmation.

use std::path::Path;

use anyhow::{Result, bail};

use super::super::args::CommonArgs;
use super::ask::{self, Answer};
use super::report::Outcome;
use super::target::{Target, user};
use super::{existing, pending};
use crate::term::console::Console;
use crate::term::interrupt::Interrupt;
use crate::tune::{
    Begun, Change, End, Locked, Log, NotUndone, Operation, Record, Session, State, Step, VERSION, boot_id, now, start,
};

/// This program, also where its file was replaced meanwhile.
const PROGRAM: &str = "/proc/self/exe";

/// What is to be changed.
#[derive(Debug, Default)]
pub struct Job {
    /// `set` or `revert`.
    pub command: &'static str,
    /// The operation that is reverted.
    pub reverts: Option<u64>,
    /// The changes, in their order.
    pub changes: Vec<Change>,
    /// Those of files that wait for the confirmation.
    pub changes_on_confirm: Vec<Change>,
    /// Seconds within which it is to be confirmed.
    pub confirm_within: Option<u64>,
    /// Timeouts of existing entries.
    pub existing: Vec<(String, u64)>,
    /// Entries of the namespace.
    pub entries: Option<u64>,
}

/// What a subcommand has.
pub struct Env<'e> {
    /// Where.
    pub target: &'e Target,
    /// The log.
    pub log: &'e Log,
    /// Namespace and verbosity.
    pub common: &'e CommonArgs,
    /// Notes.
    pub console: &'e mut Console,
    /// Signals.
    pub interrupt: &'e Interrupt,
}

impl Env<'_> {
    /// Runs the job. `outcome` has what is known before.
    ///
    /// # Errors
    /// Nothing was changed: it cannot be locked or logged, or another operation is pending.
    pub fn run(&mut self, job: Job, mut outcome: Outcome) -> Result<Outcome> {
        let (op, end) = self.apply(&job)?;
        outcome.op = Some(op);
        outcome.confirm_within = job.confirm_within;
        match end {
            End::Waiting(changes) if self.console.can_ask() => {
                outcome.changes = changes.iter().chain(&job.changes_on_confirm).cloned().collect();
                self.ask_to_stay(op, job.confirm_within.unwrap_or(0), End::Waiting(changes), &mut outcome)?;
            }
            End::Applied(changes) => {
                outcome.changes.clone_from(&changes);
                outcome.existing = self.cap(op, &job.existing);
                outcome.end = Some(End::Applied(changes));
            }
            end => outcome.end = Some(end),
        }
        Ok(outcome)
    }

    /// Applies the changes under the lock.
    fn apply(&mut self, job: &Job) -> Result<(u64, End)> {
        let locked = self.log.lock()?;
        let contents = locked.read()?;
        if let Some(pending) = pending::blocking(&contents.operations, self.target) {
            bail!(
                "operation {} is {}: nothing was changed\n  hint: ctnl tune confirm {0}, or ctnl tune revert {0}",
                pending.begun.op,
                pending.state.name()
            );
        }
        let begun = self.begun(job, contents.next_number());
        let op = begun.op;
        let arguments = self.watch_arguments(op);
        // Kept until the changes are applied: its end is that of this process.
        let mut watch = None;
        let end = self.session(&locked, |session| {
            session.run(&begun, || {
                if job.confirm_within.is_some() {
                    watch = Some(start(Path::new(PROGRAM), &arguments)?);
                }
                Ok(())
            })
        })?;
        Ok((op, end))
    }

    fn begun(&self, job: &Job, op: u64) -> Begun {
        Begun {
            v: VERSION,
            op,
            time: now(&self.target.host.clock),
            user: user(),
            command: job.command.to_owned(),
            reverts: job.reverts,
            netns: self.target.netns_name(),
            netns_inode: self.target.netns_inode(),
            boot_id: boot_id(&self.target.host),
            entries: job.entries,
            confirm_within: job.confirm_within,
            changes: job.changes.clone(),
            changes_on_confirm: job.changes_on_confirm.clone(),
            existing: job.existing.clone(),
        }
    }

    fn watch_arguments(&self, op: u64) -> Vec<String> {
        let mut arguments = vec!["tune".to_owned(), "watch".to_owned(), op.to_string()];
        if let Some(root) = &self.target.root {
            arguments.extend(["--root".to_owned(), root.display().to_string()]);
        }
        arguments
    }

    fn session<T>(&self, locked: &Locked<'_>, work: impl FnOnce(&mut Session<'_>) -> T) -> T {
        let mut places = self.target.places();
        let interrupted = || self.interrupt.name();
        let clock = &self.target.host.clock;
        work(&mut Session { clock, log: locked, places: &mut places, interrupted: &interrupted })
    }

    /// Lowers the timeouts of existing entries for operation `op`, and records how many.
    fn cap(&mut self, op: u64, values: &[(String, u64)]) -> Vec<existing::Capped> {
        let Env { target, common, console, interrupt, .. } = self;
        let capped = existing::cap(values, target, common, false, interrupt, console);
        if !capped.is_empty() {
            let lowered = capped.iter().map(existing::Capped::to_record).collect();
            let step = Step { v: VERSION, op, time: now(&target.host.clock), lowered, ..Step::default() };
            let logged = self.log.lock().and_then(|locked| locked.append(&Record::Lowered(step)));
            if let Err(error) = logged {
                console.warn(&format!("the log has no record of how many entries were lowered: {error:#}"));
            }
        }
        capped
    }

    fn ask_to_stay(&mut self, op: u64, seconds: u64, waiting: End, outcome: &mut Outcome) -> Result<()> {
        let answer = ask::stay(self.target, self.log, op, seconds, self.console, self.interrupt)?;
        match answer {
            Answer::Keep => self.confirm(op, outcome),
            Answer::TerminalGone => {
                outcome.end = Some(waiting);
                Ok(())
            }
            Answer::RollBack => {
                self.roll_back(op, "not confirmed: the answer was no, or a signal came", false, outcome)
            }
            Answer::Overdue => self.roll_back(op, &not_confirmed(seconds), false, outcome),
            Answer::Settled(_) => self.settled(op, outcome),
        }
    }

    /// Confirms an operation, and lowers the timeouts of existing entries then.
    ///
    /// # Errors
    /// It cannot be locked, or does not wait any more.
    pub fn confirm(&mut self, op: u64, outcome: &mut Outcome) -> Result<()> {
        let locked = self.log.lock()?;
        let operation = locked.read()?.find(op).cloned();
        let Some(operation) = operation.filter(|operation| operation.state == State::Waiting) else {
            drop(locked);
            return self.settled(op, outcome);
        };
        let end = self.session(&locked, |session| session.confirm(&operation));
        drop(locked);
        outcome.confirmed = matches!(end, End::Applied(_));
        if let End::Applied(changes) = &end {
            outcome.changes.clone_from(changes);
            outcome.existing = self.cap(op, &operation.begun.existing);
        }
        outcome.end = Some(end);
        Ok(())
    }

    /// Rolls an operation back that waits, or that was ended in the middle; by `force` also what somebody else changed.
    ///
    /// # Errors
    /// It cannot be locked.
    pub fn roll_back(&mut self, op: u64, why: &str, force: bool, outcome: &mut Outcome) -> Result<()> {
        let locked = self.log.lock()?;
        match locked.read()?.find(op).filter(|operation| operation.state.is_pending()) {
            Some(operation) => {
                outcome.end = Some(self.session(&locked, |session| session.roll_back(operation, why, force)));
                Ok(())
            }
            None => {
                drop(locked);
                self.settled(op, outcome)
            }
        }
    }

    /// The end as the log has it.
    fn settled(&self, op: u64, outcome: &mut Outcome) -> Result<()> {
        let contents = self.log.read()?;
        let Some(operation) = contents.find(op) else {
            bail!("operation {op} is not in {}", self.log.path().display())
        };
        outcome.confirmed = operation.state == State::Confirmed;
        outcome.end = Some(end_of(operation));
        Ok(())
    }
}

fn end_of(operation: &Operation) -> End {
    match operation.state {
        State::RolledBack | State::PartlyRolledBack => {
            let left = |(name, wanted): &(String, String)| NotUndone {
                name: name.clone(),
                wanted: wanted.clone(),
                why: "see the log".to_owned(),
            };
            let not_undone = operation.not_undone.iter().map(left).collect();
            End::RolledBack { why: operation.why.clone().unwrap_or_default(), not_undone }
        }
        State::Waiting | State::Unfinished => End::Waiting(operation.made()),
        State::Applied | State::Confirmed | State::Reverted => End::Applied(operation.made()),
    }
}

/// Why an operation was rolled back when its time was over.
pub fn not_confirmed(seconds: u64) -> String {
    format!("not confirmed within {seconds} s")
}
