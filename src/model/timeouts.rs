//! The timeouts of one network namespace, as plain values.

use super::timer::{TIMERS, Timer};

/// How long the tracker waits, by [`Timer`], in one network namespace.
///
/// A timeout is absent where it could not be read, or where the kernel lacks it.
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
    /// What a namespace of a current kernel starts with.
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

    /// Seconds of `timer`.
    #[must_use]
    pub fn get(&self, timer: Timer) -> Option<u32> {
        self.seconds.get(timer as usize).copied().flatten()
    }

    /// Sets `timer` to `seconds`.
    pub fn set(&mut self, timer: Timer, seconds: u32) {
        if let Some(place) = self.seconds.get_mut(timer as usize) {
            *place = Some(seconds);
        }
    }

    /// The same with `timer` set to `seconds`.
    #[must_use]
    pub fn with(mut self, timer: Timer, seconds: u32) -> Self {
        self.set(timer, seconds);
        self
    }

    /// Every timeout that is known.
    pub fn iter(&self) -> impl Iterator<Item = (Timer, u32)> {
        TIMERS.iter().filter_map(|row| self.get(row.timer).map(|seconds| (row.timer, seconds)))
    }
}
