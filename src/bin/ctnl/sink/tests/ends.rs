//! What the end of a run leaves to the next one, and what a queue leaves out before that:
//! each number once, or counted by one gap, in order.

use std::path::Path;

use proptest::prelude::*;

use super::place::Place;
use super::queue::Item;
use super::*;

/// Much longer than a frame without its lines, so that a spool has room for gaps and for no chunk.
const LINE: usize = 100;

pub fn wide(stream: &str, first: u64, lines: u32) -> Arc<Chunk> {
    let bytes = format!("{:1$}\n", "", LINE - 1).repeat(lines as usize);
    Arc::new(Chunk { stream: stream.into(), first, lines, bytes: bytes.into() })
}

pub fn gap(first: u64, lines: u64, cause: ctnl::output::GapCause, from: u64, to: u64) -> Gap {
    Gap { stream: "s".into(), cause, first, lines, from, to }
}

pub fn place(folder: &Path, queue: usize, spool: u64) -> Place {
    Place::new("x".into(), false, queue, Some(Spool::open(folder, "x", spool).unwrap()), 0)
}

/// First number and how many, below 0 for those that are missing.
pub fn shown(item: &Item) -> (u64, i64) {
    match item {
        Item::Chunk(chunk) => (chunk.first, chunk.lines.into()),
        Item::Gap(gap) => (gap.first, -i64::try_from(gap.lines).unwrap()),
    }
}

/// All that the next run would deliver.
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

pub fn spill_all(place: &Place) -> bool {
    let mut spool = place.spool().unwrap();
    while !place.state().queue.is_empty() {
        if !spiller::spill(place, &mut spool) {
            return false;
        }
    }
    true
}

#[test]
fn gaps_and_chunks_behind_a_full_spool_stay_in_their_order_with_their_numbers() {
    use ctnl::output::GapCause::{Queue, Spool};
    let folder = tempfile::tempdir().unwrap();
    let place = place(folder.path(), 1000, 1500);
    place.put(wide("s", 1, 10), 10);
    assert!(spill_all(&place));
    place.put(wide("s", 11, 10), 20);
    place.put(wide("s", 21, 5), 30);
    place.put(wide("s", 26, 4), 31);
    assert!(!spill_all(&place));
    let first = place.state().queue.pop().unwrap();
    place.put(wide("s", 30, 3), 40);
    place.state().refused = None;
    place.state().queue.put_back(first);
    place.put(wide("s", 33, 2), 50);
    place.put(wide("s", 35, 1), 51);
    // The queue is now: chunk, gap, chunk, gap.
    assert_eq!(spiller::keep(&place, 60), 13);
    let expected =
        [gap(11, 10, Spool, 60, 60), gap(21, 9, Queue, 20, 31), gap(30, 3, Spool, 60, 60), gap(33, 3, Queue, 40, 51)];
    let kept = std::iter::once(Item::Chunk(wide("s", 1, 10))).chain(expected.map(Item::Gap));
    assert_eq!(left(folder.path()), kept.collect::<Vec<_>>());
    assert_eq!(place.statistics().dropped, 9 + 3 + 13);
}

#[test]
fn a_chunk_that_would_still_have_room_does_not_go_past_one_that_has_none() {
    let folder = tempfile::tempdir().unwrap();
    let place = place(folder.path(), 10_000, 1500);
    for (first, lines) in [(1, 5), (6, 20), (26, 1), (27, 20)] {
        place.put(wide("s", first, lines), 10);
    }
    assert_eq!(spiller::keep(&place, 60), 41);
    assert_eq!(left(folder.path()).iter().map(shown).collect::<Vec<_>>(), [(1, 5), (6, -41)]);
}

/// What was on its way goes into the spool whatever its limit.
#[test]
fn a_gap_at_the_end_is_kept_where_even_the_room_for_gaps_is_used_up() {
    let folder = tempfile::tempdir().unwrap();
    let place = place(folder.path(), 10_000, 1500);
    place.state().in_flight = Some(Item::Chunk(wide("s", 1, 1000)));
    place.put(wide("s", 1001, 7), 10);
    assert_eq!(spiller::keep(&place, 60), 7);
    assert_eq!(left(folder.path()).iter().map(shown).collect::<Vec<_>>(), [(1, 1000), (1001, -7)]);
}

#[test]
fn without_a_spool_all_that_was_not_delivered_is_lost_and_counted_once() {
    let place = Place::new("x".into(), false, 500, None, 0);
    place.state().in_flight = Some(Item::Chunk(wide("s", 1, 2)));
    place.put(wide("s", 3, 5), 10);
    place.put(wide("s", 8, 5), 20);
    assert_eq!((spiller::keep(&place, 60), place.statistics().dropped), (7, 12));
}

/// What happens to a place.
#[derive(Debug, Clone, Copy)]
enum Step {
    /// So many lines come.
    Put(u32),
    /// The oldest item goes into the spool.
    Spill,
    /// The oldest item is delivered.
    Deliver,
    /// A delivery begins, fails, and leaves what it had in hand in the spool.
    Fail,
}

/// How a run ends.
#[derive(Debug, Clone, Copy)]
struct End {
    /// Something was on its way.
    in_flight: bool,
    /// Of what was delivered, so many items may not have arrived.
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

/// Follows the rules for consumers in docs/events.md, for one run after the other.
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

/// One run with its place.
struct Run<'a> {
    place: Place,
    stream: String,
    next: u64,
    consumer: &'a mut Consumer,
    delivered: Vec<Item>,
}

impl Run<'_> {
    fn step(&mut self, step: Step) {
        match step {
            Step::Put(lines) => {
                self.place.put(wide(&self.stream, self.next, lines), self.next);
                self.next += u64::from(lines);
            }
            Step::Spill => {
                spiller::spill(&self.place, &mut self.place.spool().unwrap());
            }
            Step::Deliver => self.deliver(),
            Step::Fail => {
                if let Some(item) = self.begin()
                    && !self.place.keep_first(&item)
                {
                    self.place.state().queue.put_back(item);
                }
            }
        }
    }

    /// Takes the oldest item in hand, where that is not in the spool.
    fn begin(&mut self) -> Option<Item> {
        let is_spooled = self.place.spool().unwrap().peek(NOW).unwrap().is_some();
        if is_spooled { None } else { self.place.state().queue.pop() }
    }

    fn deliver(&mut self) {
        let spooled = self.place.spool().unwrap().peek(NOW).unwrap();
        let item = spooled.clone().or_else(|| self.place.state().queue.pop());
        if spooled.is_some() {
            self.place.spool().unwrap().advance();
        }
        self.delivered.extend(item);
    }

    /// How many lines were left out in it.
    fn end(mut self, end: End) -> u64 {
        if end.in_flight {
            let item = self.begin();
            self.place.state().in_flight = item;
        }
        let confirmed = self.delivered.len().saturating_sub(end.unconfirmed);
        self.delivered.iter().take(confirmed).for_each(|item| self.consumer.take(item));
        for item in self.delivered.drain(..).skip(confirmed) {
            unconfirmed(&self.place, item);
        }
        spiller::keep(&self.place, 1 << 40);
        self.place.statistics().dropped
    }
}

fn unconfirmed(place: &Place, item: Item) {
    let size = item.bytes();
    place.state().unconfirmed.push_back((item, size));
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn over_any_runs_each_number_is_delivered_or_counted_by_one_gap_in_its_place(
        runs in prop::collection::vec(run(), 1..4),
        queue in 1..3000_usize,
        spool in 500..5000_u64,
    ) {
        let folder = tempfile::tempdir().unwrap();
        let mut consumer = Consumer::default();
        let (mut missing, mut made) = (0, Vec::new());
        let may_repeat = runs.iter().any(|(_, end)| end.unconfirmed > 0);
        for (number, (steps, end)) in runs.into_iter().enumerate() {
            let place = place(folder.path(), queue, spool);
            let stream = format!("run {number}");
            let mut run = Run { place, stream, next: 1, consumer: &mut consumer, delivered: Vec::new() };
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
