//! `cargo bench`: ctnl beside the kernel's own limit and conntrack(8).
//!
//! `world` is where it happens, `population` what the table holds, `cases` what
//! is measured, `rounds` and `measure` how, `report` what is said. `limit` and
//! `churn` run as processes of their own, which this program starts of itself.
//! See README.md in the folder above.

mod cases;
mod churn;
mod limit;
mod machine;
mod measure;
mod options;
mod population;
mod report;
mod rounds;
mod world;

use std::env;
use std::fs;
use std::process::{Command, ExitCode};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use anyhow::{Context, Result, bail, ensure};
use clap::Parser;
use serde::Serialize;
use signal_hook::consts::{SIGINT, SIGTERM};

use crate::cases::{Case, Commands};
use crate::machine::Machine;
use crate::options::Options;
use crate::population::Table;
use crate::report::{say, warn};
use crate::rounds::{Fault, Measured};
use crate::world::World;

fn main() -> ExitCode {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let done = match words.as_slice() {
        ["--child", what, outside, rest @ ..] => child(what, outside, rest).map(|()| true),
        // `cargo test --all-targets` starts benchmarks too: without an argument.
        [] => Ok(warn_of_cargo_test()),
        _ => benchmark(&Options::parse()),
    };
    match done {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            warn(&format!("{error:#}"));
            ExitCode::FAILURE
        }
    }
}

fn warn_of_cargo_test() -> bool {
    warn("a benchmark, not a test: start it with `cargo bench`");
    true
}

/// What the benchmark starts of itself. Never in the namespace that it was
/// started in: there a flush would empty the machine's own table.
fn child(what: &str, outside: &str, rest: &[&str]) -> Result<()> {
    ensure!(world::namespace()? != outside, "this is not the benchmark's own namespace");
    match (what, rest) {
        ("dump", []) => limit::dump().map(drop),
        ("flush-marked", []) => limit::flush(Some(1)),
        ("churn", [ctnl, entries]) => {
            say(&churn::check(ctnl, entries.parse()?)?);
            Ok(())
        }
        _ => bail!("no such child: {what}"),
    }
}

/// Everything that is written as JSON.
#[derive(Debug, Serialize)]
struct Results {
    schema: u32,
    machine: Machine,
    rounds: usize,
    /// A peak of this many bytes or less cannot be told from this.
    peak_floor: u64,
    cases: Vec<Measured>,
    churn: Option<String>,
    churn_passed: Option<bool>,
}

fn benchmark(options: &Options) -> Result<bool> {
    let interrupted = Arc::new(AtomicBool::new(false));
    for signal in [SIGINT, SIGTERM] {
        signal_hook::flag::register(signal, Arc::clone(&interrupted)).context("catch signals")?;
    }
    let mut world = World::enter()?;
    let largest = options.sizes().last().copied().unwrap_or(0);
    world.make_room(largest)?;
    let results = measure_all(options, &world, &interrupted);
    // A small table is faster to move to fewer buckets.
    limit::flush(None)?;
    drop(world);
    let results = results?;
    print(&results);
    let json = serde_json::to_string_pretty(&results)?;
    fs::write(&options.json, json).with_context(|| format!("write {}", options.json.display()))?;
    say(&format!("written to {}", options.json.display()));
    Ok(results.churn_passed != Some(false) && results.cases.iter().all(|case| !case.has_failed()))
}

fn measure_all(options: &Options, world: &World, interrupted: &Arc<AtomicBool>) -> Result<Results> {
    let machine = Machine::look_at(world);
    warn(&machine.line());
    let own = env::current_exe().context("find this program")?.to_string_lossy().into_owned();
    let outside = world.outside.clone();
    let ctnl = options.ctnl.clone();
    let commands = Commands { own, outside, ctnl, conntrack_installed: machine.conntrack.is_some() };
    let chosen = |name: &str| options.only.as_ref().is_none_or(|part| name.contains(part.as_str()));
    let mut table = Table::open()?;
    let mut cases = Vec::new();
    for case in cases::cases(&commands, &options.sizes()).iter().filter(|case| chosen(&case.name)) {
        warn(&format!("{} ({} entries)", case.name, case.population.entries));
        cases.push(one(case, world, &mut table, options.rounds(), interrupted)?);
    }
    let largest = options.sizes().last().copied().unwrap_or(0);
    let churn = (chosen("churn") && world.has_room(largest.into())).then(|| churn(&commands, largest));
    Ok(Results {
        schema: 1,
        machine,
        rounds: options.rounds(),
        peak_floor: measure::own_peak(),
        cases,
        churn_passed: churn.as_ref().map(Result::is_ok),
        churn: churn.map(|outcome| outcome.unwrap_or_else(|error| format!("{error:#}"))),
    })
}

fn one(
    case: &Case,
    world: &World,
    table: &mut Table,
    rounds: usize,
    interrupted: &Arc<AtomicBool>,
) -> Result<Measured> {
    if world.has_room(case.population.entries.into()) {
        return rounds::run(case, table, rounds, interrupted);
    }
    let (max, _) = world.limits();
    let why = format!("nf_conntrack_max is {max} and may not be raised from here (run as root)");
    Ok(Measured { fault: Some(Fault::LeftOut(why)), ..Measured::new(case) })
}

fn churn(commands: &Commands, entries: u32) -> Result<String> {
    warn(&format!("churn ({entries} entries)"));
    let output = Command::new(&commands.own)
        .args(["--child", "churn", &commands.outside, &commands.ctnl, &entries.to_string()])
        .output()
        .context("start the churn check")?;
    let text = String::from_utf8_lossy(if output.status.success() { &output.stdout } else { &output.stderr });
    ensure!(output.status.success(), "{}", text.trim());
    Ok(text.trim().to_owned())
}

fn print(results: &Results) {
    say(&format!("{}; medians of {} rounds\n", results.machine.line(), results.rounds));
    say(&report::table(&results.cases, results.peak_floor));
    for part in [report::others(&results.cases), report::per_entry(&results.cases), report::commands(&results.cases)] {
        if !part.is_empty() {
            say(&part);
        }
    }
    match (&results.churn, results.churn_passed) {
        (Some(text), Some(true)) => say(&format!("churn check passed: {text}")),
        (Some(text), _) => say(&format!("!! churn check FAILED: {text}")),
        _ => say("!! churn check LEFT OUT"),
    }
}
