//! The journal of systemd, by journalctl(1): all boots, the last message first.

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::indexing_slicing)]
mod tests;

use std::ffi::OsString;
use std::io::{self, BufReader, Read};
use std::os::fd::AsFd;
use std::path::Path;
use std::process::{Child, ChildStderr, ChildStdout, Command, ExitStatus};

use ctnl::host::Host;
use ctnl::units::{Bytes, Nanos};
use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use serde::Deserialize;
use serde_json::Value;

use super::stream::{End, for_each_line};
use super::tally::{Entry, Tally};
use super::{Interrupted, LogSource, Notices, Unreadable};
use crate::host::programs;

const NAME: &str = "the journal";
const FOLDER: &str = "/var/log/journal";
/// The messages of [`super::message`].
const PATTERN: &str = "table full|entries exceeded|callbacks suppressed|messages suppressed";
const MAX_BYTES: u64 = 64 * 1024 * 1024;
const MAX_TIME: Nanos = Nanos(5 * Nanos::PER_SECOND);
/// Time between two looks at whether a signal came.
const INTERVAL: Nanos = Nanos(Nanos::PER_SECOND / 10);
/// Most bytes of its error messages.
const MAX_ERRORS: u64 = 4096;
/// A line of journalctl where this user may read some of the journal only.
const NOT_ALL: &str = "You are currently not seeing messages from other users and the system";
/// Where it was built without libpcre2.
const NO_PATTERNS: &str = "without pattern matching support";

/// The fields of an entry.
#[derive(Deserialize)]
struct Record {
    #[serde(rename = "MESSAGE")]
    message: Value,
    #[serde(rename = "__REALTIME_TIMESTAMP")]
    microseconds: String,
    #[serde(rename = "_HOSTNAME")]
    host: Option<String>,
}

/// Reads the journal of this host, or of the files below its root where it does not run; `None` where it has none.
pub fn read(
    host: &Host,
    is_running: bool,
    tally: impl Fn() -> Tally,
    is_interrupted: Interrupted<'_>,
) -> Option<LogSource> {
    let folder = host.path(FOLDER);
    if !is_running && !folder.is_dir() {
        return None;
    }
    let mut arguments: Vec<OsString> = Vec::new();
    if !is_running {
        arguments.extend(["--directory".into(), folder.into_os_string()]);
    }
    let path = std::env::var("PATH").unwrap_or_default();
    // The files of another host are read with the program of this one.
    let installed = if is_running { host.clone() } else { Host::system() };
    let Some(program) = programs::find(&installed, &path, "journalctl") else {
        let why = Unreadable::Failed("journalctl is not installed".to_owned());
        return (!is_running).then(|| LogSource::unreadable(NAME, why));
    };
    let run = |has_pattern| run(&program, host, &arguments, has_pattern, tally(), is_interrupted);
    match run(true) {
        Err(Unreadable::Failed(why)) if why.contains(NO_PATTERNS) => {
            Some(run(false).unwrap_or_else(|why| LogSource::unreadable(NAME, why)))
        }
        Err(why) => Some(LogSource::unreadable(NAME, why)),
        Ok(source) => Some(source),
    }
}

fn run(
    program: &Path,
    host: &Host,
    arguments: &[OsString],
    has_pattern: bool,
    tally: Tally,
    is_interrupted: Interrupted<'_>,
) -> Result<LogSource, Unreadable> {
    let mut command = programs::command(program);
    command.env("LC_ALL", "C");
    command.args(["--output=json", "--output-fields=MESSAGE,_HOSTNAME", "--no-pager", "--all", "--reverse"]);
    if has_pattern {
        command.arg(format!("--grep={PATTERN}"));
    }
    command.args(arguments).arg("_TRANSPORT=kernel");
    read_output(command, host, tally, is_interrupted)
}

/// Runs `command` and counts what it prints; it is killed when this ends.
fn read_output(
    mut command: Command,
    host: &Host,
    mut tally: Tally,
    is_interrupted: Interrupted<'_>,
) -> Result<LogSource, Unreadable> {
    let spawned = command.spawn();
    let mut running = Running(spawned.map_err(|error| Unreadable::Failed(format!("run journalctl: {error}")))?);
    let deadline = host.clock.now().monotonic.plus(MAX_TIME);
    let (Some(stdout), Some(stderr)) = (running.0.stdout.take(), running.0.stderr.take()) else {
        return Err(Unreadable::Failed("run journalctl: it has no output".to_owned()));
    };
    let output = Output { stdout, host, deadline, is_interrupted, is_cut_off: false };
    let (end, records) =
        count(output, &mut tally).map_err(|error| Unreadable::Failed(format!("read journalctl: {error}")))?;
    let mut source = LogSource::empty(NAME.to_owned());
    source.notices = tally.finish();
    source.gaps.extend(gap(end, is_interrupted()));
    source.gaps.extend(records.gap());
    if end == End::Stream {
        let errors = errors_of(stderr);
        if let Err(why) = check(running.0.wait(), &errors, records.lines > 0) {
            if source.notices == Notices::default() {
                return Err(Unreadable::Failed(why));
            }
            source.gaps.push(why);
        }
        source.gaps.extend(errors.contains(NOT_ALL).then(|| "this user may read a part of it only".to_owned()));
    }
    Ok(source)
}

fn gap(end: End, is_interrupted: bool) -> Option<String> {
    match end {
        End::Stream => None,
        End::Bytes => Some(format!("only the last {} of its messages were read", Bytes(MAX_BYTES))),
        End::Stopped if is_interrupted => Some("older messages were not read: interrupted".to_owned()),
        End::Stopped => Some(format!("older messages were not read: it took over {}", MAX_TIME.seconds())),
    }
}

/// With a pattern, journalctl exits with 1, without output and without an error where nothing matches. That this user
/// may not read everything is no error.
fn check(status: io::Result<ExitStatus>, errors: &str, has_output: bool) -> Result<(), String> {
    let status = status.map_err(|error| format!("run journalctl: {error}"))?;
    let is_silent = errors.trim().is_empty() || errors.contains(NOT_ALL);
    match status.code() {
        Some(0) => Ok(()),
        Some(1) if is_silent && !has_output => Ok(()),
        _ => match errors.lines().rfind(|line| !line.trim().is_empty()) {
            Some(message) => Err(format!("journalctl failed ({status}): {message}")),
            None => Err(format!("journalctl failed ({status})")),
        },
    }
}

/// The lines of its output.
#[derive(Default)]
struct Records {
    lines: u64,
    unparsed: u64,
}

impl Records {
    fn gap(&self) -> Option<String> {
        (self.unparsed > 0).then(|| format!("{} of its {} records are not understood", self.unparsed, self.lines))
    }
}

fn count(mut output: Output<'_>, tally: &mut Tally) -> io::Result<(End, Records)> {
    let mut records = Records::default();
    let end = for_each_line(
        BufReader::new(&mut output),
        MAX_BYTES,
        || true,
        |line| {
            // Such as '-- No entries --'.
            if line.is_empty() || line.starts_with(b"-- ") {
                return;
            }
            records.lines += 1;
            match serde_json::from_slice::<Record>(line) {
                Ok(record) => add(&record, tally),
                Err(_) => records.unparsed += 1,
            }
        },
    )?;
    Ok((if output.is_cut_off { End::Stopped } else { end }, records))
}

/// A message that is not UTF-8 is an array of bytes.
fn add(record: &Record, tally: &mut Tally) {
    let message = match &record.message {
        Value::String(text) => text.clone().into_bytes(),
        Value::Array(bytes) => {
            let byte = |byte: &Value| byte.as_u64().and_then(|byte| u8::try_from(byte).ok()).unwrap_or(b'?');
            bytes.iter().map(byte).collect()
        }
        _ => return,
    };
    let time = record.microseconds.parse().ok().map(|microseconds: u64| Nanos(microseconds.saturating_mul(1000)));
    let host = record.host.as_deref().map(str::as_bytes);
    tally.add(&Entry { time, host, times: 1, message: message.trim_ascii_start() });
}

/// The output of a process, up to a deadline or a signal.
struct Output<'a> {
    stdout: ChildStdout,
    host: &'a Host,
    deadline: Nanos,
    is_interrupted: Interrupted<'a>,
    is_cut_off: bool,
}

impl Read for &mut Output<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            let left = self.deadline.since(self.host.clock.now().monotonic);
            if left == Nanos(0) || (self.is_interrupted)() {
                self.is_cut_off = true;
                return Ok(0);
            }
            let timeout = std::time::Duration::from(left.min(INTERVAL));
            let timeout = PollTimeout::try_from(timeout).unwrap_or(PollTimeout::ZERO);
            let mut ready = [PollFd::new(self.stdout.as_fd(), PollFlags::POLLIN)];
            match poll(&mut ready, timeout) {
                Ok(0) | Err(Errno::EINTR) => {}
                Ok(_) => return self.stdout.read(buffer),
                Err(error) => return Err(error.into()),
            }
        }
    }
}

/// The error messages of a process that has closed its output.
fn errors_of(stderr: ChildStderr) -> String {
    let mut bytes = Vec::new();
    // What can be read is enough.
    let _ = stderr.take(MAX_ERRORS).read_to_end(&mut bytes);
    String::from_utf8_lossy(&bytes).into_owned()
}

/// A process that does not outlive this.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        // It may have ended.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
