//! Settings that the next boot changes or loses, and lines of files that do not do what they seem to.

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::indexing_slicing)]
mod tests;

use crate::doctor::check::{Check, Outcome};
use crate::doctor::evidence::{BootEvidence, Evidence};
use crate::doctor::finding::{Finding, Severity};
use crate::doctor::{tune_command, whole_file};
use crate::host::boot::{Assignment, CONNTRACK, Effect, HASHSIZE, Init, Reason, Stage, WithoutEffect, defaults};
use crate::host::conntrack_sysctls::ConntrackSysctls;

pub const CHECK: Check = Check {
    name: "boot-sysctls",
    about: "whether the settings of conntrack are the same after the next boot",
    explanation: "\
Compares the settings of conntrack with what the next boot gives them, by the order in which this system applies its
files: systemd-sysctl, sysctl --system, the scripts of CentOS 6, OpenRC or OpenWrt, then services and rc.local.

Found are a setting that has another value now than after a boot, one that was changed and is set nowhere, files that
contradict each other, values that the kernel refuses, and lines that set nothing: an old name such as
net.ipv4.ip_conntrack_max, a file whose name does not end in .conf, /etc/sysctl.conf where nothing reads it, rc.local
that is not executable. A change that is lost comes back as a full table after the next boot. Either write the value
down with `ctnl tune set … --persist`, or set the value of the file now.",
    run,
};

/// The file that `ctnl tune set --persist` writes: files that sort behind it win.
const TUNE_FILE: &str = "90-ctnl.conf";
const CHOOSE_FIRST: &str = "nf_conntrack_max: choose a larger one first: the table is nearly full";
/// These have checks of their own.
const OTHER_CHECKS: &[&str] = &["nf_conntrack_buckets", "nf_conntrack_count"];

fn run(evidence: &Evidence) -> Outcome {
    let boot = &evidence.boot;
    let mut findings = Vec::new();
    if let Ok(now) = &evidence.sysctls {
        findings.extend(changed(evidence, now));
        findings.extend(lost(evidence, now));
    }
    let assignments = boot.boot.conntrack_sysctls();
    findings.extend(assignments.iter().filter(|set| boot.boot.effect(set) == Effect::Refused).map(refused));
    findings.extend(assignments.iter().filter_map(|set| contradicted(boot, set)));
    findings.extend(boot.boot.without_effect.iter().filter_map(|line| without_effect(boot, line)));
    findings.extend(unreadable(boot));
    match &evidence.sysctls {
        Err(why) if findings.is_empty() => Outcome::CannotRun(why.clone()),
        _ => Outcome::Findings(findings),
    }
}

/// Whether a table of this maximum is over 80 % full: a maximum that is too small is not written down.
fn is_maximum_of_a_nearly_full_table(evidence: &Evidence, name: &str, max: u64) -> bool {
    name == "nf_conntrack_max" && max > 0 && u128::from(entries(evidence)) * 5 >= u128::from(max) * 4
}

/// The name of the file below /proc/sys/net/netfilter.
fn file_name(set: &Assignment) -> String {
    set.canonical().trim_start_matches("net.netfilter.").to_owned()
}

/// Whether a program gives the setting its value while the host runs.
fn is_written(boot: &BootEvidence, canonical: &str, value: u64) -> bool {
    boot.boot.writers_of(canonical).any(|writer| writer.assignment.number().is_none_or(|written| written == value))
}

/// Whether the files of the host decide on the setting `name` of the namespace that is looked at.
fn concerns(boot: &BootEvidence, name: &str) -> bool {
    let is_global = ["nf_conntrack_max", "nf_conntrack_expect_max"].contains(&name);
    (boot.is_first_netns || is_global) && !OTHER_CHECKS.contains(&name)
}

/// Settings that the boot sets to another value than they have now.
fn changed(evidence: &Evidence, now: &ConntrackSysctls) -> Vec<Finding> {
    let boot = &evidence.boot;
    let mut findings = Vec::new();
    for set in boot.boot.conntrack_sysctls() {
        let name = file_name(&set);
        let applied = boot.boot.effect(&set) == Effect::Applied;
        if let (Some(value), Some(at_boot)) = (now.number(&name), set.number())
            && value != at_boot
            && applied
            && concerns(boot, &name)
            && !is_written(boot, &set.canonical(), value)
        {
            findings.push(change(evidence, &name, value, at_boot, &set));
        }
    }
    findings
}

fn change(evidence: &Evidence, name: &str, now: u64, at_boot: u64, set: &Assignment) -> Finding {
    let consequence = format!("the next boot sets {at_boot}: what was changed since is undone");
    let finding =
        Finding::new(Severity::Warning, format!("{name} is {now} now and {at_boot} after a boot"), consequence)
            .evidence(format!("{name} is {now}"))
            .evidence(set.to_string())
            .figure("sysctl", name)
            .figure("now", now)
            .figure("at_boot", at_boot)
            .figure("file", set.file.as_str())
            .figure("line", set.line);
    let finding = set.overrides.iter().fold(finding, |finding, line| finding.evidence(format!("overridden: {line}")));
    if is_maximum_of_a_nearly_full_table(evidence, name, now) {
        return if at_boot > now { finding.command(at_boot_now(name, at_boot)) } else { finding.text(CHOOSE_FIRST) };
    }
    let (command, lines) = tune_command::persist([(name, now)]);
    let finding = match command.filter(|_| tune_wins(set)) {
        Some(command) => finding.command(command),
        None => finding.text(format!("{}, line {}: {} = {now}", set.file, set.line, set.key)),
    };
    let finding = lines.into_iter().filter(|_| tune_wins(set)).fold(finding, Finding::text);
    // Not a command: whoever runs both of them undoes the first.
    if name == "nf_conntrack_max" && at_boot < entries(evidence).saturating_mul(2) {
        return finding.evidence(format!("{at_boot} is too small for the {} entries of now", entries(evidence)));
    }
    finding.text(format!("or, to have the value of the file now: {}", at_boot_now(name, at_boot)))
}

/// Entries of the table that was examined; 0 where they are unknown.
fn entries(evidence: &Evidence) -> u64 {
    evidence.occupancy.as_ref().map_or(0, |occupancy| occupancy.entries())
}

/// The command that sets the value of the boot now.
fn at_boot_now(name: &str, at_boot: u64) -> String {
    format!("sysctl -w net.netfilter.{name}={at_boot}")
}

/// Whether the file of tune is applied after the line.
fn tune_wins(set: &Assignment) -> bool {
    let name = set.file.rsplit('/').next().unwrap_or_default();
    set.stage == Stage::Sysctl && set.file.contains("/sysctl.d/") && name <= TUNE_FILE
}

/// Settings that were changed and that nothing sets at boot.
fn lost(evidence: &Evidence, now: &ConntrackSysctls) -> Option<Finding> {
    let boot = &evidence.boot;
    let is_lost = |name: &str, value: u64| {
        let canonical = format!("net.netfilter.{name}");
        let defaults = boot.defaults(name);
        let is_set = boot.boot.sysctl(&canonical).is_some() || boot.boot.sets_parameter(name);
        !is_set
            && concerns(boot, name)
            && !is_written(boot, &canonical, value)
            && !defaults.is_empty()
            && !defaults::is_one_of(value, &defaults)
    };
    let lost: Vec<(&str, u64)> = now
        .iter()
        .filter_map(|(name, text)| Some((name, text.parse().ok()?)))
        .filter(|(name, value)| is_lost(name, *value))
        .collect();
    let (first, value) = lost.first()?;
    let title = match lost.len() {
        1 => format!("{first} is {value} now, and nothing sets it at boot"),
        count => format!("{count} settings were changed, and nothing sets them at boot"),
    };
    let mut finding = Finding::new(Severity::Warning, title, "the next boot brings back the defaults of the kernel");
    for (name, value) in &lost {
        let default = boot.defaults(name).first().map(u64::to_string).unwrap_or_default();
        finding = finding
            .evidence(format!("{name} is {value}; no file sets it; the kernel's default is {default}"))
            .figure(name, *value);
        for writer in boot.boot.writers_of(&format!("net.netfilter.{name}")) {
            finding = finding.evidence(format!("{} sets it: {}", writer.name, writer.assignment));
        }
    }
    let (postponed, lost): (Vec<_>, Vec<_>) =
        lost.into_iter().partition(|(name, value)| is_maximum_of_a_nearly_full_table(evidence, name, *value));
    if !postponed.is_empty() {
        finding = finding.text(CHOOSE_FIRST);
    }
    let (command, lines) = tune_command::persist(lost);
    let finding = command.into_iter().fold(finding, Finding::command);
    let lines = lines.into_iter().map(|line| format!("/etc/sysctl.d/{TUNE_FILE}: {line}"));
    Some(lines.fold(finding, Finding::text))
}

fn refused(set: &Assignment) -> Finding {
    let what = "it is no number from 0 to 2147483647";
    let title = format!("{} is set to '{}', which the kernel refuses", set.canonical(), set.value);
    Finding::new(Severity::Warning, title, "the setting keeps the kernel's default after a boot")
        .evidence(set.to_string())
        .evidence(what)
        .text(format!("{}, line {}: write digits alone, without units, separators and quotes", set.file, set.line))
        .figure("file", set.file.as_str())
        .figure("line", set.line)
}

/// A line that loses against another one with another value, where both are the administrator's.
fn contradicted(boot: &BootEvidence, set: &Assignment) -> Option<Finding> {
    let differs =
        |line: &&Assignment| line.number().is_some() && set.number().is_some() && line.number() != set.number();
    let loser = set.overrides.iter().filter(differs).find(|line| is_administrators(boot, line))?;
    if set.file.starts_with("/etc/ufw/") {
        return None;
    }
    // Two lines of one file are seen together, and the file of tune is written to win.
    let is_known = loser.file == set.file || set.file.ends_with(TUNE_FILE);
    let severity = if is_known { Severity::Note } else { Severity::Warning };
    let title = format!("{} is set to {} and to {}", set.canonical(), loser.value, set.value);
    let consequence = format!("the value {} is never in force: the other line is applied later", loser.value);
    Some(
        Finding::new(severity, title, consequence)
            .evidence(format!("wins: {set}"))
            .evidence(format!("loses: {loser}"))
            .text(format!("remove {}:{} or {}:{}", loser.file, loser.line, set.file, set.line))
            .figure("wins", set.number())
            .figure("loses", loser.number()),
    )
}

/// OpenWrt's packages keep their defaults in /etc/sysctl.d/1*.conf.
fn is_administrators(boot: &BootEvidence, line: &Assignment) -> bool {
    let is_package = boot.boot.init == Init::Procd && line.file.starts_with("/etc/sysctl.d/1");
    line.file.starts_with("/etc/") && !is_package
}

fn without_effect(boot: &BootEvidence, line: &WithoutEffect) -> Option<Finding> {
    let WithoutEffect { assignment: set, why, .. } = line;
    let name = set.canonical();
    if set.key == HASHSIZE || !name.starts_with(CONNTRACK) || matches!(why, Reason::Masked { .. }) {
        return None;
    }
    let in_force = boot.boot.sysctl(&name).filter(|other| other.number() == set.number());
    let severity = if in_force.is_some() { Severity::Note } else { Severity::Warning };
    let consequence = match &in_force {
        Some(other) => format!("nothing: {}:{} sets the same value", other.file, other.line),
        None => "the setting keeps another value after a boot".to_owned(),
    };
    let finding = Finding::new(severity, format!("{}:{} sets nothing", set.file, set.line), consequence)
        .evidence(set.to_string())
        .evidence(why.to_string())
        .figure("sysctl", name.trim_start_matches("net.netfilter."))
        .figure("file", set.file.as_str())
        .figure("line", set.line);
    if severity == Severity::Note {
        return Some(
            finding.text(format!("{}, line {}: remove it; the value is in force without it", set.file, set.line)),
        );
    }
    let finding = match why {
        Reason::OldName { current } => {
            finding.text(format!("{}, line {}: {current} = {}", set.file, set.line, set.value))
        }
        _ => finding,
    };
    Some(whole_file::mend(finding, line, &file_name(set)))
}

fn unreadable(boot: &BootEvidence) -> Option<Finding> {
    let files = &boot.boot.unreadable;
    let (first, count) = (files.first()?, files.len());
    let title = match count {
        1 => format!("{} cannot be read", first.file),
        _ => format!("{count} files that set something at boot cannot be read"),
    };
    let finding =
        Finding::new(Severity::Note, title, "what they set at boot is unknown, so it may be more than is shown");
    Some(files.iter().take(10).fold(finding, |finding, file| finding.evidence(format!("{}: {}", file.file, file.why))))
}
