//! Which of the entries that match are deleted: not those of the own SSH session, not more than the
//! maximum, none that a delete cannot identify.

use std::collections::BTreeMap;

use ctnl::filter::Filter;
use ctnl::group::{GroupError, Groups};
use ctnl::model::Flow;
use ctnl::netlink::Error;
use ctnl::table::{DatagramTime, Judgement, Target};
use ctnl::units::Nanos;

use super::options::Options;
use super::rechecker::Rechecker;
use super::skip_reason::SkipReason;
use super::summary::{Share, Summary};
use crate::host::ssh::OwnSessions;
use crate::scan::{Selection, Tally};

/// Sources that a preview shows.
const TOP_SOURCES: usize = 10;
/// Sources that a preview counts: memory is constant also where a flood has a million of them.
pub const MOST_SOURCES: usize = 4096;

/// Decides entry by entry, and counts those that match and are not chosen.
#[derive(Debug)]
pub struct Chooser {
    selection: Selection,
    options: Options,
    /// Most entries that the answer to the question allows.
    agreed: Option<u64>,
    counts: Counts,
    breakdown: Option<Breakdown>,
}

/// Entries that match, by what is done with them.
#[derive(Debug, Default)]
struct Counts {
    chosen: u64,
    spared: u64,
    beyond_max: u64,
    beyond_agreed: u64,
    already_done: u64,
    skipped: BTreeMap<SkipReason, u64>,
}

/// What is chosen, by state and by source.
#[derive(Debug)]
struct Breakdown {
    by_state: Groups,
    by_source: Groups,
}

impl Chooser {
    /// A chooser of what `selection` matches, within the bounds of `options`.
    pub fn new(selection: Selection, options: Options) -> Self {
        Chooser { selection, options, agreed: None, counts: Counts::default(), breakdown: None }
    }

    /// The filter.
    pub fn filter(&self) -> &Filter {
        self.selection.filter()
    }

    /// Also counts by state and by source what is chosen.
    pub fn break_down(&mut self) -> Result<(), GroupError> {
        let by_source = Groups::by("src")?.at_most(MOST_SOURCES);
        self.breakdown = Some(Breakdown { by_state: Groups::by("proto,state")?, by_source });
        Ok(())
    }

    /// Resets all counts, for a second walk.
    pub fn start_over(&mut self) {
        self.selection.tally = Tally::default();
        self.counts = Counts::default();
        self.breakdown = None;
    }

    /// From now on, chooses at most `entries`.
    pub fn agree_to(&mut self, entries: u64) {
        self.agreed = Some(entries);
    }

    /// From now on, also spares `sessions`.
    pub fn spare_also(&mut self, sessions: OwnSessions) {
        self.options.sessions.extend(sessions);
    }

    /// What judges again on another thread.
    pub fn rechecker(&self) -> Rechecker {
        Rechecker::new(self.selection.fork(), self.options.clone())
    }

    /// Reads the settings again unless the last reading began at `after` or later.
    pub fn refresh_settings(&mut self, after: Nanos) -> Result<(), Error> {
        self.selection.refresh_settings(after).map(|_| ())
    }

    /// Reads the settings again where they are older than a walk may use.
    pub fn refresh_old_settings(&mut self) -> Result<(), Error> {
        self.selection.refresh_old_settings()
    }

    /// What an entry of a datagram of this time is judged by.
    pub fn judgement(&self, time: &DatagramTime) -> Judgement {
        Judgement { sampled: time.sampled, settings: self.selection.settings_version() }
    }

    /// The target of `flow`, if it is chosen.
    pub fn choose(&mut self, flow: &Flow, time: &DatagramTime) -> Option<Target> {
        let Chooser { selection, options, agreed, counts, breakdown } = self;
        let subject = selection.judge(flow, time)?;
        if options.spares(flow) {
            counts.spared += 1;
            return None;
        }
        if options.task.is_done(flow) {
            counts.already_done += 1;
            return None;
        }
        let target = match options.task.target(flow) {
            Ok(target) => target,
            Err(why) => {
                *counts.skipped.entry(why).or_default() += 1;
                return None;
            }
        };
        if options.max.is_some_and(|max| counts.chosen >= max) {
            counts.beyond_max += 1;
            return None;
        }
        if agreed.is_some_and(|agreed| counts.chosen >= agreed) {
            counts.beyond_agreed += 1;
            return None;
        }
        counts.chosen += 1;
        if let Some(breakdown) = breakdown {
            breakdown.by_state.add(&subject);
            breakdown.by_source.add(&subject);
        }
        Some(target)
    }

    /// Entries chosen so far.
    pub fn chosen(&self) -> u64 {
        self.counts.chosen
    }

    /// Writes the counts into `summary`.
    pub fn report(&self, summary: &mut Summary) {
        let (tally, counts) = (&self.selection.tally, &self.counts);
        summary.matched = tally.matched;
        summary.unconfirmed = tally.unconfirmed;
        summary.undecided = tally.undecided.iter().map(|(why, count)| (why.name(), *count)).collect();
        summary.spared = counts.spared;
        summary.spared_all_ssh = self.options.sessions.include_all_of_server();
        summary.beyond_max = counts.beyond_max;
        summary.beyond_agreed = counts.beyond_agreed;
        summary.set_already_done(counts.already_done);
        summary.skipped = counts.skipped.iter().map(|(why, count)| (why.name(), *count)).collect();
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
