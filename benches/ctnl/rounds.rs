//! Runs the cases, in rounds: limit, ctnl, conntrack, limit, … so that whatever
//! drifts on the machine drifts for all of them.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::{Result, ensure};
use serde::Serialize;

use crate::busy::Busy;
use crate::cases::{Case, TARGETS_FROM, Targets};
use crate::measure::{Line, Series};
use crate::population::Table;

/// A command that takes a few milliseconds is run this many times as often.
const OFTEN: usize = 5;

/// What came of a case.
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
    /// The limit's time to conntrack(8)'s: what no program can be below that asks
    /// for the table over one socket.
    pub limit_to_conntrack: Option<f64>,
    pub peak_is_within_target: Option<bool>,
    pub fault: Option<Fault>,
}

/// Why there are no figures.
#[derive(Debug, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Fault {
    /// It could not be measured here.
    LeftOut(String),
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

/// How a ratio stands to its target.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    Met,
    /// Missed by less than the spread of the run: met, as far as this run can show.
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
            fault: None,
        }
    }

    pub fn has_failed(&self) -> bool {
        matches!(self.fault, Some(Fault::Failed(_)))
    }

    /// Draws the ratios from the samples.
    fn judge(&mut self) {
        let beside = self.limit.iter_mut().chain(&mut self.conntrack).chain(&mut self.others);
        beside.chain([&mut self.ctnl]).for_each(Series::sum_up);
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

/// Measures `case`. What fails is said in the result; only an interrupt is an error.
pub fn run(case: &Case, table: &mut Table, runs: usize, interrupted: &Arc<AtomicBool>) -> Result<Measured> {
    let mut measured = Measured::new(case);
    let runs = if case.limit.is_none() || case.population.entries == 0 { runs * OFTEN } else { runs };
    let outcome = table.fill(case.population).and_then(|()| {
        (0..runs).try_for_each(|_| {
            ensure!(!interrupted.load(Ordering::Relaxed), "interrupted");
            round(case, table, &mut measured)
        })
    });
    ensure!(!interrupted.load(Ordering::Relaxed), "interrupted");
    measured.fault = outcome.err().map(|error| Fault::Failed(format!("{error:#}")));
    if measured.fault.is_none() {
        measured.judge();
    }
    Ok(measured)
}

fn round(case: &Case, table: &mut Table, measured: &mut Measured) -> Result<()> {
    if let (Some(line), Some(series)) = (&case.limit, &mut measured.limit) {
        series.samples.push(line.measure()?);
    }
    let changing =
        [(Some(&case.ctnl), Some(&mut measured.ctnl)), (case.conntrack.as_ref(), measured.conntrack.as_mut())];
    for (line, series) in changing {
        if let (Some(line), Some(series)) = (line, series) {
            change(case, table, line, series)?;
        }
    }
    for (line, series) in case.others.iter().zip(&mut measured.others) {
        change(case, table, line, series)?;
    }
    Ok(())
}

/// Runs a command that may delete the stale entries, checks that it deleted as
/// many as it should, and puts them back.
fn change(case: &Case, table: &mut Table, line: &Line, series: &mut Series) -> Result<()> {
    let beside = Busy::start(&case.beside)?;
    series.samples.push(line.measure()?);
    drop(beside);
    if case.deletes {
        table.refill(case.population)?;
    }
    Ok(())
}
