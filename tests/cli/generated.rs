//! Version, completions, man pages.

use std::fs;

use crate::program::{COMMANDS, Folder, words};

#[test]
fn the_version_is_that_of_the_package() {
    let run = Folder::new().ctnl(&words(&["--version"]));
    assert_eq!((run.code, &*run.stdout), (Some(0), concat!("ctnl ", env!("CARGO_PKG_VERSION"), "\n")));
}

#[test]
fn completions_exist_for_every_shell_and_command() {
    let folder = Folder::new();
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let run = folder.ctnl(&words(&["completions", shell]));
        assert!(run.code == Some(0) && run.stderr.is_empty(), "{}", run.explain());
        for word in COMMANDS.iter().chain(&["dry-run", "confirm-idle", "older"]) {
            assert!(run.stdout.contains(word), "{shell} completes no {word}");
        }
        // The values of an option: the views of top.
        assert!(run.stdout.contains("source-network") || !["bash", "zsh", "fish"].contains(&shell), "{shell}");
    }
    assert_eq!(folder.ctnl(&words(&["completions", "tcsh"])).code, Some(2));
}

#[test]
fn each_command_has_a_man_page_with_every_flag_of_its_help() {
    let folder = Folder::new();
    let pages = folder.path().join("new/man1");
    let run = folder.ctnl(&words(&["man", pages.to_str().unwrap()]));
    assert!(run.code == Some(0) && run.stdout.is_empty(), "{}", run.explain());
    assert!(pages.join("ctnl.1").is_file());
    for command in COMMANDS {
        let page = fs::read_to_string(pages.join(format!("ctnl-{command}.1"))).expect("a page");
        let page = page.replace('\\', "");
        let help = folder.ctnl(&words(&[command, "--help"])).stdout;
        let flags: Vec<&str> = help.lines().filter_map(long_flag).collect();
        assert!(flags.contains(&"--help"), "{command}: {flags:?}");
        for flag in flags {
            assert!(page.contains(flag), "the page of {command} has no {flag}");
        }
        assert!(page.contains("Examples:") && page.contains(".TH"), "{command}");
    }
}

/// The long flag that a line of help is about: `  -n, --limit <N>`.
fn long_flag(line: &str) -> Option<&str> {
    let line = line.trim_start();
    let line = line.strip_prefix('-').filter(|rest| !rest.starts_with('-')).map_or(line, |_| &line[4..]);
    let flag = line.split([' ', '[', '=']).next()?;
    flag.starts_with("--").then_some(flag)
}

#[test]
fn the_document_on_summaries_names_every_reason_for_undecided() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/summary.md");
    let text = fs::read_to_string(path).expect("the document");
    for reason in ctnl::model::Undecided::ALL {
        assert!(text.contains(&format!("`{}`", reason.name())), "{}", reason.name());
    }
}
