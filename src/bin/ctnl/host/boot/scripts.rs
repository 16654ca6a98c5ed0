//! What sets sysctls and the hash size outside of sysctl.d and modprobe.d: the kernel command line, OpenWrt's list
//! of modules, services that apply files of their own, scripts at the end of the boot.

use super::applier::{Init, drop_in_files};
use super::assignment::{Assignment, HASHSIZE, Stage};
use super::loading;
use super::modprobe::hashsizes_of;
use super::reason::Reason;
use super::shell::{self, Command};
use super::tree::Tree;

const COMMAND_LINE: &str = "/proc/cmdline";
const TMPFILES: &[&str] = &["/etc/tmpfiles.d", "/run/tmpfiles.d", "/usr/lib/tmpfiles.d"];
const PARAMETER: &str = "/sys/module/nf_conntrack/parameters/hashsize";

/// Something that is applied after the files in sysctl.d.
pub enum Later {
    Set(Assignment),
    /// These files, or those of sysctl.d once more.
    Files {
        files: Option<Vec<String>>,
        stage: Stage,
    },
    /// A line that is not run, with the reason.
    WithoutEffect(Assignment, Reason),
}

/// The hash sizes that come after those of modprobe.d: from the kernel command line, from OpenWrt's /etc/modules.d,
/// from scripts that load the module.
pub fn parameters(tree: &Tree<'_>, init: Init) -> Vec<Assignment> {
    let mut found = Vec::new();
    match init {
        Init::Procd => found.extend(loading::openwrt_files(tree).iter().flat_map(|file| in_modules_d(tree, file))),
        Init::RedHatSysV => {
            found.extend(loading::red_hat_scripts(tree).iter().flat_map(|file| in_script(tree, file)));
        }
        _ => {}
    }
    let text = tree.text(COMMAND_LINE).unwrap_or_default();
    let own = text.split_whitespace().filter_map(|word| word.strip_prefix("nf_conntrack."));
    found.extend(hashsizes_of(COMMAND_LINE, 1, own));
    found
}

fn in_modules_d(tree: &Tree<'_>, file: &str) -> Vec<Assignment> {
    let text = tree.text(file).unwrap_or_default();
    let mut found = Vec::new();
    for (index, line) in text.lines().enumerate() {
        let mut words = line.split_whitespace();
        if words.next() == Some("nf_conntrack") {
            found.extend(hashsizes_of(file, index + 1, words));
        }
    }
    found
}

fn in_script(tree: &Tree<'_>, file: &str) -> Vec<Assignment> {
    let mut found = Vec::new();
    for command in shell::commands(file, &tree.text(file).unwrap_or_default(), Stage::Module) {
        match command {
            Command::Load { module, parameters, line } if module == "nf_conntrack" => {
                found.extend(hashsizes_of(file, line, parameters.iter().map(String::as_str)));
            }
            Command::Set(assignment) if assignment.key == HASHSIZE => found.push(assignment),
            _ => {}
        }
    }
    found
}

/// What is applied after the files in sysctl.d, in this order.
pub fn later(tree: &Tree<'_>, init: Init) -> Vec<Later> {
    let mut later: Vec<Later> = Vec::new();
    if init == Init::Systemd {
        later.extend(drop_in_files(tree, TMPFILES, ".conf").iter().flat_map(|file| tmpfiles(tree, &file.path)));
    }
    later.extend(ufw(tree).map(|file| Later::Files { files: Some(vec![file]), stage: Stage::Service }));
    for script in end_scripts(tree, init) {
        later.extend(run(tree, &script));
    }
    later
}

/// The lines of tmpfiles.d(5) that write to sysctls or to the parameter of the module.
fn tmpfiles(tree: &Tree<'_>, file: &str) -> Vec<Later> {
    let text = tree.text(file).unwrap_or_default();
    let mut found = Vec::new();
    for (index, line) in text.lines().enumerate() {
        let words: Vec<&str> = line.split_whitespace().collect();
        let [kind, path, _mode, _user, _group, _age, value @ ..] = words.as_slice() else { continue };
        let key = match path.strip_prefix("/proc/sys/") {
            Some(name) => super::key::dotted(name),
            None if *path == PARAMETER => HASHSIZE.to_owned(),
            None => continue,
        };
        if kind.starts_with('w') {
            let value = value.join(" ");
            let (file, overrides) = (file.to_owned(), Vec::new());
            found.push(Later::Set(Assignment { key, value, file, line: index + 1, stage: Stage::Service, overrides }));
        }
    }
    found
}

/// The file that ufw applies when it is started, where it is enabled.
fn ufw(tree: &Tree<'_>) -> Option<String> {
    let setting = |file: &str, name: &str| {
        let text = tree.text(file)?;
        let mut values = text.lines().filter_map(|line| line.trim().strip_prefix(name)?.trim_start().strip_prefix('='));
        values.next_back().map(|value| value.trim().trim_matches(['"', '\'']).to_owned())
    };
    let enabled = setting("/etc/ufw/ufw.conf", "ENABLED")?;
    let file = setting("/etc/default/ufw", "IPT_SYSCTL")?;
    (enabled.eq_ignore_ascii_case("yes") && tree.exists(&file)).then_some(file)
}

/// A script at the end of the boot.
struct EndScript {
    path: String,
    is_run: bool,
}

fn end_scripts(tree: &Tree<'_>, init: Init) -> Vec<EndScript> {
    let mut paths: Vec<String> =
        ["/etc/rc.d/rc.local", "/etc/rc.local"].iter().filter_map(|p| tree.resolve(p)).collect();
    paths.dedup();
    if init == Init::OpenRc {
        let names = tree.names("/etc/local.d").into_iter().filter(|name| name.ends_with(".start"));
        paths = names.map(|name| format!("/etc/local.d/{name}")).collect();
    }
    let script = |path: String| {
        let is_run = init == Init::Procd || tree.is_executable(&path);
        EndScript { path, is_run }
    };
    paths.into_iter().map(script).collect()
}

fn run(tree: &Tree<'_>, script: &EndScript) -> Vec<Later> {
    let text = tree.text(&script.path).unwrap_or_default();
    let mut found = Vec::new();
    for command in shell::commands(&script.path, &text, Stage::Script) {
        match (command, script.is_run) {
            (Command::Set(assignment), true) => found.push(Later::Set(assignment)),
            (Command::Set(assignment), false) => found.push(Later::WithoutEffect(assignment, Reason::NotExecutable)),
            (Command::ApplyFiles { files, .. }, true) => {
                let files = (!files.is_empty()).then_some(files);
                found.push(Later::Files { files, stage: Stage::Script });
            }
            _ => {}
        }
    }
    found
}
