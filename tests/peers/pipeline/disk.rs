//! Full disks, files that are rotated or renamed.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread;
use std::time::Duration;

use nix::sched::{CloneFlags, unshare};
use nix::sys::signal::Signal;

use super::servers::Receiver;
use super::{Folder, Running, TIMEOUT, Traffic, account, finished, lines, number, parse, udp_flows, until};
use ctnl_test_support::harness::{Run, TestNetns, tests};
use ctnl_test_support::net::PATH;

tests![
    a_full_disk_applies_backpressure_and_every_event_is_written_or_counted,
    a_disk_that_is_full_during_the_snapshot_is_reported_and_left_on_sighup,
    standard_output_to_a_file_on_a_full_disk_ends_with_a_whole_line,
    a_full_disk_under_the_spool_becomes_a_gap_in_the_stream_of_that_sink,
    a_full_disk_silences_only_the_files_on_it_that_have_a_mode,
    a_renamed_file_is_created_anew_on_sighup_and_no_line_is_lost_or_repeated,
    a_removed_file_is_reported_and_created_again_with_the_next_record,
    a_stream_that_is_rotated_and_stopped_under_load_is_complete,
    each_file_of_a_rotated_csv_begins_with_the_column_names,
    a_folder_of_another_user_is_refused_at_the_start_with_a_hint,
];

/// A tmpfs in a mount namespace of this test's thread.
fn small_disk(folder: &Folder, size: usize) -> PathBuf {
    let disk = folder.path("disk");
    fs::create_dir(&disk).expect("a folder");
    unshare(CloneFlags::CLONE_NEWNS).expect("a private mount namespace");
    mount(&["--make-rprivate", "/"]);
    mount(&["-t", "tmpfs", "-o", &format!("size={size}"), "none", disk.to_str().expect("UTF-8")]);
    disk
}

fn mount(arguments: &[&str]) {
    Run::of(Command::new("mount").args(arguments).env("PATH", PATH)).exits_with(0);
}

fn fill(disk: &Path, bytes: usize) -> PathBuf {
    let path = disk.join("filler");
    fs::write(&path, vec![0; bytes]).expect("fill the disk");
    path
}

fn a_full_disk_applies_backpressure_and_every_event_is_written_or_counted(netns: &TestNetns) {
    let folder = Folder::new();
    let disk = small_disk(&folder, 16 << 20);
    let filler = fill(&disk, (16 << 20) - (200 << 10));
    let file = folder.spec("file", "disk/log");
    let small = ["--buffer", "32KiB", "--buffer-max", "32KiB", "--queue-max", "64KiB", "--on-gap", "continue"];
    let running = Running::start(netns, &[&["--no-seed", "--to", &file], &small[..]].concat());
    netns.set_sysctl("netfilter/nf_conntrack_events", 1);
    for batch in 0..50 {
        netns.create(&udp_flows(1000 + 100 * batch, 100));
        thread::sleep(Duration::from_millis(5));
    }
    running.wait_for_stderr("No space left");
    let written = finished(&folder.path("disk/log"));
    assert!(!written.is_empty() && written.len() < 5000);
    fs::remove_file(filler).expect("make room");
    running.wait_for_stderr(" recovered, ");
    running.stop();
    let (received, lost) = account(&finished(&folder.path("disk/log")));
    assert!(lost > 0 && received > 0);
    assert_eq!(received + lost, 5000);
}

fn a_disk_that_is_full_during_the_snapshot_is_reported_and_left_on_sighup(netns: &TestNetns) {
    let folder = Folder::new();
    let disk = small_disk(&folder, 512 << 10);
    netns.create(&udp_flows(1000, 5000));
    let file = folder.spec("file", "disk/log");
    let running = Running::start(netns, &["--to", &file, "--queue-max", "64KiB", "--stats-interval", "1s"]);
    running.wait_for_stderr("No space left");
    running.wait_for_stderr("stats: ");
    let (path, moved) = (disk.join("log"), disk.join("moved"));
    fs::rename(&path, &moved).expect("rename");
    running.signal(Signal::SIGHUP);
    until("new file", || path.exists());
    let first = finished(&moved);
    assert!(!first.is_empty() && first.len() < 5000);
    // A larger disk, as if an administrator had extended it.
    mount(&["-o", "remount,size=16m", disk.to_str().expect("UTF-8")]);
    running.wait_for_stderr(" recovered, ");
    until("end of the snapshot", || lines(&path).iter().any(|line| line.contains("\"event\":\"resync\"")));
    running.stop();
    let written = [first, finished(&path)].concat();
    assert_eq!(account(&written), (0, 0));
    assert_eq!(written.len(), 5003);
}

fn standard_output_to_a_file_on_a_full_disk_ends_with_a_whole_line(netns: &TestNetns) {
    let folder = Folder::new();
    let disk = small_disk(&folder, 512 << 10);
    netns.create(&udp_flows(1000, 5000));
    let out = fs::File::create(disk.join("log")).expect("a file");
    let running = Running::with(netns, &["--queue-max", "64KiB"], |command| command.stdout(out));
    running.wait_for_stderr("No space left");
    running.signal(Signal::SIGTERM);
    let (status, stderr) = running.wait();
    assert_eq!(status.code(), Some(3), "{stderr}");
    let written = finished(&disk.join("log"));
    let number = |before: &str, after: &str| -> usize {
        let (text, _) = stderr.split_once(after).expect("a number");
        text.rsplit(before).next().expect("its beginning").parse().unwrap_or_else(|error| panic!("{error}: {stderr}"))
    };
    assert_eq!(
        written.len() + number("sink -: ", " lines not delivered"),
        number(" lost, ", " records written"),
        "{stderr}"
    );
    assert!(!written.is_empty());
}

fn a_full_disk_under_the_spool_becomes_a_gap_in_the_stream_of_that_sink(netns: &TestNetns) {
    let folder = Folder::new();
    let disk = small_disk(&folder, 256 << 10);
    let (file, unix) = (folder.spec("file", "log"), folder.spec("unix", "socket"));
    let spool = disk.join("spool").display().to_string();
    let arguments = ["--no-seed", "--to", &file, "--to", &unix, "--spool", &spool, "--queue-max", "64KiB"];
    let running = Running::start(netns, &arguments);
    let mut traffic = Traffic::new(netns, folder.path("log"));
    traffic.make(30);
    let receiver = Receiver::new(&folder.path("socket"));
    // The next number after all received lines and gaps, and the number of missing lines.
    let next = || {
        let (mut next, mut missing) = (1, 0);
        for record in receiver.connections().iter().flatten().map(|line| parse(line)) {
            assert_eq!(number(&record, "seq"), next, "{record}");
            let is_sink_gap = record["event"] == "gap" && (record["cause"] == "spool" || record["cause"] == "queue");
            let lost = if is_sink_gap { number(&record, "lost") } else { 0 };
            missing += lost;
            next += lost.max(1);
        }
        (next, missing)
    };
    until("line or gap for each event", || next().0 as usize > lines(&folder.path("log")).len());
    traffic.make(3);
    let stderr = running.stop();
    let written = finished(&folder.path("log"));
    assert_eq!(account(&written), (3300, 0));
    until("closing record", || next().0 as usize > written.len());
    let (next, missing) = next();
    assert_eq!(next as usize, written.len() + 1);
    assert!(missing > 1000, "{missing}");
    assert!(stderr.contains(&format!("{missing} lines dropped in total")), "{missing}\n{stderr}");
}

fn a_full_disk_silences_only_the_files_on_it_that_have_a_mode(netns: &TestNetns) {
    let folder = Folder::new();
    let disk = small_disk(&folder, 16 << 20);
    let filler = fill(&disk, (16 << 20) - (200 << 10));
    let [spooled, dropping] =
        ["spool", "drop"].map(|mode| format!("{},mode={mode}", folder.spec("file", &format!("disk/{mode}"))));
    let (file, unix, spool) = (folder.spec("file", "log"), folder.spec("unix", "socket"), folder.text("spool"));
    let receiver = Receiver::new(&folder.path("socket"));
    let sinks = [&spooled, &dropping, &file, &unix].map(|sink| ["--to", sink]).concat();
    let small = ["--no-seed", "--queue-max", "1MiB", "--spool", &spool];
    let running = Running::start(netns, &[&small[..], &sinks].concat());
    let mut traffic = Traffic::new(netns, folder.path("log"));
    // The events of each batch have to be in the file on another disk: the stream goes on.
    traffic.make(60);
    running.wait_for_stderr("No space left");
    until("line at the socket for each event", || receiver.connections().concat().len() >= 6000);
    fs::remove_file(filler).expect("make room");
    until("lines from the spool", || lines(&folder.path("disk/spool")).len() >= lines(&folder.path("log")).len());
    traffic.make(3);
    let stderr = running.stop();
    let written = finished(&folder.path("log"));
    assert_eq!(account(&written), (6300, 0));
    assert_eq!(finished(&folder.path("disk/spool")), written);
    let (mut next, mut missing) = (1, 0);
    for record in finished(&folder.path("disk/drop")).iter().map(|line| parse(line)) {
        assert_eq!(number(&record, "seq"), next, "{record}");
        let dropped = if record["event"] == "gap" { number(&record, "lost") } else { 0 };
        missing += dropped;
        next += dropped.max(1);
    }
    assert_eq!(next as usize, written.len() + 1);
    assert!(missing > 1000 && stderr.contains(&format!("{missing} lines dropped in total")), "{missing}\n{stderr}");
}

fn a_renamed_file_is_created_anew_on_sighup_and_no_line_is_lost_or_repeated(netns: &TestNetns) {
    let folder = Folder::new();
    let (path, moved) = (folder.path("log"), folder.path("moved"));
    // A second file, which is not renamed, paces the traffic.
    let (file, other) = (folder.spec("file", "log"), folder.spec("file", "other"));
    let running = Running::start(netns, &["--no-seed", "--to", &file, "--to", &other]);
    let mut traffic = Traffic::new(netns, folder.path("other"));
    traffic.make(3);
    fs::rename(&path, &moved).expect("rename");
    traffic.make(3);
    running.signal(Signal::SIGHUP);
    traffic.make(3);
    until("new file", || {
        traffic.make(1);
        path.exists()
    });
    running.stop();
    let (first, second) = (finished(&moved), finished(&path));
    assert!(first.len() > 600 && !second.is_empty());
    let written = [first, second].concat();
    assert_eq!(account(&written), (traffic.sent() as u64, 0));
    assert_eq!(written, finished(&folder.path("other")));
}

fn a_removed_file_is_reported_and_created_again_with_the_next_record(netns: &TestNetns) {
    let folder = Folder::new();
    let (path, file, other) = (folder.path("log"), folder.spec("file", "log"), folder.spec("file", "other"));
    let running = Running::start(netns, &["--no-seed", "--to", &file, "--to", &other]);
    let mut traffic = Traffic::new(netns, folder.path("other"));
    traffic.make(3);
    until("records", || lines(&path).len() > 300);
    fs::remove_file(&path).expect("remove");
    traffic.make(3);
    running.wait_for_stderr(&format!("sink {file}: the file was removed"));
    let stderr = running.stop();
    let (first, all) = (finished(&path), finished(&folder.path("other")));
    assert_eq!(account(&all), (600, 0));
    assert!(first.len() > 300 && all.ends_with(&first), "{} of {} lines", first.len(), all.len());
    assert_eq!(stderr.matches("was removed").count(), 1, "{stderr}");
}

/// All files of a rotated log, oldest first.
fn rotated(path: &Path) -> Vec<Vec<String>> {
    files(path).iter().map(|file| finished(file)).collect()
}

/// The files that exist now, oldest first.
fn files(path: &Path) -> Vec<PathBuf> {
    let numbered = (1..).map(|number| PathBuf::from(format!("{}.{number}", path.display())));
    let mut files: Vec<_> = numbered.take_while(|path| path.exists()).collect();
    files.reverse();
    files.push(path.to_owned());
    files
}

fn a_stream_that_is_rotated_and_stopped_under_load_is_complete(netns: &TestNetns) {
    let folder = Folder::new();
    let (path, file) = (folder.path("log"), folder.spec("file", "log"));
    let rotation = ["--rotate-size", "64KiB", "--rotate-keep", "1000", "--buffer", "64KiB"];
    let running =
        Running::start(netns, &[&["--no-seed", "--on-gap", "continue", "--to", &file], &rotation[..]].concat());
    netns.set_sysctl("netfilter/nf_conntrack_events", 1);
    let pid = nix::unistd::Pid::from_raw(running.child.id().try_into().expect("a number"));
    let tenth = PathBuf::from(format!("{}.10", path.display()));
    let killer = thread::spawn(move || {
        let end = std::time::Instant::now() + TIMEOUT;
        while !tenth.exists() && std::time::Instant::now() < end {
            thread::sleep(Duration::from_millis(1));
        }
        nix::sys::signal::kill(pid, Signal::SIGTERM).expect("kill");
    });
    for batch in 0..60 {
        netns.create(&udp_flows(1000 + 1000 * batch, 1000));
    }
    killer.join().expect("the killer");
    let (status, stderr) = running.wait();
    assert_eq!(status.code(), Some(0), "{stderr}");
    let files = rotated(&path);
    assert!(files.len() > 10);
    let (received, lost) = account(&files.concat());
    assert!(received > 0 && received + lost <= 60_000);
    assert!(stderr.contains(&format!("{received} events received, {lost} lost")), "{stderr}");
}

fn each_file_of_a_rotated_csv_begins_with_the_column_names(netns: &TestNetns) {
    let folder = Folder::new();
    let (path, file) = (folder.path("log"), folder.spec("file", "log"));
    let running = Running::start(
        netns,
        &["-o", "csv", "--no-seed", "--to", &file, "--rotate-size", "8KiB", "--rotate-keep", "1000"],
    );
    netns.set_sysctl("netfilter/nf_conntrack_events", 1);
    for batch in 0..10 {
        netns.create(&udp_flows(1000 + 100 * batch, 100));
        let last = format!(",{},", 1000 + 100 * batch + 99);
        // The last file is being written and may end with a partial line.
        let written = || files(&path).into_iter().filter_map(|file| fs::read_to_string(file).ok());
        until("record", || written().any(|text| text.contains(&last)));
    }
    running.stop();
    let files = rotated(&path);
    assert!(files.len() > 3);
    let header = files[0][0].clone();
    let column = header.split(',').position(|name| name == "seq").expect("a column for the number");
    let mut next = 1;
    for file in &files {
        assert_eq!(file[0], header);
        for line in &file[1..] {
            assert_eq!(line.split(',').nth(column), Some(&*u64::to_string(&next)), "{line}");
            next += 1;
        }
    }
    // Including the `close` record.
    assert_eq!(next, 1002);
    assert!(files.last().and_then(|file| file.last()).is_some_and(|line| line.starts_with("close,1001,")));
}

fn a_folder_of_another_user_is_refused_at_the_start_with_a_hint(netns: &TestNetns) {
    let folder = Folder::new();
    let theirs = folder.path("theirs");
    fs::create_dir(&theirs).expect("a folder");
    // Only a process with CAP_DAC_OVERRIDE may write there.
    fs::set_permissions(&theirs, std::os::unix::fs::PermissionsExt::from_mode(0o555)).expect("permissions");
    let file = folder.spec("file", "theirs/log");
    let refused = netns.ctnl(&["events", "--no-seed", "--to", &file]).exits_with(1);
    refused.stderr_contains("Permission denied").stderr_contains("--keep-privileges").stderr_contains("theirs/log");
    let running = Running::start(netns, &["--no-seed", "--keep-privileges", "--to", &file]);
    until("file", || theirs.join("log").exists());
    running.stop();
}
