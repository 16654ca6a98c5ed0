//! One frame from one dump of each table.
//!
//! `groups` counts entries by group, `frequent` keeps the largest groups, `flows` keeps the first flows of an order, `events`
//! counts the entries that begin between two dumps, `table` samples the table of one network namespace (`dump` visits its entries), and `all` those of all, of which the largest have `queues` of events.

mod all;
mod dump;
mod events;
mod flows;
mod frequent;
mod groups;
mod queues;
mod table;

use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use anyhow::Result;
use ctnl::host::Host;
use ctnl::netlink::{Connection, Netns};
use ctnl::units::Nanos;

use self::all::AllTables;
use self::events::{BUFFER, NewEntries, NewGroups};
use self::flows::{Shown, TopFlows};
use self::groups::{Began, Grouped, Since};
use self::table::{Context, Counting, Table, TableFigures};
use super::model::{Frame, FrameNetns, NetnsFigures, Rate};
use super::order::SortOrder;
use super::pace::{process_time, processor_time};
use super::view::{ShownFilter, View};
use crate::host::buckets::Buckets;
use crate::host::timeout_options::TimeoutOptions;

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
    /// Of several namespaces, this one alone.
    pub netns: Option<Arc<FrameNetns>>,
}

/// Samples one namespace, or all.
#[derive(Debug)]
pub struct Sampler {
    host: Host,
    timeouts: TimeoutOptions,
    tables: Tables,
    filter: ShownFilter,
    wanted: Wanted,
    new_entries: NewEntries,
    before: Option<Before>,
    /// Processor time of the last sample that was used by other threads: those that enter namespaces.
    entering: Nanos,
}

#[derive(Debug)]
enum Tables {
    One(Box<Table>),
    All(AllTables),
}

/// What the next frame is compared with.
#[derive(Debug)]
struct Before {
    /// When the first dump began.
    at: Nanos,
    groups: Vec<Grouped>,
    flows: Vec<Shown>,
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
        let filter = ShownFilter::default();
        let context = Context { host, timeouts, filter: &filter.filter };
        let table = Table::of_one(connection, with_events.then_some(BUFFER), context)?;
        Self::of(Tables::One(Box::new(table)), host, timeouts, wanted)
    }

    /// A sampler of all namespaces of the host.
    ///
    /// # Errors
    /// A view cannot be grouped by.
    pub fn of_all(host: &Host, timeouts: &TimeoutOptions, wanted: Wanted, with_events: bool) -> Result<Self> {
        Self::of(Tables::All(AllTables::new(host, with_events)), host, timeouts, wanted)
    }

    fn of(tables: Tables, host: &Host, timeouts: &TimeoutOptions, wanted: Wanted) -> Result<Self> {
        let new_entries = NewEntries::new(&wanted.views, most_groups(&wanted))?;
        let (host, timeouts, filter) = (host.clone(), timeouts.clone(), ShownFilter::default());
        Ok(Sampler { host, timeouts, tables, filter, wanted, new_entries, before: None, entering: Nanos(0) })
    }

    /// The namespace; `None` for all.
    pub fn netns(&self) -> Option<&Netns> {
        match &self.tables {
            Tables::One(table) => Some(table.pinned()),
            Tables::All(_) => None,
        }
    }

    /// The processor time that the last sample has used besides that of the calling thread.
    pub fn entering(&self) -> Nanos {
        self.entering
    }

    /// From now on, samples what matches `filter`. The next frame has no rates of groups.
    pub fn set_filter(&mut self, filter: ShownFilter) {
        self.filter = filter;
        let context = Context { host: &self.host, timeouts: &self.timeouts, filter: &self.filter.filter };
        self.tables.each(None, |table| table.set_filter(context));
        self.forget_groups();
    }

    /// From now on, samples these tables.
    pub fn set_wanted(&mut self, wanted: Wanted) {
        let id = |wanted: &Wanted| wanted.netns.as_ref().map(|netns| netns.id);
        let is_same = self.wanted.views == wanted.views && id(&self.wanted) == id(&wanted);
        self.wanted = wanted;
        if !is_same {
            self.forget_groups();
        }
    }

    fn forget_groups(&mut self) {
        if let Some(before) = &mut self.before {
            (before.groups, before.flows) = (Vec::new(), Vec::new());
        }
        // What was counted for the old groups is part of no frame.
        let _ = self.new_entries.take(&self.wanted.views);
    }

    /// Reads events that wait. To be called several times a second.
    ///
    /// # Errors
    /// The socket of the only namespace fails.
    pub fn read_events(&mut self) -> Result<()> {
        let Sampler { host, timeouts, filter, new_entries, wanted, tables, .. } = self;
        let context = Context { host, timeouts, filter: &filter.filter };
        let mut read = Ok(());
        if let Tables::All(all) = tables {
            // An error is that of the next sample, too.
            let _ = all.find_again(new_entries, context);
        }
        tables.each(wanted.netns.as_deref(), |table| {
            if let Err(error) = table.read_events(new_entries, context) {
                new_entries.set_incomplete(table.id());
                read = Err(error);
            }
        });
        match tables {
            Tables::One(_) => read,
            // The next sample of that table fails, too, and names it.
            Tables::All(_) => Ok(()),
        }
    }

    /// Dumps each table once. `None` where `stop` was set meanwhile.
    ///
    /// # Errors
    /// What the kernel refuses; of several namespaces, no one can be read.
    pub fn sample(&mut self, stop: &AtomicBool) -> Result<Option<Frame>> {
        let (of_all, of_this) = (process_time(), processor_time());
        let frame = self.make_frame(stop);
        let others = process_time().since(of_all).since(processor_time().since(of_this));
        self.entering = if matches!(self.tables, Tables::All(_)) { others } else { Nanos(0) };
        frame
    }

    fn make_frame(&mut self, stop: &AtomicBool) -> Result<Option<Frame>> {
        let netfilter = self.host.netfilter();
        let buckets = Buckets::read(&netfilter);
        let at = self.host.clock.now();
        let (groups, flows) = self.blank()?;
        let context = Context { host: &self.host, timeouts: &self.timeouts, filter: &self.filter.filter };
        let mut counting = Counting { groups, flows, new: &mut self.new_entries, stop };
        let sampled = match &mut self.tables {
            Tables::One(table) => table.sample(&mut counting, context)?.map(|figures| (vec![figures], None)),
            Tables::All(all) => {
                let sampled = all.sample(self.wanted.netns.as_deref(), &mut counting, context)?;
                sampled.map(|(figures, netns)| (figures, Some(netns)))
            }
        };
        let Some((figures, netns)) = sampled else { return Ok(None) };
        // The interval of a single table is that of its counters.
        let (began, at) = match &figures[..] {
            [only] => (at, only.at),
            _ => (at, at),
        };
        let Counting { groups, flows, .. } = counting;
        let new = self.new_entries.take(&self.wanted.views)?;
        let frame = Frame {
            at: at.realtime.0 / 1_000_000,
            interval: self.before.as_ref().map_or(0, |before| milliseconds(at.monotonic.since(before.at))),
            took: milliseconds(self.host.clock.now().monotonic.since(began.monotonic)),
            filter: self.filter.text.clone(),
            is_resized: buckets.resized_since(&netfilter),
            ..of_tables(&figures, netns)
        };
        let read = Before { at: at.monotonic, groups, flows: Vec::new() };
        Ok(Some(self.with_sections(frame, read, flows, &new)))
    }

    /// Nothing was counted yet.
    fn blank(&self) -> Result<(Vec<Grouped>, Option<TopFlows>)> {
        let most = most_groups(&self.wanted);
        let mut groups = Vec::new();
        for view in &self.wanted.views {
            groups.extend(Grouped::new(*view, most)?);
        }
        let has_flows = self.wanted.views.contains(&View::Flows);
        Ok((groups, has_flows.then(|| TopFlows::new(self.wanted.order, self.wanted.rows))))
    }

    fn with_sections(&mut self, mut frame: Frame, mut read: Before, flows: Option<TopFlows>, new: &NewGroups) -> Frame {
        let Wanted { order, rows, .. } = self.wanted;
        for grouped in &read.groups {
            let is_same = |other: &&Grouped| other.view() == grouped.view();
            let before = self.before.iter().flat_map(|before| &before.groups).find(is_same);
            let groups = new.by_view.iter().find(|(view, _)| *view == grouped.view());
            let began = groups.map(|(_, groups)| Began { groups, incomplete: &new.incomplete });
            let since = before.map(|before| Since { before, began, interval: frame.interval });
            frame.sections.push(grouped.section(since, order, rows));
        }
        if let Some(flows) = flows {
            let before = self.before.as_ref().map_or(&[][..], |before| &before.flows);
            let (section, shown) = flows.section(before, frame.interval);
            frame.sections.push(section);
            read.flows = shown;
        }
        self.before = Some(read);
        frame
    }
}

impl Tables {
    /// Calls `work` with each table, or with the one of `only`.
    fn each(&mut self, only: Option<&FrameNetns>, mut work: impl FnMut(&mut Table)) {
        match self {
            Tables::One(table) => work(table),
            Tables::All(all) => {
                let is_wanted = |table: &&mut Table| only.is_none_or(|only| only.id == table.id());
                all.tables_mut().filter(is_wanted).for_each(work);
            }
        }
    }
}

/// The figures of the header.
fn of_tables(tables: &[TableFigures], netns: Option<NetnsFigures>) -> Frame {
    let sum = |number: fn(&TableFigures) -> u64| tables.iter().map(number).sum::<u64>();
    let rate = |rate: fn(&TableFigures) -> Rate| Rate::sum(tables.iter().map(rate));
    let fullest = tables.iter().find(|table| match (&netns, &table.netns) {
        (Some(netns), Some(of_table)) => netns.fullest == of_table.name,
        _ => true,
    });
    let max = fullest.and_then(|fullest| fullest.occupancy.max).filter(|max| *max > 0);
    Frame {
        entries: sum(|table| table.occupancy.entries.into()),
        max: max.map(u64::from),
        seen: sum(|table| table.seen),
        matched: sum(|table| table.matched),
        undecided: sum(|table| table.undecided),
        evictable: sum(|table| table.evictable),
        new: rate(|table| table.new),
        destroyed: rate(|table| table.destroyed),
        drop: rate(|table| table.drop),
        early_drop: rate(|table| table.early_drop),
        netns,
        ..Frame::default()
    }
}

fn most_groups(wanted: &Wanted) -> usize {
    if wanted.views.len() > 1 { MOST_OF_ALL } else { MOST_GROUPS }
}

fn milliseconds(span: Nanos) -> u64 {
    span.0 / 1_000_000
}
