//! A program that listens to events: what it wrote, and what the kernel says of
//! its socket.

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
const PATIENCE: Duration = Duration::from_secs(120);
const LOOK_EVERY: Duration = Duration::from_millis(20);
/// Times that a queue has to be found empty: what was read last is in work.
const EMPTY: u32 = 10;

/// What it writes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Speech {
    /// The number of events, at the end.
    Number,
    /// JSON with gap records.
    Json,
    /// conntrack(8)'s lines.
    Conntrack,
}

/// What was counted in what it wrote.
#[derive(Debug, Clone, Copy, Default)]
pub struct Counted {
    pub events: u64,
    /// Lost, by its own words.
    pub lost: u64,
}

/// A listener that runs.
pub struct Listener {
    child: Child,
    reader: Option<JoinHandle<std::io::Result<Counted>>>,
    /// Reads standard error: a listener that warns of each loss would wait for a reader.
    complaint: Option<JoinHandle<String>>,
    /// What it writes to, in place of its standard output.
    file: Option<PathBuf>,
}

impl Listener {
    /// Starts it and waits until it has joined a group. Its standard output is read
    /// after `asleep`; where it writes to a `file`, that is read at the end.
    pub fn start(line: &Line, speech: Speech, asleep: Duration, file: Option<PathBuf>) -> Result<Self> {
        let mut command = line.command()?;
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().with_context(|| format!("start {line}"))?;
        let stdout = child.stdout.take().context("no standard output")?;
        let reader = thread::spawn(move || {
            thread::sleep(asleep);
            count(stdout, speech)
        });
        let stderr = child.stderr.take().context("no standard error")?;
        let complaint = thread::spawn(move || first_words(stderr));
        let mut listener = Listener { child, reader: Some(reader), complaint: Some(complaint), file };
        let start = Instant::now();
        while sockets()?.is_empty() {
            if let Some(status) = listener.child.try_wait()? {
                let complaint = listener.complaint.take().and_then(|reader| reader.join().ok()).unwrap_or_default();
                bail!("{line}: {status}: {}", complaint.trim());
            }
            ensure!(start.elapsed() < PATIENCE, "{line} did not subscribe");
            thread::sleep(LOOK_EVERY);
        }
        Ok(listener)
    }

    /// Waits until it has read all that is queued, ends it, and returns what it
    /// wrote, what the kernel could not queue for it, and what it used.
    pub fn finish(mut self) -> Result<(Counted, u64, ResourceUsage)> {
        let start = Instant::now();
        let mut empty = 0;
        while empty < EMPTY {
            ensure!(start.elapsed() < PATIENCE, "the listener does not read what is queued");
            empty = if sockets()?.iter().all(|socket| socket.queued == 0) { empty + 1 } else { 0 };
            thread::sleep(LOOK_EVERY);
        }
        let lost = sockets()?.iter().map(|socket| socket.drops).sum();
        kill(pid(&self.child)?, Signal::SIGTERM).context("end the listener")?;
        let used = self.child.wait4().context("wait for the listener")?;
        let reader = self.reader.take().context("nobody reads")?;
        let mut counted = reader.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))?;
        if let Some(path) = &self.file {
            counted = count(File::open(path).context("open what ctnl wrote")?, Speech::Json)?;
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

/// A netfilter socket of this namespace that listens to a group.
struct Listening {
    queued: u64,
    drops: u64,
}

/// All of them, by /proc/net/netlink: sk, protocol, port, groups, queued bytes, …, drops.
fn sockets() -> Result<Vec<Listening>> {
    let table = fs::read_to_string("/proc/net/netlink").context("read /proc/net/netlink")?;
    let rows = table.lines().skip(1).filter_map(|line| {
        let words: Vec<&str> = line.split_whitespace().collect();
        let [_, "12", _, groups, queued, _, _, _, drops, ..] = words.as_slice() else { return None };
        let is_listening = u32::from_str_radix(groups, 16).is_ok_and(|groups| groups != 0);
        is_listening.then(|| Some(Listening { queued: queued.parse().ok()?, drops: drops.parse().ok()? }))?
    });
    Ok(rows.collect())
}

/// The beginning of what comes; all of it is read.
fn first_words(mut stderr: ChildStderr) -> String {
    let mut words = Vec::new();
    // What cannot be read cannot be told.
    let _ = stderr.by_ref().take(4096).read_to_end(&mut words);
    let _ = std::io::copy(&mut stderr, &mut std::io::sink());
    String::from_utf8_lossy(&words).into_owned()
}

fn count(stdout: impl Read, speech: Speech) -> std::io::Result<Counted> {
    let mut counted = Counted::default();
    if speech == Speech::Number {
        let mut text = String::new();
        BufReader::new(stdout).read_to_string(&mut text)?;
        counted.events = text.trim().parse().map_err(std::io::Error::other)?;
        return Ok(counted);
    }
    let mut reader = BufReader::with_capacity(1024 * 1024, stdout);
    let mut line = Vec::new();
    while reader.read_until(b'\n', &mut line)? > 0 {
        take(&line, speech, &mut counted);
        line.clear();
    }
    Ok(counted)
}

fn take(line: &[u8], speech: Speech, counted: &mut Counted) {
    // What kind of line it is stands at its beginning.
    let head = line.get(..64).unwrap_or(line);
    let has = |part: &[u8]| head.windows(part.len()).any(|window| window == part);
    if speech == Speech::Conntrack {
        counted.events += u64::from(has(b"[NEW]") || has(b"[DESTROY]"));
    } else if has(b"\"event\":\"gap\"") {
        let gap = serde_json::from_slice(line).unwrap_or(serde_json::Value::Null);
        counted.lost += gap.get("lost").and_then(serde_json::Value::as_u64).unwrap_or(0);
    } else {
        counted.events += u64::from(has(b"\"event\":\"new\"") || has(b"\"event\":\"destroy\""));
    }
}
