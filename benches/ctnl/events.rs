//! Events: entries are created and deleted at full speed; each listener's received and lost events
//! and its processor time are measured.
//!
//! One thread of the benchmark creates the entries over netlink; the kernel sends the same events as
//! for entries created by packets. Received and lost events must add up to those sent.

use std::fs;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use ctnl::table::BATCH;
use serde::Serialize;

use crate::busy::Busy;
use crate::cases::{Commands, TARGETS_FROM};
use crate::limit;
use crate::listener::{Listener, OutputFormat};
use crate::measure::Line;
use crate::netns::BenchNetns;
use crate::population::{Families, Population, Table, create_range};
use crate::print;

/// Set to 1, so that entries created without a listener send a destroy event, too.
const EVENTS: &str = "/proc/sys/net/netfilter/nf_conntrack_events";

/// Multicast groups.
const NEW: u32 = 1;
const DESTROY: u32 = 3;

/// One case: the events, and the listeners' circumstances.
struct Case {
    name: &'static str,
    group: u32,
    /// Events per second; `None` is full speed.
    rate: Option<u32>,
    /// Whether every processor has another process that uses it all the time.
    busy: bool,
    /// How long the listener's output is not read.
    reader_delay: Duration,
    /// Whether ctnl writes into a file and not, as the others do, into a pipe.
    file: bool,
    /// Arguments of ctnl beside the usual ones.
    extra: &'static str,
    /// Whether no event may be lost.
    complete: bool,
}

/// The name of the listener that discards all events.
const LIMIT: &str = "limit";

const DEFAULT: Case = Case {
    name: "",
    group: NEW,
    rate: None,
    busy: false,
    reader_delay: Duration::ZERO,
    file: false,
    extra: "",
    complete: true,
};

const CASES: [Case; 8] = [
    Case { name: "events new", ..DEFAULT },
    Case { name: "events new, to a file", file: true, ..DEFAULT },
    Case { name: "events destroy", group: DESTROY, ..DEFAULT },
    Case { name: "events destroy, to a file", group: DESTROY, file: true, ..DEFAULT },
    Case { name: "events 200 k/s", rate: Some(200_000), ..DEFAULT },
    Case { name: "events 200 k/s, busy", rate: Some(200_000), busy: true, ..DEFAULT },
    Case {
        name: "events 200 k/s, reader asleep",
        rate: Some(200_000),
        reader_delay: Duration::from_secs(3),
        ..DEFAULT
    },
    Case {
        name: "events new, queue of 64 KiB",
        extra: "--buffer 64KiB --buffer-max 64KiB",
        complete: false,
        ..DEFAULT
    },
];

/// The results of a case.
#[derive(Debug, Serialize)]
pub struct EventResults {
    pub name: String,
    pub events: u32,
    pub listeners: Vec<ListenerResults>,
}

/// All runs of one listener.
#[derive(Debug, Serialize)]
pub struct ListenerResults {
    pub program: &'static str,
    pub command: String,
    pub runs: Vec<ListenerRun>,
    /// Whether it must receive every event.
    pub has_target: bool,
    /// Why there are no more runs.
    pub failure: Option<String>,
    /// Whether a failure fails the benchmark: those of the limit and of ctnl do.
    #[serde(skip)]
    fails_benchmark: bool,
}

/// One run.
#[derive(Debug, Serialize)]
pub struct ListenerRun {
    pub sent: u64,
    /// Seconds in which they were sent.
    pub seconds: f64,
    pub received: u64,
    /// Counted by the kernel.
    pub lost: u64,
    /// Reported by the listener; `None` if it reports no losses.
    pub reported_lost: Option<u64>,
    /// Seconds of processor time, user and system.
    pub cpu: f64,
    /// Most bytes of memory.
    pub peak: u64,
}

impl ListenerRun {
    /// Events a second.
    pub fn rate(&self) -> f64 {
        self.sent as f64 / self.seconds
    }

    /// Received events, in percent of those sent.
    pub fn share(&self) -> f64 {
        100.0 * self.received as f64 / self.sent as f64
    }

    /// Processor time of the listener for each event that it received.
    pub fn microseconds(&self) -> f64 {
        1e6 * self.cpu / self.received.max(1) as f64
    }

    fn check(&self) -> Result<()> {
        let ListenerRun { sent, received, lost, reported_lost, .. } = self;
        ensure!(received + lost == *sent, "of {sent} events {received} were received and {lost} lost");
        ensure!(
            reported_lost.is_none_or(|reported_lost| reported_lost == *lost),
            "{reported_lost:?} were reported as lost, and {lost} were lost"
        );
        Ok(())
    }
}

impl ListenerResults {
    pub fn median(&self, value: fn(&ListenerRun) -> f64) -> f64 {
        let sorted = self.sorted(value);
        let (low, high) = (sorted.len().saturating_sub(1) / 2, sorted.len() / 2);
        let at = |place: usize| sorted.get(place).copied().unwrap_or(f64::NAN);
        (at(low) + at(high)) / 2.0
    }

    pub fn spread(&self, value: fn(&ListenerRun) -> f64) -> (f64, f64) {
        let sorted = self.sorted(value);
        (sorted.first().copied().unwrap_or(f64::NAN), sorted.last().copied().unwrap_or(f64::NAN))
    }

    fn sorted(&self, value: fn(&ListenerRun) -> f64) -> Vec<f64> {
        let mut values: Vec<f64> = self.runs.iter().map(value).collect();
        values.sort_by(f64::total_cmp);
        values
    }
}

impl EventResults {
    /// The listener that discards all events.
    pub fn limit(&self) -> Option<&ListenerResults> {
        self.listeners.iter().find(|listener| listener.program == LIMIT && !listener.runs.is_empty())
    }

    pub fn has_failed(&self) -> bool {
        self.listeners.iter().any(|listener| listener.fails_benchmark && listener.failure.is_some())
    }
}

/// Measures every case that is `chosen`, with `events` events in each.
pub fn run(
    commands: &Commands,
    events: u32,
    rounds: usize,
    netns: &BenchNetns,
    table: &mut Table,
    chosen: &dyn Fn(&str) -> bool,
    interrupted: &Arc<AtomicBool>,
) -> Result<Vec<EventResults>> {
    let mut results = Vec::new();
    for case in CASES.iter().filter(|case| chosen(case.name)) {
        print::note(&format!("{} ({events} events)", case.name));
        let (mut listeners, lines): (Vec<ListenerResults>, Vec<_>) =
            case.listeners(commands, events).into_iter().unzip();
        let context = RunContext { commands, events, table, has_capacity: netns.has_capacity_for(events.into()) };
        measure(case, context, rounds, &mut listeners, &lines, interrupted)?;
        results.push(EventResults { name: case.name.to_owned(), events, listeners });
    }
    Ok(results)
}

/// What a run needs.
struct RunContext<'a> {
    commands: &'a Commands,
    events: u32,
    table: &'a mut Table,
    has_capacity: bool,
}

fn measure(
    case: &Case,
    mut context: RunContext<'_>,
    rounds: usize,
    listeners: &mut [ListenerResults],
    lines: &[(OutputFormat, Line)],
    interrupted: &AtomicBool,
) -> Result<()> {
    for _ in 0..rounds {
        for (listener, (format, line)) in listeners.iter_mut().zip(lines).filter(|(l, _)| l.failure.is_none()) {
            match case.run_once(*format, line, &mut context) {
                Ok(run) => {
                    listener.failure = run.check().err().map(|error| format!("{error:#}"));
                    listener.runs.push(run);
                }
                Err(error) => listener.failure = Some(format!("{error:#}")),
            }
            ensure!(!interrupted.load(Ordering::Relaxed), "interrupted");
        }
    }
    Ok(())
}

impl Case {
    fn listeners(&self, commands: &Commands, events: u32) -> Vec<(ListenerResults, (OutputFormat, Line))> {
        let (own, peer) = if self.group == NEW { ("--new", "NEW") } else { ("--destroy", "DESTROY") };
        let to = if self.file { format!("--to file:{}", file().display()) } else { self.extra.to_owned() };
        let ctnl = format!("events {own} --no-seed --on-gap continue -o json -q {to}");
        let limit = commands.limit_with("listen", &self.group.to_string());
        let mut listeners =
            vec![(OutputFormat::Number, limit), (OutputFormat::Json, Line::new(&commands.ctnl, ctnl.trim()))];
        if commands.conntrack_installed {
            let line = Line::new("conntrack", &format!("-E -e {peer} -o timestamp,id"));
            listeners.push((OutputFormat::Conntrack, line));
        }
        let results_of = |(format, line): (OutputFormat, Line)| {
            let program = match format {
                OutputFormat::Number => LIMIT,
                OutputFormat::Json => "ctnl",
                OutputFormat::Conntrack => "conntrack",
            };
            let has_target = format == OutputFormat::Json && self.complete && events >= TARGETS_FROM;
            let fails_benchmark = format != OutputFormat::Conntrack;
            let command = line.to_string();
            (
                ListenerResults { program, command, runs: Vec::new(), has_target, failure: None, fails_benchmark },
                (format, line),
            )
        };
        listeners.into_iter().map(results_of).collect()
    }

    /// One run with one listener.
    fn run_once(&self, format: OutputFormat, line: &Line, context: &mut RunContext<'_>) -> Result<ListenerRun> {
        let RunContext { commands, events, table, has_capacity } = context;
        ensure!(*has_capacity, "skipped: nf_conntrack_max is too low and cannot be raised (run as root)");
        fs::write(EVENTS, "1").context("set nf_conntrack_events to 1")?;
        let events = *events;
        let population = Population { entries: events, families: Families::V4, stale: 0 };
        if self.group == DESTROY {
            table.fill(population)?
        } else {
            limit::flush(None)?
        }
        let file = (self.file && format == OutputFormat::Json).then(file);
        let listener = Listener::start(line, format, self.reader_delay, file)?;
        let processors = if self.busy { thread::available_parallelism().map_or(1, usize::from) } else { 0 };
        let busy = Busy::start(std::iter::repeat_n(&commands.limit("spin"), processors))?;
        let start = Instant::now();
        if self.group == DESTROY {
            limit::flush(None)?
        } else {
            self.create(population, table)?
        }
        let seconds = start.elapsed().as_secs_f64();
        drop(busy);
        let (counted, lost, used) = listener.finish()?;
        Ok(ListenerRun {
            sent: events.into(),
            seconds,
            received: counted.events,
            lost,
            reported_lost: (format == OutputFormat::Json).then_some(counted.lost),
            cpu: (used.utime + used.stime).as_secs_f64(),
            peak: used.maxrss,
        })
    }

    fn create(&self, population: Population, table: &mut Table) -> Result<()> {
        let Some(rate) = self.rate else {
            return create_range(&mut table.connection, 0..population.entries, |number| population.flow(number));
        };
        let (start, step) = (Instant::now(), u32::try_from(BATCH)?);
        for first in (0..population.entries).step_by(BATCH) {
            let due = start + Duration::from_secs_f64(f64::from(first) / f64::from(rate));
            thread::sleep(due.saturating_duration_since(Instant::now()));
            let range = first..population.entries.min(first + step);
            create_range(&mut table.connection, range, |number| population.flow(number))?;
        }
        Ok(())
    }
}

/// The output file of ctnl, where it writes to a file.
fn file() -> PathBuf {
    std::env::temp_dir().join(format!("ctnl-bench-{}.json", std::process::id()))
}
