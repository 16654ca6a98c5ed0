//! The number of entries against the maximum.

mod namespaces;
#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::indexing_slicing)]
mod tests;

use ctnl::units::Seconds;
use namespaces::{other_namespace, unread_namespaces};

use crate::doctor::check::{Check, Outcome};
use crate::doctor::evidence::survey::Older;
use crate::doctor::evidence::{Evidence, OccupancyChange};
use crate::doctor::finding::{Finding, Severity};
use crate::host::table_memory::TableMemory;
use crate::term::console::percent;

pub const CHECK: Check = Check {
    name: "fullness",
    about: "entries against the maximum, what can be evicted, time to full",
    explanation: "\
Compares the entries with nf_conntrack_max, in this network namespace and, as root, in each other one: the maximum is one
number, and each namespace may have as many entries. 0 is no limit.

In a full table the kernel looks at 8 hash buckets for an entry that is not ASSURED, and evicts it for the new one. Where
those 8 have none, the packet is dropped, and the new connection fails: that happens even if most of the table could be
evicted. Connections that have an entry go on. From 95 % on, a job in the background removes entries that are not ASSURED or
are closing, some seconds later than a flood needs them.

The growth is that of the window (--watch). In 2 s it is mostly noise: a growth below three times the square root of the
entries is not reported, and what expired is counted until the kernel has collected it, up to a minute later. So one that
would fill the table within the hour is critical where the window is a minute or longer, or the table is 80 % full.

critical: full, or full within the hour. warning: 80 % full, or half full and growing towards that.

What mends it: `ctnl flush` of connections that are idle for certain, which takes a second; then a larger maximum, as far as
memory allows, which `ctnl tune set --persist` writes so that it survives a reboot; then what fills the table (checks entries
and unreplied).",
    run,
};

/// From this share of the maximum on it is a warning, in percent.
const NEARLY_FULL: u64 = 80;
/// From this share on, the kernel removes entries by itself (`nf_conntrack_max95` in
/// net/netfilter/nf_conntrack_core.c), so a table that drops packets may have a little less than the maximum.
const EVICTING: u64 = 95;
/// A growth towards full counts from this share on where the window is short.
const HALF_FULL: u64 = 50;
/// Full within so many seconds is critical.
const SOON: f64 = 3_600.0;
/// A window of so many seconds also sees what the kernel collects.
const LONG_WINDOW: f64 = 60.0;
/// A flush is suggested where it frees so much of the table, in percent.
const WORTH_A_FLUSH: u64 = 1;

fn run(evidence: &Evidence) -> Outcome {
    Outcome::of(|| {
        let occupancy = evidence.occupancy.as_ref().map_err(Clone::clone)?;
        let max = occupancy.after.max.map(u64::from).ok_or("the kernel reports no nf_conntrack_max")?;
        let mut findings = Vec::new();
        if max == 0 {
            findings.push(unlimited(occupancy));
        } else {
            findings.extend(Fullness::new(evidence, occupancy, max).finding());
        }
        findings.extend(evidence.namespaces.iter().flat_map(|tables| &tables.counted).filter_map(other_namespace));
        findings.extend(unread_namespaces(evidence));
        Ok(findings)
    })
}

fn unlimited(occupancy: &OccupancyChange) -> Finding {
    Finding::new(
        Severity::Note,
        "the table has no limit (nf_conntrack_max is 0)",
        "A flood of new connections takes kernel memory until that runs out.",
    )
    .evidence(format!("{} entries", occupancy.entries()))
    .figure("entries", occupancy.entries())
    .figure("max", 0)
}

/// The table of the namespace that was examined.
struct Fullness<'e> {
    evidence: &'e Evidence,
    occupancy: &'e OccupancyChange,
    entries: u64,
    /// The larger one of both samples.
    peak: u64,
    max: u64,
    growth: Option<Growth>,
    seconds: f64,
}

/// A growth that is more than noise.
struct Growth {
    per_second: f64,
    seconds_to_full: f64,
}

/// How full the table is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Level {
    Full,
    FullWithinTheHour,
    NearlyFull,
    Filling,
    MayBeFilling,
}

impl<'e> Fullness<'e> {
    fn new(evidence: &'e Evidence, occupancy: &'e OccupancyChange, max: u64) -> Self {
        let entries = occupancy.entries();
        let peak = occupancy.peak();
        let seconds = occupancy.span.as_millis_f64() / 1000.0;
        let growth = growth(occupancy, max, seconds);
        Fullness { evidence, occupancy, entries, peak, max, growth, seconds }
    }

    fn level(&self) -> Option<Level> {
        let within_the_hour = self.growth.as_ref().is_some_and(|growth| growth.seconds_to_full <= SOON);
        match () {
            () if self.is_full() => Some(Level::Full),
            () if within_the_hour && (self.is_at(NEARLY_FULL) || self.seconds >= LONG_WINDOW) => {
                Some(Level::FullWithinTheHour)
            }
            () if self.is_at(NEARLY_FULL) => Some(Level::NearlyFull),
            () if within_the_hour && self.is_at(HALF_FULL) => Some(Level::Filling),
            () if within_the_hour => Some(Level::MayBeFilling),
            () => None,
        }
    }

    /// A table that drops or evicts may have a little less than the maximum at the time of the sample.
    fn is_full(&self) -> bool {
        self.peak >= self.max || (self.is_at(EVICTING) && self.lost().iter().any(|(_, change)| *change > 0))
    }

    fn is_at(&self, share: u64) -> bool {
        self.peak.saturating_mul(100) >= self.max.saturating_mul(share)
    }

    fn lost(&self) -> Vec<(&'static str, u64)> {
        let window = self.evidence.window.as_ref().ok();
        ["drop", "early_drop"].map(|name| (name, window.map_or(0, |window| window.change(name)))).to_vec()
    }

    fn finding(&self) -> Option<Finding> {
        let level = self.level()?;
        let finding = Finding::new(level.severity(), self.title(level), level.consequence());
        let finding = self.occupancy_lines().into_iter().fold(finding, Finding::evidence);
        let finding = match level {
            Level::MayBeFilling => finding.command(self.evidence.command("doctor --watch 2m")),
            _ => self.with_fixes(finding),
        };
        let finding = finding.figure("entries", self.entries).figure("max", self.max);
        let finding = finding.figure("growth", self.occupancy.growth()).figure("seconds", self.seconds);
        let to_full = self.growth.as_ref().map(|growth| growth.seconds_to_full.round());
        Some(finding.figure("seconds_to_full", to_full))
    }

    fn title(&self, level: Level) -> String {
        let (entries, max, share) = (self.entries, self.max, percent(self.entries, self.max));
        let to_full = self.growth.as_ref().map_or_else(String::new, |growth| about(growth.seconds_to_full));
        match level {
            Level::Full => format!("the table is full: {entries} of {max} entries"),
            Level::FullWithinTheHour => format!("the table is {share} full, and full in {to_full} at this rate"),
            Level::NearlyFull => format!("the table is {share} full"),
            Level::Filling => format!("the table is {share} full, and may be full in {to_full}"),
            Level::MayBeFilling => format!("the table grows: it may be full in {to_full}"),
        }
    }

    fn occupancy_lines(&self) -> Vec<String> {
        let Fullness { entries, max, seconds, .. } = self;
        let mut lines = vec![format!("{entries} of {max} entries: {}", percent(*entries, *max))];
        lines.push(match &self.growth {
            Some(Growth { per_second, .. }) => {
                format!("{:+} in {seconds:.1} s: {per_second:.0} a second", self.occupancy.growth())
            }
            None => format!("{:+} in {seconds:.1} s, which is no more than noise", self.occupancy.growth()),
        });
        if let Ok(survey) = &self.evidence.survey {
            lines.push(format!(
                "evictable (not ASSURED): {} of {} entries: {}",
                survey.evictable,
                survey.entries,
                percent(survey.evictable, survey.entries)
            ));
            lines.extend(survey.incomplete.map(|why| format!("not all of them were read: {why}")));
        }
        let lost: Vec<_> = self.lost().iter().filter(|(_, n)| *n > 0).map(|(name, n)| format!("{name} {n}")).collect();
        if !lost.is_empty() {
            lines.push(format!("in {seconds:.1} s: {}", lost.join(", ")));
        }
        lines
    }

    /// First what frees entries now, then the maximum.
    fn with_fixes(&self, finding: Finding) -> Finding {
        let finding = match self.flush() {
            Some((older, freed)) => {
                let flush = format!("flush --state established --older {}", older.argument());
                let finding = self.evidence.idle_copies().into_iter().fold(finding, Finding::evidence);
                finding
                    .evidence(format!("ctnl {flush} frees {freed} entries: {}", percent(freed, self.entries)))
                    .figure("freed", freed)
                    .command(self.evidence.command(&flush))
            }
            None => finding,
        };
        let buckets = self.evidence.sysctls.as_ref().ok().and_then(|sysctls| sysctls.number("nf_conntrack_buckets"));
        let recommended = TableMemory::read(&self.evidence.host).recommend(self.max, buckets.unwrap_or(0), self.peak);
        if recommended.max > self.max {
            return finding
                .evidence(format!("maximum that memory allows: {} ({})", recommended.max, recommended.why_max))
                .command(format!("ctnl tune set --max {} --persist", recommended.max));
        }
        if recommended.max < self.max {
            return finding
                .evidence(format!("the memory of this host allows no larger maximum: {}", recommended.why_max));
        }
        finding
    }

    /// The flush with the longest idle time that frees enough to matter.
    fn flush(&self) -> Option<(Older, u64)> {
        let survey = self.evidence.survey.as_ref().ok()?;
        let freed = |older| survey.states.established(older);
        let is_worth_it = |freed: u64| freed.saturating_mul(100) >= self.entries.saturating_mul(WORTH_A_FLUSH);
        let older = [Older::HalfDay, Older::Hour].into_iter().find(|older| is_worth_it(freed(*older)))?;
        Some((older, freed(older))).filter(|(_, freed)| *freed > 0)
    }
}

/// `None` for what may be noise: the number of entries of a table that does not grow varies by its square root.
fn growth(occupancy: &OccupancyChange, max: u64, seconds: f64) -> Option<Growth> {
    let (entries, growth) = (occupancy.entries(), occupancy.growth());
    let noise = 3.0 * (entries as f64).sqrt() + 10.0;
    if seconds <= 0.0 || (growth as f64) < noise {
        return None;
    }
    let per_second = growth as f64 / seconds;
    Some(Growth { per_second, seconds_to_full: max.saturating_sub(entries) as f64 / per_second })
}

/// A time to read: seconds below two minutes, then minutes.
fn about(seconds: f64) -> String {
    let seconds = if seconds.is_finite() { seconds.max(1.0) as u64 } else { u64::MAX };
    Seconds(if seconds < 120 { seconds } else { seconds / 60 * 60 }).to_string()
}

impl Level {
    fn severity(self) -> Severity {
        match self {
            Level::Full | Level::FullWithinTheHour => Severity::Critical,
            Level::NearlyFull | Level::Filling => Severity::Warning,
            Level::MayBeFilling => Severity::Note,
        }
    }

    fn consequence(self) -> &'static str {
        match self {
            Level::Full => {
                "New connections fail: for each one the kernel looks at 8 hash buckets for an entry to evict, and drops \
                 the packet where all of theirs are ASSURED, however many others could be evicted. Connections that \
                 have an entry go on."
            }
            Level::MayBeFilling => {
                "A short window also counts entries that have expired and are not collected yet, so this may be nothing: a \
                 longer one shows it."
            }
            _ => {
                "Once it is full, new connections fail wherever the 8 hash buckets that the kernel looks at have no \
                 entry to evict."
            }
        }
    }
}
