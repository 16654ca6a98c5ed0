//! An operation: what is written to the log, and when its changes are applied, confirmed and rolled back.

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

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::panic)]
mod tests {
    use std::fs;
    use std::path::Path;

    use ctnl::host::Host;
    use ctnl::netlink::Netns;
    use tempfile::TempDir;

    use super::super::change::SYSCTL_CONF;
    use super::super::log::Log;
    use super::super::places::HostPlaces;
    use super::super::record::State;
    use super::super::setting::Setting;
    use super::*;

    fn root() -> TempDir {
        let root = tempfile::tempdir().unwrap();
        let folder = root.path().join("proc/sys/net/netfilter");
        fs::create_dir_all(&folder).unwrap();
        fs::write(folder.join("nf_conntrack_max"), "1000\n").unwrap();
        fs::write(folder.join("nf_conntrack_acct"), "0\n").unwrap();
        root
    }

    fn value(root: &Path, name: &str) -> String {
        fs::read_to_string(root.join("proc/sys/net/netfilter").join(name)).unwrap().trim().to_owned()
    }

    fn begun(op: u64, confirm_within: Option<u64>) -> Begun {
        let file = Change::of_file(SYSCTL_CONF, None, Some("x = 1\n".into()));
        let (mut changes, mut on_confirm) =
            (vec![Change::of_setting(Setting::Max, 1000, 2000), Change::of_setting(Setting::Acct, 0, 1)], vec![file]);
        if confirm_within.is_none() {
            changes.append(&mut on_confirm);
        }
        Begun { v: 1, op, confirm_within, changes, changes_on_confirm: on_confirm, ..Begun::default() }
    }

    /// Runs `work` in a session on `root`.
    fn session<T>(root: &Path, work: impl FnOnce(&mut Session<'_>) -> T) -> T {
        let host = Host::at(root, Clock::system());
        let log = Log::of(&host);
        let locked = log.lock().unwrap();
        let mut places = HostPlaces::new(&host, Netns::Current);
        let mut session = Session { clock: &host.clock, log: &locked, places: &mut places, interrupted: &|| None };
        work(&mut session)
    }

    fn operation(root: &Path, op: u64) -> Operation {
        Log::of(&Host::at(root, Clock::system())).read().unwrap().find(op).unwrap().clone()
    }

    fn revert(root: &Path, op: u64, as_op: u64) {
        let operation = operation(root, op);
        session(root, |session| {
            let changes = reverting(&operation, session.places, false).unwrap();
            let begun = Begun { op: as_op, reverts: Some(op), changes, command: "revert".into(), ..Begun::default() };
            let end = session.run(&begun, || Ok(())).unwrap();
            assert!(matches!(end, End::Applied(_)), "{end:?}");
        });
    }

    #[test]
    fn a_revert_puts_back_values_and_files_and_the_revert_of_the_revert_applies_them_again() {
        let root = root();
        session(root.path(), |session| session.run(&begun(1, None), || Ok(())).unwrap());
        let conf = root.path().join("etc/sysctl.d/90-ctnl.conf");
        assert_eq!((value(root.path(), "nf_conntrack_max"), conf.exists()), ("2000".into(), true));
        revert(root.path(), 1, 2);
        assert_eq!((value(root.path(), "nf_conntrack_max"), conf.exists()), ("1000".into(), false));
        assert_eq!(operation(root.path(), 1).state, State::Reverted);
        revert(root.path(), 2, 3);
        assert_eq!(value(root.path(), "nf_conntrack_acct"), "1");
        assert_eq!(fs::read_to_string(conf).unwrap(), "x = 1\n");
        assert_eq!(
            (operation(root.path(), 1).state, operation(root.path(), 2).state),
            (State::Applied, State::Reverted)
        );
    }

    #[test]
    fn a_value_that_somebody_else_changed_is_reverted_by_force_alone() {
        let root = root();
        session(root.path(), |session| session.run(&begun(1, None), || Ok(())).unwrap());
        fs::write(root.path().join("proc/sys/net/netfilter/nf_conntrack_max"), "5\n").unwrap();
        let first = operation(root.path(), 1);
        session(root.path(), |session| {
            let refused = reverting(&first, session.places, false).unwrap_err();
            assert_eq!(refused, ["max: 2000 -> 5 (changed since)"]);
            let forced = reverting(&first, session.places, true).unwrap();
            assert!(forced.iter().any(|change| change.describe() == "max: 5 -> 1000"), "{forced:?}");
        });
    }

    #[test]
    fn what_is_shown_of_a_rollback_is_what_it_does_with_and_without_force() {
        for force in [false, true] {
            let root = root();
            session(root.path(), |session| session.run(&begun(1, Some(60)), || Ok(())).unwrap());
            let max = root.path().join("proc/sys/net/netfilter/nf_conntrack_max");
            fs::write(&max, "5\n").unwrap();
            let waiting = operation(root.path(), 1);
            let (shown, end) = session(root.path(), |session| {
                let shown = Rollback::of(&waiting, session.places, force);
                (shown, session.roll_back(&waiting, "reverted", force))
            });
            let changes: Vec<_> = shown.changes.iter().map(Change::describe).collect();
            let End::RolledBack { not_undone, .. } = end else { panic!("{end:?}") };
            let (expected, left, value_then) = if force {
                (vec!["acct: on -> off", "max: 5 -> 1000"], vec![], "1000")
            } else {
                (vec!["acct: on -> off"], vec!["max: 2000 -> 5 (changed since)"], "5")
            };
            assert_eq!(
                (changes, shown.left),
                (
                    expected.into_iter().map(str::to_owned).collect(),
                    left.iter().map(|text| (*text).to_owned()).collect()
                )
            );
            assert_eq!((value(root.path(), "nf_conntrack_max").as_str(), not_undone.len()), (value_then, left.len()));
            assert_eq!(value(root.path(), "nf_conntrack_acct"), "0");
        }
    }

    #[test]
    fn a_file_that_has_other_lines_since_is_not_put_back_even_by_force() {
        let root = root();
        session(root.path(), |session| session.run(&begun(1, None), || Ok(())).unwrap());
        fs::write(root.path().join("etc/sysctl.d/90-ctnl.conf"), "x = 1\nmine = 1\n").unwrap();
        let first = operation(root.path(), 1);
        session(root.path(), |session| {
            let refused = reverting(&first, session.places, true).unwrap_err();
            assert_eq!(refused, ["/etc/sysctl.d/90-ctnl.conf: changed (changed since)"]);
        });
    }

    #[test]
    fn buckets_that_somebody_else_has_set_a_little_higher_are_not_taken_for_those_of_the_operation() {
        let root = root();
        let path = root.path().join("proc/sys/net/netfilter/nf_conntrack_buckets");
        fs::write(&path, "5000\n").unwrap();
        let changes = vec![Change::of_setting(Setting::Buckets, 1000, 2000)];
        let applied =
            Operation { state: State::Applied, ..Operation::new(Begun { op: 1, changes, ..Begun::default() }) };
        session(root.path(), |session| {
            assert!(reverting(&applied, session.places, false).is_err());
            assert_eq!(undo(session.places, &applied.begun.changes).len(), 1);
        });
        assert_eq!(fs::read_to_string(path).unwrap(), "5000\n");
    }

    #[test]
    fn what_waits_has_no_files_until_it_is_confirmed() {
        let root = root();
        let end = session(root.path(), |session| session.run(&begun(1, Some(60)), || Ok(())).unwrap());
        assert!(matches!(end, End::Waiting(_)));
        let conf = root.path().join("etc/sysctl.d/90-ctnl.conf");
        assert_eq!((value(root.path(), "nf_conntrack_max"), conf.exists()), ("2000".into(), false));
        let waiting = operation(root.path(), 1);
        assert_eq!(waiting.state, State::Waiting);
        session(root.path(), |session| session.confirm(&waiting));
        assert_eq!((operation(root.path(), 1).state, conf.exists()), (State::Confirmed, true));
        // Then a revert removes the file, too.
        revert(root.path(), 1, 2);
        assert_eq!((value(root.path(), "nf_conntrack_max"), conf.exists()), ("1000".into(), false));
    }

    #[test]
    fn a_confirmation_that_was_cut_off_is_unfinished_and_its_file_is_put_back() {
        let root = root();
        session(root.path(), |session| session.run(&begun(1, Some(60)), || Ok(())).unwrap());
        let waiting = operation(root.path(), 1);
        session(root.path(), |session| session.confirm(&waiting));
        // As the power loss leaves it: the last record is missing.
        let path = Log::of(&Host::at(root.path(), Clock::system())).path();
        let text = fs::read_to_string(&path).unwrap();
        let lines: Vec<_> = text.lines().filter(|line| !line.contains(r#""event":"confirmed""#)).collect();
        fs::write(&path, lines.join("\n") + "\n").unwrap();
        let cut_off = operation(root.path(), 1);
        assert_eq!(cut_off.state, State::Unfinished);
        session(root.path(), |session| {
            let shown = Rollback::of(&cut_off, session.places, false);
            assert!(shown.changes.iter().any(|change| change.path == SYSCTL_CONF), "{shown:?}");
            session.roll_back(&cut_off, "reverted", false)
        });
        assert!(!root.path().join("etc/sysctl.d/90-ctnl.conf").exists());
    }

    #[test]
    fn what_is_not_confirmed_is_rolled_back() {
        let root = root();
        session(root.path(), |session| session.run(&begun(1, Some(60)), || Ok(())).unwrap());
        let waiting = operation(root.path(), 1);
        session(root.path(), |session| session.roll_back(&waiting, "not confirmed within 60s", false));
        let found = operation(root.path(), 1);
        assert_eq!((found.state, found.why.as_deref()), (State::RolledBack, Some("not confirmed within 60s")));
        assert_eq!(value(root.path(), "nf_conntrack_max"), "1000");
    }

    #[test]
    fn files_that_cannot_be_written_at_the_confirmation_roll_everything_back() {
        let root = root();
        session(root.path(), |session| session.run(&begun(1, Some(60)), || Ok(())).unwrap());
        // A file where the folder has to be.
        fs::create_dir(root.path().join("etc")).unwrap();
        fs::write(root.path().join("etc/sysctl.d"), "").unwrap();
        let waiting = operation(root.path(), 1);
        let end = session(root.path(), |session| session.confirm(&waiting));
        let End::RolledBack { why, not_undone } = end else { panic!("{end:?}") };
        assert!(why.contains("/etc/sysctl.d/90-ctnl.conf"), "{why}");
        assert_eq!((value(root.path(), "nf_conntrack_max"), not_undone.len()), ("1000".into(), 0));
        assert_eq!(operation(root.path(), 1).state, State::RolledBack);
    }

    #[test]
    fn what_must_run_before_the_first_change_and_fails_leaves_everything_as_it_is() {
        let root = root();
        let end =
            session(root.path(), |session| session.run(&begun(1, Some(60)), || anyhow::bail!("no watch")).unwrap());
        assert_eq!(end, End::RolledBack { why: "no watch".into(), not_undone: vec![] });
        assert_eq!(value(root.path(), "nf_conntrack_max"), "1000");
    }

    #[test]
    fn an_operation_whose_process_was_killed_is_pending_and_is_reverted() {
        let root = root();
        session(root.path(), |session| {
            let begun = begun(1, None);
            session.log.append(&Record::Begin(begun)).unwrap();
            session.places.write(super::super::change::Place::Sysctl(Setting::Max), Some("2000")).unwrap();
        });
        let killed = operation(root.path(), 1);
        assert!(killed.state.is_pending());
        session(root.path(), |session| session.roll_back(&killed, "reverted", false));
        assert_eq!(value(root.path(), "nf_conntrack_max"), "1000");
    }

    #[test]
    fn a_time_is_written_in_utc() {
        assert_eq!(text_of(1_700_000_000_999_999_999), "2023-11-14T22:13:20Z");
    }
}
