//! Entries that began between two dumps, from the kernel's events.
//!
//! The queue of the socket is small and only so many events are read in an interval: the kernel counts those that it
//! refuses, so the number of new entries stays exact and costs nothing, while their groups become lower bounds.

use ctnl::age::IdleEstimator;
use ctnl::field::Subject;
use ctnl::filter::Filter;
use ctnl::group::GroupError;
use ctnl::host::Host;
use ctnl::model::{Event, EventKind};
use ctnl::netlink::{Error, Netns};
use ctnl::table::{Events, Step, Subscription};

use super::super::view::View;
use super::frequent::FrequentGroups;
use super::groups::groups_of;

/// Bytes of the queue, which the kernel doubles: 1638 events.
const BUFFER: usize = 1 << 20;
/// Events that are read in an interval: some 30 ms of one processor.
const MOST: u64 = 20_000;
/// Events that are read at its end, to come to the place of a loss: more than the queue holds.
const LAST: u64 = 4_096;

/// New entries, since the last [`NewEntries::take`].
#[derive(Debug)]
pub struct NewEntries {
    events: Events,
    event: Event,
    most_groups: usize,
    counted: Counted,
}

/// New entries, counted.
#[derive(Debug)]
pub struct Counted {
    /// All, whether they match the filter or not; `None` where the kernel did not count those that it could not send.
    pub entries: Option<u64>,
    /// Those that were read and match, by view.
    pub groups: Vec<(View, FrequentGroups<()>)>,
    read: u64,
    lost: Option<u64>,
}

impl Counted {
    fn new(views: &[View], most_groups: usize) -> Result<Self, GroupError> {
        let mut groups = Vec::new();
        for view in views {
            groups.extend(groups_of(*view, most_groups)?.map(|counted| (*view, counted)));
        }
        Ok(Counted { entries: Some(0), groups, read: 0, lost: Some(0) })
    }

    /// Whether all events were read.
    pub fn is_complete(&self) -> bool {
        self.lost == Some(0)
    }
}

/// Whether new entries send events: `nf_conntrack_events` of the namespace is not 0. False where that is unknown.
pub fn are_sent(netns: &Netns, host: &Host) -> bool {
    let netfilter = host.netfilter();
    netns.run(move || netfilter.read("nf_conntrack_events")).is_ok_and(|value| value.is_ok_and(|value| value > 0))
}

impl NewEntries {
    /// Subscribes in `netns`.
    ///
    /// # Errors
    /// As [`Events::subscribe`].
    pub fn subscribe(netns: &Netns, views: &[View], most_groups: usize) -> Result<Self, anyhow::Error> {
        let subscription = Subscription { update: false, destroy: false, buffer: BUFFER, ..Subscription::default() };
        let events = Events::subscribe(netns, &subscription)?;
        Ok(NewEntries { events, event: Event::blank(), most_groups, counted: Counted::new(views, most_groups)? })
    }

    /// Reads what is queued, up to what may be read in an interval.
    ///
    /// # Errors
    /// As [`Events::next`].
    pub fn read(&mut self, filter: &Filter, ages: &IdleEstimator) -> Result<(), Error> {
        let left = MOST.saturating_sub(self.counted.read);
        self.read_up_to(left, filter, ages)
    }

    fn read_up_to(&mut self, most: u64, filter: &Filter, ages: &IdleEstimator) -> Result<(), Error> {
        for _ in 0..most {
            match self.events.next(&mut self.event)? {
                Step::Empty => break,
                Step::Event => self.add(filter, ages),
                Step::Lost(lost) => self.counted.lost = self.counted.lost.zip(lost).map(|(sum, lost)| sum + lost),
                Step::Unreadable(_) => self.counted.lost = self.counted.lost.map(|lost| lost + 1),
                Step::Expectation => {}
            }
        }
        Ok(())
    }

    fn add(&mut self, filter: &Filter, ages: &IdleEstimator) {
        if self.event.kind != EventKind::New {
            return;
        }
        self.counted.read += 1;
        let subject = Subject::of_event(&self.event.flow, ages, EventKind::New);
        if filter.matches(&subject).is_match() {
            for (_, groups) in &mut self.counted.groups {
                groups.add(&subject, |()| {});
            }
        }
    }

    /// What began since the last call. From now on entries are grouped by `views`.
    ///
    /// # Errors
    /// As [`Events::next`].
    pub fn take(&mut self, views: &[View], filter: &Filter, ages: &IdleEstimator) -> Result<Counted, anyhow::Error> {
        self.read_up_to(LAST, filter, ages)?;
        let mut counted = std::mem::replace(&mut self.counted, Counted::new(views, self.most_groups)?);
        counted.entries = counted.lost.map(|lost| counted.read + lost);
        Ok(counted)
    }
}
