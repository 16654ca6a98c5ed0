//! "table full" in the log of the kernel.

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::indexing_slicing)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};

use ctnl::units::Nanos;

use crate::doctor::check::{Check, Outcome};
use crate::doctor::evidence::{Evidence, LogEvidence, command_in};
use crate::doctor::finding::{Finding, Severity};
use crate::doctor::when::{ago, local};
use crate::host::kernel_log::{LogSource, Occurrences, Unreadable};

pub const CHECK: Check = Check {
    name: "kernel-log",
    about: "messages of a full table in the kernel log",
    explanation: "\
Looks for 'nf_conntrack: table full, dropping packet' and its older and newer spellings in /dev/kmsg, in the journal,
and in /var/log/messages, kern.log and syslog with their rotated files.

Each message is a packet that was dropped: a new connection that failed or was delayed. What had an entry went on. The
kernel limits the rate of its messages, so there were at least as many; the counter 'drop' of `ctnl stats` has them all.
The same message is in several logs: the numbers of two sources are not added up.

critical: the last one is less than 5 minutes old. warning: less than 7 days. note: older.

Older kernels do not write which network namespace it is: it may be that of a container. Newer ones write 'in netns N', its
inode number, for all but the host's, and the finding has its name or container as long as it exists.

To end it at once: `ctnl flush --older 12h` after a look at its `--dry-run`; or a larger table with `ctnl tune set`. Then
find out who fills it: the other findings, or `ctnl count --by state` and `ctnl count --by src --top 10`.",
    run,
};

/// The last message is so recent that the table is taken to be full now.
const NOW: Nanos = Nanos(300 * Nanos::PER_SECOND);
/// It is likely to come again.
const LATELY: Nanos = Nanos(7 * 86_400 * Nanos::PER_SECOND);
/// In percent: a larger maximum is suggested where so much of it is in use.
const HALF: u64 = 50;
/// Most namespaces with a finding each.
const MAX_NAMESPACES: usize = 8;

fn run(evidence: &Evidence) -> Outcome {
    Outcome::of(|| {
        let log = &evidence.kernel_log;
        let mut findings = full_tables(evidence);
        findings.extend(full_expectations(evidence));
        findings.extend(other_hosts(log));
        let unread: Vec<_> = log.log.sources.iter().filter_map(failure).collect();
        if unread.len() == log.log.sources.len() && findings.is_empty() {
            return Err(nothing_read(&unread));
        }
        if findings.is_empty() && !unread.is_empty() {
            findings.push(partly_read(unread));
        }
        Ok(findings)
    })
}

/// The source, and why nothing of it was read.
fn failure(source: &LogSource) -> Option<String> {
    match source.unreadable.as_ref()? {
        Unreadable::Failed(why) => Some(format!("{}: {why}", source.name)),
        Unreadable::Absent => Some(format!("{}: absent", source.name)),
    }
}

fn nothing_read(unread: &[String]) -> String {
    match unread {
        [] => "there is no log: no journal, and none of /var/log/messages, kern.log, syslog".to_owned(),
        unread => unread.join("; "),
    }
}

fn partly_read(unread: Vec<String>) -> Finding {
    let title = "part of the kernel log cannot be read, and the rest has no message of a full table";
    let consequence = "A table that was full may have been missed.";
    unread.into_iter().fold(Finding::new(Severity::Note, title, consequence), Finding::evidence)
}

/// A finding for each namespace: the messages without one, then the namespace that is examined, then the others, those
/// with the last message first.
fn full_tables(evidence: &Evidence) -> Vec<Finding> {
    let log = &evidence.kernel_log;
    let netns: BTreeSet<Option<u64>> =
        log.log.sources.iter().flat_map(|source| source.notices.full.keys().copied()).collect();
    let mut by_last: Vec<_> = netns.into_iter().map(|netns| (netns, last(log, netns))).collect();
    by_last.sort_by_key(|(netns, last)| (netns.is_some(), *netns != log.own_netns, std::cmp::Reverse(*last)));
    let left_out = by_last.len().saturating_sub(MAX_NAMESPACES);
    let mut findings: Vec<_> =
        by_last.iter().take(MAX_NAMESPACES).map(|(netns, last)| full(evidence, *netns, *last)).collect();
    if let Some(finding) = findings.last_mut()
        && left_out > 0
    {
        finding.evidence.push(format!("{left_out} more namespaces have such messages"));
    }
    findings
}

/// The time of the last message about `netns` in any source.
fn last(log: &LogEvidence, netns: Option<u64>) -> Option<Nanos> {
    log.log.sources.iter().filter_map(|source| source.notices.full.get(&netns)?.last).max()
}

fn severity(last: Option<Nanos>, now: Nanos) -> Severity {
    match last.map(|last| now.since(last)) {
        Some(age) if age <= NOW => Severity::Critical,
        Some(age) if age > LATELY => Severity::Note,
        // Also where the log has no times.
        _ => Severity::Warning,
    }
}

fn full(evidence: &Evidence, netns: Option<u64>, last: Option<Nanos>) -> Finding {
    let log = &evidence.kernel_log;
    let now = log.log.read_at;
    let severity = severity(last, now);
    let when = last.map_or_else(|| "at an unknown time".to_owned(), |last| ago(last, now));
    let subject = subject(log, netns);
    let title = format!("{subject} was full: the kernel dropped packets, the last time {when}");
    let mut finding = Finding::new(severity, title, consequence(severity, netns));
    for source in &log.log.sources {
        if let Some(occurrences) = source.notices.full.get(&netns) {
            finding.evidence.push(line(log, source, occurrences));
        }
    }
    finding.evidence.extend(gaps(log));
    fixes(finding, evidence, netns, severity)
        .figure("netns", netns)
        .figure("last", last.map(|last| last.seconds().0))
        .figure("sources", figures(log, netns))
}

fn subject(log: &LogEvidence, netns: Option<u64>) -> String {
    match netns {
        None => "a conntrack table".to_owned(),
        Some(inode) if log.own_netns == Some(inode) => "the conntrack table of this network namespace".to_owned(),
        Some(inode) => match log.owners.get(&inode) {
            Some(owner) => format!("the conntrack table of network namespace {owner}"),
            None => format!("the conntrack table of network namespace net:[{inode}], which does not exist any more"),
        },
    }
}

fn consequence(severity: Severity, netns: Option<u64>) -> String {
    let fails = if severity == Severity::Critical { "fail" } else { "failed" };
    let whose = match netns {
        None => {
            " The message has no network namespace: it is the host's, or with older kernels perhaps that of a container."
        }
        Some(_) => "",
    };
    format!("New connections {fails}, established ones go on. There may be more drops than messages.{whose}")
}

/// How often, and when, in one source.
fn line(log: &LogEvidence, source: &LogSource, occurrences: &Occurrences) -> String {
    let Occurrences { count, lately, suppressed, first, last, sample } = occurrences;
    let times = if *count == 1 { "once".to_owned() } else { format!("{count} times") };
    let shown = |time: &Option<Nanos>| time.map_or_else(|| "unknown".to_owned(), |time| local(time, &log.log.zone));
    let between = match first == last {
        true => format!("at {}", shown(last)),
        false => format!("first {}, last {}", shown(first), shown(last)),
    };
    let lately = if *lately > 0 && count != lately { format!(", {lately} in the last hour") } else { String::new() };
    let more = match suppressed {
        0 => String::new(),
        more => format!("; {more} more network messages were left out by the rate limit"),
    };
    format!("{}: at least {times}{lately}, {between}{more}: '{sample}'", source.name)
}

fn gaps(log: &LogEvidence) -> impl Iterator<Item = String> {
    let of_source = |source: &LogSource| source.gaps.clone().into_iter().chain(failure(source)).collect::<Vec<_>>();
    log.log.sources.iter().flat_map(of_source).map(|gap| format!("incomplete: {gap}"))
}

/// First what ends it, then what shows the cause. The maximum and the buckets are the same for all namespaces; the
/// entries are those of the namespace that is examined.
fn fixes(mut finding: Finding, evidence: &Evidence, netns: Option<u64>, severity: Severity) -> Finding {
    let log = &evidence.kernel_log;
    let is_own = netns.is_none() || netns == log.own_netns;
    if let Some(occupancy) = evidence.occupancy.as_ref().ok().filter(|_| is_own) {
        let (entries, peak) = (occupancy.entries(), occupancy.peak());
        if let Some(max) = occupancy.after.max {
            finding = finding.evidence(format!("entries now: {entries} of {max} (at most {peak} in the window)"));
        }
        let is_needed = severity == Severity::Critical || occupancy.is_at(HALF);
        if let Some(max) = larger_max(evidence, peak).filter(|_| is_needed) {
            finding = finding.command(format!("ctnl tune set --max {max} --buckets {max} --persist"));
        }
    }
    if is_own && severity == Severity::Critical {
        finding = finding.command(evidence.command("flush --state established --older 12h --dry-run"));
    }
    let owner = netns.filter(|_| !is_own).and_then(|inode| log.owners.get(&inode));
    match owner.and_then(|owner| owner.argument.as_deref()) {
        Some(argument) => finding.command(command_in(Some(argument), "doctor")),
        // Whether the maximum was raised since is not in the log.
        None if finding.fixes.is_empty() => finding.text("`ctnl tune show` has the maximum that the memory allows"),
        None => finding,
    }
}

/// What the peak needs, as far as the memory allows it: not more at each run.
fn larger_max(evidence: &Evidence, peak: u64) -> Option<u64> {
    let sysctls = evidence.sysctls.as_ref().ok()?;
    let (max, buckets) = (sysctls.number("nf_conntrack_max")?, sysctls.number("nf_conntrack_buckets")?);
    let recommended = evidence.memory.recommend(max, buckets, peak).max;
    (max > 0 && recommended > max).then_some(recommended)
}

fn figures(log: &LogEvidence, netns: Option<u64>) -> serde_json::Value {
    let seconds = |time: Option<Nanos>| time.map(|time| time.seconds().0);
    let rows = log.log.sources.iter().filter_map(|source| {
        let Occurrences { count, lately, suppressed, first, last, .. } = source.notices.full.get(&netns)?;
        Some(serde_json::json!({
            "source": source.name, "count": count, "last_hour": lately, "suppressed": suppressed,
            "first": seconds(*first), "last": seconds(*last),
        }))
    });
    rows.collect()
}

fn full_expectations(evidence: &Evidence) -> Option<Finding> {
    let log = &evidence.kernel_log;
    let found: Vec<_> = log.log.sources.iter().filter(|source| source.notices.expectations.count > 0).collect();
    let last = found.iter().filter_map(|source| source.notices.expectations.last).max();
    let severity = severity(last, log.log.read_at).min(Severity::Warning);
    let title = "the table of expectations was full";
    let consequence =
        "Connections that a helper expects (data of FTP, media of SIP) were not recorded, so a firewall drops them.";
    let mut finding = Finding::new(severity, title, consequence).figure("last", last.map(|last| last.seconds().0));
    finding.evidence = found.iter().map(|source| line(log, source, &source.notices.expectations)).collect();
    if let Some(max) = evidence.sysctls.as_ref().ok().and_then(|sysctls| sysctls.number("nf_conntrack_expect_max")) {
        finding = finding.command(format!("ctnl tune set --expect-max {} --persist", max.saturating_mul(2)));
    }
    (!found.is_empty()).then_some(finding)
}

fn other_hosts(log: &LogEvidence) -> Option<Finding> {
    let found: BTreeMap<_, _> = log
        .log
        .sources
        .iter()
        .filter(|source| source.notices.other_hosts > 0)
        .map(|source| (&source.name, source.notices.other_hosts))
        .collect();
    let consequence = "They are not counted here. If this host had another name then, they are its own.";
    let title = "messages of a full table have the name of another host";
    let finding = Finding::new(Severity::Note, title, consequence);
    let finding = found.iter().fold(finding, |finding, (name, count)| finding.evidence(format!("{name}: {count}")));
    (!found.is_empty()).then_some(finding)
}
