//! What is unknown because the kernel does not record it.

use crate::doctor::check::{Check, Outcome};
use crate::doctor::evidence::Evidence;
use crate::doctor::finding::{Finding, Severity};

pub const CHECK: Check = Check {
    name: "accounting",
    about: "whether the kernel counts packets, stamps entries and sends events",
    explanation: "\
Looks at nf_conntrack_acct, nf_conntrack_timestamp and nf_conntrack_events.

Without acct no entry has packets and bytes: --by and --sort know entries only, and --confirm-idle is less certain.
Without timestamp the age of an entry is unknown. Each holds for entries that are created from then on, and costs 16
to 32 bytes of an entry. With events at 0 nothing is sent to `ctnl events`, conntrackd and ulogd.",
    run,
};

/// A sysctl that is off, and what is unknown then.
struct Off {
    sysctl: &'static str,
    option: &'static str,
    severity: Severity,
    title: &'static str,
    consequence: &'static str,
}

const OFF: [Off; 3] = [
    Off {
        sysctl: "nf_conntrack_acct",
        option: "--acct on",
        severity: Severity::Note,
        title: "packets and bytes are not counted",
        consequence: "no command can sort or filter by packets and bytes, or show what an entry has carried",
    },
    Off {
        sysctl: "nf_conntrack_timestamp",
        option: "--timestamp on",
        severity: Severity::Note,
        title: "entries have no time of creation",
        consequence: "ages are unknown, so a filter by age matches nothing",
    },
    Off {
        sysctl: "nf_conntrack_events",
        option: "--events on",
        severity: Severity::Warning,
        title: "the kernel sends no events",
        consequence: "`ctnl events`, conntrackd and ulogd receive nothing of entries that are created now",
    },
];

fn run(evidence: &Evidence) -> Outcome {
    Outcome::of(|| {
        let sysctls = evidence.sysctls.as_ref().map_err(Clone::clone)?;
        let is_off = |off: &&Off| sysctls.number(off.sysctl) == Some(0);
        Ok(OFF.iter().filter(is_off).map(|off| finding(evidence, off)).collect())
    })
}

fn finding(evidence: &Evidence, off: &Off) -> Finding {
    Finding::new(off.severity, off.title, off.consequence)
        .evidence(format!("{} is 0", off.sysctl))
        .command(evidence.tune_set(off.option))
        .figure(off.sysctl, 0)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::doctor::finding::Fix;
    use crate::doctor::made_up::{MadeUpHost, findings};

    #[test]
    fn what_is_off_is_found_and_a_host_that_records_everything_is_healthy() {
        let mut host = MadeUpHost::new();
        for off in &OFF {
            host.sysctl(off.sysctl, 1);
        }
        assert_eq!(run(&host.evidence()), Outcome::NOTHING);
        host.sysctl("nf_conntrack_events", 2);
        assert_eq!(run(&host.evidence()), Outcome::NOTHING, "2 is the default of current kernels");
        for off in &OFF {
            let found = host.clone().sysctl(off.sysctl, 0).findings(run);
            let found: Vec<_> = found.iter().map(|finding| (&*finding.title, finding.severity)).collect();
            assert_eq!(found, [(off.title, off.severity)]);
        }
    }

    #[test]
    fn a_command_is_of_the_namespace_that_was_examined() {
        let mut host = MadeUpHost::new();
        let mut evidence = host.sysctl("nf_conntrack_acct", 0).evidence();
        let first = |evidence: &Evidence| findings(run(evidence)).first().unwrap().fixes.clone();
        assert_eq!(first(&evidence), [Fix::Command("ctnl tune set --acct on --persist".to_owned())]);
        // --persist is of the first namespace: `tune set` refuses both.
        evidence.netns_argument = Some("blue".to_owned());
        assert_eq!(first(&evidence), [Fix::Command("ctnl tune set --acct on --netns blue".to_owned())]);
    }

    #[test]
    fn a_host_whose_settings_cannot_be_read_is_not_called_healthy() {
        assert!(matches!(run(&MadeUpHost::new().evidence()), Outcome::CannotRun(_)));
    }
}
