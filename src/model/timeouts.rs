//! The timeouts of one network namespace.

use super::timer::{TIMERS, Timer};

/// The timeouts of one network namespace, by [`Timer`]. One is absent where it could not be read or
/// the kernel does not have it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Timeouts {
    seconds: [Option<u32>; Timer::COUNT],
}

impl Default for Timeouts {
    fn default() -> Self {
        Timeouts { seconds: [None; Timer::COUNT] }
    }
}

impl Timeouts {
    /// The defaults of current kernels.
    #[must_use]
    pub fn kernel_defaults() -> Self {
        let mut timeouts = Timeouts::default();
        for row in &TIMERS {
            if let Some(seconds) = row.default {
                timeouts.set(row.timer, seconds);
            }
        }
        timeouts
    }

    /// The timeout in seconds.
    #[must_use]
    pub fn get(&self, timer: Timer) -> Option<u32> {
        self.seconds.get(timer as usize).copied().flatten()
    }

    /// Sets a timeout.
    pub fn set(&mut self, timer: Timer, seconds: u32) {
        if let Some(timeout) = self.seconds.get_mut(timer as usize) {
            *timeout = Some(seconds);
        }
    }

    /// These timeouts with `timer` set to `seconds`.
    #[must_use]
    pub fn with(mut self, timer: Timer, seconds: u32) -> Self {
        self.set(timer, seconds);
        self
    }

    /// Every timeout that is present.
    pub fn iter(&self) -> impl Iterator<Item = (Timer, u32)> {
        TIMERS.iter().filter_map(|row| self.get(row.timer).map(|seconds| (row.timer, seconds)))
    }
}
