//! The report as text, for a console of 80 columns.

use std::collections::{BTreeMap, BTreeSet};

use ctnl::text::printable_lines;

use super::Report;
use crate::doctor::check::Check;
use crate::doctor::finding::{Finding, Fix, Severity};

/// The width of a serial console.
const WIDTH: usize = 80;
/// Findings of one check that are shown, so that the worst of the others stay on the screen.
const MOST_OF_A_CHECK: usize = 3;

impl Report {
    /// The report as text: a block for each finding, and a line with the totals.
    pub fn text(&self) -> String {
        let (mut blocks, mut shown) = (String::new(), BTreeMap::<&str, usize>::new());
        for (check, finding) in &self.findings {
            let of_check = shown.entry(check.name).or_default();
            *of_check += 1;
            if *of_check <= MOST_OF_A_CHECK {
                blocks += &(block(check, finding) + "\n");
            }
        }
        let not_run: String = self
            .not_run
            .iter()
            .map(|(check, why)| wrapped(&format!("not checked: {} ({}): {why}", check.about, check.name), 0, 4))
            .collect();
        let hidden = |(name, found): (&str, usize)| {
            let more = found.checked_sub(MOST_OF_A_CHECK).filter(|more| *more > 0)?;
            Some(format!("{more} more of {name}: `ctnl doctor --json` has all\n"))
        };
        let hidden: String = shown.into_iter().filter_map(hidden).collect();
        printable_lines(&format!("{blocks}{hidden}{not_run}{}\n", self.totals())).into_owned()
    }

    fn totals(&self) -> String {
        let counted = |severity, one: &str, many: &str| match self.count(severity) {
            0 => None,
            1 => Some(format!("1 {one}")),
            count => Some(format!("{count} {many}")),
        };
        let counts = [
            counted(Severity::Critical, "critical", "critical"),
            counted(Severity::Warning, "warning", "warnings"),
            counted(Severity::Note, "note", "notes"),
        ];
        let counts: Vec<_> = counts.into_iter().flatten().collect();
        let found = if counts.is_empty() { "nothing found".to_owned() } else { counts.join(", ") };
        let (passed, not_run) = (self.passed.len(), self.not_run.len());
        let all = passed + not_run + self.checks_with_findings();
        format!("{found}; {all} checks, {passed} without a finding, {not_run} could not run")
    }

    fn checks_with_findings(&self) -> usize {
        let names: BTreeSet<_> = self.findings.iter().map(|(check, _)| check.name).collect();
        names.len()
    }
}

fn block(check: &Check, finding: &Finding) -> String {
    let mut block = wrapped(&format!("{}: {} ({})", finding.severity, finding.title, check.name), 0, 4);
    for line in &finding.evidence {
        block += &wrapped(line, 4, 6);
    }
    block += &wrapped(&finding.consequence, 2, 2);
    for fix in &finding.fixes {
        match fix {
            // Never wrapped: it is copied.
            Fix::Command(line) => block += &format!("  $ {line}\n"),
            Fix::Text(lines) => lines.lines().for_each(|line| block += &format!("    {line}\n")),
        }
    }
    block
}

/// `text` in lines of at most [`WIDTH`] columns where its words allow it: the first one with an indent of `first`,
/// the others of `rest`.
fn wrapped(text: &str, first: usize, rest: usize) -> String {
    let (mut lines, mut line) = (String::new(), " ".repeat(first));
    let mut is_empty = true;
    let mut words = text.split_whitespace().peekable();
    while let Some(word) = words.next() {
        // A number and its sign stay together.
        let word = match words.next_if(|next| next.starts_with('%')) {
            Some(sign) => format!("{word} {sign}"),
            None => word.to_owned(),
        };
        if !is_empty && line.chars().count() + 1 + word.chars().count() > WIDTH {
            lines += &line;
            lines.push('\n');
            (line, is_empty) = (" ".repeat(rest), true);
        }
        if !is_empty {
            line.push(' ');
        }
        line += &word;
        is_empty = false;
    }
    lines + &line + "\n"
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::doctor::check::Outcome;
    use crate::doctor::made_up::MadeUpHost;

    static FULL: [Check; 2] = [
        Check {
            name: "fullness",
            about: "entries and maximum",
            explanation: "x.",
            run: |_| {
                let title =
                    "the table is full: 262144 of 262144 entries, and none of them can be evicted for a new one";
                let finding = Finding::new(Severity::Critical, title, "New connections are dropped.")
                    .evidence("drop: 12 in 2 s")
                    .command(format!("ctnl flush --state established --older 12h {}", "x".repeat(80)))
                    .text("table ip raw {\n}");
                Outcome::Findings(vec![finding])
            },
        },
        Check {
            name: "rules",
            about: "rules of the firewall",
            explanation: "x.",
            run: |_| Outcome::CannotRun("nft is not installed\x1b[2J".to_owned()),
        },
    ];

    #[test]
    fn a_line_fits_a_console_except_a_command_which_is_copied_as_it_is() {
        let text = Report::by(&FULL, &MadeUpHost::new().evidence()).text();
        let command = format!("  $ ctnl flush --state established --older 12h {}", "x".repeat(80));
        let expected = [
            "critical: the table is full: 262144 of 262144 entries, and none of them can be",
            "    evicted for a new one (fullness)",
            "    drop: 12 in 2 s",
            "  New connections are dropped.",
            &command,
            "    table ip raw {",
            "    }",
            "",
            "not checked: rules of the firewall (rules): nft is not installed\u{fffd}[2J",
            "1 critical; 2 checks, 0 without a finding, 1 could not run",
        ];
        assert_eq!(text.lines().collect::<Vec<_>>(), expected);
    }

    static MANY: [Check; 1] = [Check {
        name: "nat",
        about: "x",
        explanation: "x.",
        run: |_| {
            let severity = |number| if number == 4 { Severity::Critical } else { Severity::Warning };
            let finding = |number| Finding::new(severity(number), format!("finding {number}"), "harm");
            Outcome::Findings((0..5).map(finding).collect())
        },
    }];

    #[test]
    fn a_check_with_many_findings_leaves_room_for_others_and_says_how_many_are_not_shown() {
        let text = Report::by(&MANY, &MadeUpHost::new().evidence()).text();
        let lines: Vec<&str> = text.lines().filter(|line| line.contains("finding ") || line.contains("more")).collect();
        let expected = [
            "critical: finding 4 (nat)",
            "warning: finding 0 (nat)",
            "warning: finding 1 (nat)",
            "2 more of nat: `ctnl doctor --json` has all",
        ];
        assert_eq!(lines, expected);
        assert!(text.ends_with("1 critical, 4 warnings; 1 checks, 0 without a finding, 0 could not run\n"), "{text}");
    }

    #[test]
    fn a_line_does_not_end_between_a_number_and_its_sign() {
        let text = wrapped(&format!("{} 12.5 % of all", "x".repeat(74)), 0, 0);
        assert_eq!(text, format!("{}\n12.5 % of all\n", "x".repeat(74)));
    }

    #[test]
    fn a_report_without_findings_says_so() {
        let report = Report::by(&[], &MadeUpHost::new().evidence());
        assert_eq!(report.text(), "nothing found; 0 checks, 0 without a finding, 0 could not run\n");
        assert_eq!(report.worst(), None);
    }
}
