//! Services of a host that are started at boot and concern conntrack.

use super::assignment::Stage;
use super::file_line::FileLine;
use super::shell::{self, Command};
use super::tree::Tree;

/// Services that load nf_conntrack with their rules.
const PACKET_FILTERS: &[&str] = &[
    "firewalld",
    "nftables",
    "iptables",
    "ip6tables",
    "netfilter-persistent",
    "ufw",
    "shorewall",
    "docker",
    "kubelet",
    "k3s",
    "k3s-agent",
];
const UNITS: &str = "/etc/systemd/system";

/// The file that starts `service` at boot: a link of systemd, of System V init or of OpenRC.
pub fn enabled(tree: &Tree<'_>, service: &str) -> Option<String> {
    let unit = format!("{service}.service");
    let wants = tree.names(UNITS).into_iter().filter(|name| name.ends_with(".wants") || name.ends_with(".requires"));
    // A link may lead to a unit in a folder that is not part of the tree: its name counts.
    let link = wants.map(|folder| format!("{UNITS}/{folder}")).find(|folder| tree.names(folder).contains(&unit));
    let link = link.map(|folder| format!("{folder}/{unit}"));
    link.or_else(|| start_link(tree, service).map(|(_, path)| path)).or_else(|| {
        let levels = ["boot", "default", "sysinit"].map(|level| format!("/etc/runlevels/{level}"));
        levels.into_iter().find(|level| tree.names(level).iter().any(|name| name == service))
    })
}

/// The number in the name of the link that starts `service` in runlevel 3 or 2.
pub fn start_number(tree: &Tree<'_>, service: &str) -> Option<u32> {
    start_link(tree, service).map(|(number, _)| number)
}

fn start_link(tree: &Tree<'_>, service: &str) -> Option<(u32, String)> {
    let folders = ["/etc/rc.d/rc3.d", "/etc/rc3.d", "/etc/rc2.d", "/etc/rcS.d", "/etc/rc.d"];
    folders.iter().find_map(|folder| {
        tree.names(folder).into_iter().find_map(|name| {
            let rest = name.strip_prefix('S')?;
            let digits = rest.get(..2)?.parse().ok()?;
            (rest.get(2..) == Some(service)).then(|| (digits, format!("{folder}/{name}")))
        })
    })
}

/// The services that load nf_conntrack later.
pub fn that_load_it(tree: &Tree<'_>) -> Vec<FileLine> {
    let enabled = PACKET_FILTERS.iter().filter_map(|service| Some((service, enabled(tree, service)?)));
    enabled
        .map(|(service, file)| FileLine {
            file,
            line: 0,
            what: format!("starts {service}, whose rules load nf_conntrack"),
        })
        .collect()
}

/// Whether the saved rules of the service iptables track connections.
pub fn iptables_rules_track(tree: &Tree<'_>) -> bool {
    let rules = tree.text("/etc/sysconfig/iptables").unwrap_or_default();
    let tracks = |line: &str| {
        line.starts_with("*nat")
            || [" state ", " conntrack ", " connmark ", " CT "].iter().any(|word| line.contains(word))
    };
    rules.lines().filter(|line| !line.starts_with('#')).any(tracks)
}

/// The services of Red Hat that unload modules when they stop: the service, its settings, the setting, and the one
/// that lists the sysctls which it applies again.
const UNLOADING: &[(&str, &str, &str, &str)] = &[
    ("iptables", "/etc/sysconfig/iptables-config", "IPTABLES_MODULES_UNLOAD", "IPTABLES_SYSCTL_LOAD_LIST"),
    ("ip6tables", "/etc/sysconfig/ip6tables-config", "IP6TABLES_MODULES_UNLOAD", "IP6TABLES_SYSCTL_LOAD_LIST"),
];
const FIREWALLD: &str = "/etc/firewalld/firewalld.conf";
const CONNTRACK_MODULES: &[&str] = &["nf_conntrack", "nf_conntrack_ipv4", "nf_conntrack_ipv6", "ip_conntrack"];

/// What unloads nf_conntrack while the host runs.
pub fn unloads(tree: &Tree<'_>) -> Vec<FileLine> {
    let mut found: Vec<FileLine> = UNLOADING.iter().filter_map(|row| unloads_on_stop(tree, row)).collect();
    if enabled(tree, "firewalld").is_some()
        && let Some((line, value)) = setting(tree, FIREWALLD, "CleanupModulesOnExit")
        && ["yes", "true"].contains(&value.to_ascii_lowercase().as_str())
    {
        let what = "firewalld unloads the modules when it stops".to_owned();
        found.push(FileLine { file: FIREWALLD.to_owned(), line, what });
    }
    let mut scripts: Vec<String> = Vec::new();
    for folder in ["/etc/init.d", "/etc/rc.d/init.d", "/etc/cron.d", "/etc/cron.daily"] {
        let paths = tree.names(folder).into_iter().filter_map(|name| tree.resolve(&format!("{folder}/{name}")));
        scripts.extend(paths.filter(|path| !tree.is_folder(path)));
    }
    scripts.sort();
    scripts.dedup();
    found.extend(scripts.iter().flat_map(|script| unloads_in(tree, script)));
    found
}

fn unloads_on_stop(tree: &Tree<'_>, (service, file, name, list): &(&str, &str, &str, &str)) -> Option<FileLine> {
    enabled(tree, service)?;
    let (line, value) = setting(tree, file, name)?;
    let applies_again = setting(tree, file, list).is_some_and(|(_, list)| list.contains("nf_conntrack"));
    let what = format!("the service {service} unloads the modules when it stops or restarts");
    (value == "yes" && !applies_again).then(|| FileLine { file: (*file).to_owned(), line, what })
}

fn unloads_in(tree: &Tree<'_>, script: &str) -> Vec<FileLine> {
    let commands = shell::commands(script, &tree.text(script).unwrap_or_default(), Stage::Script);
    let unloaded = commands.into_iter().filter_map(|command| match command {
        Command::Unload { module, line } if CONNTRACK_MODULES.contains(&module.as_str()) => {
            Some(FileLine { file: script.to_owned(), line, what: format!("unloads {module}") })
        }
        _ => None,
    });
    unloaded.collect()
}

/// The last line that sets `name` in a file of `NAME=value`, and the value.
fn setting(tree: &Tree<'_>, file: &str, name: &str) -> Option<(usize, String)> {
    let text = tree.text(file)?;
    let values = text.lines().enumerate().filter_map(|(index, line)| {
        let value = line.trim().strip_prefix(name)?.trim_start().strip_prefix('=')?;
        Some((index + 1, value.trim().trim_matches(['"', '\'']).to_owned()))
    });
    values.last()
}
