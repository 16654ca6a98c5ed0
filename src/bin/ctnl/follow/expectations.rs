//! The expectations that the reader of a stream knows, and their comparison with those of the kernel.
//!
//! The kernel sends events of an expectation only if its master sends events, the entry of the control
//! connection (`nf_ct_expect_event_report` in net/netfilter/nf_conntrack_ecache.c): with
//! `nf_conntrack_events=2` not where the master is older than the first subscription. There are few
//! expectations (`nf_conntrack_expect_max`), and they live for seconds to minutes, so they are dumped every
//! two seconds.

use std::collections::{HashMap, HashSet};
use std::mem;

use ctnl::model::{EventKind, Expectation, Tuple};

type Key = (Tuple, Tuple, Tuple, Option<u16>);

fn key(expectation: &Expectation) -> Key {
    let Expectation { tuple, mask, master, zone, .. } = expectation;
    (*tuple, *mask, *master, *zone)
}

/// The expectations of a namespace that the reader knows.
#[derive(Debug, Default)]
pub(super) struct Expectations {
    known: HashMap<Key, Expectation>,
    /// Those that were only in the last dump, or only known: their event may not have been received yet.
    differing: HashSet<Key>,
    /// They have been dumped.
    is_seeded: bool,
}

impl Expectations {
    /// An event has been received.
    pub(super) fn on_event(&mut self, kind: EventKind, expectation: &Expectation) {
        let key = key(expectation);
        self.differing.remove(&key);
        if kind == EventKind::Destroy {
            self.known.remove(&key);
        } else {
            self.known.insert(key, expectation.clone());
        }
    }

    /// Compares with a dump. Returns what was created and destroyed without an event: the differences that
    /// the dump before had, too; in the first dump all.
    pub(super) fn compare(&mut self, dumped: Vec<Expectation>) -> Vec<(EventKind, Expectation)> {
        let dumped: HashMap<Key, Expectation> = dumped.into_iter().map(|found| (key(&found), found)).collect();
        let earlier = mem::take(&mut self.differing);
        let is_first = !mem::replace(&mut self.is_seeded, true);
        let mut changes = Vec::new();
        let gone = self.known.keys().filter(|key| !dumped.contains_key(*key)).copied().collect::<Vec<_>>();
        for key in gone {
            if !earlier.contains(&key) {
                self.differing.insert(key);
            } else if let Some(expectation) = self.known.remove(&key) {
                changes.push((EventKind::Destroy, expectation));
            }
        }
        for (key, expectation) in dumped {
            if self.known.contains_key(&key) {
                continue;
            }
            if is_first || earlier.contains(&key) {
                self.known.insert(key, expectation.clone());
                changes.push((EventKind::New, expectation));
            } else {
                self.differing.insert(key);
            }
        }
        changes
    }

    /// Whether they have been dumped.
    pub(super) fn is_seeded(&self) -> bool {
        self.is_seeded
    }

    /// The known ones; none are known afterwards.
    pub(super) fn drain(&mut self) -> Vec<Expectation> {
        self.known.drain().map(|(_, expectation)| expectation).collect()
    }

    pub(super) fn known(&self) -> impl Iterator<Item = &Expectation> {
        self.known.values()
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::indexing_slicing)]
mod tests {
    use ctnl::model::ExpectationEvent;
    use ctnl::wire::Messages;

    use super::*;

    /// Recorded expectations, all different.
    fn recorded() -> Vec<Expectation> {
        let bytes = include_bytes!("../../../../tests/data/expectations.bin");
        let mut found: Vec<Expectation> = Vec::new();
        for message in Messages::new(bytes) {
            let expectation = ExpectationEvent::decode(&message.unwrap()).unwrap().expectation;
            if found.iter().all(|other| key(other) != key(&expectation)) {
                found.push(expectation);
            }
        }
        found
    }

    fn kinds(changes: &[(EventKind, Expectation)]) -> Vec<EventKind> {
        changes.iter().map(|(kind, _)| *kind).collect()
    }

    #[test]
    #[cfg_attr(target_endian = "big", ignore = "the recorded datagrams are little-endian")]
    fn an_expectation_without_events_is_found_by_the_second_dump_and_so_is_its_end() {
        let [first, second] = [0, 1].map(|index| recorded()[index].clone());
        let mut expectations = Expectations::default();
        assert_eq!(kinds(&expectations.compare(vec![first.clone()])), [EventKind::New]);
        assert_eq!(expectations.compare(vec![first.clone(), second.clone()]), []);
        assert_eq!(kinds(&expectations.compare(vec![first.clone(), second.clone()])), [EventKind::New]);
        assert_eq!(expectations.compare(vec![second.clone()]), []);
        assert_eq!(expectations.compare(vec![second.clone()]), [(EventKind::Destroy, first)]);
        assert_eq!(expectations.compare(vec![second.clone()]), []);
        assert_eq!(expectations.drain(), [second]);
    }

    #[test]
    #[cfg_attr(target_endian = "big", ignore = "the recorded datagrams are little-endian")]
    fn an_event_between_two_dumps_is_no_difference() {
        let expectation = recorded()[0].clone();
        let mut expectations = Expectations::default();
        assert_eq!(expectations.compare(vec![]), []);
        // Inserted before its event is sent.
        assert_eq!(expectations.compare(vec![expectation.clone()]), []);
        expectations.on_event(EventKind::New, &expectation);
        assert_eq!(expectations.compare(vec![]), []);
        expectations.on_event(EventKind::Destroy, &expectation);
        assert_eq!(expectations.compare(vec![]), []);
    }
}
