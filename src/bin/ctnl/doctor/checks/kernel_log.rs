//! "table full" in the log of the kernel.

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

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::indexing_slicing)]
mod tests {
    use ctnl::units::Seconds;

    use super::*;
    use crate::doctor::finding::Fix;
    use crate::doctor::made_up::{MadeUpHost, findings};
    use crate::doctor::made_up_kernel::MadeUpKernel;
    use crate::host::namespace_owner::{Container, NamespaceOwner};
    use crate::host::namespaces::Name;

    const FULL: &str = "nf_conntrack: table full, dropping packet";

    /// A host whose log has `message` so many seconds before now.
    fn host(messages: &[(u64, &str)]) -> MadeUpHost {
        let mut host = MadeUpHost::new();
        let now = host.host().clock.now().realtime;
        let line = |(seconds, message): &(u64, &str)| {
            let time = Nanos(now.since(Seconds(*seconds).into()).0);
            let time = jiff::Timestamp::from_nanosecond(i128::from(time.0)).unwrap();
            format!("{time} gate kernel: [5.1] {message}\n")
        };
        host.file("/etc/hostname", "gate\n");
        host.file("/var/log/messages", &messages.iter().map(line).collect::<String>());
        host.sysctl("nf_conntrack_max", 65_536).sysctl("nf_conntrack_buckets", 65_536);
        host
    }

    #[test]
    fn the_severity_follows_the_age_of_the_last_message() {
        for (seconds, severity) in [
            (10, Severity::Critical),
            (200, Severity::Critical),
            (3600, Severity::Warning),
            (6 * 86_400, Severity::Warning),
            (8 * 86_400, Severity::Note),
        ] {
            let found = host(&[(9 * 86_400, FULL), (seconds, FULL)]).findings(run);
            assert_eq!(found.iter().map(|finding| finding.severity).collect::<Vec<_>>(), [severity], "{seconds}");
            assert!(found[0].evidence[0].starts_with("/var/log/messages: at least 2 times, "), "{found:?}");
        }
    }

    #[test]
    fn a_log_without_such_messages_is_healthy() {
        let healthy = host(&[
            (10, "eth0: link up"),
            (5, "nf_conntrack: default automatic helper assignment has been turned off"),
        ]);
        assert_eq!(run(&healthy.evidence()), Outcome::NOTHING);
    }

    #[test]
    fn a_host_without_a_log_is_not_called_healthy() {
        let Outcome::CannotRun(why) = run(&MadeUpHost::new().evidence()) else { unreachable!() };
        assert_eq!(why, "there is no log: no journal, and none of /var/log/messages, kern.log, syslog");
    }

    #[test]
    fn a_part_that_cannot_be_read_is_a_note_where_the_rest_has_nothing() {
        let mut evidence = host(&[]).evidence();
        let mut unreadable = evidence.kernel_log.log.sources[0].clone();
        unreadable.name = "/dev/kmsg".to_owned();
        unreadable.unreadable = Some(Unreadable::Failed("it takes CAP_SYSLOG".to_owned()));
        evidence.kernel_log.log.sources.push(unreadable);
        let found = findings(run(&evidence));
        assert_eq!(
            (found[0].severity, &*found[0].evidence),
            (Severity::Note, &["/dev/kmsg: it takes CAP_SYSLOG".to_owned()][..])
        );
        evidence.kernel_log.log.sources.remove(0);
        assert_eq!(run(&evidence), Outcome::CannotRun("/dev/kmsg: it takes CAP_SYSLOG".to_owned()));
    }

    #[test]
    fn the_container_of_a_namespace_is_named_and_one_that_is_gone_too() {
        let message = |netns: u64| format!("nf_conntrack: table full in netns {netns}, dropping packet");
        let mut evidence = host(&[(10, &message(7)), (20, &message(8)), (30, FULL), (40, &message(9))]).evidence();
        let container = Container::Container { engine: Some("docker"), id: "3f2a9c1d5e7b".to_owned(), pod: None };
        let name = Name::Process { pid: 4711, comm: "nginx".to_owned() };
        evidence
            .kernel_log
            .owners
            .insert(7, NamespaceOwner { name, argument: Some("4711".to_owned()), container: Some(container) });
        evidence.kernel_log.own_netns = Some(9);
        let found = findings(run(&evidence));
        let titles: Vec<_> = found.iter().map(|finding| finding.title.split(" was full").next().unwrap()).collect();
        assert_eq!(
            titles,
            [
                "a conntrack table",
                "the conntrack table of this network namespace",
                "the conntrack table of network namespace pid:4711(nginx), docker container 3f2a9c1d5e7b",
                "the conntrack table of network namespace net:[8], which does not exist any more",
            ]
        );
        let examine = Fix::Command("ctnl doctor --netns 4711".to_owned());
        assert!(found[2].fixes.contains(&examine) && !found[1].fixes.contains(&examine), "{found:?}");
    }

    #[test]
    fn what_was_suppressed_and_what_was_not_read_is_said() {
        let mut evidence = host(&[(7200, FULL), (10, FULL), (8, "net_ratelimit: 40 callbacks suppressed")]).evidence();
        evidence.kernel_log.log.sources[0].gaps.push("messages.1.xz: not read".to_owned());
        let evidence = &findings(run(&evidence))[0].evidence;
        assert!(evidence[0].contains("at least 2 times, 1 in the last hour, first "), "{evidence:?}");
        assert!(evidence[0].contains("; 40 more network messages were left out by the rate limit"), "{evidence:?}");
        assert_eq!(evidence[1], "incomplete: messages.1.xz: not read");
    }

    #[test]
    fn a_larger_maximum_is_suggested_only_where_the_table_is_full_now_or_half_full() {
        let suggested = |seconds, message: &str, entries| {
            let mut host = host(&[(seconds, message)]);
            host.file("/proc/meminfo", "MemTotal:       65536000 kB\n");
            let mut evidence = host.running(MadeUpKernel::new(65_536).grows(entries, 1)).evidence();
            evidence.kernel_log.own_netns = Some(9);
            let found = findings(run(&evidence)).remove(0);
            let is_shown =
                found.evidence.contains(&format!("entries now: 1 of 65536 (at most {entries} in the window)"));
            let commands = found.fixes.iter().filter_map(|fix| match fix {
                Fix::Command(line) => line.strip_prefix("ctnl tune set --max "),
                Fix::Text(_) => None,
            });
            (commands.count(), is_shown)
        };
        let other = "nf_conntrack: table full in netns 7, dropping packet";
        assert_eq!(suggested(10, FULL, 100), (1, true), "less than the kernel's own for this memory");
        assert_eq!(suggested(86_400, FULL, 32_767), (0, true));
        assert_eq!(suggested(86_400, FULL, 32_768), (1, true));
        assert_eq!(suggested(86_400, other, 60_000), (0, false), "those are the entries of this namespace");
    }

    #[test]
    fn the_first_fix_doubles_the_maximum_and_not_once_more_when_that_is_enough() {
        let mut host = host(&[(10, FULL)]);
        let commands = host.running(MadeUpKernel::new(65_536).grows(65_536, 1)).findings(run).remove(0).fixes;
        assert_eq!(commands[0], Fix::Command("ctnl tune set --max 131072 --buckets 131072 --persist".to_owned()));
        let commands = host.running(MadeUpKernel::new(65_536).grows(30_000, 1)).findings(run).remove(0).fixes;
        assert_eq!(commands, [Fix::Command("ctnl flush --state established --older 12h --dry-run".to_owned())]);
    }

    #[test]
    fn a_full_table_of_expectations_is_a_finding_of_its_own() {
        let mut host = host(&[(10, "nf_conntrack: nf_conntrack: expectation table full")]);
        let found = host.sysctl("nf_conntrack_expect_max", 1024).findings(run);
        assert_eq!((found.len(), found[0].severity), (1, Severity::Warning));
        assert_eq!(found[0].fixes, [Fix::Command("ctnl tune set --expect-max 2048 --persist".to_owned())]);
    }

    #[test]
    fn the_messages_of_another_host_are_a_note() {
        let mut host = host(&[]);
        let found = host
            .file("/var/log/syslog", "2026-11-29T01:52:10Z other kernel: nf_conntrack: table full, dropping packet\n")
            .findings(run);
        assert_eq!((found.len(), found[0].severity), (1, Severity::Note));
        assert_eq!(found[0].evidence, ["/var/log/syslog: 1"]);
    }
}
