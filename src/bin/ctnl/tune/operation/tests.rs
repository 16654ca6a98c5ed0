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
    assert_eq!((operation(root.path(), 1).state, operation(root.path(), 2).state), (State::Applied, State::Reverted));
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
            (expected.into_iter().map(str::to_owned).collect(), left.iter().map(|text| (*text).to_owned()).collect())
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
    let applied = Operation { state: State::Applied, ..Operation::new(Begun { op: 1, changes, ..Begun::default() }) };
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
    let end = session(root.path(), |session| session.run(&begun(1, Some(60)), || anyhow::bail!("no watch")).unwrap());
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
