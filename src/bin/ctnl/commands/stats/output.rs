//! The figures as a table or as JSON.

use ctnl::table::{COUNTERS, Counters, CpuStats, Occupancy};
use ctnl::units::Nanos;
use serde_json::{Map, Value, json};

use super::sample::Sample;
use super::seconds;
use crate::commands::all_netns::SampledNetns;
use crate::term::columns::Columns;

/// Intervals after which the header of a watched table is repeated.
const HEADER_EVERY: u64 = 20;
/// Width of a watched column: the table grows line by line.
const WIDTH: usize = 8;

/// What is counted in an interval.
#[derive(Debug)]
pub struct Rates {
    /// For each sample, by processor; `None` where the namespace was not there before.
    changes: Vec<Option<Vec<CpuStats>>>,
    seconds: f64,
}

impl Rates {
    /// The changes from the samples `earlier` to `samples`, which were taken `span` later.
    pub fn between(earlier: &[Sample], samples: &[Sample], span: Nanos) -> Self {
        let is_same = |one: &Sample, other: &Sample| match (&one.netns, &other.netns) {
            (Some(one), Some(other)) => one.is_same(other),
            (one, other) => one.is_none() && other.is_none(),
        };
        let change = |sample: &Sample| {
            let before = earlier.iter().find(|before| is_same(before, sample))?;
            let since =
                |cpu: &CpuStats| before.cpus.iter().find(|other| other.cpu == cpu.cpu).map(|other| cpu.since(other));
            Some(sample.cpus.iter().filter_map(since).collect())
        };
        Rates { changes: samples.iter().map(change).collect(), seconds: seconds(span) }
    }

    /// `count` of the interval, per second.
    fn per_second(&self, count: u64) -> f64 {
        if self.seconds > 0.0 { count as f64 / self.seconds } else { 0.0 }
    }
}

/// Formats the figures.
#[derive(Debug)]
pub struct Output {
    json: bool,
    per_cpu: bool,
    intervals: u64,
}

impl Output {
    /// As JSON, or as text; with a row for each processor, or not.
    pub fn new(json: bool, per_cpu: bool) -> Self {
        Output { json, per_cpu, intervals: 0 }
    }

    /// What was counted since the namespaces were made.
    pub fn once(&self, samples: &[Sample]) -> String {
        match samples {
            _ if self.json => {
                samples.iter().map(|sample| format!("{}\n", Value::Object(self.object(sample)))).collect()
            }
            [sample] if sample.netns.is_none() && !self.per_cpu => list(sample),
            _ => table(samples, self.per_cpu),
        }
    }

    /// What was counted in an interval.
    pub fn interval(&mut self, samples: &[Sample], rates: &Rates) -> String {
        let is_first = self.intervals.is_multiple_of(HEADER_EVERY);
        self.intervals += 1;
        let mut text = if is_first && !self.json { self.header(samples) } else { String::new() };
        for (sample, changes) in samples.iter().zip(&rates.changes) {
            text += &if self.json {
                format!("{}\n", self.object_with_rates(sample, changes.as_deref(), rates))
            } else {
                self.rate_lines(sample, changes.as_deref(), rates)
            };
        }
        text
    }

    fn object(&self, sample: &Sample) -> Map<String, Value> {
        let mut object = Map::new();
        object.insert("v".into(), 1.into());
        object.extend(sample.netns.iter().flat_map(SampledNetns::members));
        object.insert("entries".into(), sample.occupancy.entries.into());
        object.insert("max".into(), json!(sample.occupancy.max));
        object.insert("counters".into(), counters(&Counters::total(&sample.cpus), |count| count.into()));
        if self.per_cpu {
            let cpu =
                |cpu: &CpuStats| json!({ "cpu": cpu.cpu, "counters": counters(&cpu.counters, |count| count.into()) });
            object.insert("cpus".into(), sample.cpus.iter().map(cpu).collect());
        }
        object
    }

    fn object_with_rates(&self, sample: &Sample, changes: Option<&[CpuStats]>, rates: &Rates) -> Value {
        let mut object = self.object(sample);
        let rate = |count| json!(rates.per_second(count));
        object.insert("seconds".into(), json!(rates.seconds));
        object.insert("per_second".into(), changes.map_or(Value::Null, |cpus| counters(&Counters::total(cpus), rate)));
        Value::Object(object)
    }

    fn header(&self, samples: &[Sample]) -> String {
        let names = COUNTERS.iter().map(|counter| format!("{}/s", counter.name));
        let label = if self.per_cpu {
            "CPU"
        } else if samples.iter().any(|sample| sample.netns.is_some()) {
            "NETNS"
        } else {
            ""
        };
        watched_line(std::iter::once("entries".to_owned()).chain(names).map(|name| name.to_uppercase()), label)
    }

    fn rate_lines(&self, sample: &Sample, changes: Option<&[CpuStats]>, rates: &Rates) -> String {
        let cells = |counters: Option<&Counters>| {
            let rate =
                |counter| counters.and_then(|counters| counters.get(counter)).map(|count| rates.per_second(count));
            COUNTERS
                .iter()
                .map(rate)
                .map(|rate| rate.map_or_else(|| "?".to_owned(), |rate| format!("{rate:.1}")))
                .collect::<Vec<String>>()
        };
        let line = |entries: String, cells: Vec<String>, label: &str| {
            watched_line(std::iter::once(entries).chain(cells), label)
        };
        let total = changes.map(Counters::total);
        let label = match (&sample.netns, self.per_cpu) {
            (Some(netns), _) => netns.name.as_str(),
            (None, true) => "all",
            (None, false) => "",
        };
        let mut text = line(sample.occupancy.entries.to_string(), cells(total.as_ref()), label);
        if self.per_cpu {
            for cpu in changes.unwrap_or_default() {
                text += &line(String::new(), cells(Some(&cpu.counters)), &cpu.cpu.to_string());
            }
        }
        text
    }
}

/// A line of a watched table. Columns are as wide as their names.
fn watched_line(cells: impl Iterator<Item = String>, label: &str) -> String {
    let widths = std::iter::once("entries".len()).chain(COUNTERS.iter().map(|counter| counter.name.len() + 2));
    let cells = cells.zip(widths).map(|(cell, width)| format!("{cell:>width$}", width = width.max(WIDTH)));
    let line = format!("{}  {}", cells.collect::<Vec<_>>().join("  "), ctnl::text::printable(label));
    format!("{}\n", line.trim_end())
}

/// One namespace: a line for each figure.
fn list(sample: &Sample) -> String {
    let Occupancy { entries, max } = sample.occupancy;
    let mut columns = Columns::new(vec!["VALUE".into(), "NAME".into()], 1);
    columns.push(vec![entries.to_string(), "entries".into()]);
    columns.push(vec![max.map_or_else(|| "?".to_owned(), |max| max.to_string()), "max".into()]);
    for (name, value) in Counters::total(&sample.cpus).named() {
        columns.push(vec![value.to_string(), name]);
    }
    columns.to_text()
}

/// A row for each namespace, or for all processors and each one.
fn table(samples: &[Sample], per_cpu: bool) -> String {
    let names = COUNTERS.iter().map(|counter| counter.name.to_uppercase());
    let label = if per_cpu { "CPU" } else { "NETNS" };
    let heads: Vec<String> = std::iter::once("ENTRIES".to_owned()).chain(names).chain([label.to_owned()]).collect();
    let mut columns = Columns::new(heads, COUNTERS.len() + 1);
    let row = |entries: String, counters: &Counters, label: String| {
        let value = |counter| counters.get(counter).map_or_else(|| "?".to_owned(), |value| value.to_string());
        std::iter::once(entries).chain(COUNTERS.iter().map(value)).chain([label]).collect()
    };
    for sample in samples {
        let label = sample.netns.as_ref().map_or_else(|| "all".to_owned(), |netns| netns.name.clone());
        columns.push(row(sample.occupancy.entries.to_string(), &Counters::total(&sample.cpus), label));
        for cpu in sample.cpus.iter().filter(|_| per_cpu) {
            columns.push(row(String::new(), &cpu.counters, cpu.cpu.to_string()));
        }
    }
    columns.to_text()
}

/// An object with each counter that the kernel reports.
fn counters(counters: &Counters, value: impl Fn(u64) -> Value) -> Value {
    Value::Object(counters.named().map(|(name, count)| (name, value(count))).collect())
}
