//! kube-proxy: at its start it raises the maximum and two timeouts, by its command line or its configuration.

use super::super::assignment::{Assignment, Stage};
use super::super::key::CONNTRACK;
use super::super::tree::Tree;
use super::Writer;

/// The settings of kube-proxy: in its configuration, on its command line, its default in seconds or entries.
const MAX_PER_CORE: (&str, &str, u64) = ("maxPerCore", "conntrack-max-per-core", 32_768);
const MIN: (&str, &str, u64) = ("min", "conntrack-min", 131_072);
const ESTABLISHED: (&str, &str, u64) = ("tcpEstablishedTimeout", "conntrack-tcp-timeout-established", 86_400);
const CLOSE_WAIT: (&str, &str, u64) = ("tcpCloseWaitTimeout", "conntrack-tcp-timeout-close-wait", 3600);

/// Where clusters keep the configuration on a node.
const CONFIGURATIONS: &[&str] = &[
    "/var/lib/kube-proxy/config.conf",
    "/var/lib/kube-proxy/config.yaml",
    "/var/lib/kube-proxy/kube-proxy-config.yaml",
    "/etc/kubernetes/kube-proxy.yaml",
    "/etc/kubernetes/kube-proxy-config.yaml",
    "/etc/kubernetes/kube-proxy.conf",
];
/// The volumes of the pods of a node.
const PODS: &str = "/var/lib/kubelet/pods";
const VOLUME: &str = "volumes/kubernetes.io~configmap/kube-proxy/config.conf";
/// Files with arguments of kube-proxy.
const ARGUMENTS: &[&str] = &[
    "/etc/rancher/k3s/config.yaml",
    "/etc/rancher/rke2/config.yaml",
    "/etc/systemd/system/k3s.service",
    "/etc/systemd/system/k3s-agent.service",
    "/etc/systemd/system/kube-proxy.service",
    "/etc/default/kube-proxy",
    "/etc/kubernetes/proxy",
];
/// Those of them that show that kube-proxy runs, even without an argument for conntrack.
const PRESENCE: &[&str] = &[
    "/etc/systemd/system/k3s.service",
    "/etc/systemd/system/k3s-agent.service",
    "/etc/systemd/system/kube-proxy.service",
];

/// A value with the line that it is from.
#[derive(Debug, Clone)]
struct Found {
    value: u64,
    file: String,
    line: usize,
}

/// A place with settings of kube-proxy.
struct Text {
    file: String,
    text: String,
}

/// What kube-proxy writes on this node; nothing where it does not run here.
pub fn find(tree: &Tree<'_>) -> Vec<Writer> {
    let texts = texts(tree);
    let Some(first) = texts.first() else { return Vec::new() };
    let presence = Found { value: 0, file: first.file.clone(), line: 1 };
    let or_default = |setting: (&str, &str, u64)| {
        setting_of(&texts, setting).unwrap_or_else(|| Found { value: setting.2, ..presence.clone() })
    };
    let mut writers = Vec::new();
    if let Some(max) = max(tree, &or_default(MAX_PER_CORE), &or_default(MIN)) {
        writers.push(writer("max", max));
    }
    writers.push(writer("tcp_timeout_established", or_default(ESTABLISHED)));
    writers.push(writer("tcp_timeout_close_wait", or_default(CLOSE_WAIT)));
    // 0 leaves the setting alone.
    writers.retain(|writer| writer.assignment.number() != Some(0));
    writers
}

/// The larger of both; no limit for each core leaves the maximum alone.
fn max(tree: &Tree<'_>, per_core: &Found, min: &Found) -> Option<Found> {
    if per_core.value == 0 {
        return None;
    }
    let cores = tree.text("/proc/cpuinfo")?.lines().filter(|line| line.starts_with("processor")).count() as u64;
    let scaled = Found { value: per_core.value.checked_mul(cores.max(1))?, ..per_core.clone() };
    Some(if scaled.value > min.value { scaled } else { min.clone() })
}

fn writer(name: &str, found: Found) -> Writer {
    let assignment = Assignment {
        key: format!("{CONNTRACK}{name}"),
        value: found.value.to_string(),
        file: found.file,
        line: found.line,
        stage: Stage::Service,
        overrides: Vec::new(),
    };
    Writer { name: "kube-proxy".to_owned(), assignment, only_raises: true }
}

fn texts(tree: &Tree<'_>) -> Vec<Text> {
    let mut texts = Vec::new();
    let mut configurations: Vec<String> = CONFIGURATIONS.iter().map(|path| (*path).to_owned()).collect();
    for process in processes(tree) {
        let named = process.text.lines().filter_map(|argument| argument.strip_prefix("--config="));
        configurations.extend(named.map(str::to_owned));
        texts.push(process);
    }
    configurations.extend(tree.names(PODS).iter().map(|pod| format!("{PODS}/{pod}/{VOLUME}")));
    let mut add = |path: &str, is_used: fn(&str) -> bool| {
        if let Some(text) = tree.text(path).filter(|text| is_used(text)) {
            texts.push(Text { file: path.to_owned(), text });
        }
    };
    configurations.iter().for_each(|path| add(path, |text| text.contains("KubeProxyConfiguration")));
    ARGUMENTS.iter().for_each(|path| add(path, |text| text.contains("conntrack-")));
    // k3s runs kube-proxy in its own process.
    let runs = |text: &str| !text.contains("conntrack-") && !text.contains("disable-kube-proxy");
    PRESENCE.iter().for_each(|path| add(path, runs));
    texts
}

/// The command lines of the processes kube-proxy, one argument in each line.
fn processes(tree: &Tree<'_>) -> Vec<Text> {
    let processes = tree.names("/proc").into_iter().filter(|name| name.bytes().all(|b| b.is_ascii_digit()));
    let command_lines = processes.filter_map(|process| {
        let file = format!("/proc/{process}/cmdline");
        let text = tree.text(&file)?.replace('\0', "\n");
        let program = text.lines().next()?.rsplit('/').next()?;
        (program == "kube-proxy").then_some(Text { file, text })
    });
    command_lines.collect()
}

fn setting_of(texts: &[Text], (yaml, argument, _): (&str, &str, u64)) -> Option<Found> {
    texts.iter().find_map(|text| {
        text.text.lines().enumerate().find_map(|(index, line)| {
            let value = argument_in(line, argument).or_else(|| yaml_in(line, yaml))?;
            Some(Found { value: number(value)?, file: text.file.clone(), line: index + 1 })
        })
    })
}

/// `conntrack-min=5`, with dashes and quotes around it, or as the value of another argument.
fn argument_in<'a>(line: &'a str, argument: &str) -> Option<&'a str> {
    let rest = line.get(line.find(argument)? + argument.len()..)?;
    let value = rest.strip_prefix('=')?;
    value.split([' ', '"', '\'', ',']).next()
}

/// `min: 5` of KubeProxyConfiguration.
fn yaml_in<'a>(line: &'a str, name: &str) -> Option<&'a str> {
    let value = line.trim().strip_prefix(name)?.strip_prefix(':')?;
    Some(value.trim().trim_matches(['"', '\'']))
}

/// A number of entries, or seconds of a duration such as `24h0m0s`; `None` for `null`.
fn number(text: &str) -> Option<u64> {
    if let Ok(number) = text.parse() {
        return Some(number);
    }
    let (mut seconds, mut digits) = (0_u64, String::new());
    for c in text.chars() {
        let unit = match c {
            '0'..='9' => {
                digits.push(c);
                continue;
            }
            'h' => 3600,
            'm' => 60,
            's' => 1,
            _ => return None,
        };
        seconds = digits.parse::<u64>().ok()?.checked_mul(unit)?.checked_add(seconds)?;
        digits.clear();
    }
    (digits.is_empty() && !text.is_empty()).then_some(seconds)
}
