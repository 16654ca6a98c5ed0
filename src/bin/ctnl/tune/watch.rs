//! The process that rolls an operation back unless it is confirmed in time.
//!
//! It has a session of its own, so that neither SIGHUP of a terminal that was closed nor the end of the shell reaches it,
//! and it is started before the first change. Its standard input is a pipe that the process holds open which applies the
//! changes: where that one is killed in the middle, the end of the pipe is seen and everything is rolled back at once.

use std::io::{BufRead, BufReader, Write};
use std::os::fd::AsFd;
use std::path::Path;
use std::process::{ChildStdin, Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use ctnl::clock::Clock;
use ctnl::units::Nanos;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::unistd::{chdir, setsid};

use super::record::State;

/// The line by which it reports that it has begun to watch.
const READY: &str = "watching";
/// Time between two readings of the log.
const INTERVAL: Duration = Duration::from_millis(200);

/// Why the wait ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WaitEnd {
    /// It was confirmed or rolled back by somebody else.
    Settled,
    /// Its time is over.
    TimeOver,
    /// The process that applied the changes ended in the middle.
    Abandoned,
    /// A signal requested the end.
    Signal(&'static str),
}

/// What is known of the operation.
#[derive(Debug, Clone, Copy)]
pub struct Seen {
    /// Its state; `None` where the log cannot be read.
    pub state: Option<State>,
    /// Whether the process that applies the changes runs.
    pub is_applier_alive: bool,
    /// A signal that came.
    pub signal: Option<&'static str>,
}

/// Waits until the operation is settled, or until `deadline` of `CLOCK_MONOTONIC`.
pub fn wait(
    clock: &Clock,
    deadline: Nanos,
    mut look: impl FnMut() -> Seen,
    mut sleep: impl FnMut(Duration),
) -> WaitEnd {
    loop {
        let seen = look();
        match seen.state {
            Some(State::Waiting) | None => {}
            Some(State::Unfinished) if seen.is_applier_alive => {}
            Some(State::Unfinished) => return WaitEnd::Abandoned,
            Some(_) => return WaitEnd::Settled,
        }
        if let Some(signal) = seen.signal {
            return WaitEnd::Signal(signal);
        }
        let now = clock.now().monotonic;
        if now >= deadline {
            return WaitEnd::TimeOver;
        }
        sleep(INTERVAL.min(deadline.since(now).into()));
    }
}

/// The process that watches, as the one that applies has it. To be kept until the changes are applied.
#[derive(Debug)]
pub struct Watch {
    _alive: ChildStdin,
}

/// Starts it: `arguments` are those of its command.
///
/// # Errors
/// It cannot be started, or ends before it watches.
pub fn start(program: &Path, arguments: &[String]) -> Result<Watch> {
    let mut command = Command::new(program);
    command.args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
    let what = "start the process that rolls back unless it is confirmed";
    let mut child = command.spawn().with_context(|| format!("{what}: run {}", program.display()))?;
    let (Some(stdin), Some(stdout)) = (child.stdin.take(), child.stdout.take()) else { bail!("{what}: no pipe") };
    let mut line = String::new();
    BufReader::new(stdout).read_line(&mut line).context(what)?;
    if line.trim() != READY {
        let status = child.wait().map_or_else(|error| error.to_string(), |status| status.to_string());
        bail!("{what}: it ended at once ({status})");
    }
    Ok(Watch { _alive: stdin })
}

/// Makes this process one that watches: a session of its own, without a folder that it would keep busy.
///
/// # Errors
/// What setsid(2) and chdir(2) may return.
pub fn detach() -> Result<()> {
    setsid().context("begin a session")?;
    chdir("/").context("change to /")?;
    Ok(())
}

/// Reports that it watches from now on.
///
/// # Errors
/// The process that started it is gone.
pub fn report_ready() -> Result<()> {
    let mut stdout = std::io::stdout().lock();
    writeln!(stdout, "{READY}").and_then(|()| stdout.flush()).context("report that it watches")
}

/// Whether the process that started this one has not closed the pipe, as its end does.
pub fn is_applier_alive() -> bool {
    let stdin = std::io::stdin();
    let mut descriptors = [PollFd::new(stdin.as_fd(), PollFlags::POLLIN)];
    match poll(&mut descriptors, PollTimeout::ZERO) {
        Ok(0) | Err(_) => true,
        Ok(_) => false,
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicU64, Ordering};

    use ctnl::clock::Time;

    use super::*;

    /// Waits for ten seconds of a made-up clock in which `look` sees the operation at each second, and returns the end and
    /// the second.
    fn wait_for_ten(look: impl Fn(u64) -> Seen) -> (WaitEnd, u64) {
        let now = Arc::new(AtomicU64::new(0));
        let shown = Arc::clone(&now);
        let read = move || Time { monotonic: Nanos(shown.load(Ordering::Relaxed)), ..Time::default() };
        let seconds = || now.load(Ordering::Relaxed) / Nanos::PER_SECOND;
        let slept = Cell::new(Duration::ZERO);
        let end = wait(
            &Clock::from_fn(read),
            Nanos(10 * Nanos::PER_SECOND),
            || look(seconds()),
            |time| {
                slept.set(slept.get() + time);
                now.fetch_add(Nanos::from(time).0, Ordering::Relaxed);
            },
        );
        (end, seconds())
    }

    fn seen(state: State) -> Seen {
        Seen { state: Some(state), is_applier_alive: true, signal: None }
    }

    #[test]
    fn it_waits_to_the_end_of_the_time_and_not_longer() {
        assert_eq!(wait_for_ten(|_| seen(State::Waiting)), (WaitEnd::TimeOver, 10));
        // A log that cannot be read is no confirmation.
        assert_eq!(wait_for_ten(|_| Seen { state: None, ..seen(State::Waiting) }), (WaitEnd::TimeOver, 10));
    }

    #[test]
    fn a_confirmation_or_a_rollback_by_somebody_else_ends_the_wait() {
        for state in [State::Confirmed, State::RolledBack, State::PartlyRolledBack, State::Reverted] {
            let end = wait_for_ten(|second| if second < 4 { seen(State::Waiting) } else { seen(state) });
            assert_eq!(end, (WaitEnd::Settled, 4));
        }
    }

    #[test]
    fn the_end_of_the_process_that_applies_counts_until_it_has_applied() {
        let gone = |state| Seen { is_applier_alive: false, ..seen(state) };
        assert_eq!(wait_for_ten(|_| gone(State::Unfinished)), (WaitEnd::Abandoned, 0));
        assert_eq!(wait_for_ten(|_| gone(State::Waiting)), (WaitEnd::TimeOver, 10));
    }

    #[test]
    fn a_signal_ends_the_wait() {
        let signal = |second| Seen { signal: (second > 2).then_some("SIGTERM"), ..seen(State::Waiting) };
        assert_eq!(wait_for_ten(signal), (WaitEnd::Signal("SIGTERM"), 3));
    }
}
