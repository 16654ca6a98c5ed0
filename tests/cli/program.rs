//! Runs the program in an empty folder, with an empty environment, and with a namespace that does not
//! exist.

use std::fs;
use std::path::Path;
use std::process::{Command, Output};

use tempfile::TempDir;

/// Every command, as in `ctnl --help`.
pub const COMMANDS: [&str; 20] = [
    "list",
    "count",
    "get",
    "delete",
    "flush",
    "add",
    "update",
    "save",
    "restore",
    "expect",
    "stats",
    "top",
    "doctor",
    "tune",
    "events",
    "spool",
    "filter",
    "lab",
    "completions",
    "man",
];
/// Those of them that talk to the kernel, in a namespace that may be named.
pub const ON_A_TABLE: [&str; 14] = [
    "list", "count", "get", "delete", "flush", "add", "update", "save", "restore", "expect", "stats", "top", "doctor",
    "events",
];

/// A folder to run in.
pub struct Folder(TempDir);

/// A finished run.
pub struct Run {
    pub arguments: Vec<String>,
    pub code: Option<i32>,
    pub stdout: String,
    pub stderr: String,
}

impl Folder {
    /// A folder with the file that README's examples read.
    pub fn new() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        fs::write(folder.path().join("blocklist.txt"), "192.0.2.0/24\n2001:db8::/32\n").expect("a file");
        Folder(folder)
    }

    pub fn path(&self) -> &Path {
        self.0.path()
    }

    /// Runs the program.
    pub fn ctnl(&self, arguments: &[String]) -> Run {
        let mut command = Command::new(env!("CARGO_BIN_EXE_ctnl"));
        command.args(arguments).current_dir(self.path()).env_clear();
        let Output { status, stdout, stderr } = command.output().expect("the program starts");
        let text = |bytes| String::from_utf8(bytes).expect("UTF-8");
        Run { arguments: arguments.to_vec(), code: status.code(), stdout: text(stdout), stderr: text(stderr) }
    }

    /// Runs the program with a namespace that does not exist: a command that gets as far as opening it
    /// fails with 1.
    pub fn ctnl_without_kernel(&self, arguments: &[String]) -> Run {
        let mut arguments = arguments.to_vec();
        let is_on_a_table = arguments.first().is_some_and(|verb| ON_A_TABLE.contains(&verb.as_str()));
        if is_on_a_table && !arguments.iter().any(|word| word == "--netns") {
            // All of them would be found, and one is.
            arguments.retain(|word| word != "--all-netns");
            // `expect` has commands of its own.
            let behind = if arguments.first().is_some_and(|verb| verb == "expect") { 2 } else { 1 };
            let behind = behind.min(arguments.len());
            arguments.splice(behind..behind, ["--netns".to_owned(), "/nonexistent".to_owned()]);
        }
        self.ctnl(&arguments)
    }
}

impl Run {
    /// All of it, for a failed test.
    pub fn explain(&self) -> String {
        let Run { arguments, code, stdout, stderr } = self;
        format!("ctnl {arguments:?} exited with {code:?}\n--- stdout\n{stdout}\n--- stderr\n{stderr}")
    }
}

/// `text` as words.
pub fn words(text: &[&str]) -> Vec<String> {
    text.iter().map(ToString::to_string).collect()
}
