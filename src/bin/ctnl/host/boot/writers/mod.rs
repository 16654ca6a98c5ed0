//! What writes sysctls of conntrack besides the files that a boot applies: agents, timers, hooks, and what they
//! write. A program that writes them without a line in one of these files is not found.

mod kube_proxy;
mod tuned;

use super::assignment::{Assignment, HASHSIZE, Stage};
use super::key;
use super::shell::{self, Command};
use super::tree::Tree;

/// A program that writes a setting.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Writer {
    /// Its name, for messages.
    pub name: String,
    /// What it writes, and the line that shows it.
    pub assignment: Assignment,
    /// Whether it only raises the value, so that a larger one stays.
    pub only_raises: bool,
}

impl Writer {
    /// Whether it undoes `value` of the setting that it writes, when it starts; `false` where it computes its own.
    pub fn undoes(&self, value: u64) -> bool {
        let written = self.assignment.number();
        written.is_some_and(|written| if self.only_raises { written > value } else { written != value })
    }

    /// What it does, for messages.
    pub fn describe(&self) -> String {
        let Assignment { value, file, line, .. } = &self.assignment;
        let (name, verb) = (&self.name, if self.only_raises { "raises" } else { "sets" });
        format!("{name} {verb} it to {value} ({file}:{line})")
    }
}

/// Folders of scripts that something runs, with the name of what runs them.
const SCRIPT_FOLDERS: &[(&str, &str)] = &[
    ("/etc/cron.d", "cron"),
    ("/etc/cron.hourly", "cron"),
    ("/etc/cron.daily", "cron"),
    ("/etc/cron.weekly", "cron"),
    ("/etc/cron.monthly", "cron"),
    ("/var/spool/cron", "cron"),
    ("/var/spool/cron/crontabs", "cron"),
    ("/etc/crontabs", "cron"),
    ("/etc/NetworkManager/dispatcher.d", "NetworkManager"),
    ("/etc/NetworkManager/dispatcher.d/pre-up.d", "NetworkManager"),
    ("/etc/networkd-dispatcher/routable.d", "networkd-dispatcher"),
    ("/etc/networkd-dispatcher/configured.d", "networkd-dispatcher"),
    ("/etc/network/if-pre-up.d", "ifupdown"),
    ("/etc/network/if-up.d", "ifupdown"),
    ("/etc/ppp/ip-up.d", "pppd"),
    ("/etc/hotplug.d/iface", "hotplug"),
    ("/etc/cloud/cloud.cfg.d", "cloud-init"),
    ("/var/lib/cloud/scripts/per-boot", "cloud-init"),
    ("/var/lib/cloud/instance/scripts", "cloud-init"),
    ("/etc/init.d", "an init script"),
    ("/etc/rc.d/init.d", "an init script"),
];
/// Files with commands that something runs.
const SCRIPT_FILES: &[(&str, &str)] = &[
    ("/etc/crontab", "cron"),
    ("/etc/network/interfaces", "ifupdown"),
    ("/etc/firewall.user", "the firewall of OpenWrt"),
    ("/sbin/ifup-local", "ifup-local"),
];
/// The settings of ctnl and of distributions are applied by the boot itself.
const UNIT_FOLDERS: &[&str] = &["/etc/systemd/system"];

/// All programs that write settings of conntrack.
pub fn find(tree: &Tree<'_>) -> Vec<Writer> {
    let mut scripts: Vec<(String, &str)> = Vec::new();
    for (folder, name) in SCRIPT_FOLDERS {
        scripts.extend(tree.names(folder).into_iter().map(|file| (format!("{folder}/{file}"), *name)));
    }
    scripts.extend(SCRIPT_FILES.iter().map(|(file, name)| ((*file).to_owned(), *name)));
    let mut writers: Vec<Writer> = Vec::new();
    for (path, name) in scripts {
        // A folder of scripts has folders, too, and is a link to another one on some distributions.
        let Some(path) = tree.resolve(&path).filter(|path| !tree.is_folder(path)) else { continue };
        if !writers.iter().any(|writer| writer.assignment.file == path) {
            writers.extend(written_by(tree, &path, name));
        }
    }
    writers.extend(units(tree));
    writers.extend(tuned::find(tree));
    writers.extend(kube_proxy::find(tree));
    writers
}

fn written_by(tree: &Tree<'_>, path: &str, name: &str) -> Vec<Writer> {
    let text = tree.text(path).unwrap_or_default();
    let commands = shell::commands(path, &text, Stage::Script).into_iter();
    let sets = commands.filter_map(|command| match command {
        Command::Set(assignment) if is_conntrack(&assignment) => Some(assignment),
        _ => None,
    });
    sets.map(|assignment| Writer { name: name.to_owned(), assignment, only_raises: false }).collect()
}

fn is_conntrack(assignment: &Assignment) -> bool {
    assignment.key == HASHSIZE || assignment.canonical().starts_with(key::CONNTRACK)
}

/// The units of the administrator, and the scripts that they run.
fn units(tree: &Tree<'_>) -> Vec<Writer> {
    let mut writers = Vec::new();
    for folder in UNIT_FOLDERS {
        for name in tree.names(folder).into_iter().filter(|name| name.ends_with(".service")) {
            let path = format!("{folder}/{name}");
            let Some(path) = tree.resolve(&path).filter(|path| path != "/dev/null" && !tree.is_folder(path)) else {
                continue;
            };
            let text = tree.text(&path).unwrap_or_default();
            for (index, line) in text.lines().enumerate() {
                let Some((_, command)) = line.trim().split_once('=').filter(|(key, _)| key.starts_with("Exec")) else {
                    continue;
                };
                writers.extend(run_by_unit(tree, &path, index + 1, command, &name));
            }
        }
    }
    writers
}

/// What a command line of a unit writes: itself, a command for `sh -c`, or a script.
fn run_by_unit(tree: &Tree<'_>, unit: &str, line: usize, command: &str, name: &str) -> Vec<Writer> {
    let inner = command.split_once(" -c ").map(|(_, inner)| inner.trim().trim_matches(['\'', '"']));
    let commands = shell::commands(unit, inner.unwrap_or(command), Stage::Script).into_iter();
    let mut writers: Vec<Writer> = commands
        .filter_map(|command| match command {
            Command::Set(assignment) if is_conntrack(&assignment) => Some(assignment),
            _ => None,
        })
        .map(|assignment| Writer {
            name: name.to_owned(),
            assignment: Assignment { line, ..assignment },
            only_raises: false,
        })
        .collect();
    let words = command.split_whitespace().map(|word| word.trim_start_matches(['-', '@', '+', '!', ':']));
    for script in words.filter(|word| word.starts_with('/')) {
        let is_script = |path: &String| !tree.is_folder(path) && tree.is_script(path);
        if let Some(path) = tree.resolve(script).filter(is_script) {
            writers.extend(written_by(tree, &path, name));
        }
    }
    writers
}
