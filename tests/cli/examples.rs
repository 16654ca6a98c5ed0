//! Every command line in help and documents is parsed. Without a kernel it exits with 1 and not with 2.

use std::fs;
use std::path::{Path, PathBuf};

use crate::program::{COMMANDS, Folder, ON_A_TABLE, words};

/// The parts of a line that are commands of ours, as words.
fn commands(line: &str) -> Vec<Vec<String>> {
    let line = line.trim();
    let line = line.strip_prefix("cargo run --release -- ").map_or(line.to_owned(), |rest| format!("ctnl {rest}"));
    let simple = simple_commands(&line);
    // What is not ours may go on in the next line.
    let ours = simple.into_iter().filter(|text| text.trim_start().starts_with("ctnl ")).filter_map(|text| {
        let words = shlex::split(&text).unwrap_or_else(|| panic!("no shell understands: {line}"));
        (words.first()? == "ctnl").then(|| words[1..].to_vec())
    });
    ours.collect()
}

/// The commands of a pipeline without redirections, and without the text after two spaces, which is an
/// explanation in help.
fn simple_commands(line: &str) -> Vec<String> {
    let (mut commands, mut quote, mut escaped) = (vec![String::new()], None, false);
    let mut rest = line.chars().peekable();
    while let Some(c) = rest.next() {
        match (quote, c) {
            _ if escaped => escaped = false,
            (None, '\\') => escaped = true,
            (Some(open), c) if c == open => quote = None,
            (None, '\'' | '"') => quote = Some(c),
            (None, '|' | ';' | '&') => {
                commands.push(String::new());
                continue;
            }
            (None, '>' | '#') => return commands,
            (None, ' ') if rest.peek() == Some(&' ') => return commands,
            _ => {}
        }
        commands.last_mut().unwrap().push(c);
    }
    commands
}

/// Fails unless the program parses `arguments`.
fn check(folder: &Folder, source: &str, arguments: &[String]) {
    let Some(verb) = arguments.first() else { panic!("{source}: ctnl alone") };
    match &**verb {
        "lab" => check_lab(folder, source, arguments),
        "man" => {
            let page = folder.path().join("man").to_str().unwrap().to_owned();
            assert_eq!(arguments.len(), 2, "{source}: {arguments:?}");
            assert_eq!(folder.ctnl(&[verb.clone(), page]).code, Some(0));
        }
        // The folder may be there or not.
        "spool" => {
            let run = folder.ctnl(arguments);
            assert!(run.code.is_some_and(|code| code != 2), "{source}: {}", run.explain());
        }
        // Reads files only, or a namespace that it makes.
        "doctor" if arguments.iter().any(|word| ["--explain", "--root", "--kernel"].contains(&&**word)) => {
            let run = folder.ctnl(arguments);
            assert!(run.code.is_some_and(|code| code != 2), "{source}: {}", run.explain());
        }
        // Reads a file.
        "top" if arguments.iter().any(|word| word == "--replay") => {
            let run = folder.ctnl(arguments);
            assert!(run.code == Some(1) && run.stderr.contains("read '"), "{source}: {}", run.explain());
        }
        "tune" => check_tune(folder, source, arguments),
        verb if ON_A_TABLE.contains(&verb) => {
            let run = folder.ctnl_without_kernel(arguments);
            let has_reached_the_kernel = run.code == Some(1) && run.stderr.contains("network namespace");
            assert!(has_reached_the_kernel, "{source}: {}", run.explain());
        }
        _ => {
            let run = folder.ctnl(arguments);
            assert!(run.code == Some(0) && !run.stdout.is_empty(), "{source}: {}", run.explain());
        }
    }
}

/// It must change nothing of this host: it is run with a folder, or a namespace, that does not exist.
fn check_tune(folder: &Folder, source: &str, arguments: &[String]) {
    let has = |option: &str| arguments.iter().any(|word| word == option);
    let mut arguments = arguments.to_vec();
    let place = match (has("--root") || has("--netns"), has("--existing")) {
        (true, _) => vec![],
        (false, true) => words(&["--netns", "/nonexistent"]),
        (false, false) => words(&["--root", "/nonexistent"]),
    };
    let behind = 2.min(arguments.len());
    arguments.splice(behind..behind, place);
    let run = folder.ctnl(&arguments);
    let has_reached_it =
        run.code == Some(1) && ["network namespace", "--root"].iter().any(|text| run.stderr.contains(text));
    assert!(has_reached_it, "{source}: {}", run.explain());
}

/// A lab needs a kernel: its flags must be in its help, and the command in it is checked like any
/// example.
fn check_lab(folder: &Folder, source: &str, arguments: &[String]) {
    let help = folder.ctnl(&words(&["lab", "--help"])).stdout;
    let end = arguments.iter().position(|word| word == "--").unwrap_or(arguments.len());
    for flag in arguments[..end].iter().filter(|word| word.starts_with('-')) {
        assert!(help.contains(&format!("{flag} ")) || help.contains(&format!("{flag}\n")), "{source}: {flag}");
    }
    match arguments.get(end + 1..).unwrap_or_default() {
        [] => {}
        [program, inner @ ..] if program == "ctnl" => check(folder, source, inner),
        [shell, flag, script] if (&**shell, &**flag) == ("sh", "-c") => {
            let inner = commands(script);
            assert!(!inner.is_empty(), "{source}: {script}");
            inner.iter().for_each(|inner| check(folder, source, inner));
        }
        [program, ..] => assert!(program == "conntrack", "{source}: {arguments:?}"),
    }
}

/// Checks every line of `text` that begins with our name; how many there were.
fn check_lines<'a>(folder: &Folder, source: &str, lines: impl Iterator<Item = &'a str>) -> usize {
    let is_ours = |line: &&str| line.starts_with("ctnl ") || line.starts_with("cargo run ");
    let lines = lines.map(str::trim_start).filter(is_ours);
    let found: Vec<Vec<String>> = lines.flat_map(commands).collect();
    found.iter().for_each(|arguments| check(folder, source, arguments));
    found.len()
}

#[test]
fn every_help_has_examples_and_each_is_parsed() {
    let folder = Folder::new();
    for command in COMMANDS {
        let help = folder.ctnl(&words(&[command, "--help"]));
        assert_eq!(help.code, Some(0), "{}", help.explain());
        let (_, examples) = help.stdout.split_once("Examples:\n").unwrap_or_else(|| panic!("{command}: no examples"));
        assert!(check_lines(&folder, command, examples.lines()) > 0, "{command}: no example of ours");
    }
    let help = folder.ctnl(&words(&["--help"]));
    assert!(check_lines(&folder, "ctnl --help", help.stdout.lines()) >= 5, "{}", help.explain());
}

#[test]
fn every_verb_of_expect_and_tune_has_examples_that_are_parsed_and_a_man_page() {
    let folder = Folder::new();
    let pages = folder.path().join("pages");
    assert_eq!(folder.ctnl(&words(&["man", pages.to_str().unwrap()])).code, Some(0));
    let expect = ["list", "get", "add", "delete", "flush", "count", "events"].map(|verb| ("expect", verb));
    let tune = ["show", "set", "confirm", "log", "revert"].map(|verb| ("tune", verb));
    for (command, verb) in expect.into_iter().chain(tune) {
        let help = folder.ctnl(&words(&[command, verb, "--help"])).stdout;
        let (_, examples) = help.split_once("Examples:\n").unwrap_or_else(|| panic!("{verb}: no examples"));
        assert!(check_lines(&folder, verb, examples.lines()) > 0, "{verb}: no example of ours");
        assert!(pages.join(format!("ctnl-{command}-{verb}.1")).is_file(), "{verb}");
    }
}

#[test]
fn every_command_of_the_documents_is_parsed() {
    let folder = Folder::new();
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut documents: Vec<PathBuf> = vec![root.join("README.md")];
    documents.extend(fs::read_dir(root.join("docs")).unwrap().map(|entry| entry.unwrap().path()));
    let mut checked = 0;
    for document in documents.iter().filter(|path| path.extension().is_some_and(|end| end == "md")) {
        let text = fs::read_to_string(document).unwrap();
        checked += check_lines(&folder, &document.display().to_string(), code(&text));
    }
    assert!(checked >= 15, "{checked}");
}

/// Lines of indented and fenced code.
fn code(text: &str) -> impl Iterator<Item = &str> {
    let mut fenced = false;
    text.lines().filter(move |line| {
        fenced ^= line.starts_with("```");
        fenced || line.starts_with("    ")
    })
}

#[test]
fn every_command_is_listed_in_the_help_and_no_other() {
    let help = Folder::new().ctnl(&words(&["--help"])).stdout;
    let (_, commands) = help.split_once("Commands:\n").unwrap();
    let listed: Vec<&str> = commands.lines().map_while(|line| line.split_whitespace().next()).collect();
    assert_eq!(listed[..listed.len() - 1], COMMANDS);
    assert_eq!(listed.last(), Some(&"help"));
}

#[test]
fn the_terms_are_explained_by_help_filter_and_by_filter_alone() {
    let folder = Folder::new();
    let (help, alone) = (folder.ctnl(&words(&["help", "filter"])).stdout, folder.ctnl(&words(&["filter"])).stdout);
    for field in ctnl::field::FIELDS {
        for text in [&help, &alone] {
            assert!(text.contains(&format!("  {} ", field.name)) && text.contains(field.example), "{}", field.name);
        }
    }
}
