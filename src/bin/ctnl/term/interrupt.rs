//! Ctrl-C, SIGTERM and SIGHUP end a run at a message boundary, so that it can still print what it did.

use std::fs;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use ctnl::host::Host;
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};

use super::second_signal::FirstSignal;

/// Whether a signal has requested the end.
#[derive(Debug, Clone, Default)]
pub struct Interrupt {
    requested: Arc<AtomicBool>,
    signal: Arc<AtomicUsize>,
}

/// The signals, each with a number that is not 0 and its name.
const SIGNALS: [(i32, usize, &str); 3] = [(SIGINT, 1, "SIGINT"), (SIGTERM, 2, "SIGTERM"), (SIGHUP, 3, "SIGHUP")];

impl Interrupt {
    /// Handles SIGINT, SIGTERM and SIGHUP from now on. Another SIGINT or SIGTERM, a second or more after the
    /// first one, ends the process at once; SIGHUP comes from the terminal and from the shell.
    ///
    /// # Errors
    /// What sigaction(2) may return.
    pub fn listen(host: &Host) -> io::Result<Self> {
        Self::listen_for(host, &SIGNALS)
    }

    /// Handles SIGINT and SIGTERM from now on; SIGHUP has another meaning.
    ///
    /// # Errors
    /// What sigaction(2) may return.
    pub fn listen_except_hangup(host: &Host) -> io::Result<Self> {
        Self::listen_for(host, SIGNALS.split_last().map_or(&[], |(_, others)| others))
    }

    fn listen_for(host: &Host, signals: &[(i32, usize, &str)]) -> io::Result<Self> {
        let (interrupt, first) = (Interrupt::default(), FirstSignal::default());
        let ignored = ignored_signals(host);
        for (signal, number, _) in signals.iter().filter(|(signal, ..)| !ignored.contains(*signal)) {
            if *signal != SIGHUP {
                first.register(*signal)?;
            }
            signal_hook::flag::register_usize(*signal, Arc::clone(&interrupt.signal), *number)?;
            signal_hook::flag::register(*signal, Arc::clone(&interrupt.requested))?;
        }
        Ok(interrupt)
    }

    /// Whether a signal was received.
    pub fn requested(&self) -> bool {
        self.requested.load(Ordering::Relaxed)
    }

    /// The name of the signal that was received.
    pub fn name(&self) -> Option<&'static str> {
        let received = self.signal.load(Ordering::Relaxed);
        let found = SIGNALS.iter().find(|(_, number, _)| *number == received);
        found.filter(|_| self.requested()).map(|(_, _, name)| *name)
    }

    /// Sleeps until `duration` is over, or a signal is received. True when it slept to the end.
    pub fn sleep(&self, duration: Duration, mut tick: impl FnMut(Duration)) -> bool {
        let end = Instant::now() + duration;
        while let Some(left) = end.checked_duration_since(Instant::now()).filter(|left| !left.is_zero()) {
            if self.requested() {
                return false;
            }
            tick(left);
            thread::sleep(left.min(Duration::from_millis(100)));
        }
        !self.requested()
    }
}

/// A set of signals.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SignalMask(u64);

impl SignalMask {
    /// Whether `signal` is in it.
    pub fn contains(self, signal: i32) -> bool {
        u32::try_from(signal - 1).ok().and_then(|bit| 1_u64.checked_shl(bit)).is_some_and(|bit| self.0 & bit != 0)
    }
}

/// The signals that the parent had set to ignored, as nohup(1) and `trap '' INT` do: they stay ignored.
/// None where `/proc` does not show them.
pub fn ignored_signals(host: &Host) -> SignalMask {
    let status = fs::read_to_string(host.proc().join("self/status")).unwrap_or_default();
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    SignalMask(mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok()).unwrap_or(0))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn the_signals_that_the_parent_ignores_are_read_from_proc() {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir_all(folder.path().join("proc/self")).unwrap();
        fs::write(folder.path().join("proc/self/status"), "Name:\tx\nSigIgn:\t0000000000000003\n").unwrap();
        let host = Host::at(folder.path(), ctnl::clock::Clock::system());
        let ignored = ignored_signals(&host);
        assert!(ignored.contains(SIGHUP) && ignored.contains(SIGINT) && !ignored.contains(SIGTERM));
    }
}
