//! What a run leaves in the spool at its end, and the gaps of the queue before that: each number
//! once, or covered by one gap, in order.

use std::path::Path;

use proptest::prelude::*;

use super::queue::Item;
use super::state::Sink;
use super::*;

/// Much longer than a frame without its lines: a nearly full spool accepts gaps and no chunk.
const LINE: usize = 100;

pub fn wide(stream: &str, first: u64, lines: u32) -> Arc<Chunk> {
    let bytes = format!("{:1$}\n", "", LINE - 1).repeat(lines as usize);
    Arc::new(Chunk { stream: stream.into(), first, lines, bytes: bytes.into() })
}

pub fn gap(first: u64, lines: u64, cause: DropCause, from: u64, to: u64) -> Gap {
    Gap { stream: "s".into(), cause, first, lines, from, to }
}

pub fn sink_with_spool(folder: &Path, queue: usize, spool: u64) -> Sink {
    Sink::new("x".into(), false, queue, Some(Spool::open(folder, "x", spool).unwrap()), 0)
}

/// First number and number of lines, negative for a gap.
pub fn shown(item: &Item) -> (u64, i64) {
    match item {
        Item::Chunk(chunk) => (chunk.first, chunk.lines.into()),
        Item::Gap(gap) => (gap.first, -i64::try_from(gap.lines).unwrap()),
    }
}

/// Everything that the next run would deliver.
pub fn left(folder: &Path) -> Vec<Item> {
    let mut spool = Spool::open(folder, "x", 1).unwrap();
    let mut items = Vec::new();
    while let Some(item) = spool.peek(NOW).unwrap() {
        items.push(item);
        spool.advance();
    }
    assert_eq!(spool.damaged(), 0);
    items
}

pub fn spill_all(sink: &Sink) -> bool {
    let mut spool = sink.spool().unwrap();
    while !sink.state().queue.is_empty() {
        if !spiller::spill_oldest(sink, &mut spool) {
            return false;
        }
    }
    true
}

#[test]
fn gaps_and_chunks_behind_a_full_spool_keep_their_order_and_numbers() {
    use DropCause::{Queue, Spool};
    let folder = temporary();
    let sink = sink_with_spool(folder.path(), 1000, 1500);
    sink.push(wide("s", 1, 10), 10);
    assert!(spill_all(&sink));
    sink.push(wide("s", 11, 10), 20);
    sink.push(wide("s", 21, 5), 30);
    sink.push(wide("s", 26, 4), 31);
    assert!(!spill_all(&sink));
    let first = sink.state().queue.pop().unwrap();
    sink.push(wide("s", 30, 3), 40);
    sink.state().spool_error = None;
    sink.state().queue.push_front(first);
    sink.push(wide("s", 33, 2), 50);
    sink.push(wide("s", 35, 1), 51);
    // The queue is now: chunk, gap, chunk, gap.
    assert_eq!(spiller::spool_undelivered(&sink, 60), 13);
    let expected =
        [gap(11, 10, Spool, 60, 60), gap(21, 9, Queue, 20, 31), gap(30, 3, Spool, 60, 60), gap(33, 3, Queue, 40, 51)];
    let kept = std::iter::once(Item::Chunk(wide("s", 1, 10))).chain(expected.map(Item::Gap));
    assert_eq!(left(folder.path()), kept.collect::<Vec<_>>());
    assert_eq!(sink.statistics().dropped, 9 + 3 + 13);
}

#[test]
fn a_chunk_that_fits_is_not_spooled_behind_one_that_did_not_fit() {
    let folder = temporary();
    let sink = sink_with_spool(folder.path(), 10_000, 1500);
    for (first, lines) in [(1, 5), (6, 20), (26, 1), (27, 20)] {
        sink.push(wide("s", first, lines), 10);
    }
    assert_eq!(spiller::spool_undelivered(&sink, 60), 41);
    assert_eq!(left(folder.path()).iter().map(shown).collect::<Vec<_>>(), [(1, 5), (6, -41)]);
}

/// The item in flight is spooled whatever the limit.
#[test]
fn a_gap_at_the_end_is_spooled_beyond_the_allowance_for_gaps() {
    let folder = temporary();
    let sink = sink_with_spool(folder.path(), 10_000, 1500);
    sink.state().in_flight = Some(Item::Chunk(wide("s", 1, 1000)));
    sink.push(wide("s", 1001, 7), 10);
    assert_eq!(spiller::spool_undelivered(&sink, 60), 7);
    assert_eq!(left(folder.path()).iter().map(shown).collect::<Vec<_>>(), [(1, 1000), (1001, -7)]);
}

#[test]
fn a_run_that_is_killed_leaves_the_item_that_was_being_delivered_when_the_queue_was_spooled() {
    let folder = temporary();
    let sink = sink_with_spool(folder.path(), 10_000, 1 << 20);
    sink.state().in_flight = Some(Item::Chunk(wide("s", 1, 5)));
    sink.push(wide("s", 6, 5), 10);
    sink.push(wide("s", 11, 5), 20);
    assert!(spill_all(&sink));
    // Its threads are gone without having ended.
    drop(sink);
    assert_eq!(left(folder.path()).iter().map(shown).collect::<Vec<_>>(), [(1, 5), (6, 5), (11, 5)]);
}

#[test]
fn without_a_spool_everything_undelivered_is_lost_and_counted_once() {
    let sink = Sink::new("x".into(), false, 500, None, 0);
    sink.state().in_flight = Some(Item::Chunk(wide("s", 1, 2)));
    sink.push(wide("s", 3, 5), 10);
    sink.push(wide("s", 8, 5), 20);
    assert_eq!((spiller::spool_undelivered(&sink, 60), sink.statistics().dropped), (7, 12));
}

/// One step of a run.
#[derive(Debug, Clone, Copy)]
enum Step {
    /// A chunk with this many lines is queued.
    Put(u32),
    /// The oldest item is spooled.
    Spill,
    /// The oldest item is delivered.
    Deliver,
    /// A delivery fails, and its item is moved to the spool.
    Fail,
}

/// How a run ends.
#[derive(Debug, Clone, Copy)]
struct End {
    /// An item is in flight.
    in_flight: bool,
    /// Number of delivered items that are not confirmed.
    unconfirmed: usize,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => (1..12_u32).prop_map(Step::Put),
        3 => Just(Step::Spill),
        2 => Just(Step::Deliver),
        1 => Just(Step::Fail),
    ]
}

fn run() -> impl Strategy<Value = (Vec<Step>, End)> {
    let end = (any::<bool>(), 0..3_usize).prop_map(|(in_flight, unconfirmed)| End { in_flight, unconfirmed });
    (prop::collection::vec(step(), 0..40), end)
}

/// Follows the rules for consumers in docs/events.md, over several runs.
#[derive(Default)]
struct Consumer {
    stream: String,
    last: u64,
    missing: u64,
    repeats: u64,
}

impl Consumer {
    fn take(&mut self, item: &Item) {
        let (stream, first, lines) = match item {
            Item::Chunk(chunk) => (&chunk.stream, chunk.first, chunk.lines.into()),
            Item::Gap(gap) => (&gap.stream, gap.first, gap.lines),
        };
        if **stream != *self.stream {
            assert!(**stream > *self.stream, "{stream} after {}", self.stream);
            (self.stream, self.last) = (stream.to_string(), 0);
        }
        if first + lines <= self.last + 1 {
            self.repeats += 1;
            return;
        }
        assert_eq!(first, self.last + 1, "{item:?}");
        self.last += lines;
        self.missing += if matches!(item, Item::Gap(_)) { lines } else { 0 };
    }
}

/// One run.
struct Run<'a> {
    sink: Sink,
    stream: String,
    next: u64,
    consumer: &'a mut Consumer,
    delivered: Vec<Item>,
}

impl Run<'_> {
    fn step(&mut self, step: Step) {
        match step {
            Step::Put(lines) => {
                self.sink.push(wide(&self.stream, self.next, lines), self.next);
                self.next += u64::from(lines);
            }
            Step::Spill => {
                spiller::spill_oldest(&self.sink, &mut self.sink.spool().unwrap());
            }
            Step::Deliver => self.deliver(),
            Step::Fail => {
                let Some(item) = self.begin() else { return };
                self.sink.state().in_flight = Some(item.clone());
                if !self.sink.spool_in_flight(&item) {
                    let mut state = self.sink.state();
                    state.in_flight = None;
                    state.queue.push_front(item);
                }
            }
        }
    }

    /// Takes the oldest item from the queue, unless the oldest one is in the spool.
    fn begin(&mut self) -> Option<Item> {
        let is_spooled = self.sink.spool().unwrap().peek(NOW).unwrap().is_some();
        if is_spooled { None } else { self.sink.state().queue.pop() }
    }

    fn deliver(&mut self) {
        let spooled = self.sink.spool().unwrap().peek(NOW).unwrap();
        let item = spooled.clone().or_else(|| self.sink.state().queue.pop());
        if spooled.is_some() {
            self.sink.spool().unwrap().advance();
        }
        self.delivered.extend(item);
    }

    /// Ends the run. Returns the number of dropped lines.
    fn end(mut self, end: End) -> u64 {
        if end.in_flight {
            let item = self.begin();
            self.sink.state().in_flight = item;
        }
        let confirmed = self.delivered.len().saturating_sub(end.unconfirmed);
        self.delivered.iter().take(confirmed).for_each(|item| self.consumer.take(item));
        for item in self.delivered.drain(..).skip(confirmed) {
            unconfirmed(&self.sink, item);
        }
        spiller::spool_undelivered(&self.sink, 1 << 40);
        self.sink.statistics().dropped
    }
}

fn unconfirmed(sink: &Sink, item: Item) {
    let size = item.bytes();
    let mut state = sink.state();
    state.sent.push(item, size);
    state.unconfirmed += size;
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn over_any_runs_each_number_is_delivered_or_covered_by_one_gap_in_order(
        runs in prop::collection::vec(run(), 1..4),
        queue in 1..3000_usize,
        spool in 500..5000_u64,
    ) {
        let folder = temporary();
        let mut consumer = Consumer::default();
        let (mut missing, mut made) = (0, Vec::new());
        let may_repeat = runs.iter().any(|(_, end)| end.unconfirmed > 0);
        for (number, (steps, end)) in runs.into_iter().enumerate() {
            let sink = sink_with_spool(folder.path(), queue, spool);
            let stream = format!("run {number}");
            let mut run = Run { sink, stream, next: 1, consumer: &mut consumer, delivered: Vec::new() };
            steps.into_iter().for_each(|step| run.step(step));
            made.extend(Some((run.stream.clone(), run.next - 1)).filter(|(_, lines)| *lines > 0));
            missing += run.end(end);
        }
        left(folder.path()).iter().for_each(|item| consumer.take(item));
        prop_assert_eq!(made.last().map_or(("", 0), |(stream, lines)| (stream, *lines)), (&*consumer.stream, consumer.last));
        prop_assert_eq!(consumer.missing, missing);
        prop_assert!(may_repeat || consumer.repeats == 0);
    }
}
