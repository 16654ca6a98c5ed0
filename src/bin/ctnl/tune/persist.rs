//! The files that the boot reads, as text: which lines are replaced, and which are kept.

/// The first lines of a new file.
const HEADER: &str =
    "# Written by `ctnl tune set --persist`, which replaces the lines of the settings that it sets and keeps others.\n";
const MODULE: &str = "nf_conntrack";

/// The text of a file of sysctl.d with `assignments`: the last line that assigns a key is replaced, since the last one
/// counts, and a key without a line gets one at the end. Every other line is kept.
pub fn sysctl_conf(existing: Option<&str>, assignments: &[(String, u64)]) -> String {
    let mut lines = lines_of(existing);
    for (key, value) in assignments {
        let line = format!("{key} = {value}");
        match lines.iter().rposition(|line| assigned_key(line).is_some_and(|found| found == *key)) {
            Some(at) => replace_line(&mut lines, at, line),
            None => lines.push(line),
        }
    }
    text_of(&lines)
}

/// The text of a file of modprobe.d in which the module has so many buckets. A `hashsize=` is replaced in its line, whose
/// other options are kept.
pub fn modprobe_conf(existing: Option<&str>, buckets: u64) -> String {
    let mut lines = lines_of(existing);
    let option = format!("hashsize={buckets}");
    let found = lines.iter().rposition(|line| is_options_line(line) && line.split_whitespace().any(is_hashsize));
    match found {
        Some(at) => {
            let words = lines.get(at).map(String::as_str).unwrap_or_default().split_whitespace();
            let words = words.map(|word| if is_hashsize(word) { option.as_str() } else { word });
            let line = words.collect::<Vec<_>>().join(" ");
            replace_line(&mut lines, at, line);
        }
        None => lines.push(format!("options {MODULE} {option}")),
    }
    text_of(&lines)
}

/// The text of a file of modules-load.d with the module.
pub fn modules_load_conf(existing: Option<&str>) -> String {
    let mut lines = lines_of(existing);
    if !lines.iter().any(|line| line.trim() == MODULE) {
        lines.push(MODULE.to_owned());
    }
    text_of(&lines)
}

fn lines_of(existing: Option<&str>) -> Vec<String> {
    existing.unwrap_or(HEADER).lines().map(str::to_owned).collect()
}

fn text_of(lines: &[String]) -> String {
    lines.iter().map(|line| format!("{line}\n")).collect()
}

fn replace_line(lines: &mut [String], at: usize, line: String) {
    if let Some(found) = lines.get_mut(at) {
        *found = line;
    }
}

/// The key that a line of sysctl.d assigns, with dots. A `-` before it means that an error is ignored; `/` may stand for
/// the dots (sysctl.d(5)).
fn assigned_key(line: &str) -> Option<String> {
    let line = line.trim();
    if line.starts_with(['#', ';']) {
        return None;
    }
    let (key, _) = line.split_once('=')?;
    let key = key.trim();
    let key = key.strip_prefix('-').unwrap_or(key).trim();
    // The first separator decides which one it is.
    let is_path = key.find(['.', '/']).and_then(|at| key.get(at..)).is_some_and(|rest| rest.starts_with('/'));
    Some(if is_path { key.trim_start_matches('/').replace('/', ".") } else { key.to_owned() })
}

fn is_options_line(line: &str) -> bool {
    let mut words = line.split_whitespace();
    words.next() == Some("options") && words.next().is_some_and(|name| name.replace('-', "_") == MODULE)
}

fn is_hashsize(word: &str) -> bool {
    word.starts_with("hashsize=")
}

/// The lines of a diff without its context: `-` for those that go, `+` for those that come.
pub fn diff(before: Option<&str>, after: Option<&str>) -> Vec<String> {
    let [old, new] = [before, after].map(|text| text.unwrap_or_default().lines().collect::<Vec<_>>());
    let common = longest_common(&old, &new);
    let (mut lines, mut old, mut new) = (Vec::new(), old.into_iter(), new.into_iter());
    for line in common.into_iter().map(Some).chain([None]) {
        lines.extend(old.by_ref().take_while(|other| Some(*other) != line).map(|other| format!("-{other}")));
        lines.extend(new.by_ref().take_while(|other| Some(*other) != line).map(|other| format!("+{other}")));
    }
    lines
}

/// The longest common subsequence of lines; of files that are too long, none.
fn longest_common<'a>(old: &[&'a str], new: &[&'a str]) -> Vec<&'a str> {
    const MOST_CELLS: usize = 1_000_000;
    if old.len().saturating_mul(new.len()) > MOST_CELLS {
        return Vec::new();
    }
    // For each beginning of `new`, the longest with the lines of `old` so far.
    let mut row: Vec<Vec<&str>> = vec![Vec::new(); new.len() + 1];
    for line in old {
        let mut diagonal = Vec::new();
        let mut left: Vec<&str> = Vec::new();
        for (cell, other) in row.iter_mut().skip(1).zip(new) {
            let above = cell.clone();
            if line == other {
                let mut longer = diagonal;
                longer.push(*line);
                *cell = longer;
            } else if left.len() > cell.len() {
                cell.clone_from(&left);
            }
            diagonal = above;
            left.clone_from(cell);
        }
    }
    row.pop().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn assignments(pairs: &[(&str, u64)]) -> Vec<(String, u64)> {
        pairs.iter().map(|(key, value)| ((*key).to_owned(), *value)).collect()
    }

    #[test]
    fn lines_of_others_are_kept_and_a_key_is_assigned_once() {
        let existing =
            "# by hand\nnet.netfilter.nf_conntrack_max = 1\nnet.core.somaxconn=9\n\n-net/netfilter/nf_conntrack_acct=0";
        let set = assignments(&[("net.netfilter.nf_conntrack_max", 2), ("net.netfilter.nf_conntrack_acct", 1)]);
        let text = sysctl_conf(Some(existing), &set);
        let expected = "# by hand\nnet.netfilter.nf_conntrack_max = 2\nnet.core.somaxconn=9\n\n\
            net.netfilter.nf_conntrack_acct = 1\n";
        assert_eq!(text, expected);
        assert_eq!(sysctl_conf(Some(&text), &set), text);
    }

    #[test]
    fn of_two_lines_for_a_key_the_one_that_counts_is_replaced_and_a_comment_is_none() {
        let text = sysctl_conf(Some("a.b = 1\n#a.b = 5\na.b = 2\n"), &assignments(&[("a.b", 3)]));
        assert_eq!(text, "a.b = 1\n#a.b = 5\na.b = 3\n");
    }

    #[test]
    fn a_new_file_says_who_writes_it() {
        let text = sysctl_conf(None, &assignments(&[("a.b", 3)]));
        assert!(text.starts_with("# Written by `ctnl tune set --persist`") && text.ends_with("\na.b = 3\n"), "{text}");
    }

    #[test]
    fn a_hashsize_is_replaced_in_its_line_and_other_options_are_kept() {
        let existing = "options nf_conntrack acct=1 hashsize=1024 tstamp=1\noptions loop max_loop=2\n";
        assert_eq!(
            modprobe_conf(Some(existing), 4096),
            "options nf_conntrack acct=1 hashsize=4096 tstamp=1\noptions loop max_loop=2\n"
        );
        let none = "options nf_conntrack acct=1\n#options nf_conntrack hashsize=1\n";
        assert_eq!(modprobe_conf(Some(none), 8), format!("{none}options nf_conntrack hashsize=8\n"));
    }

    #[test]
    fn the_module_is_listed_once() {
        let text = modules_load_conf(Some("br_netfilter\n"));
        assert_eq!(text, "br_netfilter\nnf_conntrack\n");
        assert_eq!(modules_load_conf(Some(&text)), text);
    }

    #[test]
    fn a_diff_has_the_lines_that_differ_in_their_order() {
        let lines = diff(Some("a\nb\nc\nd\n"), Some("a\nx\nc\nd\ne\n"));
        assert_eq!(lines, ["-b", "+x", "+e"]);
        assert_eq!(diff(None, Some("a\n")), ["+a"]);
        assert_eq!(diff(Some("a\n"), None), ["-a"]);
        assert_eq!(diff(Some("a\n"), Some("a\n")), [] as [String; 0]);
    }
}
