//! `ctnl conntrack` does what conntrack(8) does: the same exit code, output, summary and table.

use std::collections::BTreeMap;
use std::process::{Command, Output};
use std::thread;

use ctnl_test_support::harness::{TestNetns, program, tests};

use crate::cases::{self, Case, Expected, Section, Step};
use crate::listing::{self, Ids};
use crate::original;

tests![a_case_that_reads_prints_the_same, a_case_that_writes_does_the_same,];

/// The results of the steps of a case.
struct Results {
    steps: Vec<Output>,
    /// The entries afterwards.
    table: String,
}

fn ours() -> Command {
    let mut command = Command::new(program());
    command.arg("conntrack").env_clear().env("LC_ALL", "C").env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin");
    command
}

/// Runs the steps in the calling thread's namespace.
fn run_steps(program: fn() -> Command, steps: &[Step], input: &str) -> Vec<Output> {
    let mut input = input.to_owned();
    let outputs = steps.iter().map(|step| {
        let output = original::run(program().args(&step.words), if step.reads { &input } else { "" });
        if step.writes {
            input = String::from_utf8_lossy(&output.stdout).into_owned();
        }
        output
    });
    outputs.collect()
}

/// Fills the table of the calling thread's namespace.
fn fill(name: &str) {
    let output = original::run(original::command().arg("-R").arg(cases::table(name)), "");
    assert!(output.status.success(), "the table {name} cannot be loaded: {output:?}");
}

fn entries() -> String {
    let listed = ["-L", "-L dying"].map(|arguments| {
        let output = original::run(original::command().args(arguments.split(' ')).args(["-o", "extended"]), "");
        assert!(output.status.success(), "the table cannot be listed: {output:?}");
        String::from_utf8_lossy(&output.stdout).into_owned()
    });
    listed.concat()
}

/// Runs the steps in a namespace of their own.
fn run_apart(program: fn() -> Command, table: &str, steps: &[Step], input: &str) -> Results {
    thread::scope(|scope| {
        let run = scope.spawn(|| {
            let _netns = TestNetns::new();
            fill(table);
            Results { steps: run_steps(program, steps, input), table: entries() }
        });
        run.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    })
}

/// The part of stderr that scripts read: how many entries there were.
fn summary(output: &Output) -> Option<String> {
    let stderr = String::from_utf8_lossy(&output.stderr);
    let line = stderr.lines().find(|line| line.contains(" have been ") || line.contains(" has been emptied"))?;
    Some(line.rsplit(": ").next().unwrap_or(line).to_owned())
}

fn exit(output: &Output) -> String {
    output.status.code().map_or_else(|| output.status.to_string(), |code| code.to_string())
}

/// How the output of one command differs, if it does.
fn output_difference(expected: &Output, found: &Output, ids: Ids, whole: bool) -> Option<String> {
    let (expected_exit, found_exit) = (exit(expected), exit(found));
    if expected_exit != found_exit {
        let stderr = String::from_utf8_lossy(&found.stderr).trim().replace('\n', " ");
        return Some(format!("exit code {found_exit} instead of {expected_exit}: {stderr}"));
    }
    if whole && summary(expected) != summary(found) {
        return Some(format!("summary {:?} instead of {:?}", summary(found), summary(expected)));
    }
    let text = |output: &Output| String::from_utf8_lossy(&output.stdout).into_owned();
    whole.then(|| listing::difference(&text(expected), &text(found), ids)).flatten()
}

fn outputs_difference(expected: &[Output], found: &[Output], ids: Ids, whole: bool) -> Option<String> {
    expected.iter().zip(found).find_map(|(expected, found)| output_difference(expected, found, ids, whole))
}

/// Ours has to refuse the first command, and to print nothing.
fn is_refused(found: &[Output]) -> Option<String> {
    let first = found.first()?;
    let is_refused = first.status.code() == Some(2) && first.stdout.is_empty();
    (!is_refused).then(|| format!("not refused, exit code {}", exit(first)))
}

/// Every command has to succeed.
fn is_done(found: &[Output]) -> Option<String> {
    let failed = found.iter().find(|output| !output.status.success())?;
    Some(format!("exit code {}: {}", exit(failed), String::from_utf8_lossy(&failed.stderr).trim()))
}

fn difference(case: &Case) -> Option<String> {
    let (table, is_write) = match &case.section {
        Section::Parse => return None,
        Section::Reads(table) => (table, false),
        Section::Writes(table) => (table, true),
    };
    let expected_steps = match &case.expected {
        Expected::As(steps) | Expected::Leaves(steps) => steps,
        _ => &case.steps,
    };
    let (expected, found) = if is_write {
        let expected = match case.expected {
            Expected::Refused => run_apart(original::command, table, &[], ""),
            _ => run_apart(original::command, table, expected_steps, &case.input),
        };
        (expected, run_apart(ours, table, &case.steps, &case.input))
    } else {
        let run = |program, steps| Results { steps: run_steps(program, steps, &case.input), table: String::new() };
        (run(original::command, expected_steps), run(ours, &case.steps))
    };
    let ids = if is_write { Ids::Other } else { Ids::Same };
    let outputs = match case.expected {
        Expected::Refused => is_refused(&found.steps),
        Expected::Leaves(_) => is_done(&found.steps),
        _ => outputs_difference(&expected.steps, &found.steps, ids, case.expected != Expected::OtherOutput),
    };
    let tables = || listing::difference(&expected.table, &found.table, ids).map(|text| format!("the table:{text}"));
    outputs.or_else(tables)
}

/// Runs the cases; a case that is marked has to fail.
fn check(cases: &[Case]) -> (usize, Vec<String>) {
    let failures = cases.iter().filter_map(|case| match difference(case) {
        Some(text) if !case.fails => Some(format!("{}: {}\n  {text}", case.at, case.text)),
        None if case.fails => Some(format!("{}: {}\n  is marked with '~', and does not fail", case.at, case.text)),
        _ => None,
    });
    (cases.len(), failures.collect())
}

fn report(results: impl IntoIterator<Item = (usize, Vec<String>)>) {
    let (counts, failures): (Vec<usize>, Vec<Vec<String>>) = results.into_iter().unzip();
    let (count, failures) = (counts.iter().sum::<usize>(), failures.concat());
    assert!(count > 100, "only {count} cases");
    assert!(failures.is_empty(), "{} of {count} cases fail:\n{}", failures.len(), failures.join("\n"));
}

fn a_case_that_reads_prints_the_same(_: &TestNetns) {
    let mut by_table: BTreeMap<String, Vec<Case>> = BTreeMap::new();
    for case in cases::all() {
        if let Section::Reads(table) = &case.section {
            by_table.entry(table.clone()).or_default().push(case);
        }
    }
    let run = |(table, cases): (&String, &Vec<Case>)| {
        thread::scope(|scope| {
            let apart = scope.spawn(|| {
                let _netns = TestNetns::new();
                fill(table);
                check(cases)
            });
            apart.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
        })
    };
    report(by_table.iter().map(run));
}

fn a_case_that_writes_does_the_same(_: &TestNetns) {
    let cases: Vec<Case> = cases::all().into_iter().filter(|case| matches!(case.section, Section::Writes(_))).collect();
    let processors = thread::available_parallelism().map_or(1, usize::from);
    let results = thread::scope(|scope| {
        let parts = cases.chunks(cases.len().div_ceil(processors).max(1));
        let threads: Vec<_> = parts.map(|part| scope.spawn(|| check(part))).collect();
        let join = |thread: thread::ScopedJoinHandle<'_, _>| {
            thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
        };
        threads.into_iter().map(join).collect::<Vec<_>>()
    });
    report(results);
}
