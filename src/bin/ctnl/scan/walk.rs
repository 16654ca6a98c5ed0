//! The one loop over a dump of the table.

use std::ops::ControlFlow;

use ctnl::clock::Clock;
use ctnl::model::Flow;
use ctnl::netlink::{Connection, Error};
use ctnl::table::{DatagramTime, Dump, DumpRequest, DumpTotals, KernelFilter};

/// What is done with the entries of a walk.
///
/// Entries may be collected in [`Visitor::entry`] and handled in [`Visitor::end_datagram`]: between two
/// datagrams, there may be a wait of any length, since each datagram carries the time of its filling.
pub trait Visitor {
    /// Handles an entry. `time` is when the kernel filled the datagram that has it.
    fn entry(&mut self, flow: &Flow, time: &DatagramTime);

    /// Called at the end of each datagram, also of one that ended with an error. Breaks to end the walk.
    fn end_datagram(&mut self, totals: DumpTotals) -> ControlFlow<()>;

    /// Whether entries that the kernel sends twice are wanted twice.
    fn wants_repeats(&self) -> bool {
        false
    }
}

/// How a walk ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// At the end of the table.
    Whole,
    /// The visitor ended it before.
    Stopped,
}

/// A walk that ended without an error.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Walked {
    /// The entries, counted.
    pub totals: DumpTotals,
    /// How it ended.
    pub end: End,
    /// The kernel refused the filter of the request, so the whole table was dumped.
    pub is_filter_refused: bool,
}

/// Dumps the table and calls `visitor` with each entry. Where the kernel cannot filter as `request`
/// says, the whole table is dumped.
///
/// # Errors
/// As [`Dump::start`] and [`Dump::next_datagram`]. The visitor has seen the entries before the error.
pub fn walk(
    connection: &mut Connection,
    request: DumpRequest,
    clock: &Clock,
    visitor: &mut impl Visitor,
) -> Result<Walked, Error> {
    match walk_once(connection, request, clock, visitor) {
        // The kernel refuses a filter before the first entry, so that no entry is visited twice.
        Err(error) if request != DumpRequest::default() && KernelFilter::is_unknown_to(&error) => {
            let walked = walk_once(connection, DumpRequest::default(), clock, visitor)?;
            Ok(Walked { is_filter_refused: true, ..walked })
        }
        walked => walked,
    }
}

fn walk_once(
    connection: &mut Connection,
    request: DumpRequest,
    clock: &Clock,
    visitor: &mut impl Visitor,
) -> Result<Walked, Error> {
    let mut dump = Dump::start(connection, request, clock)?;
    if visitor.wants_repeats() {
        dump = dump.with_repeats();
    }
    loop {
        let more = dump.next_datagram(|flow, time| visitor.entry(flow, time));
        let totals = dump.totals();
        let step = visitor.end_datagram(totals);
        let end = match (more?, step) {
            (false, _) => End::Whole,
            (true, ControlFlow::Break(())) => End::Stopped,
            (true, ControlFlow::Continue(())) => continue,
        };
        return Ok(Walked { totals, end, is_filter_refused: false });
    }
}
