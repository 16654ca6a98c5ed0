//! Bad input, from `tests/data/usage.txt`: exit 2, a caret under the fault, nothing
//! on stdout, and nothing sent.

use crate::program::{Folder, Run, words};

const TABLE: &str = include_str!("../data/usage.txt");

/// Rows of arguments, place of the fault, part of the message.
fn rows() -> impl Iterator<Item = (Vec<String>, &'static str, &'static str)> {
    let lines = TABLE.lines().filter(|line| !line.is_empty() && !line.starts_with('#'));
    lines.map(|line| {
        let parts: Vec<&str> = line.split(" -> ").collect();
        let [arguments, fault, message] = parts[..] else { panic!("not three parts: {line}") };
        (shlex::split(arguments).expect("arguments"), fault, message)
    })
}

#[test]
fn invalid_input_is_refused_before_any_request_is_sent() {
    let folder = Folder::new();
    let mut faults = Vec::new();
    for (arguments, fault, message) in rows() {
        let run = folder.ctnl_without_kernel(&arguments);
        if let Err(why) = refused(&run, fault, message) {
            faults.push(format!("{why}\n{}", run.explain()));
        }
    }
    assert!(faults.is_empty(), "{} rows:\n\n{}", faults.len(), faults.join("\n\n"));
    assert!(rows().count() > 70);
}

fn refused(run: &Run, fault: &str, message: &str) -> Result<(), String> {
    if run.code != Some(2) {
        return Err(format!("exit code {:?} instead of 2", run.code));
    }
    if !run.stdout.is_empty() {
        return Err("something on stdout".into());
    }
    if !run.stderr.contains(message) {
        return Err(format!("the error does not contain: {message}"));
    }
    if fault == "-" {
        return Ok(());
    }
    let found = marked(&run.stderr).ok_or("there is no caret")?;
    if found == fault { Ok(()) } else { Err(format!("the caret is under {found} instead of {fault}")) }
}

/// Column and text of what the caret is under, without the indent of two.
fn marked(stderr: &str) -> Option<String> {
    let lines: Vec<&str> = stderr.lines().collect();
    let is_caret = |line: &&str| line.trim_start().starts_with('^') && line.trim().bytes().all(|byte| byte == b'^');
    let place = lines.iter().position(is_caret)?;
    let (carets, line) = (lines[place], lines[place - 1]);
    let column = carets.chars().take_while(|c| *c != '^').count();
    let width = carets.trim().len();
    let part: String = line.chars().skip(column).take(width).collect();
    Some(format!("{}:{part}", column.checked_sub(2)?))
}

#[test]
fn valid_input_reaches_the_kernel() {
    let folder = Folder::new();
    for arguments in [
        &["flush", "tcp"][..],
        &["flush", "--all"],
        &["flush", "--dport", "80,443", "--dry-run"],
        &["list"],
        &["count", "--by", "state"],
        &["get", "tcp", "10.0.0.1:1", "10.0.0.2:2"],
        &["delete", "tcp", "10.0.0.1:1", "10.0.0.2:2"],
        &["expect", "list"],
        &["expect", "flush", "--helper", "ftp"],
        &["expect", "delete", "tcp", "10.0.0.1:0", "10.0.0.2:2"],
    ] {
        let run = folder.ctnl_without_kernel(&words(arguments));
        assert!(run.code == Some(1) && run.stderr.contains("/nonexistent"), "{}", run.explain());
        assert!(run.stderr.contains("hint: no such namespace"), "{}", run.explain());
        assert!(run.stdout.is_empty(), "{}", run.explain());
    }
}

#[test]
fn an_invalid_line_in_a_file_of_values_is_named() {
    let folder = Folder::new();
    std::fs::write(folder.path().join("bad.txt"), "10.0.0.1\n10.0.0.2 10.0.0.300 # no\n").unwrap();
    let run = folder.ctnl_without_kernel(&words(&["flush", "--src", "@bad.txt"]));
    assert_eq!(run.code, Some(2), "{}", run.explain());
    assert!(run.stderr.contains("bad.txt:2: 10.0.0.2 10.0.0.300"), "{}", run.explain());
    assert_eq!(marked(&run.stderr).as_deref(), Some("20:10.0.0.300"), "{}", run.explain());
}
