//! An operation: what is written to the log, and when its changes are applied, confirmed and rolled back.

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::panic)]
mod tests;

use anyhow::Result;
use ctnl::clock::Clock;
use jiff::Timestamp;

use super::apply::{NotUndone, apply, undo, undo_by_force};
use super::change::{Change, Place, sort_safely};
use super::log::Locked;
use super::places::Places;
use super::record::{Begun, Operation, Record, Step, VERSION};

/// What an operation needs.
pub struct Session<'s> {
    /// The clock.
    pub clock: &'s Clock,
    /// The log.
    pub log: &'s Locked<'s>,
    /// What is changed.
    pub places: &'s mut dyn Places,
    /// The name of a signal that came.
    pub interrupted: &'s dyn Fn() -> Option<&'static str>,
}

/// How an operation ended, or that it waits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum End {
    /// It is in force. The changes are as they were read back.
    Applied(Vec<Change>),
    /// It is in force, and rolled back unless it is confirmed.
    Waiting(Vec<Change>),
    /// It failed: everything is as before, but for what could not be undone.
    RolledBack {
        /// What failed.
        why: String,
        /// What could not be undone.
        not_undone: Vec<NotUndone>,
    },
}

impl Session<'_> {
    /// Runs the operation `begun`. `before_first` is called when it is in the log, before the first change.
    ///
    /// # Errors
    /// It cannot be written to the log; nothing was changed.
    pub fn run(&mut self, begun: &Begun, before_first: impl FnOnce() -> Result<()>) -> Result<End> {
        self.log.append(&Record::Begin(begun.clone()))?;
        let mut changes = begun.changes.clone();
        if let Err(error) = before_first() {
            return Ok(self.rolled_back(begun.op, format!("{error:#}"), Vec::new()));
        }
        if let Err(failure) = apply(self.places, &mut changes, self.interrupted) {
            return Ok(self.rolled_back(begun.op, failure.why, failure.not_undone));
        }
        let applied = Step { changes: changes.clone(), ..self.step(begun.op) };
        if let Err(error) = self.log.append(&Record::Applied(applied)) {
            let not_undone = undo(self.places, &changes);
            return Ok(self.rolled_back(begun.op, format!("{error:#}"), not_undone));
        }
        Ok(if begun.confirm_within.is_some() { End::Waiting(changes) } else { End::Applied(changes) })
    }

    /// Confirms an operation that waits: its files are written. Where that fails, all of it is rolled back.
    pub fn confirm(&mut self, operation: &Operation) -> End {
        let op = operation.begun.op;
        let mut files = operation.begun.changes_on_confirm.clone();
        if !files.is_empty()
            && let Err(error) = self.log.append(&Record::Confirming(self.step(op)))
        {
            let not_undone = undo(self.places, &operation.begun.changes);
            return self.rolled_back(op, format!("{error:#}"), not_undone);
        }
        if let Err(mut failure) = apply(self.places, &mut files, self.interrupted) {
            failure.not_undone.extend(undo(self.places, &operation.begun.changes));
            return self.rolled_back(op, failure.why, failure.not_undone);
        }
        if let Err(error) = self.log.append(&Record::Confirmed(self.step(op))) {
            let mut not_undone = undo(self.places, &files);
            not_undone.extend(undo(self.places, &operation.begun.changes));
            return self.rolled_back(op, format!("{error:#}"), not_undone);
        }
        End::Applied(operation.begun.changes.iter().chain(&files).cloned().collect())
    }

    /// Rolls an operation back; by `force` also the settings that somebody else changed since. See [`Rollback::of`].
    pub fn roll_back(&mut self, operation: &Operation, why: &str, force: bool) -> End {
        let all = may_be_made(operation, self.places);
        let not_undone = if force { undo_by_force(self.places, &all) } else { undo(self.places, &all) };
        self.rolled_back(operation.begun.op, why.to_owned(), not_undone)
    }

    /// Notes the end in the log. Where that fails, the reason is part of the end: everything else holds.
    fn rolled_back(&self, op: u64, mut why: String, not_undone: Vec<NotUndone>) -> End {
        let names = not_undone.iter().map(|left| (left.name.clone(), left.wanted.clone())).collect();
        let step = Step { why: Some(why.clone()), not_undone: names, ..self.step(op) };
        if let Err(error) = self.log.append(&Record::RolledBack(step)) {
            why.push_str(&format!("; and the log has no record of the end: {error:#}"));
        }
        End::RolledBack { why, not_undone }
    }

    fn step(&self, op: u64) -> Step {
        Step { v: VERSION, op, time: now(self.clock), ..Step::default() }
    }
}

/// The changes of an operation that is pending which may be made: with the files of a confirmation whose process was killed
/// in its middle.
fn may_be_made(operation: &Operation, places: &mut dyn Places) -> Vec<Change> {
    let files = operation.begun.changes_on_confirm.iter();
    let is_written =
        |change: &&Change| change.place().is_some_and(|place| places.read(place).is_ok_and(|now| now == change.to));
    let written: Vec<_> = files.filter(is_written).cloned().collect();
    operation.begun.changes.iter().cloned().chain(written).collect()
}

/// What [`Session::roll_back`] is going to do.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Rollback {
    /// The changes, in their order. What is as before already is left out.
    pub changes: Vec<Change>,
    /// What is left, since somebody else changed it, or it cannot be read.
    pub left: Vec<String>,
}

impl Rollback {
    /// Of an operation that is pending.
    pub fn of(operation: &Operation, places: &mut dyn Places, force: bool) -> Self {
        let mut rollback = Rollback::default();
        for change in may_be_made(operation, places).iter().rev() {
            match inverse_now(change, places, force) {
                Ok(inverse) => rollback.changes.extend(inverse),
                Err(why) => rollback.left.push(why),
            }
        }
        rollback
    }
}

/// The change that puts back what was before `change`; `None` where it is so already.
///
/// # Errors
/// Somebody else changed it since, and it is a file or `force` is not given; or it cannot be read.
fn inverse_now(change: &Change, places: &mut dyn Places, force: bool) -> Result<Option<Change>, String> {
    let Some(place) = change.place() else {
        return Err(format!("the log names '{}', which ctnl tune does not write", change.path));
    };
    match places.read(place) {
        Err(error) => Err(format!("cannot read {}: {error}", change.path)),
        Ok(now) if now == change.from => Ok(None),
        Ok(now) if now == change.to || force && matches!(place, Place::Sysctl(_)) => {
            Ok(Some(Change { from: now, ..change.inverse() }))
        }
        Ok(now) => Err(somebody_else(change, now)),
    }
}

/// The time now as text, in UTC.
pub fn now(clock: &Clock) -> String {
    text_of(clock.now().realtime.0)
}

/// A time in nanoseconds since 1970 as text, in UTC, in seconds.
pub fn text_of(nanoseconds: u64) -> String {
    let seconds = i64::try_from(nanoseconds / 1_000_000_000).unwrap_or(0);
    Timestamp::from_second(seconds).map_or_else(|_| String::new(), |time| time.to_string())
}

/// The changes that put back what was before `operation`, in an order that does not hurt. What is as before already is
/// left out.
///
/// # Errors
/// Each setting and file that has neither the value of the operation nor the one before it, since somebody else changed
/// it; unless `force`. A file is as a whole what a later operation or somebody made of it, so that it is refused by force, too.
pub fn reverting(operation: &Operation, places: &mut dyn Places, force: bool) -> Result<Vec<Change>, Vec<String>> {
    let (mut changes, mut refused) = (Vec::new(), Vec::new());
    for change in &operation.made() {
        match inverse_now(change, places, force) {
            Ok(inverse) => changes.extend(inverse),
            Err(why) => refused.push(why),
        }
    }
    sort_safely(&mut changes);
    if refused.is_empty() { Ok(changes) } else { Err(refused) }
}

fn somebody_else(change: &Change, now: Option<String>) -> String {
    let now = Change { from: change.to.clone(), to: now, ..change.clone() };
    format!("{} (changed since)", now.describe())
}
