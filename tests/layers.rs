//! The house rule: a file imports only from floors below its own.
//!
//! Reads the sources of library and program and looks at every path that begins
//! with `crate::`, `super::` or `ctnl::`. A folder is one unit: its files may use
//! each other. A module that is not in the table below has no floor, and fails.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use std::fs;
use std::path::Path;

/// Modules of the library, lowest floor first.
const LIBRARY: &[(u8, &[&str])] = &[
    (0, &["units", "wire"]),
    (1, &["model"]),
    (2, &["netlink", "clock", "sysctl"]),
    (3, &["table", "host"]),
    (4, &["age", "live"]),
    (5, &["field"]),
    (6, &["filter", "group"]),
    (7, &["output", "snapshot"]),
];

/// Modules of the program: the terminal and the host's files, a filter walked over
/// the table, services, and the commands.
const PROGRAM: &[(u8, &[&str])] = &[(8, HOST), (9, &["scan", "follow"]), (10, SERVICES), (11, &["commands", "compat"])];
const HOST: &[&str] = &["chunk", "fake", "host", "term"];
const SERVICES: &[&str] = &["guard", "top", "doctor", "tune", "exporter", "sink", "lab"];

/// The imports within a floor.
const EXCEPTIONS: &[(&str, &str)] = &[("guard", "sink")];

/// What the library must do without: arguments, terminals, signals, servers.
/// (Its tests read JSON with serde_json; that nothing else does shows in a build
/// without the feature `cli`.)
const PROGRAM_CRATES: &[&str] =
    &["clap", "clap_complete", "clap_mangen", "anyhow", "signal_hook", "tokio", "async_nats"];

/// Where the program may be asynchronous: on that place's own thread.
const ASYNCHRONOUS: &[&str] = &["sink", "nats"];

/// Sockets are opened here and nowhere else in the library.
const SOCKETS: &str = "netlink";
const SOCKET_CRATES: &[&str] = &["netlink_sys", "socket2"];

/// A house, with what its ground floor may be called.
struct House {
    name: &'static str,
    floors: &'static [(u8, &'static [&'static str])],
    /// The file that may see every floor.
    root: &'static str,
}

const HOUSES: [House; 2] =
    [House { name: "library", floors: LIBRARY, root: "lib" }, House { name: "program", floors: PROGRAM, root: "main" }];

impl House {
    fn floor(&self, module: &str) -> Option<u8> {
        self.floors.iter().find(|(_, modules)| modules.contains(&module)).map(|(floor, _)| *floor)
    }

    /// What is wrong with the file whose module path is `path`, one line each.
    fn faults(&self, path: &[&str], source: &str) -> Vec<String> {
        let file = path.join("::");
        let code = Code::of(source);
        let mut faults = self.foreign_crates(path[0], &code);
        if self.name == "program"
            && !path.starts_with(ASYNCHRONOUS)
            && ["tokio", "async_nats"].iter().any(|name| code.names_crate(name))
        {
            faults.push(format!("{}: {file} is asynchronous, which is for {}", self.name, ASYNCHRONOUS.join("::")));
        }
        if path[0] != self.root {
            let Some(own) = self.floor(path[0]) else {
                return vec![format!("{}: {file} is on no floor: add it to the table in tests/floors.rs", self.name)];
            };
            for module in code.imports(path) {
                if module != path[0] && !self.allows(path[0], own, &module) {
                    faults.push(format!("{}: {file} on floor {own} imports {module}", self.name));
                }
            }
        }
        faults
    }

    fn allows(&self, from: &str, own: u8, to: &str) -> bool {
        EXCEPTIONS.contains(&(from, to)) || self.floor(to).is_none_or(|floor| floor < own) && to != self.root
    }

    fn foreign_crates(&self, module: &str, code: &Code) -> Vec<String> {
        let mut faults = Vec::new();
        if self.name == "library" {
            for name in PROGRAM_CRATES.iter().filter(|name| code.names_crate(name)) {
                faults.push(format!("library: {module} uses {name}, which is for the program"));
            }
            for name in SOCKET_CRATES.iter().filter(|name| module != SOCKETS && code.names_crate(name)) {
                faults.push(format!("library: {module} uses {name}, which is for {SOCKETS}"));
            }
        }
        faults
    }
}

/// A source without comments and texts, as words and signs.
struct Code(Vec<String>);

impl Code {
    fn of(source: &str) -> Self {
        let bytes: Vec<char> = source.chars().collect();
        let mut words = Vec::new();
        let mut at = 0;
        while at < bytes.len() {
            let rest = &bytes[at..];
            at += match rest {
                ['/', '/', ..] => rest.iter().take_while(|&&c| c != '\n').count(),
                ['/', '*', ..] => block_comment(rest),
                ['r', '"' | '#', ..] if raw_string(rest) > 0 => raw_string(rest),
                ['"', ..] => quoted(rest, '"'),
                ['\'', '\\', ..] | ['\'', _, '\'', ..] => quoted(rest, '\''),
                [':', ':', ..] => {
                    words.push("::".into());
                    2
                }
                [c, ..] if c.is_alphanumeric() || *c == '_' => {
                    let word: String = rest.iter().take_while(|c| c.is_alphanumeric() || **c == '_').collect();
                    let length = word.chars().count();
                    words.push(word);
                    length
                }
                [c, ..] => {
                    if !c.is_whitespace() {
                        words.push(c.to_string());
                    }
                    1
                }
                [] => 1,
            };
        }
        Code(words)
    }

    /// The top-level modules that the file at `path` reaches for.
    fn imports(&self, path: &[&str]) -> Vec<String> {
        let mut modules = Vec::new();
        for (place, word) in self.0.iter().enumerate() {
            let starts = place == 0 || self.0[place - 1] != "::";
            if !starts || self.0.get(place + 1).is_none_or(|next| next != "::") {
                continue;
            }
            match word.as_str() {
                "crate" => modules.extend(self.heads(place + 2)),
                "super" => modules.extend(self.above(place, path)),
                _ => {}
            }
        }
        modules
    }

    /// What `super::super::…` at `place` comes to: only a way out of the
    /// top-level module counts.
    fn above(&self, place: usize, path: &[&str]) -> Vec<String> {
        let mut levels = 0;
        let mut at = place;
        while self.0.get(at).is_some_and(|word| word == "super") {
            levels += 1;
            at += 2;
        }
        // An inline `mod tests` is one level further in, so one `super` less counts.
        let inline = self.depth_of_inline_modules(place);
        if levels >= path.len() + inline { self.heads(at) } else { Vec::new() }
    }

    /// How many `mod x { … }` are open at `place`.
    fn depth_of_inline_modules(&self, place: usize) -> usize {
        let (mut braces, mut open) = (0, Vec::new());
        for at in 0..place {
            match self.0[at].as_str() {
                "{" => {
                    if at >= 2 && self.0[at - 2] == "mod" {
                        open.push(braces);
                    }
                    braces += 1;
                }
                "}" => {
                    braces -= 1;
                    if open.last() == Some(&braces) {
                        open.pop();
                    }
                }
                _ => {}
            }
        }
        open.len()
    }

    /// The first words of the path, or of each path in `{ … }`, at `place`.
    fn heads(&self, place: usize) -> Vec<String> {
        if self.0.get(place).is_none_or(|word| word != "{") {
            return self.0.get(place).cloned().into_iter().collect();
        }
        let (mut depth, mut heads) = (0, Vec::new());
        for (at, word) in self.0.iter().enumerate().skip(place) {
            match word.as_str() {
                "{" => depth += 1,
                "}" => depth -= 1,
                _ if depth == 1 && matches!(self.0[at - 1].as_str(), "{" | ",") => heads.push(word.clone()),
                _ => {}
            }
            if depth == 0 {
                break;
            }
        }
        heads
    }

    /// Whether a path begins with this crate.
    fn names_crate(&self, name: &str) -> bool {
        self.0.iter().enumerate().any(|(place, word)| {
            let before = place.checked_sub(1).map_or("", |before| &self.0[before]);
            let after = self.0.get(place + 1).map_or("", String::as_str);
            word == name && before != "::" && (after == "::" || before == "use")
        })
    }
}

fn block_comment(rest: &[char]) -> usize {
    let end = rest.windows(2).position(|pair| pair == ['*', '/']);
    end.map_or(rest.len(), |end| end + 2)
}

/// Length of `r"…"` or `r#"…"#`; 0 for something else (`r#type`).
fn raw_string(rest: &[char]) -> usize {
    let hashes = rest[1..].iter().take_while(|&&c| c == '#').count();
    if rest.get(1 + hashes) != Some(&'"') {
        return 0;
    }
    let end: Vec<char> = std::iter::once('"').chain(std::iter::repeat_n('#', hashes)).collect();
    let body = &rest[hashes + 2..];
    body.windows(end.len()).position(|window| window == end).map_or(rest.len(), |at| at + 2 * hashes + 3)
}

fn quoted(rest: &[char], quote: char) -> usize {
    let mut at = 1;
    while at < rest.len() && rest[at] != quote {
        at += if rest[at] == '\\' { 2 } else { 1 };
    }
    at + 1
}

/// Every `.rs` file under `folder` with its module path.
fn sources(folder: &Path, path: &[String], visit: &mut dyn FnMut(&[&str], &str)) {
    let mut entries: Vec<_> = fs::read_dir(folder).expect("a folder").map(|entry| entry.unwrap().path()).collect();
    entries.sort();
    for entry in entries {
        let stem = entry.file_stem().unwrap().to_str().unwrap().to_owned();
        let inner: Vec<String> = path.iter().cloned().chain([stem.clone()]).collect();
        if entry.is_dir() && stem != "bin" {
            sources(&entry, &inner, visit);
        } else if entry.extension().is_some_and(|extension| extension == "rs") {
            // `x/mod.rs` is module `x`.
            let module: Vec<&str> = if stem == "mod" { path } else { &inner[..] }.iter().map(String::as_str).collect();
            visit(&module, &fs::read_to_string(&entry).unwrap());
        }
    }
}

fn check(house: &House, folder: &str) -> Vec<String> {
    let mut faults = Vec::new();
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join(folder);
    sources(&root, &[], &mut |path, source| faults.extend(house.faults(path, source)));
    faults
}

#[test]
fn the_library_imports_only_downwards() {
    assert_eq!(check(&HOUSES[0], "src"), [] as [String; 0]);
}

#[test]
fn the_program_imports_only_downwards() {
    assert_eq!(check(&HOUSES[1], "src/bin/ctnl"), [] as [String; 0]);
}

/// The faults of one made-up file.
fn faults_of(house: usize, path: &str, source: &str) -> usize {
    HOUSES[house].faults(&path.split("::").collect::<Vec<_>>(), source).len()
}

#[test]
fn an_import_from_a_higher_floor_is_a_fault_however_it_is_written() {
    for source in [
        "use crate::table::dump;",
        "use crate::{wire::Message, table::{self, dump}};",
        "use crate::{\n    table,\n    wire,\n};",
        "fn f() -> crate::output::Format { todo!() }",
        "pub(crate) use crate::table::Target as T;",
        "use super::super::table::dump;",
        "mod tests { use crate::filter::Filter; }",
        "fn f() { let c = '\"'; crate::table::count(); let d = \"\"; }",
        "fn f<'a>(x: &'a str) { crate::table::count(); }",
    ] {
        assert_eq!(faults_of(0, "model::flow", source), 1, "{source}");
    }
}

#[test]
fn what_is_below_or_in_the_same_folder_or_no_import_is_no_fault() {
    for source in [
        "use crate::wire::{Message, uapi::cta};",
        "use super::tuple::Tuple;\nuse crate::model::zone::Zone;",
        "mod tests { use super::super::tuple::Tuple; use super::*; }",
        "//! See [`crate::table`].\n/* crate::table:: */",
        "const A: &str = \"crate::table::x\"; const B: &str = r#\"use \"crate::table::x\" \"#;",
        "use std::table::crate_like; fn table() {}",
    ] {
        assert_eq!(faults_of(0, "model::flow", source), 0, "{source}");
    }
}

#[test]
fn a_neighbour_on_the_same_floor_is_a_fault_but_for_the_exceptions() {
    assert_eq!(faults_of(0, "filter::parse", "use crate::group::Group;"), 1);
    assert_eq!(faults_of(1, "lab::run", "use crate::guard::decide;"), 1);
    assert_eq!(faults_of(1, "sink::file", "use crate::guard::decide;"), 1);
    assert_eq!(faults_of(1, "guard::run", "use crate::sink::Sink;"), 0);
    assert_eq!(faults_of(1, "term", "use crate::scan::walk;"), 1);
    assert_eq!(faults_of(1, "term", "use crate::host::ssh;"), 1);
}

#[test]
fn the_program_uses_the_library_freely_and_its_own_floors_downwards() {
    assert_eq!(faults_of(1, "lab::run", "use ctnl::output::Format; use ctnl::wire::Batch; use anyhow::Result;"), 0);
    assert_eq!(faults_of(1, "commands::lab", "use crate::lab; use crate::{lab::run, sink};"), 0);
    assert_eq!(faults_of(1, "lab::run", "use crate::commands;"), 1);
    assert_eq!(faults_of(1, "lab::run", "use crate::main::x;"), 1);
}

#[test]
fn only_what_talks_to_nats_is_asynchronous() {
    for source in ["use tokio::time;", "fn f() -> async_nats::Client { todo!() }"] {
        assert_eq!(faults_of(1, "sink::nats::session", source), 0);
        assert_eq!(faults_of(1, "sink::remote", source), 1);
        assert_eq!(faults_of(1, "follow", source), 1);
    }
}

#[test]
fn a_module_without_a_floor_is_a_fault() {
    assert_eq!(faults_of(0, "utils::text", ""), 1);
    assert_eq!(faults_of(1, "helpers", ""), 1);
    assert_eq!(faults_of(0, "lib", "pub mod wire; use crate::table;"), 0);
}

#[test]
fn the_library_must_not_reach_for_what_is_the_programs() {
    for source in ["use clap::Parser;", "use anyhow;", "fn f() -> anyhow::Result<()> { todo!() }", "use tokio::net;"] {
        assert_eq!(faults_of(0, "table::dump", source), 1, "{source}");
    }
    assert_eq!(faults_of(0, "table::dump", "use netlink_sys::Socket;"), 1);
    assert_eq!(faults_of(0, "netlink::socket", "use netlink_sys::Socket;"), 0);
    assert_eq!(faults_of(0, "table::dump", "let clap = 1; use crate::wire::clap;"), 0);
}

/// Lines are bytes to a sink. Its tests are not exempt: they need no entries either.
#[test]
fn sinks_do_not_depend_on_conntrack() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/bin/ctnl/sink");
    let mut others = Vec::new();
    sources(&root, &["sink".into()], &mut |path, source| {
        let words = Code::of(source).0;
        let library = words.windows(3).filter(|window| window[0] == "ctnl" && window[1] == "::");
        let library = library.filter(|window| !["clock", "units"].contains(&window[2].as_str()));
        others.extend(library.map(|window| format!("{}: ctnl::{}", path.join("::"), window[2])));
    });
    assert_eq!(others, [] as [String; 0]);
}
