use ctnl::model::TcpState;

use super::*;
use crate::doctor::finding::Fix;
use crate::doctor::made_up::{MadeUpHost, findings, survey_of};

/// A host with the defaults of the kernel and an established timeout of a day.
fn host(entries: u64) -> MadeUpHost {
    let mut host = MadeUpHost::new();
    for row in &TIMERS {
        if let (Some(sysctl), Some(default)) = (row.sysctl, row.default) {
            host.sysctl(sysctl, default.into());
        }
    }
    host.sysctl("nf_conntrack_tcp_timeout_established", DAY);
    host.sysctl("nf_conntrack_max", 1000).sysctl("nf_conntrack_count", entries);
    host
}

fn commands(finding: &Finding) -> Vec<&str> {
    let command = |fix: &'_ Fix| match fix {
        Fix::Command(line) => Some(line.clone().leak() as &str),
        Fix::Text(_) => None,
    };
    finding.fixes.iter().filter_map(command).collect()
}

#[test]
fn the_timeouts_of_the_kernel_are_healthy_apart_from_five_days() {
    assert_eq!(run(&host(900).evidence()), Outcome::NOTHING);
    let found = host(100).sysctl("nf_conntrack_tcp_timeout_established", 432_000).findings(run);
    assert_eq!((found.len(), found[0].severity), (1, Severity::Note));
    assert_eq!(found[0].title, "the timeout tcp.established is 5d, longer than needed");
    let expected = [
        "ctnl tune set --established-timeout 1d --persist",
        "ctnl update --state established --cap-timeout 1d --dry-run",
    ];
    assert_eq!(commands(&found[0]), expected);
}

#[test]
fn it_is_a_warning_in_a_table_that_is_half_full() {
    let found = host(500).sysctl("nf_conntrack_tcp_timeout_established", 432_000).findings(run);
    assert_eq!(found[0].severity, Severity::Warning);
}

#[test]
fn a_timeout_that_somebody_raised_is_found_with_the_command_that_sets_it_back() {
    for (sysctl, value, command) in [
        ("nf_conntrack_tcp_timeout_close_wait", 3600, "ctnl tune set --close-wait-timeout 1m --persist"),
        ("nf_conntrack_tcp_timeout_fin_wait", 7200, "ctnl tune set --fin-wait-timeout 2m --persist"),
        ("nf_conntrack_tcp_timeout_time_wait", 600, "ctnl tune set --time-wait-timeout 2m --persist"),
        ("nf_conntrack_tcp_timeout_last_ack", 3600, "ctnl tune set --timeout tcp.last_ack=30s --persist"),
        ("nf_conntrack_generic_timeout", 86_400, "ctnl tune set --generic-timeout 10m --persist"),
        ("nf_conntrack_udp_timeout", 600, "ctnl tune set --udp-timeout 30s --persist"),
        ("nf_conntrack_udp_timeout_stream", 3600, "ctnl tune set --udp-stream-timeout 2m --persist"),
    ] {
        let found = host(10).sysctl(sysctl, value).findings(run);
        assert_eq!(found.len(), 1, "{sysctl}: {found:?}");
        assert_eq!(commands(&found[0])[0], command);
    }
}

#[test]
fn timeouts_that_older_kernels_have_are_not_raised_ones() {
    for (sysctl, value) in [
        ("nf_conntrack_sctp_timeout_established", 432_000),
        ("nf_conntrack_udp_timeout_stream", 180),
        ("nf_conntrack_udp_timeout_stream", 300),
    ] {
        assert_eq!(run(&host(900).sysctl(sysctl, value).evidence()), Outcome::NOTHING, "{sysctl} {value}");
    }
}

#[test]
fn timeouts_that_break_idle_connections_are_notes_and_those_that_break_new_ones_are_warnings() {
    for (sysctl, value, severity) in [
        ("nf_conntrack_tcp_timeout_established", 3600, Severity::Note),
        ("nf_conntrack_udp_timeout_stream", 60, Severity::Note),
        ("nf_conntrack_tcp_timeout_established", 0, Severity::Warning),
        ("nf_conntrack_udp_timeout", 1, Severity::Warning),
        ("nf_conntrack_tcp_timeout_syn_sent", 0, Severity::Warning),
    ] {
        let found = host(10).sysctl(sysctl, value).findings(run);
        assert_eq!(found.iter().map(|finding| finding.severity).collect::<Vec<_>>(), [severity], "{sysctl} {value}");
    }
    assert_eq!(run(&host(10).sysctl("nf_conntrack_tcp_timeout_established", 7440).evidence()), Outcome::NOTHING);
}

#[test]
fn a_timeout_that_kube_proxy_raises_is_lowered_in_its_configuration_and_not_by_a_sysctl() {
    let close_wait = |command_line: &str, value: u64, is_first_netns: bool| {
        let mut host = host(10);
        host.sysctl("nf_conntrack_tcp_timeout_close_wait", value).file("/proc/77/cmdline", command_line);
        let mut evidence = host.evidence();
        evidence.boot.is_first_netns = is_first_netns;
        findings(run(&evidence)).remove(0)
    };
    let kube_proxy = "/usr/local/bin/kube-proxy\0";
    let found = close_wait(kube_proxy, 3600, true);
    let Fix::Text(text) = &found.fixes[0] else { panic!("{found:?}") };
    assert!(text.contains("conntrack.tcpCloseWaitTimeout: 60s"), "{text}");
    assert!(text.contains("--conntrack-tcp-timeout-close-wait=60s"), "{text}");
    assert!(found.evidence.contains(&"kube-proxy raises it to 3600 (/proc/77/cmdline:1)".to_owned()));
    assert_eq!(commands(&found), ["ctnl update --state close_wait --cap-timeout 1m --dry-run"]);
    // Somebody else raised it further.
    assert_eq!(commands(&close_wait(kube_proxy, 7200, true))[0], "ctnl tune set --close-wait-timeout 1m --persist");
    // kube-proxy was told to leave it alone; or it writes the setting of another namespace.
    let left_alone = format!("{kube_proxy}--conntrack-tcp-timeout-close-wait=0\0");
    for found in [close_wait(&left_alone, 3600, true), close_wait(kube_proxy, 3600, false)] {
        assert_eq!(commands(&found)[0], "ctnl tune set --close-wait-timeout 1m --persist");
        assert!(!format!("{found:?}").contains("kube-proxy raises it"), "{found:?}");
    }
}

#[test]
fn a_host_without_timeouts_is_not_called_healthy() {
    assert!(matches!(run(&MadeUpHost::new().evidence()), Outcome::CannotRun(_)));
    let mut host = MadeUpHost::new();
    assert!(matches!(run(&host.sysctl("nf_conntrack_max", 1).evidence()), Outcome::CannotRun(_)));
}

#[test]
fn a_state_with_few_entries_does_not_fill_the_table() {
    let mut evidence = host(900).sysctl("nf_conntrack_tcp_timeout_close_wait", 3600).evidence();
    evidence.survey = Ok(survey_of(&[(TcpState::CloseWait, 5), (TcpState::Established, 95)]));
    let found = findings(run(&evidence));
    assert_eq!((found[0].severity, &*found[0].evidence[1]), (Severity::Note, "5 of 100 entries have it"));
    evidence.survey = Ok(survey_of(&[(TcpState::CloseWait, 50), (TcpState::Established, 50)]));
    assert_eq!(findings(run(&evidence))[0].severity, Severity::Warning);
}
