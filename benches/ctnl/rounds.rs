//! Runs the cases in rounds (limit, ctnl, conntrack, limit, …), so that drift of the machine affects
//! all of them equally.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::{Result, ensure};
use serde::Serialize;

use crate::busy::Busy;
use crate::cases::{Case, Commands, Effect, TARGETS_FROM, Targets};
use crate::limit;
use crate::measure::{Line, Series};
use crate::population::Table;
use crate::saved::SavedFiles;

/// A command that takes a few milliseconds is run this many times as often.
const OFTEN: usize = 5;

/// The results of a case.
#[derive(Debug, Serialize)]
pub struct Measured {
    pub name: String,
    pub entries: u32,
    pub limit: Option<Series>,
    pub ctnl: Series,
    pub conntrack: Option<Series>,
    pub others: Vec<Series>,
    #[serde(skip)]
    pub targets: Targets,
    pub to_limit: Option<Ratio>,
    pub to_conntrack: Option<Ratio>,
    /// The limit's time to conntrack(8)'s: the lowest ratio that a dump over one socket can reach.
    pub limit_to_conntrack: Option<f64>,
    pub peak_is_within_target: Option<bool>,
    pub no_result: Option<NoResult>,
}

/// Why there are no figures.
#[derive(Debug, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum NoResult {
    /// It cannot be measured on this machine.
    Skipped(String),
    Failed(String),
}

/// A ratio of medians, and its target where it has one at this size.
#[derive(Debug, Clone, Copy, Serialize)]
pub struct Ratio {
    pub ratio: f64,
    /// Half the distance between the smallest and the largest ratio of one round.
    pub spread: f64,
    pub target: Option<f64>,
    pub verdict: Option<Verdict>,
}

/// Whether a ratio meets its target.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    Met,
    /// Missed by less than the spread of this run.
    WithinSpread,
    Missed,
}

impl Ratio {
    fn of(ctnl: &Series, other: &Series, target: Option<f64>) -> Self {
        let (ratio, spread) = (ctnl.wall() / other.wall(), ctnl.spread_to(other));
        let verdict = |target| match ratio - target {
            over if over <= 0.0 => Verdict::Met,
            over if over < spread => Verdict::WithinSpread,
            _ => Verdict::Missed,
        };
        Ratio { ratio, spread, target, verdict: target.map(verdict) }
    }
}

impl Measured {
    /// A case before its first run.
    pub fn new(case: &Case) -> Self {
        Measured {
            name: case.name.clone(),
            entries: case.population.entries,
            limit: case.limit.as_ref().map(Series::of),
            ctnl: Series::of(&case.ctnl),
            conntrack: case.conntrack.as_ref().map(Series::of),
            others: case.others.iter().map(Series::of).collect(),
            targets: case.targets,
            to_limit: None,
            to_conntrack: None,
            limit_to_conntrack: None,
            peak_is_within_target: None,
            no_result: None,
        }
    }

    pub fn has_failed(&self) -> bool {
        matches!(self.no_result, Some(NoResult::Failed(_)))
    }

    /// Computes the ratios from the samples.
    fn compute_ratios(&mut self) {
        let beside = self.limit.iter_mut().chain(&mut self.conntrack).chain(&mut self.others);
        beside.chain([&mut self.ctnl]).for_each(Series::summarize);
        let judged = self.entries >= TARGETS_FROM;
        let target = |target: Option<f64>| target.filter(|_| judged);
        let (to_limit, to_conntrack) = (target(self.targets.to_limit), target(self.targets.to_conntrack));
        self.to_limit = self.limit.as_ref().map(|limit| Ratio::of(&self.ctnl, limit, to_limit));
        self.to_conntrack = self.conntrack.as_ref().map(|other| Ratio::of(&self.ctnl, other, to_conntrack));
        let wall = |series: &Option<Series>| series.as_ref().map(Series::wall);
        self.limit_to_conntrack = wall(&self.limit).zip(wall(&self.conntrack)).map(|(limit, other)| limit / other);
        self.peak_is_within_target = self.targets.peak.then(|| self.ctnl.peak() <= Targets::PEAK);
    }
}

/// Measures `case`. A failure is part of the result; only an interrupt is an error.
pub fn run(
    case: &Case,
    table: &mut Table,
    runs: usize,
    commands: &Commands,
    interrupted: &Arc<AtomicBool>,
) -> Result<Measured> {
    // Removed at the end.
    let files = SavedFiles::new()?;
    let mut measured = Measured::new(case);
    let runs = if case.limit.is_none() || case.population.entries == 0 { runs * OFTEN } else { runs };
    let outcome = fill(case, table).and_then(|()| {
        if case.effect == Effect::Creates {
            files.write(case.population, &commands.ctnl, commands.conntrack_installed)?;
        }
        (0..runs).try_for_each(|_| {
            ensure!(!interrupted.load(Ordering::Relaxed), "interrupted");
            round(case, table, &mut measured)
        })
    });
    ensure!(!interrupted.load(Ordering::Relaxed), "interrupted");
    measured.no_result = outcome.err().map(|error| NoResult::Failed(format!("{error:#}")));
    if measured.no_result.is_none() {
        measured.compute_ratios();
    }
    Ok(measured)
}

fn fill(case: &Case, table: &mut Table) -> Result<()> {
    table.fill(case.population)?;
    if case.effect == Effect::Caps { table.shorten(case.population) } else { Ok(()) }
}

fn round(case: &Case, table: &mut Table, measured: &mut Measured) -> Result<()> {
    if let (Some(line), Some(series)) = (&case.limit, &mut measured.limit) {
        if case.limit_changes {
            run_and_restore(case, table, line, series)?;
        } else {
            series.samples.push(line.measure()?);
        }
    }
    let changing =
        [(Some(&case.ctnl), Some(&mut measured.ctnl)), (case.conntrack.as_ref(), measured.conntrack.as_mut())];
    for (line, series) in changing {
        if let (Some(line), Some(series)) = (line, series) {
            run_and_restore(case, table, line, series)?;
        }
    }
    for (line, series) in case.others.iter().zip(&mut measured.others) {
        run_and_restore(case, table, line, series)?;
    }
    Ok(())
}

/// Runs a command that may change the table, checks that it changed what it should, and restores that.
fn run_and_restore(case: &Case, table: &mut Table, line: &Line, series: &mut Series) -> Result<()> {
    if case.effect == Effect::Creates {
        limit::flush(None)?;
    }
    let beside = Busy::start(&case.beside)?;
    series.samples.push(line.measure()?);
    drop(beside);
    match case.effect {
        Effect::None => Ok(()),
        Effect::Deletes => table.refill(case.population),
        Effect::Creates => table.expect(case.population.entries),
        Effect::Caps => table.raise(case.population),
    }
}
