//! A command line of `ctnl conntrack`, as words between NUL bytes, and as a line of a file of `-R`: parse both. With
//! `CTNL_CONNTRACK` (a program that runs conntrack(8) 1.4.9), what that refuses has to be refused, and what it accepts
//! accepted, as far as ours is not stricter on purpose.

#![no_main]

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;
use std::process::{Command, Stdio};
use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;

#[path = "../../src/bin/ctnl/conntrack_syntax/mod.rs"]
#[allow(dead_code, unused_imports)]
mod conntrack_syntax;

use conntrack_syntax::{Command as Verb, ErrorExit, Invocation, SyntaxError, parse, parse_line};

/// Words of a command line.
const MAX_WORDS: usize = 32;

static ORIGINAL: LazyLock<Option<OsString>> = LazyLock::new(|| std::env::var_os("CTNL_CONNTRACK"));

fuzz_target!(|bytes: &[u8]| {
    let words: Vec<OsString> =
        bytes.split(|byte| *byte == 0).take(MAX_WORDS).map(|word| OsStr::from_bytes(word).to_owned()).collect();
    let names = |_: &[u8]| None;
    let parsed = parse(&words, &names);
    let _ = parse_line(bytes, &names);
    if let Some(original) = &*ORIGINAL {
        compare(original, &words, &parsed);
    }
});

/// Exit code 1 of the original, where it is about the command line.
const REFUSED_WITH_1: [&str; 3] = ["unexpected value", "cannot combine save output", "cannot use --label-add"];

fn compare(original: &OsStr, words: &[OsString], parsed: &Result<Invocation, SyntaxError>) {
    // Files are not read here, and events are waited for.
    let is_event = |word: &OsString| word.as_bytes().contains(&b'E') || word.as_bytes().starts_with(b"--e");
    if matches!(parsed, Ok(Invocation::LoadFile(_))) || words.iter().any(is_event) {
        return;
    }
    let output = Command::new(original).args(words).stdin(Stdio::null()).output().expect("CTNL_CONNTRACK is a program");
    let stderr = String::from_utf8_lossy(&output.stderr);
    let refused = match output.status.code() {
        Some(2) if stderr.contains("unknown label") => return,
        Some(2) => Some(ErrorExit::Usage),
        Some(1) if REFUSED_WITH_1.iter().any(|text| stderr.contains(text)) => Some(ErrorExit::Failed),
        Some(_) => None,
        // It crashed.
        None => return,
    };
    match parsed {
        Err(error) if error.is_stricter => {}
        // The original reads its table of options beyond the end.
        Ok(Invocation::Request(request)) if request.command == Verb::None => {}
        Err(error) => assert_eq!(Some(error.exit), refused, "{words:?}: {error}: {stderr}"),
        Ok(_) => assert_eq!(refused, None, "{words:?}: {stderr}"),
    }
}
