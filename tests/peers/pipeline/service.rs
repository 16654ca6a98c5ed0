//! The program as a service: its end, its capabilities, its service manager.

use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::os::unix::net::UnixDatagram;
use std::process::Stdio;
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;

use super::{Folder, PATIENCE, Running, Traffic, account, finished, udp_flows, until};
use ctnl_test_support::harness::{World, tests};

tests![
    a_closed_standard_output_ends_the_stream_without_warnings,
    the_service_manager_is_notified_of_readiness_watchdog_reload_and_end,
    no_thread_keeps_a_capability_besides_cap_net_admin,
];

fn a_closed_standard_output_ends_the_stream_without_warnings(world: &World) {
    world.set_sysctl("netfilter/nf_conntrack_events", 1);
    let mut running = Running::with(world, &["--no-seed"], |command| command.stdout(Stdio::piped()));
    let mut stdout = BufReader::new(running.child.stdout.take().expect("a pipe"));
    world.create(&udp_flows(1000, 100));
    let read: Vec<String> = stdout.by_ref().lines().take(50).map(|line| line.expect("a line")).collect();
    drop(stdout);
    let mut port = 2000;
    let end = Instant::now() + PATIENCE;
    while running.child.try_wait().expect("its end").is_none() {
        assert!(Instant::now() < end, "it does not end");
        world.create(&udp_flows(port, 10));
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

fn the_service_manager_is_notified_of_readiness_watchdog_reload_and_end(world: &World) {
    let folder = Folder::new();
    let manager = UnixDatagram::bind(folder.path("notify")).expect("a socket");
    manager.set_read_timeout(Some(PATIENCE)).expect("a timeout");
    let wait_for = |text: &str| {
        let mut message = [0; 4096];
        let end = Instant::now() + PATIENCE;
        while Instant::now() < end {
            let length = manager.recv(&mut message).expect("a message");
            let stderr = String::from_utf8_lossy(&message[..length]).into_owned();
            if stderr.lines().any(|line| line.starts_with(text)) {
                return;
            }
        }
        panic!("no notification {text}");
    };
    let running = Running::with(world, &["--to", &folder.spec("file", "log")], |command| {
        command.stdout(Stdio::null()).env("NOTIFY_SOCKET", folder.path("notify")).env("WATCHDOG_USEC", "400000")
    });
    wait_for("READY=1");
    // It has subscribed, and its sinks are open.
    assert!(folder.path("log").exists());
    let start = Instant::now();
    (0..5).for_each(|_| wait_for("WATCHDOG=1"));
    let waited = start.elapsed();
    assert!(waited < Duration::from_secs(2), "five within {waited:?}");
    running.signal(Signal::SIGHUP);
    wait_for("RELOADING=1");
    wait_for("READY=1");
    running.signal(Signal::SIGTERM);
    wait_for("STOPPING=1");
    running.stop_after_signal();
    account(&finished(&folder.path("log")));
}

impl Running {
    /// Waits for the end after a signal.
    fn stop_after_signal(self) {
        let (status, stderr) = self.wait();
        assert_eq!(status.code(), Some(0), "{stderr}");
    }
}

fn no_thread_keeps_a_capability_besides_cap_net_admin(world: &World) {
    const NET_ADMIN: u64 = 1 << 12;
    ctnl_test_support::net::ip("link set lo up");
    let folder = Folder::new();
    let (file, unix, spool) = (folder.spec("file", "log"), folder.spec("unix", "socket"), folder.text("spool"));
    let nats = "nats:127.0.0.1:4222/x";
    let sinks = ["--to", &file, "--to", &unix, "--to", nats, "--to", "-", "--spool", &spool];
    let running = Running::start(world, &sinks);
    let mut traffic = Traffic::new(world, folder.path("log"));
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
