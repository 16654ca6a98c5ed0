//! Floor 10: the places that an event stream goes to, several at once.
//!
//! `word` says which there are and reads `--to`. Before each of them stands a `place`: a
//! `queue` in memory and, for those that can be down, a `spool` on disk. A `worker` takes
//! what is oldest and gives it to `deliver`; a `spiller` moves what waits too long to the
//! disk. Nobody but the standard output and files ever holds the reader back.
//!
//! On the disk a spool is a `folder` of `segment`s, which are `frame`s behind each other, with a
//! note of its `position`.
//!
//! Each line arrives at least once. A line that arrives again has the stream and the number
//! it had the first time.

mod backoff;
mod deliver;
mod file;
mod folder;
mod frame;
mod journald;
mod local;
#[cfg(feature = "nats")]
pub mod nats;
mod place;
mod position;
mod queue;
mod recent;
mod remote;
mod rotation;
mod segment;
mod spiller;
mod spool;
mod stdout;
mod syslog;
mod unsent;
mod word;
mod worker;

#[cfg(test)]
mod tests;

use std::path::PathBuf;
use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};

use crate::chunk::{Chunk, Outlet};
use crate::term::exit::usage;

pub use deliver::{Deliver, Down};
pub use file::Synchronise;
pub use queue::Gap;
pub use rotation::Rotation;
pub use syslog::{FACILITIES, SEVERITIES, Syslog};
pub use word::{KINDS, Word};

use place::{Phase, Place};
use spool::Spool;
use worker::Worker;

/// What `CLOCK_REALTIME` shows, ns.
pub type Clock = Arc<dyn Fn() -> u64 + Send + Sync>;
/// The line that stands for lines that are missing, with its newline; empty in a format that
/// has none for it.
pub type GapLine = Arc<dyn Fn(&Gap) -> Vec<u8> + Send + Sync>;

/// What all places are made with.
#[derive(Clone)]
pub struct Options {
    /// Bytes that may wait in memory. All places get the same chunks: this is for all of them
    /// together.
    pub queue_max: usize,
    /// The folder for the spools. Without one, lines for a place that is down wait in memory.
    pub spool: Option<PathBuf>,
    /// Bytes that one place may spool.
    pub spool_max: u64,
    /// When files are rotated.
    pub rotation: Rotation,
    /// When files are synchronised to the disk.
    pub sync: Synchronise,
    /// What stands in the heads of syslog messages and journal entries.
    pub syslog: Syslog,
    /// The file by which it logs in to NATS.
    pub nats_credentials: Option<PathBuf>,
    /// The time.
    pub clock: Clock,
    /// How a gap is written.
    pub gap_line: GapLine,
    /// What a file, and a stream of lines over a connection, begins with: the names of the
    /// columns. It is no line of the stream and has no number.
    pub header: Arc<[u8]>,
}

/// How a place is doing.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Statistics {
    /// Its word, without a password.
    pub name: String,
    /// Bytes that wait in memory.
    pub queued: u64,
    /// Bytes that wait on disk.
    pub spooled: u64,
    /// Lines that were delivered, repeats counted, gap lines too.
    pub delivered: u64,
    /// Lines that were left out.
    pub dropped: u64,
    /// How often a part of the spool could not be read, as a crash or a bad disk leaves it.
    pub damaged: u64,
    /// Since when it takes no lines, ns.
    pub down_since: Option<u64>,
    /// Why it takes none.
    pub why: Option<String>,
    /// It never will take any again: standard output that was closed.
    pub ended: bool,
}

/// What one place did not get before the end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Undelivered {
    /// Its word, without a password.
    pub name: String,
    /// Lines that are lost.
    pub lost: u64,
    /// Bytes that the spool keeps for the next run.
    pub spooled: u64,
    /// Why, where that is known.
    pub why: Option<String>,
}

/// Several places, as one outlet.
pub struct Sinks {
    clock: Clock,
    places: Vec<Arc<Place>>,
    threads: Vec<JoinHandle<()>>,
}

impl Sinks {
    /// Opens the places of `words`. A server that is down is no error; a file that cannot be
    /// opened is one, and a spool that another process uses.
    pub fn open(words: &[Word], options: &Options) -> Result<Self> {
        let mut sinks = Sinks { clock: Arc::clone(&options.clock), places: Vec::new(), threads: Vec::new() };
        for (place, word) in words.iter().enumerate() {
            if words.iter().take(place).any(|other| other.name() == word.name()) {
                return Err(usage(format!("--to {} is given twice", word.name())));
            }
            let spool = match &options.spool {
                Some(folder) if !word.kind.holds => Some(Spool::open(folder, &word.name(), options.spool_max)?),
                _ => None,
            };
            let sink = (word.kind.make)(word, options)?;
            sinks.start(word, sink, spool, options).context("start a thread")?;
        }
        Ok(sinks)
    }

    fn start(&mut self, word: &Word, sink: Box<dyn Deliver>, spool: Option<Spool>, options: &Options) -> Result<()> {
        let spools = spool.is_some();
        let now = (options.clock)();
        let place = Arc::new(Place::new(word.name(), word.kind.holds, options.queue_max, spool, now));
        let (gap_line, clock) = (Arc::clone(&options.gap_line), Arc::clone(&options.clock));
        let worker = Worker { place: Arc::clone(&place), sink, gap_line, clock };
        self.threads.push(thread::Builder::new().name("deliver".into()).spawn(move || worker.run())?);
        if spools {
            let place = Arc::clone(&place);
            self.threads.push(thread::Builder::new().name("spill".into()).spawn(move || spiller::run(&place))?);
        }
        self.places.push(place);
        Ok(())
    }

    /// How each place is doing.
    pub fn statistics(&self) -> Vec<Statistics> {
        self.places.iter().map(|place| place.statistics()).collect()
    }

    /// Whether no place takes lines any more, nor ever will: the reader of standard output
    /// has had enough, and there is no other place.
    pub fn have_ended(&self) -> bool {
        !self.places.is_empty() && self.places.iter().all(|place| place.statistics().ended)
    }

    /// SIGHUP: files are opened anew.
    pub fn hangup(&self) {
        for place in &self.places {
            place.state().reopen = true;
            place.tell();
        }
    }

    /// Delivers what waits, until `deadline` at most. What could not be delivered then is in
    /// the spool or lost.
    pub fn finish(&mut self, deadline: Instant) -> Vec<Undelivered> {
        for place in &self.places {
            place.close();
        }
        for place in &self.places {
            wait_for(place, deadline);
        }
        let undelivered = self.places.iter().filter_map(|place| self.abandon(place)).collect();
        for thread in self.threads.drain(..) {
            // One that hangs in a system call is left to the end of the process.
            if thread.is_finished() {
                let _ = thread.join();
            }
        }
        undelivered
    }

    fn abandon(&self, place: &Place) -> Option<Undelivered> {
        place.enter(Phase::Abandoned);
        let lost = spiller::keep(place, (self.clock)());
        let Statistics { name, spooled, why, .. } = place.statistics();
        (lost > 0 || spooled > 0).then_some(Undelivered { name, lost, spooled, why })
    }
}

/// There is no use in waiting for a place that is down where a spool keeps its lines.
fn wait_for(place: &Place, deadline: Instant) {
    let mut state = place.state();
    while state.phase != Phase::Done && !(place.spool.is_some() && state.statistics.down_since.is_some()) {
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return;
        }
        state = place.wait(state, left.min(Duration::from_millis(100))).0;
    }
}

impl Outlet for Sinks {
    fn has_room(&self) -> bool {
        self.places.iter().all(|place| place.has_room())
    }

    fn put(&mut self, chunk: Arc<Chunk>) {
        let now = (self.clock)();
        for place in &self.places {
            place.put(Arc::clone(&chunk), now);
        }
    }
}
