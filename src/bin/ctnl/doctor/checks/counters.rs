//! The kernel's counters of trouble, over the window.

use crate::doctor::check::{Check, Outcome};
use crate::doctor::evidence::{CounterChange, Evidence, Window};
use crate::doctor::finding::{Finding, Severity};
use crate::host::table_memory::TableMemory;

pub const CHECK: Check = Check {
    name: "counters",
    about: "drop, early_drop, insert_failed and others that move now",
    explanation: "\
Reads the counters of `ctnl stats` (conntrack -S) twice, --watch apart. Only what moves in between is a finding: totals count
since the namespace was made, and 32 bits of them, so they stand beside it as evidence.

drop           packets dropped: the table is full, or no memory, or two packets with one tuple. Connections fail.
early_drop     entries that are not ASSURED evicted for new ones: the table was full in this window.
insert_failed  packets dropped whose entry lost a race, as with two DNS queries from one port, or found its chain too long.
chaintoolong   the same because of the chain: too few buckets for the entries, or addresses chosen to collide.
invalid        packets that fit no connection: one direction goes another way, or their entry was deleted or evicted.
search_restart, clash_resolve  repeated lookups, races that the kernel resolved: harmless, and worth knowing at high rates.

critical: drop in a full table. warning: chaintoolong or early_drop; drop or insert_failed once a second or more. A counter
that has moved before and not in a window of less than a minute is a note: --watch 1m measures longer.",
    run,
};

/// A counter, and what its movement means.
struct Row {
    name: &'static str,
    title: &'static str,
    consequence: &'static str,
    /// Changes a second from which on it is a finding; below, not even a note.
    shown_from: f64,
    /// Changes a second from which on it is a warning.
    warning_from: f64,
    fix: fn(&Evidence) -> Option<Suggested>,
}

/// What mends it.
enum Suggested {
    Command(String),
    Text(&'static str),
}

const NEVER: f64 = f64::INFINITY;

const ROWS: [Row; 7] = [
    Row {
        name: "drop",
        title: "the kernel drops packets of new connections",
        consequence: "Each is a packet that its sender has to send again, or a connection that fails. In a full table that is \
                      the reason; otherwise memory ran out, or two packets of one new flow came at the same time.",
        shown_from: 0.0,
        warning_from: 1.0,
        fix: |_| None,
    },
    Row {
        name: "chaintoolong",
        title: "hash chains are too long: new entries are not inserted",
        consequence: "The packet is dropped, and the connection fails, even though the table has room.",
        shown_from: 0.0,
        warning_from: 0.0,
        fix: more_buckets,
    },
    Row {
        name: "early_drop",
        title: "the kernel evicts entries for new ones: the table was full in this window",
        consequence: "Evicted are connections that are not established yet and UDP that has hardly begun: they fail, or begin \
                      anew. Where there is nothing to evict, packets are dropped.",
        shown_from: 0.0,
        warning_from: 0.0,
        fix: |_| None,
    },
    Row {
        name: "insert_failed",
        title: "packets are dropped because another packet of the same flow came first",
        consequence: "The lost packet has to be sent again: a DNS client waits 5 s for that. Typical are two queries at once \
                      from one port (A and AAAA), and NAT that gives two flows the same port.",
        shown_from: 0.0,
        warning_from: 1.0,
        fix: |_| Some(Suggested::Text(PARALLEL_QUERIES)),
    },
    Row {
        name: "invalid",
        title: "many packets fit no connection (INVALID)",
        consequence: "Rules that drop INVALID packets drop them, and NAT does not translate them. Usual reasons: only one \
                      direction passes this host, or their entries were deleted or evicted.",
        shown_from: 10.0,
        warning_from: NEVER,
        fix: |_| Some(Suggested::Text(LOG_INVALID)),
    },
    Row {
        name: "search_restart",
        title: "lookups are repeated: entries move between chains all the time",
        consequence: "Harmless but for the processor time. More buckets shorten the chains.",
        shown_from: 1_000.0,
        warning_from: NEVER,
        fix: |_| None,
    },
    Row {
        name: "clash_resolve",
        title: "packets of the same new flow often come at once",
        consequence: "The kernel has kept both packets, so nothing is lost. Where it cannot, insert_failed and drop count it.",
        shown_from: 10.0,
        warning_from: NEVER,
        fix: |_| None,
    },
];

const PARALLEL_QUERIES: &str = "\
# On clients with glibc, in /etc/resolv.conf: A and AAAA from two ports.
options single-request-reopen
# With NAT: a random port for each flow, instead of `masquerade` alone.
masquerade fully-random";

const LOG_INVALID: &str = "\
# Logs each such packet with its reason (255: of all protocols); 0 ends it.
sysctl -w net.netfilter.nf_conntrack_log_invalid=255";

/// A window of so many seconds is long enough to call a counter still.
const LONG_WINDOW: f64 = 60.0;

/// Counters whose movement is a fault.
const FAULTS: [&str; 4] = ["drop", "early_drop", "insert_failed", "chaintoolong"];

fn run(evidence: &Evidence) -> Outcome {
    Outcome::of(|| {
        let window = evidence.window.as_ref().map_err(Clone::clone)?;
        let mut findings: Vec<_> = ROWS.iter().filter_map(|row| finding(row, window, evidence)).collect();
        if FAULTS.iter().all(|name| window.change(name) == 0) {
            findings.extend(too_short_to_tell(window, evidence));
        }
        Ok(findings)
    })
}

fn finding(row: &Row, window: &Window, evidence: &Evidence) -> Option<Finding> {
    let counter = window.counter(row.name).filter(|counter| counter.change > 0)?;
    let rate = window.per_second(counter.change);
    if rate < row.shown_from {
        return None;
    }
    let severity = match rate {
        _ if row.name == "drop" && is_full(evidence) => Severity::Critical,
        rate if rate >= row.warning_from => Severity::Warning,
        _ => Severity::Note,
    };
    let finding = Finding::new(severity, row.title, row.consequence)
        .evidence(line(counter, window))
        .figure(row.name, counter.change)
        .figure("per_second", rate)
        .figure("total", counter.total);
    let finding = with_share_of_long_chains(finding, row, window);
    Some(match (row.fix)(evidence) {
        Some(Suggested::Command(line)) => finding.command(line),
        Some(Suggested::Text(lines)) => finding.text(lines),
        None => finding,
    })
}

/// `__nf_conntrack_confirm` in net/netfilter/nf_conntrack_core.c counts a chain that is too long as both.
fn with_share_of_long_chains(finding: Finding, row: &Row, window: &Window) -> Finding {
    match window.change("chaintoolong") {
        chains if row.name == "insert_failed" && chains > 0 => {
            finding.evidence(format!("{chains} of them because of chains that are too long"))
        }
        _ => finding,
    }
}

fn line(counter: &CounterChange, window: &Window) -> String {
    let CounterChange { name, change, total } = counter;
    let rate = window.per_second(*change);
    format!("{name}: {change} in {:.1} s, {rate:.1} a second ({total} since the namespace was made)", window.seconds())
}

/// Full, or nearly: the kernel keeps evicting from 95 % on.
fn is_full(evidence: &Evidence) -> bool {
    let Ok(occupancy) = &evidence.occupancy else { return false };
    let peak = u64::from(occupancy.before.entries.max(occupancy.after.entries));
    let max = u64::from(occupancy.after.max.unwrap_or(0));
    max > 0 && peak * 100 >= max * 95
}

fn more_buckets(evidence: &Evidence) -> Option<Suggested> {
    let number = |name| evidence.sysctls.as_ref().ok()?.number(name);
    let (max, buckets) = (number("nf_conntrack_max")?, number("nf_conntrack_buckets")?);
    let recommended = TableMemory::read(&evidence.host).recommend(max, buckets, 0);
    let wanted = recommended.buckets.max(buckets.saturating_mul(2));
    Some(Suggested::Command(format!("ctnl tune set --buckets {wanted} --persist")))
}

fn too_short_to_tell(window: &Window, evidence: &Evidence) -> Option<Finding> {
    let moved: Vec<_> =
        FAULTS.iter().filter_map(|name| window.counter(name)).filter(|counter| counter.total > 0).collect();
    if moved.is_empty() || window.seconds() >= LONG_WINDOW {
        return None;
    }
    let names: Vec<_> = moved.iter().map(|counter| &*counter.name).collect();
    let title = format!("{} moved before, and not in these {:.1} s", names.join(", "), window.seconds());
    let consequence = "Whether that is long ago, or happens once a minute, a window this short does not show.";
    let finding = Finding::new(Severity::Note, title, consequence).command(evidence.command("doctor --watch 1m"));
    Some(moved.into_iter().fold(finding, |finding, counter| {
        finding
            .evidence(format!("{}: {} since the namespace was made", counter.name, counter.total))
            .figure(&counter.name, counter.total)
    }))
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::indexing_slicing)]
mod tests {
    use super::*;
    use crate::doctor::finding::Fix;
    use crate::doctor::made_up::MadeUpHost;
    use crate::doctor::made_up_kernel::MadeUpKernel;

    fn found(kernel: &MadeUpKernel) -> Vec<(Severity, String)> {
        let findings = MadeUpHost::new().running(kernel).findings(run);
        findings.into_iter().map(|finding| (finding.severity, finding.title)).collect()
    }

    #[test]
    fn each_counter_is_found_when_it_moves_and_a_still_one_is_not() {
        assert_eq!(found(&MadeUpKernel::new(1_000)), []);
        for row in &ROWS {
            // Over 2 s.
            let change = (2.0 * row.shown_from.max(1.0)) as u64;
            let found = found(MadeUpKernel::new(1_000).counter(row.name, change, change));
            let titles: Vec<_> = found.iter().map(|(_, title)| &**title).collect();
            assert_eq!(titles, [row.title], "{}", row.name);
            let expected = if row.warning_from <= 1.0 { Severity::Warning } else { Severity::Note };
            assert_eq!(found[0].0, expected, "{}", row.name);
        }
    }

    #[test]
    fn a_lost_race_now_and_then_is_a_note_and_a_harmless_counter_that_hardly_moves_is_nothing() {
        let mut kernel = MadeUpKernel::new(1_000);
        kernel.counter("insert_failed", 1, 1).counter("clash_resolve", 3, 3).counter("invalid", 5, 900);
        kernel.counter("found", 1_000_000, 1_000_000).counter("insert", 1_000, 1_000);
        let found = found(&kernel);
        assert_eq!(found.iter().map(|(severity, _)| *severity).collect::<Vec<_>>(), [Severity::Note]);
    }

    #[test]
    fn dropped_packets_are_critical_where_the_table_is_full() {
        let mut kernel = MadeUpKernel::new(1_000);
        kernel.counter("drop", 1, 1);
        assert_eq!(found(&kernel)[0].0, Severity::Note);
        assert_eq!(found(kernel.grows(960, 950))[0].0, Severity::Critical);
    }

    #[test]
    fn a_total_is_evidence_of_a_movement_and_alone_only_the_reason_to_measure_longer() {
        let mut kernel = MadeUpKernel::new(1_000);
        kernel.counter("drop", 4, 5_000).counter("early_drop", 0, 700);
        let finding = &MadeUpHost::new().running(&kernel).findings(run)[0];
        assert_eq!(finding.evidence, ["drop: 4 in 2.0 s, 2.0 a second (5000 since the namespace was made)"]);
        kernel.counter("drop", 0, 5_000);
        let expected = (Severity::Note, "drop, early_drop moved before, and not in these 2.0 s".to_owned());
        assert_eq!(found(&kernel), [expected]);
        assert_eq!(found(kernel.measured_for(60)), [], "a minute is long enough");
    }

    #[test]
    fn chains_that_are_too_long_need_more_buckets() {
        let mut kernel = MadeUpKernel::new(1_000_000);
        kernel.counter("chaintoolong", 3, 3).counter("insert_failed", 5, 5);
        let mut host = MadeUpHost::new();
        host.sysctl("nf_conntrack_max", 1_000_000).sysctl("nf_conntrack_buckets", 8_192).running(&kernel);
        let findings = host.findings(run);
        let buckets = TableMemory::read(&host.host()).round_buckets(1_000_000);
        let fix = Fix::Command(format!("ctnl tune set --buckets {buckets} --persist"));
        assert_eq!(findings[0].fixes, [fix]);
        assert_eq!(findings[1].evidence[1], "3 of them because of chains that are too long");
    }

    #[test]
    fn without_counters_the_check_cannot_run() {
        assert!(matches!(run(&MadeUpHost::new().evidence()), Outcome::CannotRun(_)));
    }
}
