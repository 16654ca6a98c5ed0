//! Walk the table over two sockets, on two cores: `--jobs 2`.

use std::ops::ControlFlow;
use std::thread;

use ctnl::field::Subject;
use ctnl::filter::Filter;
use ctnl::netlink::{Connection, Error};
use ctnl::table::{Dump, DumpRequest, DumpTotals, Seen};

use super::selection::Selection;
use super::walk::{Walked, Watch};
use crate::interrupt::Interrupt;

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
    /// Takes an entry, which may turn out to be a repetition.
    fn take(&mut self, subject: &Subject<'_>);

    /// The datagram is over. Of what was taken since the last one, the entries at the places
    /// `repeated`, which rise, had come before, mostly in the other half. Breaks when there is no use in more.
    fn settle(&mut self, repeated: &[usize]) -> ControlFlow<()>;
}

/// Whether the table may be taken in halves for `filter`; if not, why.
pub fn may_split(filter: &Filter, request: DumpRequest) -> Result<[DumpRequest; 2], &'static str> {
    if filter.fields().iter().any(|field| field.name == "status") {
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
    let seen = Seen::with_room_for(watch.expected);
    let interrupt: &Interrupt = watch.interrupt;
    let [mut mine, mut yours] = halves;
    let (here, there) = thread::scope(|scope| {
        let there = scope.spawn(|| yours.walk(&seen, |_| !interrupt.is_asked()));
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
    fn walk(&mut self, seen: &Seen, mut go_on: impl FnMut(u64) -> bool) -> Result<Walked, Error> {
        let Half { connection, request, selection, work } = self;
        selection.before_walk();
        let mut dump = Dump::start(connection, *request)?;
        let (mut hashes, mut places, mut repeated) = (Vec::new(), Vec::new(), 0);
        loop {
            selection.before_datagram();
            let more = dump.next_chunk(|flow| {
                if let Some(subject) = selection.judge(flow) {
                    hashes.push(seen.hash(flow));
                    work.take(&subject);
                }
            });
            seen.take_in(&hashes, |place| places.push(place));
            let step = work.settle(&places);
            repeated += places.len() as u64;
            hashes.clear();
            places.clear();
            let mut totals = dump.totals();
            totals.repeated += repeated;
            let more = more?;
            let interrupted = more && step.is_continue() && !go_on(totals.entries);
            if !more || step.is_break() || interrupted {
                selection.tally.matched -= repeated;
                return Ok(Walked { totals, interrupted });
            }
        }
    }
}
