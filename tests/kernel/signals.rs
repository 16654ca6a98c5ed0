//! Signals that come twice.

use std::io::Write;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::thread;
use std::time::Duration;

use nix::sys::signal::Signal;

use ctnl_test_support::harness::{TestNetns, tests};
use ctnl_test_support::running::{Running, until};

tests![two_signals_in_one_moment_end_a_stream_as_one_does, a_signal_a_second_after_the_first_one_ends_a_list_at_once,];

/// timeout(1) signals its child and its group, which the child is in, too.
fn two_signals_in_one_moment_end_a_stream_as_one_does(netns: &TestNetns) {
    for _ in 0..20 {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("log");
        let to = format!("file:{}", file.display());
        let running = Running::start(netns, &["events", "--to", &to]);
        let written = || std::fs::read_to_string(&file).unwrap_or_default();
        until(|| written().contains("\"event\":\"resync\""), || format!("no resync in: {}", written()));
        running.signal(Signal::SIGTERM);
        running.signal(Signal::SIGTERM);
        running.signal(Signal::SIGINT);
        running.wait().exits_with(0);
        assert!(written().lines().last().is_some_and(|line| line.contains("\"event\":\"close\"")), "{}", written());
    }
}

/// Its output is a socket that is full and that nobody reads, so the list does not end by itself, however little
/// it has to write. (The program makes a pipe larger.)
fn a_signal_a_second_after_the_first_one_ends_a_list_at_once(netns: &TestNetns) {
    netns.fill(1, 100);
    let (mut full, _unread) = UnixStream::pair().unwrap();
    full.set_nonblocking(true).unwrap();
    while full.write(&[b'x'; 4096]).is_ok() {}
    full.set_nonblocking(false).unwrap();
    let running = Running::with_stdout(netns, &["list", "-o", "json"], OwnedFd::from(full).into());
    running.wait_until_it_handles(Signal::SIGTERM);
    running.signal(Signal::SIGTERM);
    running.signal(Signal::SIGTERM);
    thread::sleep(Duration::from_millis(1100));
    assert!(running.stop(), "two signals in one moment are one request");
    running.go_on();
    running.signal(Signal::SIGTERM);
    assert_eq!(running.wait().signal(), Some(Signal::SIGTERM as i32));
}
