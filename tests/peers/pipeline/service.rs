//! The program as a service: its end, its capabilities, its service manager.

use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::os::unix::net::UnixDatagram;
use std::process::Stdio;
use std::time::{Duration, Instant};

use nix::fcntl::{FcntlArg, FdFlag, fcntl};
use nix::sys::signal::Signal;

use super::{Folder, Running, TIMEOUT, Traffic, finished, udp_flows, until};
use ctnl_test_support::harness::{TestNetns, tests};

tests![
    a_closed_standard_output_ends_the_stream_without_warnings,
    sighup_ends_a_stream_without_a_file_unless_a_service_manager_sent_it,
    a_terminal_that_goes_away_ends_the_stream,
    the_service_manager_is_notified_of_readiness_watchdog_reload_and_end,
    the_service_manager_is_notified_by_default_of_the_figures_and_at_the_end_until_all_is_delivered,
    no_thread_keeps_a_capability_besides_cap_net_admin,
];

/// The service manager's limit for the time between two watchdog messages.
const WATCHDOG: Duration = Duration::from_millis(400);

fn a_closed_standard_output_ends_the_stream_without_warnings(netns: &TestNetns) {
    netns.set_sysctl("netfilter/nf_conntrack_events", 1);
    let mut running = Running::with(netns, &["--no-seed"], |command| command.stdout(Stdio::piped()));
    let mut stdout = BufReader::new(running.child.stdout.take().expect("a pipe"));
    netns.create(&udp_flows(1000, 100));
    let read: Vec<String> = stdout.by_ref().lines().take(50).map(|line| line.expect("a line")).collect();
    drop(stdout);
    let mut port = 2000;
    let end = Instant::now() + TIMEOUT;
    while running.child.try_wait().expect("its end").is_none() {
        assert!(Instant::now() < end, "it does not end");
        netns.create(&udp_flows(port, 10));
        port += 10;
        std::thread::sleep(Duration::from_millis(20));
    }
    let (status, stderr) = running.wait();
    assert_eq!((status.code(), read.len()), (Some(0), 50), "{stderr}");
    let noise = |line: &&str| {
        !line.contains("receive buffer")
            && !line.starts_with("  hint: ")
            && !line.contains("closed: ")
            && !line.contains(" off")
    };
    let noise: Vec<&str> = stderr.lines().filter(noise).filter(|line| !line.contains("nf_conntrack_")).collect();
    assert_eq!(noise, [] as [&str; 0]);
}

/// Nobody listens there, so the lines are waited for until the time for delivering is over.
fn the_service_manager_is_notified_by_default_of_the_figures_and_at_the_end_until_all_is_delivered(netns: &TestNetns) {
    let folder = Folder::new();
    let manager = UnixDatagram::bind(folder.path("notify")).expect("a socket");
    manager.set_read_timeout(Some(TIMEOUT)).expect("a timeout");
    let receive = || {
        let mut message = [0; 4096];
        let length = manager.recv(&mut message).expect("a message");
        String::from_utf8_lossy(&message[..length]).into_owned()
    };
    let running = Running::with(netns, &["--to", "tcp:127.0.0.1:9"], |command| {
        let microseconds = WATCHDOG.as_micros().to_string();
        command.stdout(Stdio::null()).env("NOTIFY_SOCKET", folder.path("notify")).env("WATCHDOG_USEC", microseconds)
    });
    netns.create(&udp_flows(1000, 10));
    let status = std::iter::repeat_with(receive).find(|message| message.contains("received")).expect("figures");
    assert!(status.starts_with("STATUS=following: ") && status.contains("records"), "{status}");
    running.signal(Signal::SIGTERM);
    std::iter::repeat_with(receive).find(|message| message.starts_with("STOPPING=1")).expect("the end");
    let stopped = Instant::now();
    let ended = std::thread::spawn(move || running.wait());
    let (mut last, mut longest, mut count) = (stopped, Duration::ZERO, 0);
    while !ended.is_finished() {
        manager.set_read_timeout(Some(Duration::from_millis(100))).expect("a timeout");
        if manager.recv(&mut [0; 64]).is_ok() {
            (longest, count) = (longest.max(last.elapsed()), count + 1);
            last = Instant::now();
        }
    }
    let (status, stderr) = ended.join().expect("its end");
    assert_eq!(status.code(), Some(3), "{stderr}");
    assert!(count >= 20 && stopped.elapsed() > Duration::from_secs(8), "{count} messages in {:?}", stopped.elapsed());
    // A busy machine delays some.
    assert!(longest < 5 * WATCHDOG, "{longest:?} between two");
}

fn the_service_manager_is_notified_of_readiness_watchdog_reload_and_end(netns: &TestNetns) {
    let folder = Folder::new();
    let manager = UnixDatagram::bind(folder.path("notify")).expect("a socket");
    manager.set_read_timeout(Some(TIMEOUT)).expect("a timeout");
    let wait_for = |text: &str| {
        let mut message = [0; 4096];
        let end = Instant::now() + TIMEOUT;
        while Instant::now() < end {
            let length = manager.recv(&mut message).expect("a message");
            let stderr = String::from_utf8_lossy(&message[..length]).into_owned();
            if stderr.lines().any(|line| line.starts_with(text)) {
                return;
            }
        }
        panic!("no notification {text}");
    };
    let running = Running::with(netns, &["--to", &folder.spec("file", "log")], |command| {
        command
            .stdout(Stdio::null())
            .env("NOTIFY_SOCKET", folder.path("notify"))
            .env("WATCHDOG_USEC", WATCHDOG.as_micros().to_string())
    });
    wait_for("READY=1");
    // It has subscribed, and its sinks are open.
    assert!(folder.path("log").exists());
    // A busy machine delays some messages, but not each of them.
    let received = [(); 6].map(|()| {
        wait_for("WATCHDOG=1");
        Instant::now()
    });
    let shortest = received.windows(2).map(|pair| pair[1] - pair[0]).min();
    assert!(shortest < Some(WATCHDOG), "{shortest:?}");
    let (log, moved) = (folder.path("log"), folder.path("moved"));
    for _ in 0..20 {
        fs::rename(&log, &moved).expect("rename");
        running.signal(Signal::SIGHUP);
        wait_for("RELOADING=1");
        wait_for("READY=1");
        // Nothing is written to the old file any more, also where there are no lines.
        assert!(log.exists());
    }
    running.signal(Signal::SIGTERM);
    wait_for("STOPPING=1");
    running.stop_after_signal();
    assert!(finished(&log).last().is_some_and(|line| line.contains("\"event\":\"close\"")));
}

fn sighup_ends_a_stream_without_a_file_unless_a_service_manager_sent_it(netns: &TestNetns) {
    let folder = Folder::new();
    let (unix, file, spool) = (folder.spec("unix", "socket"), folder.spec("file", "log"), folder.text("spool"));
    for sinks in [&["--to", "-"][..], &["--to", &unix, "--spool", &spool]] {
        let running = Running::start(netns, sinks);
        running.signal(Signal::SIGHUP);
        let (status, stderr) = running.wait();
        assert_eq!(status.code(), Some(0), "{stderr}");
        assert!(stderr.contains("SIGHUP: "), "{stderr}");
    }
    let notify = |command: &mut std::process::Command| {
        command.env("NOTIFY_SOCKET", folder.path("no-manager")).stdout(Stdio::null());
    };
    for (sink, is_service) in [("-", true), (&*file, false)] {
        let running = Running::with(netns, &["--to", sink], |command| {
            command.stdout(Stdio::null());
            if is_service {
                notify(command);
            }
            command
        });
        running.signal(Signal::SIGHUP);
        std::thread::sleep(Duration::from_millis(500));
        running.signal(Signal::SIGTERM);
        let (status, stderr) = running.wait();
        assert_eq!(status.code(), Some(0), "{stderr}");
        assert!(stderr.contains("SIGTERM: "), "{stderr}");
    }
}

/// Whether it has something to write or not; the shell that it was started from may not send SIGHUP.
fn a_terminal_that_goes_away_ends_the_stream(netns: &TestNetns) {
    netns.set_sysctl("netfilter/nf_conntrack_events", 1);
    for has_events in [false, true] {
        let pair = nix::pty::openpty(None, None).expect("a terminal");
        // The child must not inherit it.
        fcntl(&pair.master, FcntlArg::F_SETFD(FdFlag::FD_CLOEXEC)).expect("fcntl");
        let terminal = fs::File::from(pair.slave);
        let running = Running::with(netns, &["--no-seed"], |command| command.stdout(terminal));
        drop(pair.master);
        if has_events {
            netns.create(&udp_flows(1000, 100));
        }
        let (status, stderr) = running.wait();
        assert_eq!(status.code(), Some(0), "{stderr}");
        assert!(stderr.contains("closed: ") && !stderr.contains("is down"), "{stderr}");
    }
}

impl Running {
    /// Waits for the end after a signal.
    fn stop_after_signal(self) {
        let (status, stderr) = self.wait();
        assert_eq!(status.code(), Some(0), "{stderr}");
    }
}

fn no_thread_keeps_a_capability_besides_cap_net_admin(netns: &TestNetns) {
    const NET_ADMIN: u64 = 1 << 12;
    ctnl_test_support::net::ip("link set lo up");
    let folder = Folder::new();
    let (file, unix, spool) = (folder.spec("file", "log"), folder.spec("unix", "socket"), folder.text("spool"));
    let nats = "nats:127.0.0.1:4222/x";
    let sinks = ["--to", &file, "--to", &unix, "--to", nats, "--to", "-", "--spool", &spool];
    let running = Running::start(netns, &sinks);
    let mut traffic = Traffic::new(netns, folder.path("log"));
    traffic.make(1);
    running.wait_for_stderr("nats:");
    let tasks = format!("/proc/{}/task", running.child.id());
    let capabilities = || -> Vec<(String, u64)> {
        let tasks = fs::read_dir(&tasks).expect("the threads");
        let text = tasks.map(|task| fs::read_to_string(task.expect("a thread").path().join("status")).expect("status"));
        let sets = |text: &String| {
            let lines =
                text.lines().filter(|line| line.starts_with("Cap") && !line.starts_with("CapBnd")).map(|line| {
                    let (name, value) = line.split_once(':').expect("a set");
                    (name.to_owned(), u64::from_str_radix(value.trim(), 16).expect("a number"))
                });
            lines.collect::<Vec<_>>()
        };
        text.flat_map(|text| sets(&text)).collect()
    };
    until("all threads", || capabilities().len() >= 6 * 4);
    for (name, set) in capabilities() {
        let expected = if name == "CapInh" || name == "CapAmb" { 0 } else { NET_ADMIN };
        assert_eq!(set, expected, "{name}");
    }
    running.stop();
}
