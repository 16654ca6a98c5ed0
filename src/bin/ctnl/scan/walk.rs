//! The one loop over a dump of the table.

use std::ops::ControlFlow;

use ctnl::clock::Clock;
use ctnl::model::Flow;
use ctnl::netlink::{Connection, Error};
use ctnl::table::{DatagramTime, Dump, DumpRequest, DumpTotals, KernelFilter};

/// What is done with the entries of a walk.
///
/// Entries may be collected in [`Visitor::entry`] and handled in [`Visitor::end_datagram`]: between two
/// datagrams, there may be a wait of any length, since each datagram carries the time of its filling.
pub trait Visitor {
    /// Handles an entry. `time` is when the kernel filled the datagram that has it.
    fn entry(&mut self, flow: &Flow, time: &DatagramTime);

    /// Called at the end of each datagram, also of one that ended with an error. Breaks to end the walk.
    fn end_datagram(&mut self, totals: DumpTotals) -> ControlFlow<()>;

    /// Whether entries that the kernel sends twice are wanted twice.
    fn wants_repeats(&self) -> bool {
        false
    }
}

/// How a walk ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// At the end of the table.
    Whole,
    /// The visitor ended it before.
    Stopped,
}

/// A walk that ended without an error.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Walked {
    /// The entries, counted.
    pub totals: DumpTotals,
    /// How it ended.
    pub end: End,
    /// The kernel refused the filter of the request, so the whole table was dumped.
    pub is_filter_refused: bool,
}

/// Dumps the table and calls `visitor` with each entry. Where the kernel cannot filter as `request`
/// says, the whole table is dumped.
///
/// # Errors
/// As [`Dump::start`] and [`Dump::next_datagram`]. The visitor has seen the entries before the error.
pub fn walk(
    connection: &mut Connection,
    request: DumpRequest,
    clock: &Clock,
    visitor: &mut impl Visitor,
) -> Result<Walked, Error> {
    match walk_once(connection, request, clock, visitor) {
        // The kernel refuses a filter before the first entry, so that no entry is visited twice.
        Err(error) if is_filtered(request) && KernelFilter::is_unknown_to(&error) => {
            let unfiltered = DumpRequest { source: request.source, ..DumpRequest::default() };
            let walked = walk_once(connection, unfiltered, clock, visitor)?;
            Ok(Walked { is_filter_refused: true, ..walked })
        }
        walked => walked,
    }
}

fn is_filtered(request: DumpRequest) -> bool {
    request.family.is_some() || !request.filter.is_empty()
}

fn walk_once(
    connection: &mut Connection,
    request: DumpRequest,
    clock: &Clock,
    visitor: &mut impl Visitor,
) -> Result<Walked, Error> {
    let mut dump = Dump::start(connection, request, clock)?;
    if visitor.wants_repeats() {
        dump = dump.with_repeats();
    }
    loop {
        let more = dump.next_datagram(|flow, time| visitor.entry(flow, time));
        let totals = dump.totals();
        let step = visitor.end_datagram(totals);
        let end = match (more?, step) {
            (false, _) => End::Whole,
            (true, ControlFlow::Break(())) => End::Stopped,
            (true, ControlFlow::Continue(())) => continue,
        };
        return Ok(Walked { totals, end, is_filter_refused: false });
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicU64, Ordering};

    use ctnl::clock::Time;
    use ctnl::model::Protocol;
    use ctnl::table::{KernelFilter, OrigFilter};
    use ctnl::units::Nanos;

    use super::*;
    use crate::fake;

    /// Keeps what it is called with.
    #[derive(Default)]
    struct Recorder {
        /// Source port, earliest and latest time.
        entries: Vec<(u16, u64, u64)>,
        ends: Vec<DumpTotals>,
        wants_repeats: bool,
        /// Ends the walk after so many datagrams.
        stop_after: Option<usize>,
        /// Waits so long after each datagram.
        pause: Option<(Arc<AtomicU64>, u64)>,
    }

    impl Visitor for Recorder {
        fn entry(&mut self, flow: &Flow, time: &DatagramTime) {
            let sampled = time.sampled;
            self.entries.push((flow.orig.sport().unwrap(), sampled.earliest.0, sampled.latest.0));
        }

        fn end_datagram(&mut self, totals: DumpTotals) -> ControlFlow<()> {
            self.ends.push(totals);
            if let Some((clock, pause)) = &self.pause {
                clock.fetch_add(*pause, Ordering::Relaxed);
            }
            if self.stop_after == Some(self.ends.len()) { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        }

        fn wants_repeats(&self) -> bool {
            self.wants_repeats
        }
    }

    impl Recorder {
        fn ports(&self) -> Vec<u16> {
            self.entries.iter().map(|(port, ..)| *port).collect()
        }
    }

    /// A clock that shows what the number is set to.
    fn held_clock() -> (Clock, Arc<AtomicU64>) {
        let held = Arc::new(AtomicU64::new(1_000));
        let shown = Arc::clone(&held);
        let clock = Clock::from_fn(move || {
            let now = shown.load(Ordering::Relaxed);
            Time { monotonic: Nanos(now), realtime: Nanos(1_000_000 + now) }
        });
        (clock, held)
    }

    fn datagrams(ports: &[&[u16]]) -> Vec<Vec<Flow>> {
        ports.iter().map(|ports| ports.iter().map(|port| fake::flow(*port)).collect()).collect()
    }

    fn walk_all(connection: &mut Connection, recorder: &mut Recorder) -> Result<Walked, Error> {
        walk(connection, DumpRequest::default(), &held_clock().0, recorder)
    }

    #[test]
    fn an_entry_that_the_kernel_sends_twice_is_visited_once_unless_repeats_are_wanted() {
        for (wants_repeats, ports, totals) in [
            (false, vec![1, 2, 3, 4], DumpTotals { entries: 4, repeated: 2 }),
            (true, vec![1, 2, 3, 2, 3, 4], DumpTotals { entries: 6, repeated: 0 }),
        ] {
            let mut recorder = Recorder { wants_repeats, ..Recorder::default() };
            let mut table = fake::table(datagrams(&[&[1, 2, 3], &[2, 3, 4]]));
            let walked = walk_all(&mut table, &mut recorder).unwrap();
            assert_eq!((walked.totals, walked.end), (totals, End::Whole));
            assert_eq!(recorder.ports(), ports);
            // Two datagrams and the one that ends the dump.
            assert_eq!((recorder.ends.len(), recorder.ends.last()), (3, Some(&totals)));
        }
    }

    #[test]
    fn a_walk_that_is_stopped_between_two_datagrams_visits_no_more_and_the_next_one_is_whole() {
        let mut table = fake::table(datagrams(&[&[1, 2], &[3, 4], &[5]]));
        let mut recorder = Recorder { stop_after: Some(2), ..Recorder::default() };
        let walked = walk_all(&mut table, &mut recorder).unwrap();
        assert_eq!((walked.end, walked.totals.entries, recorder.ports()), (End::Stopped, 4, vec![1, 2, 3, 4]));
        let mut recorder = Recorder::default();
        assert_eq!(walk_all(&mut table, &mut recorder).unwrap().end, End::Whole);
        assert_eq!(recorder.ports(), [1, 2, 3, 4, 5]);
    }

    #[test]
    fn a_stop_at_the_end_of_the_table_leaves_the_walk_whole() {
        let mut recorder = Recorder { stop_after: Some(2), ..Recorder::default() };
        let walked = walk_all(&mut fake::table(datagrams(&[&[1]])), &mut recorder).unwrap();
        assert_eq!((walked.end, recorder.ports()), (End::Whole, vec![1]));
    }

    #[test]
    fn an_error_in_the_middle_comes_after_the_entries_before_it() {
        let broken = fake::table_that_ends(datagrams(&[&[1, 2], &[3]]), |_| vec![0xff; 7]);
        let mut recorder = Recorder::default();
        assert!(matches!(walk_all(&mut { broken }, &mut recorder), Err(Error::Decode { .. })));
        assert_eq!((recorder.ports(), recorder.ends.len()), (vec![1, 2, 3], 3));
        assert_eq!(recorder.ends.last().unwrap().entries, 3);
    }

    #[test]
    fn a_pause_after_a_datagram_is_in_the_stamp_of_the_next_one_alone() {
        let (clock, held) = held_clock();
        let mut recorder = Recorder { pause: Some((held, 500)), ..Recorder::default() };
        let mut table = fake::table(datagrams(&[&[1, 2], &[3], &[4]]));
        walk(&mut table, DumpRequest::default(), &clock, &mut recorder).unwrap();
        // The second was filled when the first was received: before the pause or, for all that is known, after it.
        let expected = [(1, 1_000, 1_000), (2, 1_000, 1_000), (3, 1_000, 1_500), (4, 1_500, 2_000)];
        assert_eq!(recorder.entries, expected);
    }

    #[test]
    fn the_stamps_of_a_walk_never_go_back() {
        let reads = AtomicU64::new(0);
        let clock = Clock::from_fn(move || {
            let now = Nanos(reads.fetch_add(1, Ordering::Relaxed));
            Time { monotonic: now, realtime: now }
        });
        let mut recorder = Recorder::default();
        let ports: Vec<Vec<u16>> = (0..50).map(|number| vec![2 * number, 2 * number + 1]).collect();
        let ports: Vec<&[u16]> = ports.iter().map(Vec::as_slice).collect();
        walk(&mut fake::table(datagrams(&ports)), DumpRequest::default(), &clock, &mut recorder).unwrap();
        assert_eq!(recorder.entries.len(), 100);
        assert!(recorder.entries.iter().all(|(_, earliest, latest)| earliest < latest));
        assert!(recorder.entries.is_sorted_by_key(|(_, earliest, _)| *earliest));
        assert!(recorder.entries.is_sorted_by_key(|(_, _, latest)| *latest));
    }

    #[test]
    fn a_kernel_that_cannot_filter_is_asked_for_the_whole_table() {
        let orig = OrigFilter { protocol: Some(Protocol::Udp), ..OrigFilter::default() };
        let filter = KernelFilter { orig, zone: Some(7), ..KernelFilter::default() };
        let mut recorder = Recorder::default();
        let mut table = fake::table_without_filters(datagrams(&[&[1, 2]]));
        let request = DumpRequest { filter, ..DumpRequest::default() };
        let walked = walk(&mut table, request, &held_clock().0, &mut recorder).unwrap();
        assert!(walked.is_filter_refused);
        assert_eq!(recorder.ports(), [1, 2]);
    }
}
