//! Which of the entries that match are deleted: not the own SSH session, not
//! more than `--max`, none that cannot be named for certain.

use std::collections::BTreeMap;
use std::fmt;

use anyhow::Result;
use ctnl::filter::Filter;
use ctnl::group::Groups;
use ctnl::model::{Flow, Status};
use ctnl::table::{NotDeletable, Target};

use super::summary::{Share, Summary};
use crate::host::ssh::SshSession;
use crate::scan::{Selection, Tally};

/// Sources that a dry run shows.
const TOP_SOURCES: usize = 10;
/// Sources that it counts: memory is constant also where a flood comes from a million.
pub const MOST_SOURCES: usize = 4096;

/// Decides entry by entry, and counts why not.
#[derive(Debug)]
pub struct Chooser {
    selection: Selection,
    limits: Limits,
    chosen: u64,
    spared: u64,
    left: u64,
    expiring: u64,
    untouchable: BTreeMap<SkipReason, u64>,
    breakdown: Option<Breakdown>,
}

/// What bounds a flush besides its filter.
#[derive(Debug, Clone, Default)]
pub struct Limits {
    /// Sessions to spare.
    pub sessions: Vec<SshSession>,
    /// Most entries to delete.
    pub max: Option<u64>,
    /// Seconds that entries are left instead of being deleted.
    pub soft: Option<u32>,
}

impl Limits {
    fn target(&self, flow: &Flow) -> Result<Target, SkipReason> {
        if self.soft.is_some() && flow.status.contains(Status::FixedTimeout) {
            return Err(SkipReason::FixedTimeout);
        }
        if self.soft.is_some() && flow.is_offloaded() {
            return Err(SkipReason::Offloaded);
        }
        Target::of(flow).map_err(SkipReason::NotDeletable)
    }
}

/// Why an entry that is meant is left alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum SkipReason {
    NotDeletable(NotDeletable),
    /// Linux 5.10 would take the short timeout, and no packet would give the old one back.
    FixedTimeout,
    /// The flowtable gives it a day again.
    Offloaded,
}

impl fmt::Display for SkipReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            SkipReason::NotDeletable(why) => why.fmt(f),
            SkipReason::FixedTimeout => f.write_str("its timeout is fixed, so that it would not recover"),
            SkipReason::Offloaded => f.write_str("it is in a flowtable, which keeps its timeout up"),
        }
    }
}

/// What would go, by state and by source.
#[derive(Debug)]
struct Breakdown {
    by_state: Groups,
    by_source: Groups,
}

impl Chooser {
    /// A chooser from what `selection` means, within `limits`.
    pub fn new(selection: Selection, limits: Limits) -> Self {
        Chooser {
            selection,
            limits,
            chosen: 0,
            spared: 0,
            left: 0,
            expiring: 0,
            untouchable: BTreeMap::new(),
            breakdown: None,
        }
    }

    /// A chooser for a second thread, with counts of its own.
    pub fn fork(&self) -> Self {
        Chooser::new(self.selection.fork(), self.limits.clone())
    }

    /// Adds what a second thread has counted.
    pub fn add(&mut self, other: &Chooser) {
        self.selection.tally.add(other.tally());
        self.chosen += other.chosen;
        self.spared += other.spared;
        self.left += other.left;
        self.expiring += other.expiring;
        for (why, count) in &other.untouchable {
            *self.untouchable.entry(*why).or_default() += count;
        }
    }

    /// The filter.
    pub fn filter(&self) -> &Filter {
        self.selection.filter()
    }

    /// Also counts what is chosen by state and by source.
    pub fn break_down(&mut self) -> Result<()> {
        let by_source = Groups::by("src")?.at_most(MOST_SOURCES);
        self.breakdown = Some(Breakdown { by_state: Groups::by("proto,state")?, by_source });
        Ok(())
    }

    /// Forgets what was counted, for a second walk.
    pub fn start_over(&mut self) {
        self.selection.tally = Tally::default();
        (self.chosen, self.spared, self.left, self.expiring) = (0, 0, 0, 0);
        self.untouchable.clear();
        self.breakdown = None;
    }

    /// To be called before a dump is started.
    pub fn before_walk(&mut self) {
        self.selection.before_walk();
    }

    /// To be called before each datagram is received.
    pub fn before_datagram(&mut self) {
        self.selection.before_datagram();
    }

    /// The target that `flow` is, if it is to go.
    pub fn choose(&mut self, flow: &Flow) -> Option<Target> {
        let subject = self.selection.judge(flow)?;
        if self.limits.sessions.iter().any(|session| session.is_carried_by(flow)) {
            self.spared += 1;
            return None;
        }
        // To give an entry more time than it has would be no flush.
        if self.limits.soft.is_some_and(|soft| flow.timeout.is_some_and(|left| left <= soft)) {
            self.expiring += 1;
            return None;
        }
        let target = match self.limits.target(flow) {
            Ok(target) => target,
            Err(why) => {
                *self.untouchable.entry(why).or_default() += 1;
                return None;
            }
        };
        if self.limits.max.is_some_and(|max| self.chosen >= max) {
            self.left += 1;
            return None;
        }
        self.chosen += 1;
        if let Some(breakdown) = &mut self.breakdown {
            breakdown.by_state.add(&subject);
            breakdown.by_source.add(&subject);
        }
        Some(target)
    }

    /// Entries chosen so far.
    pub fn chosen(&self) -> u64 {
        self.chosen
    }

    /// What came out of the filter.
    pub fn tally(&self) -> &Tally {
        &self.selection.tally
    }

    /// Writes what was counted into `summary`.
    pub fn report(&self, summary: &mut Summary) {
        let tally = self.tally();
        summary.matched = tally.matched;
        summary.moved = tally.moved;
        summary.undecided = tally.undecided.iter().map(|(why, count)| (why.name(), *count)).collect();
        summary.spared = self.spared;
        summary.left = self.left;
        summary.expiring = self.expiring;
        summary.not_deletable = self.untouchable.iter().map(|(why, count)| (why.to_string(), *count)).collect();
        if let Some(breakdown) = &self.breakdown {
            summary.by_state = shares(&breakdown.by_state, usize::MAX);
            summary.by_source = shares(&breakdown.by_source, TOP_SOURCES);
            summary.by_source_beyond = breakdown.by_source.beyond();
        }
    }
}

fn shares(groups: &Groups, top: usize) -> Vec<Share> {
    let key = |values: &[ctnl::field::Value<'_>]| {
        let words: Vec<String> = values.iter().map(ToString::to_string).filter(|word| word != "-").collect();
        words.join(" ")
    };
    let top = groups.top(top);
    top.iter().map(|group| Share { key: key(&group.values), entries: group.totals.entries }).collect()
}
