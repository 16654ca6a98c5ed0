//! Listings, compared as sets of lines in which the remaining timeouts may differ by some seconds.

/// Seconds in which a busy machine runs a case.
const TOLERANCE: u64 = 40;

/// A line without its timeout, and its timeout.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Line {
    text: String,
    timeout: Option<u64>,
}

/// What may differ.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ids {
    Same,
    /// In another namespace entries have other ids.
    Other,
}

/// How two listings differ, if they do.
pub fn difference(expected: &str, found: &str, ids: Ids) -> Option<String> {
    let (mut expected, mut found) = (lines(expected, ids), lines(found, ids));
    let mut missing = Vec::new();
    for line in expected.drain(..) {
        let similar = |other: &Line| {
            other.text == line.text
                && match (line.timeout, other.timeout) {
                    (Some(one), Some(other)) => one.abs_diff(other) <= TOLERANCE,
                    (one, other) => one == other,
                }
        };
        match found.iter().position(similar) {
            Some(at) => {
                found.swap_remove(at);
            }
            None => missing.push(line),
        }
    }
    let show = |sign: char, lines: &[Line]| {
        let lines = lines.iter().take(5).map(|line| format!("\n    {sign} {} {:?}", line.text, line.timeout));
        lines.collect::<String>()
    };
    (!missing.is_empty() || !found.is_empty()).then(|| format!("{}{}", show('-', &missing), show('+', &found)))
}

fn lines(text: &str, ids: Ids) -> Vec<Line> {
    text.lines().map(|text| line(text, ids)).collect()
}

fn line(text: &str, ids: Ids) -> Line {
    if let Some((before, rest)) = text.split_once("<timeout>")
        && let Some((timeout, after)) = rest.split_once("</timeout>")
    {
        return Line { text: without_xml_id(&format!("{before}{after}"), ids), timeout: timeout.parse().ok() };
    }
    let words: Vec<&str> = text.split(' ').filter(|word| !word.is_empty()).collect();
    let at = match words.first() {
        // The words after the layer 3 protocol and its number.
        Some(&("ipv4" | "ipv6")) => Some(4),
        Some(word) if !word.starts_with(['-', '<']) && text.contains("src=") => Some(2),
        _ => words.iter().position(|word| *word == "-t").map(|at| at + 1),
    };
    // Words apart, the line is compared with its spaces.
    let timeout = at.and_then(|at| words.get(at)).and_then(|word| word.parse().ok());
    let mut text = match (at.and_then(|at| words.get(at)), timeout) {
        (Some(word), Some(_)) => text.replacen(&format!(" {word} "), " TIMEOUT ", 1),
        _ => text.to_owned(),
    };
    if ids == Ids::Other {
        text = text.split(' ').filter(|word| !word.starts_with("id=")).collect::<Vec<_>>().join(" ");
    }
    Line { text, timeout }
}

fn without_xml_id(text: &str, ids: Ids) -> String {
    let parts = text.split_once("<id>").and_then(|(before, rest)| Some((before, rest.split_once("</id>")?.1)));
    match parts {
        Some((before, after)) if ids == Ids::Other => format!("{before}{after}"),
        _ => text.to_owned(),
    }
}
