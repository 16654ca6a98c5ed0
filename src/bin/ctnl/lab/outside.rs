//! The process that the user started: waits for the lab's process 1, passes signals on, and ends as
//! the command did.

use std::fs::File;
use std::io::{self, Read};
use std::os::fd::{AsFd, OwnedFd};
use std::process::Child;

use anyhow::{Context, Result};
use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::resource::{Resource, setrlimit};
use nix::sys::signal::{SigSet, Signal, kill, raise};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::{Pid, tcgetpgrp, tcsetpgrp};

use super::init::{Ended, Report};
use super::signals::{Received, Signals};
use crate::term::exit::Exit;

/// Waits for `init`, which reports over `status`. `writer` is the other end of that pipe, kept open so
/// that `init` can open it.
pub fn wait(init: Child, mut status: File, writer: OwnedFd) -> Result<Exit> {
    let terminal = Terminal::remember();
    let signals = Signals::block()?;
    let init = Pid::from_raw(i32::try_from(init.id()).context("the process ID of the lab")?);
    let mut report = Report::default();
    let code = loop {
        if let Some(code) = ended(init)? {
            break code;
        }
        wait_for(&signals, &status)?;
        read(&mut status, &mut report);
        while let Some(received) = signals.next() {
            pass_on(init, received, &report);
        }
    };
    drop(writer);
    read(&mut status, &mut report);
    signals.unblock();
    terminal.restore();
    match report.ended() {
        Some(Ended::Exit(code)) => Ok(Exit::Child(code)),
        Some(Ended::Signal(signal)) => Ok(end_by(signal)),
        None => Ok(code.map_or_else(end_by, Exit::Child)),
    }
}

/// Before the command runs, a signal ends the lab. After that it is the command's: what the terminal
/// sent has reached it already.
fn pass_on(init: Pid, received: Received, report: &Report) {
    let signal = match received {
        Received::Child => return,
        Received::Sent(signal) | Received::FromTerminal(signal) if !report.has_started() => {
            let _ = kill(init, Signal::SIGKILL);
            let _ = waitpid(init, None);
            _ = end_by(signal);
            return;
        }
        Received::Sent(signal) => signal,
        Received::FromTerminal(_) => return,
    };
    let _ = kill(init, signal);
}

/// How process 1 itself ended, once it has: its exit code, or the signal.
fn ended(init: Pid) -> Result<Option<Result<u8, Signal>>> {
    loop {
        return match waitpid(init, Some(WaitPidFlag::WNOHANG)) {
            Ok(WaitStatus::Exited(_, code)) => Ok(Some(Ok(u8::try_from(code).unwrap_or(u8::MAX)))),
            Ok(WaitStatus::Signaled(_, signal, _)) => Ok(Some(Err(signal))),
            Ok(_) => Ok(None),
            Err(Errno::EINTR) => continue,
            Err(errno) => Err(errno).context("wait for the lab"),
        };
    }
}

fn wait_for(signals: &Signals, status: &File) -> Result<()> {
    let descriptors = &mut [signals.as_fd(), status.as_fd()].map(|file| PollFd::new(file, PollFlags::POLLIN));
    match poll(descriptors, PollTimeout::NONE) {
        Ok(_) | Err(Errno::EINTR) => Ok(()),
        Err(errno) => Err(errno).context("wait for the lab"),
    }
}

/// Reads what is in the pipe, without waiting.
fn read(status: &mut File, report: &mut Report) {
    let mut bytes = [0; 16];
    loop {
        match status.read(&mut bytes) {
            Ok(length @ 1..) => report.push(bytes.get(..length).unwrap_or_default()),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Ok(0) | Err(_) => return,
        }
    }
}

/// Ends this process by `signal`, so that the caller sees what ended the command. Returns where the
/// signal is ignored, with a shell's exit code for it.
fn end_by(signal: Signal) -> Exit {
    // The command has dumped core already.
    let _ = setrlimit(Resource::RLIMIT_CORE, 0, 0);
    let _ = SigSet::all().thread_unblock();
    let _ = raise(signal);
    Exit::Child(u8::try_from(128 + signal as i32).unwrap_or(u8::MAX))
}

/// The terminal's foreground process group: a shell in the lab cannot restore it, since it cannot name
/// a group outside of its PID namespace.
struct Terminal(Option<Pid>);

impl Terminal {
    fn remember() -> Self {
        Terminal(tcgetpgrp(io::stdin()).ok())
    }

    fn restore(self) {
        let Some(group) = self.0.filter(|group| tcgetpgrp(io::stdin()).is_ok_and(|now| now != *group)) else { return };
        let stop = SigSet::from_iter([Signal::SIGTTOU]);
        if stop.thread_block().is_ok() {
            let _ = tcsetpgrp(io::stdin(), group);
            let _ = stop.thread_unblock();
        }
    }
}
