//! `ctnl events` in a pipeline: every event of the kernel is received, whichever part is killed.
//!
//! Each stream is also written to a file. The other sink must have received the lines of that
//! file, and the next events are made when it has the ones before, so that a small receive buffer
//! does not overflow.
//!
//! - `servers`: NATS, rsyslogd and a Unix socket, killed and restarted
//! - `disk`: full disks, rotation, renamed files
//! - `logrotate`: the packaged file, under load
//! - `durability`: what is synchronised to the disk
//! - `service`: signals, sysctls, capabilities, the service manager
//! - `journal`: journald, restarted
//! - `kinds`: all kinds of records, expectations, all namespaces

pub mod disk;
pub mod durability;
pub mod journal;
pub mod kinds;
pub mod logrotate;
pub mod servers;
pub mod service;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use ctnl::model::{Flow, L4, Protocol};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;

use ctnl_test_support::harness::{TestNetns, flow};
use ctnl_test_support::net::PATH;

/// Far longer than anything here takes.
const TIMEOUT: Duration = Duration::from_secs(60);
/// Fewer than the 332 events that fit into the receive buffer of an unprivileged user.
const BATCH: u16 = 100;

/// Waits until `condition` holds.
#[track_caller]
fn until(what: &str, mut condition: impl FnMut() -> bool) {
    let end = Instant::now() + TIMEOUT;
    while !condition() {
        assert!(Instant::now() < end, "no {what} within {TIMEOUT:?}");
        thread::sleep(Duration::from_millis(5));
    }
}

/// A running `ctnl events`, killed when this is dropped.
struct Running {
    child: Child,
    stderr: tempfile::NamedTempFile,
}

impl Running {
    /// Starts it, and waits until it has subscribed.
    fn start(netns: &TestNetns, arguments: &[&str]) -> Self {
        Running::with(netns, arguments, |command| command.stdout(Stdio::null()))
    }

    fn with(netns: &TestNetns, arguments: &[&str], change: impl FnOnce(&mut Command) -> &mut Command) -> Self {
        let stderr = tempfile::NamedTempFile::new().expect("a file");
        let mut command = netns.ctnl_command(&[&["events"], arguments].concat());
        command.stderr(stderr.reopen().expect("the file")).env("PATH", PATH);
        let child = change(&mut command).spawn().expect("the program");
        let running = Running { child, stderr };
        running.wait_for_stderr("receive buffer");
        running
    }

    fn stderr(&self) -> String {
        fs::read_to_string(self.stderr.path()).expect("its stderr")
    }

    /// Waits until stderr contains `text`.
    #[track_caller]
    fn wait_for_stderr(&self, text: &str) {
        let end = Instant::now() + TIMEOUT;
        while !self.stderr().contains(text) {
            assert!(Instant::now() < end, "no {text:?} on stderr:\n{}", self.stderr());
            thread::sleep(Duration::from_millis(5));
        }
    }

    fn signal(&self, signal: Signal) {
        kill(Pid::from_raw(self.child.id().try_into().unwrap()), signal).expect("kill");
    }

    fn wait(mut self) -> (ExitStatus, String) {
        let end = Instant::now() + TIMEOUT;
        loop {
            if let Some(status) = self.child.try_wait().expect("its end") {
                return (status, self.stderr());
            }
            assert!(Instant::now() < end, "it does not end:\n{}", self.stderr());
            thread::sleep(Duration::from_millis(5));
        }
    }

    /// Stops it as a service manager does. Returns its stderr.
    #[track_caller]
    fn stop(self) -> String {
        self.signal(Signal::SIGTERM);
        let (status, stderr) = self.wait();
        assert_eq!(status.code(), Some(0), "{stderr}");
        stderr
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if thread::panicking() {
            eprintln!("--- ctnl events\n{}", self.stderr());
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A folder for the files of one test.
struct Folder(tempfile::TempDir);

impl Folder {
    fn new() -> Self {
        Folder(tempfile::tempdir().expect("a folder"))
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    /// KIND:PATH of a file in it.
    fn spec(&self, kind: &str, name: &str) -> String {
        format!("{kind}:{}", self.path(name).display())
    }

    fn text(&self, name: &str) -> String {
        self.path(name).to_str().expect("UTF-8").to_owned()
    }
}

/// The whole lines of a file. It may grow.
fn lines(path: &Path) -> Vec<String> {
    let text = fs::read_to_string(path).unwrap_or_default();
    let end = text.rfind('\n').map_or(0, |end| end + 1);
    text[..end].lines().map(str::to_owned).collect()
}

/// The lines of a file that is complete: none is torn.
#[track_caller]
fn finished(path: &Path) -> Vec<String> {
    let text = fs::read_to_string(path).unwrap_or_else(|error| panic!("cannot read {}: {error}", path.display()));
    assert!(text.is_empty() || text.ends_with('\n'), "torn: {:?}", text.lines().last());
    text.lines().map(str::to_owned).collect()
}

fn parse(line: &str) -> Value {
    serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"))
}

fn number(record: &Value, name: &str) -> u64 {
    record[name].as_u64().unwrap_or_else(|| panic!("{name} of {record}"))
}

/// Whether it is an event of the kernel, and not synthetic.
fn is_real(record: &Value) -> bool {
    let kinds = ["new", "update", "destroy", "expect-new", "expect-update", "expect-destroy"];
    kinds.iter().any(|kind| record["event"] == *kind) && record.get("synthetic").is_none()
}

/// The number of events that the kernel dropped.
fn lost(records: &[Value]) -> u64 {
    let gaps = records.iter().filter(|record| record["event"] == "gap" && record["cause"] == "kernel");
    gaps.map(|gap| number(gap, "lost")).sum()
}

/// Fails unless the lines are one complete run: with consecutive numbers, and a `close` record
/// with the right totals. Returns the number of received and of lost events.
#[track_caller]
fn account(lines: &[String]) -> (u64, u64) {
    let records: Vec<Value> = lines.iter().map(|line| parse(line)).collect();
    for (index, record) in records.iter().enumerate() {
        assert_eq!(number(record, "seq"), index as u64 + 1, "{record}");
    }
    let (received, lost) = (records.iter().filter(|record| is_real(record)).count() as u64, lost(&records));
    let close = records.last().expect("a record");
    assert_eq!(close["event"], "close", "{close}");
    assert_eq!((number(close, "received"), number(close, "lost")), (received, lost), "{close}");
    (received, lost)
}

/// Creates entries in batches, each after the records of the one before.
struct Traffic<'a> {
    netns: &'a TestNetns,
    file: PathBuf,
    made: u16,
}

impl<'a> Traffic<'a> {
    /// The program writes its records to `file`.
    fn new(netns: &'a TestNetns, file: PathBuf) -> Self {
        netns.set_sysctl("netfilter/nf_conntrack_events", 1);
        Traffic { netns, file, made: 0 }
    }

    #[track_caller]
    fn make(&mut self, batches: u16) {
        for _ in 0..batches {
            self.netns.create(&udp_flows(1000 + self.made, BATCH));
            self.made += BATCH;
            let is_new = |line: &String| line.contains("\"event\":\"new\"");
            until("record of each event", || {
                lines(&self.file).iter().filter(|line| is_new(line)).count() >= self.sent()
            });
        }
    }

    fn sent(&self) -> usize {
        self.made.into()
    }
}

fn udp_flows(from: u16, count: u16) -> Vec<Flow> {
    (from..from + count).map(|port| flow(Protocol::Udp, L4::Ports { src: port, dst: 53 })).collect()
}
