//! What came of it: a table of kernels and cases, and the failures in full.

use std::fmt::Write;
use std::time::Duration;

use vm_tests::cases::Case;
use vm_tests::report::{Outcome, Report};

use crate::console::{self, Splat};
use crate::machine::Seen;

/// One case on one kernel.
#[derive(Debug, Clone, PartialEq)]
pub struct Cell {
    pub kernel: String,
    /// What the kernel calls itself: a suite's newest changes under us.
    pub release: String,
    pub case: &'static str,
    pub outcome: Outcome,
    pub seconds: f64,
    /// Of a failure, all that is known; else a few words.
    pub says: String,
}

/// What became of `cases` in a boot. A case that did not end has failed, and so has one
/// that made the kernel complain; those behind it that never began are not there. What
/// the kernel complains of before the first case is the first one's, and a machine that
/// did not come to its end is the last one's.
pub fn judge(kernel: &str, cases: &[&'static Case], seen: &Seen) -> Vec<Cell> {
    let splats = console::splats(&seen.console);
    let mut cells: Vec<Cell> = cases.iter().filter_map(|case| judge_one(kernel, case, seen, &splats)).collect();
    if let (Some(cell), Some(splat)) = (cells.first_mut(), splat_of(&splats, None)) {
        fail(cell, &splat);
    }
    let is_finished = seen.ended.is_none() && seen.reports.contains(&Report::Finished { error: None });
    if let Some(cell) = cells.last_mut().filter(|cell| !is_finished && cell.outcome == Outcome::Passed) {
        fail(cell, &format!("the machine did not power off: {}", cut_short(seen)));
    }
    cells
}

fn fail(cell: &mut Cell, why: &str) {
    cell.outcome = Outcome::Failed;
    let _ = write!(cell.says, "\n{why}");
}

/// What the kernel complained of in a case, or before the first one.
fn splat_of(splats: &[Splat<'_>], case: Option<&str>) -> Option<String> {
    let splat = splats.iter().find(|splat| splat.case == case)?;
    Some(format!("the kernel complained: {}\n{}", splat.line, splat.context))
}

fn judge_one(kernel: &str, case: &'static Case, seen: &Seen, splats: &[Splat<'_>]) -> Option<Cell> {
    let ended = seen.reports.iter().find_map(|report| match report {
        Report::Ended { case: name, outcome, seconds, says } if name == case.name => Some((*outcome, *seconds, says)),
        _ => None,
    });
    let has_begun =
        seen.reports.iter().any(|report| matches!(report, Report::Began { case: name } if name == case.name));
    let (outcome, seconds, says) = match ended {
        Some((outcome, seconds, says)) => (outcome, seconds, says.clone()),
        None if has_begun => (Outcome::Failed, 0.0, cut_short(seen)),
        None => return None,
    };
    let mut cell = Cell { kernel: kernel.to_owned(), release: release(seen), case: case.name, outcome, seconds, says };
    if let Some(splat) = splat_of(splats, Some(case.name)) {
        fail(&mut cell, &splat);
    }
    Some(cell)
}

fn release(seen: &Seen) -> String {
    let booted = seen.reports.iter().find_map(|report| match report {
        Report::Booted { release } => Some(release.clone()),
        _ => None,
    });
    booted.unwrap_or_default()
}

/// Why a boot ended in the middle, and the last of its console.
pub fn cut_short(seen: &Seen) -> String {
    let finished = seen.reports.iter().find_map(|report| match report {
        Report::Finished { error } => error.clone(),
        _ => None,
    });
    let why = seen.ended.clone().or(finished).unwrap_or_else(|| "the machine ended".to_owned());
    format!("{why}\n--- the end of the console\n{}", console::tail(&seen.console, 60))
}

/// The table, a line for each case and a column for each kernel with its release.
pub fn table(kernels: &[String], cases: &[&Case], cells: &[Cell]) -> String {
    const NAME: usize = 18;
    let mut text = format!("{:NAME$}", "");
    for kernel in kernels {
        let _ = write!(text, "{kernel:>16}");
    }
    let _ = write!(text, "\n{:NAME$}", "");
    for kernel in kernels {
        let release = cells.iter().find(|cell| cell.kernel == *kernel).map_or("", |cell| &cell.release);
        let _ = write!(text, "{release:>16}");
    }
    for case in cases {
        let _ = write!(text, "\n{:NAME$}", case.name);
        for kernel in kernels {
            let cell = cells.iter().find(|cell| cell.kernel == *kernel && cell.case == case.name);
            let _ = write!(text, "{:>16}", cell.map_or_else(|| "not run".to_owned(), shown));
        }
    }
    text
}

fn shown(cell: &Cell) -> String {
    match cell.outcome {
        Outcome::Passed => format!("ok {:.1} s", cell.seconds),
        Outcome::Failed => format!("FAILED {:.1} s", cell.seconds),
    }
}

/// The line that all runners of tests end with, as Cargo's do.
pub fn result_line(asked: usize, cells: &[Cell], took: Duration) -> String {
    let passed = cells.iter().filter(|cell| cell.outcome == Outcome::Passed).count();
    let failed = asked.saturating_sub(passed);
    let word = if failed == 0 { "ok" } else { "FAILED" };
    let seconds = took.as_secs_f64();
    format!(
        "test result: {word}. {passed} passed; {failed} failed; 0 ignored; 0 measured; 0 filtered out; finished in {seconds:.2}s"
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use vm_tests::cases::CASES;

    /// A boot that was ended from outside.
    fn seen(reports: Vec<Report>, console: &str) -> Seen {
        Seen { reports, console: console.to_owned(), ended: Some("killed".into()), cpu: Duration::ZERO }
    }

    /// One that came to its end.
    fn finished(mut reports: Vec<Report>, console: &str) -> Seen {
        reports.push(Report::Finished { error: None });
        Seen { ended: None, ..seen(reports, console) }
    }

    fn outcomes(cells: &[Cell]) -> Vec<Outcome> {
        cells.iter().map(|cell| cell.outcome).collect()
    }

    fn began(case: &Case) -> Report {
        Report::Began { case: case.name.to_owned() }
    }

    fn passed(case: &Case) -> Report {
        Report::Ended { case: case.name.to_owned(), outcome: Outcome::Passed, seconds: 1.0, says: String::new() }
    }

    #[test]
    fn a_case_that_began_and_did_not_end_has_failed_and_the_next_did_not_run() {
        let [first, second, third, ..] = CASES else { unreachable!() };
        let seen = seen(vec![began(first), passed(first), began(second)], "the last line");
        let cells = judge("6.1", &[first, second, third], &seen);
        let outcomes: Vec<_> = cells.iter().map(|cell| cell.outcome).collect();
        assert_eq!(outcomes, [Outcome::Passed, Outcome::Failed]);
        assert!(cells.iter().any(|cell| cell.says.contains("killed") && cell.says.contains("the last line")));
        assert!(result_line(3, &cells, Duration::ZERO).starts_with("test result: FAILED. 1 passed; 2 failed"));
    }

    #[test]
    fn a_kernel_that_complains_fails_a_case_that_passed() {
        let [first, ..] = CASES else { unreachable!() };
        let console = format!("[ 1.0] {}{}\n[ 1.1] WARNING: suspicious RCU usage\n", console::CASE_BEGINS, first.name);
        let cells = judge("6.1", &[first], &finished(vec![began(first), passed(first)], &console));
        assert_eq!(outcomes(&cells), [Outcome::Failed]);
        let quiet = judge("6.1", &[first], &finished(vec![began(first), passed(first)], ""));
        assert_eq!(outcomes(&quiet), [Outcome::Passed]);
    }

    #[test]
    fn a_kernel_that_complains_while_it_boots_fails_the_first_case() {
        let [first, second, ..] = CASES else { unreachable!() };
        let console = format!("[ 0.5] WARNING: CPU: 0\n[ 1.0] {}{}\n", console::CASE_BEGINS, first.name);
        let reports = vec![began(first), passed(first), began(second), passed(second)];
        let cells = judge("6.1", &[first, second], &finished(reports, &console));
        assert_eq!(outcomes(&cells), [Outcome::Failed, Outcome::Passed]);
    }

    #[test]
    fn a_machine_that_does_not_come_to_its_end_fails_the_last_case() {
        let [first, second, ..] = CASES else { unreachable!() };
        let reports = || vec![began(first), passed(first), began(second), passed(second)];
        let hung = seen([reports(), vec![Report::Finished { error: None }]].concat(), "");
        let gone = Seen { ended: None, ..seen(reports(), "") };
        for seen in [hung, gone] {
            assert_eq!(outcomes(&judge("6.1", &[first, second], &seen)), [Outcome::Passed, Outcome::Failed]);
        }
    }

    #[test]
    fn the_table_names_the_very_kernel_that_ran() {
        let [first, ..] = CASES else { unreachable!() };
        let booted = Report::Booted { release: "6.1.176-1".to_owned() };
        let cells = judge("6.1", &[first], &seen(vec![booted, began(first), passed(first)], ""));
        assert!(
            table(&["6.1".to_owned()], &[first], &cells)
                .lines()
                .nth(1)
                .is_some_and(|line| line.ends_with(" 6.1.176-1"))
        );
    }

    #[test]
    fn a_run_in_which_nothing_ran_has_failed() {
        assert!(result_line(2, &[], Duration::ZERO).starts_with("test result: FAILED. 0 passed; 2 failed"));
    }
}
