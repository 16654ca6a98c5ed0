//! A program that receives events: its output, and the kernel's counters of its socket.

use std::fs::{self, File};
use std::io::{BufRead, BufReader, Read};
use std::path::PathBuf;
use std::process::{Child, ChildStderr, Stdio};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use wait4::{ResourceUsage, Wait4};

use crate::measure::Line;

/// How long a listener may take to subscribe, or to read what is queued.
const TIMEOUT: Duration = Duration::from_secs(120);
const POLL_INTERVAL: Duration = Duration::from_millis(20);
/// How many times in a row the receive buffer must be empty: the last events may still be processed.
const EMPTY: u32 = 10;

/// The output format of a listener.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OutputFormat {
    /// The number of events, at the end.
    Number,
    /// JSON with gap records.
    Json,
    /// conntrack(8)'s lines.
    Conntrack,
}

/// The numbers in its output.
#[derive(Debug, Clone, Copy, Default)]
pub struct Counted {
    pub events: u64,
    /// Events that it reports as lost.
    pub lost: u64,
}

/// A running listener.
pub struct Listener {
    child: Child,
    reader: Option<JoinHandle<std::io::Result<Counted>>>,
    /// Reads standard error: a listener that warns about each loss would block without a reader.
    stderr: Option<JoinHandle<String>>,
    /// The file that it writes to instead of its standard output.
    file: Option<PathBuf>,
}

impl Listener {
    /// Starts it and waits until it has joined a group. Its standard output is read
    /// after `reader_delay`; where it writes to a `file`, that is read at the end.
    pub fn start(line: &Line, format: OutputFormat, reader_delay: Duration, file: Option<PathBuf>) -> Result<Self> {
        let mut command = line.command()?;
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().with_context(|| format!("start {line}"))?;
        let stdout = child.stdout.take().context("no standard output")?;
        let reader = thread::spawn(move || {
            thread::sleep(reader_delay);
            count(stdout, format)
        });
        let stderr = child.stderr.take().context("no standard error")?;
        let stderr = thread::spawn(move || first_bytes(stderr));
        let mut listener = Listener { child, reader: Some(reader), stderr: Some(stderr), file };
        let start = Instant::now();
        while sockets()?.is_empty() {
            if let Some(status) = listener.child.try_wait()? {
                let stderr = listener.stderr.take().and_then(|reader| reader.join().ok()).unwrap_or_default();
                bail!("{line}: {status}: {}", stderr.trim());
            }
            ensure!(start.elapsed() < TIMEOUT, "{line} did not subscribe");
            thread::sleep(POLL_INTERVAL);
        }
        Ok(listener)
    }

    /// Waits until its receive buffer is empty and terminates it. Returns the numbers in its output,
    /// the kernel's count of dropped events, and its resource usage.
    pub fn finish(mut self) -> Result<(Counted, u64, ResourceUsage)> {
        let start = Instant::now();
        let mut empty = 0;
        while empty < EMPTY {
            ensure!(start.elapsed() < TIMEOUT, "the listener does not empty its receive buffer");
            empty = if sockets()?.iter().all(|socket| socket.queued == 0) { empty + 1 } else { 0 };
            thread::sleep(POLL_INTERVAL);
        }
        let lost = sockets()?.iter().map(|socket| socket.drops).sum();
        kill(pid(&self.child)?, Signal::SIGTERM).context("terminate the listener")?;
        let used = self.child.wait4().context("wait for the listener")?;
        let reader = self.reader.take().context("no reader")?;
        let mut counted = reader.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))?;
        if let Some(path) = &self.file {
            counted = count(File::open(path).context("open the output file of ctnl")?, OutputFormat::Json)?;
        }
        Ok((counted, lost, used.rusage))
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        if self.reader.is_some() {
            let _ = self.child.kill();
            let _ = self.child.wait();
        }
        if let Some(path) = &self.file {
            let _ = fs::remove_file(path);
        }
    }
}

fn pid(child: &Child) -> Result<Pid> {
    Ok(Pid::from_raw(i32::try_from(child.id())?))
}

/// A netfilter socket of this namespace that has joined a multicast group.
struct EventSocket {
    queued: u64,
    drops: u64,
}

/// All of them, by /proc/net/netlink: sk, protocol, port, groups, queued bytes, …, drops.
fn sockets() -> Result<Vec<EventSocket>> {
    let table = fs::read_to_string("/proc/net/netlink").context("read /proc/net/netlink")?;
    let rows = table.lines().skip(1).filter_map(|line| {
        let words: Vec<&str> = line.split_whitespace().collect();
        let [_, "12", _, groups, queued, _, _, _, drops, ..] = words.as_slice() else { return None };
        let is_listening = u32::from_str_radix(groups, 16).is_ok_and(|groups| groups != 0);
        is_listening.then(|| Some(EventSocket { queued: queued.parse().ok()?, drops: drops.parse().ok()? }))?
    });
    Ok(rows.collect())
}

/// The first 4 KiB; the rest is read and discarded.
fn first_bytes(mut stderr: ChildStderr) -> String {
    let mut words = Vec::new();
    // A read error only shortens the message.
    let _ = stderr.by_ref().take(4096).read_to_end(&mut words);
    let _ = std::io::copy(&mut stderr, &mut std::io::sink());
    String::from_utf8_lossy(&words).into_owned()
}

fn count(stdout: impl Read, format: OutputFormat) -> std::io::Result<Counted> {
    let mut counted = Counted::default();
    if format == OutputFormat::Number {
        let mut text = String::new();
        BufReader::new(stdout).read_to_string(&mut text)?;
        counted.events = text.trim().parse().map_err(std::io::Error::other)?;
        return Ok(counted);
    }
    let mut reader = BufReader::with_capacity(1024 * 1024, stdout);
    let mut line = Vec::new();
    while reader.read_until(b'\n', &mut line)? > 0 {
        count_line(&line, format, &mut counted);
        line.clear();
    }
    Ok(counted)
}

fn count_line(line: &[u8], format: OutputFormat, counted: &mut Counted) {
    // The kind of a record is at the beginning of its line.
    let head = line.get(..64).unwrap_or(line);
    let has = |part: &[u8]| head.windows(part.len()).any(|window| window == part);
    if format == OutputFormat::Conntrack {
        counted.events += u64::from(has(b"[NEW]") || has(b"[DESTROY]"));
    } else if has(b"\"event\":\"gap\"") {
        let gap = serde_json::from_slice(line).unwrap_or(serde_json::Value::Null);
        counted.lost += gap.get("lost").and_then(serde_json::Value::as_u64).unwrap_or(0);
    } else {
        counted.events += u64::from(has(b"\"event\":\"new\"") || has(b"\"event\":\"destroy\""));
    }
}
