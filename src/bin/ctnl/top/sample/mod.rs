//! One frame from one dump.
//!
//! `groups` counts entries by group, `frequent` keeps the largest groups, `flows` keeps the first flows of an order, `events` counts the entries that begin
//! between two dumps.

mod events;
mod flows;
mod frequent;
mod groups;

use std::ops::ControlFlow;
use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::Result;
use ctnl::filter::Filter;
use ctnl::host::Host;
use ctnl::model::{Flow, Status};
use ctnl::netlink::{Connection, Error, Netns};
use ctnl::table::{self, COUNTERS, Counters, CpuStats, DatagramTime, DumpRequest, DumpTotals, Occupancy};
use ctnl::units::Nanos;

use self::events::{Counted, NewEntries, are_sent};
use self::flows::{Shown, TopFlows};
use self::groups::{Began, Grouped, Since};
use super::model::{Frame, Rate};
use super::order::SortOrder;
use super::view::{ShownFilter, View};
use crate::host::buckets::Buckets;
use crate::host::timeout_options::TimeoutOptions;
use crate::scan::{End, Selection, Settings, Visitor, walk};

/// Groups of a view that are kept: some 5 MB for the dump and the one before it.
const MOST_GROUPS: usize = 65_536;
/// Groups that are kept of each view where all are sampled.
const MOST_OF_ALL: usize = 8_192;

/// What is sampled.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wanted {
    /// The tables.
    pub views: Vec<View>,
    /// The order, of which the first rows are made.
    pub order: SortOrder,
    /// Rows of each table.
    pub rows: usize,
}

/// Samples one namespace.
#[derive(Debug)]
pub struct Sampler {
    connection: Connection,
    host: Host,
    settings: Settings,
    selection: Selection,
    filter: ShownFilter,
    wanted: Wanted,
    new_entries: Option<NewEntries>,
    before: Option<Before>,
}

/// What the next frame is compared with.
#[derive(Debug)]
struct Before {
    /// By both clocks, when its dump began.
    at: ctnl::clock::Time,
    entries: u32,
    stats: Vec<CpuStats>,
    groups: Vec<Grouped>,
    flows: Vec<Shown>,
}

/// The visitor of a dump.
struct Dump<'d> {
    selection: &'d mut Selection,
    groups: Vec<Grouped>,
    flows: Option<TopFlows>,
    /// The span of the interval, in nanoseconds since 1970.
    span: Option<(u64, u64)>,
    evictable: u64,
    dated: u64,
    began: u64,
    stop: &'d AtomicBool,
    refreshed: Result<(), Error>,
}

impl Visitor for Dump<'_> {
    fn entry(&mut self, flow: &Flow, time: &DatagramTime) {
        self.evictable += u64::from(!flow.status.contains(Status::Assured));
        let began = self.span.zip(flow.start).map(|((from, to), start)| (from..to).contains(&start));
        self.dated += u64::from(began.is_some());
        self.began += u64::from(began == Some(true));
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

impl Sampler {
    /// A sampler of the namespace of `connection`. With `with_events`, new entries are counted by the kernel's events.
    ///
    /// # Errors
    /// The settings cannot be read, or events cannot be subscribed to.
    pub fn new(
        connection: Connection,
        host: &Host,
        timeouts: &TimeoutOptions,
        wanted: Wanted,
        with_events: bool,
    ) -> Result<Self> {
        let settings = Settings::read(&connection, host, timeouts)?;
        let now = host.clock.now().realtime.0;
        let selection = Selection::by(Filter::default(), settings.clone(), now);
        let subscribe = || NewEntries::subscribe(connection.netns(), &wanted.views, most_groups(&wanted));
        let new_entries = with_events.then(subscribe).transpose()?;
        let (host, filter) = (host.clone(), ShownFilter::default());
        Ok(Sampler { connection, host, settings, selection, filter, wanted, new_entries, before: None })
    }

    /// The namespace.
    pub fn netns(&self) -> &Netns {
        self.connection.netns()
    }

    /// From now on, samples what matches `filter`. The next frame has no rates of groups.
    pub fn set_filter(&mut self, filter: ShownFilter) {
        let now = self.host.clock.now().realtime.0;
        self.selection = Selection::by(filter.filter.clone(), self.settings.clone(), now);
        self.filter = filter;
        self.forget_groups();
    }

    /// From now on, samples these tables.
    pub fn set_wanted(&mut self, wanted: Wanted) {
        if self.wanted.views != wanted.views {
            self.wanted = wanted;
            self.forget_groups();
        } else {
            self.wanted = wanted;
        }
    }

    fn forget_groups(&mut self) {
        if let Some(before) = &mut self.before {
            (before.groups, before.flows) = (Vec::new(), Vec::new());
        }
        if let Some(new) = &mut self.new_entries {
            // What was counted for the old groups is part of no frame.
            let _ = new.take(&self.wanted.views, self.selection.filter(), self.selection.ages());
        }
    }

    /// Reads events that wait. To be called several times a second.
    ///
    /// # Errors
    /// The socket fails.
    pub fn read_events(&mut self) -> Result<()> {
        if let Some(new) = &mut self.new_entries {
            new.read(self.selection.filter(), self.selection.ages())?;
        }
        Ok(())
    }

    /// Dumps the table once. `None` where `stop` was set meanwhile.
    ///
    /// # Errors
    /// What the kernel refuses.
    pub fn sample(&mut self, stop: &AtomicBool) -> Result<Option<Frame>> {
        let counted = self.take_new_entries()?;
        let occupancy = table::count(&mut self.connection)?;
        let stats = table::stats(&mut self.connection)?;
        let netfilter = self.host.netfilter();
        let buckets = Buckets::read(&netfilter);
        let at = self.host.clock.now();
        let most = most_groups(&self.wanted);
        let mut groups = Vec::new();
        for view in &self.wanted.views {
            groups.extend(Grouped::new(*view, most)?);
        }
        let flows =
            self.wanted.views.contains(&View::Flows).then(|| TopFlows::new(self.wanted.order, self.wanted.rows));
        let span = self.before.as_ref().map(|before| (before.at.realtime.0, at.realtime.0));
        self.selection.tally = Default::default();
        let (selection, refreshed) = (&mut self.selection, Ok(()));
        let mut dump = Dump { selection, groups, flows, span, evictable: 0, dated: 0, began: 0, stop, refreshed };
        let walked = walk(&mut self.connection, DumpRequest::default(), &self.host.clock, &mut dump)?;
        let Dump { groups, flows, evictable, dated, began, refreshed, .. } = dump;
        refreshed?;
        if walked.end == End::Stopped {
            return Ok(None);
        }
        let seen = walked.totals.entries;
        let begun = (dated == seen).then_some(began);
        let frame = Frame {
            at: at.realtime.0 / 1_000_000,
            took: milliseconds(self.host.clock.now().monotonic.since(at.monotonic)),
            filter: self.filter.text.clone(),
            seen,
            matched: self.selection.tally.matched,
            undecided: self.selection.tally.undecided.values().sum(),
            evictable,
            is_resized: buckets.resized_since(&netfilter),
            ..self.figures(occupancy, &stats, counted.as_ref(), begun, at)
        };
        let read = Before { at, entries: occupancy.entries, stats, groups, flows: Vec::new() };
        Ok(Some(self.with_sections(frame, read, flows, counted.as_ref())))
    }

    /// New entries since the last call; `None` where the kernel sends no events of them.
    fn take_new_entries(&mut self) -> Result<Option<Counted>> {
        let Some(new) = &mut self.new_entries else { return Ok(None) };
        let counted = new.take(&self.wanted.views, self.selection.filter(), self.selection.ages())?;
        Ok(are_sent(self.connection.netns(), &self.host).then_some(counted))
    }

    /// The figures of the header.
    fn figures(
        &self,
        occupancy: Occupancy,
        stats: &[CpuStats],
        counted: Option<&Counted>,
        begun: Option<u64>,
        at: ctnl::clock::Time,
    ) -> Frame {
        let max = occupancy.max.filter(|max| *max > 0).map(u64::from);
        let frame = Frame { entries: occupancy.entries.into(), max, ..Frame::default() };
        let Some(before) = &self.before else { return frame };
        let interval = milliseconds(at.monotonic.since(before.at.monotonic));
        let (began, is_exact) = match counted.map(|counted| counted.entries) {
            Some(Some(entries)) => (Some(entries), true),
            // Those that ended before the dump are missing.
            _ => (begun, false),
        };
        let rate = |count: u64| if is_exact { Rate::known(count, interval) } else { Rate::bound(count, interval) };
        let ended = |began: u64| (began + u64::from(before.entries)).saturating_sub(occupancy.entries.into());
        let counters = counters_since(&before.stats, stats);
        let counter = |name: &str| {
            let known = COUNTERS.iter().find(|counter| counter.name == name);
            let count = known.and_then(|counter| counters.get(counter));
            count.map_or(Rate::Unknown, |count| Rate::known(count, interval))
        };
        Frame {
            interval,
            new: began.map_or(Rate::Unknown, rate),
            destroyed: began.map_or(Rate::Unknown, |began| rate(ended(began))),
            drop: counter("drop"),
            early_drop: counter("early_drop"),
            ..frame
        }
    }

    fn with_sections(
        &mut self,
        mut frame: Frame,
        mut read: Before,
        flows: Option<TopFlows>,
        counted: Option<&Counted>,
    ) -> Frame {
        let Wanted { order, rows, .. } = self.wanted;
        for grouped in &read.groups {
            let is_same = |other: &&Grouped| other.view() == grouped.view();
            let before = self.before.iter().flat_map(|before| &before.groups).find(is_same);
            let began = counted.and_then(|counted| {
                let groups = counted.groups.iter().find(|(view, _)| *view == grouped.view());
                groups.map(|(_, groups)| Began { groups: groups.groups(), is_complete: counted.is_complete() })
            });
            let since = before.map(|before| Since { before, began, interval: frame.interval });
            frame.sections.push(grouped.section(since, order, rows));
        }
        if let Some(flows) = flows {
            let before = self.before.as_ref().map_or(&[][..], |before| &before.flows);
            let (section, shown) = flows.section(before, frame.interval, self.selection.ages());
            frame.sections.push(section);
            read.flows = shown;
        }
        self.before = Some(read);
        frame
    }
}

fn most_groups(wanted: &Wanted) -> usize {
    if wanted.views.len() > 1 { MOST_OF_ALL } else { MOST_GROUPS }
}

fn milliseconds(span: Nanos) -> u64 {
    span.0 / 1_000_000
}

/// What was counted between two samples of all processors.
fn counters_since(before: &[CpuStats], now: &[CpuStats]) -> Counters {
    let since = now.iter().filter_map(|cpu| {
        let earlier = before.iter().find(|earlier| earlier.cpu == cpu.cpu)?;
        Some(cpu.since(earlier))
    });
    Counters::total(&since.collect::<Vec<_>>())
}
