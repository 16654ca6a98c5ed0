//! Progress of a walk, and its end at a signal.

use std::io;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::thread::{self, Builder};
use std::time::Duration;

use ctnl::clock::Clock;
use ctnl::host::Host;
use ctnl::sysctl::Sysctl;

use crate::host::buckets::Buckets;
use crate::term::console::{Console, percent};
use crate::term::interrupt::Interrupt;

/// The usual 2 MiB of stack may become one huge page: 2 MiB more of memory.
const STACK: usize = 512 * 1024;

/// Time between two readings of a progress that another thread makes.
const TICK: Duration = Duration::from_millis(100);

/// The terminal and the signals of a command that walks the table.
#[derive(Debug)]
pub struct Watch<'a> {
    /// Where progress is shown.
    pub console: &'a mut Console,
    /// Ends the walk.
    pub interrupt: &'a Interrupt,
    /// Stamps the datagrams.
    pub clock: Clock,
    /// Entries of the table, for progress; 0 where that is unknown.
    pub expected: u64,
    netfilter: Sysctl,
    buckets: Buckets,
}

impl<'a> Watch<'a> {
    /// A watch over a table of about `expected` entries, from now on.
    pub fn new(console: &'a mut Console, interrupt: &'a Interrupt, host: &Host, expected: u64) -> Self {
        let netfilter = host.netfilter();
        let buckets = Buckets::read(&netfilter);
        if buckets.are_unknown() {
            console.detail("nf_conntrack_buckets cannot be read: a resize of the hash table is not detected");
        }
        Watch { console, interrupt, clock: host.clock.clone(), expected, netfilter, buckets }
    }

    /// Whether the hash table was resized since. Entries may be missing then, which is printed.
    pub fn warn_if_resized(&mut self) -> bool {
        let is_resized = self.buckets.resized_since(&self.netfilter);
        if is_resized {
            self.console.warn(
                "the kernel's hash table was resized during the dump (nf_conntrack_buckets): entries may be missing\n  \
                 hint: run it again",
            );
        }
        is_resized
    }

    /// Shows progress. False once a signal has requested the end.
    pub fn go_on(&mut self, what: &str, seen: u64) -> bool {
        self.show(what, seen);
        !self.interrupt.requested()
    }

    /// Runs `work` on a thread of its own and shows here how far `seen` has come: a terminal that
    /// blocks (Ctrl-S) does not block the work.
    ///
    /// # Errors
    /// The system has no thread left; `work` was not run.
    pub fn show_during<T: Send>(
        &mut self,
        what: &str,
        seen: &AtomicU64,
        work: impl FnOnce() -> T + Send,
    ) -> io::Result<T> {
        let (running, ended) = channel::<()>();
        thread::scope(|scope| {
            let worker = Builder::new().name(what.to_owned()).stack_size(STACK).spawn_scoped(scope, move || {
                // Dropped at the end, also of a panic.
                let _running = running;
                work()
            })?;
            while ended.recv_timeout(TICK) == Err(RecvTimeoutError::Timeout) {
                self.show(what, seen.load(Ordering::Relaxed));
            }
            Ok(worker.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)))
        })
    }

    fn show(&mut self, what: &str, seen: u64) {
        let expected = self.expected.max(seen);
        self.console.progress(|| format!("{what}: {seen} entries, {}", percent(seen, expected)));
    }
}
