//! What modprobe.d gives the module nf_conntrack: options, blacklists, install commands.

use super::applier::{Init, drop_in_files, is_saved_copy};
use super::assignment::{Assignment, HASHSIZE, Stage};
use super::reason::Reason;
use super::tree::Tree;

/// The folders of modprobe.d(5), the strongest first.
const FOLDERS: &[&str] =
    &["/etc/modprobe.d", "/run/modprobe.d", "/usr/local/lib/modprobe.d", "/usr/lib/modprobe.d", "/lib/modprobe.d"];
/// The file that module-init-tools reads, and kmod does not.
const MODPROBE_CONF: &str = "/etc/modprobe.conf";
/// The name of nf_conntrack before Linux 2.6.22.
const OLD_NAME: &str = "ip_conntrack";

/// A line of modprobe.d.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ModprobeLine {
    pub file: String,
    pub line: usize,
    /// `options`, `blacklist`, `install` …
    pub command: String,
    /// The module, with underscores.
    pub module: String,
    /// The words behind it.
    pub arguments: Vec<String>,
}

/// The lines of the files that modprobe reads, and of those that look as if it did.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Modprobe {
    pub lines: Vec<ModprobeLine>,
    /// Lines with a hash size that have no effect, each with the reason.
    pub without_effect: Vec<(Assignment, Reason)>,
}

impl Modprobe {
    pub fn read(tree: &Tree<'_>, init: Init) -> Modprobe {
        let is_old = init == Init::RedHatSysV;
        let mut modprobe = Modprobe::default();
        let mut paths: Vec<String> = drop_in_files(tree, FOLDERS, ".conf").into_iter().map(|file| file.path).collect();
        let mut unread = Vec::new();
        for folder in FOLDERS {
            let others = tree.names(folder).into_iter().filter(|name| !name.ends_with(".conf"));
            unread.extend(others.map(|name| format!("{folder}/{name}")));
        }
        unread.push(MODPROBE_CONF.to_owned());
        if is_old {
            paths.append(&mut unread);
            paths.sort();
        }
        modprobe.lines = paths.iter().flat_map(|path| lines(path, &tree.text(path).unwrap_or_default())).collect();
        for path in unread.into_iter().filter(|path| !is_saved_copy(path)) {
            let why = if path == MODPROBE_CONF { Reason::ModprobeConf } else { Reason::Suffix };
            let lines = lines(&path, &tree.text(&path).unwrap_or_default());
            let sizes = lines.iter().filter(|line| line.module == "nf_conntrack").flat_map(hashsizes);
            modprobe.without_effect.extend(sizes.map(|size| (size, why.clone())));
        }
        let old = modprobe.lines.iter().filter(|line| line.module == OLD_NAME).flat_map(hashsizes);
        modprobe.without_effect.extend(old.map(|size| (size, Reason::OldModule)));
        modprobe
    }

    /// The hash sizes of nf_conntrack, in the order in which the kernel parses them: the last wins.
    pub fn hashsizes(&self) -> impl Iterator<Item = Assignment> {
        self.lines.iter().filter(|line| line.module == "nf_conntrack").flat_map(hashsizes)
    }

    /// Whether an option gives the parameter `name` of nf_conntrack a value.
    pub fn sets(&self, name: &str) -> bool {
        let options = self.lines.iter().filter(|line| line.command == "options" && line.module == "nf_conntrack");
        options.flat_map(|line| &line.arguments).any(|argument| argument.split('=').next() == Some(name))
    }

    /// The line that keeps `module` from being loaded by its name: by an `install` command that does nothing.
    pub fn disabled(&self, module: &str) -> Option<&ModprobeLine> {
        self.lines.iter().find(|line| {
            let first = line.arguments.first().map(String::as_str).unwrap_or_default();
            line.command == "install"
                && line.module == module
                && (first.ends_with("/true") || first.ends_with("/false"))
        })
    }

    /// The line that blacklists `module`.
    pub fn blacklisted(&self, module: &str) -> Option<&ModprobeLine> {
        self.lines.iter().find(|line| line.command == "blacklist" && line.module == module)
    }

    /// The line that runs sysctl whenever `module` is loaded.
    pub fn applies_sysctls(&self, module: &str) -> Option<&ModprobeLine> {
        self.lines.iter().find(|line| {
            let runs = line.arguments.iter().any(|word| word.rsplit('/').next() == Some("sysctl"));
            line.command == "install" && line.module == module && runs
        })
    }
}

/// The hash sizes of the options of one line.
fn hashsizes(line: &ModprobeLine) -> Vec<Assignment> {
    if line.command != "options" {
        return Vec::new();
    }
    hashsizes_of(&line.file, line.line, line.arguments.iter().map(String::as_str))
}

/// The hash sizes among the parameters of a module.
pub fn hashsizes_of<'a>(file: &str, line: usize, parameters: impl Iterator<Item = &'a str>) -> Vec<Assignment> {
    let values = parameters.filter_map(|parameter| parameter.strip_prefix("hashsize="));
    let assignment = |value: &str| Assignment {
        key: HASHSIZE.to_owned(),
        value: value.trim_matches('"').to_owned(),
        file: file.to_owned(),
        line,
        stage: Stage::Module,
        overrides: Vec::new(),
    };
    values.map(assignment).collect()
}

/// The lines of a file. A backslash at the end of a line continues it.
fn lines(file: &str, text: &str) -> Vec<ModprobeLine> {
    let mut lines = Vec::new();
    let mut numbered = text.lines().enumerate();
    while let Some((index, line)) = numbered.next() {
        let mut whole = line.to_owned();
        while whole.ends_with('\\')
            && let Some((_, next)) = numbered.next()
        {
            whole.pop();
            whole.push_str(next);
        }
        let mut words = whole.split_whitespace().map(str::to_owned);
        let (Some(command), Some(module)) = (words.next(), words.next()) else { continue };
        if !command.starts_with('#') {
            let module = module.replace('-', "_");
            lines.push(ModprobeLine {
                file: file.to_owned(),
                line: index + 1,
                command,
                module,
                arguments: words.collect(),
            });
        }
    }
    lines
}
