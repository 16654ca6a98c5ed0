//! The findings of all checks, worst first.

mod html;
mod json;
mod text;

use super::check::{Check, Outcome};
use super::checks::CHECKS;
use super::evidence::Evidence;
use super::finding::{Finding, Severity};

/// The outcome of all checks.
#[derive(Debug)]
pub struct Report {
    /// The findings and the check of each, worst first.
    findings: Vec<(&'static Check, Finding)>,
    /// The checks that could not run, and why.
    not_run: Vec<(&'static Check, String)>,
    /// The checks that found nothing.
    passed: Vec<&'static Check>,
}

impl Report {
    /// Runs all checks.
    pub fn of(evidence: &Evidence) -> Self {
        Self::by(CHECKS, evidence)
    }

    fn by(checks: &'static [Check], evidence: &Evidence) -> Self {
        let mut report = Report { findings: Vec::new(), not_run: Vec::new(), passed: Vec::new() };
        for check in checks {
            match (check.run)(evidence) {
                Outcome::CannotRun(why) => report.not_run.push((check, why)),
                Outcome::Findings(findings) if findings.is_empty() => report.passed.push(check),
                Outcome::Findings(findings) => {
                    report.findings.extend(findings.into_iter().map(|finding| (check, finding)));
                }
            }
        }
        // Stable: findings of one severity stay in the order of the checks.
        report.findings.sort_by_key(|(_, finding)| std::cmp::Reverse(finding.severity));
        report
    }

    /// The severity of the worst finding; `None` where nothing was found.
    pub fn worst(&self) -> Option<Severity> {
        self.findings.first().map(|(_, finding)| finding.severity)
    }

    fn count(&self, severity: Severity) -> usize {
        self.findings.iter().filter(|(_, finding)| finding.severity == severity).count()
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::doctor::made_up::MadeUpHost;

    const fn check(name: &'static str, run: fn(&Evidence) -> Outcome) -> Check {
        Check { name, about: "x", explanation: "y.", run }
    }

    fn two(first: Severity, second: Severity) -> Outcome {
        Outcome::Findings([first, second].map(|severity| Finding::new(severity, severity.name(), "harm")).into())
    }

    pub(super) static MADE_UP: [Check; 4] = [
        check("notes", |_| two(Severity::Note, Severity::Warning)),
        check("passes", |_| Outcome::NOTHING),
        check("blind", |_| Outcome::CannotRun("no /proc".into())),
        check("worst", |_| two(Severity::Warning, Severity::Critical)),
    ];

    #[test]
    fn findings_are_shown_worst_first_and_what_could_not_run_is_not_among_what_passed() {
        let report = Report::by(&MADE_UP, &MadeUpHost::new().evidence());
        let order: Vec<_> = report.findings.iter().map(|(check, finding)| (check.name, finding.severity)).collect();
        let expected = [
            ("worst", Severity::Critical),
            ("notes", Severity::Warning),
            ("worst", Severity::Warning),
            ("notes", Severity::Note),
        ];
        assert_eq!(order, expected);
        assert_eq!(report.worst(), Some(Severity::Critical));
        assert_eq!(report.passed.iter().map(|check| check.name).collect::<Vec<_>>(), ["passes"]);
        let not_run: Vec<_> = report.not_run.iter().map(|(check, why)| (check.name, &**why)).collect();
        assert_eq!(not_run, [("blind", "no /proc")]);
    }
}
