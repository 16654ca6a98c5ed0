//! Signals as a queue, for the two processes that wait for a command: the one that the user started,
//! and process 1 of the lab.

use std::os::fd::{AsFd, BorrowedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::{Context, Result};
use nix::sys::signal::{SigSet, Signal};
use nix::sys::signalfd::{SfdFlags, SignalFd};

use crate::term::signal_actions::is_ignored;

/// The signals that are passed on to the command.
const PASSED_ON: [Signal; 6] =
    [Signal::SIGHUP, Signal::SIGINT, Signal::SIGQUIT, Signal::SIGTERM, Signal::SIGUSR1, Signal::SIGUSR2];

/// A signal that was received.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Received {
    /// A child changed its state.
    Child,
    /// A process sent it to this process.
    Sent(Signal),
    /// The kernel sent it to the whole foreground process group, the command included: Ctrl-C.
    FromTerminal(Signal),
}

/// The signals of this process from now on.
#[derive(Debug)]
pub struct Signals {
    queue: SignalFd,
    blocked: SigSet,
}

/// Signals that come while a command is being started. A block would be inherited by it, handlers are
/// not.
#[derive(Debug)]
pub struct Caught(Vec<(Signal, Arc<AtomicBool>)>);

impl Caught {
    /// Records what is to be passed on, from now on.
    pub fn register() -> Result<Self> {
        let record = |signal: Signal| {
            let caught = Arc::new(AtomicBool::new(false));
            signal_hook::flag::register(signal as i32, Arc::clone(&caught))?;
            Ok::<_, std::io::Error>((signal, caught))
        };
        passed_on().map(record).collect::<Result<_, _>>().map(Caught).context("handle signals")
    }

    /// Those that came.
    pub fn signals(&self) -> impl Iterator<Item = Signal> {
        self.0.iter().filter(|(_, caught)| caught.load(Ordering::Relaxed)).map(|(signal, _)| *signal)
    }
}

impl Signals {
    /// Blocks and queues SIGCHLD and what is to be passed on, but for what the parent had set to
    /// ignored. A child inherits the block: it is to be started before.
    pub fn block() -> Result<Self> {
        let blocked: SigSet = passed_on().chain([Signal::SIGCHLD]).collect();
        // Where the parent had SIGCHLD set to ignored, the kernel would reap the children itself.
        signal_hook::flag::register(signal_hook::consts::SIGCHLD, Arc::default()).context("handle SIGCHLD")?;
        blocked.thread_block().context("block signals")?;
        let flags = SfdFlags::SFD_CLOEXEC | SfdFlags::SFD_NONBLOCK;
        Ok(Signals { queue: SignalFd::with_flags(&blocked, flags).context("queue signals")?, blocked })
    }

    /// The next one that is queued, without waiting.
    pub fn next(&self) -> Option<Received> {
        let info = self.queue.read_signal().ok().flatten()?;
        let signal = i32::try_from(info.ssi_signo).ok().and_then(|number| Signal::try_from(number).ok())?;
        Some(match signal {
            Signal::SIGCHLD => Received::Child,
            // SI_USER, SI_QUEUE and SI_TKILL are not positive, SI_KERNEL is.
            signal if info.ssi_code <= 0 => Received::Sent(signal),
            signal => Received::FromTerminal(signal),
        })
    }

    /// Lets signals have their usual effect again.
    pub fn unblock(self) {
        let _ = self.blocked.thread_unblock();
    }
}

impl AsFd for Signals {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.queue.as_fd()
    }
}

/// The signals to pass on, but for what the parent had set to ignored: that stays ignored.
fn passed_on() -> impl Iterator<Item = Signal> {
    PASSED_ON.into_iter().filter(|signal| !is_ignored(*signal as i32))
}
