//! A purge: preview, question, and the walk that deletes or changes entries.

use std::ops::ControlFlow;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use anyhow::{Context, Result};
use ctnl::model::Flow;
use ctnl::netlink::{Connection, Error};
use ctnl::table::{self, DatagramTime, Deleter, DumpRequest, DumpTotals, Occupancy};
use ctnl::units::Nanos;

use super::chooser::Chooser;
use super::options::{Options, SMALL_TABLE};
use super::summary::Summary;
use super::undo_file::UndoFile;
use crate::host::ssh::OwnSessions;
use crate::scan::{End, Selection, Visitor, Watch, walk};
use crate::term::console::{Console, percent};
use crate::term::hint;
use crate::term::interrupt::Interrupt;
use crate::term::limits::START_THREAD;

/// How a purge ended.
#[derive(Debug)]
pub enum Purged {
    /// It ran, perhaps not to its end: see the summary.
    Ran(Box<Summary>),
    /// The question was answered with no. Nothing was changed.
    Declined,
    /// A signal ended it before the answer. Nothing was changed.
    Interrupted,
    /// Nobody could be asked, and it would be too large a part of the table. Nothing was changed.
    Stopped {
        /// Entries that would be deleted.
        chosen: u64,
        /// Entries of the table.
        seen: u64,
    },
}

/// Whether a purge may begin.
enum Consent {
    Given,
    Refused(Purged),
}

/// A purge of the entries that a selection matches.
pub struct Purge<'a> {
    options: Options,
    chooser: Chooser,
    watch: Watch<'a>,
    before: Occupancy,
    look_up_sessions: Option<LookUpSessions<'a>>,
    observer: Option<Observer<'a>>,
    undo: Option<UndoFile>,
}

/// Is called with each entry that is chosen, before the request for it is sent.
type Observer<'a> = Box<dyn FnMut(&Flow, &DatagramTime) + Send + 'a>;

/// Looks up the sessions that are spared.
type LookUpSessions<'a> = Box<dyn Fn() -> Result<OwnSessions> + 'a>;

impl<'a> Purge<'a> {
    /// A purge of what `selection` matches, in a table that was `before` so full.
    pub fn new(selection: Selection, options: Options, watch: Watch<'a>, before: Occupancy) -> Self {
        let chooser = Chooser::new(selection, options.clone());
        Purge { options, chooser, watch, before, look_up_sessions: None, observer: None, undo: None }
    }

    /// Calls `observer` with each entry that is chosen, before the request for it is sent. It runs on the thread that
    /// walks the table.
    pub fn observed_by(self, observer: impl FnMut(&Flow, &DatagramTime) + Send + 'a) -> Self {
        Purge { observer: Some(Box::new(observer)), ..self }
    }

    /// Also spares the sessions that `look_up` finds once the purge may begin: one may have been attached
    /// while the table was counted or the question stood.
    pub fn looking_up_sessions(self, look_up: impl Fn() -> Result<OwnSessions> + 'a) -> Self {
        Purge { look_up_sessions: Some(Box::new(look_up)), ..self }
    }

    /// Writes each entry to `undo` before its delete is sent.
    pub fn saving_to(self, undo: Option<UndoFile>) -> Self {
        Purge { undo, ..self }
    }

    /// Runs it over `connection`; the deletes have a connection of their own. `before_first` is called when
    /// there is consent, before the first entry is changed.
    ///
    /// # Errors
    /// Nothing was changed: the preview failed, or the thread or the connection for the deletes could
    /// not be made. What goes wrong later is in the summary.
    pub fn run(mut self, connection: &mut Connection, before_first: impl FnOnce(&mut Console)) -> Result<Purged> {
        if self.options.preview {
            return Ok(Purged::Ran(Box::new(self.preview(connection)?)));
        }
        match self.consent(connection)? {
            Consent::Given => {
                before_first(self.watch.console);
                Ok(Purged::Ran(Box::new(self.delete(connection)?)))
            }
            Consent::Refused(why) => Ok(why),
        }
    }

    fn seconds_since(&self, started: Nanos) -> f64 {
        Duration::from(self.watch.clock.now().monotonic.since(started)).as_secs_f64()
    }

    /// Counts what would be deleted.
    fn preview(&mut self, connection: &mut Connection) -> Result<Summary> {
        let started = self.watch.clock.now().monotonic;
        let mut summary = Summary::new(&self.options, self.chooser.filter());
        self.chooser.break_down()?;
        (summary.seen, summary.interrupted) = self.count(connection)?;
        summary.resized = self.watch.warn_if_resized();
        self.chooser.report(&mut summary);
        summary.set_done(self.chooser.chosen());
        summary.set_table(self.before, Some(self.before));
        summary.seconds = self.seconds_since(started);
        Ok(summary)
    }

    /// Walks without deleting. The entries seen, and whether a signal ended it.
    fn count(&mut self, connection: &mut Connection) -> Result<(u64, bool)> {
        let clock = self.watch.clock.clone();
        let mut counting = Counting { chooser: &mut self.chooser, watch: &mut self.watch, refreshed: Ok(()) };
        let walked = walk(connection, DumpRequest::default(), &clock, &mut counting)?;
        let is_stopped = walked.end == End::Stopped;
        counting.refreshed?;
        Ok((walked.totals.entries, is_stopped))
    }

    /// Whether the purge may begin. What is spared may have changed until then.
    fn consent(&mut self, connection: &mut Connection) -> Result<Consent> {
        let can_ask = self.watch.console.can_ask();
        let Some(share) = (if can_ask { self.options.ask_above } else { self.options.stop_above }) else {
            return Ok(Consent::Given);
        };
        let consent = self.count_and_ask(connection, can_ask, share)?;
        if matches!(consent, Consent::Given)
            && let Some(look_up) = &self.look_up_sessions
        {
            let sessions = look_up()?;
            let is_new = !sessions.not_verified.is_subset(&self.options.sessions.not_verified);
            if let Some(warning) = sessions.warning().filter(|_| is_new) {
                self.watch.console.warn(&warning);
            }
            self.chooser.spare_also(sessions);
        }
        Ok(consent)
    }

    /// Counts first where a large part of the table must not be deleted without a question, and asks the
    /// question where there is a terminal.
    fn count_and_ask(&mut self, connection: &mut Connection, can_ask: bool, share: u8) -> Result<Consent> {
        let (seen, is_interrupted) = self.count(connection)?;
        let chosen = self.chooser.chosen();
        self.chooser.start_over();
        if is_interrupted {
            return Ok(Consent::Refused(Purged::Interrupted));
        }
        let is_large = u128::from(chosen) * 100 > u128::from(seen) * u128::from(share);
        match (can_ask, is_large) {
            (false, true) if seen >= SMALL_TABLE => Ok(Consent::Refused(Purged::Stopped { chosen, seen })),
            (false, true) => {
                self.chooser.agree_to(with_margin(seen));
                Ok(Consent::Given)
            }
            (_, false) => {
                // What is deleted without a question stays about as small a part of the table; where every
                // delete is to be asked for, nothing was found and nothing may be deleted.
                let most = if share == 0 { 0 } else { with_margin(seen.saturating_mul(share.into()) / 100) };
                self.chooser.agree_to(most);
                Ok(Consent::Given)
            }
            (true, true) => self.ask(chosen, seen),
        }
    }

    /// Asks on the terminal. The settings may have changed while the question stood.
    fn ask(&mut self, chosen: u64, seen: u64) -> Result<Consent> {
        let most = with_margin(chosen);
        let what = self.options.task.question();
        let part = percent(chosen, seen);
        let question = format!("{what} {chosen} of {seen} entries ({part}), and no more than {most}?");
        let interrupt = self.watch.interrupt;
        let is_yes = self.watch.console.ask(&question, || interrupt.requested()).context("read the answer")?;
        if interrupt.requested() {
            return Ok(Consent::Refused(Purged::Interrupted));
        }
        if !is_yes {
            return Ok(Consent::Refused(Purged::Declined));
        }
        self.chooser.agree_to(most);
        self.chooser.refresh_settings(self.watch.clock.now().monotonic)?;
        Ok(Consent::Given)
    }

    /// Deletes what is chosen. Three threads: one walks and decides, one deletes, and this one shows
    /// progress, so that a terminal that blocks delays neither.
    fn delete(&mut self, connection: &mut Connection) -> Result<Summary> {
        let started = self.watch.clock.now().monotonic;
        let (clock, seen) = (self.watch.clock.clone(), AtomicU64::new(0));
        let rechecker = self.chooser.rechecker();
        let deleter = Deleter::start(connection.reopen()?, self.options.task.action(), &clock, rechecker);
        let mut deciding = Deciding {
            chooser: &mut self.chooser,
            observer: self.observer.as_mut(),
            deleter: deleter.context(START_THREAD)?,
            undo: self.undo.take(),
            interrupt: self.watch.interrupt,
            seen: &seen,
            totals: DumpTotals::default(),
            is_interrupted: false,
            refreshed: Ok(()),
        };
        let work = || {
            let walked = walk(connection, DumpRequest::default(), &clock, &mut deciding);
            // Also what was chosen and has not been handed over is saved before it is deleted.
            let _ = deciding.save_batch();
            let Deciding { deleter, undo, totals, is_interrupted, refreshed, .. } = deciding;
            let deleted = deleter.finish();
            (walked.and_then(|walked| refreshed.map(|()| walked)), deleted, undo, totals, is_interrupted)
        };
        let (walked, (deletions, deleted), undo, totals, is_interrupted) =
            self.watch.show_during(self.options.task.progress(), &seen, work).context(START_THREAD)?;
        let mut summary = Summary::new(&self.options, self.chooser.filter());
        summary.seen = totals.entries;
        summary.interrupted = is_interrupted && walked.as_ref().is_ok_and(|walked| walked.end == End::Stopped);
        summary.resized = self.watch.warn_if_resized();
        let error = deleted.err().or(walked.err());
        summary.add(&deletions, error.as_ref());
        if let Some(undo) = undo {
            summary.add_saved(undo.finish());
        }
        self.chooser.report(&mut summary);
        summary.set_table(self.before, table::count(connection).ok());
        summary.seconds = self.seconds_since(started);
        if let Some(hint) = error.as_ref().and_then(hint::hint) {
            self.watch.console.warn(&format!("hint: {hint}"));
        }
        Ok(summary)
    }
}

/// The number that was agreed to, and a margin for entries that have arrived since: a tenth, and at least 10.
fn with_margin(agreed: u64) -> u64 {
    agreed.saturating_add((agreed / 10).max(10))
}

/// Chooses and deletes nothing.
struct Counting<'c, 'w> {
    chooser: &'c mut Chooser,
    watch: &'c mut Watch<'w>,
    refreshed: Result<(), Error>,
}

impl Visitor for Counting<'_, '_> {
    fn entry(&mut self, flow: &Flow, time: &DatagramTime) {
        let _ = self.chooser.choose(flow, time);
    }

    fn end_datagram(&mut self, totals: DumpTotals) -> ControlFlow<()> {
        self.refreshed = self.chooser.refresh_old_settings();
        let goes_on = self.refreshed.is_ok() && self.watch.go_on("reading", totals.entries);
        if goes_on { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
    }
}

/// Chooses and pushes what is chosen to the deleter. Nothing here blocks but the deleter's queue.
struct Deciding<'d, 'o> {
    chooser: &'d mut Chooser,
    observer: Option<&'d mut Observer<'o>>,
    deleter: Deleter,
    undo: Option<UndoFile>,
    interrupt: &'d Interrupt,
    seen: &'d AtomicU64,
    totals: DumpTotals,
    is_interrupted: bool,
    refreshed: Result<(), Error>,
}

impl Deciding<'_, '_> {
    /// Writes the entries that were chosen to the undo file. Where that fails, none of those that have not been
    /// handed over is deleted.
    fn save_batch(&mut self) -> ControlFlow<()> {
        if self.undo.as_mut().is_none_or(UndoFile::write) {
            return ControlFlow::Continue(());
        }
        self.deleter.drop_batch();
        ControlFlow::Break(())
    }
}

impl Visitor for Deciding<'_, '_> {
    #[inline]
    fn entry(&mut self, flow: &Flow, time: &DatagramTime) {
        if let Some(target) = self.chooser.choose(flow, time) {
            if let Some(observer) = &mut self.observer {
                observer(flow, time);
            }
            if let Some(undo) = &mut self.undo {
                undo.add(flow, time);
            }
            self.deleter.push(target, self.chooser.judgement(time));
        }
    }

    fn end_datagram(&mut self, totals: DumpTotals) -> ControlFlow<()> {
        self.totals = totals;
        self.seen.store(totals.entries, Ordering::Relaxed);
        if self.deleter.hands_over_next() {
            self.save_batch()?;
        }
        self.deleter.end_datagram()?;
        self.refreshed = self.chooser.refresh_old_settings();
        self.is_interrupted = self.interrupt.requested();
        let goes_on = self.refreshed.is_ok() && !self.is_interrupted;
        if goes_on { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
    }
}
