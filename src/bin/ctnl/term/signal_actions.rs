//! Signals that the parent ignores, and a second signal, which ends the process at once unless it comes in
//! the same moment as the first one: `timeout(1)` signals its child and then its group, and a shell and
//! its terminal both may.

#![allow(unsafe_code, reason = "a signal handler that reads the clock, and a query of sigaction(2)")]

use std::io;
use std::mem::MaybeUninit;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use ctnl::units::Nanos;
use nix::libc;
use nix::time::{ClockId, clock_gettime};
use signal_hook::low_level::{emulate_default_handler, register};

/// How long after the first signal another one is taken for the same request.
const SAME_REQUEST: Nanos = Nanos(1_000_000_000);

/// When the first signal was received, by `CLOCK_MONOTONIC`; 0 before that.
#[derive(Debug, Clone, Default)]
pub struct FirstSignal(Arc<AtomicU64>);

impl FirstSignal {
    /// Notes a signal that is received at `now`. Whether it is another request than the first one.
    fn is_repeated(&self, now: Nanos) -> bool {
        match self.0.compare_exchange(0, now.0.max(1), Ordering::SeqCst, Ordering::SeqCst) {
            Ok(_) => false,
            Err(first) => now.since(Nanos(first)) >= SAME_REQUEST,
        }
    }

    /// The next signal is the first one.
    #[cfg(any(test, feature = "top"))]
    pub fn clear(&self) {
        self.0.store(0, Ordering::SeqCst);
    }

    /// From now on, `signal` ends the process as if it were not handled where it is received a second or
    /// more after the first one.
    ///
    /// # Errors
    /// What sigaction(2) may return.
    pub fn register(&self, signal: i32) -> io::Result<()> {
        let first = self.clone();
        let action = move || {
            let is_repeated = clock_gettime(ClockId::CLOCK_MONOTONIC).is_ok_and(|now| {
                let seconds = u64::try_from(now.tv_sec()).unwrap_or(0);
                let rest = u64::try_from(now.tv_nsec()).unwrap_or(0);
                first.is_repeated(Nanos(seconds.saturating_mul(1_000_000_000).saturating_add(rest)))
            });
            if is_repeated {
                let _ = emulate_default_handler(signal);
            }
        };
        // SAFETY: the action only calls clock_gettime(2), which signal-safety(7) lists, atomic operations,
        // and signal-hook's own function for handlers; it neither allocates nor panics.
        unsafe { register(signal, action) }.map(|_| ())
    }
}

/// Whether the parent had set `signal` to ignored, as nohup(1) and `trap '' INT` do: it stays ignored.
pub fn is_ignored(signal: i32) -> bool {
    let mut action = MaybeUninit::<libc::sigaction>::zeroed();
    // SAFETY: with a null pointer for the new action sigaction(2) changes nothing, and it fills in all of
    // the old one where it returns 0.
    unsafe {
        libc::sigaction(signal, std::ptr::null(), action.as_mut_ptr()) == 0
            && action.assume_init().sa_sigaction == libc::SIG_IGN
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_signal_is_ignored_where_its_action_is_to_ignore_it() {
        // The Rust runtime ignores SIGPIPE. A shell ignores SIGINT for what it starts in the background.
        assert!(is_ignored(libc::SIGPIPE) && !is_ignored(libc::SIGUSR2));
        assert!(!is_ignored(-1));
    }

    #[test]
    fn two_signals_in_one_second_are_one_request_and_a_later_one_is_another() {
        let first = FirstSignal::default();
        let received = [5, 5, 1_000_000_004, 1_000_000_005, 2_000_000_000].map(|now| first.is_repeated(Nanos(now)));
        assert_eq!(received, [false, false, false, true, true]);
        first.clear();
        assert!(!first.is_repeated(Nanos(9_000_000_000)), "it is forgotten");
    }
}
