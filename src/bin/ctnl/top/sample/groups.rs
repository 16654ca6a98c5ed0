//! Groups of entries with what a frame shows of them. Memory is bounded: those with most entries are kept, and the entries of
//! others are counted ([`FrequentGroups`]).

use std::cmp::Ordering;
use std::collections::BTreeSet;
use std::sync::Arc;

use ctnl::age::Idle;
use ctnl::field::Subject;
use ctnl::group::{GroupError, Groups, Totals};

use super::super::model::{Figures, FrameNetns, IdleTime, Rate, Row, Section};
use super::super::order::{Column, SortOrder};
use super::super::view::View;
use super::frequent::FrequentGroups;

/// The groups of one dump.
#[derive(Debug)]
pub struct Grouped {
    view: View,
    kept: FrequentGroups<More>,
    /// The namespace whose entries are counted, of several.
    current: Current,
    /// In the view of namespaces: those that were counted.
    netns: Vec<Arc<FrameNetns>>,
}

/// The entries that are counted.
#[derive(Debug, Clone, Copy, Default)]
pub struct Current {
    /// New ones are counted by the kernel's events.
    pub has_events: bool,
    /// The dump before has none of this namespace, which may have had them for long.
    pub is_first: bool,
}

/// What is counted of a group besides its totals.
#[derive(Debug, Clone, Copy, Default)]
struct More {
    /// Entries of namespaces without events.
    without_events: u32,
    /// Those of them whose start is known.
    dated: u32,
    /// Those of them that began since the last dump.
    began: u32,
    /// It has entries that may have had packets before the last dump, which had none of their namespace.
    is_first: bool,
    idle: LeastIdle,
}

/// The smallest idle time of several flows.
#[derive(Debug, Clone, Copy, Default)]
struct LeastIdle {
    /// The smallest bounds; none yet.
    known: Option<(u32, u32)>,
    is_undecided: bool,
}

/// What the rates of a frame are computed from.
#[derive(Debug, Clone, Copy)]
pub struct Since<'a> {
    /// The groups of the dump before.
    pub before: &'a Grouped,
    /// The entries that began since, grouped alike; `None` where no events were received.
    pub began: Option<Began<'a>>,
    /// Milliseconds between both dumps.
    pub interval: u64,
}

/// Entries of events, grouped.
#[derive(Debug, Clone, Copy)]
pub struct Began<'a> {
    /// The groups.
    pub groups: &'a FrequentGroups<()>,
    /// Namespaces of which events are missing.
    pub incomplete: &'a BTreeSet<u32>,
}

impl LeastIdle {
    fn add(&mut self, idle: Idle) {
        let (at_least, at_most) = match idle {
            Idle::Exact { at_least, at_most } => (at_least, at_most),
            Idle::AtLeast(at_least, _) => (at_least, u32::MAX),
            Idle::Unknown(_) => {
                self.is_undecided = true;
                return;
            }
        };
        let (low, high) = self.known.unwrap_or((u32::MAX, u32::MAX));
        self.known = Some((low.min(at_least), high.min(at_most)));
    }

    /// An undecided flow may have had a packet just now, so that it leaves the upper bound of the others alone.
    fn time(self) -> IdleTime {
        match self.known {
            None => IdleTime::Unknown,
            Some((_, u32::MAX)) if self.is_undecided => IdleTime::Unknown,
            Some((_, high)) if self.is_undecided => IdleTime::AtMost(high),
            Some((low, u32::MAX)) => IdleTime::AtLeast(low),
            Some((low, high)) => IdleTime::Between(low, high),
        }
    }
}

/// The idle time of one flow.
pub fn idle_time(idle: Idle) -> IdleTime {
    let mut least = LeastIdle::default();
    least.add(idle);
    least.time()
}

/// The groups of `view`, `most` at most; `None` for single flows.
pub fn groups_of<M: Default>(view: View, most: usize) -> Result<Option<FrequentGroups<M>>, GroupError> {
    let groups = match view {
        View::Netns => Some(Groups::by_part()),
        _ => view.by().map(Groups::by).transpose()?,
    };
    Ok(groups.map(|groups| FrequentGroups::new(groups, most)))
}

impl Grouped {
    /// No groups yet, of `most` at most; `None` for single flows.
    pub fn new(view: View, most: usize) -> Result<Option<Self>, GroupError> {
        let (current, netns) = (Current::default(), Vec::new());
        Ok(groups_of(view, most)?.map(|kept| Grouped { view, kept, current, netns }))
    }

    /// The entries that follow are of this namespace, of several.
    pub fn start_netns(&mut self, netns: Option<&Arc<FrameNetns>>, current: Current) {
        self.current = current;
        if let Some(netns) = netns {
            self.kept.start_part(netns.id);
            self.netns.extend((self.view == View::Netns).then(|| Arc::clone(netns)));
        }
    }

    fn groups(&self) -> &Groups {
        self.kept.groups()
    }

    /// What it is grouped by.
    pub fn view(&self) -> View {
        self.view
    }

    /// Counts an entry. `began` is whether it began since the last dump; `None` where that is unknown.
    pub fn add(&mut self, subject: &Subject<'_>, idle: Idle, began: Option<bool>) {
        let Current { has_events, is_first } = self.current;
        self.kept.add(subject, |more| {
            if !has_events {
                more.without_events += 1;
                more.dated += u32::from(began.is_some());
                more.began += u32::from(began == Some(true));
            }
            more.is_first |= is_first;
            more.idle.add(idle);
        });
    }

    /// The first `most` rows.
    pub fn section(&self, since: Option<Since<'_>>, order: SortOrder, most: usize) -> Section {
        let mut all: Vec<(usize, Figures)> =
            (0..self.groups().len()).filter_map(|place| Some((place, self.figures(place, since)?))).collect();
        let mut rows: Vec<Row> = if order.column == Column::Group {
            all.iter().filter_map(|(place, figures)| self.row(*place, *figures)).collect()
        } else {
            if most < all.len() {
                all.select_nth_unstable_by(most, |a, b| compare(order, a, b));
                all.truncate(most);
            }
            all.iter().filter_map(|(place, figures)| self.row(*place, *figures)).collect()
        };
        rows.sort_by(|a, b| order.compare(a, b).then_with(|| a.text.cmp(&b.text)));
        rows.truncate(most);
        Section { view: self.view, rows, groups: self.groups().len() as u64, beyond: self.groups().beyond() }
    }

    fn row(&self, place: usize, figures: Figures) -> Option<Row> {
        let group = self.groups().group_at(place)?;
        if self.view == View::Netns {
            let netns = self.netns.iter().find(|netns| netns.id == group.part)?;
            return Some(Row { text: netns.name.clone(), figures, netns: Some(Arc::clone(netns)), ..Row::default() });
        }
        let (text, term) = (self.view.text(&group.values), self.view.term(&group.values));
        Some(Row { text, term, figures, ..Row::default() })
    }

    fn figures(&self, place: usize, since: Option<Since<'_>>) -> Option<Figures> {
        let (totals, missing) = (self.groups().totals_at(place)?, self.kept.missing(place));
        let mut more = self.kept.more(place).copied().unwrap_or_default();
        // One that is missing may have had a packet just now.
        more.idle.is_undecided |= missing > 0;
        let figures = Figures {
            entries: totals.entries,
            missing,
            evictable: totals.evictable,
            idle: more.idle.time(),
            ..Figures::default()
        };
        let Some(since) = since else { return Some(figures) };
        let new = self.new_rate(place, &totals, more, since);
        let (packets, bytes) =
            if more.is_first { Default::default() } else { self.traffic(place, &totals, new, since) };
        Some(Figures { new, packets, bytes, ..figures })
    }

    /// New entries by their events, and those of namespaces without events by their start times: of these, the ones that
    /// ended meanwhile are missing.
    fn new_rate(&self, place: usize, totals: &Totals, more: More, since: Since<'_>) -> Rate {
        let (count, is_exact) = since.began.map_or((0, false), |began| self.events_of(place, began));
        let without_events = if since.began.is_some() { more.without_events.into() } else { totals.entries };
        let is_dated = u64::from(more.dated) == without_events;
        if is_exact && without_events == 0 {
            Rate::known(count, since.interval)
        } else if is_dated {
            Rate::bound(count + u64::from(more.began), since.interval)
        } else if count > 0 {
            Rate::bound(count, since.interval)
        } else {
            Rate::Unknown
        }
    }

    /// The number of events of a group, and whether none is missing.
    fn events_of(&self, place: usize, Began { groups: kept, incomplete }: Began<'_>) -> (u64, bool) {
        let groups = kept.groups();
        let at = groups.place_in(self.groups(), place);
        let count = at.and_then(|at| groups.totals_at(at)).map_or(0, |totals| totals.entries);
        let is_complete = match self.view {
            View::Netns => self.groups().group_at(place).is_some_and(|group| !incomplete.contains(&group.part)),
            _ => incomplete.is_empty(),
        };
        // Of one that was left out and came again, the events before are missing.
        let is_whole = at.map_or(groups.beyond() == 0, |at| kept.missing(at) == 0);
        (count, is_complete && is_whole)
    }

    /// Packets and bytes per second. What entries had that ended is missing, so the rate is a lower bound unless none
    /// ended.
    fn traffic(&self, place: usize, totals: &Totals, new: Rate, since: Since<'_>) -> (Rate, Rate) {
        let before = since.before.groups();
        let at = before.place_in(self.groups(), place);
        let is_missing = |kept: &FrequentGroups<More>, place| kept.missing(place) > 0;
        if totals.counted == 0
            || (at.is_none() && before.beyond() > 0)
            || is_missing(&self.kept, place)
            || at.is_some_and(|at| is_missing(&since.before.kept, at))
        {
            return (Rate::Unknown, Rate::Unknown);
        }
        let earlier = at.and_then(|at| before.totals_at(at)).unwrap_or_default();
        let began = match new {
            Rate::Known(rate) => Some((rate * since.interval as f64 / 1000.0).round() as u64),
            _ => None,
        };
        let is_exact = totals.is_all_counted()
            && earlier.is_all_counted()
            && began.is_some_and(|began| earlier.entries + began == totals.entries);
        let rate = |now: Option<u64>, earlier: Option<u64>| {
            match now.unwrap_or(0).checked_sub(earlier.unwrap_or(0)) {
                Some(count) if is_exact => Rate::known(count, since.interval),
                Some(count) => Rate::bound(count, since.interval),
                // Entries ended that had more than the others have had since.
                None => Rate::Unknown,
            }
        };
        (rate(totals.packets, earlier.packets), rate(totals.bytes, earlier.bytes))
    }
}

fn compare(order: SortOrder, a: &(usize, Figures), b: &(usize, Figures)) -> Ordering {
    order.compare_figures(&a.1, &b.1).then_with(|| a.0.cmp(&b.0))
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic)]
mod tests {
    use super::*;
    use crate::fake;
    use ctnl::age::IdleEstimator;
    use ctnl::model::{Counters, Flow, Undecided};

    const EXACT: Idle = Idle::Exact { at_least: 5, at_most: 6 };

    fn flow(last: u8, packets: Option<u64>) -> Flow {
        let counters = packets.map(|packets| Counters { packets, bytes: 100 * packets });
        let mut flow = Flow { counters_orig: counters, ..fake::flow(1) };
        flow.orig.src = [10, 0, 0, last].into();
        flow
    }

    fn grouped(most: usize, flows: &[(u8, Option<u64>)]) -> Grouped {
        let mut grouped = Grouped::new(View::Source, most).unwrap().unwrap();
        grouped.start_netns(None, Current { has_events: true, is_first: false });
        for (last, packets) in flows {
            let flow = flow(*last, *packets);
            grouped.add(&Subject::new(&flow, &IdleEstimator::without_timeouts(0)), EXACT, None);
        }
        grouped
    }

    /// Events of these sources, of which `most` are kept.
    fn began_of(most: usize, sources: &[u8]) -> FrequentGroups<()> {
        let mut groups = groups_of(View::Source, most).unwrap().unwrap();
        for last in sources {
            groups.add(&Subject::new(&flow(*last, None), &IdleEstimator::without_timeouts(0)), |()| {});
        }
        groups
    }

    /// By source: new, packets and bytes per second, after two seconds in which `began` began.
    fn rates(before: &Grouped, now: &Grouped, began: Option<(&[u8], bool)>) -> Vec<(String, Rate, Rate, Rate)> {
        let began_groups = began.map(|(sources, _)| began_of(100, sources));
        let missing = |is_complete| if is_complete { BTreeSet::new() } else { BTreeSet::from([0]) };
        let incomplete = began.map_or_else(BTreeSet::new, |(_, is_complete)| missing(is_complete));
        let began = began_groups.as_ref().map(|groups| Began { groups, incomplete: &incomplete });
        let since = Since { before, began, interval: 2000 };
        let rows = now.section(Some(since), SortOrder::of(Column::Group), 100).rows;
        rows.into_iter().map(|row| (row.text, row.figures.new, row.figures.packets, row.figures.bytes)).collect()
    }

    #[test]
    fn where_every_new_entry_is_known_the_rates_of_a_group_of_which_none_ended_are_exact() {
        let before = grouped(100, &[(1, Some(10)), (2, Some(50)), (2, Some(50))]);
        let now = grouped(100, &[(1, Some(30)), (1, Some(2)), (2, Some(60))]);
        let rates = rates(&before, &now, Some((&[1], true)));
        assert_eq!(
            rates,
            [
                ("10.0.0.1".into(), Rate::Known(0.5), Rate::Known(11.0), Rate::Known(1100.0)),
                // One ended, with more packets than came since.
                ("10.0.0.2".into(), Rate::Known(0.0), Rate::Unknown, Rate::Unknown),
            ]
        );
    }

    #[test]
    fn the_events_of_a_group_that_was_left_out_and_came_again_are_a_lower_bound() {
        // Two groups are kept. The third one leaves both out; then the first one comes again.
        let (began, none) = (began_of(2, &[1, 2, 3, 1]), BTreeSet::new());
        let (before, now) = (grouped(100, &[]), grouped(100, &[(1, None), (1, None), (9, None)]));
        let since = Since { before: &before, began: Some(Began { groups: &began, incomplete: &none }), interval: 1000 };
        let rows = now.section(Some(since), SortOrder::of(Column::Group), 100).rows;
        assert_eq!(rows[0].figures.new, Rate::AtLeast(1.0), "two began, and one of these events is counted");
        let began = began_of(3, &[1, 2, 3, 1]);
        let since = Since { began: Some(Began { groups: &began, incomplete: &none }), ..since };
        let rows = now.section(Some(since), SortOrder::of(Column::Group), 100).rows;
        assert_eq!([rows[0].figures.new, rows[1].figures.new], [2.0, 0.0].map(Rate::Known));
    }

    #[test]
    fn where_events_are_missing_the_rates_are_lower_bounds_and_without_events_the_new_ones_are_unknown() {
        let (before, now) = (grouped(100, &[(1, Some(10))]), grouped(100, &[(1, Some(30)), (1, None)]));
        let bound = Rate::AtLeast(10.0);
        let of = |began| rates(&before, &now, began).pop().map(|(_, new, packets, _)| (new, packets));
        assert_eq!(of(Some((&[1], false))), Some((Rate::AtLeast(0.5), bound)));
        assert_eq!(of(None), Some((Rate::Unknown, bound)));
        let uncounted = grouped(100, &[(1, None)]);
        assert_eq!(rates(&before, &uncounted, None).pop().map(|(_, _, packets, _)| packets), Some(Rate::Unknown));
    }

    #[test]
    fn a_group_that_was_not_kept_before_has_no_rate() {
        let (before, now) = (grouped(1, &[(1, Some(1)), (2, Some(9))]), grouped(100, &[(2, Some(10))]));
        assert_eq!(rates(&before, &now, None).pop().map(|(_, _, packets, _)| packets), Some(Rate::Unknown));
        let (before, now) = (grouped(1, &[(1, Some(1))]), grouped(100, &[(2, Some(10))]));
        assert_eq!(rates(&before, &now, None).pop().map(|(_, _, packets, _)| packets), Some(Rate::AtLeast(5.0)));
    }

    #[test]
    fn start_times_bound_the_new_entries_where_there_are_no_events_and_all_have_one() {
        let ages = IdleEstimator::without_timeouts(0);
        let mut now = grouped(100, &[]);
        now.start_netns(None, Current::default());
        for began in [Some(true), Some(false), Some(true)] {
            now.add(&Subject::new(&flow(1, None), &ages), EXACT, began);
        }
        now.add(&Subject::new(&flow(2, None), &ages), EXACT, None);
        now.add(&Subject::new(&flow(2, None), &ages), EXACT, Some(true));
        let rates = rates(&grouped(100, &[]), &now, None);
        assert_eq!(rates.iter().map(|rate| rate.1).collect::<Vec<_>>(), [Rate::AtLeast(1.0), Rate::Unknown]);
    }

    /// Blue and red, with so many entries of one source each, with ten packets each; the rates are those of two seconds in
    /// which one entry began in each.
    fn rates_of(view: View, current: [Current; 2], incomplete: &[u32]) -> Vec<(String, Rate, Rate)> {
        let ages = IdleEstimator::without_timeouts(0);
        let sample = |entries: u32, packets| {
            let mut grouped = Grouped::new(view, 100).unwrap().unwrap();
            for ((id, name), current) in [(1, "blue"), (2, "red")].into_iter().zip(current) {
                let netns = Arc::new(FrameNetns { id, name: name.to_owned(), ..FrameNetns::default() });
                grouped.start_netns(Some(&netns), current);
                for _ in 0..entries {
                    grouped.add(&Subject::new(&flow(1, Some(packets)), &ages), EXACT, Some(false));
                }
            }
            grouped
        };
        let (before, now) = (sample(1, 10), sample(2, 10));
        let mut began = groups_of(view, 100).unwrap().unwrap();
        for id in [1, 2] {
            began.start_part(id);
            began.add(&Subject::new(&flow(1, None), &ages), |()| {});
        }
        let incomplete = incomplete.iter().copied().collect();
        let began = Some(Began { groups: &began, incomplete: &incomplete });
        let since = Since { before: &before, began, interval: 2000 };
        let rows = now.section(Some(since), SortOrder::of(Column::Group), 100).rows;
        rows.into_iter().map(|row| (row.text, row.figures.new, row.figures.packets)).collect()
    }

    const HEARD: Current = Current { has_events: true, is_first: false };

    #[test]
    fn a_view_of_namespaces_has_a_row_for_each_and_others_have_their_sums() {
        let row = |text: &str, new, packets| (text.to_owned(), Rate::Known(new), Rate::Known(packets));
        assert_eq!(rates_of(View::Netns, [HEARD; 2], &[]), [row("blue", 0.5, 5.0), row("red", 0.5, 5.0)]);
        assert_eq!(rates_of(View::Source, [HEARD; 2], &[]), [row("10.0.0.1", 1.0, 10.0)]);
    }

    #[test]
    fn events_that_are_missing_in_one_namespace_make_its_rates_and_the_sums_lower_bounds() {
        let new = |view| rates_of(view, [HEARD; 2], &[2]).into_iter().map(|rates| rates.1).collect::<Vec<_>>();
        assert_eq!(new(View::Netns), [Rate::Known(0.5), Rate::AtLeast(0.5)]);
        assert_eq!(new(View::Source), [Rate::AtLeast(1.0)]);
        // Red has no events, and start times of which none is in the interval.
        let new = |view| {
            let current = [HEARD, Current::default()];
            rates_of(view, current, &[2]).into_iter().map(|rates| rates.1).collect::<Vec<_>>()
        };
        assert_eq!(new(View::Source), [Rate::AtLeast(1.0)]);
    }

    #[test]
    fn what_entries_had_before_their_namespace_was_first_dumped_is_no_traffic_of_the_interval() {
        let current = [HEARD, Current { is_first: true, ..HEARD }];
        let packets = |view| rates_of(view, current, &[2]).into_iter().map(|rates| rates.2).collect::<Vec<_>>();
        assert_eq!(packets(View::Netns), [Rate::Known(5.0), Rate::Unknown]);
        assert_eq!(packets(View::Source), [Rate::Unknown]);
    }

    #[test]
    fn the_idle_time_of_a_group_is_the_smallest_and_an_undecided_flow_leaves_an_upper_bound() {
        let time = |idles: &[Idle]| {
            let mut least = LeastIdle::default();
            idles.iter().for_each(|idle| least.add(*idle));
            least.time()
        };
        let long = Idle::AtLeast(90, Undecided::LongerThanSysctl);
        assert_eq!(time(&[long]), IdleTime::AtLeast(90));
        assert_eq!(time(&[long, EXACT]), IdleTime::Between(5, 6));
        assert_eq!(time(&[EXACT, Idle::Unknown(Undecided::Offloaded)]), IdleTime::AtMost(6));
        assert_eq!(time(&[long, Idle::Unknown(Undecided::Offloaded)]), IdleTime::Unknown);
        assert_eq!(time(&[]), IdleTime::Unknown);
    }

    #[test]
    fn only_the_first_rows_of_the_order_are_made_and_all_groups_are_counted() {
        let now = grouped(2, &[(1, None), (2, None), (2, None), (3, None)]);
        let section = now.section(None, SortOrder::default(), 1);
        assert_eq!(section.rows.iter().map(|row| &*row.text).collect::<Vec<_>>(), ["10.0.0.2"]);
        // The third one made room, and took one with it.
        assert_eq!((section.groups, section.beyond), (1, 2));
    }

    #[test]
    fn a_source_that_comes_last_after_200_000_others_is_the_first_row() {
        let mut grouped = Grouped::new(View::Source, 65_536).unwrap().unwrap();
        let (ages, mut flow) = (IdleEstimator::without_timeouts(0), flow(1, Some(1)));
        let sources = (0..200_000).chain(std::iter::repeat_n(u32::MAX, 80_000));
        for source in sources {
            flow.orig.src = std::net::Ipv4Addr::from(source).into();
            grouped.add(&Subject::new(&flow, &ages), EXACT, None);
        }
        let since = Since { before: &grouped, began: None, interval: 2000 };
        let section = grouped.section(Some(since), SortOrder::default(), 20);
        let Row { text, figures, .. } = &section.rows[0];
        assert_eq!((&**text, figures.entries), ("255.255.255.255", 80_000));
        // Of what came before it was kept nothing is known.
        assert!((1..10).contains(&figures.missing), "{figures:?}");
        assert_eq!((figures.idle, figures.bytes), (IdleTime::AtMost(6), Rate::Unknown));
        let counted: u64 =
            grouped.section(None, SortOrder::default(), 100_000).rows.iter().map(|row| row.figures.entries).sum();
        assert_eq!(counted + section.beyond, 280_000);
    }
}
