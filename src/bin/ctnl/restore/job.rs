//! The two passes of a restore.

use std::io::BufRead;
use std::time::Duration;

use anyhow::{Context, Result, anyhow};
use ctnl::clock::Clock;
use ctnl::model::Flow;
use ctnl::netlink::{Connection, Error};
use ctnl::snapshot::{SaveReader, SnapshotError};
use ctnl::table::{self, BATCH, Occupancy, Outcome};
use nix::errno::Errno;

use super::prepare::{NotCreated, Preparation};
use super::source::Source;
use super::summary::Summary;
use super::zone_map::{ZoneMap, ZoneMapping};
use crate::term::console::{Console, percent};
use crate::term::exit::usage;
use crate::term::hint;
use crate::term::interrupt::Interrupt;

/// What a restore does.
#[derive(Debug, Clone, Default)]
pub struct Options {
    /// Create nothing.
    pub dry_run: bool,
    /// Leave timeouts as they are in the file.
    pub no_age: bool,
    /// Restore the entries before the end of a file that is cut short.
    pub incomplete: bool,
    /// Zones to create entries in.
    pub zones: Vec<ZoneMapping>,
}

/// A restore of a file into a namespace.
#[derive(Debug)]
pub struct Restore<'a> {
    pub options: Options,
    pub source: Source,
    pub console: &'a mut Console,
    pub interrupt: &'a Interrupt,
    pub clock: Clock,
}

impl Restore<'_> {
    /// Checks the file, then creates its entries over `connection`.
    ///
    /// # Errors
    /// Nothing was created: the file is refused, or the table cannot be counted. What goes wrong later is in the
    /// summary.
    pub fn run(mut self, connection: &mut Connection) -> Result<Summary> {
        let started = self.clock.now().monotonic;
        let zones = ZoneMap::new(&self.options.zones)
            .map_err(|zone| usage(format!("--zone-map: zone {zone} is mapped to two zones")))?;
        let mut summary = Summary::new(&self.source.name, self.options.dry_run);
        self.check(&mut summary)?;
        if summary.interrupted {
            summary.unsent = summary.entries;
            return Ok(summary);
        }
        for zone in zones.sources().filter(|zone| !summary.zones.contains_key(zone)) {
            self.console.warn(&format!("--zone-map: the file has no entry in zone {zone}"));
        }
        let before = table::count(connection)?;
        let timeouts = table::timeouts(connection).unwrap_or_default();
        let ages = !self.options.no_age && summary.saved_at.is_some();
        summary.aged = ages;
        let preparation = Preparation { zones, ages, timeouts };
        let mut creating = Creating { connection, before, outcome: Outcome::default(), is_full: false };
        let ended = self.create(&preparation, &mut creating, &mut summary);
        let Creating { outcome, is_full, .. } = creating;
        add_outcome(&mut summary, &outcome);
        summary.table_full = is_full;
        if let Err(error) = ended {
            let kernel = error.downcast_ref::<Error>();
            kernel.and_then(hint::hint).into_iter().for_each(|hint| self.console.warn(&format!("hint: {hint}")));
            summary.error = Some(format!("{error:#}"));
        }
        let counted = summary.restored
            + summary.existing
            + summary.expired
            + summary.unanswered
            + summary.skipped.values().sum::<u64>()
            + summary.failed.values().sum::<u64>();
        summary.unsent = summary.entries.saturating_sub(counted);
        summary.set_table(before, table::count(connection).ok());
        summary.seconds = Duration::from(self.clock.now().monotonic.since(started)).as_secs_f64();
        Ok(summary)
    }

    /// Reads the whole file, unless a signal ends that. Nothing is created unless all of it is right.
    fn check(&mut self, summary: &mut Summary) -> Result<()> {
        let refused = |name: &str, entries: u64, error: SnapshotError| {
            let hint = match &error {
                SnapshotError::CutShort if entries > 0 => format!(
                    "\n  hint: --incomplete restores the {entries} entries before the cut, e.g. of a flush --save that was \
                     killed"
                ),
                _ => String::new(),
            };
            anyhow!("{name} is refused, nothing was restored: {}{hint}", describe(&error))
        };
        let name = self.source.name.clone();
        let mut reader = self.source.read().map_err(|error| refused(&name, 0, error))?;
        summary.format = reader.format().name();
        if let Some(head) = reader.head() {
            summary.saved_at = Some(head.time.0);
            (summary.saved_kernel, summary.saved_host) = (head.kernel.clone(), head.host.clone());
            summary.saved_filter.clone_from(&head.filter);
        }
        let mut flow = Flow::blank();
        loop {
            match reader.next_entry(&mut flow) {
                Ok(true) => {}
                Ok(false) => break,
                Err(SnapshotError::CutShort) if self.options.incomplete => {
                    summary.incomplete = true;
                    break;
                }
                Err(error) => return Err(refused(&name, reader.totals().entries, error)),
            }
            if reader.totals().entries.is_multiple_of(BATCH as u64) {
                let entries = reader.totals().entries;
                self.console.progress(|| format!("checking {name}: {entries} entries"));
                if self.interrupt.requested() {
                    summary.interrupted = true;
                    break;
                }
            }
        }
        summary.entries = reader.totals().entries;
        summary.zones.clone_from(&reader.totals().zones);
        Ok(())
    }

    /// Creates the entries that the check has counted.
    fn create(&mut self, preparation: &Preparation, creating: &mut Creating<'_>, summary: &mut Summary) -> Result<()> {
        let changed = "the file has changed since it was checked";
        let mut reader = self.source.read().context(changed)?;
        let mut batch: Vec<Flow> = Vec::with_capacity(BATCH);
        let (mut left, total) = (summary.entries, summary.entries);
        while left > 0 && !creating.is_full {
            let now = self.clock.now().realtime;
            batch.clear();
            while left > 0 && batch.len() < BATCH {
                let mut flow = Flow::blank();
                next(&mut reader, &mut flow).context(changed)?;
                left -= 1;
                match preparation.prepare(&mut flow, reader.time(), now) {
                    Ok(()) => {
                        summary.count_loss(&flow);
                        batch.push(flow);
                    }
                    Err(NotCreated::Expired) => summary.expired += 1,
                    Err(NotCreated::Incomplete) => *summary.skipped.entry("incomplete-tuple").or_default() += 1,
                }
            }
            if self.options.dry_run {
                summary.restored += batch.len() as u64;
            } else {
                creating.send(&batch)?;
            }
            let done = total - left;
            self.console.progress(|| format!("restoring: {done} entries, {}", percent(done, total)));
            if self.interrupt.requested() && left > 0 {
                summary.interrupted = true;
                break;
            }
        }
        Ok(())
    }
}

/// Reads the next entry, which is there.
fn next(reader: &mut SaveReader<impl BufRead>, flow: &mut Flow) -> Result<(), SnapshotError> {
    if reader.next_entry(flow)? { Ok(()) } else { Err(SnapshotError::CutShort) }
}

fn describe(error: &SnapshotError) -> String {
    match error {
        SnapshotError::Read(error) => format!("read: {error}"),
        error => error.to_string(),
    }
}

impl Summary {
    /// Counts what `flow` loses.
    fn count_loss(&mut self, flow: &Flow) {
        self.offloaded += u64::from(flow.is_offloaded());
        self.without_master += u64::from(flow.master.is_some());
        self.without_secctx += u64::from(flow.secctx.is_some());
    }
}

/// Sends entries, and stops before the table is full.
struct Creating<'c> {
    connection: &'c mut Connection,
    before: Occupancy,
    outcome: Outcome,
    is_full: bool,
}

impl Creating<'_> {
    /// Creates `flows`, or those for which there is room. In a table with more than `nf_conntrack_max` entries the
    /// kernel evicts one that is not ASSURED for each new one (`__nf_conntrack_alloc` in
    /// net/netfilter/nf_conntrack_core.c).
    fn send(&mut self, mut flows: &[Flow]) -> Result<(), Error> {
        while !flows.is_empty() {
            let room = self.room()?.min(flows.len());
            if room == 0 {
                self.is_full = true;
                return Ok(());
            }
            let (part, rest) = flows.split_at(room);
            table::create(self.connection, part, &mut self.outcome)?;
            flows = rest;
            if self.outcome.failed.contains_key(&(Errno::ENOMEM as i32)) {
                self.is_full = true;
                return Ok(());
            }
        }
        Ok(())
    }

    fn room(&mut self) -> Result<usize, Error> {
        let Some(max) = self.before.max.filter(|max| *max > 0) else { return Ok(usize::MAX) };
        let now = table::count(self.connection)?;
        Ok(now.max.unwrap_or(max).saturating_sub(now.entries) as usize)
    }
}

fn add_outcome(summary: &mut Summary, outcome: &Outcome) {
    summary.restored += outcome.done;
    summary.unanswered = outcome.unanswered;
    for (errno, count) in &outcome.failed {
        match Errno::from_raw(*errno) {
            Errno::EEXIST => summary.existing += count,
            errno => *summary.failed.entry(format!("{errno:?}")).or_default() += count,
        }
    }
    if outcome.gone > 0 {
        *summary.failed.entry(format!("{:?}", Errno::ENOENT)).or_default() += outcome.gone;
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicU32, Ordering};

    use ctnl::snapshot::{BinaryWriter, Head};
    use ctnl::units::Nanos;

    use super::*;
    use crate::fake;

    /// Restores `ports` entries into a table of `before` entries.
    fn restore(ports: u16, before: u32, max: u32) -> (Summary, u32) {
        let (folder, mut file) = (tempfile::tempdir().unwrap(), Vec::new());
        let mut writer = BinaryWriter::begin(&mut file, &Head::default());
        for port in 0..ports {
            let flow = Flow { timeout: Some(100), ..fake::flow(port) };
            writer.entry(&mut file, &flow, Nanos(1));
        }
        writer.end(&mut file);
        let path = folder.path().join("table");
        std::fs::write(&path, file).unwrap();
        let entries = Arc::new(AtomicU32::new(before));
        let mut kernel = fake::table_with_room(Arc::clone(&entries), max);
        let (mut console, interrupt) = (Console::new(true, false), Interrupt::default());
        let restore = Restore {
            options: Options { no_age: true, ..Options::default() },
            source: Source::open(path.to_str().unwrap(), folder.path()).unwrap(),
            console: &mut console,
            interrupt: &interrupt,
            clock: Clock::system(),
        };
        let summary = restore.run(&mut kernel).unwrap();
        (summary, entries.load(Ordering::Relaxed))
    }

    #[test]
    fn a_restore_fills_the_table_up_to_its_maximum_and_evicts_nothing() {
        let (summary, entries) = restore(1_000, 500, 1_250);
        assert_eq!((summary.restored, summary.unsent, summary.table_full, entries), (750, 250, true, 1_250));
        let (summary, entries) = restore(1_000, 250, 1_250);
        assert_eq!((summary.restored, summary.unsent, summary.table_full, entries), (1_000, 0, false, 1_250));
        let (summary, _) = restore(10, 1_250, 1_250);
        assert_eq!((summary.restored, summary.unsent, summary.table_full), (0, 10, true));
    }

    #[test]
    fn a_maximum_of_0_is_no_limit() {
        let (summary, entries) = restore(1_000, 500, 0);
        assert_eq!((summary.restored, summary.table_full, entries), (1_000, false, 1_500));
    }
}
