//! The journal of systemd, by journalctl(1): all boots, the last message first.

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

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::indexing_slicing)]
mod tests {
    use ctnl::clock::Clock;

    use super::*;

    fn output_of(script: &str) -> Result<LogSource, Unreadable> {
        let mut command = programs::command(Path::new("/bin/sh"));
        command.args(["-c", script]);
        read_output(command, &Host::system(), Tally::new(Nanos(2_000_000_000), Some("gate")), &|| false)
    }

    #[test]
    fn messages_are_counted_also_where_they_are_arrays_of_bytes() {
        let source = output_of(
            r#"echo '{"MESSAGE":"nf_conntrack: nf_conntrack: table full, dropping packet","__REALTIME_TIMESTAMP":"1000000","_HOSTNAME":"gate"}'
               echo '{"MESSAGE":[110,102,95,99,111,110,110,116,114,97,99,107,58,32,116,97,98,108,101,32,102,117,108,108,255],"__REALTIME_TIMESTAMP":"500000"}'
               echo '{"MESSAGE":"nf_conntrack: table full, dropping packet","__REALTIME_TIMESTAMP":"1","_HOSTNAME":"other"}'
               echo '-- No entries --'; echo '{"MESSAGE":null,"__REALTIME_TIMESTAMP":"1"}'"#,
        )
        .unwrap();
        let full = &source.notices.full[&None];
        assert_eq!((full.count, full.first, full.last), (2, Some(Nanos(500_000_000)), Some(Nanos(1_000_000_000))));
        assert_eq!((source.notices.other_hosts, source.gaps), (1, vec![]));
    }

    #[test]
    fn nothing_found_is_no_failure_and_a_failure_has_the_message_of_journalctl() {
        assert_eq!(output_of("exit 1").unwrap().notices, super::super::Notices::default());
        let failed = output_of("echo 'Failed to open files: x' >&2; exit 1").unwrap_err();
        let why = "journalctl failed (exit status: 1): Failed to open files: x";
        assert_eq!(failed, Unreadable::Failed(why.to_owned()));
        let source = output_of(&format!("echo 'Hint: {NOT_ALL}.' >&2; exit 1")).unwrap();
        assert_eq!(source.gaps, ["this user may read a part of it only"]);
    }

    #[test]
    fn a_process_that_is_killed_or_fails_without_a_message_is_no_clean_journal() {
        for (script, status) in [("kill -9 $$", "signal: 9 (SIGKILL)"), ("exit 2", "exit status: 2")] {
            let why = format!("journalctl failed ({status})");
            assert_eq!(output_of(script), Err(Unreadable::Failed(why)));
        }
        let record = r#"echo '{"MESSAGE":"eth0: link up","__REALTIME_TIMESTAMP":"1"}'"#;
        assert!(output_of(&format!("{record}; exit 1")).is_err(), "it matched, and failed");
        let full = record.replace("eth0: link up", "nf_conntrack: table full, dropping packet");
        let source = output_of(&format!("{full}; kill -9 $$")).unwrap();
        assert_eq!(source.notices.full[&None].count, 1);
        assert_eq!(source.gaps, ["journalctl failed (signal: 9 (SIGKILL))"]);
    }

    #[test]
    fn records_that_are_not_understood_are_a_gap() {
        let script = r#"echo '{"MESSAGE":"x","__REALTIME_TIMESTAMP":"1"}'; echo '{"MESSAGE":'"#;
        assert_eq!(output_of(script).unwrap().gaps, ["1 of its 2 records are not understood"]);
    }

    #[test]
    fn a_signal_ends_the_reading_and_the_process_and_what_was_read_until_then_counts() {
        let started = std::time::Instant::now();
        let mut command = programs::command(Path::new("/bin/sh"));
        let record = r#"{"MESSAGE":"nf_conntrack: table full, dropping packet","__REALTIME_TIMESTAMP":"1"}"#;
        command.args(["-c", &format!("echo '{record}'; exec sleep 1000")]);
        // The clock stands still, and the signal comes after the first record.
        let calls = std::sync::atomic::AtomicU64::new(0);
        let is_interrupted = || calls.fetch_add(1, std::sync::atomic::Ordering::Relaxed) > 50;
        let host = Host::at("/", Clock::from_fn(ctnl::clock::Time::default));
        let source = read_output(command, &host, Tally::new(Nanos(0), None), &is_interrupted).unwrap();
        assert_eq!(
            (source.notices.full[&None].count, source.gaps),
            (1, vec!["older messages were not read: interrupted".to_owned()])
        );
        assert!(started.elapsed() < std::time::Duration::from_secs(100));
    }

    #[test]
    fn a_process_that_does_not_end_is_killed_and_that_is_said() {
        let started = std::time::Instant::now();
        let calls = std::sync::atomic::AtomicU64::new(0);
        let clock = Clock::from_fn(move || ctnl::clock::Time {
            monotonic: Nanos(calls.fetch_add(1, std::sync::atomic::Ordering::Relaxed) * 4_900_000_000),
            realtime: Nanos(0),
        });
        let mut command = programs::command(Path::new("/bin/sleep"));
        command.arg("1000");
        let source = read_output(command, &Host::at("/", clock), Tally::new(Nanos(0), None), &|| false).unwrap();
        assert_eq!(source.gaps, ["older messages were not read: it took over 5s"]);
        assert!(started.elapsed() < std::time::Duration::from_secs(100));
        let absent = programs::command(Path::new("/nonexistent"));
        assert!(read_output(absent, &Host::system(), Tally::new(Nanos(0), None), &|| false).is_err());
    }

    #[test]
    fn the_installed_program_is_run_in_the_root_folder_with_a_fixed_path() {
        let folder = tempfile::tempdir().unwrap();
        let host = Host::at(folder.path(), Clock::system());
        let tally = || Tally::new(Nanos(0), None);
        assert_eq!(read(&host, true, tally, &|| false), None, "that of PATH is not one of this host");
        std::fs::create_dir(folder.path().join("bin")).unwrap();
        let program = folder.path().join("bin/journalctl");
        std::fs::write(&program, "#!/bin/sh\necho \"$PATH $(pwd) $HOME\" >&2\nexit 1\n").unwrap();
        std::fs::set_permissions(&program, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
        let Some(Unreadable::Failed(why)) = read(&host, true, tally, &|| false).unwrap().unreadable else {
            unreachable!()
        };
        assert!(why.ends_with("/usr/local/sbin:/usr/sbin:/sbin:/usr/local/bin:/usr/bin:/bin / "), "{why}");
    }

    #[test]
    fn files_without_a_journal_are_not_read_by_journalctl() {
        let folder = tempfile::tempdir().unwrap();
        let host = Host::at(folder.path(), Clock::system());
        assert_eq!(read(&host, false, || Tally::new(Nanos(0), None), &|| false), None);
    }
}
