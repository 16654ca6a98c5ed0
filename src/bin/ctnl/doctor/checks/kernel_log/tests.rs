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
    let healthy =
        host(&[(10, "eth0: link up"), (5, "nf_conntrack: default automatic helper assignment has been turned off")]);
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
        let is_shown = found.evidence.contains(&format!("entries now: 1 of 65536 (at most {entries} in the window)"));
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
