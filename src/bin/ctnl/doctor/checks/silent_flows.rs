//! Entries that send no events to those who listen.

use crate::doctor::check::{Check, Outcome};
use crate::doctor::evidence::{Evidence, Listener};
use crate::doctor::finding::{Finding, Severity};

pub const CHECK: Check = Check {
    name: "silent-flows",
    about: "whether entries are older than those who listen to events, and so send none",
    explanation: "\
Looks at nf_conntrack_events, at who listens to events in this namespace (/proc/net/netlink), and at
the times of creation of entries, where nf_conntrack_timestamp is on.

With nf_conntrack_events=2, the default of kernels since 5.19, an entry sends events only if
somebody listened when it was created, and this holds for its life. A program that starts to listen
later never sees the end of such an entry: its records and caches keep it for ever. An entry does
not show whether it sends events. So the number that is given is a bound: entries that are older
than the first listener of now, and those whose age is unknown, unless that listener was started in
the first five minutes after the boot. Those that an earlier listener has seen do send events.

With nf_conntrack_events=1 every entry that is created from then on sends events. `ctnl events`
compares its records with the table itself and reports the ends that the kernel does not, so it is
no reason for a finding; conntrackd, ulogd and others are.",
    run,
};

fn run(evidence: &Evidence) -> Outcome {
    Outcome::of(|| {
        let sysctls = evidence.sysctls.as_ref().map_err(Clone::clone)?;
        if sysctls.number("nf_conntrack_events") != Some(2) {
            return Ok(Vec::new());
        }
        let listeners = evidence.listeners.as_ref().map_err(Clone::clone)?;
        let survey = evidence.survey.as_ref().map_err(Clone::clone)?;
        let others: Vec<_> = listeners.known.iter().filter(|listener| listener.name != "ctnl").collect();
        if others.is_empty() && listeners.unknown == 0 {
            return Ok(Vec::new());
        }
        let (older, unknown) = match listeners.first_start() {
            // Few entries are left of the first minutes.
            Some(_) if listeners.since_boot() => (survey.starts.before, 0),
            Some(_) => (survey.starts.before, survey.starts.unknown),
            None => (0, survey.entries),
        };
        if older + unknown == 0 {
            return Ok(Vec::new());
        }
        Ok(vec![finding(evidence, &others, listeners.unknown, (older, unknown), survey.entries)])
    })
}

fn finding(
    evidence: &Evidence,
    others: &[&Listener],
    nameless: u64,
    (older, unknown): (u64, u64),
    all: u64,
) -> Finding {
    let severity = if older > 0 { Severity::Warning } else { Severity::Note };
    let mut finding = Finding::new(
        severity,
        format!("up to {} of {all} entries may send no events to those who listen", older + unknown),
        "An entry that was created while nobody listened sends no event for its life, so these programs never see it end",
    )
    .evidence("nf_conntrack_events is 2: an entry sends events if somebody listened when it was created");
    for listener in others {
        finding = finding.evidence(format!("{} (pid {}) listens", listener.name, listener.pid));
    }
    if nameless > 0 {
        finding = finding.evidence(format!("{nameless} sockets listen whose process is not found"));
    }
    if older > 0 {
        finding = finding.evidence(format!("{older} entries are older than the first listener"));
    }
    if unknown > 0 {
        finding = finding.evidence(format!("of {unknown} it is not known: nf_conntrack_timestamp was off"));
    }
    finding
        .command(evidence.tune_set("--events on"))
        .text("# then restart the programs that listen, or let them read the table again: conntrackd -R; ctnl events compares\n# with the table itself")
        .figure("older", older)
        .figure("unknown", unknown)
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::indexing_slicing)]
mod tests {
    use ctnl::model::{Flow, Protocol};

    use super::*;
    use crate::doctor::evidence::survey::nat::KnownNat;
    use crate::doctor::evidence::{Listeners, Survey};
    use crate::doctor::made_up::{MadeUpHost, count, findings, flow};

    const BOOT: u64 = 1_000_000_000_000_000;

    /// A host with a listener that was started an hour after the boot, and entries that were created at these times.
    fn host(name: &str, events: u64, starts: &[Option<u64>]) -> Evidence {
        host_since(name, events, BOOT + 3_600_000_000_000, starts)
    }

    fn host_since(name: &str, events: u64, start: u64, starts: &[Option<u64>]) -> Evidence {
        let known = vec![Listener { pid: 7, name: name.to_owned(), start: Some(start) }];
        let listeners = Listeners { known, boot: Some(BOOT), unknown: 0 };
        let mut survey = Survey::beside(KnownNat::default(), listeners.first_start());
        for start in starts {
            let entry = Flow { start: *start, ..flow(Protocol::Tcp, "10.0.0.1:9", "10.0.0.2:80") };
            count(&mut survey, &entry);
        }
        let mut host = MadeUpHost::new();
        host.sysctl("nf_conntrack_events", events);
        let mut evidence = host.evidence();
        (evidence.survey, evidence.listeners) = (Ok(survey), Ok(listeners));
        evidence
    }

    const OLD: Option<u64> = Some(BOOT + 60_000_000_000);
    const NEW: Option<u64> = Some(BOOT + 7_200_000_000_000);

    #[test]
    fn entries_that_are_older_than_the_listener_are_found() {
        let found = findings(run(&host("conntrackd", 2, &[OLD, OLD, NEW, None])));
        assert_eq!(found[0].title, "up to 3 of 4 entries may send no events to those who listen");
        assert_eq!(found[0].severity, Severity::Warning);
        assert_eq!(
            found[0].evidence[1..3],
            ["conntrackd (pid 7) listens", "2 entries are older than the first listener"]
        );
        assert_eq!(findings(run(&host("ulogd", 2, &[None])))[0].severity, Severity::Note);
        let mut evidence = host("conntrackd", 2, &[NEW]);
        evidence.listeners.as_mut().unwrap().unknown = 1;
        assert_eq!(findings(run(&evidence))[0].evidence[2], "1 sockets listen whose process is not found");
    }

    #[test]
    fn a_host_where_nobody_listens_or_every_entry_sends_events_is_healthy() {
        assert_eq!(run(&host("conntrackd", 2, &[NEW, NEW])), Outcome::NOTHING, "all are newer");
        assert_eq!(run(&host("conntrackd", 1, &[OLD])), Outcome::NOTHING);
        assert_eq!(run(&host("ctnl", 2, &[OLD, None])), Outcome::NOTHING, "reconciles itself");
        let mut evidence = host("conntrackd", 2, &[OLD, None]);
        evidence.listeners = Ok(Listeners::default());
        assert_eq!(run(&evidence), Outcome::NOTHING, "nobody listens");
        let since_boot = host_since("conntrackd", 2, BOOT + 30_000_000_000, &[OLD, None]);
        assert_eq!(run(&since_boot), Outcome::NOTHING, "it has listened since the boot");
    }

    #[test]
    fn entries_that_are_older_than_a_listener_of_the_first_minutes_are_found_too() {
        let soon = BOOT + 120_000_000_000;
        let found = findings(run(&host_since("conntrackd", 2, soon, &[OLD, NEW, None])));
        assert_eq!(found[0].title, "up to 1 of 3 entries may send no events to those who listen");
    }
}
