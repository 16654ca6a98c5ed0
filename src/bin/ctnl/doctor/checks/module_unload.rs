//! What unloads the module while the host runs, so that its settings are lost.

use crate::doctor::check::{Check, Outcome};
use crate::doctor::evidence::{BootEvidence, Evidence};
use crate::doctor::finding::{Finding, Severity};
use crate::host::boot::{Assignment, FileLine, Stage};

pub const CHECK: Check = Check {
    name: "module-unload",
    about: "whether something unloads nf_conntrack, which resets its settings",
    explanation: "\
A module that is loaded again has the defaults of the kernel: nothing applies the settings of sysctl.conf and sysctl.d
once more. Looks at IPTABLES_MODULES_UNLOAD=\"yes\" and IP6TABLES_MODULES_UNLOAD=\"yes\" in /etc/sysconfig where the service
is enabled (unless IPTABLES_SYSCTL_LOAD_LIST has nf_conntrack), at CleanupModulesOnExit of firewalld, and at init and cron
scripts with rmmod or modprobe -r.

Found where there are settings to lose: the table shrinks to the default at the next restart of the firewall, and all
connections are forgotten with the module.",
    run,
};

fn run(evidence: &Evidence) -> Outcome {
    let boot = &evidence.boot;
    let set = boot.boot.conntrack_sysctls();
    let changed = changed_now(evidence);
    if set.is_empty() && changed.is_empty() {
        return Outcome::NOTHING;
    }
    Outcome::Findings(boot.boot.unloads.iter().map(|unload| finding(boot, unload, &set, &changed)).collect())
}

/// Settings that have another value than the kernel's default, for which no file is needed.
fn changed_now(evidence: &Evidence) -> Vec<String> {
    let Ok(now) = &evidence.sysctls else { return Vec::new() };
    let is_changed = |name: &str, value: u64| {
        let defaults = evidence.boot.defaults(name);
        !defaults.is_empty() && !crate::host::boot::defaults::is_one_of(value, &defaults)
    };
    now.iter()
        .filter_map(|(name, text)| Some((name, text.parse().ok()?)))
        .filter(|(name, value)| is_changed(name, *value))
        .map(|(name, value)| format!("{name} is {value}"))
        .collect()
}

fn finding(boot: &BootEvidence, unload: &FileLine, set: &[Assignment], changed: &[String]) -> Finding {
    let title = format!("{}:{}: {}", unload.file, unload.line, unload.what);
    let consequence = "the settings of conntrack fall back to the kernel's defaults then, and all entries are lost";
    let mut finding = Finding::new(Severity::Warning, title, consequence).evidence(unload.to_string());
    for line in set.iter().filter(|set| set.stage != Stage::Module).take(10) {
        finding = finding.evidence(format!("lost: {line}"));
    }
    if set.is_empty() {
        finding = changed.iter().take(10).fold(finding, |finding, line| finding.evidence(format!("lost: {line}")));
    }
    let finding = finding.figure("file", unload.file.as_str()).figure("line", unload.line);
    match boot.module.holders.is_empty() {
        true => mended(finding, unload),
        false => mended(finding.evidence(format!("used now by {}", boot.module.holders.join(", "))), unload),
    }
}

fn mended(finding: Finding, unload: &FileLine) -> Finding {
    let file = &unload.file;
    if file.ends_with("tables-config") {
        return finding.command(format!("sed -i 's/^\\(IP6\\?TABLES_MODULES_UNLOAD\\)=.*/\\1=\"no\"/' {file}"));
    }
    if file.ends_with("firewalld.conf") {
        return finding.command(format!("sed -i 's/^CleanupModulesOnExit=.*/CleanupModulesOnExit=no/' {file}"));
    }
    finding.text(format!("remove line {} of {file}, or apply the settings after it: sysctl --system", unload.line))
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::indexing_slicing)]
mod tests {
    use super::*;
    use crate::doctor::finding::Fix;
    use crate::doctor::made_up::MadeUpHost;

    const CONFIG: &str = "/etc/sysconfig/iptables-config";

    fn files(host: &MadeUpHost) -> Vec<String> {
        host.findings(run).into_iter().map(|finding| finding.evidence[0].clone()).collect()
    }

    #[test]
    fn iptables_that_unloads_modules_is_found_where_it_is_enabled() {
        let mut host = MadeUpHost::systemd();
        host.file(CONFIG, "# x\nIPTABLES_MODULES_UNLOAD=\"yes\"\n");
        assert_eq!(files(&host), Vec::<String>::new());
        host.file("/etc/systemd/system/basic.target.wants/iptables.service", "");
        let found = host.findings(run);
        assert_eq!(found[0].figures["line"], 2);
        assert_eq!(
            found[0].evidence[1],
            "lost: /etc/sysctl.d/50-conntrack.conf:1: net.netfilter.nf_conntrack_max = 524288"
        );
        let off = "sed -i 's/^\\(IP6\\?TABLES_MODULES_UNLOAD\\)=.*/\\1=\"no\"/' /etc/sysconfig/iptables-config";
        assert_eq!(found[0].fixes, [Fix::Command(off.to_owned())]);
        host.file(CONFIG, "IPTABLES_MODULES_UNLOAD=\"yes\"\nIPTABLES_SYSCTL_LOAD_LIST=\".nf_conntrack\"\n");
        assert_eq!(files(&host), Vec::<String>::new());
        host.file(CONFIG, "IPTABLES_MODULES_UNLOAD=\"no\"\n");
        assert_eq!(files(&host), Vec::<String>::new());
    }

    #[test]
    fn where_there_is_nothing_to_lose_nothing_is_found() {
        let mut host = MadeUpHost::systemd();
        host.file(CONFIG, "IPTABLES_MODULES_UNLOAD=yes\n");
        host.file("/etc/systemd/system/basic.target.wants/iptables.service", "");
        host.file("/etc/sysctl.d/50-conntrack.conf", "").file("/etc/modprobe.d/conntrack.conf", "");
        host.sysctl("nf_conntrack_max", 262_144).sysctl("nf_conntrack_buckets", 262_144);
        assert_eq!(files(&host), Vec::<String>::new());
        host.sysctl("nf_conntrack_max", 1_000_000);
        assert_eq!(host.findings(run)[0].evidence[1], "lost: nf_conntrack_max is 1000000");
    }

    #[test]
    fn firewalld_and_scripts_that_unload_are_found() {
        let mut host = MadeUpHost::systemd();
        host.file("/etc/firewalld/firewalld.conf", "CleanupModulesOnExit=yes\n");
        host.file("/etc/systemd/system/multi-user.target.wants/firewalld.service", "");
        host.file("/etc/init.d/firewall", "#!/bin/sh\niptables -F\nmodprobe -r nf_conntrack\n");
        let expected = [
            "/etc/firewalld/firewalld.conf:1: firewalld unloads the modules when it stops",
            "/etc/init.d/firewall:3: unloads nf_conntrack",
        ];
        assert_eq!(files(&host), expected);
        host.file("/etc/firewalld/firewalld.conf", "# CleanupModulesOnExit=yes\nCleanupModulesOnExit=no\n");
        host.file("/etc/init.d/firewall", "modprobe -r ipmi_si\n");
        assert_eq!(files(&host), Vec::<String>::new());
    }
}
