//! The walk of both halves of the table.

use std::ops::ControlFlow;
use std::sync::{Mutex, PoisonError};
use std::thread;

use ctnl::clock::Clock;
use ctnl::field::{FieldId, Subject};
use ctnl::filter::Filter;
use ctnl::model::Flow;
use ctnl::netlink::{Connection, Error};
use ctnl::table::{DatagramTime, DumpRequest, DumpTotals, SharedDedup};

use super::super::selection::Selection;
use super::super::walk::{End, Visitor, walk};
use super::super::watch::Watch;
use crate::term::interrupt::Interrupt;

/// One half of the table, and what is done with its entries.
#[derive(Debug)]
pub struct Half<W> {
    connection: Connection,
    request: DumpRequest,
    selection: Selection,
    work: W,
}

/// What is done with the entries of one half, a datagram at a time.
pub trait HalfWork: Send {
    /// Adds an entry, which may turn out to be a repetition.
    fn add(&mut self, subject: &Subject<'_>);

    /// Ends the datagram. Of the entries added since the last one, those at the ascending indexes
    /// `repeated` came before, mostly in the other half. Breaks to end the walk.
    fn end_datagram(&mut self, repeated: &[usize]) -> ControlFlow<()>;
}

/// Nothing but the count, which the selection keeps.
impl HalfWork for () {
    fn add(&mut self, _: &Subject<'_>) {}

    fn end_datagram(&mut self, _: &[usize]) -> ControlFlow<()> {
        ControlFlow::Continue(())
    }
}

/// Both halves of the request, unless dumping them apart would change the answer to `filter`; then why.
pub fn may_split(filter: &Filter, request: DumpRequest) -> Result<[DumpRequest; 2], &'static str> {
    if filter.fields().iter().any(|field| field.id == FieldId::Status) {
        return Err("the filter tests status bits, by which the table would be split");
    }
    request.halves().ok_or("the kernel filters by status bits already")
}

/// Both halves of `requests`.
pub fn halves<W>(
    requests: [DumpRequest; 2],
    connections: [Connection; 2],
    selection: &Selection,
    works: [W; 2],
) -> [Half<W>; 2] {
    let [first, second] = requests;
    let [one, other] = connections;
    let [here, there] = works;
    [
        Half { connection: one, request: first, selection: selection.fork(), work: here },
        Half { connection: other, request: second, selection: selection.fork(), work: there },
    ]
}

/// Walks both halves at once and passes the entries that `selection` matches to their works, each entry
/// once. The tallies are added to that of `selection`. The works are returned also where a walk failed:
/// what was added to them before is for the caller to finish. With the totals comes whether a signal
/// ended the walk before the end of the table.
pub fn walk_halves<W: HalfWork>(
    halves: [Half<W>; 2],
    selection: &mut Selection,
    watch: &mut Watch<'_>,
) -> (Result<(DumpTotals, bool), Error>, [W; 2]) {
    let dedup = SharedDedup::with_capacity(watch.expected);
    let (interrupt, clock): (&Interrupt, Clock) = (watch.interrupt, watch.clock.clone());
    let [mut mine, yours] = halves;
    let yours = Mutex::new(yours);
    let walk_other = || {
        let mut other = yours.lock().unwrap_or_else(PoisonError::into_inner);
        other.walk(&dedup, &clock, |_| !interrupt.requested())
    };
    let (here, there) = thread::scope(|scope| {
        let there = thread::Builder::new().spawn_scoped(scope, walk_other);
        let here = mine.walk(&dedup, &clock, |entries| watch.go_on("reading", 2 * entries));
        // Where no thread can be started, one half is walked after the other.
        let there = there.map_or_else(
            |_| walk_other(),
            |there| there.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)),
        );
        (here, there)
    });
    let yours = yours.into_inner().unwrap_or_else(PoisonError::into_inner);
    selection.tally.add(&mine.selection.tally);
    selection.tally.add(&yours.selection.tally);
    let walked = here.and_then(|here| there.map(|there| both(here, there)));
    (walked, [mine.work, yours.work])
}

fn both((here, stopped): (DumpTotals, bool), (there, stopped_there): (DumpTotals, bool)) -> (DumpTotals, bool) {
    let totals = DumpTotals { entries: here.entries + there.entries, repeated: here.repeated + there.repeated };
    (totals, stopped || stopped_there)
}

impl<W: HalfWork> Half<W> {
    fn walk(
        &mut self,
        dedup: &SharedDedup,
        clock: &Clock,
        go_on: impl FnMut(u64) -> bool,
    ) -> Result<(DumpTotals, bool), Error> {
        let Half { connection, request, selection, work } = self;
        let mut visitor = HalfVisitor {
            selection,
            work,
            dedup,
            go_on,
            hashes: Vec::new(),
            places: Vec::new(),
            repeated: 0,
            is_interrupted: false,
            refreshed: Ok(()),
        };
        let walked = walk(connection, *request, clock, &mut visitor);
        let HalfVisitor { selection, repeated, is_interrupted, refreshed, .. } = visitor;
        selection.tally.matched -= repeated;
        let walked = walked?;
        refreshed?;
        Ok((without(walked.totals, repeated), is_interrupted && walked.end == End::Stopped))
    }
}

struct HalfVisitor<'h, W, F> {
    selection: &'h mut Selection,
    work: &'h mut W,
    dedup: &'h SharedDedup,
    go_on: F,
    /// Of the entries of this datagram that match.
    hashes: Vec<u64>,
    /// Of those among them that came before.
    places: Vec<usize>,
    repeated: u64,
    is_interrupted: bool,
    refreshed: Result<(), Error>,
}

impl<W: HalfWork, F: FnMut(u64) -> bool> Visitor for HalfVisitor<'_, W, F> {
    #[inline]
    fn entry(&mut self, flow: &Flow, time: &DatagramTime) {
        if let Some(subject) = self.selection.judge(flow, time) {
            self.hashes.push(self.dedup.hash(flow));
            self.work.add(&subject);
        }
    }

    fn end_datagram(&mut self, totals: DumpTotals) -> ControlFlow<()> {
        let places = &mut self.places;
        places.clear();
        self.dedup.insert_batch(&self.hashes, |place| places.push(place));
        self.hashes.clear();
        self.repeated += places.len() as u64;
        self.work.end_datagram(places)?;
        self.refreshed = self.selection.refresh_old_settings();
        if self.refreshed.is_err() {
            return ControlFlow::Break(());
        }
        if (self.go_on)(without(totals, self.repeated).entries) {
            return ControlFlow::Continue(());
        }
        self.is_interrupted = true;
        ControlFlow::Break(())
    }

    /// Where everything matches, every entry is in the shared set, and the dump need not find repeats.
    fn wants_repeats(&self) -> bool {
        self.selection.filter().is_empty()
    }
}

fn without(totals: DumpTotals, repeated: u64) -> DumpTotals {
    DumpTotals { entries: totals.entries - repeated, repeated: totals.repeated + repeated }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::ops::RangeInclusive;

    use ctnl::filter::{Context, ServiceNames};
    use ctnl::host::Host;
    use ctnl::model::Status;

    use super::*;
    use crate::fake;
    use crate::term::console::Console;

    /// The source ports of the entries that were passed on.
    #[derive(Debug, Default)]
    struct Ports {
        of_this_datagram: Vec<u16>,
        all: Vec<u16>,
    }

    impl HalfWork for Ports {
        fn add(&mut self, subject: &Subject<'_>) {
            self.of_this_datagram.extend(subject.flow.orig.sport());
        }

        fn end_datagram(&mut self, repeated: &[usize]) -> ControlFlow<()> {
            let new = self.of_this_datagram.drain(..).enumerate().filter(|(place, _)| !repeated.contains(place));
            self.all.extend(new.map(|(_, port)| port));
            ControlFlow::Continue(())
        }
    }

    fn filter(expression: &str) -> Filter {
        let context = Context {
            services: &ServiceNames::default(),
            label: &|_| None,
            read_file: &|_| Err(std::io::ErrorKind::NotFound.into()),
        };
        Filter::parse(expression, &context).unwrap()
    }

    const ASSURED: bool = true;

    /// A kernel without a filter by status, which sends the entries of these source ports.
    fn kernel(datagrams: &[&[(RangeInclusive<u16>, bool)]]) -> Connection {
        let flow = |port, assured| {
            let mut flow = fake::flow(port);
            flow.status.set(Status::Assured, assured);
            flow
        };
        let datagram = |part: &&[(RangeInclusive<u16>, bool)]| {
            part.iter().flat_map(|(ports, assured)| ports.clone().map(|port| flow(port, *assured))).collect()
        };
        fake::table(datagrams.iter().map(datagram).collect())
    }

    /// A table of which a bucket is sent again to the first half, and eight entries are not ASSURED
    /// yet when the second sees them.
    fn kernels() -> [Connection; 2] {
        let others = (100..=130, !ASSURED);
        let again = [(20..=30, ASSURED), (31..=40, ASSURED)];
        let not_yet = [5..=10, 28..=29].map(|ports| (ports, !ASSURED));
        [kernel(&[&[(1..=30, ASSURED), others.clone()], &again]), kernel(&[&[others], &not_yet, &again])]
    }

    /// The result of a walk: the source ports, the totals, and how many matched.
    fn walked(expression: &str) -> (Vec<u16>, DumpTotals, u64) {
        let (mut console, interrupt) = (Console::new(true, false), Interrupt::default());
        let (mut none, host) = (fake::table(Vec::new()), Host::system());
        let mut selection = Selection::new(
            filter(expression),
            &mut none,
            &host,
            &crate::host::timeout_options::TimeoutOptions::default(),
            false,
        )
        .unwrap();
        let requests = may_split(selection.filter(), DumpRequest::default()).unwrap();
        let halves = halves(requests, kernels(), &selection, [Ports::default(), Ports::default()]);
        let mut watch = Watch::new(&mut console, &interrupt, &host, 0);
        let (walked, works) = walk_halves(halves, &mut selection, &mut watch);
        let mut ports = works.map(|work| work.all).concat();
        ports.sort_unstable();
        (ports, walked.unwrap().0, selection.tally.matched)
    }

    #[test]
    fn an_entry_that_comes_twice_in_one_half_or_in_both_is_passed_on_and_counted_once() {
        let (ports, totals, matched) = walked("");
        assert!(ports.into_iter().eq((1..=40).chain(100..=130)));
        assert_eq!(totals, DumpTotals { entries: 71, repeated: 11 + 8 });
        assert_eq!(matched, 71);
    }

    #[test]
    fn an_entry_that_does_not_match_is_counted_twice_only_when_it_comes_in_both_halves() {
        let (ports, totals, matched) = walked("sport >= 25");
        assert!(ports.into_iter().eq((25..=40).chain(100..=130)));
        // 5 to 10, which are in no set; not 20 to 24, which came twice in one half.
        assert_eq!(totals, DumpTotals { entries: 71 + 6, repeated: 11 + 2 });
        assert_eq!(matched, 47);
    }
}
