//! A second count of the NAT ports of which over half are in use, for the rate at which they run out.

use std::collections::HashMap;
use std::ops::ControlFlow;

use ctnl::model::{Flow, Status};
use ctnl::netlink::Connection;
use ctnl::table::{DatagramTime, DumpRequest, DumpTotals};
use ctnl::units::Nanos;
use foldhash::fast::RandomState;

use super::survey::Survey;
use super::survey::nat::{PortKey, PortRanges};
use crate::scan::{End, Visitor, Watch, walk};

/// What is counted twice, at most.
const MOST: usize = 32;
/// Of the ports, in hundredths.
const HALF: u64 = 50;

/// How the ports in use have changed between two dumps.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PortGrowth {
    /// Whose ports.
    pub key: PortKey,
    /// How many more are in use: at least that many.
    pub more: u64,
    /// The time between the two dumps.
    pub span: Nanos,
}

impl PortGrowth {
    /// Counts again what the survey, whose dump began at `since`, found to be over half. This takes one more dump, where
    /// there is any; none is made otherwise. Nothing is returned where the dump fails or does not come to its end.
    pub fn measure(connection: &mut Connection, survey: &Survey, since: Nanos, watch: &mut Watch<'_>) -> Vec<Self> {
        let ports = &survey.nat.ports;
        let first: Vec<_> = ports.over(HALF).into_iter().take(MOST).collect();
        if first.is_empty() || survey.incomplete.is_some() || watch.interrupt.requested() {
            return Vec::new();
        }
        let span = watch.clock.now().monotonic.since(since);
        let Some(counts) = count_again(connection, &first, &ports.ranges, watch) else { return Vec::new() };
        let growth = |(key, used): (PortKey, u64)| {
            let before = used.saturating_add(ports.error(&key));
            let now = counts.get(&key).copied().unwrap_or(0);
            PortGrowth { key, more: now.saturating_sub(before), span }
        };
        first.into_iter().map(growth).collect()
    }
}

fn count_again(
    connection: &mut Connection,
    first: &[(PortKey, u64)],
    ranges: &PortRanges,
    watch: &mut Watch<'_>,
) -> Option<HashMap<PortKey, u64, RandomState>> {
    let counts = first.iter().map(|(key, _)| (*key, 0)).collect();
    let clock = watch.clock.clone();
    let mut counter = Counter { counts, ranges, watch };
    let walked = walk(connection, DumpRequest::default(), &clock, &mut counter).ok()?;
    (walked.end == End::Whole).then_some(counter.counts)
}

struct Counter<'c, 'w> {
    counts: HashMap<PortKey, u64, RandomState>,
    ranges: &'c PortRanges,
    watch: &'c mut Watch<'w>,
}

impl Visitor for Counter<'_, '_> {
    fn entry(&mut self, flow: &Flow, _: &DatagramTime) {
        if flow.status.contains(Status::SrcNat)
            && let Some(key) = PortKey::of(flow, self.ranges)
            && let Some(count) = self.counts.get_mut(&key)
        {
            *count += 1;
        }
    }

    fn end_datagram(&mut self, totals: DumpTotals) -> ControlFlow<()> {
        if self.watch.go_on("counting NAT ports again", totals.entries) {
            ControlFlow::Continue(())
        } else {
            ControlFlow::Break(())
        }
    }
}
