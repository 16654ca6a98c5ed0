//! Ctrl-C and SIGTERM end a run at a message boundary, so that it can still say
//! what it did.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use signal_hook::consts::{SIGINT, SIGTERM};

/// Whether the user wants it to end.
#[derive(Debug, Clone, Default)]
pub struct Interrupt {
    asked: Arc<AtomicBool>,
    signal: Arc<AtomicUsize>,
}

/// The signals, each with a number that is not 0 and its name.
const SIGNALS: [(i32, usize, &str); 2] = [(SIGINT, 1, "SIGINT"), (SIGTERM, 2, "SIGTERM")];

impl Interrupt {
    /// Listens for SIGINT and SIGTERM from now on. A second one ends the process
    /// at once.
    pub fn listen() -> io::Result<Self> {
        let interrupt = Interrupt::default();
        for (signal, place, _) in SIGNALS {
            signal_hook::flag::register_conditional_default(signal, Arc::clone(&interrupt.asked))?;
            signal_hook::flag::register_usize(signal, Arc::clone(&interrupt.signal), place)?;
            signal_hook::flag::register(signal, Arc::clone(&interrupt.asked))?;
        }
        Ok(interrupt)
    }

    /// Whether a signal has come.
    pub fn requested(&self) -> bool {
        self.asked.load(Ordering::Relaxed)
    }

    /// The name of the signal that has come.
    pub fn name(&self) -> Option<&'static str> {
        let place = self.signal.load(Ordering::Relaxed);
        let found = SIGNALS.iter().find(|(_, number, _)| *number == place);
        found.filter(|_| self.requested()).map(|(_, _, name)| *name)
    }

    /// Sleeps, and wakes up early when a signal comes. True when it slept to the end.
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
