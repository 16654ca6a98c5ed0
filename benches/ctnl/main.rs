//! `cargo bench`: ctnl beside the kernel's own limit and conntrack(8).
//!
//! - `netns`: the private network namespace, and the kernel's limits
//! - `population`: the entries of the table
//! - `cases`, `measure`, `rounds`: the command lines, one run, all runs of a case
//! - `saved`: the files of the cases that restore a table
//! - `events`, `listener`: the same for event listeners
//! - `namespaces`: the listener of many namespaces
//! - `top`: the processor time of `ctnl top`
//! - `report`, `print`: the results as text, and where it is printed
//! - `limit`, `churn`: run as child processes, which this program starts of itself
//! - `soak`: flushes under live traffic on a disturbed host (`--soak`)
//! - `event_soak`: the event stream with disturbed peers (`--event-soak`)
//!
//! See README.md in the folder above.

mod busy;
mod cases;
mod churn;
mod event_soak;
mod events;
mod limit;
mod listener;
mod machine;
mod measure;
mod namespaces;
mod netns;
mod options;
mod population;
mod print;
mod report;
mod rounds;
mod saved;
mod soak;
mod top;

use std::env;
use std::fs;
use std::process::{Command, ExitCode};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use anyhow::{Context, Result, bail, ensure};
use clap::Parser;
use serde::Serialize;
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};

use crate::cases::{Case, Commands};
use crate::events::EventResults;
use crate::machine::Machine;
use crate::namespaces::NamespaceResults;
use crate::netns::BenchNetns;
use crate::options::Options;
use crate::population::Table;
use crate::rounds::{Measured, NoResult};
use crate::top::TopResults;

fn main() -> ExitCode {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let done = match words.as_slice() {
        ["--child", what, outside, rest @ ..] => child(what, outside, rest).map(|()| true),
        // `cargo test --all-targets` starts benchmarks too: without an argument.
        [] => Ok(note_cargo_test()),
        _ => benchmark(&Options::parse()),
    };
    match done {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            print::note(&format!("{error:#}"));
            ExitCode::FAILURE
        }
    }
}

fn note_cargo_test() -> bool {
    print::note("a benchmark, not a test: start it with `cargo bench`");
    true
}

/// Runs a child process of the benchmark. Refuses to run in the namespace that the benchmark was
/// started in: a flush would empty the machine's own table.
fn child(what: &str, outside: &str, rest: &[&str]) -> Result<()> {
    ensure!(netns::namespace()? != outside, "this is not the benchmark's own namespace");
    match (what, rest) {
        ("dump", []) => limit::dump().map(drop),
        ("dump-halves", []) => limit::halves().map(drop),
        ("listen", [group]) => {
            print::result(&limit::listen(group.parse()?)?.to_string());
            Ok(())
        }
        ("spin", []) => loop {
            std::hint::spin_loop();
        },
        ("create", [requests]) => limit::create(requests),
        ("flush-marked", []) => limit::flush(Some(1)),
        ("event-soak", [ctnl, minutes]) => event_soak::child(ctnl, minutes.parse()?),
        ("churn", [ctnl, entries]) => {
            print::result(&churn::check(ctnl, entries.parse()?)?);
            Ok(())
        }
        _ => bail!("no such child: {what}"),
    }
}

/// The JSON document.
#[derive(Debug, Serialize)]
struct Results {
    schema: u32,
    machine: Machine,
    rounds: usize,
    /// The benchmark's own peak memory in bytes. A child starts with it: a smaller peak is not visible.
    peak_floor: u64,
    cases: Vec<Measured>,
    churn: Vec<Churned>,
    events: Vec<EventResults>,
    namespaces: Vec<NamespaceResults>,
    top: Vec<TopResults>,
}

/// The result of the churn check.
#[derive(Debug, Serialize)]
struct Churned {
    passed: bool,
    /// The result, or the error.
    text: String,
}

fn benchmark(options: &Options) -> Result<bool> {
    let interrupted = Arc::new(AtomicBool::new(false));
    for signal in [SIGINT, SIGTERM, SIGHUP] {
        signal_hook::flag::register(signal, Arc::clone(&interrupted)).context("catch signals")?;
    }
    let mut netns = BenchNetns::enter()?;
    if let Some(minutes) = options.soak {
        netns.raise_limits(2 * soak::FILLER)?;
        return soak::run(&options.ctnl, minutes, &interrupted);
    }
    if let Some(minutes) = options.event_soak {
        let own = own_program()?;
        return event_soak::run(&own, &netns.outside, &options.ctnl, minutes);
    }
    let largest = options.sizes().last().copied().unwrap_or(0);
    netns.raise_limits(largest)?;
    let results = measure_all(options, &netns, &interrupted);
    // Shrinking the hash table is faster when it is empty.
    limit::flush(None)?;
    drop(netns);
    let results = results?;
    let Results { cases, churn, events, namespaces, top, .. } = &results;
    if cases.is_empty() && churn.is_empty() && events.is_empty() && namespaces.is_empty() && top.is_empty() {
        bail!("nothing was measured: no case has `{}` in its name", options.only.as_deref().unwrap_or_default());
    }
    print_results(&results);
    let json = serde_json::to_string_pretty(&results)?;
    fs::write(&options.json, json).with_context(|| format!("write {}", options.json.display()))?;
    print::result(&format!("written to {}", options.json.display()));
    let passed = results.churn.iter().all(|check| check.passed)
        && results.events.iter().all(|case| !case.has_failed())
        && results.namespaces.iter().all(|case| case.failure.is_none())
        && results.top.iter().all(|case| case.failure.is_none());
    Ok(passed && results.cases.iter().all(|case| !case.has_failed()))
}

fn measure_all(options: &Options, netns: &BenchNetns, interrupted: &Arc<AtomicBool>) -> Result<Results> {
    let machine = Machine::inspect(netns);
    print::note(&machine.line());
    if machine.load > 0.5 {
        print::note(&format!("!! the machine is busy (load {}): wall times are unreliable", machine.load));
    }
    let own = own_program()?;
    let outside = netns.outside.clone();
    let ctnl = options.ctnl.clone();
    let commands = Commands { own, outside, ctnl, conntrack_installed: machine.conntrack.is_some() };
    let chosen = |name: &str| options.only.as_ref().is_none_or(|part| name.contains(part.as_str()));
    let mut table = Table::open()?;
    let mut cases = Vec::new();
    for case in cases::cases(&commands, &options.sizes()).iter().filter(|case| chosen(&case.name)) {
        print::note(&format!("{} ({} entries)", case.name, case.population.entries));
        cases.push(one(case, netns, &mut table, options.rounds(), &commands, interrupted)?);
    }
    // Before the churn check and the events, which need more memory than the cases.
    let peak_floor = measure::own_peak();
    let largest = options.sizes().last().copied().unwrap_or(0);
    let fits = chosen("churn") && netns.has_capacity_for(largest.into());
    if chosen("churn") && !fits {
        print::note("!! churn is skipped: nf_conntrack_max is too low and cannot be raised (run as root)");
    }
    let churn = fits.then(|| churn(&commands, largest)).into_iter().collect();
    let events = events::run(&commands, largest, options.rounds(), netns, &mut table, &chosen, interrupted)?;
    let namespaces = namespaces::run(&options.ctnl, options.rounds(), &chosen, interrupted)?;
    let top = top::run(&options.ctnl, &options.sizes(), netns, &mut table, &chosen, interrupted)?;
    Ok(Results { schema: 2, machine, rounds: options.rounds(), peak_floor, cases, churn, events, namespaces, top })
}

fn own_program() -> Result<String> {
    Ok(env::current_exe().context("find this program")?.to_string_lossy().into_owned())
}

fn one(
    case: &Case,
    netns: &BenchNetns,
    table: &mut Table,
    rounds: usize,
    commands: &Commands,
    interrupted: &Arc<AtomicBool>,
) -> Result<Measured> {
    if netns.has_capacity_for(case.population.entries.into()) {
        return rounds::run(case, table, rounds, commands, interrupted);
    }
    let (max, _) = netns.limits();
    let why = format!("nf_conntrack_max is {max} and may not be raised from here (run as root)");
    Ok(Measured { no_result: Some(NoResult::Skipped(why)), ..Measured::new(case) })
}

fn churn(commands: &Commands, entries: u32) -> Churned {
    print::note(&format!("churn ({entries} entries)"));
    let arguments = ["--child", "churn", &commands.outside, &commands.ctnl, &entries.to_string()];
    let (passed, text) = match Command::new(&commands.own).args(arguments).output() {
        Ok(output) if output.status.success() => (true, output.stdout),
        Ok(output) => (false, output.stderr),
        Err(error) => (false, error.to_string().into_bytes()),
    };
    Churned { passed, text: String::from_utf8_lossy(&text).trim().to_owned() }
}

fn print_results(results: &Results) {
    print::result(&format!("{}; medians of {} rounds\n", results.machine.line(), results.rounds));
    print::result(&report::table(&results.cases, results.peak_floor));
    let (others, per_entry) = (report::others(&results.cases), report::per_entry(&results.cases));
    for part in [
        others,
        per_entry,
        report::commands(&results.cases),
        report::events(&results.events),
        namespaces::report(&results.namespaces),
        top::report(&results.top),
    ] {
        if !part.is_empty() {
            print::result(&part);
        }
    }
    for check in &results.churn {
        let word = if check.passed { "churn check passed" } else { "!! churn check FAILED" };
        print::result(&format!("{word}: {}", check.text));
    }
    if results.churn.is_empty() {
        print::result("!! churn check SKIPPED");
    }
}
