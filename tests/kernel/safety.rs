//! Faults that a flush must not cause and no command may hide, tested with the program.

use std::fs::{self, File, OpenOptions};
use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::fs::symlink;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::Duration;

use ctnl::model::{Flow, Status};
use ctnl::netlink::{Connection, Netns};
use ctnl::table::{self, Outcome};
use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::sched::{CloneFlags, unshare};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;

use ctnl_test_support::harness::{Run, TestNetns, tests, udp};

tests![
    with_little_address_space_the_error_says_so_and_nothing_is_deleted,
    a_reopened_connection_stays_in_its_namespace_when_the_path_changes,
    a_packet_between_two_samples_is_detected_in_the_first_datagram_too,
    a_fixed_timeout_is_not_lowered,
    the_numbers_of_a_summary_add_up,
    a_flush_that_cannot_print_its_summary_exits_with_3_and_reports_on_stderr,
    a_list_that_cannot_be_written_to_a_device_is_an_error,
    quiet_does_not_hide_failures,
    a_file_of_values_without_an_end_is_refused,
    a_delete_that_cannot_print_the_entry_exits_with_3,
    a_hangup_ends_a_flush_with_its_summary,
    an_interrupt_that_the_parent_ignores_does_not_end_a_flush,
    a_time_zone_without_an_end_does_not_hang,
    without_resources_there_is_an_error_or_the_result_but_no_panic,
    a_stderr_that_nobody_reads_does_not_stop_a_list,
    a_full_stderr_that_was_inherited_without_waiting_loses_no_summary_and_no_error,
];

fn file_of_this_namespace() -> File {
    File::open("/proc/thread-self/ns/net").unwrap()
}

fn a_reopened_connection_stays_in_its_namespace_when_the_path_changes(netns: &TestNetns) {
    use std::os::fd::AsRawFd;
    netns.create(&[udp(1, 2), udp(3, 4)]);
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("name");
    let point_to = |file: &File| {
        let _ = fs::remove_file(&path);
        symlink(format!("/proc/{}/fd/{}", std::process::id(), file.as_raw_fd()), &path).unwrap();
    };
    let first = file_of_this_namespace();
    unshare(CloneFlags::CLONE_NEWNET).unwrap();
    let second = file_of_this_namespace();
    point_to(&first);
    let connection = Connection::open(&Netns::Path(path.clone())).unwrap();
    point_to(&second);
    let entries = |mut connection: Connection| table::count(&mut connection).unwrap().entries;
    assert_eq!(entries(Connection::open(&Netns::Path(path.clone())).unwrap()), 0);
    assert_eq!(entries(connection.reopen().unwrap()), 2);
}

/// Entries whose timeout is set again between the samples, as by a packet: at the second sample they
/// have as much time left as if the first sample had been late.
fn a_packet_between_two_samples_is_detected_in_the_first_datagram_too(netns: &TestNetns) {
    let flows: Vec<Flow> = (1..20).map(|port| Flow { timeout: Some(100), ..udp(port, 53) }).collect();
    netns.create(&flows);
    let targets: Vec<_> = flows.iter().map(|flow| netns.target(flow)).collect();
    let mut connection = netns.connection();
    let run = thread::scope(|scope| {
        scope.spawn(|| {
            thread::sleep(Duration::from_secs(4));
            table::lower_timeout(&mut connection, &targets, 100, &mut Outcome::default()).unwrap();
        });
        netns.ctnl(&["flush", "udp and timeout < 1h", "--confirm-idle", "7", "--json"])
    });
    let summary = summary(&run.exits_with(0).stdout());
    assert_eq!((&summary["deleted"], &summary["unconfirmed"]), (&0.into(), &19.into()), "{summary}");
    assert_eq!(netns.dump().len(), 19);
}

fn a_fixed_timeout_is_not_lowered(netns: &TestNetns) {
    let fixed = Flow { status: Status::Confirmed | Status::FixedTimeout, ..udp(1, 2) };
    netns.create(&[fixed, udp(3, 4)]);
    let run = netns.ctnl(&["flush", "udp", "--soft", "--json"]).exits_with(3).stderr_contains("fixed");
    let summary = summary(&run.stdout());
    assert_eq!((&summary["matched"], &summary["deleted"]), (&2.into(), &1.into()), "{summary}");
    assert!(summary["failed"].as_object().unwrap().is_empty(), "{summary}");
    let left = |port| netns.dump().into_iter().find(|flow| flow.orig.sport() == Some(port)).unwrap().timeout.unwrap();
    assert!(left(1) > 500 && left(3) <= 10);
}

fn the_numbers_of_a_summary_add_up(netns: &TestNetns) {
    let fixed = Flow { status: Status::Confirmed | Status::FixedTimeout, ..udp(1, 2) };
    let soon = Flow { timeout: Some(20), ..udp(5, 6) };
    netns.create(&[fixed, soon]);
    netns.create(&(10..60).map(|port| udp(port, 53)).collect::<Vec<_>>());
    for arguments in [&["--soft=30", "--max", "7"][..], &["--max", "9"], &["--dry-run"], &[]] {
        let run = netns.ctnl(&[&["flush", "udp", "--json"], arguments].concat());
        let summary = summary(&run.stdout());
        let number = |name: &str| summary[name].as_u64().unwrap_or_else(|| panic!("{name} in {summary}"));
        let sum_of = |name: &str| summary[name].as_object().unwrap().values().map(|n| n.as_u64().unwrap()).sum::<u64>();
        let numbers: u64 = [
            "deleted",
            "gone",
            "no_longer_matching",
            "spared",
            "beyond_max",
            "beyond_agreed",
            "already_expiring",
            "unanswered",
            "unsent",
        ]
        .map(number)
        .iter()
        .sum();
        assert_eq!(number("matched"), numbers + sum_of("skipped") + sum_of("failed"), "{arguments:?} {summary}");
        assert!(number("matched") > 40, "{arguments:?} {summary}");
    }
}

fn a_flush_that_cannot_print_its_summary_exits_with_3_and_reports_on_stderr(netns: &TestNetns) {
    netns.create(&[udp(1, 2), udp(3, 4)]);
    let (code, stderr) = into_a_full_device(&["flush", "udp", "--json", "-q"]);
    assert_eq!(code, Some(3), "{stderr}");
    assert!(stderr.contains("2 deleted") && stderr.contains("standard output"), "{stderr}");
}

fn a_list_that_cannot_be_written_to_a_device_is_an_error(netns: &TestNetns) {
    netns.create(&(1..2000).map(|port| udp(port, 53)).collect::<Vec<_>>());
    for arguments in [&["list", "-o", "json"][..], &["list", "-o", "json", "--jobs", "2"], &["list", "--limit", "1"]] {
        let (code, stderr) = into_a_full_device(arguments);
        assert_eq!(code, Some(1), "{arguments:?} {stderr}");
        assert!(stderr.contains("standard output") && stderr.contains("No space left"), "{arguments:?} {stderr}");
    }
}

/// Exit code and standard error of ctnl with its standard output to /dev/full.
fn into_a_full_device(arguments: &[&str]) -> (Option<i32>, String) {
    let full = OpenOptions::new().write(true).open("/dev/full").unwrap();
    let output = Command::new(env!("CARGO_BIN_EXE_ctnl"))
        .args(arguments)
        .stdout(Stdio::from(full))
        .stderr(Stdio::piped())
        .output()
        .unwrap();
    (output.status.code(), String::from_utf8_lossy(&output.stderr).into_owned())
}

fn quiet_does_not_hide_failures(netns: &TestNetns) {
    let fixed = Flow { status: Status::Confirmed | Status::FixedTimeout, ..udp(1, 2) };
    netns.create(&[fixed]);
    netns.ctnl(&["flush", "udp", "--soft", "-q"]).exits_with(1).stderr_contains("skipped: fixed-timeout");
}

fn a_file_of_values_without_an_end_is_refused(netns: &TestNetns) {
    let run = netns.ctnl(&["flush", "src @/dev/zero"]).exits_with(2);
    assert!(run.stdout().is_empty());
}

fn a_delete_that_cannot_print_the_entry_exits_with_3(netns: &TestNetns) {
    netns.create(&[udp(1, 2)]);
    let (code, stderr) = into_a_full_device(&["delete", "udp", "10.0.0.1:1", "192.0.2.1:2"]);
    assert_eq!(code, Some(3), "{stderr}");
    assert!(stderr.contains("1 deleted") && stderr.contains("standard output"), "{stderr}");
    assert_eq!(netns.dump(), []);
}

/// A flush that waits between its two samples, as a process that has set up its signals.
fn waiting_flush(netns: &TestNetns, program: &mut Command) -> Child {
    netns.create(&[udp(1, 2)]);
    let flush = program.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    thread::sleep(Duration::from_secs(1));
    flush
}

fn send(child: &Child, signal: Signal) {
    kill(Pid::from_raw(child.id().try_into().unwrap()), signal).unwrap();
}

const WAITING: [&str; 6] = ["flush", "udp and timeout < 1h", "--confirm-idle", "2", "--yes", "--json"];

fn a_hangup_ends_a_flush_with_its_summary(netns: &TestNetns) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_ctnl"));
    let flush = waiting_flush(netns, command.args(WAITING));
    send(&flush, Signal::SIGHUP);
    // One from the terminal, and one from the shell.
    send(&flush, Signal::SIGHUP);
    let output = flush.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(3), "{output:?}");
    assert!(String::from_utf8_lossy(&output.stderr).contains("interrupted"), "{output:?}");
}

fn an_interrupt_that_the_parent_ignores_does_not_end_a_flush(netns: &TestNetns) {
    let mut shell = Command::new("sh");
    shell.args(["-c", "trap '' INT HUP; exec \"$0\" \"$@\"", env!("CARGO_BIN_EXE_ctnl")]).args(WAITING);
    let flush = waiting_flush(netns, &mut shell);
    send(&flush, Signal::SIGINT);
    send(&flush, Signal::SIGHUP);
    let output = flush.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    assert_eq!(summary(&String::from_utf8_lossy(&output.stdout))["matched"], 1);
}

fn a_time_zone_without_an_end_does_not_hang(netns: &TestNetns) {
    netns.create(&[udp(1, 2)]);
    let mut command = Command::new("timeout");
    command.args(["20", env!("CARGO_BIN_EXE_ctnl"), "list", "-o", "ktimestamp"]);
    let run = Run::of(command.env("TZ", "/dev/zero")).exits_with(0);
    assert_eq!(run.stdout().lines().count(), 1);
}

/// The host's root is exempt from limits on threads and processes, but not from those on descriptors and memory.
fn without_resources_there_is_an_error_or_the_result_but_no_panic(netns: &TestNetns) {
    let limits = [["--nofile=4"], ["--nofile=5"], ["--nofile=6"], ["--nproc=1"], ["--as=40000000"], ["--as=80000000"]];
    let commands: [&[&str]; 6] = [
        &["count"],
        &["count", "--netns", "/proc/self/ns/net"],
        &["list", "-o", "json"],
        &["list", "-o", "json", "--jobs", "2"],
        &["flush", "udp", "--yes", "--dry-run"],
        &["flush", "udp", "--yes"],
    ];
    for limit in limits {
        for command in commands {
            netns.create(&[udp(1, 2)]);
            let mut limited = Command::new("prlimit");
            let run = Run::of(limited.args(limit).arg(env!("CARGO_BIN_EXE_ctnl")).args(command));
            let (code, stderr) = (run.code(), run.stderr());
            assert!(!stderr.contains("panicked"), "{limit:?} {command:?}: {stderr}");
            // In 40 MB the program may not even be loaded: the kernel kills it before it runs, or the dynamic loader
            // finds no space for a library. It needs the fourth descriptor, which a process that was started at the
            // same moment may have passed on.
            let is_killed =
                limit == ["--as=40000000"] && stderr.is_empty() && [Some(9), Some(11)].contains(&run.signal());
            let is_refused = [["--nofile=4"], ["--as=40000000"]].contains(&limit)
                && code == Some(127)
                && stderr.contains("loading shared libraries");
            let is_not_loaded = is_killed || is_refused;
            let is_clear = code == Some(0) || code == Some(1) && stderr.starts_with("ctnl: ");
            assert!(is_clear || is_not_loaded, "{limit:?} {command:?}: {code:?} {:?} {stderr}", run.signal());
            // Entries that this command did not delete.
            let _ = netns.ctnl(&["flush", "--all", "--yes", "-q"]).exits_with(0);
        }
    }
}

/// As a terminal after Ctrl-S: a message at the start must not block the list.
fn a_stderr_that_nobody_reads_does_not_stop_a_list(netns: &TestNetns) {
    netns.create(&[udp(1, 2)]);
    let (reader, writer) = nix::unistd::pipe().unwrap();
    let mut full = File::from(writer.try_clone().unwrap());
    fcntl(&full, FcntlArg::F_SETFL(OFlag::O_NONBLOCK)).unwrap();
    while full.write(&[b'x'; 4096]).is_ok() {}
    fcntl(&full, FcntlArg::F_SETFL(OFlag::empty())).unwrap();
    drop(full);
    let mut command = Command::new(env!("CARGO_BIN_EXE_ctnl"));
    command.args(["list", "--jobs", "2", "--sort", "bytes", "-o", "conntrack"]).stdout(Stdio::piped()).stderr(writer);
    let mut list = command.spawn().unwrap();
    drop(command);
    let (sender, receiver) = std::sync::mpsc::channel();
    let mut stdout = BufReader::new(list.stdout.take().unwrap());
    thread::spawn(move || {
        let mut line = String::new();
        let _ = stdout.read_line(&mut line);
        sender.send(line)
    });
    let line = receiver.recv_timeout(Duration::from_secs(30)).expect("a line although stderr is full");
    assert!(line.starts_with("udp"), "{line}");
    // It exits when its messages can be written.
    let mut text = String::new();
    File::from(reader).read_to_string(&mut text).unwrap();
    assert!(text.contains("--jobs 2 is not used") && text.contains("1 matched"), "{}", text.trim_start_matches('x'));
    assert_eq!(list.wait().unwrap().code(), Some(0));
}

/// As of a parent that set O_NONBLOCK for itself, such as one with an event loop.
fn a_full_stderr_that_was_inherited_without_waiting_loses_no_summary_and_no_error(netns: &TestNetns) {
    netns.create(&[udp(1, 2)]);
    let cases = [(vec!["flush", "--all", "--yes"], "1 deleted"), (vec!["flush"], "no filter is given")];
    for (arguments, expected) in cases {
        let (reader, writer) = nix::unistd::pipe().unwrap();
        let mut full = File::from(writer.try_clone().unwrap());
        fcntl(&full, FcntlArg::F_SETFL(OFlag::O_NONBLOCK)).unwrap();
        while full.write(&[b'x'; 4096]).is_ok() {}
        drop(full);
        let mut command = Command::new(env!("CARGO_BIN_EXE_ctnl"));
        let mut ctnl = command.args(&arguments).stderr(writer).spawn().unwrap();
        drop(command);
        thread::sleep(Duration::from_millis(300));
        assert!(ctnl.try_wait().unwrap().is_none(), "{arguments:?}: nobody reads yet");
        let mut text = String::new();
        File::from(reader).read_to_string(&mut text).unwrap();
        assert!(text.contains(expected), "{arguments:?}: {}", text.trim_start_matches('x'));
        ctnl.wait().unwrap();
    }
}

fn summary(stdout: &str) -> Value {
    serde_json::from_str(stdout).unwrap_or_else(|error| panic!("{error}: {stdout}"))
}

fn with_little_address_space_the_error_says_so_and_nothing_is_deleted(netns: &TestNetns) {
    netns.fill(1, 300);
    // The first limit (KiB) in which the dynamic loader does not fail.
    let flush = |kib: u32| {
        let script = format!("ulimit -v {kib} && exec \"$CTNL\" flush --all --yes");
        let mut command = Command::new("sh");
        Run::of(command.args(["-c", &script]).env("CTNL", env!("CARGO_BIN_EXE_ctnl")))
    };
    let is_loaded = |run: &Run| run.signal().is_none() && run.code() != Some(127);
    let run = (8..100).map(|mebibytes| flush(mebibytes * 1024)).find(is_loaded).expect("a limit");
    run.exits_with(1).stderr_contains("RLIMIT_AS");
    assert_eq!(netns.dump().len(), 300);
}
