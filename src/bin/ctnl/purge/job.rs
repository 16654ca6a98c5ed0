//! A purge: preview, question, and the walk that deletes.

use std::ops::ControlFlow;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use anyhow::{Context, Result};
use ctnl::model::Flow;
use ctnl::netlink::Connection;
use ctnl::table::{self, DatagramTime, Deleter, DumpRequest, DumpTotals, Occupancy};

use super::chooser::Chooser;
use super::options::Options;
use super::summary::Summary;
use crate::scan::{End, Selection, Visitor, Watch, walk};
use crate::term::console::percent;
use crate::term::hint;
use crate::term::interrupt::Interrupt;

/// How a purge ended.
#[derive(Debug)]
pub enum Purged {
    /// It ran, perhaps not to its end: see the summary.
    Ran(Box<Summary>),
    /// The question was answered with no. Nothing was changed.
    Declined,
    /// A signal ended it before the answer. Nothing was changed.
    Interrupted,
}

/// A purge of the entries that a selection matches.
pub struct Purge<'a> {
    options: Options,
    chooser: Chooser,
    watch: Watch<'a>,
    before: Occupancy,
}

impl<'a> Purge<'a> {
    /// A purge of what `selection` matches, in a table that was `before` so full.
    pub fn new(selection: Selection, options: Options, watch: Watch<'a>, before: Occupancy) -> Self {
        let chooser = Chooser::new(selection, options.clone());
        Purge { options, chooser, watch, before }
    }

    /// Runs it over `connection`; the deletes have a connection of their own.
    ///
    /// # Errors
    /// Nothing was changed: the preview failed, or the thread or the connection for the deletes could
    /// not be made. What goes wrong later is in the summary.
    pub fn run(mut self, connection: &mut Connection) -> Result<Purged> {
        if self.options.preview {
            return Ok(Purged::Ran(Box::new(self.preview(connection)?)));
        }
        if !self.may_go_on(connection)? {
            return Ok(if self.watch.interrupt.requested() { Purged::Interrupted } else { Purged::Declined });
        }
        Ok(Purged::Ran(Box::new(self.delete(connection)?)))
    }

    /// Counts what would be deleted.
    fn preview(&mut self, connection: &mut Connection) -> Result<Summary> {
        let started = Instant::now();
        let mut summary = Summary::new(&self.options, self.chooser.filter());
        self.chooser.break_down()?;
        (summary.seen, summary.interrupted) = self.count(connection)?;
        summary.resized = self.watch.warn_if_resized();
        self.chooser.report(&mut summary);
        summary.deleted = self.chooser.chosen();
        summary.set_table(self.before, Some(self.before));
        summary.seconds = started.elapsed().as_secs_f64();
        Ok(summary)
    }

    /// Walks without deleting. The entries seen, and whether a signal ended it.
    fn count(&mut self, connection: &mut Connection) -> Result<(u64, bool)> {
        let clock = self.watch.clock.clone();
        let mut counting = Counting { chooser: &mut self.chooser, watch: &mut self.watch };
        let walked = walk(connection, DumpRequest::default(), &clock, &mut counting)?;
        Ok((walked.totals.entries, walked.end == End::Stopped))
    }

    /// Asks on the terminal before a large part of the table is deleted.
    fn may_go_on(&mut self, connection: &mut Connection) -> Result<bool> {
        let Some(ask_above) = self.options.ask_above.filter(|_| self.watch.console.can_ask()) else {
            return Ok(true);
        };
        let (seen, is_interrupted) = self.count(connection)?;
        let chosen = self.chooser.chosen();
        self.chooser.start_over();
        if is_interrupted {
            return Ok(false);
        }
        if u128::from(chosen) * 100 <= u128::from(seen) * u128::from(ask_above) {
            return Ok(true);
        }
        let what = if self.options.soft().is_some() { "Lower the timeout of" } else { "Delete" };
        let question = format!("{what} {chosen} of {seen} entries ({})?", percent(chosen, seen));
        let interrupt = self.watch.interrupt;
        self.watch.console.ask(&question, || interrupt.requested()).context("read the answer")
    }

    /// Deletes what is chosen. Three threads: one walks and decides, one deletes, and this one shows
    /// progress, so that a terminal that blocks delays neither.
    fn delete(&mut self, connection: &mut Connection) -> Result<Summary> {
        let started = Instant::now();
        let deleter = Deleter::start(connection.reopen()?, self.options.action).context("start a thread")?;
        let (clock, seen) = (self.watch.clock.clone(), AtomicU64::new(0));
        let mut deciding = Deciding {
            chooser: &mut self.chooser,
            deleter,
            interrupt: self.watch.interrupt,
            seen: &seen,
            totals: DumpTotals::default(),
            is_interrupted: false,
        };
        let work = || {
            let walked = walk(connection, DumpRequest::default(), &clock, &mut deciding);
            let Deciding { deleter, totals, is_interrupted, .. } = deciding;
            (walked, deleter.finish(), totals, is_interrupted)
        };
        let (walked, (outcome, deleted), totals, is_interrupted) =
            self.watch.show_during("deleting", &seen, work).context("start a thread")?;
        let mut summary = Summary::new(&self.options, self.chooser.filter());
        summary.seen = totals.entries;
        summary.interrupted = is_interrupted && walked.as_ref().is_ok_and(|walked| walked.end == End::Stopped);
        summary.resized = self.watch.warn_if_resized();
        let error = deleted.err().or(walked.err());
        summary.add(&outcome, error.as_ref());
        self.chooser.report(&mut summary);
        summary.set_table(self.before, table::count(connection).ok());
        summary.seconds = started.elapsed().as_secs_f64();
        if let Some(hint) = error.as_ref().and_then(hint::hint) {
            self.watch.console.warn(&format!("hint: {hint}"));
        }
        Ok(summary)
    }
}

/// Chooses and deletes nothing.
struct Counting<'c, 'w> {
    chooser: &'c mut Chooser,
    watch: &'c mut Watch<'w>,
}

impl Visitor for Counting<'_, '_> {
    fn entry(&mut self, flow: &Flow, time: &DatagramTime) {
        let _ = self.chooser.choose(flow, time);
    }

    fn end_datagram(&mut self, totals: DumpTotals) -> ControlFlow<()> {
        if self.watch.go_on("reading", totals.entries) { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
    }
}

/// Chooses and pushes what is chosen to the deleter. Nothing here blocks but the deleter's queue.
struct Deciding<'d> {
    chooser: &'d mut Chooser,
    deleter: Deleter,
    interrupt: &'d Interrupt,
    seen: &'d AtomicU64,
    totals: DumpTotals,
    is_interrupted: bool,
}

impl Visitor for Deciding<'_> {
    #[inline]
    fn entry(&mut self, flow: &Flow, time: &DatagramTime) {
        if let Some(target) = self.chooser.choose(flow, time) {
            self.deleter.push(target);
        }
    }

    fn end_datagram(&mut self, totals: DumpTotals) -> ControlFlow<()> {
        self.totals = totals;
        self.seen.store(totals.entries, Ordering::Relaxed);
        self.deleter.end_datagram()?;
        self.is_interrupted = self.interrupt.requested();
        if self.is_interrupted { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    }
}
