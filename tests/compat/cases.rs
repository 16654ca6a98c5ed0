//! The tables of cases.

use std::fs;
use std::path::PathBuf;

/// How the cases of a section run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Section {
    Parse,
    /// With a name of a table of entries.
    Reads(String),
    Writes(String),
}

/// What ours has to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Expected {
    /// The same as the original.
    Same,
    /// The same exit code, and the same table.
    OtherOutput,
    /// What the original does with these commands.
    As(Vec<Step>),
    /// To leave the table that the original leaves with these commands.
    Leaves(Vec<Step>),
    /// To refuse it and change nothing.
    Refused,
}

/// A command of a case.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Step {
    pub words: Vec<String>,
    /// Its output is the input of the next step with `reads`.
    pub writes: bool,
    pub reads: bool,
}

#[derive(Debug, Clone)]
pub struct Case {
    /// `FILE:LINE`.
    pub at: String,
    pub text: String,
    pub section: Section,
    pub steps: Vec<Step>,
    pub input: String,
    pub expected: Expected,
    /// The row of docs/compat.md of a deliberate difference.
    pub difference: Option<String>,
    pub fails: bool,
}

fn folder() -> PathBuf {
    PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/compat"))
}

/// The path of a table of entries.
pub fn table(name: &str) -> PathBuf {
    folder().join(format!("{name}.table"))
}

/// The cases of every file.
pub fn all() -> Vec<Case> {
    let files = fs::read_dir(folder()).expect("tests/data/compat").flatten().map(|entry| entry.path());
    let mut files: Vec<PathBuf> = files.filter(|path| path.extension().is_some_and(|end| end == "cases")).collect();
    files.sort();
    files.iter().flat_map(read).collect()
}

fn read(path: &PathBuf) -> Vec<Case> {
    let (file, text) = (path.file_stem().unwrap().to_string_lossy(), fs::read_to_string(path).expect("a table"));
    let (mut cases, mut section): (Vec<Case>, Option<Section>) = (Vec::new(), None);
    for (line, number) in text.lines().zip(1..) {
        let at = format!("{file}:{number}");
        if let Some(header) = line.strip_prefix('@') {
            section = Some(read_section(header).unwrap_or_else(|| panic!("{at}: {line}")));
        } else if let Some(input) = line.strip_prefix('|') {
            let case = cases.last_mut().unwrap_or_else(|| panic!("{at}: input without a case"));
            case.input.push_str(input.strip_prefix(' ').unwrap_or(input));
            case.input.push('\n');
        } else if !line.is_empty() && !line.starts_with('#') {
            let section = section.clone().unwrap_or_else(|| panic!("{at}: a case before '@'"));
            cases.push(read_case(at, line, section));
        }
    }
    cases
}

fn read_section(header: &str) -> Option<Section> {
    match header.split_once(' ') {
        None if header == "parse" => Some(Section::Parse),
        Some(("reads", table)) => Some(Section::Reads(table.to_owned())),
        Some(("writes", table)) => Some(Section::Writes(table.to_owned())),
        _ => None,
    }
}

fn read_case(at: String, line: &str, section: Section) -> Case {
    let (fails, rest) = line.strip_prefix("~ ").map_or((false, line), |rest| (true, rest));
    // A difference begins with its name; a command line never begins with '['.
    let named = rest.strip_prefix('[').and_then(|rest| rest.split_once("] "));
    let (difference, rest) = named.map_or((None, rest), |(name, rest)| (Some(name.to_owned()), rest));
    let (text, expected) = match (rest.split_once(" => "), rest.split_once(" ~> ")) {
        (Some((text, "refused")), _) => (text, Expected::Refused),
        (Some((text, other)), _) => (text, Expected::As(read_steps(other, &at))),
        (_, Some((text, other))) => (text, Expected::Leaves(read_steps(other, &at))),
        _ if difference.is_some() => (rest, Expected::OtherOutput),
        _ => (rest, Expected::Same),
    };
    assert!(difference.is_some() || expected == Expected::Same, "{at}: a difference without a name");
    let steps = read_steps(text, &at);
    Case { at, text: line.to_owned(), section, steps, input: String::new(), expected, difference, fails }
}

fn read_steps(text: &str, at: &str) -> Vec<Step> {
    let steps = text.split(" ; ").map(|step| {
        let (step, writes) = step.strip_suffix(" >").map_or((step, false), |step| (step, true));
        let (step, reads) = step.strip_suffix(" <").map_or((step, false), |step| (step, true));
        let words = shlex::split(step).unwrap_or_else(|| panic!("{at}: {step}"));
        Step { words, writes, reads }
    });
    steps.collect()
}
