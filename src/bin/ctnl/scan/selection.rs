//! Which entries a command means, and how many were in doubt: the one place
//! where a filter is asked, for every verb.

use std::collections::BTreeMap;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use ctnl::age::{Confirm, Confirmed, IdleEstimator, PreviousTimeout, SampledAt, TimeoutContext};
use ctnl::field::Subject;
use ctnl::filter::{Filter, Verdict};
use ctnl::model::{Flow, Undecided};
use ctnl::netlink::{Connection, Error};
use ctnl::sysctl::Sysctl;
use ctnl::table::{Dump, DumpRequest};

/// A filter with all that it needs, and the tally of its answers.
#[derive(Debug)]
pub struct Selection {
    filter: Filter,
    ages: IdleEstimator,
    confirm: Option<Confirm>,
    looks: Looks,
    /// What came out so far.
    pub tally: Tally,
}

/// How many entries were judged how.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Tally {
    /// Entries that match.
    pub matched: u64,
    /// Entries of which it is not certain, by reason.
    pub undecided: BTreeMap<Undecided, u64>,
    /// Entries that match but moved between two looks, or did not match at the first.
    pub moved: u64,
}

impl Tally {
    /// Counts a verdict. Whether it is a match.
    #[inline]
    fn note(&mut self, verdict: Verdict) -> bool {
        match verdict {
            Verdict::Match => self.matched += 1,
            Verdict::NoMatch => {}
            Verdict::Undecided(why) => *self.undecided.entry(why).or_default() += 1,
        }
        verdict == Verdict::Match
    }

    /// Adds what another thread has counted.
    pub fn add(&mut self, other: &Tally) {
        self.matched += other.matched;
        self.moved += other.moved;
        for (why, count) in &other.undecided {
            *self.undecided.entry(*why).or_default() += count;
        }
    }

    /// A line for each reason, with what would decide it.
    pub fn undecided_lines(&self) -> Vec<String> {
        self.undecided.iter().map(|(why, count)| format!("undecided: {count} {why}: {}", why.advice())).collect()
    }
}

impl Selection {
    /// A selection by `filter`. With `with_ages` the namespace's timeouts are
    /// read; without, idle times are undecided.
    pub fn new(
        filter: Filter,
        connection: &mut Connection,
        previous_timeouts: Vec<PreviousTimeout>,
        with_ages: bool,
    ) -> Result<Self, Error> {
        let now = wall_clock();
        let ages = if with_ages || filter.needs().idle {
            let context =
                TimeoutContext::read(connection, &Sysctl::default(), &Sysctl::at(Sysctl::KERNEL), previous_timeouts)?;
            IdleEstimator::new(&context, now)
        } else {
            IdleEstimator::without_timeouts(now)
        };
        Ok(Selection { filter, ages, confirm: None, looks: Looks::start(), tally: Tally::default() })
    }

    /// The same question for a second thread, with a tally of its own.
    pub fn fork(&self) -> Self {
        Selection {
            filter: self.filter.clone(),
            ages: self.ages.clone(),
            confirm: None,
            looks: Looks::start(),
            tally: Tally::default(),
        }
    }

    /// The filter.
    pub fn filter(&self) -> &Filter {
        &self.filter
    }

    /// What idle time and age are computed from.
    pub fn ages(&self) -> &IdleEstimator {
        &self.ages
    }

    /// The first of two looks: remembers what may match. `go_on` may end it.
    pub fn look_once(&mut self, connection: &mut Connection, mut go_on: impl FnMut(u64) -> bool) -> Result<(), Error> {
        let mut confirm = Confirm::new();
        self.before_walk();
        let mut dump = Dump::start(connection, DumpRequest::default())?;
        loop {
            self.looks.next();
            self.ages.now = wall_clock();
            let looks = &self.looks;
            let more = dump.next_datagram(|flow| {
                if self.filter.matches(&Subject::new(flow, &self.ages)) != Verdict::NoMatch {
                    // Of what says nothing by two looks, the second says so again.
                    let _ = confirm.first(flow, looks.taken());
                }
            })?;
            if !more || !go_on(dump.totals().entries) {
                break;
            }
        }
        self.confirm = Some(confirm);
        Ok(())
    }

    /// To be called before a dump is started: the kernel looks at the first
    /// entries when it gets the request.
    pub fn before_walk(&mut self) {
        self.looks.restart();
        self.ages.now = wall_clock();
    }

    /// To be called before each datagram is received. Between two, somebody may
    /// have waited: for a pager, a second look, an answer.
    pub fn before_datagram(&mut self) {
        self.ages.now = wall_clock();
        if self.confirm.is_some() {
            self.looks.next();
        }
    }

    /// The flow as a subject, if it is meant.
    #[inline(always)]
    pub fn judge<'a>(&'a mut self, flow: &'a Flow) -> Option<Subject<'a>> {
        let Some(confirm) = &self.confirm else {
            let verdict = self.filter.matches(&Subject::new(flow, &self.ages));
            // Made anew, since to move the first one costs as much as the filter.
            return self.tally.note(verdict).then(|| Subject::new(flow, &self.ages));
        };
        match judge_twice(&self.filter, confirm, Subject::new(flow, &self.ages), &self.looks) {
            Some((verdict, subject)) => self.tally.note(verdict).then_some(subject),
            None => {
                self.tally.moved += 1;
                None
            }
        }
    }
}

/// Nanoseconds since 1970.
fn wall_clock() -> u64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(now.as_nanos()).unwrap_or(u64::MAX)
}

/// The verdict after a second look; `None` when there was a packet in between.
#[inline(never)]
fn judge_twice<'a>(
    filter: &Filter,
    confirm: &Confirm,
    subject: Subject<'a>,
    looks: &Looks,
) -> Option<(Verdict, Subject<'a>)> {
    let verdict = filter.matches(&subject);
    if verdict == Verdict::NoMatch {
        return Some((verdict, subject));
    }
    match confirm.second(subject.flow, looks.taken()) {
        Confirmed::Quiet { at_least } => {
            let subject = Subject { confirmed_idle: Some(at_least), ..subject };
            Some((filter.matches(&subject), subject))
        }
        Confirmed::Unknown(why) => Some((Verdict::Undecided(why), subject)),
        Confirmed::Moved if verdict == Verdict::Match => None,
        Confirmed::Moved => Some((verdict, subject)),
    }
}

/// When entries were looked at: the kernel fills a datagram while the one before
/// it is being read.
#[derive(Debug)]
struct Looks {
    origin: Instant,
    before_last: Duration,
    last: Duration,
}

impl Looks {
    fn start() -> Self {
        Looks { origin: Instant::now(), before_last: Duration::ZERO, last: Duration::ZERO }
    }

    fn restart(&mut self) {
        self.last = self.origin.elapsed();
        self.before_last = self.last;
    }

    fn next(&mut self) {
        self.before_last = self.last;
        self.last = self.origin.elapsed();
    }

    fn taken(&self) -> SampledAt {
        let nanoseconds = |time: Duration| u64::try_from(time.as_nanos()).unwrap_or(u64::MAX);
        SampledAt { earliest: nanoseconds(self.before_last), latest: nanoseconds(self.origin.elapsed()) }
    }
}
