//! Events: entries come and go at full speed, and it is counted who has received
//! how many, at which cost.
//!
//! Who makes the entries is one thread of the benchmark, over netlink, which the
//! kernel reports as it does those of packets. Each number is checked: what a
//! listener wrote and what the kernel could not queue for it are what was sent.

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
use crate::listener::{Listener, Speech};
use crate::measure::Line;
use crate::netns::BenchNetns;
use crate::population::{Families, Population, Table, create_range};
use crate::report::warn;

/// So that entries have their destroy event also where nobody listened when they
/// were made.
const EVENTS: &str = "/proc/sys/net/netfilter/nf_conntrack_events";

/// Multicast groups.
const NEW: u32 = 1;
const DESTROY: u32 = 3;

/// One case: what happens, and who listens.
struct Case {
    name: &'static str,
    group: u32,
    /// Events a second; as many as there can be where none is given.
    rate: Option<u32>,
    /// Whether every processor has another process that wants it all the time.
    busy: bool,
    /// How long nobody reads the listener's output.
    asleep: Duration,
    /// Whether ctnl writes into a file and not, as the others do, into a pipe.
    file: bool,
    /// Arguments of ctnl beside the usual ones.
    extra: &'static str,
    /// Whether nothing is to be lost.
    complete: bool,
}

/// What the listener that throws everything away is called.
const LIMIT: &str = "limit";

const USUAL: Case = Case {
    name: "",
    group: NEW,
    rate: None,
    busy: false,
    asleep: Duration::ZERO,
    file: false,
    extra: "",
    complete: true,
};

const CASES: [Case; 8] = [
    Case { name: "events new", ..USUAL },
    Case { name: "events new, to a file", file: true, ..USUAL },
    Case { name: "events destroy", group: DESTROY, ..USUAL },
    Case { name: "events destroy, to a file", group: DESTROY, file: true, ..USUAL },
    Case { name: "events 200 k/s", rate: Some(200_000), ..USUAL },
    Case { name: "events 200 k/s, busy", rate: Some(200_000), busy: true, ..USUAL },
    Case { name: "events 200 k/s, reader asleep", rate: Some(200_000), asleep: Duration::from_secs(3), ..USUAL },
    Case { name: "events new, queue of 64 KiB", extra: "--buffer 64KiB --buffer-max 64KiB", complete: false, ..USUAL },
];

/// What came of a case.
#[derive(Debug, Serialize)]
pub struct Overheard {
    pub name: String,
    pub events: u32,
    pub listeners: Vec<Listened>,
}

/// All runs of one listener.
#[derive(Debug, Serialize)]
pub struct Listened {
    pub program: &'static str,
    pub command: String,
    pub runs: Vec<Heard>,
    /// Whether it has to receive everything.
    pub judged: bool,
    /// Why there are no more.
    pub fault: Option<String>,
    /// Whether that is the benchmark's failure: not where another program is at fault.
    #[serde(skip)]
    is_ours: bool,
}

/// One run.
#[derive(Debug, Serialize)]
pub struct Heard {
    pub sent: u64,
    /// Seconds that the sending took.
    pub seconds: f64,
    pub received: u64,
    /// By the kernel's count.
    pub lost: u64,
    /// By the listener's own words; None where it has none.
    pub told: Option<u64>,
    /// Seconds of processor time, user and system.
    pub cpu: f64,
    /// Most bytes of memory.
    pub peak: u64,
}

impl Heard {
    /// Events a second.
    pub fn rate(&self) -> f64 {
        self.sent as f64 / self.seconds
    }

    /// Percent of what was sent.
    pub fn share(&self) -> f64 {
        100.0 * self.received as f64 / self.sent as f64
    }

    /// Processor time of the listener for each event that it received.
    pub fn microseconds(&self) -> f64 {
        1e6 * self.cpu / self.received.max(1) as f64
    }

    fn check(&self) -> Result<()> {
        let Heard { sent, received, lost, told, .. } = self;
        ensure!(received + lost == *sent, "of {sent} events {received} were received and {lost} lost");
        ensure!(told.is_none_or(|told| told == *lost), "{told:?} were said to be lost, and {lost} were");
        Ok(())
    }
}

impl Listened {
    pub fn median(&self, value: fn(&Heard) -> f64) -> f64 {
        let sorted = self.sorted(value);
        let (low, high) = (sorted.len().saturating_sub(1) / 2, sorted.len() / 2);
        let at = |place: usize| sorted.get(place).copied().unwrap_or(f64::NAN);
        (at(low) + at(high)) / 2.0
    }

    pub fn spread(&self, value: fn(&Heard) -> f64) -> (f64, f64) {
        let sorted = self.sorted(value);
        (sorted.first().copied().unwrap_or(f64::NAN), sorted.last().copied().unwrap_or(f64::NAN))
    }

    fn sorted(&self, value: fn(&Heard) -> f64) -> Vec<f64> {
        let mut values: Vec<f64> = self.runs.iter().map(value).collect();
        values.sort_by(f64::total_cmp);
        values
    }
}

impl Overheard {
    /// The listener that throws everything away.
    pub fn limit(&self) -> Option<&Listened> {
        self.listeners.iter().find(|listener| listener.program == LIMIT && !listener.runs.is_empty())
    }

    pub fn has_failed(&self) -> bool {
        self.listeners.iter().any(|listener| listener.is_ours && listener.fault.is_some())
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
) -> Result<Vec<Overheard>> {
    let mut results = Vec::new();
    for case in CASES.iter().filter(|case| chosen(case.name)) {
        warn(&format!("{} ({events} events)", case.name));
        let (mut listeners, lines): (Vec<Listened>, Vec<_>) = case.listeners(commands, events).into_iter().unzip();
        let stage = Stage { commands, events, table, has_capacity_for: netns.has_capacity_for(events.into()) };
        measure(case, stage, rounds, &mut listeners, &lines, interrupted)?;
        results.push(Overheard { name: case.name.to_owned(), events, listeners });
    }
    Ok(results)
}

/// What is needed for a run.
struct Stage<'a> {
    commands: &'a Commands,
    events: u32,
    table: &'a mut Table,
    has_capacity_for: bool,
}

fn measure(
    case: &Case,
    mut stage: Stage<'_>,
    rounds: usize,
    listeners: &mut [Listened],
    lines: &[(Speech, Line)],
    interrupted: &AtomicBool,
) -> Result<()> {
    for _ in 0..rounds {
        for (listened, (speech, line)) in listeners.iter_mut().zip(lines).filter(|(l, _)| l.fault.is_none()) {
            match case.hear(*speech, line, &mut stage) {
                Ok(heard) => {
                    listened.fault = heard.check().err().map(|error| format!("{error:#}"));
                    listened.runs.push(heard);
                }
                Err(error) => listened.fault = Some(format!("{error:#}")),
            }
            ensure!(!interrupted.load(Ordering::Relaxed), "interrupted");
        }
    }
    Ok(())
}

impl Case {
    fn listeners(&self, commands: &Commands, events: u32) -> Vec<(Listened, (Speech, Line))> {
        let (own, peer) = if self.group == NEW { ("--new", "NEW") } else { ("--destroy", "DESTROY") };
        let to = if self.file { format!("--to file:{}", file().display()) } else { self.extra.to_owned() };
        let ctnl = format!("events {own} --no-seed --on-gap continue -o json -q {to}");
        let limit = commands.limit_with("listen", &self.group.to_string());
        let mut listeners = vec![(Speech::Number, limit), (Speech::Json, Line::new(&commands.ctnl, ctnl.trim()))];
        if commands.conntrack_installed {
            let line = Line::new("conntrack", &format!("-E -e {peer} -o timestamp,id"));
            listeners.push((Speech::Conntrack, line));
        }
        let listened = |(speech, line): (Speech, Line)| {
            let program = match speech {
                Speech::Number => LIMIT,
                Speech::Json => "ctnl",
                Speech::Conntrack => "conntrack",
            };
            let judged = speech == Speech::Json && self.complete && events >= TARGETS_FROM;
            let is_ours = speech != Speech::Conntrack;
            let command = line.to_string();
            (Listened { program, command, runs: Vec::new(), judged, fault: None, is_ours }, (speech, line))
        };
        listeners.into_iter().map(listened).collect()
    }

    /// One run with one listener.
    fn hear(&self, speech: Speech, line: &Line, stage: &mut Stage<'_>) -> Result<Heard> {
        let Stage { commands, events, table, has_capacity_for } = stage;
        ensure!(*has_capacity_for, "left out: the table has no room (run as root)");
        fs::write(EVENTS, "1").context("set nf_conntrack_events to 1")?;
        let events = *events;
        let population = Population { entries: events, families: Families::V4, stale: 0 };
        if self.group == DESTROY {
            table.fill(population)?
        } else {
            limit::flush(None)?
        }
        let file = (self.file && speech == Speech::Json).then(file);
        let listener = Listener::start(line, speech, self.asleep, file)?;
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
        Ok(Heard {
            sent: events.into(),
            seconds,
            received: counted.events,
            lost,
            told: (speech == Speech::Json).then_some(counted.lost),
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

/// Where ctnl writes what it writes into a file.
fn file() -> PathBuf {
    std::env::temp_dir().join(format!("ctnl-bench-{}.json", std::process::id()))
}
