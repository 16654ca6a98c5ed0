//! One port that carries most entries, and how to exempt it from tracking.

use ctnl::model::Protocol;

use crate::doctor::check::{Check, Outcome};
use crate::doctor::evidence::Evidence;
use crate::doctor::evidence::survey::{PortEntries, ServicePort};
use crate::doctor::finding::{Finding, Severity};

/// Fewer entries are not worth a rule.
const FEW_ENTRIES: u64 = 1_000;

pub const CHECK: Check = Check {
    name: "busy-port",
    about: "whether one destination port carries most entries and could be exempt from tracking",
    explanation: "\
Looks at the entries by protocol (TCP, UDP) and destination port, and at how full the table is.
Found is a port that has at least half of the entries of a table that is at least a quarter full,
with NAT in at most a tenth of them.

A busy service of this host (DNS, memcached, a web server behind no NAT) can do without an entry for
each client: notrack rules before the tracker, for both directions, in prerouting and output. The
rules that are printed are to be reviewed: NAT does not work for these packets, rules that compare
the connection's state no longer match them (their state is 'untracked': accept it explicitly, in
both directions, with addresses where possible), and whoever sends from that source port is not
tracked either. Existing entries expire.

`ctnl doctor` changes no rule.",
    run,
};

fn run(evidence: &Evidence) -> Outcome {
    Outcome::of(|| {
        let survey = evidence.survey.as_ref().map_err(Clone::clone)?;
        let sysctls = evidence.sysctls.as_ref().map_err(Clone::clone)?;
        let max = sysctls.number("nf_conntrack_max").ok_or("nf_conntrack_max cannot be read")?;
        let Some((port, entries)) = survey.ports.first() else { return Ok(Vec::new()) };
        let is_most = entries.all >= FEW_ENTRIES && entries.all.saturating_mul(2) >= survey.entries;
        let is_exemptible = entries.nat.saturating_mul(10) <= entries.all;
        // 0 is no limit.
        let fills = |share: u64| max > 0 && survey.entries.saturating_mul(100) >= max.saturating_mul(share);
        if !is_most || !is_exemptible || !fills(25) {
            return Ok(Vec::new());
        }
        let severity = if fills(80) { Severity::Warning } else { Severity::Note };
        Ok(vec![finding(severity, port, entries, survey.entries)])
    })
}

fn finding(severity: Severity, port: ServicePort, entries: PortEntries, all: u64) -> Finding {
    let (name, number) = (protocol(port), port.port);
    let share = entries.all * 100 / all.max(1);
    let (v4, v6, nat) = (entries.all - entries.v6, entries.v6, entries.nat);
    let mut finding = Finding::new(
        severity,
        format!("{name} port {number} has {share} % of all entries, and may do without tracking"),
        format!(
            "Each client takes an entry. Before you exempt the port: NAT does not work for untracked packets ({nat} of \
             these entries have NAT), `ct state established` no longer accepts them in either direction, and whoever \
             sends from port {number} is untracked as well. Review the rules, load them, then accept `ct state \
             untracked` for your own addresses"
        ),
    )
    .evidence(format!("{} of {all} entries; IPv4 {v4}, IPv6 {v6}; with NAT {nat}", entries.all))
    .text(format!("# nftables: nft -f FILE\n{}", nft_rules(port, v4 > 0, v6 > 0)));
    for (is_seen, program) in [(v4 > 0, "iptables"), (v6 > 0, "ip6tables")] {
        if is_seen {
            finding = finding.text(format!("# {program}: {program}-restore --noflush FILE\n{}", iptables_rules(port)));
        }
    }
    finding
        .figure("protocol", name)
        .figure("port", number)
        .figure("entries", entries.all)
        .figure("entries_ipv6", v6)
        .figure("entries_nat", nat)
}

fn protocol(port: ServicePort) -> &'static str {
    if port.protocol == Protocol::Udp { "udp" } else { "tcp" }
}

/// The rules of nftables for the families that were seen, before the tracker (priority raw, -300).
fn nft_rules(port: ServicePort, v4: bool, v6: bool) -> String {
    let family = match (v4, v6) {
        (true, true) => "inet",
        (false, true) => "ip6",
        _ => "ip",
    };
    let (protocol, port) = (protocol(port), port.port);
    let chain = |hook: &str| {
        format!(
            "    chain {hook} {{\n        type filter hook {hook} priority -300; policy accept;\n        {protocol} dport \
             {port} notrack\n        {protocol} sport {port} notrack\n    }}\n"
        )
    };
    format!("table {family} ctnl_notrack {{\n{}{}}}\n", chain("prerouting"), chain("output"))
}

/// The same rules for iptables-restore and ip6tables-restore.
fn iptables_rules(port: ServicePort) -> String {
    let (protocol, port) = (protocol(port), port.port);
    let rule = |chain: &str, end: &str| format!("-A {chain} -p {protocol} --{end} {port} -j CT --notrack\n");
    let rules = ["PREROUTING", "OUTPUT"].map(|chain| rule(chain, "dport") + &rule(chain, "sport"));
    format!("*raw\n{}COMMIT\n", rules.concat())
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::indexing_slicing)]
mod tests {
    use super::*;
    use crate::doctor::evidence::Survey;
    use crate::doctor::finding::Fix;
    use crate::doctor::made_up::{MadeUpHost, count, findings, flow, source_nat};

    /// A host with entries of UDP to a port, and with others.
    fn host(max: u64, busy: u64, others: u64, v6: bool, nat: bool) -> Evidence {
        let mut host = MadeUpHost::new();
        host.sysctl("nf_conntrack_max", max);
        let (mut evidence, mut survey) = (host.evidence(), Survey::default());
        let (src, dst) = if v6 { ("[2001:db8::1]:9", "[2001:db8::2]:53") } else { ("10.0.0.1:9", "10.0.0.2:53") };
        let dns = if nat { source_nat(Protocol::Udp, src, dst, "192.0.2.1:9") } else { flow(Protocol::Udp, src, dst) };
        (0..busy).for_each(|_| count(&mut survey, &dns));
        (0..others)
            .for_each(|number| count(&mut survey, &flow(Protocol::Tcp, src, &format!("10.0.0.3:{}", 1000 + number))));
        evidence.survey = Ok(survey);
        evidence
    }

    #[test]
    fn a_port_with_most_entries_is_found_with_rules_for_both_directions() {
        let found = findings(run(&host(8_000, 1_500, 500, false, false)));
        assert_eq!(found[0].title, "udp port 53 has 75 % of all entries, and may do without tracking");
        assert_eq!(found[0].severity, Severity::Note);
        let nft = "\
# nftables: nft -f FILE
table ip ctnl_notrack {
    chain prerouting {
        type filter hook prerouting priority -300; policy accept;
        udp dport 53 notrack
        udp sport 53 notrack
    }
    chain output {
        type filter hook output priority -300; policy accept;
        udp dport 53 notrack
        udp sport 53 notrack
    }
}
";
        let iptables = "\
# iptables: iptables-restore --noflush FILE
*raw
-A PREROUTING -p udp --dport 53 -j CT --notrack
-A PREROUTING -p udp --sport 53 -j CT --notrack
-A OUTPUT -p udp --dport 53 -j CT --notrack
-A OUTPUT -p udp --sport 53 -j CT --notrack
COMMIT
";
        assert_eq!(found[0].fixes, [Fix::Text(nft.to_owned()), Fix::Text(iptables.to_owned())]);
        assert_eq!(findings(run(&host(2_000, 1_500, 500, false, false)))[0].severity, Severity::Warning, "full");
        let v6 = findings(run(&host(8_000, 1_500, 500, true, false)));
        let Fix::Text(nft) = &v6[0].fixes[0] else { unreachable!() };
        assert!(nft.contains("table ip6 ctnl_notrack") && v6[0].fixes.len() == 2);
    }

    #[test]
    fn a_port_that_is_one_among_many_or_has_nat_or_an_empty_table_is_not() {
        assert_eq!(run(&host(8_000, 1_500, 1_600, false, false)), Outcome::NOTHING, "others have more");
        assert_eq!(run(&host(8_000, 2_500, 0, false, true)), Outcome::NOTHING, "NAT needs tracking");
        assert_eq!(run(&host(100_000, 2_500, 0, false, false)), Outcome::NOTHING, "there is space");
        assert_eq!(run(&host(1_000, 500, 0, false, false)), Outcome::NOTHING, "few entries");
        assert!(matches!(run(&MadeUpHost::new().evidence()), Outcome::CannotRun(_)));
    }
}
