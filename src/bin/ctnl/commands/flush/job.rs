//! A flush that is under way: preview, question, walk.

use std::cell::RefCell;
use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::{Context, Result};
use ctnl::netlink::Connection;
use ctnl::table::{self, Action, Choose, Dump, DumpRequest, Flush, Occupancy, Progress};

use super::Args;
use super::choose::Chooser;
use super::summary::Summary;
use crate::scan::Watch;
use crate::term::console::percent;
use crate::term::hint;

/// Seconds that an entry must have been idle so that it is certain not to become
/// ASSURED, and so to change its half, while the table is walked.
const LEAST_IDLE: u64 = 60;

/// A flush that is under way.
pub struct Job<'a> {
    /// What was asked for.
    pub args: &'a Args,
    /// Which entries go.
    pub chooser: Chooser,
    /// Progress and interrupts.
    pub watch: Watch<'a>,
    /// How full the table was.
    pub before: Occupancy,
}

impl Job<'_> {
    /// Walks without deleting; false when a signal ended it.
    fn walk(&mut self, dumper: &mut Connection, seen: &mut u64) -> Result<bool> {
        self.chooser.before_walk();
        let mut dump = Dump::start(dumper, DumpRequest::default())?;
        loop {
            self.chooser.before_datagram();
            let more = dump.next_datagram(|flow| {
                let _ = self.chooser.choose(flow);
            })?;
            *seen = dump.totals().entries;
            if !more {
                return Ok(true);
            }
            if !self.watch.go_on("reading", *seen) {
                return Ok(false);
            }
        }
    }

    /// Walks the table and counts what would go.
    pub fn preview(&mut self, dumper: &mut Connection, summary: &mut Summary) -> Result<()> {
        self.chooser.break_down()?;
        summary.interrupted = !self.walk(dumper, &mut summary.seen)?;
        summary.resized = self.watch.tell_if_resized();
        self.chooser.report(summary);
        summary.deleted = self.chooser.chosen();
        summary.set_table(self.before, Some(self.before));
        Ok(())
    }

    /// Asks a person before a large part of the table goes.
    pub fn may_go_on(&mut self, dumper: &mut Connection) -> Result<bool> {
        if self.args.yes || !self.watch.console.can_ask() {
            return Ok(true);
        }
        let mut seen = 0;
        let finished = self.walk(dumper, &mut seen)?;
        let chosen = self.chooser.chosen();
        self.chooser.start_over();
        if !finished {
            return Ok(false);
        }
        if u128::from(chosen) * 100 <= u128::from(seen) * u128::from(self.args.ask_above) {
            return Ok(true);
        }
        let what = if self.args.soft.is_some() { "Give a short timeout to" } else { "Delete" };
        let question = format!("{what} {chosen} of {seen} entries ({})?", percent(chosen, seen));
        let interrupt = self.watch.interrupt;
        self.watch.console.ask(&question, || interrupt.requested()).context("read the answer")
    }

    /// Deletes what is chosen.
    pub fn flush(&mut self, dumper: &mut Connection, summary: &mut Summary) -> Result<()> {
        let mut actor = dumper.reopen()?;
        let action = self.args.soft.map_or(Action::Delete, Action::LowerTimeout);
        let (flush, interrupted) = match self.requests() {
            Some(requests) => self.run_halves(dumper, &mut actor, requests, action)?,
            None => self.run_whole(dumper, &mut actor, action),
        };
        summary.interrupted = interrupted;
        summary.resized = self.watch.tell_if_resized();
        summary.add(&flush);
        self.chooser.report(summary);
        summary.set_table(self.before, table::count(&mut actor).ok());
        if let Some(advice) = flush.error.as_ref().and_then(hint::hint) {
            self.watch.console.warn(advice);
        }
        Ok(())
    }

    /// The two halves to dump; none where that was not asked for or is not sound.
    fn requests(&mut self) -> Option<[DumpRequest; 2]> {
        if self.args.jobs != 2 {
            return None;
        }
        let why = if self.chooser.filter().least_idle() < LEAST_IDLE {
            "only entries that have been idle for a minute or more (--older) are sure to stay in their half"
        } else if self.args.max.is_some() || self.args.filter.confirm_idle.is_some() {
            "--max and --confirm-idle take one"
        } else {
            return DumpRequest::default().halves();
        };
        self.watch.console.note(&format!("--jobs 2 is not used: {why}"));
        None
    }

    fn run_halves(
        &mut self,
        dumper: &mut Connection,
        actor: &mut Connection,
        requests: [DumpRequest; 2],
        action: Action,
    ) -> Result<(Flush, bool)> {
        let mut other = dumper.reopen()?;
        self.chooser.before_walk();
        let (mut yours, mut interrupted) = (self.chooser.fork(), false);
        let interrupted_there = AtomicBool::new(false);
        let Job { chooser, watch, .. } = self;
        let interrupt = watch.interrupt;
        let choose: [&mut Choose<'_>; 2] = [&mut |flow| chooser.choose(flow), &mut |flow| yours.choose(flow)];
        let go_on = |progress: Progress| {
            interrupted = !watch.go_on("flushing", 2 * progress.dump.entries);
            !interrupted
        };
        let go_on_there = || {
            interrupted_there.store(interrupt.requested(), Ordering::Relaxed);
            !interrupted_there.load(Ordering::Relaxed)
        };
        let flush = Flush::run_halves([dumper, &mut other], actor, requests, action, choose, go_on, go_on_there);
        chooser.add(&yours);
        Ok((flush, interrupted || interrupted_there.into_inner()))
    }

    fn run_whole(&mut self, dumper: &mut Connection, actor: &mut Connection, action: Action) -> (Flush, bool) {
        let watch = &mut self.watch;
        let chooser = RefCell::new(&mut self.chooser);
        chooser.borrow_mut().before_walk();
        let mut interrupted = false;
        let flush = Flush::run(
            dumper,
            actor,
            DumpRequest::default(),
            action,
            |flow| chooser.borrow_mut().choose(flow),
            |progress| {
                chooser.borrow_mut().before_datagram();
                interrupted = !watch.go_on("flushing", progress.dump.entries);
                !interrupted
            },
        );
        (flush, interrupted)
    }
}
