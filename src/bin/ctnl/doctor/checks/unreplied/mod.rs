//! Floods, scans and dead targets: entries of which one side has not spoken, or whose handshake is not complete.

mod description;
mod pattern;
mod rules;
#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::indexing_slicing)]
mod tests;

use description::describe;
use pattern::Pattern;
use rules::{block, syn_flood, untracked};

use crate::doctor::check::{Check, Outcome};
use crate::doctor::evidence::survey::{Missing, Older, Unanswered};
use crate::doctor::evidence::{Evidence, Survey};
use crate::doctor::finding::{Finding, Severity};
use crate::term::console::percent;

pub const CHECK: Check = Check {
    name: "unreplied",
    about: "half-open and unreplied floods, told from stale connections",
    explanation: "\
Counts the entries of which only one side has spoken or whose handshake is not complete, by source, by destination and by
both. One kind is a note where it has at least 1000 entries and a tenth of the table, a warning where it fills a tenth of the
maximum or the table is half full, and critical where it fills half of the maximum. Many sources whose TCP handshakes with one
port are not complete are a warning in any table: that service is flooded or down. The counts show what it is:

SYN_RECV, many sources, one port      SYN flood with forged sources: SYN cookies on the server, SYNPROXY on a firewall
SYN_SENT, many sources, one port      the service does not answer: down, filtered, or flooded
SYN_SENT, one source, one address     a client of a dead target, or a scan of ports
SYN_SENT, one source, many addresses  a scan, or a worm
UDP unreplied, one source             one-way traffic (syslog, statistics, media), a dead server, or a scan
UDP unreplied, one destination        a flood, or a server that is down
TCP of which one side is seen         the other direction goes another way: asymmetric routing

Such entries are short-lived (SYN_SENT 2 min, SYN_RECV 1 min, UDP 30 s by default) and can be evicted, so they come back as
fast as they are flushed: mend the cause. Stale connections are the contrary: ESTABLISHED, ASSURED and idle for hours; `ctnl
flush --older` removes those (check entries), and hardly any of these.",
    run,
};

/// Fewer entries are no flood.
const MANY: u64 = 1_000;
/// In percent of the table; of the maximum, from which on one-way traffic is a warning.
const SHARE: u64 = 10;
/// In percent: of the maximum, from which on it is critical, or a warning where the whole table has it; of the entries of a
/// kind, from which on one source or one destination is the reason.
const HALF: u64 = 50;

fn run(evidence: &Evidence) -> Outcome {
    Outcome::of(|| {
        let survey = evidence.survey.as_ref().map_err(Clone::clone)?;
        let kinds = Missing::ALL.into_iter().filter_map(|missing| Some((missing, survey.unanswered.of(missing)?)));
        Ok(kinds.filter_map(|(missing, entries)| Kind { evidence, survey, missing, entries }.finding()).collect())
    })
}

/// The entries of which the same is missing.
struct Kind<'e> {
    evidence: &'e Evidence,
    survey: &'e Survey,
    missing: Missing,
    entries: &'e Unanswered,
}

impl Kind<'_> {
    fn finding(&self) -> Option<Finding> {
        let count = self.entries.entries();
        if count < MANY || count.saturating_mul(100) < self.survey.entries.saturating_mul(SHARE) {
            return None;
        }
        let pattern = Pattern::of(self.entries);
        let severity = self.severity(&pattern, count);
        let (title, consequence) = describe(self.missing, self.name(), &pattern, count);
        let finding = Finding::new(severity, title, consequence).evidence(format!(
            "{}: {count} of {} entries ({})",
            self.name(),
            self.survey.entries,
            self.share(count)
        ));
        let finding = self.ends().into_iter().fold(finding, Finding::evidence);
        let stale = self.survey.states.established(Older::Hour);
        let finding = finding
            .evidence(format!("beside them, established connections idle for 1h: {stale} ({})", self.share(stale)))
            .figure("entries", count)
            .figure("missing", self.json_name())
            .figure("pattern", pattern.name())
            .figure("sources", self.entries.sources.len())
            .figure("sources_are_all", self.entries.sources.is_exact());
        Some(self.with_fixes(finding, &pattern))
    }

    fn severity(&self, pattern: &Pattern, count: u64) -> Severity {
        let occupancy = self.evidence.occupancy.as_ref().ok();
        let max = occupancy.and_then(|occupancy| occupancy.after.max).map_or(0, u64::from);
        let fills = |share| max > 0 && count.saturating_mul(100) >= max.saturating_mul(share);
        let is_tight = fills(SHARE) || occupancy.is_some_and(|occupancy| occupancy.is_at(HALF));
        match () {
            () if fills(HALF) => Severity::Critical,
            () if is_tight || self.is_service_in_need(pattern) => Severity::Warning,
            () => Severity::Note,
        }
    }

    /// Whether a TCP service is flooded or does not answer, which hurts also where the table has space. Everything else may be as
    /// it should: one-way traffic, clients of a host that was taken down, a route back that is another one.
    fn is_service_in_need(&self, pattern: &Pattern) -> bool {
        let is_handshake = matches!(self.missing, Missing::SynAnswer | Missing::FinalAck);
        is_handshake && matches!(pattern, Pattern::ManySources(_))
    }

    fn share(&self, count: u64) -> String {
        percent(count, self.survey.entries)
    }

    fn name(&self) -> &'static str {
        match self.missing {
            Missing::SynAnswer => "tcp SYN_SENT",
            Missing::FinalAck => "tcp SYN_RECV",
            Missing::OtherSide => "tcp, one side seen",
            Missing::UdpReply => "udp UNREPLIED",
            Missing::Reply => "other protocols UNREPLIED",
        }
    }

    fn json_name(&self) -> &'static str {
        match self.missing {
            Missing::SynAnswer => "syn-answer",
            Missing::FinalAck => "final-ack",
            Missing::OtherSide => "other-side",
            Missing::UdpReply => "udp-reply",
            Missing::Reply => "reply",
        }
    }

    /// The expression that selects them.
    fn filter(&self) -> &'static str {
        match self.missing {
            Missing::SynAnswer => "tcp and state syn_sent",
            Missing::FinalAck => "tcp and state syn_recv",
            Missing::OtherSide => "tcp and unreplied and not state syn_sent",
            Missing::UdpReply => "udp and unreplied",
            Missing::Reply => "not tcp and not udp and unreplied",
        }
    }

    fn ends(&self) -> Vec<String> {
        let Unanswered { sources, destinations, .. } = self.entries;
        let count = |exact: bool, keys: usize| if exact { keys.to_string() } else { format!("more than {keys}") };
        let mut lines = Vec::new();
        if let Some((source, entries)) = sources.top(1).into_iter().next() {
            let all = count(sources.is_exact(), sources.len());
            lines.push(format!("from {all} sources, most from {source}: {entries}"));
        }
        if let Some((destination, entries)) = destinations.top(1).into_iter().next() {
            let all = count(destinations.is_exact(), destinations.len());
            lines.push(format!("to {all} destinations, most to {destination}: {entries}"));
        }
        lines
    }

    fn with_fixes(&self, finding: Finding, pattern: &Pattern) -> Finding {
        let filter = match pattern {
            Pattern::OneTarget(source, _) | Pattern::ManyPorts(source, _) | Pattern::ManyAddresses(source) => {
                format!("{} and src {source}", self.filter())
            }
            Pattern::ManySources(destination) => format!("{} and {}", self.filter(), destination.filter()),
            Pattern::Scattered => self.filter().to_owned(),
        };
        if self.missing == Missing::OtherSide {
            // Their next packet would make them again.
            return finding.command(self.evidence.command(&format!("list '{filter}'")));
        }
        let flush = self.evidence.command(&format!("flush '{filter}'"));
        let rules = match (self.missing, pattern) {
            (Missing::FinalAck, Pattern::ManySources(destination)) => {
                let [settings, rules] = syn_flood(destination);
                return finding.command(flush).text(settings).text(rules);
            }
            (Missing::UdpReply, Pattern::OneTarget(_, destination) | Pattern::ManySources(destination)) => {
                Some(untracked(destination))
            }
            (Missing::SynAnswer | Missing::UdpReply | Missing::Reply, _) => pattern.source().map(block),
            _ => None,
        };
        let finding = match rules {
            Some(rules) => finding.text(rules),
            None => finding,
        };
        finding.command(flush)
    }
}
