use ctnl::clock::Clock;

use super::*;

fn output_of(script: &str) -> Result<LogSource, Unreadable> {
    let mut command = programs::command(Path::new("/bin/sh"));
    command.args(["-c", script]);
    read_output(command, &Host::system(), Tally::new(Nanos(2_000_000_000), Some("gate")), &|| false)
}

#[test]
fn messages_are_counted_also_where_they_are_arrays_of_bytes() {
    let source = output_of(
        r#"echo '{"MESSAGE":"nf_conntrack: nf_conntrack: table full, dropping packet","__REALTIME_TIMESTAMP":"1000000","_HOSTNAME":"gate"}'
           echo '{"MESSAGE":[110,102,95,99,111,110,110,116,114,97,99,107,58,32,116,97,98,108,101,32,102,117,108,108,255],"__REALTIME_TIMESTAMP":"500000"}'
           echo '{"MESSAGE":"nf_conntrack: table full, dropping packet","__REALTIME_TIMESTAMP":"1","_HOSTNAME":"other"}'
           echo '-- No entries --'; echo '{"MESSAGE":null,"__REALTIME_TIMESTAMP":"1"}'"#,
    )
    .unwrap();
    let full = &source.notices.full[&None];
    assert_eq!((full.count, full.first, full.last), (2, Some(Nanos(500_000_000)), Some(Nanos(1_000_000_000))));
    assert_eq!((source.notices.other_hosts, source.gaps), (1, vec![]));
}

#[test]
fn nothing_found_is_no_failure_and_a_failure_has_the_message_of_journalctl() {
    assert_eq!(output_of("exit 1").unwrap().notices, super::super::Notices::default());
    let failed = output_of("echo 'Failed to open files: x' >&2; exit 1").unwrap_err();
    let why = "journalctl failed (exit status: 1): Failed to open files: x";
    assert_eq!(failed, Unreadable::Failed(why.to_owned()));
    let source = output_of(&format!("echo 'Hint: {NOT_ALL}.' >&2; exit 1")).unwrap();
    assert_eq!(source.gaps, ["this user may read a part of it only"]);
}

#[test]
fn a_process_that_is_killed_or_fails_without_a_message_is_no_clean_journal() {
    for (script, status) in [("kill -9 $$", "signal: 9 (SIGKILL)"), ("exit 2", "exit status: 2")] {
        let why = format!("journalctl failed ({status})");
        assert_eq!(output_of(script), Err(Unreadable::Failed(why)));
    }
    let record = r#"echo '{"MESSAGE":"eth0: link up","__REALTIME_TIMESTAMP":"1"}'"#;
    assert!(output_of(&format!("{record}; exit 1")).is_err(), "it matched, and failed");
    let full = record.replace("eth0: link up", "nf_conntrack: table full, dropping packet");
    let source = output_of(&format!("{full}; kill -9 $$")).unwrap();
    assert_eq!(source.notices.full[&None].count, 1);
    assert_eq!(source.gaps, ["journalctl failed (signal: 9 (SIGKILL))"]);
}

#[test]
fn records_that_are_not_understood_are_a_gap() {
    let script = r#"echo '{"MESSAGE":"x","__REALTIME_TIMESTAMP":"1"}'; echo '{"MESSAGE":'"#;
    assert_eq!(output_of(script).unwrap().gaps, ["1 of its 2 records are not understood"]);
}

#[test]
fn a_signal_ends_the_reading_and_the_process_and_what_was_read_until_then_counts() {
    let started = std::time::Instant::now();
    let mut command = programs::command(Path::new("/bin/sh"));
    let record = r#"{"MESSAGE":"nf_conntrack: table full, dropping packet","__REALTIME_TIMESTAMP":"1"}"#;
    command.args(["-c", &format!("echo '{record}'; exec sleep 1000")]);
    // The clock stands still, and the signal comes after the first record.
    let calls = std::sync::atomic::AtomicU64::new(0);
    let is_interrupted = || calls.fetch_add(1, std::sync::atomic::Ordering::Relaxed) > 50;
    let host = Host::at("/", Clock::from_fn(ctnl::clock::Time::default));
    let source = read_output(command, &host, Tally::new(Nanos(0), None), &is_interrupted).unwrap();
    assert_eq!(
        (source.notices.full[&None].count, source.gaps),
        (1, vec!["older messages were not read: interrupted".to_owned()])
    );
    assert!(started.elapsed() < std::time::Duration::from_secs(100));
}

#[test]
fn a_process_that_does_not_end_is_killed_and_that_is_said() {
    let started = std::time::Instant::now();
    let calls = std::sync::atomic::AtomicU64::new(0);
    let clock = Clock::from_fn(move || ctnl::clock::Time {
        monotonic: Nanos(calls.fetch_add(1, std::sync::atomic::Ordering::Relaxed) * 4_900_000_000),
        realtime: Nanos(0),
    });
    let mut command = programs::command(Path::new("/bin/sleep"));
    command.arg("1000");
    let source = read_output(command, &Host::at("/", clock), Tally::new(Nanos(0), None), &|| false).unwrap();
    assert_eq!(source.gaps, ["older messages were not read: it took over 5s"]);
    assert!(started.elapsed() < std::time::Duration::from_secs(100));
    let absent = programs::command(Path::new("/nonexistent"));
    assert!(read_output(absent, &Host::system(), Tally::new(Nanos(0), None), &|| false).is_err());
}

#[test]
fn the_installed_program_is_run_in_the_root_folder_with_a_fixed_path() {
    let folder = tempfile::tempdir().unwrap();
    let host = Host::at(folder.path(), Clock::system());
    let tally = || Tally::new(Nanos(0), None);
    assert_eq!(read(&host, true, tally, &|| false), None, "that of PATH is not one of this host");
    std::fs::create_dir(folder.path().join("bin")).unwrap();
    let program = folder.path().join("bin/journalctl");
    std::fs::write(&program, "#!/bin/sh\necho \"$PATH $(pwd) $HOME\" >&2\nexit 1\n").unwrap();
    std::fs::set_permissions(&program, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    let Some(Unreadable::Failed(why)) = read(&host, true, tally, &|| false).unwrap().unreadable else { unreachable!() };
    assert!(why.ends_with("/usr/local/sbin:/usr/sbin:/sbin:/usr/local/bin:/usr/bin:/bin / "), "{why}");
}

#[test]
fn files_without_a_journal_are_not_read_by_journalctl() {
    let folder = tempfile::tempdir().unwrap();
    let host = Host::at(folder.path(), Clock::system());
    assert_eq!(read(&host, false, || Tally::new(Nanos(0), None), &|| false), None);
}
