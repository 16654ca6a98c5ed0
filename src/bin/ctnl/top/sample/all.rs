//! The tables of all network namespaces of the host (`--all-netns`).

use std::collections::BTreeSet;
use std::time::Duration;

use anyhow::{Context as _, Result, anyhow, bail};
use ctnl::host::Host;
use ctnl::units::Nanos;

use super::super::model::{FrameNetns, NetnsFigures};
use super::events::{BUFFER, NewEntries};
use super::queues::{Candidate, Queue, queues};
use super::table::{Context, Counting, Table, TableFigures};
use crate::host::namespaces::{Namespace, Namespaces, POLL_INTERVAL, has_vanished};

/// Bytes of the queue of the others, which the kernel doubles: 409 events.
const SMALL_BUFFER: usize = 256 << 10;
/// Errors of a frame that are kept as text.
const MOST_ERRORS: usize = 8;

/// The tables, in the order in which their namespaces were found.
#[derive(Debug)]
pub struct AllTables {
    namespaces: Namespaces,
    tables: Vec<Kept>,
    with_events: bool,
    last_id: u32,
    /// When the namespaces were looked for last.
    found_at: Nanos,
    /// Namespaces that had vanished when they were to be opened. A process of short life is not worth a message.
    vanished: BTreeSet<u64>,
    errors: Errors,
    /// Namespaces whose events cannot be subscribed to: new entries of these are lower bounds, and nothing else is missing.
    no_events: Errors,
}

/// A table, and the inode number of its namespace.
#[derive(Debug)]
struct Kept {
    inode: u64,
    table: Table,
    has_large_queue: bool,
    /// Its sockets could not be opened.
    was_refused: bool,
}

/// What could not be read.
#[derive(Debug, Default)]
struct Errors {
    texts: Vec<String>,
    more: u64,
}

impl Errors {
    fn add(&mut self, text: String) {
        if self.texts.len() < MOST_ERRORS {
            self.texts.push(ctnl::text::printable(&text).into_owned());
        } else {
            self.more += 1;
        }
    }
}

impl AllTables {
    /// The tables of `host`, of which none was found yet.
    pub fn new(host: &Host, with_events: bool) -> Self {
        let (namespaces, tables) = (Namespaces::new(host.proc()), Vec::new());
        let (vanished, errors, no_events) = (BTreeSet::new(), Errors::default(), Errors::default());
        AllTables { namespaces, tables, with_events, last_id: 0, found_at: Nanos(0), vanished, errors, no_events }
    }

    /// The tables.
    pub fn tables_mut(&mut self) -> impl Iterator<Item = &mut Table> {
        self.tables.iter_mut().map(|kept| &mut kept.table)
    }

    /// Samples all tables, or the one of the namespace `only`. `None` where the end was requested meanwhile.
    ///
    /// # Errors
    /// The namespaces cannot be found; none can be read.
    pub fn sample(
        &mut self,
        only: Option<&FrameNetns>,
        counting: &mut Counting<'_>,
        context: Context<'_>,
    ) -> Result<Option<(Vec<TableFigures>, NetnsFigures)>> {
        self.find(counting.new, context)?;
        if counting.is_stopped() {
            return Ok(None);
        }
        self.keep_largest(only);
        let mut figures = Vec::new();
        let is_wanted = |kept: &&mut Kept| only.is_none_or(|only| only.id == kept.table.id());
        for Kept { table, .. } in self.tables.iter_mut().filter(is_wanted) {
            // Of an empty table there is no dump that would be ended.
            if counting.is_stopped() {
                return Ok(None);
            }
            match table.sample(counting, context) {
                Ok(Some(sampled)) => figures.push(sampled),
                Ok(None) => return Ok(None),
                Err(error) => {
                    // Its sockets are opened again.
                    table.reset();
                    counting.new.set_incomplete(table.id());
                    self.errors.add(format!("{}: {error:#}", name(table)));
                }
            }
        }
        if figures.is_empty() {
            return Err(self.why_none(only));
        }
        let netns = self.figures(&figures, only.is_some());
        Ok(Some((figures, netns)))
    }

    fn why_none(&self, only: Option<&FrameNetns>) -> anyhow::Error {
        match (self.errors.texts.first(), only) {
            (Some(error), _) => anyhow!("{error}"),
            (None, Some(only)) => {
                anyhow!("the network namespace {} has vanished: Esc goes back to the others", only.name)
            }
            (None, None) => anyhow!("no network namespace can be read"),
        }
    }

    fn figures(&mut self, figures: &[TableFigures], is_one: bool) -> NetnsFigures {
        let fullest = figures.iter().rev().max_by(|a, b| fullness(a).total_cmp(&fullness(b)));
        let (errors, no_events) = (std::mem::take(&mut self.errors), std::mem::take(&mut self.no_events));
        NetnsFigures {
            only: fullest.and_then(|fullest| fullest.netns.clone()).filter(|_| is_one),
            read: figures.len() as u64,
            missing: errors.texts,
            more_missing: errors.more,
            no_events: no_events.texts,
            more_no_events: no_events.more,
            fullest: fullest.and_then(|figures| Some(figures.netns.as_ref()?.name.clone())).unwrap_or_default(),
            fullest_entries: fullest.map_or(0, |figures| figures.occupancy.entries.into()),
        }
    }

    /// Finds the namespaces that exist now, unless that was done a short while ago. To be called between two samples: a
    /// namespace that was deleted is there as long as its table is.
    ///
    /// # Errors
    /// The namespaces cannot be found.
    pub fn find_again(&mut self, new: &mut NewEntries, context: Context<'_>) -> Result<()> {
        let age = context.host.clock.now().monotonic.since(self.found_at);
        if Duration::from(age) >= POLL_INTERVAL { self.find(new, context) } else { Ok(()) }
    }

    fn find(&mut self, new: &mut NewEntries, context: Context<'_>) -> Result<()> {
        (self.errors, self.found_at) = (Errors::default(), context.host.clock.now().monotonic);
        let changes = self.namespaces.refresh().context("find the network namespaces")?;
        for vanished in &changes.vanished {
            // What began in it is missing.
            let gone = self.tables.iter().filter(|kept| kept.inode == vanished.inode);
            gone.for_each(|kept| new.set_incomplete(kept.table.id()));
            self.tables.retain(|kept| kept.inode != vanished.inode);
        }
        for (_, namespace) in &changes.renamed {
            if let Some(kept) = self.tables.iter_mut().find(|kept| kept.inode == namespace.inode) {
                let netns = frame_netns(namespace, kept.table.id());
                kept.table.rename(netns);
            }
        }
        let earlier = std::mem::take(&mut self.vanished);
        for namespace in &changes.appeared {
            if let Err(error) = self.add(namespace) {
                self.namespaces.forget(namespace.inode);
                let is_gone = has_vanished(&error);
                if is_gone {
                    self.vanished.insert(namespace.inode);
                }
                // One that the next scan finds again exists.
                if !is_gone || earlier.contains(&namespace.inode) {
                    self.errors.add(format!("{}: {error:#}", namespace.name));
                }
            }
        }
        let unreadable = self.namespaces.unreadable();
        if unreadable > 0 {
            self.errors.add(format!("the namespaces of {unreadable} processes (needs CAP_SYS_PTRACE)"));
        }
        Ok(())
    }

    fn add(&mut self, namespace: &Namespace) -> Result<()> {
        let Some(id) = self.last_id.checked_add(1) else { bail!("too many namespaces") };
        let table = Table::of_netns(frame_netns(namespace, id), namespace.open()?)?;
        self.last_id = id;
        self.tables.push(Kept { inode: namespace.inode, table, has_large_queue: false, was_refused: false });
        Ok(())
    }

    /// Keeps the sockets of the largest tables open, and those of `only`.
    fn keep_largest(&mut self, only: Option<&FrameNetns>) {
        let candidate = |kept: &Kept| Candidate {
            entries: kept.table.entries,
            queue: kept.queue(),
            is_only: only.is_some_and(|only| only.id == kept.table.id()),
            was_refused: kept.was_refused,
        };
        self.no_events = Errors::default();
        let planned = queues(&self.tables.iter().map(candidate).collect::<Vec<_>>());
        // No more are open than planned, also in between.
        for (kept, queue) in self.tables.iter_mut().zip(&planned) {
            if kept.queue() != *queue {
                kept.table.close();
            }
        }
        for (kept, queue) in self.tables.iter_mut().zip(planned) {
            let buffer = match queue {
                Queue::Small if !kept.table.is_kept() => SMALL_BUFFER,
                Queue::Large if !kept.table.is_kept() => BUFFER,
                _ => continue,
            };
            kept.has_large_queue = queue == Queue::Large;
            let opened = kept.table.keep(self.with_events.then_some(buffer));
            kept.was_refused = opened.is_err();
            if let Err(error) = opened {
                self.no_events.add(format!("{}: {error:#}", name(&kept.table)));
            }
        }
    }
}

impl Kept {
    fn queue(&self) -> Queue {
        match (self.table.is_kept(), self.has_large_queue) {
            (false, _) => Queue::None,
            (true, false) => Queue::Small,
            (true, true) => Queue::Large,
        }
    }
}

/// The part of its maximum that a table has. One without a maximum is less full than any other: by its entries, below 0.
fn fullness(figures: &TableFigures) -> f64 {
    let entries = f64::from(figures.occupancy.entries);
    match figures.occupancy.max.filter(|max| *max > 0) {
        Some(max) => entries / f64::from(max),
        None => -1.0 / (1.0 + entries),
    }
}

fn name(table: &Table) -> &str {
    table.netns.as_ref().map_or("", |netns| &netns.name)
}

fn frame_netns(namespace: &Namespace, id: u32) -> FrameNetns {
    let name = ctnl::text::printable(&namespace.name.to_string()).into_owned();
    FrameNetns { id, name, argument: namespace.argument(), ..FrameNetns::default() }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use ctnl::table::Occupancy;

    use super::*;

    #[test]
    fn the_fullest_table_is_the_one_with_most_of_its_maximum_and_one_without_a_maximum_is_behind_all() {
        let fullness =
            |entries, max| fullness(&TableFigures { occupancy: Occupancy { entries, max }, ..Default::default() });
        assert!(fullness(50, Some(100)) > fullness(500, Some(10_000)));
        assert!(fullness(0, Some(10_000)) > fullness(u32::MAX, None));
        assert!(fullness(2, Some(0)) > fullness(1, Some(0)));
    }

    #[test]
    fn errors_of_any_number_of_namespaces_are_counted_and_the_first_ones_are_kept() {
        let mut errors = Errors::default();
        (0..1000).for_each(|number| errors.add(format!("\x1b{number}: EPERM")));
        assert_eq!((errors.texts.len(), errors.more), (MOST_ERRORS, 1000 - MOST_ERRORS as u64));
        assert!(errors.texts.iter().all(|text| !text.contains('\x1b')));
    }
}
