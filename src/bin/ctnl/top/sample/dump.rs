//! The visitor of a dump: each entry is counted once.

use std::ops::ControlFlow;
use std::sync::atomic::{AtomicBool, Ordering};

use ctnl::model::{Flow, Status};
use ctnl::netlink::Error;
use ctnl::table::{DatagramTime, DumpTotals};

use super::flows::TopFlows;
use super::groups::Grouped;
use crate::scan::{Selection, Visitor};

/// What a dump has counted.
#[derive(Debug, Clone, Copy, Default)]
pub struct Dumped {
    pub seen: u64,
    pub matched: u64,
    pub undecided: u64,
    pub evictable: u64,
    /// Entries whose start is known.
    pub dated: u64,
    /// Those of them that began since the last dump.
    pub began: u64,
}

impl Dumped {
    /// Entries that began since the last dump, where the start of all is known.
    pub fn begun(&self) -> Option<u64> {
        (self.dated == self.seen).then_some(self.began)
    }
}

/// The visitor of a dump.
pub struct Dump<'d> {
    pub selection: &'d mut Selection,
    pub groups: &'d mut Vec<Grouped>,
    pub flows: Option<&'d mut TopFlows>,
    /// The span of the interval, in nanoseconds since 1970.
    pub span: Option<(u64, u64)>,
    pub dumped: Dumped,
    pub stop: &'d AtomicBool,
    pub refreshed: Result<(), Error>,
}

impl Visitor for Dump<'_> {
    fn entry(&mut self, flow: &Flow, time: &DatagramTime) {
        let dumped = &mut self.dumped;
        dumped.evictable += u64::from(!flow.status.contains(Status::Assured));
        let began = self.span.zip(flow.start).map(|((from, to), start)| (from..to).contains(&start));
        dumped.dated += u64::from(began.is_some());
        dumped.began += u64::from(began == Some(true));
        let Some(subject) = self.selection.judge(flow, time) else { return };
        let idle = subject.idle();
        self.groups.iter_mut().for_each(|groups| groups.add(&subject, idle, began));
        if let Some(flows) = &mut self.flows {
            flows.add(flow, idle);
        }
    }

    fn end_datagram(&mut self, _: DumpTotals) -> ControlFlow<()> {
        self.refreshed = self.selection.refresh_old_settings();
        let goes_on = self.refreshed.is_ok() && !self.stop.load(Ordering::Relaxed);
        if goes_on { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
    }
}
