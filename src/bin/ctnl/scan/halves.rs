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
pub struct Half<S> {
    connection: Connection,
    request: DumpRequest,
    selection: Selection,
    /// What the work has made of its half.
    pub state: S,
}

/// Whether the table may be taken in halves for `filter`; if not, why.
pub fn may_split(filter: &Filter, request: DumpRequest) -> Result<[DumpRequest; 2], &'static str> {
    if filter.fields().iter().any(|field| field.name == "status") {
        return Err("the filter asks for status bits, by which the table would be split");
    }
    request.halves().ok_or("the kernel is asked for status bits already")
}

/// Both halves of `requests`.
pub fn halves<S>(
    requests: [DumpRequest; 2],
    connections: [Connection; 2],
    selection: &Selection,
    states: [S; 2],
) -> [Half<S>; 2] {
    let [first, second] = requests;
    let [one, other] = connections;
    let [mine, yours] = states;
    [
        Half { connection: one, request: first, selection: selection.fork(), state: mine },
        Half { connection: other, request: second, selection: selection.fork(), state: yours },
    ]
}

/// Walks both halves at once and hands what `selection` means to `work`, each
/// entry once. The tallies are added to that of `selection`.
pub fn walk_halves<S: Send>(
    halves: [Half<S>; 2],
    selection: &mut Selection,
    watch: &mut Watch<'_>,
    work: impl Fn(&mut S, &Subject<'_>) -> ControlFlow<()> + Sync,
) -> Result<(Walked, [S; 2]), Error> {
    let seen = Seen::with_room_for(watch.expected);
    let interrupt: &Interrupt = watch.interrupt;
    let [mut mine, mut yours] = halves;
    let (here, there) = thread::scope(|scope| {
        let there = scope.spawn(|| yours.walk(&seen, &work, |_| !interrupt.is_asked()));
        let here = mine.walk(&seen, &work, |entries| watch.go_on("reading", 2 * entries));
        (here, there.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)))
    });
    let (here, there) = (here?, there?);
    selection.tally.add(&mine.selection.tally);
    selection.tally.add(&yours.selection.tally);
    let totals = DumpTotals {
        entries: here.totals.entries + there.totals.entries,
        repeated: here.totals.repeated + there.totals.repeated,
    };
    Ok((Walked { totals, interrupted: here.interrupted || there.interrupted }, [mine.state, yours.state]))
}

impl<S> Half<S> {
    fn walk(
        &mut self,
        seen: &Seen,
        work: &impl Fn(&mut S, &Subject<'_>) -> ControlFlow<()>,
        mut go_on: impl FnMut(u64) -> bool,
    ) -> Result<Walked, Error> {
        let Half { connection, request, selection, state } = self;
        selection.before_walk();
        let mut dump = Dump::start(connection, *request)?;
        let (mut step, mut repeated) = (ControlFlow::Continue(()), 0);
        loop {
            selection.before_datagram();
            let more = dump.next_chunk(|flow| {
                if step.is_break() {
                    return;
                }
                let Some(subject) = selection.judge(flow) else { return };
                if seen.is_new(flow) {
                    step = work(state, &subject);
                } else {
                    repeated += 1;
                }
            })?;
            let mut totals = dump.totals();
            totals.repeated += repeated;
            let interrupted = more && step.is_continue() && !go_on(totals.entries);
            if !more || step.is_break() || interrupted {
                selection.tally.matched -= repeated;
                return Ok(Walked { totals, interrupted });
            }
        }
    }
}
