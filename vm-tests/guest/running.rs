//! Runs one case in a new process, until it exits or exceeds its limit.

use std::fs::{self, File};
use std::io;
use std::os::unix::process::CommandExt;
use std::process::{Command, ExitStatus};
use std::thread;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;
use vm_tests::cases::Case;
use vm_tests::report::{Outcome, REBOOT, Report};

/// The maximum of a case's output that is reported, in bytes: a serial port is slow.
const MAX_OUTPUT: usize = 24 * 1024;
const POLL_INTERVAL: Duration = Duration::from_millis(20);

/// Runs `case` and reports how it ended.
pub fn run(case: &Case, path: &str) -> Report {
    let began = Instant::now();
    let log = format!("/tmp/{}", case.name);
    let ended = run_to_end(case, path, &log);
    let seconds = began.elapsed().as_secs_f64();
    let written = String::from_utf8_lossy(&fs::read(&log).unwrap_or_default()).into_owned();
    let _ = fs::remove_file(&log);
    if matches!(&ended, Ok(Some(status)) if status.code() == Some(REBOOT.into())) {
        return Report::Rebooting { case: case.name.to_owned() };
    }
    let (outcome, output) = match ended {
        Ok(Some(status)) if status.success() => (Outcome::Passed, summary(&written)),
        Ok(Some(status)) => (Outcome::Failed, format!("{status}\n{}", tail_of(&written))),
        Ok(None) => (Outcome::Failed, format!("not done after {seconds:.0} s\n{}", tail_of(&written))),
        Err(error) => (Outcome::Failed, format!("cannot be run: {error}")),
    };
    Report::Ended { case: case.name.to_owned(), outcome, seconds, output }
}

/// `None` if it exceeded its limit and was killed.
fn run_to_end(case: &Case, path: &str, log: &str) -> io::Result<Option<ExitStatus>> {
    let out = File::create(log)?;
    let mut command = Command::new("/init");
    command.arg(case.name).env_clear().env("PATH", path).env("RUST_BACKTRACE", "0").process_group(0);
    let mut child = command.stdout(out.try_clone()?).stderr(out).spawn()?;
    let began = Instant::now();
    let ended = loop {
        if let Some(status) = child.try_wait()? {
            break Some(status);
        }
        if began.elapsed() > case.limit {
            break None;
        }
        thread::sleep(POLL_INTERVAL);
    };
    // Also the processes that a finished case has left.
    let _ = killpg(Pid::from_raw(i32::try_from(child.id()).unwrap_or(0)), Signal::SIGKILL);
    child.wait()?;
    Ok(ended)
}

/// The summary of a passed case: its notes, or the number of its tests.
fn summary(written: &str) -> String {
    let notes: Vec<&str> = written.lines().filter_map(|line| line.split_once("note: ").map(|(_, note)| note)).collect();
    let counted = || written.lines().filter(|line| line.starts_with("test result: ")).collect::<Vec<_>>().join(" ");
    if notes.is_empty() { counted() } else { notes.join("; ") }
}

fn tail_of(text: &str) -> &str {
    let start = (text.len().saturating_sub(MAX_OUTPUT)..text.len()).find(|at| text.is_char_boundary(*at));
    &text[start.unwrap_or(0)..]
}
