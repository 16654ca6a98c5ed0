//! The report as JSON: docs/doctor.md has its keys, docs/doctor.schema.json its schema.

use serde_json::{Value, json};

use super::Report;
use crate::doctor::check::Check;
use crate::doctor::finding::{Finding, Fix};

/// The version of the document.
const VERSION: u32 = 1;

impl Report {
    /// The report as one object.
    pub fn json(&self) -> Value {
        json!({
            "v": VERSION,
            "command": "doctor",
            "worst": self.worst().map(|severity| severity.name()),
            "findings": self.findings.iter().map(|(check, finding)| object(check, finding)).collect::<Vec<_>>(),
            "not_run": self.not_run.iter().map(|(check, why)| json!({ "check": check.name, "why": why })).collect::<Vec<_>>(),
            "passed": self.passed.iter().map(|check| check.name).collect::<Vec<_>>(),
        })
    }
}

fn object(check: &Check, finding: &Finding) -> Value {
    json!({
        "check": check.name,
        "severity": finding.severity.name(),
        "title": finding.title,
        "evidence": finding.evidence,
        "consequence": finding.consequence,
        "fixes": finding.fixes.iter().map(fix).collect::<Vec<_>>(),
        "figures": finding.figures,
    })
}

fn fix(fix: &Fix) -> Value {
    match fix {
        Fix::Command(line) => json!({ "command": line }),
        Fix::Text(lines) => json!({ "text": lines }),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::doctor::made_up::MadeUpHost;
    use crate::doctor::report::tests::MADE_UP;

    #[test]
    fn a_report_follows_the_schema_in_the_documentation() {
        let schema: Value = serde_json::from_str(include_str!("../../../../../docs/doctor.schema.json")).unwrap();
        let validator = jsonschema::validator_for(&schema).unwrap();
        for report in [Report::by(&MADE_UP, &MadeUpHost::new().evidence()), Report::of(&MadeUpHost::new().evidence())] {
            let document = report.json();
            let errors: Vec<_> = validator.iter_errors(&document).map(|error| error.to_string()).collect();
            assert_eq!(errors, Vec::<String>::new(), "{document}");
        }
        let report = Report::by(&MADE_UP, &MadeUpHost::new().evidence()).json();
        let wrong = report.to_string().replace("critical", "bad").parse::<Value>().unwrap();
        assert!(!validator.is_valid(&wrong));
    }
}
