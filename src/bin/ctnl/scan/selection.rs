//! Which entries a command selects, and how many are undecided: the one place where a filter is
//! evaluated on dumped entries, for every verb.

use std::collections::BTreeMap;
use std::sync::Arc;

use ctnl::age::{Confirmed, IdleConfirmation, IdleEstimator};
use ctnl::field::Subject;
use ctnl::filter::{Filter, Verdict};
use ctnl::host::Host;
use ctnl::model::{Flow, Undecided};
use ctnl::netlink::{Connection, Error};
use ctnl::table::{DatagramTime, SampledAt};
use ctnl::units::Nanos;

use super::settings::Settings;
use crate::host::timeout_options::TimeoutOptions;

/// A filter with what it needs, and the tally of its verdicts.
#[derive(Debug)]
pub struct Selection {
    filter: Filter,
    ages: IdleEstimator,
    /// Where the filter depends on idle times.
    settings: Option<Settings>,
    /// The version of the settings in `ages`.
    version: u64,
    confirm: Option<Arc<IdleConfirmation>>,
    /// The verdicts so far.
    pub tally: Tally,
}

/// Verdicts, counted.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Tally {
    /// Entries that match.
    pub matched: u64,
    /// Undecided entries, by reason.
    pub undecided: BTreeMap<Undecided, u64>,
    /// Entries that match and that `--confirm-idle` did not confirm: they had a packet between the two
    /// samples, or did not match at the first one.
    pub unconfirmed: u64,
}

impl Tally {
    /// Counts a verdict. True for a match.
    #[inline]
    fn add_verdict(&mut self, verdict: Verdict) -> bool {
        match verdict {
            Verdict::Match => self.matched += 1,
            Verdict::NoMatch => {}
            Verdict::Undecided(why) => *self.undecided.entry(why).or_default() += 1,
        }
        verdict == Verdict::Match
    }

    /// Adds the tally of another thread.
    pub fn add(&mut self, other: &Tally) {
        self.matched += other.matched;
        self.unconfirmed += other.unconfirmed;
        for (why, count) in &other.undecided {
            *self.undecided.entry(*why).or_default() += count;
        }
    }

    /// A line for each reason, with what would decide it.
    pub fn undecided_lines(&self) -> Vec<String> {
        self.undecided.iter().map(|(why, count)| format!("undecided: {count} {why}: {}", why.hint())).collect()
    }
}

impl Selection {
    /// A selection by `filter`. The namespace's timeouts are read where the filter or a second sample needs
    /// them or `with_ages` is set; otherwise idle times are undecided.
    pub fn new(
        filter: Filter,
        connection: &mut Connection,
        host: &Host,
        timeouts: &TimeoutOptions,
        with_ages: bool,
    ) -> Result<Self, Error> {
        let now = host.clock.now().realtime.0;
        if filter.needs().idle || timeouts.confirms_idle {
            return Ok(Self::by(filter, Settings::read(connection, host, timeouts)?, now));
        }
        let ages = if with_ages {
            IdleEstimator::new(&timeouts.read(connection, host)?, now)
        } else {
            IdleEstimator::without_timeouts(now)
        };
        Ok(Selection { filter, ages, settings: None, version: 0, confirm: None, tally: Tally::default() })
    }

    /// A selection by `filter` and `settings`, at `now` (nanoseconds of `CLOCK_REALTIME`).
    pub fn by(filter: Filter, settings: Settings, now: u64) -> Self {
        let (version, context) = settings.context();
        let ages = IdleEstimator::new(&context, now);
        Selection { filter, ages, settings: Some(settings), version, confirm: None, tally: Tally::default() }
    }

    /// The same selection for a second thread, with a tally of its own.
    pub fn fork(&self) -> Self {
        Selection {
            filter: self.filter.clone(),
            ages: self.ages.clone(),
            settings: self.settings.clone(),
            version: self.version,
            confirm: self.confirm.clone(),
            tally: Tally::default(),
        }
    }

    /// The version of the settings by which entries are judged.
    pub fn settings_version(&self) -> u64 {
        self.version
    }

    /// Reads the settings again unless the last reading began at `after` (of `CLOCK_MONOTONIC`) or later.
    /// Their version; always 0 where the filter does not depend on them.
    pub fn refresh_settings(&mut self, after: Nanos) -> Result<u64, Error> {
        self.refresh_by(|settings| settings.refresh(after))
    }

    /// Reads the settings again where they are older than a walk may use. To be called between two
    /// datagrams.
    pub fn refresh_old_settings(&mut self) -> Result<(), Error> {
        self.refresh_by(Settings::refresh_if_old).map(|_| ())
    }

    fn refresh_by(&mut self, refresh: impl FnOnce(&Settings) -> Result<u64, Error>) -> Result<u64, Error> {
        let Some(settings) = &self.settings else { return Ok(0) };
        if refresh(settings)? != self.version {
            let (version, context) = settings.context();
            self.ages = IdleEstimator::new(&context, self.ages.now);
            self.version = version;
        }
        Ok(self.version)
    }

    /// The filter.
    pub fn filter(&self) -> &Filter {
        &self.filter
    }

    /// What idle time and age are computed from.
    pub fn ages(&self) -> &IdleEstimator {
        &self.ages
    }

    /// Starts the first of two samples.
    pub(super) fn first_sample(&self) -> FirstSample<'_> {
        FirstSample { filter: &self.filter, ages: self.ages.clone(), confirm: IdleConfirmation::new() }
    }

    /// From now on, only entries match that `confirm` and a second sample show to be idle.
    pub(super) fn confirm_by(&mut self, confirm: IdleConfirmation) {
        self.confirm = Some(Arc::new(confirm));
    }

    /// The entry as a subject, if it matches.
    #[inline(always)]
    pub fn judge<'a>(&'a mut self, flow: &'a Flow, time: &DatagramTime) -> Option<Subject<'a>> {
        self.ages.now = time.realtime.0;
        let Some(confirm) = &self.confirm else {
            let verdict = self.filter.matches(&Subject::new(flow, &self.ages));
            // A second subject: moving the first one costs as much as the filter.
            return self.tally.add_verdict(verdict).then(|| Subject::new(flow, &self.ages));
        };
        match judge_second_sample(&self.filter, confirm, Subject::new(flow, &self.ages), time.sampled) {
            Some((verdict, subject)) => self.tally.add_verdict(verdict).then_some(subject),
            None => {
                self.tally.unconfirmed += 1;
                None
            }
        }
    }
}

/// The verdict at the second sample; `None` for a match that the samples do not confirm.
#[inline(never)]
fn judge_second_sample<'a>(
    filter: &Filter,
    confirm: &IdleConfirmation,
    subject: Subject<'a>,
    sampled: SampledAt,
) -> Option<(Verdict, Subject<'a>)> {
    let verdict = filter.matches(&subject);
    if verdict == Verdict::NoMatch {
        return Some((verdict, subject));
    }
    match confirm.second(subject.flow, sampled, subject.ages) {
        Confirmed::Idle { at_least } => {
            let subject = Subject { confirmed_idle: Some(at_least), ..subject };
            Some((filter.matches(&subject), subject))
        }
        Confirmed::Unknown(why) => Some((Verdict::Undecided(why), subject)),
        Confirmed::Active if verdict == Verdict::Match => None,
        Confirmed::Active => Some((verdict, subject)),
    }
}

/// The first of two samples: the entries that may match.
#[derive(Debug)]
pub(super) struct FirstSample<'s> {
    filter: &'s Filter,
    ages: IdleEstimator,
    pub(super) confirm: IdleConfirmation,
}

impl FirstSample<'_> {
    pub(super) fn add(&mut self, flow: &Flow, time: &DatagramTime) {
        self.ages.now = time.realtime.0;
        if self.filter.matches(&Subject::new(flow, &self.ages)) != Verdict::NoMatch {
            // An entry that two samples cannot confirm is undecided at the second one.
            let _ = self.confirm.first(flow, time.sampled);
        }
    }
}
