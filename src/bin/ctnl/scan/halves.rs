//! Walk the table over two sockets, on two cores: `--jobs 2`.

use std::ops::ControlFlow;
use std::thread;

use ctnl::field::{FieldId, Subject};
use ctnl::filter::Filter;
use ctnl::netlink::{Connection, Error};
use ctnl::table::{Dump, DumpRequest, DumpTotals, SharedDedup};

use super::selection::Selection;
use super::walk::{Walked, Watch};
use crate::term::interrupt::Interrupt;

/// One half of the table, and what works on it.
#[derive(Debug)]
pub struct Half<W> {
    connection: Connection,
    request: DumpRequest,
    selection: Selection,
    work: W,
}

/// What is done with the entries of one half, a datagram's worth at a time.
pub trait HalfWork: Send {
    /// Takes an entry, which may rotate out to be a repetition.
    fn take(&mut self, subject: &Subject<'_>);

    /// The datagram is over. Of what was taken since the last one, the entries at the places
    /// `repeated`, which rise, had come before, mostly in the other half. Breaks when there is no use in more.
    fn settle(&mut self, repeated: &[usize]) -> ControlFlow<()>;
}

/// Whether the table may be taken in halves for `filter`; if not, why.
pub fn may_split(filter: &Filter, request: DumpRequest) -> Result<[DumpRequest; 2], &'static str> {
    if filter.fields().iter().any(|field| field.id == FieldId::Status) {
        return Err("the filter asks for status bits, by which the table would be split");
    }
    request.halves().ok_or("the kernel is asked for status bits already")
}

/// No work beyond the counting, which the selection does.
impl HalfWork for () {
    fn take(&mut self, _: &Subject<'_>) {}

    fn settle(&mut self, _: &[usize]) -> ControlFlow<()> {
        ControlFlow::Continue(())
    }
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
    let [mine, yours] = works;
    [
        Half { connection: one, request: first, selection: selection.fork(), work: mine },
        Half { connection: other, request: second, selection: selection.fork(), work: yours },
    ]
}

/// Walks both halves at once and hands what `selection` means to their works, each
/// entry once. The tallies are added to that of `selection`. The works are given back
/// also where a walk failed: what they took before is theirs to finish.
pub fn walk_halves<W: HalfWork>(
    halves: [Half<W>; 2],
    selection: &mut Selection,
    watch: &mut Watch<'_>,
) -> (Result<Walked, Error>, [W; 2]) {
    let seen = SharedDedup::with_room_for(watch.expected);
    let interrupt: &Interrupt = watch.interrupt;
    let [mut mine, mut yours] = halves;
    let (here, there) = thread::scope(|scope| {
        let there = scope.spawn(|| yours.walk(&seen, |_| !interrupt.requested()));
        let here = mine.walk(&seen, |entries| watch.go_on("reading", 2 * entries));
        (here, there.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)))
    });
    selection.tally.add(&mine.selection.tally);
    selection.tally.add(&yours.selection.tally);
    let walked = here.and_then(|here| there.map(|there| both(here, there)));
    (walked, [mine.work, yours.work])
}

fn both(here: Walked, there: Walked) -> Walked {
    let totals = DumpTotals {
        entries: here.totals.entries + there.totals.entries,
        repeated: here.totals.repeated + there.totals.repeated,
    };
    Walked { totals, interrupted: here.interrupted || there.interrupted }
}

impl<W: HalfWork> Half<W> {
    fn walk(&mut self, seen: &SharedDedup, mut go_on: impl FnMut(u64) -> bool) -> Result<Walked, Error> {
        let Half { connection, request, selection, work } = self;
        selection.before_walk();
        let mut dump = start(connection, *request, selection)?;
        let (mut hashes, mut places, mut repeated) = (Vec::new(), Vec::new(), 0);
        loop {
            selection.before_datagram();
            let more = dump.next_datagram(|flow| {
                if let Some(subject) = selection.judge(flow) {
                    hashes.push(seen.hash(flow));
                    work.take(&subject);
                }
            });
            seen.insert_batch(&hashes, |place| places.push(place));
            let step = work.settle(&places);
            repeated += places.len() as u64;
            hashes.clear();
            places.clear();
            let totals = without(dump.totals(), repeated);
            let more = more?;
            let interrupted = more && step.is_continue() && !go_on(totals.entries);
            if !more || step.is_break() || interrupted {
                selection.tally.matched -= repeated;
                return Ok(Walked { totals, interrupted });
            }
        }
    }
}

/// Where everything matches, all that comes is remembered, and the dump need not do so, too.
fn start<'c>(connection: &'c mut Connection, request: DumpRequest, selection: &Selection) -> Result<Dump<'c>, Error> {
    let dump = Dump::start(connection, request)?;
    Ok(if selection.filter().is_empty() { dump.with_repeats() } else { dump })
}

fn without(totals: DumpTotals, repeated: u64) -> DumpTotals {
    DumpTotals { entries: totals.entries - repeated, repeated: totals.repeated + repeated }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::ops::RangeInclusive;

    use ctnl::model::Status;

    use super::*;
    use crate::fake;
    use crate::term::console::Console;

    /// The source ports that were handed out.
    #[derive(Debug, Default)]
    struct Ports {
        of_this_datagram: Vec<u16>,
        all: Vec<u16>,
    }

    impl HalfWork for Ports {
        fn take(&mut self, subject: &Subject<'_>) {
            self.of_this_datagram.extend(subject.flow.orig.sport());
        }

        fn settle(&mut self, repeated: &[usize]) -> ControlFlow<()> {
            let new = self.of_this_datagram.drain(..).enumerate().filter(|(place, _)| !repeated.contains(place));
            self.all.extend(new.map(|(_, port)| port));
            ControlFlow::Continue(())
        }
    }

    fn filter(expression: &str) -> Filter {
        expression.parse().unwrap()
    }

    const ASSURED: bool = true;

    /// A kernel that knows of no filter by status, and sends the entries of these source ports.
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

    /// What came of a walk: the source ports, the totals, and how many matched.
    fn walked(expression: &str) -> (Vec<u16>, DumpTotals, u64) {
        let (mut console, interrupt) = (Console::new(true, false), Interrupt::default());
        let mut selection =
            Selection::new(filter(expression), &mut fake::table(Vec::new()), Vec::new(), false).unwrap();
        let requests = may_split(selection.filter(), DumpRequest::default()).unwrap();
        let halves = halves(requests, kernels(), &selection, [Ports::default(), Ports::default()]);
        let mut watch = Watch::new(&mut console, &interrupt, 0);
        let (walked, works) = walk_halves(halves, &mut selection, &mut watch);
        let mut ports = works.map(|work| work.all).concat();
        ports.sort_unstable();
        (ports, walked.unwrap().totals, selection.tally.matched)
    }

    #[test]
    fn what_comes_twice_in_one_half_or_in_both_is_handed_out_and_counted_once() {
        let (ports, totals, matched) = walked("");
        assert!(ports.into_iter().eq((1..=40).chain(100..=130)));
        assert_eq!(totals, DumpTotals { entries: 71, repeated: 11 + 8 });
        assert_eq!(matched, 71);
    }

    #[test]
    fn of_what_a_filter_leaves_out_only_that_is_counted_twice_which_comes_in_both_halves() {
        let (ports, totals, matched) = walked("sport >= 25");
        assert!(ports.into_iter().eq((25..=40).chain(100..=130)));
        // 5 to 10, of which nothing is remembered; not 20 to 24, which came twice in one half.
        assert_eq!(totals, DumpTotals { entries: 71 + 6, repeated: 11 + 2 });
        assert_eq!(matched, 47);
    }
}
