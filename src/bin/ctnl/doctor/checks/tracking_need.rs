//! Connections that are tracked although no rule needs it.

use crate::doctor::check::{Check, Outcome};
use crate::doctor::evidence::Evidence;
use crate::doctor::evidence::rules::{Rules, Use};
use crate::doctor::finding::{Finding, Severity};

pub const CHECK: Check = Check {
    name: "tracking-need",
    about: "whether any rule needs the connections that are tracked",
    explanation: "\
Looks at the rules of nf_tables and ip_tables (nft, iptables-save and ip6tables-save are run) and at
the loaded modules.

The kernel tracks connections in a network namespace while a rule there needs it: one that compares
a connection's state, mark or counters, does NAT, assigns a helper, or uses a flowtable or the SYN
proxy. notrack needs no tracking itself. With the last such rule tracking stops by itself; entries
that are left expire by their timeouts.

Found is a table with entries although no rule needs them, and rules that look at connections
although no rule does anything but accept, count and log: then tracking decides nothing. What uses
tracking without rules (Open vSwitch, IPVS, tc's ct action, BPF programs) is not in any list of
rules; the first three are seen where they are loaded as modules.

Where a program is missing, fails, or prints what is not understood, the check cannot run: rules
that were not read are never taken for none.",
    run,
};

fn run(evidence: &Evidence) -> Outcome {
    Outcome::of(|| {
        let rules = evidence.rules.as_ref().map_err(Clone::clone)?;
        let sysctls = evidence.sysctls.as_ref().map_err(Clone::clone)?;
        let count = sysctls.number("nf_conntrack_count").ok_or("nf_conntrack_count cannot be read")?;
        // 0 is no limit.
        let max = sysctls.number("nf_conntrack_max").filter(|max| *max > 0).unwrap_or(u64::MAX);
        let is_needed = rules.acts && rules.needs().next().is_some();
        let hidden = evidence.hidden_users.as_ref();
        if count == 0 || is_needed || hidden.is_ok_and(|users| !users.is_empty()) {
            return Ok(Vec::new());
        }
        if let Some(why) = rules.unread.first() {
            return Err(format!("not all rules could be read: {why}"));
        }
        let severity = if count.saturating_mul(2) >= max { Severity::Warning } else { Severity::Note };
        let finding = if rules.needs().next().is_none() {
            unneeded(evidence, severity, count)
        } else {
            undecided(severity, rules)
        };
        let mut finding = finding
            .evidence(format!("{} rules read; {count} entries in the table", rules.count))
            .figure("entries", count)
            .figure("rules", rules.count);
        if let Some(users) = rules.uses.get(&Use::Notrack) {
            finding = finding.evidence(format!("{} of them exempt packets from tracking (notrack)", users.rules));
        }
        if hidden.is_err() {
            finding = finding.evidence(
                "modules are not listed here: Open vSwitch, IPVS, tc's ct action or BPF may track without any rule",
            );
        }
        Ok(vec![finding])
    })
}

/// No rule needs tracking.
fn unneeded(evidence: &Evidence, severity: Severity, count: u64) -> Finding {
    Finding::new(
        severity,
        format!("{count} entries are in the table, and no rule needs connection tracking"),
        "The kernel stops tracking with the last rule that needs it. These entries are left from before, were made over \
         netlink (conntrackd, conntrack -I, ctnl restore), or are of a user that no rule shows. They fill the table \
         until they expire",
    )
    .command(evidence.command("count --by proto,dport"))
}

/// Rules look at connections, and nothing depends on it.
fn undecided(severity: Severity, rules: &Rules) -> Finding {
    let mut finding = Finding::new(
        severity,
        "connections are tracked for rules that decide nothing",
        "No rule drops, rejects, marks, translates or redirects a packet, so every packet passes with or without \
         tracking. Each connection costs an entry all the same, and when the table is full the kernel drops packets that \
         the rules would accept",
    );
    let mut lines = String::new();
    for (found, users) in rules.needs() {
        finding = finding.evidence(format!("{} rules use {}: {}", users.rules, found.about(), users.example));
        lines += &format!("remove: {}\n", users.example);
        if users.rules > 1 {
            lines += &format!("        and {} more that use {}\n", users.rules - 1, found.about());
        }
    }
    finding.text(lines + "or add the rules that are missing, such as a policy that drops")
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::indexing_slicing)]
mod tests {
    use super::*;
    use crate::doctor::finding::Fix;
    use crate::doctor::made_up::{MadeUpHost, findings};

    fn host(count: u64, uses: &[Use]) -> Evidence {
        let mut host = MadeUpHost::new();
        host.sysctl("nf_conntrack_count", count).sysctl("nf_conntrack_max", 1000);
        let mut evidence = host.evidence();
        let mut rules = Rules { count: 3, acts: true, ..Rules::default() };
        uses.iter().for_each(|found| rules.add_use(*found, "nft ip t c handle 7"));
        (evidence.rules, evidence.hidden_users) = (Ok(rules), Ok(Vec::new()));
        evidence
    }

    #[test]
    fn entries_that_no_rule_needs_are_found_and_those_that_one_needs_are_not() {
        let found = findings(run(&host(7, &[Use::Notrack])));
        assert_eq!((found.len(), found[0].severity), (1, Severity::Note));
        assert_eq!(found[0].evidence[1], "1 of them exempt packets from tracking (notrack)");
        assert_eq!(findings(run(&host(500, &[])))[0].severity, Severity::Warning, "half full");
        assert_eq!(run(&host(0, &[])), Outcome::NOTHING);
        for needed in [Use::Connection, Use::Limit, Use::Assignment, Use::Nat, Use::Flowtable, Use::Synproxy] {
            assert_eq!(run(&host(7, &[needed])), Outcome::NOTHING, "{needed:?}");
        }
    }

    #[test]
    fn rules_that_only_accept_need_no_connection_state() {
        let mut evidence = host(7, &[Use::Connection]);
        evidence.rules.as_mut().unwrap().acts = false;
        let found = findings(run(&evidence));
        assert_eq!(found[0].title, "connections are tracked for rules that decide nothing");
        let lines = "remove: nft ip t c handle 7\nor add the rules that are missing, such as a policy that drops";
        assert_eq!(found[0].fixes, [Fix::Text(lines.to_owned())]);
    }

    #[test]
    fn rules_that_could_not_be_read_are_not_taken_for_none_and_modules_may_track_without_rules() {
        let mut evidence = host(7, &[]);
        evidence.rules.as_mut().unwrap().add_unread("nft is not installed");
        let why = "not all rules could be read: nft is not installed";
        assert_eq!(run(&evidence), Outcome::CannotRun(why.to_owned()));
        let mut evidence = host(7, &[]);
        evidence.hidden_users = Ok(vec!["IPVS (ip_vs)"]);
        assert_eq!(run(&evidence), Outcome::NOTHING);
        evidence.hidden_users = Err("/proc/modules cannot be read".to_owned());
        assert!(findings(run(&evidence))[0].evidence[1].starts_with("modules are not listed here"));
        let no_kernel = MadeUpHost::new().evidence();
        assert_eq!(run(&no_kernel), Outcome::CannotRun("--root: rules of a kernel that does not run".to_owned()));
    }
}
