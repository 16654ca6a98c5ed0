//! Ctrl-C, SIGTERM and SIGHUP end a run at a message boundary, so that it can still print what it did.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};

use super::signal_actions::{FirstSignal, is_ignored};

/// Whether a signal has requested the end.
#[derive(Debug, Clone, Default)]
pub struct Interrupt {
    requested: Arc<AtomicBool>,
    signal: Arc<AtomicUsize>,
    first: FirstSignal,
}

/// The signals, each with a number that is not 0 and its name.
const SIGNALS: [(i32, usize, &str); 3] = [(SIGINT, 1, "SIGINT"), (SIGTERM, 2, "SIGTERM"), (SIGHUP, 3, "SIGHUP")];

impl Interrupt {
    /// Handles SIGINT, SIGTERM and SIGHUP from now on. Another SIGINT or SIGTERM, a second or more after the
    /// first one, ends the process at once; SIGHUP comes from the terminal and from the shell.
    ///
    /// # Errors
    /// What sigaction(2) may return.
    pub fn listen() -> io::Result<Self> {
        Self::listen_for(&SIGNALS)
    }

    /// Handles SIGINT and SIGTERM from now on; SIGHUP has another meaning.
    ///
    /// # Errors
    /// What sigaction(2) may return.
    pub fn listen_except_hangup() -> io::Result<Self> {
        Self::listen_for(SIGNALS.split_last().map_or(&[], |(_, others)| others))
    }

    fn listen_for(signals: &[(i32, usize, &str)]) -> io::Result<Self> {
        let interrupt = Interrupt::default();
        for (signal, number, _) in signals.iter().filter(|(signal, ..)| !is_ignored(*signal)) {
            if *signal != SIGHUP {
                interrupt.first.register(*signal)?;
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

    /// Set when a signal is received.
    #[cfg(feature = "top")]
    pub fn flag(&self) -> &AtomicBool {
        &self.requested
    }

    /// Forgets the signal that was received: it ended a part of the run, which goes on.
    #[cfg(feature = "top")]
    pub fn clear(&self) {
        self.requested.store(false, Ordering::Relaxed);
        self.signal.store(0, Ordering::Relaxed);
        self.first.clear();
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
