//! Settings that are applied before the module exists, so that they set nothing.

use ctnl::host::Host;

use crate::doctor::check::{Check, Outcome};
use crate::doctor::evidence::Evidence;
use crate::doctor::finding::{Finding, Severity};
use crate::host::boot::{Assignment, Boot, Effect, Init, Loading, Stage};

pub const CHECK: Check = Check {
    name: "boot-module",
    about: "whether nf_conntrack is loaded before its settings are applied at boot",
    explanation: "\
The settings of conntrack exist from the time at which nf_conntrack is loaded. Where only rules of the packet filter load
it, that is after sysctl.conf and sysctl.d were applied: their lines for conntrack are ignored without an error, and the
kernel's defaults are in force after each boot.

Nothing is found where the module is part of the kernel, where modules-load.d (or /etc/modules, /etc/modules.d of OpenWrt,
/etc/sysconfig/modules of CentOS 6) loads it, or where a rule of udev applies the settings when it appears. A module that
the initramfs loads for another reason is not seen. Mend it by loading the module early.",
    run,
};

fn run(evidence: &Evidence) -> Outcome {
    let boot = &evidence.boot.boot;
    let with = |effect: Effect| -> Vec<Assignment> {
        boot.conntrack_sysctls()
            .into_iter()
            .filter(|set| boot.effect(set) == effect && set.stage == Stage::Sysctl)
            .collect()
    };
    let (ignored, unknown) = (with(Effect::TooEarly), with(Effect::Unknown));
    if ignored.is_empty() && !unknown.is_empty() {
        return Outcome::CannotRun("neither /sys/module nor /lib/modules show how nf_conntrack is loaded".to_owned());
    }
    if ignored.is_empty() { Outcome::NOTHING } else { Outcome::Findings(vec![finding(boot, &ignored, &evidence.host)]) }
}

fn finding(boot: &Boot, ignored: &[Assignment], host: &Host) -> Finding {
    let title = match ignored {
        [one] => format!("{}:{} is ignored at boot", one.file, one.line),
        _ => format!("{} lines for conntrack are ignored at boot", ignored.len()),
    };
    let consequence =
        "nf_conntrack is loaded later than they are applied: the kernel's defaults are in force after each boot";
    let finding = Finding::new(Severity::Warning, title, consequence).figure("lines", ignored.len());
    let finding = ignored.iter().fold(finding, |finding, set| finding.evidence(set.to_string()));
    let finding = match &boot.loading {
        Loading::Later(services) if !services.is_empty() => {
            services.iter().fold(finding, |finding, service| finding.evidence(service.to_string()))
        }
        _ => finding.evidence("no file loads nf_conntrack: the first rule that needs it does"),
    };
    // A blacklisted module is loaded by rules, and not by modules-load.d.
    match boot.modprobe.blacklisted("nf_conntrack").or(boot.modprobe.disabled("nf_conntrack")) {
        Some(line) => finding.text(format!("remove {}:{} ({} nf_conntrack)", line.file, line.line, line.command)),
        None => load_early(finding, boot.init, host),
    }
}

/// With what makes the init system load the module first. A file that exists keeps its lines.
fn load_early(finding: Finding, init: Init, host: &Host) -> Finding {
    match init {
        Init::RedHatSysV => {
            let file = "/etc/sysconfig/modules/nf_conntrack.modules";
            if host.path(file).exists() {
                return finding
                    .text(format!("{file}: append the line 'modprobe nf_conntrack', and make it executable"));
            }
            finding
                .command(format!("printf '#!/bin/sh\\nmodprobe nf_conntrack\\n' | install -D -m 755 /dev/stdin {file}"))
        }
        Init::Procd => finding.command("echo nf_conntrack >> /etc/modules.d/10-nf_conntrack"),
        _ => finding.command("echo nf_conntrack >> /etc/modules-load.d/nf_conntrack.conf"),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::indexing_slicing)]
mod tests {
    use super::*;
    use crate::doctor::finding::Fix;
    use crate::doctor::made_up::MadeUpHost;

    #[test]
    fn lines_that_are_applied_before_the_module_exists_are_found_with_what_loads_it() {
        let mut host = MadeUpHost::systemd();
        assert_eq!(host.findings(run), []);
        host.file("/etc/modules-load.d/conntrack.conf", "# nf_conntrack\n");
        host.file("/etc/systemd/system/multi-user.target.wants/firewalld.service", "");
        let found = host.findings(run);
        assert_eq!(found[0].title, "/etc/sysctl.d/50-conntrack.conf:1 is ignored at boot");
        let starts = "/etc/systemd/system/multi-user.target.wants/firewalld.service: starts firewalld, whose rules load nf_conntrack";
        assert_eq!(found[0].evidence[1], starts);
        let early = "echo nf_conntrack >> /etc/modules-load.d/nf_conntrack.conf";
        assert_eq!(found[0].fixes, [Fix::Command(early.to_owned())]);
    }

    #[test]
    fn a_script_that_exists_on_centos_6_is_not_replaced() {
        let mut host = MadeUpHost::new();
        host.file("/etc/rc.d/rc.sysinit", "").file("/lib/modules/2.6.32/modules.builtin", "kernel/fs/ext4/ext4.ko\n");
        host.file("/etc/sysctl.conf", "net.netfilter.nf_conntrack_max = 9\n");
        let fix = |host: &MadeUpHost| host.findings(run)[0].fixes[0].clone();
        assert!(matches!(fix(&host), Fix::Command(line) if line.contains("install -D -m 755")));
        host.file("/etc/sysconfig/modules/nf_conntrack.modules", "#!/bin/sh\nmodprobe other\n");
        assert!(matches!(fix(&host), Fix::Text(text) if text.contains("append the line")));
    }

    #[test]
    fn a_host_without_settings_and_one_with_the_module_in_its_kernel_are_healthy() {
        let mut host = MadeUpHost::systemd();
        host.file("/etc/modules-load.d/conntrack.conf", "").file("/etc/sysctl.d/50-conntrack.conf", "net.core.x = 1\n");
        assert_eq!(host.findings(run), []);
        let mut host = MadeUpHost::systemd();
        host.file("/etc/modules-load.d/conntrack.conf", "");
        host.file("/lib/modules/6.1.0/modules.builtin", "kernel/net/netfilter/nf_conntrack.ko\n");
        assert_eq!(host.findings(run), []);
    }

    #[test]
    fn a_blacklisted_module_is_mended_by_removing_that_line() {
        let mut host = MadeUpHost::systemd();
        host.file("/etc/modprobe.d/no.conf", "blacklist nf_conntrack\n");
        let remove = "remove /etc/modprobe.d/no.conf:1 (blacklist nf_conntrack)";
        assert_eq!(host.findings(run)[0].fixes, [Fix::Text(remove.to_owned())]);
    }

    #[test]
    fn where_no_file_shows_how_the_module_is_loaded_the_check_cannot_run() {
        let mut host = MadeUpHost::new();
        host.file("/usr/lib/systemd/systemd-sysctl", "");
        assert_eq!(host.findings(run), []);
        host.file("/etc/sysctl.d/a.conf", "net.netfilter.nf_conntrack_max = 9\n");
        assert!(matches!(run(&host.evidence()), Outcome::CannotRun(_)));
    }
}
