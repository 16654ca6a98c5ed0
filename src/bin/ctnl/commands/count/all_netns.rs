//! `count --all-netns`: a row for each namespace, or groups with the namespace of each.

use std::ops::ControlFlow;

use anyhow::{Result, anyhow};
use ctnl::field::Subject;
use ctnl::host::Host;
use ctnl::netlink::Connection;
use ctnl::table::{self, Occupancy};
use serde_json::{Map, Value, json};

use super::groups::Grouping;
use super::{Args, Counting, report};
use crate::commands::all_netns::{AllNetns, SampledNetns};
use crate::commands::read::{Criteria, Walked};
use crate::scan::{Selection, Tally, Watch, walk_matches};
use crate::term::columns::Columns;
use crate::term::console::Console;
use crate::term::exit::Exit;
use crate::term::interrupt::Interrupt;
use crate::term::stdout::print;

/// What was counted in one namespace.
struct Counted {
    netns: SampledNetns,
    entries: u64,
    figures: Figures,
}

/// What else is known of it.
enum Figures {
    /// Of the kernel's own counter: the largest number of entries.
    Counter { max: Option<u32> },
    /// Of a dump.
    Dump { seen: u64, document: Value, is_whole: bool },
}

/// Counts in each namespace.
struct Counter<'a> {
    args: &'a Args,
    criteria: &'a Criteria,
    host: &'a Host,
    interrupt: Interrupt,
    grouping: Option<Grouping>,
    tally: Tally,
    /// A signal ended it.
    is_interrupted: bool,
}

/// Runs the command.
pub fn run(args: &Args, criteria: &Criteria, grouping: Option<Grouping>, host: &Host) -> Result<Exit> {
    let mut console = args.read.common.console();
    let mut all = AllNetns::new(host)?;
    let is_dump = grouping.is_some() || !criteria.filter.is_empty();
    let (interrupt, grouping) = (Interrupt::listen()?, grouping.map(Grouping::by_netns));
    let tally = Tally::default();
    let mut counter = Counter { args, criteria, host, interrupt, grouping, tally, is_interrupted: false };
    let (counted, is_complete) = all.read(&mut console, "count the entries", |mut connection, netns, console| {
        if counter.interrupt.requested() {
            counter.is_interrupted = true;
            return Ok(None);
        }
        let netns = netns.clone();
        if is_dump {
            return counter.dump(connection, netns, console).map(Some);
        }
        let Occupancy { entries, max } = table::count(&mut connection)?;
        Ok(Some(Counted { netns, entries: entries.into(), figures: Figures::Counter { max } }))
    })?;
    match &counter.grouping {
        Some(grouping) => grouping.print(args.json)?,
        None if args.json => {
            print(counted.iter().map(|counted| format!("{}\n", counted.document())).collect::<String>())?
        }
        None => print(table_of(&counted, is_dump))?,
    }
    counter.summarize(&counted, &mut console);
    let entries: u64 = counted.iter().map(|counted| counted.entries).sum();
    Ok(match (is_complete && counted.iter().all(Counted::is_whole), entries) {
        (false, _) => Exit::Partly,
        (true, 0) if args.read.fail_if_none => Exit::Failed,
        _ => Exit::Done,
    })
}

impl Counter<'_> {
    /// Counts what matches in one namespace.
    fn dump(&mut self, mut connection: Connection, netns: SampledNetns, console: &mut Console) -> Result<Counted> {
        let expected = table::count(&mut connection).unwrap_or_default().entries;
        let mut watch = Watch::new(console, &self.interrupt, self.host, expected.into());
        let filter = self.criteria.filter.clone();
        let mut selection = Selection::new(filter, &mut connection, self.host, &self.criteria.timeouts, false)?;
        let request = self.args.read.scan.request(selection.filter());
        let mut counting = Counting { grouping: self.grouping.take(), counted: 0 };
        counting.grouping.iter_mut().for_each(|grouping| grouping.start_netns(&netns));
        let count = |subject: &Subject<'_>| -> ControlFlow<()> { counting.add(subject) };
        let walked = walk_matches(&mut connection, request, &mut selection, &mut watch, count);
        let is_grouped = counting.grouping.is_some() && counting.counted > 0;
        self.grouping = counting.grouping.take();
        self.tally.add(&selection.tally);
        let (walked, is_interrupted) = walked.map_err(|error| {
            let error = anyhow::Error::from(error);
            if is_grouped { anyhow!("{error:#} (the groups have {} of them)", counting.counted) } else { error }
        })?;
        let walked = Walked { totals: walked.totals, is_interrupted, is_resized: watch.warn_if_resized() };
        self.is_interrupted |= is_interrupted;
        let document = counting.document(&selection, walked);
        let (seen, is_whole) = (walked.totals.entries, !walked.is_interrupted && !walked.is_resized);
        Ok(Counted { netns, entries: counting.counted, figures: Figures::Dump { seen, document, is_whole } })
    }

    fn summarize(&self, counted: &[Counted], console: &mut Console) {
        let sum = |number: fn(&Counted) -> u64| counted.iter().map(number).sum::<u64>();
        let (entries, seen) = (sum(|counted| counted.entries), sum(Counted::seen));
        let what = match counted.first() {
            Some(Counted { figures: Figures::Dump { .. }, .. }) => format!("{entries} matched, {seen} entries seen"),
            _ => format!("{entries} entries"),
        };
        let groups = self.grouping.as_ref().map(Grouping::summary).unwrap_or_default();
        let netns = if counted.len() == 1 { "network namespace" } else { "network namespaces" };
        console.note(&format!("{what}{groups} in {} {netns}", counted.len()));
        report::print_undecided(console, &self.tally);
        for note in self.grouping.iter().flat_map(Grouping::notes) {
            console.note(&note);
        }
        if self.is_interrupted {
            console.warn("interrupted: not all namespaces were counted to the end");
        }
    }
}

impl Counted {
    fn seen(&self) -> u64 {
        match self.figures {
            Figures::Counter { .. } => self.entries,
            Figures::Dump { seen, .. } => seen,
        }
    }

    fn is_whole(&self) -> bool {
        !matches!(self.figures, Figures::Dump { is_whole: false, .. })
    }

    fn document(&self) -> Value {
        let own = match &self.figures {
            Figures::Counter { max } => json!({ "v": 1, "entries": self.entries, "max": max }),
            Figures::Dump { document, .. } => document.clone(),
        };
        let own = match own {
            Value::Object(own) => own,
            _ => Map::new(),
        };
        Value::Object(self.netns.members().chain(own).collect())
    }
}

/// A row for each namespace.
fn table_of(counted: &[Counted], is_dump: bool) -> String {
    let second = if is_dump { "SEEN" } else { "MAX" };
    let mut columns = Columns::new(["ENTRIES", second, "NETNS"].map(String::from).to_vec(), 2);
    for counted in counted {
        let second = match counted.figures {
            Figures::Counter { max } => max.map_or_else(|| "?".to_owned(), |max| max.to_string()),
            Figures::Dump { seen, .. } => seen.to_string(),
        };
        columns.push(vec![counted.entries.to_string(), second, counted.netns.name.clone()]);
    }
    columns.to_text()
}
