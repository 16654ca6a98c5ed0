//! Walk the table for a command that reads: call a function with each entry that matches.

use std::ops::ControlFlow;

use ctnl::field::Subject;
use ctnl::model::Flow;
use ctnl::netlink::{Connection, Error};
use ctnl::table::{DatagramTime, DumpRequest, DumpTotals};

use super::selection::Selection;
use super::walk::{End, Visitor, Walked, walk};
use super::watch::Watch;

struct Matches<'m, 'w, F> {
    selection: &'m mut Selection,
    watch: &'m mut Watch<'w>,
    each: F,
    step: ControlFlow<()>,
    is_interrupted: bool,
    refreshed: Result<(), Error>,
}

impl<F: FnMut(&Subject<'_>) -> ControlFlow<()>> Visitor for Matches<'_, '_, F> {
    #[inline]
    fn entry(&mut self, flow: &Flow, time: &DatagramTime) {
        if self.step.is_continue()
            && let Some(subject) = self.selection.judge(flow, time)
        {
            self.step = (self.each)(&subject);
        }
    }

    fn end_datagram(&mut self, totals: DumpTotals) -> ControlFlow<()> {
        if self.step.is_continue() && !self.watch.go_on("reading", totals.entries) {
            self.is_interrupted = true;
            return ControlFlow::Break(());
        }
        self.step?;
        self.refreshed = self.selection.refresh_old_settings();
        if self.refreshed.is_err() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    }
}

/// Calls `each` with every entry that `selection` matches, until it breaks. Also returns whether a
/// signal ended the walk before the end of the table.
pub fn walk_matches(
    connection: &mut Connection,
    request: DumpRequest,
    selection: &mut Selection,
    watch: &mut Watch<'_>,
    each: impl FnMut(&Subject<'_>) -> ControlFlow<()>,
) -> Result<(Walked, bool), Error> {
    let clock = watch.clock.clone();
    let step = ControlFlow::Continue(());
    let mut matches = Matches { selection, watch, each, step, is_interrupted: false, refreshed: Ok(()) };
    let walked = walk(connection, request, &clock, &mut matches)?;
    matches.refreshed?;
    let is_interrupted = matches.is_interrupted && walked.end == End::Stopped;
    if walked.is_filter_refused {
        watch.console.note("this kernel does not support the filter: the whole table was dumped");
    }
    Ok((walked, is_interrupted))
}
