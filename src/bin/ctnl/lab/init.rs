//! Process 1 of the lab's PID namespace: starts the command, reaps every process that loses its
//! parent, passes signals on, and ends with the command. The kernel then kills whatever else runs in
//! the namespace (`zap_pid_ns_processes` in kernel/pid_namespace.c).

use std::io::Write;
use std::os::fd::AsFd;
use std::process::Command;

use anyhow::{Context, Result};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::{Signal, kill};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::Pid;

use super::signals::{Caught, Received, Signals};

/// How a command ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ended {
    /// With this code.
    Exit(u8),
    /// By this signal.
    Signal(Signal),
}

/// Starts `command` and waits for its end. Writes to `status`, the pipe to the parent, when signals are
/// the command's (see [`Report`]).
///
/// # Errors
/// The command cannot be started; the error has the [`std::io::Error`] of that.
pub fn run(command: &mut Command, status: &mut impl Write) -> Result<Ended> {
    let caught = Caught::register()?;
    let _ = status.write_all(&[STARTED]);
    let child = command.spawn()?;
    let child = Pid::from_raw(i32::try_from(child.id()).context("the process ID of the command")?);
    let signals = Signals::block()?;
    for signal in caught.signals() {
        let _ = kill(child, signal);
    }
    loop {
        if let Some(ended) = reap(child)? {
            return Ok(ended);
        }
        wait_for(&signals)?;
        while let Some(received) = signals.next() {
            if let Received::Sent(signal) = received {
                // The command may have ended just now.
                let _ = kill(child, signal);
            }
        }
    }
}

/// Reaps every process that has ended; how `child` did, once it has.
fn reap(child: Pid) -> Result<Option<Ended>> {
    loop {
        match waitpid(None, Some(WaitPidFlag::WNOHANG)) {
            Ok(WaitStatus::Exited(pid, code)) if pid == child => {
                return Ok(Some(Ended::Exit(u8::try_from(code).unwrap_or(u8::MAX))));
            }
            Ok(WaitStatus::Signaled(pid, signal, _)) if pid == child => return Ok(Some(Ended::Signal(signal))),
            Ok(WaitStatus::StillAlive) => return Ok(None),
            Ok(_) | Err(Errno::EINTR) => {}
            Err(errno) => return Err(errno).context("wait for the command"),
        }
    }
}

/// Waits until a signal is queued.
fn wait_for(signals: &Signals) -> Result<()> {
    match poll(&mut [PollFd::new(signals.as_fd(), PollFlags::POLLIN)], PollTimeout::NONE) {
        Ok(_) | Err(Errno::EINTR) => Ok(()),
        Err(errno) => Err(errno).context("wait for a signal"),
    }
}

/// The first byte on the status pipe: from now on signals are the command's.
const STARTED: u8 = 1;
/// Before an exit code.
const EXIT: u8 = 2;
/// Before the number of a signal.
const SIGNAL: u8 = 3;

/// What process 1 has written to its parent so far: an exit status of 8 bits cannot hold both a code
/// and a signal, and process 1 cannot end by a signal of its own.
#[derive(Debug, Default)]
pub struct Report(Vec<u8>);

impl Report {
    /// Adds bytes that were read from the pipe.
    pub fn push(&mut self, bytes: &[u8]) {
        self.0.extend_from_slice(bytes);
    }

    /// Whether signals are the command's.
    pub fn has_started(&self) -> bool {
        self.0.first() == Some(&STARTED)
    }

    /// How the command ended.
    pub fn ended(&self) -> Option<Ended> {
        match *self.0.get(1..3)? {
            [EXIT, code] => Some(Ended::Exit(code)),
            [SIGNAL, number] => Signal::try_from(i32::from(number)).ok().map(Ended::Signal),
            _ => None,
        }
    }
}

/// Reports the end of the command.
pub fn report(status: &mut impl Write, ended: Ended) {
    let bytes = match ended {
        Ended::Exit(code) => [EXIT, code],
        Ended::Signal(signal) => [SIGNAL, u8::try_from(signal as i32).unwrap_or(0)],
    };
    // A parent that is gone needs no report.
    let _ = status.write_all(&bytes);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_exit_code_is_told_from_a_signal() {
        for ended in [Ended::Exit(137), Ended::Signal(Signal::SIGKILL), Ended::Exit(0)] {
            let mut bytes = vec![STARTED];
            report(&mut bytes, ended);
            let mut read = Report::default();
            assert!(!read.has_started());
            read.push(&bytes);
            assert!(read.has_started());
            assert_eq!(read.ended(), Some(ended));
        }
    }
}
