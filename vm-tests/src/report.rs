//! The lines that the guest writes to its second serial port, one JSON object each.

use serde::{Deserialize, Serialize};

/// What happened in the guest.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "is", rename_all = "kebab-case")]
pub enum Report {
    /// The first process runs, all modules are loaded; the kernel's own release.
    Booted { release: String },
    /// A case begins.
    Began { case: String },
    /// The machine reboots for the next step of a case.
    Rebooting { case: String },
    /// A case is over.
    Ended { case: String, outcome: Outcome, seconds: f64, output: String },
    /// All requested cases are over, or the guest failed.
    Finished { error: Option<String> },
}

/// The exit code of a case's process that goes on after a reboot.
pub const REBOOT: u8 = 75;

/// How a case ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Outcome {
    Passed,
    Failed,
}

impl Report {
    /// One line, without its end.
    #[must_use]
    pub fn to_line(&self) -> String {
        serde_json::to_string(self).unwrap_or_default()
    }

    /// The report in `line`; `None` where it is cut off or something else.
    #[must_use]
    pub fn from_line(line: &str) -> Option<Self> {
        serde_json::from_str(line.trim()).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_report_is_parsed_from_its_own_line() {
        let output = "two lines\nand a \"quote\"".to_owned();
        let report = Report::Ended { case: "flush".into(), outcome: Outcome::Failed, seconds: 1.5, output };
        assert!(!report.to_line().contains('\n'));
        assert_eq!(Report::from_line(&format!("{}\r\n", report.to_line())), Some(report));
    }

    #[test]
    fn a_truncated_line_is_no_report() {
        assert_eq!(Report::from_line(r#"{"is":"began","ca"#), None);
    }
}
