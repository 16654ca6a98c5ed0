//! Walk the table.

use std::ops::ControlFlow;

use super::kernel_filter::{KernelFilter, Masked};
use super::recent_entries::RecentEntries;
use crate::model::{Family, Flow, FlowDecoder};
use crate::netlink::{Connection, DumpStream, Error};
use crate::wire::uapi::{ipctnl_msg_ct, nfnl_subsys};
use crate::wire::{Header, Message};

const OPERATION: &str = "dump the conntrack table";

/// What to dump.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct DumpRequest {
    /// Only entries of this address family.
    pub family: Option<Family>,
    /// What the kernel is asked to leave out. Check every entry again.
    pub filter: KernelFilter,
}

/// What a dump has seen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct DumpTotals {
    /// Entries, each counted once (but see [`Dump::with_repeats`]).
    pub entries: u64,
    /// Entries that the kernel sent twice and that were left out the second time.
    pub repeated: u64,
}

/// A dump that is under way. To leave it early, drop it.
#[derive(Debug)]
pub struct Dump<'c> {
    stream: DumpStream<'c>,
    status: Option<Masked>,
    decoder: FlowDecoder,
    /// None where repeats are handed out.
    window: Option<RecentEntries>,
    totals: DumpTotals,
}

impl<'c> Dump<'c> {
    /// Starts to dump the table of the connection's namespace.
    ///
    /// # Errors
    /// What the kernel refuses: `EPERM` without CAP_NET_ADMIN, `EINVAL` where
    /// ctnetlink is missing.
    pub fn start(connection: &'c mut Connection, request: DumpRequest) -> Result<Self, Error> {
        let header = Header {
            subsystem: nfnl_subsys::CTNETLINK,
            command: ipctnl_msg_ct::GET,
            flags: 0,
            family: request.family.unwrap_or(Family::UNSPEC),
            sequence: 0,
        };
        let stream = connection.dump(OPERATION, header, |writer| request.filter.emit(writer, request.family))?;
        Ok(Dump {
            stream,
            status: request.filter.status,
            decoder: FlowDecoder::default(),
            window: Some(RecentEntries::new()),
            totals: DumpTotals::default(),
        })
    }

    /// The same dump, which also hands out what the kernel sends twice and counts it as an
    /// entry: for those who remember all that they get, as [`SharedDedup`](super::SharedDedup) does.
    #[must_use]
    pub fn with_repeats(self) -> Self {
        Dump { window: None, ..self }
    }

    /// Hands each entry of the next datagram (up to some 135) to `each`. False
    /// once the dump is at its end.
    ///
    /// # Errors
    /// The kernel refused or lost something, or sent what cannot be read.
    pub fn next_datagram(&mut self, mut each: impl FnMut(&Flow)) -> Result<bool, Error> {
        let (decoder, window, totals, status) = (&mut self.decoder, &mut self.window, &mut self.totals, self.status);
        self.stream.next_datagram(|message: &Message<'_>| {
            if !Flow::is_in(message) {
                return Ok(());
            }
            let flow = decoder.decode(message)?;
            // A kernel before 5.15 ignores the status filter: what is of the other
            // half must not come in this one.
            if status.is_some_and(|status| !status.matches(flow.status.bits())) {
                return Ok(());
            }
            if window.as_mut().is_some_and(|window| window.contains_or_insert(flow)) {
                totals.repeated += 1;
            } else {
                totals.entries += 1;
                each(flow);
            }
            Ok(())
        })
    }

    /// What has been seen so far.
    #[must_use]
    pub fn totals(&self) -> DumpTotals {
        self.totals
    }
}

/// Hands every entry of the table to `each`, until it breaks.
///
/// # Errors
/// As [`Dump::start`] and [`Dump::next_datagram`].
pub fn dump(
    connection: &mut Connection,
    request: DumpRequest,
    mut each: impl FnMut(&Flow) -> ControlFlow<()>,
) -> Result<DumpTotals, Error> {
    let mut dump = Dump::start(connection, request)?;
    let mut step = ControlFlow::Continue(());
    while dump.next_datagram(|flow| {
        if step.is_continue() {
            step = each(flow);
        }
    })? && step.is_continue()
    {}
    Ok(dump.totals())
}
