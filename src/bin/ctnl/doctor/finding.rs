//! What a check finds.

use std::fmt;

use serde_json::{Map, Value};

/// How bad a finding is. The order is that of the report, from the end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// Worth knowing; nothing is wrong.
    Note,
    /// Will do harm, or does some.
    Warning,
    /// Connections fail now, or will within the hour.
    Critical,
}

impl Severity {
    /// Its name in the report and in JSON.
    pub fn name(self) -> &'static str {
        match self {
            Severity::Note => "note",
            Severity::Warning => "warning",
            Severity::Critical => "critical",
        }
    }
}

impl fmt::Display for Severity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// What mends a finding.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fix {
    /// A command line, exactly as it is to be run.
    Command(String),
    /// Lines to review before they are used, such as rules of a firewall, or an edit of a file.
    Text(String),
}

/// One fault of the host, or one fact that its administrator should know.
#[derive(Debug, Clone, PartialEq)]
pub struct Finding {
    /// How bad it is.
    pub severity: Severity,
    /// The fault in one line.
    pub title: String,
    /// What shows it: values, lines of files. A line each.
    pub evidence: Vec<String>,
    /// What comes of it.
    pub consequence: String,
    /// What mends it; the first is the one to try first.
    pub fixes: Vec<Fix>,
    /// The figures of the evidence, for programs.
    pub figures: Map<String, Value>,
}

impl Finding {
    /// A finding without evidence and fixes.
    pub fn new(severity: Severity, title: impl Into<String>, consequence: impl Into<String>) -> Self {
        Finding {
            severity,
            title: title.into(),
            evidence: Vec::new(),
            consequence: sentence(&consequence.into()),
            fixes: Vec::new(),
            figures: Map::new(),
        }
    }

    /// With a line of evidence.
    #[must_use]
    pub fn evidence(mut self, line: impl Into<String>) -> Self {
        self.evidence.push(line.into());
        self
    }

    /// With a command that mends it.
    #[must_use]
    pub fn command(mut self, line: impl Into<String>) -> Self {
        self.fixes.push(Fix::Command(line.into()));
        self
    }

    /// With lines for review that mend it.
    #[must_use]
    pub fn text(mut self, lines: impl Into<String>) -> Self {
        self.fixes.push(Fix::Text(lines.into()));
        self
    }

    /// With a figure for programs.
    #[must_use]
    pub fn figure(mut self, name: &str, value: impl Into<Value>) -> Self {
        self.figures.insert(name.to_owned(), value.into());
        self
    }
}

/// `text` with a capital letter and a full stop. A name such as `nf_conntrack_max` keeps its first letter.
fn sentence(text: &str) -> String {
    let is_word = text.split(' ').next().is_some_and(|word| word.bytes().all(|byte| byte.is_ascii_lowercase()));
    let mut letters = text.chars();
    let first = letters.next().map(|letter| if is_word { letter.to_ascii_uppercase() } else { letter });
    let stop = if text.ends_with(['.', '!', '?']) || text.is_empty() { "" } else { "." };
    first.into_iter().chain(letters).chain(stop.chars()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_consequence_is_a_sentence_and_a_name_in_front_of_it_stays_as_it_is() {
        assert_eq!(sentence("the next boot undoes it"), "The next boot undoes it.");
        assert_eq!(sentence("Packets are dropped."), "Packets are dropped.");
        assert_eq!(sentence("nf_conntrack_max falls back"), "nf_conntrack_max falls back.");
        assert_eq!(sentence(""), "");
    }
}
