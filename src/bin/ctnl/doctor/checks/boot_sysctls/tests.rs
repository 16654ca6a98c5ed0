use super::*;
use crate::doctor::evidence::OccupancyChange;
use crate::doctor::finding::Fix;
use crate::doctor::made_up::{MadeUpHost, findings};

const FILE: &str = "/etc/sysctl.d/50-conntrack.conf";
const MAX: &str = "net.netfilter.nf_conntrack_max";

/// The severity and the title of each finding.
fn titles(host: &MadeUpHost) -> Vec<(Severity, String)> {
    host.findings(run).into_iter().map(|finding| (finding.severity, finding.title)).collect()
}

fn warning(title: &str) -> Vec<(Severity, String)> {
    vec![(Severity::Warning, title.to_owned())]
}

fn command(line: &str) -> Fix {
    Fix::Command(line.to_owned())
}

#[test]
fn a_host_whose_settings_are_written_down_is_healthy() {
    assert_eq!(titles(&MadeUpHost::systemd()), []);
}

#[test]
fn a_value_that_the_next_boot_changes_is_found_with_the_line_that_does() {
    let mut host = MadeUpHost::systemd();
    let found = host.sysctl("nf_conntrack_max", 1_048_576).findings(run);
    assert_eq!(found[0].title, "nf_conntrack_max is 1048576 now and 524288 after a boot");
    let evidence =
        ["nf_conntrack_max is 1048576", "/etc/sysctl.d/50-conntrack.conf:1: net.netfilter.nf_conntrack_max = 524288"];
    assert_eq!(found[0].evidence, evidence);
    let keep = command("ctnl tune set --max 1048576 --persist");
    let other = "or, to have the value of the file now: sysctl -w net.netfilter.nf_conntrack_max=524288";
    assert_eq!(found[0].fixes, [keep, Fix::Text(other.to_owned())]);
    assert_eq!(found.len(), 1);
}

#[test]
fn where_the_file_of_tune_would_lose_the_line_to_edit_is_named() {
    let mut host = MadeUpHost::systemd();
    host.file("/etc/sysctl.d/99-z.conf", &format!("{MAX} = 65536\n"));
    let found = host.findings(run);
    let edit = "/etc/sysctl.d/99-z.conf, line 1: net.netfilter.nf_conntrack_max = 524288";
    assert_eq!(found[0].fixes[0], Fix::Text(edit.to_owned()));
    assert_eq!(found[1].title, format!("{MAX} is set to 524288 and to 65536"));
}

#[test]
fn what_was_changed_by_hand_and_is_set_nowhere_is_found_in_one_finding() {
    let mut host = MadeUpHost::systemd();
    host.sysctl("nf_conntrack_tcp_timeout_established", 3600).sysctl("nf_conntrack_acct", 1);
    let found = host.findings(run);
    assert_eq!(found[0].title, "2 settings were changed, and nothing sets them at boot");
    assert_eq!(found[0].fixes, [command("ctnl tune set --acct on --timeout tcp.established=3600 --persist")]);
    host.file("/etc/modprobe.d/acct.conf", "options nf_conntrack acct=1\n");
    let title = "nf_conntrack_tcp_timeout_established is 3600 now, and nothing sets it at boot";
    assert_eq!(titles(&host), warning(title));
}

#[test]
fn a_maximum_that_follows_from_the_hash_size_is_not_lost() {
    let mut host = MadeUpHost::systemd();
    host.file(FILE, "# nothing\n").sysctl("nf_conntrack_max", 8 * 131_072);
    assert_eq!(titles(&host), []);
    host.sysctl("nf_conntrack_max", 2_000_000);
    assert_eq!(titles(&host), warning("nf_conntrack_max is 2000000 now, and nothing sets it at boot"));
}

#[test]
fn a_line_with_an_old_name_or_in_a_file_that_is_not_read_sets_nothing() {
    let mut host = MadeUpHost::systemd();
    host.file("/etc/sysctl.d/60-old.conf", "net.ipv4.ip_conntrack_max = 65536\n");
    assert_eq!(titles(&host), warning("/etc/sysctl.d/60-old.conf:1 sets nothing"));
    host.file("/etc/sysctl.d/60-old.conf", "net.ipv4.ip_conntrack_max = 524288\n");
    let note = (Severity::Note, "/etc/sysctl.d/60-old.conf:1 sets nothing".to_owned());
    assert_eq!(titles(&host), [note], "the same value is in force");
    let mut host = MadeUpHost::systemd();
    host.file("/etc/sysctl.d/conntrack", "net.netfilter.nf_conntrack_acct = 1\n");
    host.file("/etc/sysctl.conf", "net.netfilter.nf_conntrack_acct = 1\nnet.core.somaxconn = 9\n");
    let found = host.findings(run);
    let fixes: Vec<_> = found.iter().map(|finding| finding.fixes[0].clone()).collect();
    let alone = command("ctnl tune set --acct on --persist");
    assert_eq!(fixes, [alone, command("mv /etc/sysctl.d/conntrack /etc/sysctl.d/conntrack.conf")]);
}

#[test]
fn a_file_that_stands_in_for_that_of_a_package_is_no_fault() {
    let mut host = MadeUpHost::systemd();
    host.file("/usr/lib/sysctl.d/50-conntrack.conf", &format!("{MAX} = 65536\n"));
    host.file("/usr/lib/sysctl.d/10-package.conf", &format!("{MAX} = 65536\n"));
    assert_eq!(titles(&host), []);
}

#[test]
fn a_value_that_the_kernel_refuses_is_found() {
    let mut host = MadeUpHost::systemd();
    host.file(FILE, &format!("{MAX} = 1,048,576\n"));
    let title = "net.netfilter.nf_conntrack_max is set to '1,048,576', which the kernel refuses";
    assert_eq!(titles(&host), warning(title));
}

#[test]
fn two_lines_of_one_file_are_a_note_and_those_of_two_a_warning() {
    let mut host = MadeUpHost::systemd();
    host.file(FILE, &format!("{MAX} = 1\n{MAX} = 524288\n"));
    let title = "net.netfilter.nf_conntrack_max is set to 1 and to 524288".to_owned();
    assert_eq!(titles(&host), [(Severity::Note, title.clone())]);
    host.file(FILE, &format!("{MAX} = 1\n")).file("/etc/sysctl.d/60.conf", &format!("{MAX} = 524288\n"));
    assert_eq!(titles(&host), [(Severity::Warning, title.clone())]);
    host.file("/etc/sysctl.d/60.conf", "").file("/etc/sysctl.d/90-ctnl.conf", &format!("{MAX} = 524288\n"));
    assert_eq!(titles(&host), [(Severity::Note, title)], "tune was told to");
}

#[test]
fn in_another_namespace_only_what_all_share_is_compared() {
    let mut host = MadeUpHost::systemd();
    host.sysctl("nf_conntrack_tcp_timeout_established", 3600).sysctl("nf_conntrack_max", 1);
    let mut evidence = host.evidence();
    evidence.boot.is_first_netns = false;
    let found = crate::doctor::made_up::findings(run(&evidence));
    assert_eq!(
        found.iter().map(|finding| &*finding.title).collect::<Vec<_>>(),
        ["nf_conntrack_max is 1 now and 524288 after a boot"]
    );
}

#[test]
fn a_tree_without_values_is_checked_as_far_as_its_files_go() {
    let mut host = MadeUpHost::new();
    host.file("/usr/lib/systemd/systemd-sysctl", "");
    assert!(matches!(run(&host.evidence()), Outcome::CannotRun(_)));
    host.file(FILE, &format!("{MAX} = x\n"));
    assert_eq!(host.findings(run).len(), 1);
}

#[test]
fn a_file_that_cannot_be_read_is_named() {
    let mut host = MadeUpHost::systemd();
    host.file("/etc/sysctl.d/x.conf/file", "");
    let found = host.findings(run);
    assert_eq!(found[0].title, "/etc/sysctl.d/x.conf cannot be read");
    assert_eq!(found[0].evidence, ["/etc/sysctl.d/x.conf: not a regular file"]);
}

#[test]
fn a_maximum_that_is_too_small_for_the_entries_of_now_is_never_suggested() {
    let mut host = MadeUpHost::systemd();
    let mut evidence = host.sysctl("nf_conntrack_max", 1_048_576).evidence();
    let after = ctnl::table::Occupancy { entries: 500_000, max: Some(1_048_576) };
    evidence.occupancy = Ok(OccupancyChange { before: after, after, ..OccupancyChange::default() });
    let found = findings(run(&evidence));
    assert_eq!(found[0].fixes, [command("ctnl tune set --max 1048576 --persist")]);
    assert_eq!(found[0].evidence.last().unwrap(), "524288 is too small for the 500000 entries of now");
}

#[test]
fn what_a_package_has_saved_beside_a_file_is_not_found() {
    let mut host = MadeUpHost::systemd();
    host.file("/etc/sysctl.d/50-c.conf.rpmsave", "net.netfilter.nf_conntrack_max = 65536\n");
    assert_eq!(run(&host.evidence()), Outcome::NOTHING);
}

#[test]
fn a_maximum_that_is_nearly_reached_is_not_to_be_written_down() {
    let mut host = MadeUpHost::systemd();
    host.sysctl("nf_conntrack_max", 1500);
    let suggestions = |host: &MadeUpHost, entries| {
        let mut evidence = host.evidence();
        let after = ctnl::table::Occupancy { entries, max: Some(1500) };
        evidence.occupancy = Ok(OccupancyChange { before: after, after, ..OccupancyChange::default() });
        findings(run(&evidence)).into_iter().flat_map(|finding| finding.fixes).collect::<Vec<_>>()
    };
    let persist = command("ctnl tune set --max 1500 --persist");
    let choose_first = [Fix::Text(CHOOSE_FIRST.to_owned())];
    host.file(FILE, "# none\n");
    assert_eq!(suggestions(&host, 100), std::slice::from_ref(&persist));
    assert_eq!(suggestions(&host, 1499), choose_first);
    host.file(FILE, &format!("{MAX} = 1400\n"));
    assert_eq!(suggestions(&host, 1499), choose_first);
    host.file(FILE, &format!("{MAX} = 9000\n"));
    assert!(suggestions(&host, 100).contains(&persist));
    assert_eq!(suggestions(&host, 1499), [command(&format!("sysctl -w {MAX}=9000"))]);
}
