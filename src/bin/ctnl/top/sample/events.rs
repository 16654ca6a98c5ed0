//! Entries that began between two dumps, from the kernel's events.
//!
//! The queues of the sockets are small and only so many events are read in an interval: the kernel counts those that it
//! refuses, so the number of new entries stays exact and costs nothing, while their groups become lower bounds.

use std::collections::BTreeSet;

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
pub const BUFFER: usize = 1 << 20;
/// Events that are read in an interval, of all namespaces together: some 30 ms of one processor.
const MOST: u64 = 20_000;
/// Events that are read at its end from each socket, to come to the place of a loss: more than its queue holds.
const LAST: u64 = 4_096;

/// New entries by view, of one namespace or of several.
#[derive(Debug)]
pub struct NewEntries {
    event: Event,
    most_groups: usize,
    groups: NewGroups,
}

/// The events of an interval.
#[derive(Debug, Default)]
pub struct NewGroups {
    /// Those that were read and match, by view.
    pub by_view: Vec<(View, FrequentGroups<()>)>,
    /// Namespaces of which events are missing, by number.
    pub incomplete: BTreeSet<u32>,
    read: u64,
}

/// The events of one namespace.
#[derive(Debug)]
pub struct EventSocket {
    events: Events,
    /// The number of the namespace.
    id: u32,
    /// Since the last [`EventSocket::take`].
    read: u64,
    /// `None` where the kernel did not count those that it could not send.
    lost: Option<u64>,
}

/// How events are grouped.
#[derive(Debug, Clone, Copy)]
pub struct Judge<'a> {
    pub filter: &'a Filter,
    pub ages: &'a IdleEstimator,
}

/// Whether new entries send events: `nf_conntrack_events` of the namespace is not 0. False where that is unknown.
pub fn are_sent(netns: &Netns, host: &Host) -> bool {
    let netfilter = host.netfilter();
    netns.run(move || netfilter.read("nf_conntrack_events")).is_ok_and(|value| value.is_ok_and(|value| value > 0))
}

impl NewGroups {
    fn new(views: &[View], most_groups: usize) -> Result<Self, GroupError> {
        let mut by_view = Vec::new();
        for view in views {
            by_view.extend(groups_of(*view, most_groups)?.map(|groups| (*view, groups)));
        }
        Ok(NewGroups { by_view, ..NewGroups::default() })
    }
}

impl NewEntries {
    /// No events yet.
    ///
    /// # Errors
    /// A view cannot be grouped by.
    pub fn new(views: &[View], most_groups: usize) -> Result<Self, GroupError> {
        Ok(NewEntries { event: Event::blank(), most_groups, groups: NewGroups::new(views, most_groups)? })
    }

    /// The groups since the last call. From now on entries are grouped by `views`.
    ///
    /// # Errors
    /// A view cannot be grouped by.
    pub fn take(&mut self, views: &[View]) -> Result<NewGroups, GroupError> {
        Ok(std::mem::replace(&mut self.groups, NewGroups::new(views, self.most_groups)?))
    }

    /// Events of this namespace are missing.
    pub fn set_incomplete(&mut self, id: u32) {
        self.groups.incomplete.insert(id);
    }

    fn add(&mut self, judge: Judge<'_>) {
        let subject = Subject::of_event(&self.event.flow, judge.ages, EventKind::New);
        if judge.filter.matches(&subject).is_match() {
            for (_, groups) in &mut self.groups.by_view {
                groups.add(&subject, |()| {});
            }
        }
    }
}

impl EventSocket {
    /// Subscribes in `netns`, which has the number `id`, with a queue of `buffer` bytes.
    ///
    /// # Errors
    /// As [`Events::subscribe`].
    pub fn subscribe(netns: &Netns, id: u32, buffer: usize) -> Result<Self, Error> {
        let subscription = Subscription { update: false, destroy: false, buffer, ..Subscription::default() };
        let events = Events::subscribe(netns, &subscription)?;
        Ok(EventSocket { events, id, read: 0, lost: Some(0) })
    }

    /// Reads what is queued, up to what may be read in an interval.
    ///
    /// # Errors
    /// As [`Events::next`].
    pub fn read(&mut self, into: &mut NewEntries, judge: Judge<'_>) -> Result<(), Error> {
        let left = MOST.saturating_sub(into.groups.read);
        let read = self.read_up_to(left, into, judge);
        if read.is_err() {
            self.lose(None, into);
        }
        read
    }

    fn read_up_to(&mut self, most: u64, into: &mut NewEntries, judge: Judge<'_>) -> Result<(), Error> {
        into.groups.by_view.iter_mut().for_each(|(_, groups)| groups.start_part(self.id));
        for _ in 0..most {
            match self.events.next(&mut into.event)? {
                Step::Empty => break,
                Step::Event if into.event.kind == EventKind::New => {
                    self.read += 1;
                    into.groups.read += 1;
                    into.add(judge);
                }
                Step::Lost(lost) => self.lose(lost, into),
                Step::Unreadable(_) => self.lose(Some(1), into),
                Step::Event | Step::Expectation => {}
            }
        }
        Ok(())
    }

    fn lose(&mut self, lost: Option<u64>, into: &mut NewEntries) {
        self.lost = self.lost.zip(lost).map(|(sum, lost)| sum + lost);
        into.set_incomplete(self.id);
    }

    /// The number of entries that began since the last call, whether they match the filter or not; `None` where the
    /// kernel did not count those that it could not send.
    ///
    /// # Errors
    /// As [`Events::next`].
    pub fn take(&mut self, into: &mut NewEntries, judge: Judge<'_>) -> Result<Option<u64>, Error> {
        self.read_up_to(LAST, into, judge)?;
        let read = std::mem::take(&mut self.read);
        Ok(self.lost.replace(0).map(|lost| read + lost))
    }
}
