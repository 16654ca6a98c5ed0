//! The table of one network namespace: its dump, the kernel's counters, and the events of its new entries.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::Result;
use ctnl::clock::Time;
use ctnl::filter::Filter;
use ctnl::host::Host;
use ctnl::netlink::{Connection, Netns};
use ctnl::table::{self, COUNTERS, Counters, CpuStats, DumpRequest, Occupancy};

use super::super::model::{FrameNetns, Rate};
use super::dump::{Dump, Dumped};
use super::events::{EventSocket, Judge, NewEntries, are_sent};
use super::flows::TopFlows;
use super::groups::{Current, Grouped};
use super::milliseconds;
use crate::host::timeout_options::TimeoutOptions;
use crate::scan::{End, Selection, Settings, walk};

/// The table of a namespace.
#[derive(Debug)]
pub struct Table {
    /// Of several namespaces: which one.
    pub netns: Option<Arc<FrameNetns>>,
    pinned: Arc<Netns>,
    open: Option<Open>,
    before: Option<Before>,
    /// By the last count.
    pub entries: u32,
}

/// What all tables of a run are sampled with.
#[derive(Debug, Clone, Copy)]
pub struct Context<'c> {
    pub host: &'c Host,
    pub timeouts: &'c TimeoutOptions,
    pub filter: &'c Filter,
}

/// What the entries of all namespaces are counted into.
pub struct Counting<'c> {
    pub groups: Vec<Grouped>,
    pub flows: Option<TopFlows>,
    pub new: &'c mut NewEntries,
    pub stop: &'c AtomicBool,
}

impl Counting<'_> {
    /// Whether the end was requested.
    pub fn is_stopped(&self) -> bool {
        self.stop.load(Ordering::Relaxed)
    }
}

/// The figures of one table.
#[derive(Debug, Clone, Default)]
pub struct TableFigures {
    /// By both clocks, when its dump began.
    pub at: Time,
    pub netns: Option<Arc<FrameNetns>>,
    pub occupancy: Occupancy,
    pub seen: u64,
    pub matched: u64,
    pub undecided: u64,
    pub evictable: u64,
    pub new: Rate,
    pub destroyed: Rate,
    pub drop: Rate,
    pub early_drop: Rate,
}

/// What is kept open between two dumps.
#[derive(Debug)]
struct Open {
    connection: Connection,
    /// Read before the first entry is judged.
    judging: Option<(Settings, Selection)>,
    events: Option<EventSocket>,
    /// The events are those since a dump.
    is_heard: bool,
}

/// What the next sample is compared with.
#[derive(Debug)]
struct Before {
    /// By both clocks, when its dump began.
    at: Time,
    entries: u32,
    stats: Vec<CpuStats>,
}

impl Table {
    /// The table of the namespace of `connection`, of which nothing was counted. With a size of their queue, it has events
    /// from now on.
    ///
    /// # Errors
    /// The settings cannot be read, or events cannot be subscribed to.
    pub fn of_one(connection: Connection, buffer: Option<usize>, context: Context<'_>) -> Result<Self> {
        let pinned = Arc::new(connection.netns().clone());
        let mut table = Table { netns: None, pinned, open: None, before: None, entries: 0 };
        let mut open = Open::new(connection, buffer, 0)?;
        open.judging(context)?;
        table.open = Some(open);
        Ok(table)
    }

    /// The table of one of several namespaces. Nothing is kept open but the namespace.
    ///
    /// # Errors
    /// It cannot be entered, or the kernel refuses its count.
    pub fn of_netns(netns: FrameNetns, pinned: Netns) -> Result<Self> {
        let entries = table::count(&mut Connection::open(&pinned)?)?.entries;
        let mut table = Table { netns: None, pinned: Arc::new(pinned), open: None, before: None, entries };
        table.rename(netns);
        Ok(table)
    }

    /// The namespace has another name now.
    pub fn rename(&mut self, netns: FrameNetns) {
        self.netns = Some(Arc::new(FrameNetns { netns: Arc::downgrade(&self.pinned), ..netns }));
    }

    /// The namespace.
    pub fn pinned(&self) -> &Netns {
        &self.pinned
    }

    /// Its number among several; 0 for the only one.
    pub fn id(&self) -> u32 {
        self.netns.as_ref().map_or(0, |netns| netns.id)
    }

    /// Whether its sockets are kept open.
    pub fn is_kept(&self) -> bool {
        self.open.is_some()
    }

    /// Keeps its sockets open, with a queue of events of this size, from now on.
    ///
    /// # Errors
    /// It cannot be entered, or events cannot be subscribed to.
    pub fn keep(&mut self, buffer: Option<usize>) -> Result<()> {
        self.open = Some(Open::new(Connection::open(&self.pinned)?, buffer, self.id())?);
        Ok(())
    }

    /// Closes its sockets.
    pub fn close(&mut self) {
        self.open = None;
    }

    /// Closes its sockets after an error: what was counted before is no part of the next sample.
    pub fn reset(&mut self) {
        (self.open, self.before) = (None, None);
    }

    /// From now on, what matches the filter of `context` is sampled.
    pub fn set_filter(&mut self, context: Context<'_>) {
        if let Some((settings, selection)) = self.open.as_mut().and_then(|open| open.judging.as_mut()) {
            *selection = select(settings, context);
        }
    }

    /// Reads events that wait.
    ///
    /// # Errors
    /// The socket fails.
    pub fn read_events(&mut self, into: &mut NewEntries, context: Context<'_>) -> Result<()> {
        if let Some(open) = &mut self.open
            && open.events.is_some()
        {
            open.judging(context)?;
            if let (Some(events), Some((_, selection))) = (&mut open.events, &open.judging) {
                events.read(into, judge(selection))?;
            }
        }
        Ok(())
    }

    /// Counts its entries, by one dump. `None` where the end was requested meanwhile.
    ///
    /// # Errors
    /// What the kernel refuses.
    pub fn sample(&mut self, counting: &mut Counting<'_>, context: Context<'_>) -> Result<Option<TableFigures>> {
        let (mut open, is_kept) = match self.open.take() {
            Some(open) => (open, true),
            None => (Open::new(Connection::open(&self.pinned)?, None, self.id())?, false),
        };
        let sampled = self.sample_over(&mut open, counting, context);
        self.open = is_kept.then_some(open);
        sampled
    }

    fn sample_over(
        &mut self,
        open: &mut Open,
        counting: &mut Counting<'_>,
        context: Context<'_>,
    ) -> Result<Option<TableFigures>> {
        let events = self.take_events(open, counting.new, context)?;
        let occupancy = table::count(&mut open.connection)?;
        let stats = table::stats(&mut open.connection)?;
        let at = context.host.clock.now();
        let current = Current { has_events: events.is_some(), is_first: self.before.is_none() };
        let dumped = if occupancy.entries > 0 {
            let Some(dumped) = self.dump(open, counting, current, at, context)? else { return Ok(None) };
            dumped
        } else {
            Dumped::default()
        };
        let began = match events {
            Some(Some(events)) => Some((events, open.is_heard)),
            // Those that ended before the dump are missing.
            _ => dumped.begun().map(|began| (began, false)),
        };
        let figures = self.figures(occupancy, &stats, began, at);
        (open.is_heard, self.entries) = (true, occupancy.entries);
        self.before = Some(Before { at, entries: occupancy.entries, stats });
        let Dumped { seen, matched, undecided, evictable, .. } = dumped;
        Ok(Some(TableFigures { netns: self.netns.clone(), seen, matched, undecided, evictable, ..figures }))
    }

    /// The number of new entries since the last call, where the kernel has counted them; `None` where it sends no events of
    /// them.
    fn take_events(&self, open: &mut Open, new: &mut NewEntries, context: Context<'_>) -> Result<Option<Option<u64>>> {
        let is_incomplete = self.before.is_none() || !open.is_heard;
        if open.events.is_some() {
            open.judging(context)?;
        }
        let taken = match (&mut open.events, &open.judging) {
            (Some(events), Some((_, selection))) => Some(events.take(new, judge(selection))?),
            _ => None,
        };
        let taken = taken.filter(|_| are_sent(&self.pinned, context.host));
        if taken.is_none() || is_incomplete {
            new.set_incomplete(self.id());
        }
        Ok(taken)
    }

    /// `None` where the end was requested meanwhile.
    fn dump(
        &self,
        open: &mut Open,
        counting: &mut Counting<'_>,
        current: Current,
        at: Time,
        context: Context<'_>,
    ) -> Result<Option<Dumped>> {
        let netns = self.netns.as_ref();
        counting.groups.iter_mut().for_each(|groups| groups.start_netns(netns, current));
        counting.flows.iter_mut().for_each(|flows| flows.start_netns(netns));
        open.judging(context)?;
        let Open { connection, judging: Some((_, selection)), .. } = open else { return Ok(None) };
        selection.tally = Default::default();
        let span = self.before.as_ref().map(|before| (before.at.realtime.0, at.realtime.0));
        let Counting { groups, flows, stop, .. } = counting;
        let (dumped, refreshed) = (Dumped::default(), Ok(()));
        let mut dump = Dump { selection, groups, flows: flows.as_mut(), span, dumped, stop, refreshed };
        let walked = walk(connection, DumpRequest::default(), &context.host.clock, &mut dump)?;
        let Dump { dumped, refreshed, .. } = dump;
        refreshed?;
        counting.flows.iter_mut().for_each(|flows| flows.end_netns(selection.ages()));
        let (matched, undecided) = (selection.tally.matched, selection.tally.undecided.values().sum());
        let dumped = Dumped { seen: walked.totals.entries, matched, undecided, ..dumped };
        Ok((walked.end == End::Whole).then_some(dumped))
    }

    /// `began` is the number of new entries, and whether it is not a lower bound.
    fn figures(&self, occupancy: Occupancy, stats: &[CpuStats], began: Option<(u64, bool)>, at: Time) -> TableFigures {
        let figures = TableFigures { at, occupancy, ..TableFigures::default() };
        let Some(before) = &self.before else { return figures };
        let interval = milliseconds(at.monotonic.since(before.at.monotonic));
        let rate = |count: u64, is_exact| {
            if is_exact { Rate::known(count, interval) } else { Rate::bound(count, interval) }
        };
        let ended = |began: u64| (began + u64::from(before.entries)).saturating_sub(occupancy.entries.into());
        let counters = counters_since(&before.stats, stats);
        let counter = |name: &str| {
            let known = COUNTERS.iter().find(|counter| counter.name == name);
            let count = known.and_then(|counter| counters.get(counter));
            count.map_or(Rate::Unknown, |count| Rate::known(count, interval))
        };
        TableFigures {
            new: began.map_or(Rate::Unknown, |(began, is_exact)| rate(began, is_exact)),
            destroyed: began.map_or(Rate::Unknown, |(began, is_exact)| rate(ended(began), is_exact)),
            drop: counter("drop"),
            early_drop: counter("early_drop"),
            ..figures
        }
    }
}

impl Open {
    fn new(connection: Connection, buffer: Option<usize>, id: u32) -> Result<Self> {
        let subscribe = |buffer| EventSocket::subscribe(connection.netns(), id, buffer);
        let events = buffer.map(subscribe).transpose()?;
        Ok(Open { connection, judging: None, events, is_heard: false })
    }

    fn judging(&mut self, context: Context<'_>) -> Result<()> {
        if self.judging.is_none() {
            let settings = Settings::read(&self.connection, context.host, context.timeouts)?;
            let selection = select(&settings, context);
            self.judging = Some((settings, selection));
        }
        Ok(())
    }
}

fn select(settings: &Settings, context: Context<'_>) -> Selection {
    Selection::by(context.filter.clone(), settings.clone(), context.host.clock.now().realtime.0)
}

fn judge(selection: &Selection) -> Judge<'_> {
    Judge { filter: selection.filter(), ages: selection.ages() }
}

/// What was counted between two samples of all processors.
fn counters_since(before: &[CpuStats], now: &[CpuStats]) -> Counters {
    let since = now.iter().filter_map(|cpu| {
        let earlier = before.iter().find(|earlier| earlier.cpu == cpu.cpu)?;
        Some(cpu.since(earlier))
    });
    Counters::total(&since.collect::<Vec<_>>())
}
