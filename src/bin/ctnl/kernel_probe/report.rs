//! The facts as text and as JSON.

use ctnl::host::Host;
use ctnl::text::printable;
use serde_json::{Map, Value as Json, json};

use super::fact::{Fact, Value};

/// The facts of a kernel, in groups.
#[derive(Debug)]
pub struct Report {
    release: String,
    version: String,
    /// The inode number of the private namespace.
    netns: u64,
    groups: Vec<(&'static str, Vec<Fact>)>,
}

/// Columns of a console.
const WIDTH: usize = 80;
const INDENT: &str = "      ";

impl Report {
    pub(super) fn new(host: &Host, netns: u64) -> Self {
        let read = |name: &str| printable(&host.kernel().read_text(name).unwrap_or_default()).into_owned();
        Report { release: read("osrelease"), version: read("version"), netns, groups: Vec::new() }
    }

    pub(super) fn push(&mut self, title: &'static str, facts: Vec<Fact>) {
        self.groups.push((title, facts));
    }

    fn facts(&self) -> impl Iterator<Item = &Fact> {
        self.groups.iter().flat_map(|(_, facts)| facts)
    }

    /// Whether every fact could be probed.
    pub fn is_complete(&self) -> bool {
        self.facts().all(|fact| !matches!(fact.value, Value::Unknown(_)))
    }

    /// Lines for a console of 80 columns.
    pub fn to_text(&self) -> String {
        let mut text = format!("Kernel {}, probed in a network namespace of its own\n", self.release);
        let width = self.facts().map(|fact| fact.title.chars().count()).max().unwrap_or(0);
        for (title, facts) in &self.groups {
            text += &format!("\n{title}\n");
            for fact in facts {
                text += &format!("  {:<width$}  {}\n", fact.title, printable(&fact.value.text()));
                text += &wrapped(&printable(&fact.meaning));
            }
        }
        text
    }

    /// One JSON object in one line.
    pub fn to_json(&self) -> String {
        let facts: Vec<Json> = self.facts().map(object).collect();
        let kernel = json!({ "release": self.release, "version": self.version });
        format!("{}\n", json!({ "v": 1, "kernel": kernel, "netns": self.netns, "facts": facts }))
    }
}

fn object(fact: &Fact) -> Json {
    let mut object = Map::new();
    object.insert("name".into(), fact.name.into());
    object.insert(
        "value".into(),
        match &fact.value {
            Value::Number(number) => json!(number),
            Value::Names(names) => json!(names),
            value => json!(value.word()),
        },
    );
    if let Value::Refused(errno) = fact.value {
        object.insert("errno".into(), format!("{errno:?}").into());
    }
    let key = if matches!(fact.value, Value::Unknown(_)) { "unknown" } else { "meaning" };
    object.insert(key.into(), fact.meaning.clone().into());
    Json::Object(object)
}

/// `text` in indented lines of at most 80 columns.
fn wrapped(text: &str) -> String {
    let (mut lines, mut line) = (String::new(), String::new());
    for word in text.split_whitespace() {
        if !line.is_empty() && INDENT.len() + line.chars().count() + 1 + word.chars().count() > WIDTH {
            lines += &format!("{INDENT}{line}\n");
            line.clear();
        }
        if !line.is_empty() {
            line.push(' ');
        }
        line += word;
    }
    if line.is_empty() { lines } else { format!("{lines}{INDENT}{line}\n") }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::indexing_slicing)]
mod tests {
    use super::*;
    use ctnl::clock::Clock;
    use nix::errno::Errno;

    fn report(value: Value, meaning: &str) -> Report {
        let mut report = Report::new(&Host::at("/nonexistent", Clock::system()), 7);
        report.push("Group", vec![Fact { name: "some_fact", title: "some fact", value, meaning: meaning.to_owned() }]);
        report
    }

    #[test]
    fn what_could_not_be_probed_is_null_with_its_reason_and_makes_the_report_incomplete() {
        let report = report(Value::Unknown("no /proc/sys".into()), "no /proc/sys");
        assert!(!report.is_complete());
        let json: Json = serde_json::from_str(&report.to_json()).unwrap();
        assert_eq!(json["facts"][0], json!({ "name": "some_fact", "value": null, "unknown": "no /proc/sys" }));
        assert!(report.to_text().contains("some fact  unknown\n      no /proc/sys\n"), "{}", report.to_text());
    }

    #[test]
    fn a_refusal_has_its_error_and_a_number_is_a_number() {
        let json = |value| serde_json::from_str::<Json>(&report(value, "m").to_json()).unwrap()["facts"][0].clone();
        let refused = json(Value::Refused(Errno::EINVAL));
        assert_eq!(refused, json!({ "name": "some_fact", "value": "refused", "errno": "EINVAL", "meaning": "m" }));
        assert_eq!(json(Value::Number(210))["value"], 210);
        assert_eq!(json(Value::Names(vec!["ftp".into()]))["value"], json!(["ftp"]));
    }

    #[test]
    fn no_line_is_longer_than_a_console() {
        let text = report(Value::Word("yes"), &"word ".repeat(60)).to_text();
        assert!(text.lines().all(|line| line.chars().count() <= WIDTH) && text.lines().count() > 5, "{text}");
    }
}
