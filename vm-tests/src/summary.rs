//! The results: a table of kernels and cases, and the output of those that failed.

use std::fmt::Write;
use std::path::PathBuf;
use std::time::Duration;

use vm_tests::cases::Case;
use vm_tests::report::{Outcome, Report};

use crate::console::{self, KernelWarning};
use crate::machine::BootResult;

/// One case on one kernel.
#[derive(Debug, Clone, PartialEq)]
pub struct Cell {
    pub kernel: String,
    /// What the kernel calls itself: a suite's newest changes under us.
    pub release: String,
    pub case: &'static str,
    pub verdict: Verdict,
    pub seconds: f64,
    /// Of a failure, all that is known; else a few words.
    pub output: String,
}

/// The result of a case, after a second run where the first one failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    Passed,
    /// Failed, and passed alone in a fresh guest.
    Flaky,
    Failed,
}

impl Verdict {
    pub fn word(self) -> &'static str {
        match self {
            Verdict::Passed => "ok",
            Verdict::Flaky => "FLAKY",
            Verdict::Failed => "FAILED",
        }
    }
}

impl Cell {
    /// Adds the result of the second run of a failed case, whose logs are in `folders` (the first
    /// run's, the second run's). A run that did not get as far as the case is given by its reason.
    pub fn add_second_run(&mut self, second: Result<&Cell, String>, folders: &[PathBuf; 2]) {
        let (verdict, output) = match second {
            Ok(cell) if cell.verdict == Verdict::Passed => (Verdict::Flaky, "passed".to_owned()),
            Ok(cell) => (Verdict::Failed, cell.output.clone()),
            Err(reason) => (Verdict::Failed, reason),
        };
        self.verdict = verdict;
        let [first, again] = folders.each_ref().map(|folder| folder.display());
        let _ = write!(self.output, "\n--- the second run, alone in a fresh guest\n{output}");
        let _ = write!(self.output, "\n--- logs: {first} and {again}");
    }
}

/// The results of `cases` in a boot. A case that did not end has failed, and so has one with a kernel
/// warning; cases that did not begin are missing. A warning before the first case fails the first
/// one, and a machine that did not power off fails the last one.
pub fn judge(kernel: &str, cases: &[&'static Case], boot: &BootResult) -> Vec<Cell> {
    let kernel_warnings = console::kernel_warnings(&boot.console);
    let mut cells: Vec<Cell> =
        cases.iter().filter_map(|case| judge_one(kernel, case, boot, &kernel_warnings)).collect();
    if let (Some(cell), Some(warning)) = (cells.first_mut(), kernel_warning_of(&kernel_warnings, None)) {
        fail(cell, &warning);
    }
    let is_finished = boot.ended.is_none() && boot.reports.contains(&Report::Finished { error: None });
    if let Some(cell) = cells.last_mut().filter(|cell| !is_finished && cell.verdict == Verdict::Passed) {
        fail(cell, &format!("the machine did not power off: {}", cut_short(boot)));
    }
    cells
}

fn fail(cell: &mut Cell, why: &str) {
    cell.verdict = Verdict::Failed;
    let _ = write!(cell.output, "\n{why}");
}

/// What the kernel complained of in a case, or before the first one.
fn kernel_warning_of(kernel_warnings: &[KernelWarning<'_>], case: Option<&str>) -> Option<String> {
    let warning = kernel_warnings.iter().find(|warning| warning.case == case)?;
    Some(format!("kernel warning: {}\n{}", warning.line, warning.context))
}

fn judge_one(
    kernel: &str,
    case: &'static Case,
    boot: &BootResult,
    kernel_warnings: &[KernelWarning<'_>],
) -> Option<Cell> {
    let ended = boot.reports.iter().find_map(|report| match report {
        Report::Ended { case: name, outcome, seconds, output } if name == case.name => {
            Some((*outcome, *seconds, output))
        }
        _ => None,
    });
    let has_begun =
        boot.reports.iter().any(|report| matches!(report, Report::Began { case: name } if name == case.name));
    let (verdict, seconds, output) = match ended {
        Some((Outcome::Passed, seconds, output)) => (Verdict::Passed, seconds, output.clone()),
        Some((Outcome::Failed, seconds, output)) => (Verdict::Failed, seconds, output.clone()),
        None if has_begun => (Verdict::Failed, 0.0, cut_short(boot)),
        None => return None,
    };
    let mut cell =
        Cell { kernel: kernel.to_owned(), release: release(boot), case: case.name, verdict, seconds, output };
    if let Some(warning) = kernel_warning_of(kernel_warnings, Some(case.name)) {
        fail(&mut cell, &warning);
    }
    Some(cell)
}

/// The failure of the first case of a boot in which none began.
pub fn not_begun(kernel: &str, case: &'static Case, boot: &BootResult) -> Cell {
    let (verdict, output) = (Verdict::Failed, format!("no case began: {}", cut_short(boot)));
    Cell { kernel: kernel.to_owned(), release: release(boot), case: case.name, verdict, seconds: 0.0, output }
}

fn release(boot: &BootResult) -> String {
    let booted = boot.reports.iter().find_map(|report| match report {
        Report::Booted { release } => Some(release.clone()),
        _ => None,
    });
    booted.unwrap_or_default()
}

/// Why a boot ended in the middle, and the last of its console.
pub fn cut_short(boot: &BootResult) -> String {
    let finished = boot.reports.iter().find_map(|report| match report {
        Report::Finished { error } => error.clone(),
        _ => None,
    });
    let why = boot.ended.clone().or(finished).unwrap_or_else(|| "the machine ended".to_owned());
    format!("{why}\n--- the end of the console\n{}", console::tail(&boot.console, 60))
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
    format!("{} {:.1} s", cell.verdict.word(), cell.seconds)
}

/// The line that Cargo's runner of tests ends with, after one for each flaky case.
pub fn result_line(requested: usize, cells: &[Cell], took: Duration) -> String {
    let passed = cells.iter().filter(|cell| cell.verdict != Verdict::Failed).count();
    let failed = requested.saturating_sub(passed);
    let word = if failed == 0 { "ok" } else { "FAILED" };
    let seconds = took.as_secs_f64();
    let flaky: Vec<String> = cells
        .iter()
        .filter(|cell| cell.verdict == Verdict::Flaky)
        .map(|cell| format!("FLAKY: {} on {} failed once and passed in a fresh guest\n", cell.case, cell.kernel))
        .collect();
    let flaky = flaky.concat();
    format!(
        "{flaky}test result: {word}. {passed} passed; {failed} failed; 0 ignored; 0 measured; 0 filtered out; finished in {seconds:.2}s"
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use vm_tests::cases::CASES;

    /// A boot that was ended from outside.
    fn boot_result(reports: Vec<Report>, console: &str) -> BootResult {
        BootResult { reports, console: console.to_owned(), ended: Some("killed".into()), cpu: Duration::ZERO }
    }

    /// One that came to its end.
    fn finished(mut reports: Vec<Report>, console: &str) -> BootResult {
        reports.push(Report::Finished { error: None });
        BootResult { ended: None, ..boot_result(reports, console) }
    }

    fn verdicts(cells: &[Cell]) -> Vec<Verdict> {
        cells.iter().map(|cell| cell.verdict).collect()
    }

    fn began(case: &Case) -> Report {
        Report::Began { case: case.name.to_owned() }
    }

    fn passed(case: &Case) -> Report {
        Report::Ended { case: case.name.to_owned(), outcome: Outcome::Passed, seconds: 1.0, output: String::new() }
    }

    #[test]
    fn a_case_that_began_and_did_not_end_has_failed_and_the_next_did_not_run() {
        let [first, second, third, ..] = CASES else { unreachable!() };
        let boot = boot_result(vec![began(first), passed(first), began(second)], "the last line");
        let cells = judge("6.1", &[first, second, third], &boot);
        assert_eq!(verdicts(&cells), [Verdict::Passed, Verdict::Failed]);
        assert!(cells.iter().any(|cell| cell.output.contains("killed") && cell.output.contains("the last line")));
        assert!(result_line(3, &cells, Duration::ZERO).starts_with("test result: FAILED. 1 passed; 2 failed"));
    }

    #[test]
    fn a_kernel_warning_fails_a_case_that_passed() {
        let [first, ..] = CASES else { unreachable!() };
        let console = format!("[ 1.0] {}{}\n[ 1.1] WARNING: suspicious RCU usage\n", console::CASE_BEGINS, first.name);
        let cells = judge("6.1", &[first], &finished(vec![began(first), passed(first)], &console));
        assert_eq!(verdicts(&cells), [Verdict::Failed]);
        let quiet = judge("6.1", &[first], &finished(vec![began(first), passed(first)], ""));
        assert_eq!(verdicts(&quiet), [Verdict::Passed]);
    }

    #[test]
    fn a_kernel_warning_during_boot_fails_the_first_case() {
        let [first, second, ..] = CASES else { unreachable!() };
        let console = format!("[ 0.5] WARNING: CPU: 0\n[ 1.0] {}{}\n", console::CASE_BEGINS, first.name);
        let reports = vec![began(first), passed(first), began(second), passed(second)];
        let cells = judge("6.1", &[first, second], &finished(reports, &console));
        assert_eq!(verdicts(&cells), [Verdict::Failed, Verdict::Passed]);
    }

    #[test]
    fn a_machine_that_does_not_power_off_fails_the_last_case() {
        let [first, second, ..] = CASES else { unreachable!() };
        let reports = || vec![began(first), passed(first), began(second), passed(second)];
        let hung = boot_result([reports(), vec![Report::Finished { error: None }]].concat(), "");
        let gone = BootResult { ended: None, ..boot_result(reports(), "") };
        for boot in [hung, gone] {
            assert_eq!(verdicts(&judge("6.1", &[first, second], &boot)), [Verdict::Passed, Verdict::Failed]);
        }
    }

    #[test]
    fn the_table_shows_the_exact_release_of_each_kernel() {
        let [first, ..] = CASES else { unreachable!() };
        let booted = Report::Booted { release: "6.1.176-1".to_owned() };
        let cells = judge("6.1", &[first], &boot_result(vec![booted, began(first), passed(first)], ""));
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

    #[test]
    fn a_case_that_passes_in_a_fresh_guest_is_flaky_with_both_logs_and_failed_twice_is_failed() {
        let [first, ..] = CASES else { unreachable!() };
        let failed = Report::Ended {
            case: first.name.to_owned(),
            outcome: Outcome::Failed,
            seconds: 1.0,
            output: "the first failure".to_owned(),
        };
        let run = |report: Report| judge("6.1", &[first], &finished(vec![began(first), report], ""));
        let folders = ["a-run-1", "a-run-2"].map(PathBuf::from);
        let after = |second: Result<&Cell, String>| {
            let mut cells = run(failed.clone());
            cells.iter_mut().for_each(|cell| cell.add_second_run(second.clone(), &folders));
            cells
        };
        let passed = run(passed(first));
        let flaky = after(passed.first().ok_or_else(String::new));
        assert_eq!(verdicts(&flaky), [Verdict::Flaky]);
        for part in ["the first failure", "a-run-1", "a-run-2"] {
            assert!(flaky.iter().all(|cell| cell.output.contains(part)), "{part}");
        }
        let line = result_line(1, &flaky, Duration::ZERO);
        assert!(line.starts_with("FLAKY: ") && line.contains("test result: ok. 1 passed; 0 failed"), "{line}");

        let twice = run(failed.clone());
        assert_eq!(verdicts(&after(twice.first().ok_or_else(String::new))), [Verdict::Failed]);
        assert_eq!(verdicts(&after(Err("no boot".to_owned()))), [Verdict::Failed]);
    }
}
