//! The files of a host, from a description in tests/data/hosts, and changes to them.
//!
//! A description has a line `== PATH [MODE]` before the content of each file, and `-> PATH TARGET` for a symbolic link;
//! `\0` in it is the byte 0.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::PathBuf;
use std::process::Command;

use tempfile::TempDir;

use crate::program::Folder;

/// A change of a file.
pub enum Edit {
    /// Writes a file, or replaces it.
    Write(&'static str, &'static str),
    /// Writes a file that may be executed.
    Script(&'static str, &'static str),
    /// Adds lines to a file.
    Append(&'static str, &'static str),
    /// Replaces a part of a file, which must be there.
    Replace(&'static str, &'static str, &'static str),
    /// Removes a file or a link.
    Remove(&'static str),
}

/// The files of a host in a temporary folder.
pub struct Tree(TempDir);

impl Tree {
    /// The tree that tests/data/hosts/NAME.tree describes.
    pub fn of(name: &str) -> Tree {
        let description = format!("{}/tests/data/hosts/{name}.tree", env!("CARGO_MANIFEST_DIR"));
        let description = fs::read_to_string(&description).unwrap_or_else(|error| panic!("{description}: {error}"));
        let tree = Tree(tempfile::tempdir().expect("a folder"));
        // Links first: files may lie behind a link to a folder.
        let links = description.lines().filter_map(|line| line.strip_prefix("-> ")?.split_once(' '));
        links.for_each(|(path, target)| symlink(target, tree.at(path)).expect("a link"));
        let mut file: Option<(&str, &str)> = None;
        let mut content = String::new();
        for line in description.lines().chain(["== "]) {
            if let Some(next) = line.strip_prefix("== ") {
                if let Some((path, mode)) = file {
                    tree.write(path, &content, u32::from_str_radix(mode, 8).expect("a mode"));
                }
                file = Some(next.split_once(' ').unwrap_or((next, "644"))).filter(|(path, _)| !path.is_empty());
                content.clear();
            } else if !line.starts_with("-> ") {
                content += &line.replace("\\0", "\0");
                content.push('\n');
            }
        }
        tree
    }

    pub fn path(&self) -> &str {
        self.0.path().to_str().expect("UTF-8")
    }

    pub fn edit(&self, edit: &Edit) {
        let read = |path: &str| fs::read_to_string(self.at(path)).unwrap_or_else(|error| panic!("{path}: {error}"));
        match edit {
            Edit::Write(path, content) => self.write(path, content, 0o644),
            Edit::Script(path, content) => self.write(path, content, 0o755),
            Edit::Append(path, lines) => fs::write(self.at(path), read(path) + lines).expect("a file"),
            Edit::Replace(path, from, to) => {
                let content = read(path);
                assert!(content.contains(from), "{path} has no '{from}'");
                fs::write(self.at(path), content.replace(from, to)).expect("a file");
            }
            Edit::Remove(path) => fs::remove_file(self.at(path)).unwrap_or_else(|error| panic!("{path}: {error}")),
        }
    }

    /// Runs a command line of a finding on this tree: `ctnl tune` with --root, another one with its paths below it.
    pub fn run(&self, command: &str) {
        if let Some(arguments) = command.strip_prefix("ctnl ") {
            let arguments = format!("{arguments} --root {} --yes", self.path());
            let run = Folder::new().ctnl(&arguments.split(' ').map(str::to_owned).collect::<Vec<_>>());
            assert_eq!(run.code, Some(0), "{}", run.explain());
            return;
        }
        let below = command.replace(" /etc/", &format!(" {}/etc/", self.path()));
        let status = Command::new("sh").args(["-c", &below]).status().expect("sh");
        assert!(status.success() && below != command, "{below}");
    }

    fn write(&self, path: &str, content: &str, mode: u32) {
        let at = self.at(path);
        fs::write(&at, content).unwrap_or_else(|error| panic!("{path}: {error}"));
        fs::set_permissions(&at, fs::Permissions::from_mode(mode)).expect("a mode");
    }

    /// The path of a file, whose folder is made. Links are followed below the root only if they are relative.
    fn at(&self, path: &str) -> PathBuf {
        let at = self.0.path().join(path.trim_start_matches('/'));
        fs::create_dir_all(at.parent().expect("a folder")).expect("folders");
        at
    }
}
