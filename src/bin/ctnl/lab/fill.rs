//! From a population to a table, batch by batch.

use std::io::{IsTerminal, Write};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use ctnl::model::Flow;
use ctnl::netlink::Connection;
use ctnl::table::{self, BATCH, Outcome};
use nix::errno::Errno;

use super::population::Population;

/// Creates every entry of `population`. What could not be made is in the outcome;
/// it is an error when nothing could.
pub fn fill(connection: &mut Connection, population: &Population) -> Result<Outcome> {
    let mut outcome = Outcome::default();
    let mut progress = ProgressLine::new(population.count);
    let mut flows = population.flows();
    let mut batch: Vec<Flow> = Vec::with_capacity(BATCH);
    loop {
        batch.clear();
        batch.extend(flows.by_ref().take(BATCH));
        if batch.is_empty() {
            break;
        }
        table::create(connection, &batch, &mut outcome).context(CTNETLINK)?;
        progress.show(outcome.done);
    }
    progress.clear();
    match outcome.failed.first_key_value() {
        Some((errno, _)) if outcome.done == 0 => bail!("no entry could be made: {}", name(*errno)),
        _ => Ok(outcome),
    }
}

const CTNETLINK: &str = "cannot make entries (is ctnetlink there? 'modprobe nf_conntrack_netlink' as root)";

/// `3 with EEXIST, 2 with ENOMEM`.
pub fn failures(outcome: &Outcome) -> String {
    let parts: Vec<String> =
        outcome.failed.iter().map(|(errno, count)| format!("{count} with {}", name(*errno))).collect();
    parts.join(", ")
}

fn name(errno: i32) -> String {
    let errno = Errno::from_raw(errno);
    format!("{errno:?} ({})", errno.desc())
}

/// A line on the terminal for whatever takes longer than half a second.
struct ProgressLine {
    total: u64,
    next: Instant,
    visible: bool,
}

impl ProgressLine {
    fn new(total: u64) -> Self {
        ProgressLine { total, next: Instant::now() + Duration::from_millis(500), visible: false }
    }

    fn show(&mut self, done: u64) {
        let now = Instant::now();
        if now < self.next || !std::io::stderr().is_terminal() {
            return;
        }
        // A terminal that cannot be written to is no reason to stop.
        let _ = write!(std::io::stderr(), "\rctnl lab: {done} of {} entries", self.total);
        self.visible = true;
        self.next = now + Duration::from_millis(100);
    }

    fn clear(&mut self) {
        if self.visible {
            let _ = write!(std::io::stderr(), "\r\x1b[K");
        }
    }
}
