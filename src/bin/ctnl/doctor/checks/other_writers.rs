//! Programs that write a setting of conntrack to which a file gives another value.

use crate::doctor::check::{Check, Outcome};
use crate::doctor::evidence::{BootEvidence, Evidence};
use crate::doctor::finding::{Finding, Severity};
use crate::host::boot::{Assignment, Effect, Writer};

pub const CHECK: Check = Check {
    name: "other-writers",
    about: "whether another program writes a setting that a file of the boot sets, too",
    explanation: "\
Looks for programs that write settings of conntrack: kube-proxy (its command line and its configuration: maxPerCore, min,
tcpEstablishedTimeout, tcpCloseWaitTimeout, also inside of k3s), ufw (IPT_SYSCTL), TuneD where it does not apply the files
again, units of systemd in /etc and the scripts that they run, cron, hooks of NetworkManager, networkd-dispatcher, ifupdown
and OpenWrt, cloud-init, init scripts. A program that writes settings without a line in one of these is not seen.

Found where such a program writes another value than a file of the boot sets: whichever comes last wins, so that the value
changes when the program restarts. Let one of both decide.",
    run,
};

fn run(evidence: &Evidence) -> Outcome {
    let boot = &evidence.boot;
    let mut findings: Vec<Finding> = boot.boot.writers.iter().filter_map(|writer| conflict(boot, writer)).collect();
    findings.extend(boot.boot.conntrack_sysctls().iter().filter_map(ufw));
    Outcome::Findings(findings)
}

/// A program and a file of the boot that disagree.
fn conflict(boot: &BootEvidence, writer: &Writer) -> Option<Finding> {
    let written = &writer.assignment;
    let set = boot
        .boot
        .sysctl(&written.canonical())
        .or_else(|| (written.key == crate::host::boot::HASHSIZE).then(|| boot.boot.hashsize()).flatten())?;
    if boot.boot.effect(&set) == Effect::Refused || set.is_same_line(written) {
        return None;
    }
    let (ours, theirs) = (set.number()?, written.number());
    // A value that a shell computes may be any.
    let differs = theirs.is_none_or(|theirs| if writer.only_raises { theirs > ours } else { theirs != ours });
    differs.then(|| finding(writer, &set))
}

fn finding(writer: &Writer, set: &Assignment) -> Finding {
    let (name, written) = (&writer.name, &writer.assignment);
    let verb = if writer.only_raises { "raises" } else { "sets" };
    let title =
        format!("{name} {verb} {} to {}, and a file of the boot sets {}", written.key, written.value, set.value);
    let consequence = format!("the value of {}:{} is in force only until {name} writes its own", set.file, set.line);
    let finding = Finding::new(Severity::Warning, title, consequence)
        .evidence(written.to_string())
        .evidence(set.to_string())
        .figure("program", name.as_str())
        .figure("sysctl", written.canonical())
        .figure("file", written.file.as_str())
        .figure("line", written.line);
    if name == "kube-proxy" { kube_proxy(finding, written, set) } else { other(finding, written, set) }
}

/// A value of 0 makes kube-proxy leave a setting alone.
fn kube_proxy(finding: Finding, written: &Assignment, set: &Assignment) -> Finding {
    let option = match written.canonical() {
        name if name.ends_with("_established") => "conntrack.tcpEstablishedTimeout: 0s",
        name if name.ends_with("_close_wait") => "conntrack.tcpCloseWaitTimeout: 0s",
        _ => "conntrack.maxPerCore: 0",
    };
    finding
        .text(format!("in the configuration of kube-proxy: {option} leaves the setting to the host; then restart it"))
        .text(format!("or remove {}:{}", set.file, set.line))
}

fn other(finding: Finding, written: &Assignment, set: &Assignment) -> Finding {
    finding.text(format!("remove {}:{} or {}:{}", written.file, written.line, set.file, set.line))
}

/// ufw applies its own file after those of the boot.
fn ufw(set: &Assignment) -> Option<Finding> {
    let loser = set.overrides.iter().find(|line| line.number() != set.number())?;
    if !set.file.starts_with("/etc/ufw/") {
        return None;
    }
    let title = format!("ufw sets {} to {}, and a file of the boot sets {}", set.key, set.value, loser.value);
    let consequence = format!("the value of {}:{} is in force only until ufw starts", loser.file, loser.line);
    Some(
        other(Finding::new(Severity::Warning, title, consequence), set, loser)
            .evidence(set.to_string())
            .evidence(loser.to_string())
            .figure("program", "ufw")
            .figure("sysctl", set.canonical())
            .figure("file", set.file.as_str())
            .figure("line", set.line),
    )
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::indexing_slicing)]
mod tests {
    use super::*;
    use crate::doctor::made_up::MadeUpHost;

    fn titles(host: &MadeUpHost) -> Vec<String> {
        host.findings(run).into_iter().map(|finding| finding.title).collect()
    }

    #[test]
    fn kube_proxy_is_found_where_it_raises_what_a_file_sets() {
        let mut host = MadeUpHost::systemd();
        host.file("/proc/cpuinfo", "processor\t: 0\nprocessor\t: 1\n");
        host.file("/proc/77/cmdline", "/usr/local/bin/kube-proxy\0--config=/var/lib/kube-proxy/config.conf\0");
        host.file(
            "/var/lib/kube-proxy/config.conf",
            "kind: KubeProxyConfiguration\nconntrack:\n  maxPerCore: null\n  min: null\n",
        );
        assert_eq!(titles(&host), Vec::<String>::new(), "131072 is less than the file sets");
        host.file("/etc/sysctl.d/60.conf", "net.netfilter.nf_conntrack_tcp_timeout_established = 3600\n");
        let established = "kube-proxy raises net.netfilter.nf_conntrack_tcp_timeout_established to 86400, and a file of the boot sets 3600";
        assert_eq!(titles(&host), [established]);
        host.file(
            "/var/lib/kube-proxy/config.conf",
            "kind: KubeProxyConfiguration\nconntrack:\n  maxPerCore: 500000\n  tcpEstablishedTimeout: 0s\n",
        );
        let found = host.findings(run);
        let max = "kube-proxy raises net.netfilter.nf_conntrack_max to 1000000, and a file of the boot sets 524288";
        assert_eq!((found.len(), &*found[0].title), (1, max));
        assert_eq!(found[0].figures["file"], "/var/lib/kube-proxy/config.conf");
        assert_eq!(found[0].figures["line"], 3);
    }

    #[test]
    fn kube_proxy_inside_of_k3s_takes_its_arguments_from_that() {
        let mut host = MadeUpHost::systemd();
        host.file("/proc/cpuinfo", "processor\t: 0\n");
        let unit = "/etc/systemd/system/k3s.service";
        let argument =
            "'--kube-proxy-arg=conntrack-max-per-core=0' '--kube-proxy-arg=conntrack-tcp-timeout-established=2h'";
        host.file("/etc/sysctl.d/60.conf", "net.netfilter.nf_conntrack_tcp_timeout_established = 3600\n");
        host.file(unit, &format!("[Service]\nExecStart=/usr/local/bin/k3s server {argument}\n"));
        let found = host.findings(run);
        assert_eq!(
            found[0].evidence[0],
            format!("{unit}:2: net.netfilter.nf_conntrack_tcp_timeout_established = 7200")
        );
        host.file(unit, "ExecStart=/usr/local/bin/k3s server --disable-kube-proxy\n");
        assert_eq!(titles(&host), Vec::<String>::new());
    }

    #[test]
    fn each_kind_of_script_that_writes_another_value_is_named() {
        let write = "sysctl -w net.netfilter.nf_conntrack_max=65536";
        let unit = format!("[Service]\nExecStart=/bin/sh -c '{write}'\n");
        for (file, text, name) in [
            ("/etc/cron.d/tune", format!("@reboot root {write}\n"), "cron"),
            ("/etc/NetworkManager/dispatcher.d/10-x", format!("#!/bin/sh\n{write}\n"), "NetworkManager"),
            ("/etc/systemd/system/tune.service", unit, "tune.service"),
            ("/var/lib/cloud/scripts/per-boot/tune.sh", format!("{write}\n"), "cloud-init"),
            ("/etc/network/interfaces", format!("iface eth0 inet dhcp\n  post-up {write}\n"), "ifupdown"),
            ("/etc/init.d/tune", format!("{write}\n"), "an init script"),
        ] {
            let mut host = MadeUpHost::systemd();
            host.file(file, &text);
            let title =
                format!("{name} sets net.netfilter.nf_conntrack_max to 65536, and a file of the boot sets 524288");
            assert_eq!(titles(&host), [title], "{file}");
            host.file(file, &text.replace("65536", "524288"));
            assert_eq!(titles(&host), Vec::<String>::new(), "{file}");
        }
    }

    #[test]
    fn a_script_that_a_unit_runs_is_read() {
        let mut host = MadeUpHost::systemd();
        host.file("/etc/systemd/system/tune.service", "[Service]\nExecStart=-/usr/local/bin/tune.sh fast\n");
        host.file("/usr/local/bin/tune.sh", "#!/bin/sh\necho $N > /proc/sys/net/netfilter/nf_conntrack_max\n");
        let found = host.findings(run);
        assert_eq!(found[0].evidence[0], "/usr/local/bin/tune.sh:2: net.netfilter.nf_conntrack_max = $N");
    }

    #[test]
    fn tuned_is_a_writer_only_where_it_does_not_apply_the_files_again() {
        let mut host = MadeUpHost::systemd();
        host.file("/etc/tuned/active_profile", "mine\n");
        host.file("/etc/tuned/mine/tuned.conf", "[main]\ninclude=base\n");
        host.file("/usr/lib/tuned/base/tuned.conf", "[sysctl]\nnet.netfilter.nf_conntrack_max = 65536\n");
        assert_eq!(titles(&host), Vec::<String>::new());
        host.file("/etc/tuned/tuned-main.conf", "reapply_sysctl = 0\n");
        assert_eq!(host.findings(run)[0].figures["program"], "TuneD (profile base)");
    }

    #[test]
    fn ufw_is_named_where_its_file_wins() {
        let mut host = MadeUpHost::systemd();
        host.file("/etc/ufw/ufw.conf", "ENABLED=yes\n").file("/etc/default/ufw", "IPT_SYSCTL=/etc/ufw/sysctl.conf\n");
        host.file("/etc/ufw/sysctl.conf", "net/netfilter/nf_conntrack_max=65536\n");
        let title = "ufw sets net.netfilter.nf_conntrack_max to 65536, and a file of the boot sets 524288";
        assert_eq!(titles(&host), [title]);
    }
}
