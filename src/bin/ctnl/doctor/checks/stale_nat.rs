//! Entries that keep a NAT which no rule does any more.

use std::collections::BTreeMap;
use std::net::IpAddr;

use ctnl::model::{Protocol, protocol_name};

use crate::doctor::check::{Check, Outcome};
use crate::doctor::evidence::Evidence;
use crate::doctor::evidence::rules::Rules;
use crate::doctor::evidence::survey::nat::{Replies, StaleKey};
use crate::doctor::finding::{Finding, Severity};

/// Findings of one host, at most, of each kind.
const MOST: usize = 16;

pub const CHECK: Check = Check {
    name: "stale-nat",
    about: "whether entries keep a NAT that no rule does any more",
    explanation: "\
Looks at the entries with NAT, the NAT rules and the addresses of this host.

NAT is chosen with the first packet of a connection and kept as long as its entry. A UDP client that
goes on sending from the same port refreshes the entry, so it goes to the old target for ever: after
a DNAT rule was changed, a container was started anew with another address, or the address of a
dialled line has changed. Conntrack cannot see that nobody answers.

Found are entries without replies (or with one in a hundred packets at most, where packets are
counted) whose destination NAT leads to an address that no rule has, and entries whose source NAT is
to an address that neither a rule nor this host has. Entries with replies are not counted: they may
be connections that an old target still serves. What a helper expected is left out.

The filter that is printed matches those entries and no other. After the flush the next packet makes
an entry by the rules of now.

The check cannot run where a NAT rule could not be read. Open vSwitch and tc's ct action do NAT
without rules: where they are loaded, findings are notes. So they are, without a command that deletes
anything, where conntrackd runs in this namespace, since entries may be copies of another router's, and
for source addresses where keepalived, ucarp, vrrpd or Pacemaker runs, since this host may have them
again. The port of a target is not compared.",
    run,
};

fn run(evidence: &Evidence) -> Outcome {
    Outcome::of(|| {
        let survey = evidence.survey.as_ref().map_err(Clone::clone)?;
        let rules = evidence.rules.as_ref().map_err(Clone::clone)?;
        let stale = &survey.nat.stale;
        if survey.nat.source_nat + survey.nat.destination_nat == 0 {
            return Ok(Vec::new());
        }
        evidence.addresses.as_ref().map_err(Clone::clone)?;
        if !stale.is_compared() {
            return Err(format!("not all NAT rules are known: {}", unknown(rules)));
        }
        let targets = targets(stale.targets.top(usize::MAX));
        let sources = sources(stale.sources.top(usize::MAX));
        let targets = targets.iter().filter(|(_, stale)| stale.is_found()).take(MOST);
        let sources = sources.iter().filter(|(_, stale)| stale.is_found()).take(MOST);
        let targets = targets.map(|(target, stale)| target_finding(evidence, target, stale));
        Ok(targets.chain(sources.map(|(address, stale)| source_finding(evidence, *address, stale))).collect())
    })
}

/// Why the NAT rules are not known completely.
fn unknown(rules: &Rules) -> String {
    let incomplete = rules.nat.iter().find(|rule| !rule.is_complete);
    match (rules.unread.first(), incomplete) {
        (Some(why), _) => why.clone(),
        (None, Some(rule)) => format!("where does '{}' lead to?", rule.text),
        (None, None) => format!("there are more than {}", rules.nat.len()),
    }
}

/// A target that no rule has: address, port, protocol.
type Target = (IpAddr, Option<u16>, u8);

/// Entries of which the NAT is stale.
#[derive(Debug, Default)]
struct StaleEntries {
    without_replies: u64,
    with_few_replies: u64,
    with_replies: u64,
    /// Of those without replies and with few, the ones of which more than two packets were counted or may have been.
    in_use: u64,
}

impl StaleEntries {
    fn add(&mut self, key: &StaleKey, entries: u64) {
        match key.replies {
            Replies::None => self.without_replies += entries,
            Replies::Few => self.with_few_replies += entries,
            Replies::Some => self.with_replies += entries,
        }
        if key.replies != Replies::Some && key.is_in_use != Some(false) {
            self.in_use += entries;
        }
    }

    fn is_found(&self) -> bool {
        self.in_use > 0
    }
}

fn targets(keys: Vec<(StaleKey, u64)>) -> BTreeMap<Target, StaleEntries> {
    let mut targets: BTreeMap<Target, StaleEntries> = BTreeMap::new();
    for (key, entries) in keys {
        targets.entry((key.address, key.port, key.protocol)).or_default().add(&key, entries);
    }
    targets
}

/// By address. Replies to an address that is gone do not arrive, so they are of before.
fn sources(keys: Vec<(StaleKey, u64)>) -> BTreeMap<IpAddr, StaleEntries> {
    let mut sources: BTreeMap<IpAddr, StaleEntries> = BTreeMap::new();
    for (key, entries) in keys {
        sources.entry(key.address).or_default().add(&StaleKey { replies: Replies::None, ..key }, entries);
    }
    sources
}

fn target_finding(evidence: &Evidence, (address, port, protocol): &Target, stale: &StaleEntries) -> Finding {
    let name = protocol_name(Protocol::from(*protocol)).map_or_else(|| protocol.to_string(), str::to_owned);
    // Without those that have replies, unless there are none.
    let (filter, entries) = if stale.with_few_replies > 0 && stale.with_replies == 0 {
        ("", stale.without_replies + stale.with_few_replies)
    } else {
        (" and unreplied", stale.without_replies)
    };
    let port_term = port.map(|port| format!(" and reply-sport {port}")).unwrap_or_default();
    let filter =
        format!("proto {name} and nat-dst {address} and not dst {address}{port_term} and not expected{filter}");
    let end = port.map_or_else(|| address.to_string(), |port| std::net::SocketAddr::from((*address, port)).to_string());
    let copied = evidence.copied();
    let mut finding = Finding::new(
        severity(evidence, copied.is_some()),
        format!("{entries} {name} entries send packets to {end}, which no DNAT rule leads to any more"),
        "These clients get no answer, and each of their packets keeps its entry alive. After the flush their next packet \
         goes where the rules of now lead it",
    );
    if stale.with_few_replies > 0 {
        finding = finding.evidence(format!("{} have one reply in a hundred packets at most", stale.with_few_replies));
    }
    if stale.with_replies > 0 {
        let served = stale.with_replies;
        finding = finding
            .evidence(format!("{served} more have replies: the old target still serves them, they are left alone"));
    }
    if evidence.addresses.as_ref().is_ok_and(|addresses| addresses.unanswered.contains(address)) {
        finding = finding.evidence(format!("{address} does not answer ARP: it is gone"));
    }
    with_flush(finding, evidence, &filter, copied)
        .figure("target", address.to_string())
        .figure("target_port", *port)
        .figure("protocol", name)
        .figure("entries", entries)
}

fn source_finding(evidence: &Evidence, address: IpAddr, stale: &StaleEntries) -> Finding {
    let entries = stale.without_replies;
    let filter = format!("nat-src {address} and not src {address} and not expected");
    let failover = evidence.failover.as_ref().ok();
    let of_another = failover.and_then(|failover| failover.moved(address).or_else(|| failover.copied()));
    let finding = Finding::new(
        severity(evidence, of_another.is_some()),
        format!("{entries} entries map their source to {address}, which neither this host nor a rule has any more"),
        "Their packets leave with an address to which no reply comes, and each of them keeps its entry alive. After the \
         flush the next packet gets an address of now",
    );
    with_flush(finding, evidence, &filter, of_another).figure("source", address.to_string()).figure("entries", entries)
}

fn severity(evidence: &Evidence, may_be_of_another: bool) -> Severity {
    let has_hidden_users = evidence.hidden_users.as_ref().is_ok_and(|users| !users.is_empty());
    if has_hidden_users || may_be_of_another { Severity::Note } else { Severity::Warning }
}

/// With the commands. What may be an entry of another router is not deleted: there is `why`. On a standby router that would
/// cut the connection at the next failover.
fn with_flush(mut finding: Finding, evidence: &Evidence, filter: &str, why: Option<String>) -> Finding {
    if let Some(users) = evidence.hidden_users.as_ref().ok().filter(|users| !users.is_empty()) {
        finding = finding.evidence(format!("may be of {}, which do NAT without rules", users.join(", ")));
    }
    let finding = finding.command(evidence.command(&format!("list '{filter}'"))).figure("filter", filter);
    match why {
        Some(why) => finding
            .evidence(why)
            .text("nothing on a standby router, which needs them after a failover; judge them on the active one"),
        None => finding.command(evidence.command(&format!("flush '{filter}'"))),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::indexing_slicing)]
mod tests {
    use ctnl::model::{Counters, Flow, Status};

    use super::*;
    use crate::doctor::evidence::Survey;
    use crate::doctor::evidence::addresses::Addresses;
    use crate::doctor::evidence::failover::Failover;
    use crate::doctor::evidence::rules::{NatKind, NatRule};
    use crate::doctor::evidence::survey::nat::KnownNat;
    use crate::doctor::finding::Fix;
    use crate::doctor::made_up::{MadeUpHost, count, destination_nat, findings, source_nat};

    /// A host with rules to these addresses, an address of its own, and these entries.
    fn host(rules: &[(NatKind, &str)], entries: &[Flow]) -> Evidence {
        let rule = |(kind, address): &(NatKind, &str)| {
            let (mut rule, address) = (NatRule::new(*kind, ""), address.parse().unwrap());
            rule.add_addresses(address, address);
            rule
        };
        let rules = Rules { nat: rules.iter().map(rule).collect(), ..Rules::default() };
        let addresses = Addresses {
            local: ["192.0.2.1".parse().unwrap()].into(),
            unanswered: ["10.0.0.7".parse().unwrap()].into(),
        };
        let mut survey = Survey::beside(KnownNat::of(Some(&rules), Some(&addresses)), None);
        entries.iter().for_each(|entry| count(&mut survey, entry));
        let mut evidence = MadeUpHost::new().evidence();
        (evidence.survey, evidence.rules, evidence.addresses) = (Ok(survey), Ok(rules), Ok(addresses));
        (evidence.hidden_users, evidence.failover) = (Ok(Vec::new()), Ok(Failover::default()));
        evidence
    }

    /// An entry to a target, with packets in both directions.
    fn to(target: &str, sent: u64, replies: u64) -> Flow {
        let mut entry = destination_nat(Protocol::Udp, "198.51.100.9:4000", "192.0.2.1:514", target);
        entry.status.set(Status::SeenReply, replies > 0);
        let counters = |packets| Some(Counters { packets, bytes: packets * 100 });
        (entry.counters_orig, entry.counters_reply) = (counters(sent), counters(replies));
        entry
    }

    const RULES: [(NatKind, &str); 2] = [(NatKind::Dnat, "10.0.0.8"), (NatKind::Snat, "192.0.2.5")];

    #[test]
    fn clients_that_send_to_a_target_of_an_earlier_rule_are_found() {
        let entries =
            [to("10.0.0.7:514", 90, 0), to("10.0.0.7:514", 5, 0), to("10.0.0.7:514", 9, 9), to("10.0.0.8:514", 90, 0)];
        let found = findings(run(&host(&RULES, &entries)));
        assert_eq!(found.len(), 1, "{found:?}");
        assert_eq!(found[0].title, "2 udp entries send packets to 10.0.0.7:514, which no DNAT rule leads to any more");
        assert_eq!(found[0].severity, Severity::Warning);
        assert_eq!(
            found[0].evidence,
            [
                "1 more have replies: the old target still serves them, they are left alone",
                "10.0.0.7 does not answer ARP: it is gone"
            ]
        );
        let flush = "ctnl flush 'proto udp and nat-dst 10.0.0.7 and not dst 10.0.0.7 and reply-sport 514 and not expected \
                     and unreplied'";
        assert_eq!(found[0].fixes[1], Fix::Command(flush.to_owned()));
    }

    #[test]
    fn what_had_replies_long_ago_is_found_by_its_counters() {
        let found = findings(run(&host(&RULES, &[to("10.0.0.7:514", 1000, 3)])));
        assert_eq!(found[0].evidence[0], "1 have one reply in a hundred packets at most");
        let Fix::Command(flush) = &found[0].fixes[1] else { unreachable!() };
        assert!(flush.ends_with("and not expected'"), "{flush}");
    }

    #[test]
    fn entries_that_a_rule_or_a_helper_explains_or_that_a_target_serves_are_not_found() {
        let mut expected = to("10.0.0.7:514", 90, 0);
        expected.status |= Status::Expected;
        let mut to_itself = to("192.0.2.1:5140", 90, 0);
        to_itself.orig.dst = "192.0.2.1".parse().unwrap();
        let healthy =
            [to("10.0.0.8:514", 90, 0), to("10.0.0.7:514", 9, 9), to("10.0.0.7:514", 1, 0), expected, to_itself];
        assert_eq!(run(&host(&RULES, &healthy)), Outcome::NOTHING);
        let nat = |nat| source_nat(Protocol::Udp, "10.0.0.2:4000", "198.51.100.9:53", nat);
        let of_rule_and_host = [nat("192.0.2.5:4000"), nat("192.0.2.1:4000")];
        assert_eq!(run(&host(&RULES, &of_rule_and_host)), Outcome::NOTHING);
    }

    #[test]
    fn sources_that_become_an_address_that_is_gone_are_found() {
        let entry = source_nat(Protocol::Udp, "10.0.0.2:4000", "198.51.100.9:53", "192.0.2.77:4000");
        let found = findings(run(&host(&RULES, &[entry])));
        assert_eq!(
            found[0].title,
            "1 entries map their source to 192.0.2.77, which neither this host nor a rule has any more"
        );
        let flush = "ctnl flush 'nat-src 192.0.2.77 and not src 192.0.2.77 and not expected'";
        assert_eq!(found[0].fixes[1], Fix::Command(flush.to_owned()));
    }

    #[test]
    fn entries_of_another_router_are_a_note_and_are_not_to_be_deleted() {
        let vip = source_nat(Protocol::Udp, "10.0.0.2:4000", "198.51.100.9:53", "192.0.2.77:4000");
        let mut evidence = host(&RULES, &[vip, to("10.0.0.7:514", 90, 0)]);
        let judged = |evidence: &Evidence| {
            let found = findings(run(evidence));
            let deletes = |finding: &Finding| {
                finding.fixes.iter().any(|fix| matches!(fix, Fix::Command(line) if line.contains("flush")))
            };
            found.iter().map(|finding| (finding.severity, deletes(finding))).collect::<Vec<_>>()
        };
        let (stale, copied) = ((Severity::Warning, true), (Severity::Note, false));
        assert_eq!(judged(&evidence), [stale, stale]);
        // The address of the active router; a target that is gone is gone for both.
        let movers = vec!["keepalived (pid 9)".to_owned()];
        let keepalived = Failover { movers, addresses: ["192.0.2.77".parse().unwrap()].into(), ..Failover::default() };
        evidence.failover = Ok(keepalived.clone());
        assert_eq!(judged(&evidence), [stale, copied]);
        let why = "192.0.2.77 moves between hosts by keepalived (pid 9): another one has it now";
        assert!(findings(run(&evidence))[1].evidence.contains(&why.to_owned()));
        evidence.failover = Ok(Failover { addresses: ["192.0.2.78".parse().unwrap()].into(), ..keepalived });
        assert_eq!(judged(&evidence), [stale, copied], "its configuration may be in another file");
        let replicators = vec!["conntrackd (pid 7)".to_owned()];
        evidence.failover = Ok(Failover { replicators, ..Failover::default() });
        assert_eq!(judged(&evidence), [copied, copied]);
    }

    #[test]
    fn where_rules_are_not_known_nothing_is_called_stale() {
        let mut evidence = host(&RULES, &[to("10.0.0.7:514", 90, 0)]);
        evidence.hidden_users = Ok(vec!["Open vSwitch (openvswitch)"]);
        assert_eq!(findings(run(&evidence))[0].severity, Severity::Note);
        let unread = Rules { unread: vec!["nft failed".to_owned()], ..Rules::default() };
        let mut survey = Survey::beside(KnownNat::of(Some(&unread), evidence.addresses.as_ref().ok()), None);
        count(&mut survey, &to("10.0.0.7:514", 90, 0));
        (evidence.survey, evidence.rules) = (Ok(survey), Ok(unread));
        assert_eq!(run(&evidence), Outcome::CannotRun("not all NAT rules are known: nft failed".to_owned()));
    }
}
