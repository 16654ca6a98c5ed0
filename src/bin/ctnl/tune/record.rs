//! The records of the log, and the state of an operation that follows from them.

use ctnl::units::Seconds;
use serde::{Deserialize, Serialize};

use super::change::Change;

/// Version of the records.
pub const VERSION: u32 = 1;

/// A line of the log.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub enum Record {
    /// What is going to be changed.
    Begin(Begun),
    /// All of it is in force; files that wait for the confirmation are not written.
    Applied(Step),
    /// Its files are going to be written.
    Confirming(Step),
    /// It was confirmed, and its files are written.
    Confirmed(Step),
    /// Everything is as before, but for what `not_undone` names.
    RolledBack(Step),
    /// The timeouts of existing entries were lowered, after all else.
    Lowered(Step),
}

/// The begin of an operation.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Begun {
    /// Version of the record.
    pub v: u32,
    /// The number of the operation.
    pub op: u64,
    /// When, in UTC.
    pub time: String,
    /// Who: the user, and in parentheses the one who called sudo.
    pub user: String,
    /// `set` or `revert`.
    pub command: String,
    /// The operation that it reverts.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub reverts: Option<u64>,
    /// The namespace as it was named with --netns.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub netns: Option<String>,
    /// The inode number of the namespace.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub netns_inode: Option<u64>,
    /// The boot that the values belong to.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub boot_id: Option<String>,
    /// Entries of the namespace at that time.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub entries: Option<u64>,
    /// Seconds within which it is to be confirmed.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub confirm_within: Option<u64>,
    /// What is changed, in the order of the changes.
    pub changes: Vec<Change>,
    /// What is changed when it is confirmed.
    #[serde(skip_serializing_if = "Vec::is_empty", default)]
    pub changes_on_confirm: Vec<Change>,
    /// Timeouts to which those of existing entries are lowered in the end: names and seconds.
    #[serde(skip_serializing_if = "Vec::is_empty", default)]
    pub existing: Vec<(String, u64)>,
}

/// A later step of an operation.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Step {
    /// Version of the record.
    pub v: u32,
    /// The number of the operation.
    pub op: u64,
    /// When, in UTC.
    pub time: String,
    /// Of `applied`: the changes as they were read back, where the kernel made another number of one (buckets).
    #[serde(skip_serializing_if = "Vec::is_empty", default)]
    pub changes: Vec<Change>,
    /// Why it was rolled back.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub why: Option<String>,
    /// What could not be undone: name, and the value that was wanted.
    #[serde(skip_serializing_if = "Vec::is_empty", default)]
    pub not_undone: Vec<(String, String)>,
    /// Of `lowered`: what became of the entries of each timeout.
    #[serde(skip_serializing_if = "Vec::is_empty", default)]
    pub lowered: Vec<Lowered>,
}

/// What became of the existing entries of a timeout.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Lowered {
    /// The name of the timeout.
    pub timeout: String,
    /// The seconds to which they were lowered.
    pub seconds: u64,
    /// How many were lowered; `None` where that is unknown.
    pub lowered: Option<u64>,
    /// How many there were.
    pub matched: Option<u64>,
    /// What failed.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub error: Option<String>,
}

/// The state of an operation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    /// It was begun, and neither finished nor rolled back: its process runs, or was killed.
    Unfinished,
    /// It is in force until its time is over, unless it is confirmed.
    Waiting,
    /// It is in force.
    Applied,
    /// It is in force, and was confirmed.
    Confirmed,
    /// It was rolled back.
    RolledBack,
    /// It was rolled back but for a part.
    PartlyRolledBack,
    /// Another operation reverted it.
    Reverted,
}

/// An operation with all of its steps.
#[derive(Debug, Clone)]
pub struct Operation {
    /// What it was to change.
    pub begun: Begun,
    /// Its state.
    pub state: State,
    /// Why it was rolled back.
    pub why: Option<String>,
    /// What could not be undone.
    pub not_undone: Vec<(String, String)>,
    /// The operation that reverted it.
    pub reverted_by: Option<u64>,
    /// What became of existing entries, as far as it is recorded.
    pub lowered: Vec<Lowered>,
}

impl Record {
    /// The number of the operation.
    pub fn op(&self) -> u64 {
        match self {
            Record::Begin(begun) => begun.op,
            Record::Applied(step)
            | Record::Confirming(step)
            | Record::Confirmed(step)
            | Record::RolledBack(step)
            | Record::Lowered(step) => step.op,
        }
    }
}

impl State {
    /// Its name.
    pub fn name(self) -> &'static str {
        match self {
            State::Unfinished => "unfinished",
            State::Waiting => "waiting for confirmation",
            State::Applied => "applied",
            State::Confirmed => "confirmed",
            State::RolledBack => "rolled back",
            State::PartlyRolledBack => "partly rolled back",
            State::Reverted => "reverted",
        }
    }

    /// Its name in JSON.
    pub fn key(self) -> &'static str {
        match self {
            State::Waiting => "waiting_for_confirmation",
            State::RolledBack => "rolled_back",
            State::PartlyRolledBack => "partly_rolled_back",
            other => other.name(),
        }
    }

    /// Whether it changed something that another operation has not put back, as far as the log has it.
    pub fn is_in_force(self) -> bool {
        !matches!(self, State::RolledBack | State::Reverted)
    }

    /// Whether it is neither finished nor undone.
    pub fn is_pending(self) -> bool {
        matches!(self, State::Unfinished | State::Waiting)
    }
}

impl Operation {
    /// One that has only begun.
    pub fn new(begun: Begun) -> Self {
        let (not_undone, lowered) = (Vec::new(), Vec::new());
        Operation { begun, state: State::Unfinished, why: None, not_undone, reverted_by: None, lowered }
    }

    /// Adds a step.
    pub fn add(&mut self, step: Record) {
        match step {
            Record::Begin(_) => {}
            Record::Applied(step) => {
                self.state = if self.begun.confirm_within.is_some() { State::Waiting } else { State::Applied };
                self.take_read_back(step.changes);
            }
            // Cut off here, a part of it is in force, after a reboot, too.
            Record::Confirming(_) => self.state = State::Unfinished,
            Record::Confirmed(_) => self.state = State::Confirmed,
            Record::RolledBack(step) => {
                self.state = if step.not_undone.is_empty() { State::RolledBack } else { State::PartlyRolledBack };
                (self.why, self.not_undone) = (step.why, step.not_undone);
            }
            Record::Lowered(step) => self.lowered = step.lowered,
        }
    }

    fn take_read_back(&mut self, changes: Vec<Change>) {
        for change in changes {
            if let Some(own) = self.begun.changes.iter_mut().find(|own| own.path == change.path) {
                *own = change;
            }
        }
    }

    /// The changes that are made as far as is known: with those of the confirmation once it was confirmed, or where one
    /// failed and could not be undone.
    pub fn made(&self) -> Vec<Change> {
        let mut made = self.begun.changes.clone();
        let is_confirmed = matches!(self.state, State::Confirmed | State::Reverted);
        let is_left = |change: &&Change| self.not_undone.iter().any(|(name, _)| name == change.name());
        made.extend(self.begun.changes_on_confirm.iter().filter(|change| is_confirmed || is_left(change)).cloned());
        made
    }

    /// Whether it changed no setting and no file, but the timeouts of existing entries alone, which cannot be put back.
    pub fn is_of_entries_alone(&self) -> bool {
        self.begun.changes.is_empty() && self.begun.changes_on_confirm.is_empty() && !self.begun.existing.is_empty()
    }

    /// What it changes or changed, in one line.
    pub fn describe_changes(&self) -> String {
        let all = self.begun.changes.iter().chain(&self.begun.changes_on_confirm);
        all.map(Change::describe).chain(self.describe_existing()).collect::<Vec<_>>().join(", ")
    }

    /// What it does or did to existing entries: for each timeout.
    pub fn describe_existing(&self) -> Vec<String> {
        let describe = |(name, seconds): &(String, u64)| {
            let to = Seconds(*seconds);
            let recorded = self.lowered.iter().find(|lowered| lowered.timeout == *name);
            match (recorded, self.state) {
                (Some(Lowered { error: Some(error), .. }), _) => {
                    format!("existing entries of {name}: not all were lowered to {to}: {error}")
                }
                (Some(Lowered { lowered: Some(count), matched: Some(all), .. }), _) => {
                    format!("existing entries of {name}: {count} of {all} lowered to {to}")
                }
                (None, State::RolledBack | State::PartlyRolledBack) => format!("existing entries of {name}: left"),
                (None, state) if state.is_pending() => {
                    format!("existing entries of {name}: lowered to {to} in the end")
                }
                _ => format!("existing entries of {name}: lowered to {to}, how many is not recorded"),
            }
        };
        self.begun.existing.iter().map(describe).collect()
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::super::change::SYSCTL_CONF;
    use super::super::setting::Setting;
    use super::*;

    fn operation(confirm_within: Option<u64>) -> Operation {
        let changes = vec![Change::of_setting(Setting::Buckets, 512, 1000)];
        Operation::new(Begun { op: 1, confirm_within, changes, ..Begun::default() })
    }

    fn step() -> Step {
        Step { op: 1, ..Step::default() }
    }

    #[test]
    fn an_operation_waits_until_it_is_confirmed_or_rolled_back() {
        let mut waiting = operation(Some(60));
        assert!(waiting.state == State::Unfinished && waiting.state.is_pending());
        waiting.add(Record::Applied(step()));
        assert_eq!(waiting.state, State::Waiting);
        let mut confirmed = waiting.clone();
        confirmed.add(Record::Confirmed(step()));
        assert_eq!((confirmed.state, confirmed.state.is_in_force()), (State::Confirmed, true));
        waiting.add(Record::RolledBack(Step { why: Some("time".into()), ..step() }));
        assert_eq!((waiting.state, waiting.why.as_deref()), (State::RolledBack, Some("time")));
        let mut applied = operation(None);
        applied.add(Record::Applied(step()));
        assert_eq!(applied.state, State::Applied);
    }

    #[test]
    fn the_value_that_was_read_back_is_the_new_one() {
        let mut applied = operation(None);
        let changes = vec![Change::of_setting(Setting::Buckets, 512, 1024)];
        applied.add(Record::Applied(Step { changes, ..step() }));
        assert_eq!(applied.made().first().unwrap().to.as_deref(), Some("1024"));
    }

    #[test]
    fn files_that_were_never_written_are_not_among_the_changes() {
        let mut partly = operation(Some(60));
        partly.begun.changes_on_confirm = vec![Change::of_file(SYSCTL_CONF, None, Some("x = 1\n".into()))];
        partly.add(Record::Applied(step()));
        partly.add(Record::RolledBack(Step { not_undone: vec![("buckets".into(), "512".into())], ..step() }));
        assert_eq!((partly.state, partly.made().len()), (State::PartlyRolledBack, 1));
        partly.add(Record::RolledBack(Step { not_undone: vec![(SYSCTL_CONF.into(), "no file".into())], ..step() }));
        assert_eq!(partly.made().len(), 2);
    }

    #[test]
    fn the_number_of_lowered_entries_is_part_of_the_operation_and_one_that_is_not_recorded_is_not_called_none() {
        let existing = vec![("udp.stream".to_owned(), 60)];
        let mut lowered = Operation::new(Begun { op: 1, existing, ..Begun::default() });
        let text = |operation: &Operation| operation.describe_changes();
        assert_eq!(text(&lowered), "existing entries of udp.stream: lowered to 1m in the end");
        lowered.add(Record::Applied(step()));
        assert_eq!(text(&lowered), "existing entries of udp.stream: lowered to 1m, how many is not recorded");
        let count =
            Lowered { timeout: "udp.stream".into(), seconds: 60, lowered: Some(3), matched: Some(9), error: None };
        let record = Record::Lowered(Step { lowered: vec![count], ..step() });
        let record = serde_json::from_str(&serde_json::to_string(&record).unwrap()).unwrap();
        lowered.add(record);
        assert_eq!(text(&lowered), "existing entries of udp.stream: 3 of 9 lowered to 1m");
        assert!(lowered.is_of_entries_alone() && lowered.state == State::Applied);
    }

    #[test]
    fn a_record_has_the_name_of_its_event() {
        let text = serde_json::to_string(&Record::RolledBack(step())).unwrap();
        assert!(text.starts_with(r#"{"event":"rolled_back","v":0,"op":1"#), "{text}");
    }
}
