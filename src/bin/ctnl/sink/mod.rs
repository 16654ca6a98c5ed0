//! The destinations of an event stream (`--to`), several at the same time.
//!
//! `spec` has the registry of sink kinds and parses `--to`. Each running sink (`state`) has a
//! `queue` in memory and, if its kind can be down, a `spool` on disk. A `worker` thread passes the
//! oldest item to the sink's implementation of `deliver`; a `spiller` thread moves what waits too
//! long to the disk. Only standard output and files of mode `block` apply backpressure.
//!
//! Each line is delivered at least once. A repeated line has the same stream name and number.
//!
//! Nothing here depends on conntrack: lines are bytes, and the caller formats the line that
//! reports a gap. Of the library only the clock is used.

mod address;
mod backoff;
mod compress;
pub mod deliver;
mod file;
mod journald;
mod keeping;
#[cfg(feature = "nats")]
pub mod nats;
mod open_file;
mod options;
mod queue;
mod remote;
mod rotation;
mod sent;
mod spec;
mod spiller;
mod spool;
mod state;
mod stdout;
mod syslog;
#[cfg(feature = "tls")]
mod tls;
mod worker;

#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::Duration;

use anyhow::{Context, Result};
use ctnl::clock::Clock;
use ctnl::units::Nanos;

use crate::chunk::{Chunk, Outlet};
use crate::term::exit::usage;

pub use compress::Compression;
pub use deliver::Deliver;
pub use options::{GapFormatter, LineTest, SinkOptions, SyncPolicy, SyslogHeader, TlsFiles};
pub use queue::{DropCause, Gap, Item};
pub use rotation::Rotation;
pub use spec::{Mode, SINK_KINDS, SinkSpec};
pub use spool::folder::sink_of;
pub use spool::survey::{Damage, Finding, is_spool, spools_below, survey};
pub use state::Statistics;
pub use syslog::{FACILITIES, SEVERITIES};

use spool::Spool;
use state::{Phase, Sink};
use worker::Worker;

/// The longest wait before the deadline of [`Sinks::finish`] is checked again.
const POLL: Duration = Duration::from_millis(100);

/// At the end, what a sink with a spool has not delivered within this time is spooled first.
const SPOOL_AFTER: Duration = Duration::from_secs(2);

/// What one sink did not deliver before the end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Undelivered {
    /// The sink's name.
    pub name: String,
    /// Lost lines.
    pub lost: u64,
    /// Bytes in the spool, for the next run.
    pub spooled: u64,
    /// Why, if that is known.
    pub why: Option<String>,
}

/// All sinks of a stream, as one outlet.
pub struct Sinks {
    clock: Clock,
    sinks: Vec<Arc<Sink>>,
    threads: Vec<JoinHandle<()>>,
}

impl Sinks {
    /// Starts the sinks of `specs`. A server that is down is not an error; a file that cannot be
    /// opened is one, and a spool that another process uses.
    pub fn open(specs: &[SinkSpec], options: &SinkOptions) -> Result<Self> {
        let mut sinks = Sinks { clock: options.clock.clone(), sinks: Vec::new(), threads: Vec::new() };
        for (index, spec) in specs.iter().enumerate() {
            if specs.iter().take(index).any(|other| other.name() == spec.name()) {
                return Err(usage(format!("--to {} is given twice", spec.name())));
            }
            let spool = match &options.spool {
                Some(folder) if spec.mode == Mode::Spool => Some(Spool::open(folder, &spec.name(), options.spool_max)?),
                _ => None,
            };
            let mut target = (spec.kind.open)(spec, options)?;
            let spool = sinks.keep(spool, &mut *target, options)?;
            sinks.start(spec, target, spool, options).context("start a thread")?;
        }
        sinks.warn_of_orphaned_spools(options);
        Ok(sinks)
    }

    /// Prepares to keep delivered lines, for a sink whose destination may lose what it has acknowledged.
    fn keep(&self, spool: Option<Spool>, target: &mut dyn Deliver, options: &SinkOptions) -> Result<Option<Spool>> {
        if !target.gives_receipts() {
            return Ok(spool);
        }
        let Some(spool) = spool else { return Ok(None) };
        let spool = spool.keeping(options.spool_keep, self.clock.now().monotonic).context("open the kept lines")?;
        if let Some(newest) = spool.newest_receipt() {
            target.keep(newest);
        }
        Ok(Some(spool))
    }

    /// The spool of a sink has its name: after a change of `--to`, also of a file's mode, nobody delivers
    /// what is left in it.
    fn warn_of_orphaned_spools(&self, options: &SinkOptions) {
        let spooling = self.sinks.iter().filter(|sink| sink.has_spool());
        let names: Vec<String> = spooling.map(|sink| sink.statistics().name).collect();
        let orphaned = options.spool.iter().flat_map(|parent| spool::folder::orphaned(parent, &names));
        let warnings = orphaned.map(|(folder, bytes)| {
            format!(
                "the spool {} has {bytes} bytes for a sink that --to does not name, or not with a spool: they are not \
                 delivered\n  hint: run \
                 it once with the --to of before, or remove the folder",
                folder.display()
            )
        });
        if let Some(sink) = self.sinks.first() {
            sink.state().warnings.extend(warnings);
        }
    }

    fn start(
        &mut self,
        spec: &SinkSpec,
        target: Box<dyn Deliver>,
        spool: Option<Spool>,
        options: &SinkOptions,
    ) -> Result<()> {
        let (now, backpressure) = (self.now(), spec.mode == Mode::Block);
        let sink = Arc::new(Sink::new(spec.name(), backpressure, options.queue_max, spool, now));
        let format_gap = Arc::clone(&options.format_gap);
        let worker =
            Worker { sink: Arc::clone(&sink), target, format_gap, clock: self.clock.clone(), keeping_failed: false };
        self.threads.push(thread::Builder::new().name("deliver".into()).spawn(move || worker.run())?);
        if sink.has_spool() {
            let sink = Arc::clone(&sink);
            self.threads.push(thread::Builder::new().name("spill".into()).spawn(move || spiller::run(&sink))?);
        }
        self.sinks.push(sink);
        Ok(())
    }

    fn now(&self) -> u64 {
        self.clock.now().realtime.0
    }

    /// The statistics of each sink.
    pub fn statistics(&self) -> Vec<Statistics> {
        self.sinks.iter().map(|sink| sink.statistics()).collect()
    }

    /// Returns and clears what the operator must know and was not reported yet, one message each.
    pub fn take_warnings(&self) -> Vec<String> {
        self.sinks.iter().flat_map(|sink| std::mem::take(&mut sink.state().warnings)).collect()
    }

    /// Whether all sinks are closed for good: the reader of standard output is gone, and there is
    /// no other sink.
    pub fn have_ended(&self) -> bool {
        !self.sinks.is_empty() && self.sinks.iter().all(|sink| sink.statistics().ended)
    }

    /// Begins to reopen files (SIGHUP).
    pub fn reopen(&self) {
        for sink in &self.sinks {
            sink.state().reopens_requested += 1;
            sink.notify();
        }
    }

    /// Whether all files have been reopened.
    pub fn are_reopened(&self) -> bool {
        self.sinks.iter().all(|sink| !sink.state().has_to_reopen())
    }

    /// Delivers what is queued, for `timeout` at most. What is not delivered by then is spooled or
    /// lost. What takes longer than two seconds is spooled before that.
    pub fn finish(&mut self, timeout: Duration) -> Vec<Undelivered> {
        let now = self.clock.now().monotonic;
        let deadline = now.plus(timeout.into());
        for sink in &self.sinks {
            sink.close();
        }
        let spooling = || self.sinks.iter().filter(|sink| sink.has_spool());
        spooling().for_each(|sink| self.drain(sink, now.plus(SPOOL_AFTER.min(timeout).into())));
        spooling()
            .filter(|sink| sink.state().phase != Phase::Done)
            .for_each(|sink| spiller::spool_before_the_end(sink));
        for sink in &self.sinks {
            self.drain(sink, deadline);
        }
        let undelivered = self.sinks.iter().filter_map(|sink| self.abandon(sink)).collect();
        for thread in self.threads.drain(..) {
            // A thread that hangs in a system call ends with the process.
            if thread.is_finished() {
                let _ = thread.join();
            }
        }
        undelivered
    }

    /// Waits until a sink has delivered everything. A sink that is down and has a spool is not
    /// waited for.
    fn drain(&self, sink: &Sink, deadline: Nanos) {
        let mut state = sink.state();
        while state.phase != Phase::Done && !(sink.has_spool() && state.statistics.down_since.is_some()) {
            let left = Duration::from_nanos(deadline.since(self.clock.now().monotonic).0);
            if left.is_zero() {
                return;
            }
            state = sink.wait(state, left.min(POLL)).0;
        }
    }

    fn abandon(&self, sink: &Sink) -> Option<Undelivered> {
        sink.set_phase(Phase::Abandoned);
        let lost = spiller::spool_undelivered(sink, self.now());
        let Statistics { name, spooled, why, .. } = sink.statistics();
        (lost > 0 || spooled > 0).then_some(Undelivered { name, lost, spooled, why })
    }
}

impl Outlet for Sinks {
    fn has_capacity(&self) -> bool {
        self.sinks.iter().all(|sink| sink.has_capacity())
    }

    fn put(&mut self, chunk: Arc<Chunk>) {
        let now = self.now();
        for sink in &self.sinks {
            sink.push(Arc::clone(&chunk), now);
        }
    }
}
