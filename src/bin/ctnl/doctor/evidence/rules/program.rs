//! Runs a program that prints the rules of the firewall: without a shell, with fixed arguments, and with limits of
//! time and output.

use std::io::{self, Read};
use std::os::fd::{AsFd, BorrowedFd};
use std::path::PathBuf;
use std::process::{Child, ChildStderr, ChildStdout};
use std::time::{Duration, Instant};

use ctnl::host::Host;
use ctnl::text::printable;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use crate::host::programs;

/// The time that all programs have together: listing 100,000 rules takes some seconds on a slow host.
pub const TIME_LIMIT: Duration = Duration::from_secs(15);
/// The output that is read of a program. Sets are listed without their elements, so this is some 100,000 rules.
pub const OUTPUT_LIMIT: u64 = 64 * 1024 * 1024;
/// The messages that are kept of a program.
const MESSAGE_LIMIT: usize = 400;

/// Time between two looks at whether a signal came.
const INTERVAL: Duration = Duration::from_millis(100);

/// Up to when programs run.
#[derive(Clone, Copy)]
pub struct Limit<'i> {
    /// The end of their time.
    pub end: Instant,
    /// Whether a signal has requested the end.
    pub is_interrupted: &'i (dyn Fn() -> bool + Sync),
}

/// An installed program.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Program {
    name: &'static str,
    path: PathBuf,
}

/// Why the output of a program is not complete.
#[derive(Debug)]
pub struct Incomplete(pub String);

impl Program {
    /// Finds `name` as [`programs::find`] does.
    pub fn find(host: &Host, path: &str, name: &'static str) -> Option<Self> {
        programs::find(host, path, name).map(|path| Program { name, path })
    }

    /// The file that is run in the end, behind symbolic links.
    pub fn file(&self) -> PathBuf {
        self.path.canonicalize().unwrap_or_else(|_| self.path.clone())
    }

    /// Its name.
    pub fn name(&self) -> &'static str {
        self.name
    }

    /// Runs it with `arguments` in the network namespace of the calling thread, and passes its output to `read`.
    ///
    /// # Errors
    /// It cannot be started, it fails, it has not ended at `end`, prints more than [`OUTPUT_LIMIT`], or `read`
    /// fails. What was read until then has been read.
    pub fn run(
        &self,
        arguments: &[&str],
        limit: Limit<'_>,
        read: impl FnOnce(&mut Output<'_>) -> io::Result<()>,
    ) -> Result<(), Incomplete> {
        let name = self.name;
        let spawned = programs::command(&self.path).args(arguments).spawn();
        let mut child = spawned.map_err(|error| Incomplete(format!("{name}: {error}")))?;
        let failed = |error: &io::Error| Incomplete(format!("{name}: {error}"));
        let end = Output::of(&mut child, limit).and_then(|mut output| {
            let result = read(&mut output);
            output.drain()?;
            Ok((result, output.message))
        });
        match end {
            // That it failed explains why its output was not understood.
            Ok((result, message)) => finish(child, name, &message).and(result.map_err(|error| failed(&error))),
            Err(error) => {
                stop(&mut child);
                Err(failed(&error))
            }
        }
    }
}

/// Waits for a program that has closed its output.
fn finish(mut child: Child, name: &str, message: &[u8]) -> Result<(), Incomplete> {
    let end = Instant::now() + Duration::from_secs(1);
    let status = loop {
        match child.try_wait() {
            Ok(Some(status)) => break status,
            Ok(None) if Instant::now() < end => std::thread::sleep(Duration::from_millis(1)),
            _ => {
                stop(&mut child);
                return Err(Incomplete(format!("{name} has printed everything and does not end")));
            }
        }
    };
    if status.success() {
        return Ok(());
    }
    let message = String::from_utf8_lossy(message);
    let first = message.lines().find(|line| !line.trim().is_empty()).unwrap_or("no message");
    Err(Incomplete(format!("{name} failed ({status}): {}", printable(first.trim()))))
}

fn stop(child: &mut Child) {
    // It may have ended.
    let _ = child.kill();
    let _ = child.wait();
}

/// The standard output of a program, with the limits.
pub struct Output<'i> {
    stdout: ChildStdout,
    stderr: Option<ChildStderr>,
    message: Vec<u8>,
    limit: Limit<'i>,
    left: u64,
}

impl<'i> Output<'i> {
    fn of(child: &mut Child, limit: Limit<'i>) -> io::Result<Self> {
        let stdout = child.stdout.take().ok_or(io::ErrorKind::BrokenPipe)?;
        let stderr = child.stderr.take();
        Ok(Output { stdout, stderr, message: Vec::new(), limit, left: OUTPUT_LIMIT })
    }

    /// Reads to the end, so that the program does not wait for its reader.
    fn drain(&mut self) -> io::Result<()> {
        io::copy(self, &mut io::sink()).map(drop)?;
        // What it said at its end.
        while self.stderr.is_some() {
            self.wait(false)?;
        }
        Ok(())
    }

    /// Waits until standard output can be read (`true`); reads standard error meanwhile, which would block the
    /// program otherwise.
    fn wait(&mut self, for_stdout: bool) -> io::Result<bool> {
        // Not `Interrupted`, after which a read is tried again.
        if (self.limit.is_interrupted)() {
            return Err(io::Error::other("interrupted"));
        }
        let left = self.limit.end.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(io::Error::new(
                io::ErrorKind::TimedOut,
                format!("not at its end within {} s", TIME_LIMIT.as_secs()),
            ));
        }
        let timeout = PollTimeout::try_from(left.min(INTERVAL)).unwrap_or(PollTimeout::MAX);
        let streams = [for_stdout.then(|| self.stdout.as_fd()), self.stderr.as_ref().map(AsFd::as_fd)];
        let ready = ready(&streams, timeout)?;
        if ready.contains(&1) {
            self.read_message()?;
        }
        Ok(ready.contains(&0))
    }

    fn read_message(&mut self) -> io::Result<()> {
        let Some(stderr) = &mut self.stderr else { return Ok(()) };
        let mut bytes = [0; 4096];
        match stderr.read(&mut bytes)? {
            0 => self.stderr = None,
            length => {
                let space = MESSAGE_LIMIT.saturating_sub(self.message.len()).min(length);
                self.message.extend_from_slice(bytes.get(..space).unwrap_or_default());
            }
        }
        Ok(())
    }
}

/// The places of the streams that can be read.
fn ready(streams: &[Option<BorrowedFd<'_>>], timeout: PollTimeout) -> io::Result<Vec<usize>> {
    let places: Vec<_> = streams.iter().enumerate().filter_map(|(at, stream)| Some((at, (*stream)?))).collect();
    let mut polled: Vec<_> = places.iter().map(|(_, stream)| PollFd::new(*stream, PollFlags::POLLIN)).collect();
    match poll(&mut polled, timeout) {
        Ok(_) | Err(nix::errno::Errno::EINTR) => {}
        Err(errno) => return Err(errno.into()),
    }
    let is_ready = |polled: &PollFd<'_>| polled.revents().is_some_and(|events| !events.is_empty());
    Ok(places.iter().zip(&polled).filter(|(_, polled)| is_ready(polled)).map(|((at, _), _)| *at).collect())
}

impl Read for Output<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while !self.wait(true)? {}
        let length = self.stdout.read(buffer)?;
        let is_beyond = length as u64 > self.left;
        self.left = self.left.saturating_sub(length as u64);
        if is_beyond {
            let limit = OUTPUT_LIMIT / 1024 / 1024;
            return Err(io::Error::new(io::ErrorKind::FileTooLarge, format!("more than {limit} MiB of output")));
        }
        Ok(length)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::fs;
    use std::os::unix::fs::PermissionsExt;
    use std::path::Path;

    use super::*;

    /// An installed program with this text.
    fn script(folder: &Path, text: &str) -> Program {
        let path = folder.join("x");
        fs::write(&path, format!("#!/bin/sh\n{text}\n")).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
        Program { name: "x", path }
    }

    fn soon() -> Limit<'static> {
        Limit { end: Instant::now() + Duration::from_secs(20), is_interrupted: &|| false }
    }

    #[test]
    fn a_program_that_does_not_end_is_killed_at_the_end_of_its_time() {
        let folder = tempfile::tempdir().unwrap();
        let program = script(folder.path(), "echo begin; exec sleep 60");
        let (start, mut text) = (Instant::now(), String::new());
        let limit = Limit { end: start + Duration::from_millis(200), ..soon() };
        let result = program.run(&[], limit, |output| output.read_to_string(&mut text).map(drop));
        assert_eq!((result.unwrap_err().0.as_str(), text.as_str()), ("x: not at its end within 15 s", "begin\n"));
        assert!(start.elapsed() < Duration::from_secs(30));
    }

    #[test]
    fn a_program_is_killed_when_a_signal_came() {
        let folder = tempfile::tempdir().unwrap();
        let program = script(folder.path(), "exec sleep 60");
        let start = Instant::now();
        let limit = Limit { end: start + Duration::from_secs(3600), is_interrupted: &|| true };
        let result = program.run(&[], limit, |output| io::copy(output, &mut io::sink()).map(drop));
        assert_eq!(result.unwrap_err().0, "x: interrupted");
        assert!(start.elapsed() < Duration::from_secs(30));
    }

    fn output_of(program: &Program) -> (String, Result<(), String>) {
        let mut text = String::new();
        let result = program.run(&["-j", "list"], soon(), |output| output.read_to_string(&mut text).map(drop));
        (text, result.map_err(|Incomplete(why)| why))
    }

    #[test]
    fn a_program_has_its_arguments_and_no_environment() {
        let folder = tempfile::tempdir().unwrap();
        let program =
            script(folder.path(), "echo $# $1 $2; env | grep -v ^PATH | grep -vE '^(PWD|_|SHLVL|OLDPWD)='; pwd");
        assert_eq!(output_of(&program), ("2 -j list\n/\n".to_owned(), Ok(())));
    }

    #[test]
    fn a_program_that_fails_is_named_with_its_message_and_one_that_floods_stderr_does_not_hang() {
        let folder = tempfile::tempdir().unwrap();
        let program = script(folder.path(), "echo half; head -c 300000 /dev/zero >&2; exit 3");
        let (text, result) = output_of(&program);
        assert_eq!(text, "half\n");
        assert!(result.unwrap_err().starts_with("x failed (exit status: 3)"));
        let (_, result) = output_of(&script(folder.path(), "echo 'no \x1b[2J such' >&2; exit 1"));
        assert_eq!(result.unwrap_err(), "x failed (exit status: 1): no \u{fffd}[2J such");
    }

    #[test]
    fn output_beyond_the_limit_ends_the_program() {
        let folder = tempfile::tempdir().unwrap();
        let program = script(folder.path(), "exec cat /dev/zero");
        let result = program.run(&[], soon(), |output| io::copy(output, &mut io::sink()).map(drop));
        assert_eq!(result.unwrap_err().0, "x: more than 64 MiB of output");
    }
}
