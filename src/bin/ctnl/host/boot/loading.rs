//! Whether nf_conntrack exists when the sysctls are applied at boot.

use super::applier::{Init, drop_in_files};
use super::assignment::Stage;
use super::file_line::FileLine;
use super::modprobe::Modprobe;
use super::services;
use super::shell::{self, Command};
use super::tree::Tree;

/// The folders of modules-load.d(5), the strongest first.
const FOLDERS: &[&str] = &[
    "/etc/modules-load.d",
    "/run/modules-load.d",
    "/usr/local/lib/modules-load.d",
    "/usr/lib/modules-load.d",
    "/lib/modules-load.d",
];
/// Modules that need nf_conntrack, so that loading one loads both. Where the modules of the kernel can be seen,
/// their own list counts (modules.dep).
const DEPENDENT: &[&str] = &[
    "nf_conntrack_ipv4",
    "nf_conntrack_ipv6",
    "nf_conntrack_netlink",
    "nf_conntrack_ftp",
    "nf_conntrack_bridge",
    "nf_nat",
    "nf_nat_ipv4",
    "iptable_nat",
    "ip6table_nat",
    "ipt_MASQUERADE",
    "nf_flow_table",
    "nft_ct",
    "nft_nat",
    "nft_masq",
    "xt_conntrack",
    "xt_CT",
    "xt_connmark",
    "xt_state",
    "xt_nat",
    "xt_MASQUERADE",
    "ip_vs",
    "openvswitch",
    "act_ct",
];

/// When nf_conntrack is loaded, compared with the time at which the sysctls are applied.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Loading {
    /// It is part of the kernel.
    BuiltIn {
        /// The list of built-in modules that has it.
        file: String,
    },
    /// Before, by this line.
    Before(FileLine),
    /// Later, but this line applies the sysctls at that time.
    AppliedOnLoad(FileLine),
    /// Later, by these services, scripts and rules; nothing where only packet filter rules load it.
    Later(Vec<FileLine>),
    /// The files do not show it.
    Unknown,
}

/// A module that is loaded before the sysctls are applied.
struct Early {
    by: FileLine,
    module: String,
}

impl Loading {
    pub fn of(tree: &Tree<'_>, init: Init, modprobe: &Modprobe) -> Loading {
        if let Some(file) = built_in(tree) {
            return Loading::BuiltIn { file };
        }
        let dependent = dependent(tree);
        let loads_conntrack = |module: &str| module == MODULE || dependent.iter().any(|name| name == module);
        let early = early(tree, init).into_iter().find(|early| {
            let blacklisted = init == Init::Systemd && modprobe.blacklisted(&early.module).is_some();
            loads_conntrack(&early.module) && !blacklisted && modprobe.disabled(&early.module).is_none()
        });
        if let Some(early) = early {
            return Loading::Before(early.by);
        }
        if let Some(rule) = applies_on_load(tree, modprobe).or_else(|| red_hat_network(tree, init)) {
            return Loading::AppliedOnLoad(rule);
        }
        if knows_modules(tree) { Loading::Later(services::that_load_it(tree)) } else { Loading::Unknown }
    }
}

const MODULE: &str = "nf_conntrack";

/// The folders with the modules of the running kernel, or of all where it cannot be seen.
fn module_folders(tree: &Tree<'_>) -> Vec<String> {
    let release = tree.text("/proc/sys/kernel/osrelease");
    let mut folders = Vec::new();
    for parent in ["/lib/modules", "/usr/lib/modules"] {
        let names = match &release {
            Some(release) => vec![release.trim().to_owned()],
            None => tree.names(parent),
        };
        folders.extend(names.into_iter().map(|name| format!("{parent}/{name}")));
    }
    folders
}

fn knows_modules(tree: &Tree<'_>) -> bool {
    tree.exists("/sys/module/nf_conntrack")
        || module_folders(tree).iter().any(|folder| tree.exists(&format!("{folder}/modules.builtin")))
}

/// What shows that nf_conntrack is part of the kernel. A module that can be unloaded has the file `initstate`
/// (`modinfo_initstate` in kernel/module).
fn built_in(tree: &Tree<'_>) -> Option<String> {
    if tree.exists("/sys/module/nf_conntrack") {
        return (!tree.exists("/sys/module/nf_conntrack/initstate")).then(|| "/sys/module/nf_conntrack".to_owned());
    }
    let lists = module_folders(tree).into_iter().map(|folder| format!("{folder}/modules.builtin"));
    lists
        .into_iter()
        .find(|list| tree.text(list).is_some_and(|text| text.lines().any(|line| line.ends_with("/nf_conntrack.ko"))))
}

/// The modules that need nf_conntrack.
fn dependent(tree: &Tree<'_>) -> Vec<String> {
    let lists = module_folders(tree).into_iter().map(|folder| format!("{folder}/modules.dep"));
    let text: String = lists.into_iter().filter_map(|list| tree.text(&list)).collect();
    let needs = text.lines().filter_map(|line| line.split_once(':'));
    let needs = needs.filter(|(_, needed)| needed.split_whitespace().any(|path| module_name(path) == MODULE));
    let listed: Vec<String> = needs.map(|(module, _)| module_name(module)).collect();
    if listed.is_empty() { DEPENDENT.iter().map(|name| (*name).to_owned()).collect() } else { listed }
}

/// The name of the module in a file such as `kernel/net/netfilter/nf_nat.ko.xz`.
fn module_name(path: &str) -> String {
    let file = path.rsplit('/').next().unwrap_or_default();
    file.split(".ko").next().unwrap_or_default().replace('-', "_")
}

/// What is loaded before the sysctls are applied.
fn early(tree: &Tree<'_>, init: Init) -> Vec<Early> {
    let mut early = kernel_command_line(tree);
    let drop_ins = || drop_in_files(tree, FOLDERS, ".conf").into_iter().map(|file| file.path);
    let files: Vec<String> = match init {
        Init::Systemd => drop_ins().chain(["/etc/initramfs-tools/modules".to_owned()]).collect(),
        Init::DebianSysV => {
            ["/etc/modules", "/etc/initramfs-tools/modules"].map(str::to_owned).into_iter().chain(drop_ins()).collect()
        }
        Init::OpenRc | Init::Unknown => ["/etc/modules".to_owned()].into_iter().chain(drop_ins()).collect(),
        Init::Procd => openwrt_files(tree),
        Init::RedHatSysV => {
            early.extend(red_hat_scripts(tree).iter().flat_map(|script| loaded_by_script(tree, script)));
            Vec::new()
        }
    };
    early.extend(files.iter().flat_map(|file| listed_modules(tree, file)));
    early.extend(drop_in_files(tree, DRACUT, ".conf").iter().flat_map(|file| dracut(tree, &file.path)));
    early
}

const DRACUT: &[&str] = &["/etc/dracut.conf.d", "/usr/lib/dracut/dracut.conf.d"];

/// kmodloader of procd reads both folders, before /etc/init.d/sysctl starts.
pub fn openwrt_files(tree: &Tree<'_>) -> Vec<String> {
    let folders = ["/etc/modules-boot.d", "/etc/modules.d"];
    folders
        .iter()
        .flat_map(|folder| tree.names(folder).into_iter().map(move |name| format!("{folder}/{name}")))
        .collect()
}

/// The scripts that rc.sysinit of CentOS 6 runs before it applies the sysctls.
pub fn red_hat_scripts(tree: &Tree<'_>) -> Vec<String> {
    let folder = "/etc/sysconfig/modules";
    let names = tree.names(folder).into_iter().filter(|name| name.ends_with(".modules"));
    let scripts = names.map(|name| format!("{folder}/{name}")).chain(["/etc/rc.modules".to_owned()]);
    scripts.filter(|script| tree.is_executable(script)).collect()
}

fn loaded_by_script(tree: &Tree<'_>, file: &str) -> Vec<Early> {
    let commands = shell::commands(file, &tree.text(file).unwrap_or_default(), Stage::Module);
    let early = commands.into_iter().filter_map(|command| match command {
        Command::Load { module, line, .. } => Some(Early { by: loads(file, line, &module), module }),
        _ => None,
    });
    early.collect()
}

fn loads(file: &str, line: usize, module: &str) -> FileLine {
    FileLine { file: file.to_owned(), line, what: format!("loads {module}") }
}

/// The modules that a file lists, one in each line.
fn listed_modules(tree: &Tree<'_>, file: &str) -> Vec<Early> {
    let text = tree.text(file).unwrap_or_default();
    let lines = text.lines().enumerate().filter(|(_, line)| !line.trim_start().starts_with(['#', ';']));
    let modules =
        lines.filter_map(|(index, line)| Some((index + 1, line.split_whitespace().next()?.replace('-', "_"))));
    modules.map(|(line, module)| Early { by: loads(file, line, &module), module }).collect()
}

/// `modules_load=` and `rd.modules_load=`.
fn kernel_command_line(tree: &Tree<'_>) -> Vec<Early> {
    let file = "/proc/cmdline";
    let text = tree.text(file).unwrap_or_default();
    let lists = text
        .split_whitespace()
        .filter_map(|word| word.strip_prefix("modules_load=").or_else(|| word.strip_prefix("rd.modules_load=")));
    let modules = lists.flat_map(|list| list.split(',')).map(|module| module.replace('-', "_"));
    modules.map(|module| Early { by: loads(file, 1, &module), module }).collect()
}

/// `force_drivers+=" nf_conntrack "` loads a module in the initramfs.
fn dracut(tree: &Tree<'_>, file: &str) -> Vec<Early> {
    let text = tree.text(file).unwrap_or_default();
    let mut early = Vec::new();
    for (index, line) in text.lines().enumerate() {
        if let Some((_, modules)) = line.trim().strip_prefix("force_drivers").and_then(|rest| rest.split_once('=')) {
            let modules = modules.trim_matches(['"', '\'']).split_whitespace().map(|module| module.replace('-', "_"));
            early.extend(modules.map(|module| Early { by: loads(file, index + 1, &module), module }));
        }
    }
    early
}

const UDEV: &[&str] = &["/etc/udev/rules.d", "/run/udev/rules.d", "/usr/lib/udev/rules.d", "/lib/udev/rules.d"];

/// A rule of udev, or an install command of modprobe.d, that runs sysctl when the module is loaded.
fn applies_on_load(tree: &Tree<'_>, modprobe: &Modprobe) -> Option<FileLine> {
    let what = "applies the sysctls when nf_conntrack is loaded".to_owned();
    if let Some(line) = modprobe.applies_sysctls(MODULE) {
        return Some(FileLine { file: line.file.clone(), line: line.line, what });
    }
    drop_in_files(tree, UDEV, ".rules").into_iter().find_map(|file| {
        let text = tree.text(&file.path)?;
        let is_rule = |line: &str| {
            let line = line.trim_start();
            let module = line.contains("\"module\"") && line.contains("\"nf_conntrack");
            !line.starts_with('#') && module && line.contains("RUN") && line.contains("sysctl")
        };
        let line = text.lines().position(is_rule)? + 1;
        Some(FileLine { file: file.path, line, what: what.clone() })
    })
}

/// The service network of CentOS 6 applies the sysctls once more. Where the service iptables starts before it with
/// rules that track connections, the module is there by then.
fn red_hat_network(tree: &Tree<'_>, init: Init) -> Option<FileLine> {
    if init != Init::RedHatSysV {
        return None;
    }
    let script = tree.text("/etc/rc.d/init.d/network").or_else(|| tree.text("/etc/init.d/network"))?;
    let line = script.lines().position(|line| {
        let line = line.trim_start();
        line.starts_with("sysctl ") || line.starts_with("apply_sysctl")
    })?;
    let start = |service: &str| services::start_number(tree, service);
    let is_before = start("iptables")? < start("network")?;
    let what = "applies the sysctls again, after the service iptables".to_owned();
    (is_before && services::iptables_rules_track(tree)).then(|| FileLine {
        file: "/etc/rc.d/init.d/network".to_owned(),
        line: line + 1,
        what,
    })
}
