use std::os::unix::fs::PermissionsExt;

use ctnl::clock::Clock;

use super::super::change::Change;
use super::super::record::{Begun, Step};
use super::super::setting::Setting;
use super::*;

fn begun(op: u64) -> Begun {
    Begun {
        v: 1,
        op,
        time: "2026-11-29T01:00:00Z".into(),
        user: "root".into(),
        command: "set".into(),
        changes: vec![Change::of_setting(Setting::Max, 1, 2)],
        ..Begun::default()
    }
}

fn step(op: u64) -> Step {
    Step { v: 1, op, time: "2026-11-29T01:00:01Z".into(), ..Step::default() }
}

#[test]
fn what_is_appended_is_read_again() {
    let root = tempfile::tempdir().unwrap();
    let log = Log::of(&Host::at(root.path(), Clock::system()));
    assert_eq!((log.read().unwrap().next_number(), root.path().join("var").exists()), (1, false));
    let locked = log.lock().unwrap();
    locked.append(&Record::Begin(begun(1))).unwrap();
    locked.append(&Record::Applied(step(1))).unwrap();
    locked.append(&Record::Begin(Begun { command: "revert".into(), reverts: Some(1), ..begun(2) })).unwrap();
    locked.append(&Record::Applied(step(2))).unwrap();
    let states = || log.read().unwrap().operations.iter().map(|found| found.state).collect::<Vec<_>>();
    assert_eq!(states(), [State::Reverted, State::Applied]);
    let read = log.read().unwrap();
    assert_eq!((read.unreadable, read.next_number(), read.find(1).unwrap().reverted_by), (0, 3, Some(2)));
    locked.append(&Record::Begin(Begun { command: "revert".into(), reverts: Some(2), ..begun(3) })).unwrap();
    assert_eq!(states(), [State::Reverted, State::Applied, State::Unfinished]);
    locked.append(&Record::Applied(step(3))).unwrap();
    assert_eq!(states(), [State::Applied, State::Reverted, State::Applied]);
    assert_eq!(read.find(1).unwrap().begun.changes, begun(1).changes);
}

#[test]
fn a_new_log_is_readable_by_its_owner_alone_and_keeps_the_mode_that_it_is_given() {
    let root = tempfile::tempdir().unwrap();
    let log = Log::of(&Host::at(root.path(), Clock::system()));
    let locked = log.lock().unwrap();
    locked.append(&Record::Begin(begun(1))).unwrap();
    let mode = || fs::metadata(log.path()).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(), 0o600);
    fs::set_permissions(log.path(), fs::Permissions::from_mode(0o640)).unwrap();
    locked.append(&Record::Applied(step(1))).unwrap();
    assert_eq!(mode(), 0o640);
}

#[test]
fn only_a_log_that_may_not_be_read_is_one_that_is_denied() {
    let error = |kind: std::io::ErrorKind| anyhow::Error::from(std::io::Error::from(kind)).context("read");
    assert!(is_denied(&error(std::io::ErrorKind::PermissionDenied)));
    assert!(!is_denied(&error(std::io::ErrorKind::InvalidInput)));
}

#[test]
fn one_process_at_a_time_has_the_lock() {
    let root = tempfile::tempdir().unwrap();
    let log = Log::of(&Host::at(root.path(), Clock::system()));
    let first = log.lock().unwrap();
    let error = log.lock_within(Duration::from_millis(50)).unwrap_err().to_string();
    assert!(error.contains("another ctnl tune is changing settings"), "{error}");
    drop(first);
    log.lock().unwrap();
}

#[test]
fn a_log_is_not_written_outside_of_its_root() {
    let (root, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    std::os::unix::fs::symlink(other.path(), root.path().join("var")).unwrap();
    let error = format!("{:#}", Log::of(&Host::at(root.path(), Clock::system())).lock().unwrap_err());
    assert!(error.contains("leads out of"), "{error}");
    assert_eq!(fs::read_dir(other.path()).unwrap().count(), 0);
}

#[test]
fn a_log_or_a_lock_that_is_a_link_or_a_fifo_is_refused() {
    let (root, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let log = Log::of(&Host::at(root.path(), Clock::system()));
    drop(log.lock().unwrap());
    let outside = other.path().join("file");
    fs::write(&outside, "").unwrap();
    std::os::unix::fs::symlink(&outside, log.path()).unwrap();
    assert!(log.read().is_err() && log.lock().unwrap().append(&Record::Begin(begun(1))).is_err());
    assert_eq!(fs::read_to_string(&outside).unwrap(), "");
    fs::remove_file(log.path()).unwrap();
    nix::unistd::mkfifo(&log.path(), nix::sys::stat::Mode::S_IRWXU).unwrap();
    assert!(format!("{:#}", log.read().unwrap_err()).contains("no regular file"));
    let lock = log.folder.join(LOCK);
    fs::remove_file(&lock).unwrap();
    std::os::unix::fs::symlink(&outside, &lock).unwrap();
    assert!(log.lock().is_err());
}

#[test]
fn a_line_that_was_cut_off_is_counted_and_spoils_no_other() {
    let root = tempfile::tempdir().unwrap();
    let log = Log::of(&Host::at(root.path(), Clock::system()));
    let locked = log.lock().unwrap();
    locked.append(&Record::Begin(begun(1))).unwrap();
    let mut file = OpenOptions::new().append(true).open(log.path()).unwrap();
    file.write_all(b"{\"event\":\"app").unwrap();
    locked.append(&Record::Applied(step(1))).unwrap();
    let read = log.read().unwrap();
    assert_eq!((read.unreadable, read.operations.len()), (1, 1));
    assert_eq!(read.operations.first().unwrap().state, State::Applied);
}

#[test]
fn a_step_without_its_operation_is_unreadable() {
    let line = serde_json::to_string(&Record::Applied(step(9))).unwrap();
    let read = Contents::of(&line);
    assert_eq!((read.operations.len(), read.unreadable), (0, 1));
}
