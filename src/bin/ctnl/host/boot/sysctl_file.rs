//! The lines of sysctl.conf and of files in sysctl.d.

use super::assignment::{Assignment, Stage};
use super::key;

/// A line that sets one or, with a pattern, several sysctls, or that excludes some from patterns.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Line {
    Set(Assignment),
    /// `-key`: no pattern sets it. Both procps and systemd-sysctl.
    Exclude(String),
}

/// The lines of a file as procps and systemd-sysctl read them. Neither knows a comment behind a value.
pub fn parse(file: &str, text: &str, stage: Stage) -> Vec<Line> {
    text.lines().enumerate().filter_map(|(index, line)| parse_line(file, index + 1, line, stage)).collect()
}

fn parse_line(file: &str, number: usize, line: &str, stage: Stage) -> Option<Line> {
    let line = line.trim();
    if line.is_empty() || line.starts_with(['#', ';']) {
        return None;
    }
    let Some((name, value)) = line.split_once('=') else {
        return line.strip_prefix('-').map(|name| Line::Exclude(key::dotted(name)));
    };
    let name = name.trim();
    let name = name.strip_prefix('-').unwrap_or(name);
    Some(Line::Set(Assignment {
        key: key::dotted(name),
        value: value.trim().to_owned(),
        file: file.to_owned(),
        line: number,
        stage,
        overrides: Vec::new(),
    }))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn comments_are_left_out_and_both_separators_and_prefixes_are_read() {
        let text = "# net.a = 1\n; net.b = 2\n\n net/netfilter/x =  3 \n-net.y=4\n-net.z\nno assignment\nnet.c=5 # c\n";
        let lines = parse("/etc/sysctl.conf", text, Stage::Sysctl);
        let shown: Vec<String> = lines
            .iter()
            .map(|line| match line {
                Line::Set(assignment) => assignment.to_string(),
                Line::Exclude(key) => format!("exclude {key}"),
            })
            .collect();
        let expected = [
            "/etc/sysctl.conf:4: net.netfilter.x = 3",
            "/etc/sysctl.conf:5: net.y = 4",
            "exclude net.z",
            "/etc/sysctl.conf:8: net.c = 5 # c",
        ];
        assert_eq!(shown, expected);
    }
}
