//! Which program applies the sysctls at boot, and which files it reads in which order.

use super::reason::Reason;
use super::shell;
use super::tree::Tree;

/// The folders of sysctl.d(5), the strongest first.
const SYSCTL_FOLDERS: &[&str] =
    &["/etc/sysctl.d", "/run/sysctl.d", "/usr/local/lib/sysctl.d", "/usr/lib/sysctl.d", "/lib/sysctl.d"];
/// The file that procps reads last, and systemd-sysctl only where a link in sysctl.d leads to it.
const SYSCTL_CONF: &str = "/etc/sysctl.conf";
/// The shell functions of the initscripts of Red Hat.
const FUNCTIONS: &[&str] = &["/etc/rc.d/init.d/functions", "/etc/init.d/functions"];
const OPENRC_SYSCTL: &str = "/etc/init.d/sysctl";

/// The init system of a host.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Init {
    Systemd,
    /// CentOS 6 and older.
    RedHatSysV,
    /// sysvinit of Debian and Devuan.
    DebianSysV,
    OpenRc,
    /// procd of OpenWrt.
    Procd,
    Unknown,
}

/// The program that applies sysctl.conf and sysctl.d at boot.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Applier {
    /// systemd-sysctl: one value for each key, the one of the last file.
    Systemd,
    /// `sysctl --system` of procps: the same files, then /etc/sysctl.conf.
    Procps,
    /// A script that runs `sysctl -p` for each of these paths, whose last name may be a pattern.
    Script(Vec<String>),
}

/// A file that is applied.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AppliedFile {
    /// Its path without symbolic links.
    pub path: String,
    /// The path that the program opens.
    pub opened: String,
}

impl Init {
    pub fn of(tree: &Tree<'_>) -> Init {
        let any = |paths: &[&str]| paths.iter().any(|path| tree.exists(path));
        if any(&["/etc/openwrt_release", "/sbin/procd"]) {
            Init::Procd
        } else if is_running_systemd(tree) {
            Init::Systemd
        } else if any(&["/sbin/openrc", "/sbin/openrc-run", "/usr/bin/openrc", "/usr/sbin/openrc"]) {
            Init::OpenRc
        } else if any(&["/etc/rc.d/rc.sysinit", "/etc/rc.sysinit"]) {
            Init::RedHatSysV
        } else if any(&["/etc/init.d/procps"]) {
            Init::DebianSysV
        } else if any(SYSTEMD_SYSCTL) {
            Init::Systemd
        } else {
            Init::Unknown
        }
    }
}

const SYSTEMD_SYSCTL: &[&str] = &["/usr/lib/systemd/systemd-sysctl", "/lib/systemd/systemd-sysctl"];

/// Debian and Devuan have files of several init systems beside each other: /sbin/init decides.
fn is_running_systemd(tree: &Tree<'_>) -> bool {
    let init = tree.resolve("/sbin/init").or_else(|| tree.resolve("/usr/sbin/init"));
    match init {
        Some(init) => init.contains("/systemd/"),
        None => tree.exists("/run/systemd/system"),
    }
}

impl Applier {
    pub fn of(init: Init, tree: &Tree<'_>) -> Applier {
        match init {
            Init::Systemd => Applier::Systemd,
            Init::DebianSysV | Init::Unknown => Applier::Procps,
            Init::Procd => Applier::Script(vec!["/etc/sysctl.d/*.conf".to_owned(), SYSCTL_CONF.to_owned()]),
            Init::RedHatSysV => Applier::Script(red_hat_paths(tree)),
            Init::OpenRc => open_rc(tree),
        }
    }

    /// The program, for messages.
    pub fn name(&self) -> &'static str {
        match self {
            Applier::Systemd => "systemd-sysctl",
            Applier::Procps => "sysctl --system",
            Applier::Script(_) => "sysctl -p",
        }
    }

    /// The files in the order in which they are applied. A later one wins.
    pub fn files(&self, tree: &Tree<'_>) -> Vec<AppliedFile> {
        let mut files = match self {
            Applier::Systemd | Applier::Procps => drop_in_files(tree, SYSCTL_FOLDERS, ".conf"),
            Applier::Script(paths) => paths.iter().flat_map(|path| expand(tree, path)).collect(),
        };
        if *self == Applier::Procps {
            files.extend(applied(tree, SYSCTL_CONF));
        }
        files
    }

    /// Files that look as if they were applied and are not, each with the reason.
    pub fn left_out(&self, tree: &Tree<'_>) -> Vec<(String, Reason)> {
        let mut known: Vec<String> = self.files(tree).into_iter().flat_map(|file| [file.path, file.opened]).collect();
        let mut left_out = Vec::new();
        let mut add = |path: String, why: Reason| {
            let resolved = tree.resolve(&path).filter(|resolved| resolved != "/dev/null" && !known.contains(resolved));
            if let Some(resolved) = resolved {
                known.push(resolved);
                left_out.push((path, why));
            }
        };
        add(SYSCTL_CONF.to_owned(), Reason::NotRead { by: self.name() });
        for folder in SYSCTL_FOLDERS {
            for name in tree.names(folder).into_iter().filter(|name| !is_saved_copy(name)) {
                let why = self.why_left_out(tree, folder, &name);
                add(format!("{folder}/{name}"), why);
            }
        }
        left_out
    }

    fn why_left_out(&self, tree: &Tree<'_>, folder: &str, name: &str) -> Reason {
        let stronger = SYSCTL_FOLDERS.iter().take_while(|other| **other != folder);
        let mask = stronger.map(|other| format!("{other}/{name}")).find(|path| tree.resolve(path).is_some());
        match mask {
            Some(by) if !matches!(self, Applier::Script(_)) => Reason::Masked { by },
            _ if !name.ends_with(".conf") => Reason::Suffix,
            _ => Reason::NotRead { by: self.name() },
        }
    }
}

/// The names that `is_ignored_file` in the functions of Red Hat leaves out.
const IGNORED_BY_RED_HAT: [&str; 7] = ["~", ".bak", ".old", ".orig", ".rpmnew", ".rpmorig", ".rpmsave"];
/// What else packages and editors leave beside a file: nobody expects it to be read.
const OTHER_SAVED_COPIES: [&str; 6] = [".dpkg-old", ".dpkg-dist", ".dpkg-new", ".ucf-old", ".ucf-dist", ".swp"];

/// Whether a file is a copy that a package or an editor has saved, by its name.
pub fn is_saved_copy(name: &str) -> bool {
    IGNORED_BY_RED_HAT.iter().chain(&OTHER_SAVED_COPIES).any(|suffix| name.ends_with(suffix))
}

/// The files of drop-in folders, sorted by name over all of them. Of files with the same name, that of the strongest
/// folder counts; one that is a link to /dev/null, or is empty, masks the others.
pub fn drop_in_files(tree: &Tree<'_>, folders: &[&str], suffix: &str) -> Vec<AppliedFile> {
    let mut by_name = std::collections::BTreeMap::new();
    for folder in folders {
        for name in tree.names(folder).into_iter().filter(|name| name.ends_with(suffix)) {
            let opened = format!("{folder}/{name}");
            by_name.entry(name).or_insert(opened);
        }
    }
    by_name.into_values().filter_map(|opened| applied(tree, &opened)).collect()
}

fn applied(tree: &Tree<'_>, opened: &str) -> Option<AppliedFile> {
    let path = tree.resolve(opened).filter(|path| path != "/dev/null")?;
    Some(AppliedFile { path, opened: opened.to_owned() })
}

/// The files that a path of a shell script expands to.
fn expand(tree: &Tree<'_>, path: &str) -> Vec<AppliedFile> {
    let Some((folder, pattern)) = path.rsplit_once('/').filter(|(_, name)| name.contains('*')) else {
        return applied(tree, path).into_iter().collect();
    };
    let suffix = pattern.trim_start_matches('*');
    let names = tree.names(folder).into_iter().filter(|name| name.ends_with(suffix) && !is_left_out_by_loops(name));
    names.filter_map(|name| applied(tree, &format!("{folder}/{name}"))).collect()
}

/// A name that the loops of scripts leave out: a hidden one, too.
fn is_left_out_by_loops(name: &str) -> bool {
    name.starts_with('.') || IGNORED_BY_RED_HAT.iter().any(|end| name.ends_with(end))
}

/// The paths in the order in which `apply_sysctl` or rc.sysinit applies them.
fn red_hat_paths(tree: &Tree<'_>) -> Vec<String> {
    let functions = FUNCTIONS.iter().find_map(|path| tree.text(path)).unwrap_or_default();
    let paths = paths_in(shell::function(&functions, "apply_sysctl").unwrap_or_default());
    if paths.is_empty() { vec![SYSCTL_CONF.to_owned()] } else { paths }
}

/// The script runs `sysctl --system` where sysctl is of procps, and a loop where it is of BusyBox.
fn open_rc(tree: &Tree<'_>) -> Applier {
    let script = tree.text(OPENRC_SYSCTL).unwrap_or_default();
    let sysctl = ["/sbin/sysctl", "/usr/sbin/sysctl", "/bin/sysctl"].iter().find_map(|path| tree.resolve(path));
    let is_busybox = sysctl.is_some_and(|path| path.ends_with("busybox"));
    let name = if is_busybox && script.contains("sysctl -V") { "BSD_sysctl" } else { "Linux_sysctl" };
    let body = shell::function(&script, name).unwrap_or(&script);
    let paths = paths_in(body);
    if paths.is_empty() || body.contains("--system") { Applier::Procps } else { Applier::Script(paths) }
}

/// The paths of sysctl files in a script, in their order. A path with a variable is part of a test.
fn paths_in(script: &str) -> Vec<String> {
    let mut paths: Vec<String> = Vec::new();
    for line in script.lines().map(str::trim).filter(|line| !line.starts_with(['#', '['])) {
        for word in line.split(|c: char| c.is_whitespace() || ";\"'".contains(c)) {
            let is_sysctl = word == SYSCTL_CONF || (word.starts_with('/') && word.contains("/sysctl.d/"));
            if is_sysctl && !word.contains('$') && !paths.iter().any(|path| path == word) {
                paths.push(word.to_owned());
            }
        }
    }
    paths
}
