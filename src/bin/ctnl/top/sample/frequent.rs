//! The groups with most entries, in bounded memory: a group that has many entries is found wherever in a dump they stand, as
//! in a flood of random sources.
//!
//! The groups are those that [`ctnl::group::FrequentItems`] would keep (the algorithm of Misra and Gries, lowered in passes);
//! here, each has its totals since it was added, exact for all that were there before the first pass.

use ctnl::field::Subject;
use ctnl::group::Groups;

/// Groups, with something more of each.
#[derive(Debug)]
pub struct FrequentGroups<M> {
    groups: Groups,
    most: usize,
    /// By the places of the groups.
    kept: Vec<Kept<M>>,
    /// What all passes took: a group that is missing has no more entries.
    error: u32,
}

#[derive(Debug)]
struct Kept<M> {
    /// Entries, less what passes took since it was added.
    left: u32,
    /// `error` when it was added.
    missing: u32,
    more: M,
}

impl<M: Default> FrequentGroups<M> {
    /// Keeps `most` of `groups`, which have no limit yet.
    pub fn new(groups: Groups, most: usize) -> Self {
        let most = most.max(1);
        FrequentGroups { groups: groups.at_most(most + 1), most, kept: Vec::new(), error: 0 }
    }

    /// The entries that follow are of this part: see [`Groups::start_part`].
    pub fn start_part(&mut self, part: u32) {
        self.groups.start_part(part);
    }

    /// The groups with what was counted.
    pub fn groups(&self) -> &Groups {
        &self.groups
    }

    /// Counts an entry, and changes what else is known of its group.
    pub fn add(&mut self, subject: &Subject<'_>, change: impl FnOnce(&mut M)) {
        let Some(place) = self.groups.add(subject) else { return };
        while self.kept.len() <= place {
            self.kept.push(Kept { left: 0, missing: self.error, more: M::default() });
        }
        if let Some(kept) = self.kept.get_mut(place) {
            kept.left = kept.left.saturating_add(1);
            change(&mut kept.more);
        }
        if self.groups.len() > self.most {
            self.lower();
        }
    }

    /// What else is known of the group at `place`.
    pub fn more(&self, place: usize) -> Option<&M> {
        self.kept.get(place).map(|kept| &kept.more)
    }

    /// The most entries of the group at `place` that were not counted.
    pub fn missing(&self, place: usize) -> u64 {
        self.kept.get(place).map_or(0, |kept| kept.missing.into())
    }

    /// Removes at least half of the groups: those with fewest entries left.
    #[cold]
    fn lower(&mut self) {
        let lowered = self.median();
        let kept = &self.kept;
        self.groups.retain(|place| kept.get(place).is_some_and(|kept| kept.left > lowered));
        self.kept.retain_mut(|kept| {
            kept.left = kept.left.saturating_sub(lowered);
            kept.left > 0
        });
        self.error = self.error.saturating_add(lowered);
    }

    /// What half of the groups do not exceed. In a flood that is 1, which is found without sorting.
    fn median(&self) -> u32 {
        let middle = self.kept.len().saturating_sub(1) / 2;
        if self.kept.iter().filter(|kept| kept.left == 1).count() > middle {
            return 1;
        }
        let mut all: Vec<u32> = self.kept.iter().map(|kept| kept.left).collect();
        if all.is_empty() { 0 } else { *all.select_nth_unstable(middle).1 }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::indexing_slicing)]
mod tests {
    use std::collections::BTreeMap;

    use ctnl::age::IdleEstimator;
    use ctnl::model::Flow;
    use proptest::prelude::*;

    use super::*;
    use crate::fake;

    fn counted(most: usize, sources: impl IntoIterator<Item = u32>) -> FrequentGroups<u32> {
        let mut groups = FrequentGroups::new(Groups::by("src").unwrap(), most);
        let ages = IdleEstimator::without_timeouts(0);
        let mut flow: Flow = fake::flow(1);
        for source in sources {
            flow.orig.src = std::net::Ipv4Addr::from(source).into();
            groups.add(&Subject::new(&flow, &ages), |more| *more += 1);
        }
        groups
    }

    /// Source, entries, and the most that are missing.
    fn all(groups: &FrequentGroups<u32>) -> BTreeMap<String, (u64, u64)> {
        let one = |place| {
            let group = groups.groups().group_at(place).unwrap();
            assert_eq!(groups.more(place).copied().map(u64::from), Some(group.totals.entries));
            (group.values[0].to_string(), (group.totals.entries, groups.missing(place)))
        };
        (0..groups.groups().len()).map(one).collect()
    }

    #[test]
    fn a_source_that_comes_last_after_200_000_others_is_kept() {
        let groups = counted(65_536, (0..200_000).chain(std::iter::repeat_n(u32::MAX, 80_000)));
        let (entries, missing) = all(&groups)["255.255.255.255"];
        assert!(entries == 80_000 && missing < 10, "{entries} {missing}");
        assert!(groups.groups().len() <= 65_536);
    }

    #[test]
    fn a_source_that_comes_first_is_counted_exactly() {
        let first = std::iter::repeat_n(u32::MAX, 300).chain(0..20_000).chain([u32::MAX]);
        assert_eq!(all(&counted(100, first))["255.255.255.255"].0, 301);
        let few = counted(100, (0..100).chain(0..100));
        assert_eq!((few.groups().len(), few.groups().beyond()), (100, 0));
    }

    proptest! {
        #[test]
        fn a_group_has_the_entries_that_were_counted_and_those_missing_at_most_and_none_with_more_is_left_out(
            sources in proptest::collection::vec(0_u32..40, 0..400),
            most in 1_usize..32,
        ) {
            let mut exact = BTreeMap::<String, u64>::new();
            sources.iter().for_each(|source| *exact.entry(std::net::Ipv4Addr::from(*source).to_string()).or_default() += 1);
            let groups = counted(most, sources.iter().copied());
            let kept = all(&groups);
            prop_assert!(kept.len() <= most);
            for (source, entries) in exact {
                let (counted, missing) = kept.get(&source).copied().unwrap_or((0, groups.error.into()));
                prop_assert!(counted <= entries && entries <= counted + missing, "{source}: {entries} {counted} {missing}");
            }
            let total: u64 = kept.values().map(|(entries, _)| entries).sum();
            prop_assert_eq!(total + groups.groups().beyond(), sources.len() as u64);
            prop_assert!(u64::from(groups.error) * most as u64 <= 2 * sources.len() as u64);
        }
    }
}
