use ctnl::model::TcpState;

use super::*;
use crate::doctor::finding::Fix;
use crate::doctor::made_up::MadeUpHost;
use crate::doctor::made_up_kernel::{MadeUpKernel, address, idle, tcp, udp};

const MAX: u32 = 262_144;

fn host(kernel: &MadeUpKernel) -> MadeUpHost {
    let mut host = MadeUpHost::new();
    host.sysctl("nf_conntrack_buckets", MAX.into());
    host.file("/proc/meminfo", "MemTotal:       65536000 kB\nMemAvailable:   60000000 kB\n");
    host.running(kernel);
    host
}

fn found(kernel: &MadeUpKernel) -> Vec<(Severity, String)> {
    host(kernel).findings(run).into_iter().map(|finding| (finding.severity, finding.title)).collect()
}

#[test]
fn a_table_with_room_that_does_not_grow_is_healthy_and_one_without_a_limit_is_a_note() {
    let mut kernel = MadeUpKernel::new(MAX);
    for (before, after) in [(0, 0), (100_000, 100_000), (100_000, 100_900), (200_000, 10_000), (209_714, 209_700)] {
        assert_eq!(found(kernel.grows(before, after)), [], "{before} {after}");
    }
    let found = found(MadeUpKernel::new(0).grows(1_000_000, 1_000_000));
    assert_eq!(found, [(Severity::Note, "the table has no limit (nf_conntrack_max is 0)".to_owned())]);
}

#[test]
fn a_full_table_is_critical_also_when_the_kernel_evicts_to_a_little_less() {
    let mut kernel = MadeUpKernel::new(MAX);
    let full = (Severity::Critical, "the table is full: 262144 of 262144 entries".to_owned());
    assert_eq!(found(kernel.grows(MAX, MAX)), [full]);
    kernel.grows(255_000, 255_000);
    assert_eq!(found(&kernel), [(Severity::Warning, "the table is 97.3 % full".to_owned())]);
    let full = (Severity::Critical, "the table is full: 255000 of 262144 entries".to_owned());
    assert_eq!(found(kernel.counter("early_drop", 3, 3)), [full]);
    // Dropped for another reason.
    assert_eq!(found(MadeUpKernel::new(MAX).grows(9, 9).counter("drop", 3, 3)), []);
}

#[test]
fn from_80_percent_on_it_is_a_warning_and_a_growth_makes_it_one_sooner() {
    let severity = |before, after, seconds| {
        let found = found(MadeUpKernel::new(MAX).grows(before, after).measured_for(seconds));
        found.into_iter().map(|(severity, _)| severity).next()
    };
    assert_eq!(severity(209_716, 209_716, 2), Some(Severity::Warning));
    // 5,000 a second: full within a minute.
    assert_eq!(severity(210_000, 220_000, 2), Some(Severity::Critical));
    assert_eq!(severity(140_000, 150_000, 2), Some(Severity::Warning));
    assert_eq!(severity(10_000, 20_000, 2), Some(Severity::Note), "2 s do not show what is collected");
    let short = &host(MadeUpKernel::new(MAX).grows(10_000, 20_000)).findings(run)[0];
    assert_eq!(short.fixes, [Fix::Command("ctnl doctor --watch 2m".to_owned())]);
    assert_eq!(severity(10_000, 20_000, 60), Some(Severity::Critical), "full in 25 minutes");
    assert_eq!(severity(10_000, 11_000, 60), None, "full in four hours");
}

#[test]
fn the_time_to_full_is_that_of_the_growth_in_the_window() {
    let finding = &host(MadeUpKernel::new(MAX).grows(208_144, 212_144)).findings(run)[0];
    // 50,000 more at 2,000 a second.
    assert_eq!(finding.title, "the table is 80.9 % full, and full in 25s at this rate");
    assert_eq!(finding.figures["seconds_to_full"], 25.0);
    assert!(finding.evidence.contains(&"+4000 in 2.0 s: 2000 a second".to_owned()), "{:?}", finding.evidence);
}

#[test]
fn what_frees_most_for_sure_comes_first_with_its_count_and_then_a_larger_maximum() {
    let mut kernel = MadeUpKernel::new(1_000);
    kernel.entries(900, |number| {
        let flow = tcp(TcpState::Established, address(number), address(9), 443);
        (flow, idle(if number < 300 { 50_000 } else { 4_000 }))
    });
    kernel.entries(100, |number| (udp(address(number), address(9), 53), idle(5)));
    let finding = &host(&kernel).findings(run)[0];
    let commands: Vec<_> = finding.fixes.clone();
    let expected = ["ctnl flush --state established --older 12h", "ctnl tune set --max 262144 --persist"];
    assert_eq!(commands, expected.map(|line| Fix::Command(line.to_owned())));
    let evidence = finding.evidence.join("\n");
    assert!(evidence.contains("--older 12h frees 300 entries: 30.0 %"), "{evidence}");
    assert!(evidence.contains("evictable (not ASSURED): 100 of 1000 entries: 10.0 %"), "{evidence}");
    assert_eq!(finding.figures["freed"], 300);
}

#[test]
fn an_hour_is_suggested_where_half_a_day_frees_nothing_and_no_flush_where_nothing_is_idle() {
    let fixes = |seconds| {
        let mut kernel = MadeUpKernel::new(1_000);
        kernel.entries(1_000, |number| (tcp(TcpState::Established, address(number), address(9), 443), idle(seconds)));
        host(&kernel).findings(run)[0].fixes.len()
    };
    assert_eq!((fixes(4_000), fixes(3_000)), (2, 1));
}

#[test]
fn a_host_without_memory_for_a_larger_table_is_not_given_one() {
    let mut kernel = MadeUpKernel::new(MAX);
    let mut host = host(kernel.grows(MAX, MAX));
    host.file("/proc/meminfo", "MemTotal:       131072 kB\n");
    let finding = &host.findings(run)[0];
    assert_eq!(finding.fixes, []);
    assert!(finding.evidence.last().unwrap().starts_with("the memory of this host allows no larger maximum"));
}

#[test]
fn the_full_table_of_another_namespace_is_found_and_one_that_cannot_be_read_is_named() {
    let mut kernel = MadeUpKernel::new(1_000);
    kernel.namespace("blue", 1_000).namespace("red", 850).namespace("green", 10);
    kernel.unreadable_namespace("pid:7(x)", "EACCES");
    let findings = host(&kernel).findings(run);
    let found: Vec<_> = findings.iter().map(|finding| (finding.severity, &*finding.title)).collect();
    let expected = [
        (Severity::Critical, "the table of the namespace blue is full: 1000 of 1000 entries"),
        (Severity::Warning, "the table of the namespace red is 85.0 % full"),
        (Severity::Note, "a network namespace could not be read"),
    ];
    assert_eq!(found, expected);
    assert_eq!(findings[0].fixes, [Fix::Command("ctnl doctor --netns blue".to_owned())]);
    assert_eq!(findings[2].evidence, ["pid:7(x): EACCES"]);
}

#[test]
fn files_of_a_host_that_does_not_run_show_no_fullness() {
    let why = "--root: counters and entries of a kernel that does not run";
    assert_eq!(run(&MadeUpHost::new().evidence()), Outcome::CannotRun(why.to_owned()));
}
