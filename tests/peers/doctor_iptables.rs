//! `ctnl doctor` with rules of iptables, of nf_tables and of the older ip_tables.

use std::process::{Command, Stdio};

use serde_json::Value;

use ctnl_test_support::harness::{Run, TestNetns, tests};
use ctnl_test_support::net::{Net, OUTSIDE, PATH};

use crate::doctor_nat::{busy_dns, clients, dns_entries_after_traffic, doctor, finding, findings, send, sink, texts};

tests![
    nat_rules_of_both_kinds_of_iptables_are_read,
    a_rule_of_iptables_that_drops_by_state_needs_tracking,
    with_the_rules_for_iptables_no_entry_is_made_in_either_direction,
];

/// Runs a program of iptables; it must succeed.
fn iptables(program: &str, arguments: &str) {
    let arguments: Vec<_> = arguments.split_whitespace().collect();
    Run::of(Command::new(program).args(arguments).env("PATH", PATH)).exits_with(0);
}

/// Loads rules, or tests them alone; they must be accepted.
fn restore(program: &str, option: &str, rules: &str) {
    use std::io::Write;

    let mut command = Command::new(program);
    let mut child = command.arg(option).env("PATH", PATH).stdin(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(rules.as_bytes()).unwrap();
    assert!(child.wait().unwrap().success(), "{program} {option}: {rules}");
}

fn nat_rules_of_both_kinds_of_iptables_are_read(netns: &TestNetns) {
    let net = Net::new(netns);
    let _server = sink(&net.outside, OUTSIDE, 5353);
    let clients = clients(&net, 40_000, 9);
    let rule =
        |action: &str| format!("-t nat -{action} POSTROUTING -p udp -o out0 -j SNAT --to-source 10.2.0.1:2000-2009");
    for program in ["iptables-nft", "iptables-legacy"] {
        iptables(program, &rule("A"));
        netns.ctnl(&["flush", "--all", "--yes"]).exits_with(0);
        send(&clients, 1, OUTSIDE, 5353);
        let report = doctor(netns);
        let found = finding(&report, "nat-ports");
        assert_eq!(
            (&found["figures"]["used"], &found["figures"]["ports"]),
            (&Value::from(9), &Value::from(10)),
            "{program}"
        );
        assert!(findings(&report, "stale-nat").is_empty(), "{program}: the rule is known");
        assert!(!report["not_run"].to_string().contains("stale-nat"), "{program}: {report:#}");
        iptables(program, &rule("D"));
    }
}

fn a_rule_of_iptables_that_drops_by_state_needs_tracking(netns: &TestNetns) {
    let net = Net::new(netns);
    let _server = sink(&net.outside, OUTSIDE, 5353);
    ctnl_test_support::net::nft("flush ruleset");
    for program in ["iptables-nft", "iptables-legacy"] {
        let rule = |action: &str| format!("-{action} FORWARD -m conntrack --ctstate INVALID -j DROP");
        iptables(program, &rule("A"));
        send(&clients(&net, 42_000, 3), 1, OUTSIDE, 5353);
        assert!(findings(&doctor(netns), "tracking-need").is_empty(), "{program}");
        iptables(program, &rule("D"));
        assert_eq!(findings(&doctor(netns), "tracking-need").len(), 1, "{program}: the rule is gone");
    }
}

fn with_the_rules_for_iptables_no_entry_is_made_in_either_direction(netns: &TestNetns) {
    let net = Net::new(netns);
    let found = busy_dns(netns);
    assert_eq!(dns_entries_after_traffic(&net).len(), 4, "tracked without the rules");
    let texts = texts(&found);
    for (program, rules) in [("iptables-restore", texts[1]), ("ip6tables-restore", texts[2])] {
        restore(program, "--test", rules);
        restore(program, "--noflush", rules);
    }
    assert_eq!(dns_entries_after_traffic(&net), []);
}
