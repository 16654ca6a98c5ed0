//! A file imports only from layers below its own, and the files of one folder import
//! each other in one direction.
//!
//! Reads the sources of library and program and checks every path that begins with
//! `crate::`, `super::` or `ctnl::`. A module that is not in the table below fails, and so
//! does a row of the table without a module.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod code;
mod cycles;

use std::fs;
use std::path::Path;

use code::Code;

/// Modules of the library, lowest layer first.
const LIBRARY: &[(u8, &[&str])] = &[
    (0, &["text", "units", "wire"]),
    (1, &["model"]),
    (2, &["clock", "netlink", "sysctl"]),
    (3, &["host", "table"]),
    (4, &["age", "live"]),
    (5, &["field"]),
    (6, &["filter", "group", "metrics"]),
    (7, &["output", "snapshot"]),
];

/// Modules of the program, lowest layer first.
const PROGRAM: &[(u8, &[&str])] = &[
    (8, &["chunk", "fake", "host", "term"]),
    (9, &["save_file", "scan"]),
    (10, &["follow", "purge", "restore"]),
    (11, &["sink"]),
    (12, &["conntrack_syntax", "doctor", "kernel_probe", "lab", "stream", "top", "tune"]),
    (13, &["commands", "compat"]),
];

/// Crates that the library must not use: arguments, terminals, signals, servers. (Its tests use
/// serde_json; a build without the feature `cli` shows that nothing else does.)
const PROGRAM_CRATES: &[&str] =
    &["clap", "clap_complete", "clap_mangen", "anyhow", "signal_hook", "tokio", "async_nats"];

/// The one module that may be asynchronous, on a thread of its own.
const ASYNCHRONOUS: &[&str] = &["sink", "nats"];

/// The one module of the library that opens sockets.
const SOCKETS: &str = "netlink";
const SOCKET_CRATES: &[&str] = &["netlink_sys", "socket2"];

/// The library or the program.
struct Part {
    name: &'static str,
    layers: &'static [(u8, &'static [&'static str])],
    /// The file that may import from every layer.
    root: &'static str,
}

const PARTS: [Part; 2] =
    [Part { name: "library", layers: LIBRARY, root: "lib" }, Part { name: "program", layers: PROGRAM, root: "main" }];

impl Part {
    fn layer(&self, module: &str) -> Option<u8> {
        self.layers.iter().find(|(_, modules)| modules.contains(&module)).map(|(layer, _)| *layer)
    }

    /// The faults of the file whose module path is `path`, one line each.
    fn faults(&self, path: &[&str], source: &str) -> Vec<String> {
        let file = path.join("::");
        let code = Code::of(source);
        let mut faults = self.foreign_crates(path[0], &code);
        if self.name == "program"
            && !path.starts_with(ASYNCHRONOUS)
            && ["tokio", "async_nats"].iter().any(|name| code.names_crate(name))
        {
            faults.push(format!(
                "{}: {file} is asynchronous, which only {} may be",
                self.name,
                ASYNCHRONOUS.join("::")
            ));
        }
        if path[0] != self.root {
            let Some(own) = self.layer(path[0]) else {
                return vec![format!(
                    "{}: {file} is in no layer: add it to the table in tests/layers/main.rs",
                    self.name
                )];
            };
            for module in code.imports(path) {
                if module != path[0] && !self.allows(own, &module) {
                    faults.push(format!("{}: {file} in layer {own} imports {module}", self.name));
                }
            }
        }
        faults
    }

    fn allows(&self, own: u8, to: &str) -> bool {
        self.layer(to).is_none_or(|layer| layer < own) && to != self.root
    }

    fn foreign_crates(&self, module: &str, code: &Code) -> Vec<String> {
        let mut faults = Vec::new();
        if self.name == "library" {
            for name in PROGRAM_CRATES.iter().filter(|name| code.names_crate(name)) {
                faults.push(format!("library: {module} uses {name}, which only the program may"));
            }
            for name in SOCKET_CRATES.iter().filter(|name| module != SOCKETS && code.names_crate(name)) {
                faults.push(format!("library: {module} uses {name}, which only {SOCKETS} may"));
            }
        }
        faults
    }
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

fn check(part: &Part, folder: &str) -> Vec<String> {
    let mut faults = Vec::new();
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join(folder);
    sources(&root, &[], &mut |path, source| faults.extend(part.faults(path, source)));
    faults
}

/// The modules of a part: its top-level files and folders.
fn modules(folder: &str) -> Vec<String> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join(folder);
    let entries = fs::read_dir(root).expect("a folder").map(|entry| entry.unwrap().path());
    entries.map(|path| path.file_stem().unwrap().to_str().unwrap().to_owned()).collect()
}

#[test]
fn the_table_lists_no_module_that_does_not_exist() {
    for (part, folder) in PARTS.iter().zip(["src", "src/bin/ctnl"]) {
        let there = modules(folder);
        for module in part.layers.iter().flat_map(|(_, modules)| modules.iter()) {
            assert!(there.iter().any(|name| name == module), "{}: there is no module {module}", part.name);
        }
    }
}

#[test]
fn the_files_of_one_folder_have_no_import_cycle() {
    assert_eq!(cycles::of_tree(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src")), [] as [String; 0]);
}

#[test]
fn the_library_imports_only_downwards() {
    assert_eq!(check(&PARTS[0], "src"), [] as [String; 0]);
}

#[test]
fn the_program_imports_only_downwards() {
    assert_eq!(check(&PARTS[1], "src/bin/ctnl"), [] as [String; 0]);
}

/// The number of faults of a made-up file.
fn faults_of(part: usize, path: &str, source: &str) -> usize {
    PARTS[part].faults(&path.split("::").collect::<Vec<_>>(), source).len()
}

#[test]
fn an_import_from_a_higher_layer_is_an_error_in_every_syntax() {
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
fn an_import_from_a_lower_layer_or_the_same_folder_is_allowed() {
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
fn an_import_within_a_layer_is_an_error() {
    assert_eq!(faults_of(0, "filter::parse", "use crate::group::Group;"), 1);
    assert_eq!(faults_of(1, "scan::walk", "use crate::follow::follow;"), 1);
    assert_eq!(faults_of(1, "term::console", "use crate::scan::walk;"), 1);
    assert_eq!(faults_of(1, "term::console", "use crate::host::ssh;"), 1);
}

#[test]
fn the_program_imports_the_library_freely_and_its_own_layers_downwards() {
    assert_eq!(faults_of(1, "lab::run", "use ctnl::output::Format; use ctnl::wire::Batch; use anyhow::Result;"), 0);
    assert_eq!(faults_of(1, "commands::lab", "use crate::lab; use crate::{lab::run, sink};"), 0);
    assert_eq!(faults_of(1, "lab::run", "use crate::commands;"), 1);
    assert_eq!(faults_of(1, "lab::run", "use crate::main::x;"), 1);
}

#[test]
fn only_the_nats_sink_is_asynchronous() {
    for source in ["use tokio::time;", "fn f() -> async_nats::Client { todo!() }"] {
        assert_eq!(faults_of(1, "sink::nats::session", source), 0);
        assert_eq!(faults_of(1, "sink::remote", source), 1);
        assert_eq!(faults_of(1, "follow", source), 1);
    }
}

/// The modules that name the command of a delete. `table::delete` names one entry; `kernel_probe` flushes the
/// private namespace that it has made; a destroy event has the same number.
const NAMES_DELETE: [&str; 3] = ["kernel_probe::made_up_table", "model::event", "table::delete"];

#[test]
fn only_the_probes_of_a_private_namespace_flush() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut naming = Vec::new();
    for folder in [root.clone(), root.join("bin/ctnl")] {
        sources(&folder, &[], &mut |path, source| {
            if Code::of(source).without_tests().has_path(["ipctnl_msg_ct", "DELETE"]) {
                naming.push(path.join("::"));
            }
        });
    }
    naming.sort();
    assert_eq!(naming, NAMES_DELETE, "see ARCHITECTURE.md: a delete without a tuple cannot be expressed");
}

/// A connection of the probes comes from `PrivateNetns::connect`.
#[test]
fn the_probes_open_connections_to_their_private_namespace_alone() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/bin/ctnl/kernel_probe");
    let mut opening = Vec::new();
    sources(&root, &["kernel_probe".into()], &mut |path, source| {
        let code = Code::of(source);
        let opens = [["Connection", "open"], ["Netns", "Current"], ["Netns", "parse"], ["Netns", "named"]];
        if opens.iter().any(|path| code.has_path(*path)) || source.contains("Listener") {
            opening.push(path.join("::"));
        }
    });
    assert_eq!(opening, ["kernel_probe::private_netns"]);
}

/// Lines are bytes to a sink: of the library it uses the clock and the units alone.
#[test]
fn sinks_do_not_depend_on_conntrack() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/bin/ctnl/sink");
    let mut others = Vec::new();
    sources(&root, &["sink".into()], &mut |path, source| {
        let code = Code::of(source);
        let modules = code.modules_of("ctnl").into_iter().filter(|module| !["clock", "units"].contains(module));
        others.extend(modules.map(|module| format!("{}: ctnl::{module}", path.join("::"))));
    });
    assert_eq!(others, [] as [String; 0]);
}

#[test]
fn a_module_without_a_layer_is_an_error() {
    assert_eq!(faults_of(0, "utils::text", ""), 1);
    assert_eq!(faults_of(1, "helpers", ""), 1);
    assert_eq!(faults_of(0, "lib", "pub mod wire; use crate::table;"), 0);
}

#[test]
fn the_library_uses_no_crate_of_the_program() {
    for source in ["use clap::Parser;", "use anyhow;", "fn f() -> anyhow::Result<()> { todo!() }", "use tokio::net;"] {
        assert_eq!(faults_of(0, "table::dump", source), 1, "{source}");
    }
    assert_eq!(faults_of(0, "table::dump", "use netlink_sys::Socket;"), 1);
    assert_eq!(faults_of(0, "netlink::socket", "use netlink_sys::Socket;"), 0);
    assert_eq!(faults_of(0, "table::dump", "let clap = 1; use crate::wire::clap;"), 0);
}
