//! What a flush must not do and no command may hide, tried with the program itself.

use std::fs::{self, File, OpenOptions};
use std::os::unix::fs::symlink;
use std::process::{Command, Stdio};
use std::thread;
use std::time::Duration;

use ctnl::model::{Flow, Status};
use ctnl::netlink::{Connection, Netns};
use ctnl::table::{self, Outcome};
use nix::sched::{CloneFlags, unshare};
use serde_json::Value;

use ctnl_test_support::harness::{World, tests, udp};

tests![
    a_second_connection_is_to_the_same_namespace_whatever_the_path_stands_for_by_now,
    a_packet_between_two_looks_is_seen_in_the_first_datagram_too,
    what_cannot_recover_is_given_no_short_timeout,
    the_figures_of_a_summary_add_up,
    a_flush_whose_summary_cannot_be_printed_is_partly_done_and_tells_on_stderr,
    a_list_that_cannot_be_written_to_a_device_is_an_error,
    quiet_does_not_hide_what_failed,
    a_file_of_values_without_an_end_is_refused,
];

fn file_of_this_namespace() -> File {
    File::open("/proc/thread-self/ns/net").unwrap()
}

fn a_second_connection_is_to_the_same_namespace_whatever_the_path_stands_for_by_now(world: &World) {
    use std::os::fd::AsRawFd;
    world.create(&[udp(1, 2), udp(3, 4)]);
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("name");
    let stand_for = |file: &File| {
        let _ = fs::remove_file(&path);
        symlink(format!("/proc/{}/fd/{}", std::process::id(), file.as_raw_fd()), &path).unwrap();
    };
    let first = file_of_this_namespace();
    unshare(CloneFlags::CLONE_NEWNET).unwrap();
    let second = file_of_this_namespace();
    stand_for(&first);
    let connection = Connection::open(&Netns::Path(path.clone())).unwrap();
    stand_for(&second);
    let entries = |mut connection: Connection| table::count(&mut connection).unwrap().entries;
    assert_eq!(entries(Connection::open(&Netns::Path(path.clone())).unwrap()), 0);
    assert_eq!(entries(connection.reopen().unwrap()), 2);
}

/// Entries whose timeout is set again between the looks, as a packet would:
/// after the wait they have as much time left as if the first look had been late.
fn a_packet_between_two_looks_is_seen_in_the_first_datagram_too(world: &World) {
    let flows: Vec<Flow> = (1..20).map(|port| Flow { timeout: Some(100), ..udp(port, 53) }).collect();
    world.create(&flows);
    let targets: Vec<_> = flows.iter().map(|flow| world.target(flow)).collect();
    let mut connection = world.connection();
    let run = thread::scope(|scope| {
        scope.spawn(|| {
            thread::sleep(Duration::from_secs(4));
            table::lower_timeout(&mut connection, &targets, 100, &mut Outcome::default()).unwrap();
        });
        world.ctnl(&["flush", "udp and timeout < 1h", "--confirm-idle", "7", "--json"])
    });
    let summary = summary(&run.exits_with(0).stdout());
    assert_eq!((&summary["deleted"], &summary["unconfirmed"]), (&0.into(), &19.into()), "{summary}");
    assert_eq!(world.dump().len(), 19);
}

fn what_cannot_recover_is_given_no_short_timeout(world: &World) {
    let fixed = Flow { status: Status::Confirmed | Status::FixedTimeout, ..udp(1, 2) };
    world.create(&[fixed, udp(3, 4)]);
    let run = world.ctnl(&["flush", "udp", "--soft", "--json"]).exits_with(3).says("fixed");
    let summary = summary(&run.stdout());
    assert_eq!((&summary["matched"], &summary["deleted"]), (&2.into(), &1.into()), "{summary}");
    assert!(summary["failed"].as_object().unwrap().is_empty(), "{summary}");
    let left = |port| world.dump().into_iter().find(|flow| flow.orig.sport() == Some(port)).unwrap().timeout.unwrap();
    assert!(left(1) > 500 && left(3) <= 10);
}

fn the_figures_of_a_summary_add_up(world: &World) {
    let fixed = Flow { status: Status::Confirmed | Status::FixedTimeout, ..udp(1, 2) };
    let soon = Flow { timeout: Some(20), ..udp(5, 6) };
    world.create(&[fixed, soon]);
    world.create(&(10..60).map(|port| udp(port, 53)).collect::<Vec<_>>());
    for arguments in [&["--soft=30", "--max", "7"][..], &["--max", "9"], &["--dry-run"], &[]] {
        let run = world.ctnl(&[&["flush", "udp", "--json"], arguments].concat());
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
    }
}

fn a_flush_whose_summary_cannot_be_printed_is_partly_done_and_tells_on_stderr(world: &World) {
    world.create(&[udp(1, 2), udp(3, 4)]);
    let (code, stderr) = into_a_full_device(&["flush", "udp", "--json", "-q"]);
    assert_eq!(code, Some(3), "{stderr}");
    assert!(stderr.contains("2 deleted") && stderr.contains("standard output"), "{stderr}");
}

fn a_list_that_cannot_be_written_to_a_device_is_an_error(world: &World) {
    world.create(&(1..2000).map(|port| udp(port, 53)).collect::<Vec<_>>());
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

fn quiet_does_not_hide_what_failed(world: &World) {
    let fixed = Flow { status: Status::Confirmed | Status::FixedTimeout, ..udp(1, 2) };
    world.create(&[fixed]);
    world.ctnl(&["flush", "udp", "--soft", "-q"]).exits_with(1).says("skipped: fixed-timeout");
}

fn a_file_of_values_without_an_end_is_refused(world: &World) {
    let run = world.ctnl(&["flush", "src @/dev/zero"]).exits_with(2);
    assert!(run.stdout().is_empty());
}

fn summary(stdout: &str) -> Value {
    serde_json::from_str(stdout).unwrap_or_else(|error| panic!("{error}: {stdout}"))
}
