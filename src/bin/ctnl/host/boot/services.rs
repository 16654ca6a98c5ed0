//! Services of a host that are started at boot and concern conntrack.

use super::file_line::FileLine;
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
