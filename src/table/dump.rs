//! Dump the table, datagram by datagram.

use std::ops::ControlFlow;

use super::kernel_filter::{KernelFilter, Masked};
use super::recent_entries::RecentEntries;
use super::sampled_at::{DatagramTime, Stamps};
use crate::clock::{Clock, Time};
use crate::model::{Family, Flow, FlowDecoder};
use crate::netlink::{Connection, DumpStream, Error};
use crate::wire::uapi::{ipctnl_msg_ct, nfnl_subsys};
use crate::wire::{Header, Message};

const OPERATION: &str = "dump the conntrack table";

/// Which list of entries to dump, and how.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum DumpSource {
    /// The conntrack table.
    #[default]
    #[doc(alias = "IPCTNL_MSG_CT_GET")]
    Table,
    /// The conntrack table, with the counters of each entry that is sent set to 0. That destroys data: also that of
    /// entries which are not used later, and of the rest of a datagram when the dump is ended early. An
    /// entry that is repeated was reset twice, and counts in between are lost.
    #[doc(alias = "IPCTNL_MSG_CT_GET_CTRZERO")]
    TableResettingCounters,
    /// Entries that were destroyed and whose event could not be delivered yet. Before Linux 6.1 those that are being
    /// destroyed, too. Filters other than the family do not apply.
    #[doc(alias = "IPCTNL_MSG_CT_GET_DYING")]
    Dying,
    /// Entries whose first packet has not passed all hooks. Empty since Linux 6.1, which has no such list
    /// (`ctnetlink_dump_unconfirmed` in net/netfilter/nf_conntrack_netlink.c).
    #[doc(alias = "IPCTNL_MSG_CT_GET_UNCONFIRMED")]
    Unconfirmed,
}

impl DumpSource {
    fn command(self) -> u8 {
        match self {
            DumpSource::Table => ipctnl_msg_ct::GET,
            DumpSource::TableResettingCounters => ipctnl_msg_ct::GET_CTRZERO,
            DumpSource::Dying => ipctnl_msg_ct::GET_DYING,
            DumpSource::Unconfirmed => ipctnl_msg_ct::GET_UNCONFIRMED,
        }
    }
}

/// What to dump.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct DumpRequest {
    /// The list.
    pub source: DumpSource,
    /// Only entries of this address family.
    pub family: Option<Family>,
    /// Which entries the kernel shall leave out. A kernel ignores what it does not support, so every
    /// entry has to be checked again.
    pub filter: KernelFilter,
}

/// The entries of a dump, counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct DumpTotals {
    /// Entries, each counted once (but see [`Dump::with_repeats`]).
    pub entries: u64,
    /// Entries that the kernel sent twice and that were left out the second time.
    pub repeated: u64,
}

/// A dump in progress. Drop it to end it early.
#[derive(Debug)]
pub struct Dump<'c> {
    stream: DumpStream<'c>,
    stamps: Stamps,
    status: Option<Masked>,
    decoder: FlowDecoder,
    /// None where repeated entries are passed on.
    recent: Option<RecentEntries>,
    totals: DumpTotals,
}

impl<'c> Dump<'c> {
    /// Requests a dump of the table of the connection's namespace. `clock` stamps its datagrams.
    ///
    /// # Errors
    /// send(2) failed. What the kernel refuses, [`Dump::next_datagram`] returns: `EPERM` without
    /// CAP_NET_ADMIN, `EINVAL` without nf_conntrack_netlink.
    #[doc(alias = "IPCTNL_MSG_CT_GET")]
    #[doc(alias = "ctnetlink_dump_table")]
    pub fn start(connection: &'c mut Connection, request: DumpRequest, clock: &Clock) -> Result<Self, Error> {
        let header = Header {
            subsystem: nfnl_subsys::CTNETLINK,
            command: request.source.command(),
            flags: 0,
            family: request.family.unwrap_or(Family::UNSPEC),
            sequence: 0,
        };
        let stamps = Stamps::new(clock);
        let stream = connection.dump(OPERATION, header, |writer| request.filter.emit(writer, request.family))?;
        Ok(Dump {
            stream,
            stamps,
            status: request.filter.status,
            decoder: FlowDecoder::default(),
            recent: Some(RecentEntries::new()),
            totals: DumpTotals::default(),
        })
    }

    /// The same dump with repeated entries passed on and counted as entries: for a caller that
    /// tracks every entry itself, such as [`SharedDedup`](super::SharedDedup).
    #[must_use]
    pub fn with_repeats(self) -> Self {
        Dump { recent: None, ..self }
    }

    /// Receives the next datagram (up to some 135 entries) and calls `each` with each entry and with
    /// the time at which the kernel filled the datagram. False at the end of the dump.
    ///
    /// # Errors
    /// What the kernel refuses, messages lost (`NLMSG_OVERRUN`), bytes that cannot be decoded. The
    /// entries before the error have been passed to `each`.
    pub fn next_datagram(&mut self, mut each: impl FnMut(&Flow, &DatagramTime)) -> Result<bool, Error> {
        let Dump { stream, stamps, status, decoder, recent, totals } = self;
        stamps.before_receive();
        let mut time = None;
        stream.next_datagram(|message: &Message<'_>| {
            if !Flow::is_in(message) {
                return Ok(());
            }
            let time = time.get_or_insert_with(|| stamps.received());
            let flow = decoder.decode(message)?;
            // A kernel before 5.15 ignores the status filter: entries of the other half must not
            // appear in this one.
            if status.is_some_and(|status| !status.matches(flow.status.bits())) {
                return Ok(());
            }
            if recent.as_mut().is_some_and(|recent| recent.contains_or_insert(flow)) {
                totals.repeated += 1;
            } else {
                totals.entries += 1;
                each(flow, time);
            }
            Ok(())
        })
    }

    /// The entries so far.
    #[must_use]
    pub fn totals(&self) -> DumpTotals {
        self.totals
    }
}

/// Calls `each` with every entry of the table, until it breaks.
///
/// # Errors
/// As [`Dump::start`] and [`Dump::next_datagram`].
pub fn dump(
    connection: &mut Connection,
    request: DumpRequest,
    mut each: impl FnMut(&Flow) -> ControlFlow<()>,
) -> Result<DumpTotals, Error> {
    // The stamps are not used.
    let mut dump = Dump::start(connection, request, &Clock::from_fn(Time::default))?;
    let mut step = ControlFlow::Continue(());
    while dump.next_datagram(|flow, _| {
        if step.is_continue() {
            step = each(flow);
        }
    })? && step.is_continue()
    {}
    Ok(dump.totals())
}
