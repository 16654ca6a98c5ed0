//! Who fills the table.

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::fmt::Display;
use std::hash::Hash;

use ctnl::group::FrequentItems;
use ctnl::model::Undecided;
use serde_json::{Value, json};

use crate::doctor::check::{Check, Outcome};
use crate::doctor::evidence::survey::Older;
use crate::doctor::evidence::{Evidence, Survey};
use crate::doctor::finding::{Finding, Severity};
use crate::term::console::percent;

pub const CHECK: Check = Check {
    name: "entries",
    about: "who fills the table, and what flushing idle connections frees",
    explanation: "\
Counts the entries of one dump: by protocol and state, by source, by destination and port of the first packet (before NAT), by
zone, and by idle time. Counters are limited to 1750 sources and as many destinations: with more of them, a count is
`at least` so many.

It is a note, to know what to do before the table is full, and a warning where half of a table that is half full are
established connections without a packet for a day: such entries are left when a client, a server or a firewall on the way
has vanished without a FIN, and stay for nf_conntrack_tcp_timeout_established (5 days by default).

Idle times are lower bounds that are certain, by the rules of `ctnl flush --older`: what is said to be freed is what
`ctnl flush --state established --older 12h --dry-run` prints at the same time. A connection that lives on has its entry
again with its next packet, unless rules or NAT need to see its beginning.

What mends it: the flush now; a lower timeout so that it does not come again (check timeouts); and for one source or one
service that has most entries: `ctnl list --src ADDRESS` shows them.",
    run,
};

/// A smaller table is not worth a note.
const FEW: u64 = 100;
/// Rows of each list.
const ROWS: usize = 3;
/// In percent: a warning where so much of the table is stale and so much of the maximum used.
const HALF: u64 = 50;
/// In percent of the entries: a flush that frees less is not suggested.
const WORTH_A_FLUSH: u64 = 10;

fn run(evidence: &Evidence) -> Outcome {
    Outcome::of(|| {
        let survey = evidence.survey.as_ref().map_err(Clone::clone)?;
        Ok(if survey.entries < FEW { Vec::new() } else { vec![finding(evidence, survey)] })
    })
}

fn finding(evidence: &Evidence, survey: &Survey) -> Finding {
    let stale = survey.states.established(Older::Day);
    let share = percent(stale, survey.entries);
    let finding = if is_stale(evidence, survey, stale) {
        let title = format!("{share} of the table are established connections without a packet for a day");
        let consequence = "They take the place of new connections, and most of them are of peers that are gone.";
        Finding::new(Severity::Warning, title, consequence)
    } else {
        let title = format!("what fills the table: {} entries", survey.entries);
        Finding::new(Severity::Note, title, "Nothing is wrong with that by itself.")
    };
    let finding = lines(survey).into_iter().fold(finding, Finding::evidence);
    let finding = with_flushes(finding, evidence, survey);
    with_figures(finding, survey)
}

fn is_stale(evidence: &Evidence, survey: &Survey, stale: u64) -> bool {
    let max = evidence.occupancy.as_ref().ok().and_then(|occupancy| occupancy.after.max).map_or(0, u64::from);
    let is_half_full = survey.entries.saturating_mul(100) >= max.saturating_mul(HALF);
    max > 0 && is_half_full && stale.saturating_mul(100) >= survey.entries.saturating_mul(HALF)
}

fn lines(survey: &Survey) -> Vec<String> {
    let states = survey.states.rows();
    let state = |name: String, entries| format!("{name} {entries} ({})", percent(entries, survey.entries));
    let shown = states.iter().take(2 * ROWS).map(|(name, row)| state(name.to_string(), row.entries));
    let rest = states.len().saturating_sub(2 * ROWS);
    let mut by_state = shown.collect::<Vec<_>>().join(", ");
    if rest > 0 {
        by_state += &format!(", and {rest} more");
    }
    let endpoints = &survey.endpoints;
    let mut lines = vec![
        format!("state: {by_state}"),
        top("source", &endpoints.sources, survey.entries),
        top("destination", &endpoints.destinations, survey.entries),
    ];
    if !endpoints.zones.is_empty() {
        lines.push(top("zone", &endpoints.zones, survey.entries));
    }
    lines.push(idle_line(survey));
    lines.extend(survey.incomplete.map(|why| format!("not all entries were counted: {why}")));
    lines
}

/// As in `source: 10.0.0.1 120 (60.0 %), 10.0.0.2 80 (40.0 %); 2 of them`.
fn top<K: Hash + Ord + Clone + Display>(what: &str, items: &FrequentItems<K>, entries: u64) -> String {
    let bound = if items.is_exact() { "" } else { "at least " };
    let shown =
        items.top(ROWS).into_iter().map(|(key, count)| format!("{key} {bound}{count} ({})", percent(count, entries)));
    let shown = shown.collect::<Vec<_>>().join(", ");
    match (shown.is_empty(), items.is_exact()) {
        (true, _) => format!("{what}: none of them has many"),
        (false, true) => format!("{what}: {shown}; {} in all", items.len()),
        (false, false) => format!("{what}: {shown}; more than {} in all", items.len()),
    }
}

fn idle_line(survey: &Survey) -> String {
    let idle = &survey.idle;
    let named = idle.all.named().map(|(name, count)| format!("{name} {count}"));
    let unknown =
        (idle.all.unknown() > 0).then(|| format!("unknown {} ({})", idle.all.unknown(), reasons(&idle.unknown)));
    let mut line = format!("idle: {}", named.chain(unknown).collect::<Vec<_>>().join(", "));
    let longer: u64 = idle.lower_bounds.values().sum();
    if longer > 0 {
        line += &format!("; {longer} of them perhaps longer ({})", reasons(&idle.lower_bounds));
    }
    line
}

/// The reasons with most entries, as `ctnl flush` names them.
fn reasons(entries: &BTreeMap<Undecided, u64>) -> String {
    let mut reasons: Vec<_> = entries.iter().collect();
    reasons.sort_by_key(|(why, count)| (Reverse(**count), **why));
    let shown: Vec<_> = reasons.iter().take(ROWS).map(|(why, count)| format!("{why} {count}")).collect();
    shown.join(", ")
}

/// What each idle time frees, and the command for the longest that is worth it.
fn with_flushes(finding: Finding, evidence: &Evidence, survey: &Survey) -> Finding {
    let freed = Older::ALL.map(|older| (older, survey.states.established(older)));
    let shown = freed.map(|(older, count)| format!("{} idle for {}", count, older.argument()));
    let finding = finding.evidence(format!("ctnl flush --state established frees: {}", shown.join(", ")));
    let is_worth_it = |count: u64| count.saturating_mul(100) >= survey.entries.saturating_mul(WORTH_A_FLUSH);
    match freed.into_iter().rfind(|(_, count)| is_worth_it(*count)) {
        Some((older, _)) => {
            let flush = evidence.command(&format!("flush --state established --older {}", older.argument()));
            evidence.idle_copies().into_iter().fold(finding, Finding::evidence).command(flush)
        }
        None => finding,
    }
}

fn with_figures(finding: Finding, survey: &Survey) -> Finding {
    let states = survey.states.rows().into_iter().map(|(name, row)| {
        let (entries, evictable) = (row.entries, row.evictable);
        json!({ "state": name.to_string(), "entries": entries, "evictable": evictable, "idle": row.idle.json() })
    });
    let freed = Older::ALL.map(|older| (older.argument().to_owned(), survey.states.established(older).into()));
    finding
        .figure("entries", survey.entries)
        .figure("evictable", survey.evictable)
        .figure("states", states.collect::<Vec<_>>())
        .figure("sources", top_figures(&survey.endpoints.sources))
        .figure("destinations", top_figures(&survey.endpoints.destinations))
        .figure("zones", top_figures(&survey.endpoints.zones))
        .figure("idle", survey.idle.all.json())
        .figure("idle_unknown", by_reason(&survey.idle.unknown))
        .figure("idle_lower_bounds", by_reason(&survey.idle.lower_bounds))
        .figure("freed", Value::Object(freed.into_iter().collect()))
}

fn by_reason(entries: &BTreeMap<Undecided, u64>) -> Value {
    Value::Object(entries.iter().map(|(why, count)| (why.name().to_owned(), (*count).into())).collect())
}

/// Those with most entries, and by how much a count may be too small.
fn top_figures<K: Hash + Ord + Clone + Display>(items: &FrequentItems<K>) -> Value {
    let top = items.top(10).into_iter().map(|(key, count)| json!({ "key": key.to_string(), "entries": count }));
    json!({ "top": top.collect::<Vec<_>>(), "error": items.error() })
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::indexing_slicing)]
mod tests {
    use ctnl::age::Idle;
    use ctnl::model::TcpState;

    use super::*;
    use crate::doctor::finding::Fix;
    use crate::doctor::made_up::MadeUpHost;
    use crate::doctor::made_up_kernel::{MadeUpKernel, address, idle, tcp, udp};

    fn one(kernel: &MadeUpKernel) -> Finding {
        MadeUpHost::new().running(kernel).findings(run).into_iter().next().unwrap()
    }

    #[test]
    fn a_table_with_few_entries_is_not_worth_a_note() {
        let mut kernel = MadeUpKernel::new(1_000);
        assert_eq!(MadeUpHost::new().running(&kernel).findings(run), []);
        kernel.entries(99, |number| (udp(address(number), address(9), 53), idle(5)));
        assert_eq!(MadeUpHost::new().running(&kernel).findings(run), []);
    }

    #[test]
    fn who_fills_the_table_is_counted_by_state_source_destination_and_idle_time() {
        let mut kernel = MadeUpKernel::new(10_000);
        kernel.entries(300, |number| {
            let flow = tcp(TcpState::Established, address(number / 200), address(900), 443);
            (flow, idle(if number < 100 { 90_000 } else { 4_000 }))
        });
        kernel.entries(100, |number| (udp(address(number), address(901), 53), idle(5)));
        let finding = one(&kernel);
        let expected = [
            "state: tcp ESTABLISHED 300 (75.0 %), udp UNREPLIED 100 (25.0 %)",
            "source: 10.0.0.0 201 (50.3 %), 10.0.0.1 101 (25.3 %), 10.0.0.2 1 (0.3 %); 100 in all",
            "destination: 10.0.3.132:443/tcp 300 (75.0 %), 10.0.3.133:53/udp 100 (25.0 %); 2 in all",
            "idle: under 1 min 100, 1 to 12 h 200, 1 d or longer 100",
            "ctnl flush --state established frees: 300 idle for 1h, 100 idle for 12h, 100 idle for 1d",
        ];
        assert_eq!((finding.severity, finding.evidence), (Severity::Note, expected.map(String::from).to_vec()));
        assert_eq!(finding.fixes, [Fix::Command("ctnl flush --state established --older 1d".to_owned())]);
        assert_eq!(finding.figures["freed"], json!({ "1h": 300, "12h": 100, "1d": 100 }));
        assert_eq!(finding.figures["sources"]["top"][0], json!({ "key": "10.0.0.0", "entries": 201 }));
    }

    #[test]
    fn a_flush_of_idle_connections_has_a_word_on_copies_where_conntrackd_runs() {
        let mut kernel = MadeUpKernel::new(10_000);
        kernel.entries(300, |number| (tcp(TcpState::Established, address(number), address(9), 443), idle(90_000)));
        let mut evidence = MadeUpHost::new().running(&kernel).evidence();
        let has_word = |evidence: &Evidence| format!("{:?}", run(evidence)).contains("idle on a standby one");
        assert!(!has_word(&evidence));
        let replicators = vec!["conntrackd (pid 7)".to_owned()];
        evidence.failover = Ok(crate::doctor::evidence::failover::Failover { replicators, ..Default::default() });
        assert!(has_word(&evidence));
    }

    #[test]
    fn stale_connections_are_a_warning_where_they_are_half_of_a_table_that_is_half_full() {
        let severity = |max, stale| {
            let mut kernel = MadeUpKernel::new(max);
            kernel.entries(1_000, |number| {
                let flow = tcp(TcpState::Established, address(number), address(900), 443);
                (flow, idle(if number < stale { 86_400 } else { 86_399 }))
            });
            one(&kernel).severity
        };
        assert_eq!(severity(2_000, 500), Severity::Warning);
        assert_eq!(severity(2_000, 499), Severity::Note);
        assert_eq!(severity(2_001, 500), Severity::Note);
        assert_eq!(severity(0, 1_000), Severity::Note, "no limit");
    }

    #[test]
    fn with_more_sources_than_counters_a_count_is_a_lower_bound_and_a_large_one_is_there() {
        let mut kernel = MadeUpKernel::new(1_000_000);
        kernel.entries(20_000, |number| {
            (udp(address(if number % 2 == 0 { 7 } else { 1_000 + number }), address(9), 53), idle(5))
        });
        let finding = one(&kernel);
        let line = &finding.evidence[1];
        assert!(line.starts_with("source: 10.0.0.7 at least 99") && line.contains("; more than "), "{line}");
        assert!(finding.figures["sources"]["error"].as_u64().unwrap() > 0);
    }

    #[test]
    fn why_an_idle_time_is_not_certain_is_named() {
        let mut kernel = MadeUpKernel::new(1_000);
        kernel.entries(100, |number| {
            let flow = tcp(TcpState::Established, address(number), address(9), 443);
            match number % 4 {
                0 => (flow, Idle::Unknown(Undecided::Offloaded)),
                1 => (flow, Idle::AtLeast(5, Undecided::AmbiguousTimeout)),
                _ => (flow, idle(5)),
            }
        });
        let line = &one(&kernel).evidence[3];
        let expected =
            "idle: under 1 min 75, unknown 25 (offloaded 25); 25 of them perhaps longer (ambiguous-timeout 25)";
        assert_eq!(line, expected);
    }

    #[test]
    fn a_dump_that_ended_early_says_so() {
        let mut kernel = MadeUpKernel::new(1_000);
        kernel.entries(100, |number| (udp(address(number), address(9), 53), idle(5)));
        kernel.incomplete("interrupted before the end of the table");
        let evidence = one(&kernel).evidence.join("\n");
        assert!(evidence.contains("not all entries were counted: interrupted"), "{evidence}");
    }
}
