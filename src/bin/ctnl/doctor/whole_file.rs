//! Fixes that make a file count which nothing reads: a command that does so makes all of its lines count.

use crate::doctor::evidence::shell_word;
use crate::doctor::finding::Finding;
use crate::doctor::tune_command;
use crate::host::boot::{Reason, WithoutEffect};

/// The file that `ctnl tune set --persist` writes.
const TUNE_FILE: &str = "/etc/sysctl.d/90-ctnl.conf";
/// The link by which systemd-sysctl reads /etc/sysctl.conf.
const LINK: &str = "ln -s ../sysctl.conf /etc/sysctl.d/99-sysctl.conf";

/// With what puts `line` in force, where `setting` is its name, such as `nf_conntrack_max`. The command for the whole file
/// is the first one only where the file has nothing else; otherwise the setting alone is written, and the rest is shown.
pub fn mend(finding: Finding, line: &WithoutEffect, setting: &str) -> Finding {
    let (command, lines) =
        line.assignment.number().map(|value| tune_command::persist([(setting, value)])).unwrap_or_default();
    let alone = |finding: Finding| {
        let finding = command.iter().cloned().fold(finding, Finding::command);
        lines.iter().fold(finding, |finding, line| finding.text(format!("{TUNE_FILE}: {line}")))
    };
    let Some(whole) = command_of(line) else { return alone(finding) };
    let rest = &line.rest;
    if rest.count == 0 && rest.hides.is_none() {
        return alone(finding.command(whole));
    }
    let file = &line.assignment.file;
    let mut finding = alone(finding);
    if rest.count > 0 {
        finding = finding.evidence(format!("{file} has {} more lines, which count as little", rest.count));
        finding = rest.lines.iter().fold(finding, |finding, line| finding.evidence(line.to_string()));
    }
    match &rest.hides {
        Some(other) => finding.text(format!("or move the lines of {file} that are wanted into {other}, which is read")),
        None => finding.text(format!("or, after a review of its other lines, to have all of {file}: {whole}")),
    }
}

/// The command that makes the whole file count.
fn command_of(WithoutEffect { assignment, why, .. }: &WithoutEffect) -> Option<String> {
    let file = shell_word(&assignment.file);
    match why {
        Reason::Suffix => Some(format!("mv {file} {}", shell_word(&format!("{}.conf", assignment.file)))),
        Reason::NotExecutable => Some(format!("chmod +x {file}")),
        Reason::NotRead { by: "systemd-sysctl" } if assignment.file == "/etc/sysctl.conf" => Some(LINK.to_owned()),
        _ => None,
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::indexing_slicing)]
mod tests {
    use crate::doctor::checks::CHECKS;
    use crate::doctor::finding::{Finding, Fix};
    use crate::doctor::made_up::MadeUpHost;

    fn found(host: &MadeUpHost, check: &str) -> Vec<Finding> {
        host.findings(CHECKS.iter().find(|other| other.name == check).unwrap().run)
    }

    fn one(host: &MadeUpHost) -> Finding {
        let found = found(host, "boot-sysctls");
        assert_eq!(found.len(), 1, "{found:?}");
        found.into_iter().next().unwrap()
    }

    fn with(path: &str, content: &str) -> MadeUpHost {
        let mut host = MadeUpHost::systemd();
        host.file(path, content);
        host
    }

    const ACCT: &str = "net.netfilter.nf_conntrack_acct = 1\n";
    const SET: &str = "ctnl tune set --acct on --persist";

    fn command(text: &str) -> Fix {
        Fix::Command(text.to_owned())
    }

    #[test]
    fn a_file_with_other_lines_is_not_made_to_count_as_a_whole_and_they_are_shown() {
        for (path, whole) in [
            ("/etc/sysctl.d/local", "mv /etc/sysctl.d/local /etc/sysctl.d/local.conf"),
            ("/etc/sysctl.conf", "ln -s ../sysctl.conf /etc/sysctl.d/99-sysctl.conf"),
        ] {
            let alone = one(&with(path, &format!("# mine\n\n{ACCT}")));
            assert_eq!(alone.fixes, [command(whole), command(SET)]);
            let found = one(&with(path, &format!("net.ipv4.ip_forward = 1\n{ACCT}kernel.panic = 1\n")));
            assert_eq!(found.fixes[0], command(SET), "{path}");
            assert!(matches!(&found.fixes[1], Fix::Text(text) if text.ends_with(whole)), "{found:?}");
            for line in ["1: net.ipv4.ip_forward = 1", "3: kernel.panic = 1"] {
                assert!(found.evidence.contains(&format!("{path}:{line}")), "{found:?}");
            }
        }
    }

    #[test]
    fn a_script_with_other_commands_is_not_made_executable_by_the_first_command() {
        let script = |more: &str| format!("#!/bin/sh\n{more}sysctl -w net.netfilter.nf_conntrack_acct=1\n");
        assert_eq!(one(&with("/etc/rc.local", &script(""))).fixes[0], command("chmod +x /etc/rc.local"));
        let found = one(&with("/etc/rc.local", &script("rm -rf /srv/tmp\n")));
        assert_eq!(found.fixes[0], command(SET));
        assert!(found.evidence.contains(&"/etc/rc.local:2: rm -rf /srv/tmp".to_owned()), "{found:?}");
    }

    #[test]
    fn a_line_that_does_something_else_too_is_one_of_the_other_lines() {
        let line = "sysctl -w net.netfilter.nf_conntrack_acct=1";
        for more in ["; rm -rf /srv/tmp", " && reboot", " kernel.panic=1", " | mail root", " $(halt)"] {
            let found = one(&with("/etc/rc.local", &format!("#!/bin/sh\n{line}{more}\n")));
            assert_eq!(found.fixes[0], command(SET), "{more}");
            assert!(found.evidence.contains(&format!("/etc/rc.local:2: {line}{more}")), "{found:?}");
        }
    }

    #[test]
    fn a_file_is_not_moved_over_another_one_or_in_front_of_that_of_a_package() {
        for other in ["/etc/sysctl.d/local.conf", "/usr/lib/sysctl.d/local.conf"] {
            let mut host = with("/etc/sysctl.d/local", ACCT);
            host.file(other, "kernel.panic = 1\n");
            let found = one(&host);
            assert_eq!(found.fixes[0], command(SET));
            assert!(
                matches!(&found.fixes[1], Fix::Text(text) if text.contains(other) && !text.contains("mv ")),
                "{found:?}"
            );
        }
    }

    #[test]
    fn a_file_of_modprobe_is_judged_in_the_same_way() {
        let first_fix = |more: &str| {
            let mut host = MadeUpHost::systemd();
            host.file("/etc/modprobe.d/local", &format!("{more}options nf_conntrack hashsize=262144\n"));
            found(&host, "boot-hashsize").remove(0).fixes.remove(0)
        };
        assert_eq!(first_fix(""), command("mv /etc/modprobe.d/local /etc/modprobe.d/local.conf"));
        assert_eq!(first_fix("blacklist e1000e\n"), command("ctnl tune set --buckets 262144 --persist"));
    }

    #[test]
    fn a_setting_that_tune_does_not_know_is_a_line_for_its_file() {
        let found = one(&with("/etc/sysctl.d/local", "net.netfilter.nf_conntrack_tcp_loose = 0\nkernel.panic = 1\n"));
        assert_eq!(
            found.fixes[0],
            Fix::Text("/etc/sysctl.d/90-ctnl.conf: net.netfilter.nf_conntrack_tcp_loose = 0".to_owned())
        );
    }
}
