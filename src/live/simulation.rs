//! A kernel of a few entries, events of which any may be lost, a dump that is read
//! late, and a reader who knows only what he is told.

#![allow(clippy::unwrap_used, clippy::panic)]

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use proptest::prelude::*;

use super::*;
use crate::model::{L4, Protocol, Tuple};

const KEYS: u8 = 8;
/// Entries of a datagram.
const DATAGRAM: u8 = 3;
const STEP: u64 = 100_000_000;

#[derive(Debug, Clone, Copy)]
enum Op {
    /// Made, or destroyed where it is there.
    Toggle(u8),
    /// Destroyed and made again at once.
    Recreate(u8),
    Update(u8),
    /// The next so many events are lost.
    Lose(u8),
    Read(u8),
    Begin,
    /// The kernel fills the next datagram of the dump; it is looked at later.
    Fill,
    Look,
    End,
    Sleep(u8),
}

fn op() -> impl Strategy<Value = Op> {
    prop_oneof![
        6 => (0..KEYS).prop_map(Op::Toggle),
        3 => (0..KEYS).prop_map(Op::Recreate),
        2 => (0..KEYS).prop_map(Op::Update),
        1 => (1..4u8).prop_map(Op::Lose),
        4 => (1..6u8).prop_map(Op::Read),
        1 => Just(Op::Begin),
        3 => Just(Op::Fill),
        3 => Just(Op::Look),
        1 => Just(Op::End),
        1 => (1..30u8).prop_map(Op::Sleep),
    ]
}

/// What the entries of a run are like.
#[derive(Debug, Clone, Copy)]
struct Kind {
    v6: bool,
    has_timestamps: bool,
    /// Entries that were there before the first listener.
    mute: u8,
}

fn kind() -> impl Strategy<Value = Kind> {
    (any::<bool>(), any::<bool>(), 0..KEYS).prop_map(|(v6, has_timestamps, mute)| Kind { v6, has_timestamps, mute })
}

fn flow(kind: Kind, number: u8, start: u64) -> Flow {
    let [src, dst] = [1, 2].map(|host| match kind.v6 {
        true => IpAddr::V6(Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, host)),
        false => IpAddr::V4(Ipv4Addr::from(0x0a00_0000 + u32::from(host))),
    });
    let l4 = L4::Ports { src: 1000 + u16::from(number / 2), dst: 53 };
    let mut orig = Tuple { src, dst, protocol: Protocol::Udp, l4, ..Tuple::UNSPECIFIED };
    // Two numbers share a tuple and differ in the zone alone.
    orig.zone = (number % 2 == 1).then_some(7);
    let mut flow = Flow::new(orig, orig.inverse());
    if number == 4 {
        flow.reply.dst = src;
        flow.reply.l4 = L4::Ports { src: 53, dst: 61000 };
    }
    flow.id = Some(42);
    flow.start = kind.has_timestamps.then_some(start);
    flow
}

#[derive(Debug, Clone, Copy)]
enum Sent {
    New(u8),
    Update(u8),
    Destroy(u8),
    Lost,
}

struct World {
    kind: Kind,
    clock: u64,
    /// When each was made, and whether it speaks.
    table: BTreeMap<u8, (u64, bool)>,
    queue: VecDeque<Sent>,
    lose: u8,
    /// Nothing was lost, and nothing is mute: each end was told.
    is_complete: bool,
    /// What the next step sends: the kernel makes an entry a moment before it tells.
    late: Option<Sent>,
    cursor: Option<u8>,
    datagrams: VecDeque<Vec<(u8, u64)>>,
    live: Live,
    told: BTreeSet<u8>,
}

impl World {
    fn new(kind: Kind) -> Self {
        let table = (0..kind.mute).map(|number| (number, (0, false))).collect();
        World {
            kind,
            clock: STEP,
            table,
            queue: VecDeque::new(),
            lose: 0,
            is_complete: false,
            late: None,
            cursor: None,
            datagrams: VecDeque::new(),
            live: Live::new(false),
            told: BTreeSet::new(),
        }
    }

    fn send(&mut self, event: Sent) {
        if self.lose == 0 {
            self.queue.push_back(event);
            return;
        }
        self.lose -= 1;
        if !matches!(self.queue.back(), Some(Sent::Lost)) {
            self.queue.push_back(Sent::Lost);
        }
    }

    fn create(&mut self, number: u8) {
        self.tell_late();
        self.table.insert(number, (self.clock, true));
        self.late = Some(Sent::New(number));
    }

    fn tell_late(&mut self) {
        self.late.take().into_iter().for_each(|event| self.send(event));
    }

    fn destroy(&mut self, number: u8) {
        self.tell_late();
        if let Some((_, true)) = self.table.remove(&number) {
            self.send(Sent::Destroy(number));
        }
    }

    fn tell_new(&mut self, number: u8) {
        assert!(self.told.insert(number), "{number} was told twice");
    }

    fn tell_destroy(&mut self, known: &Known) {
        assert!(!self.is_complete, "an end was made up: {known:?}");
        let number = (0..KEYS).find(|number| flow(self.kind, *number, 0).orig == known.flow.orig).unwrap();
        let truth = flow(self.kind, number, known.flow.start.unwrap_or(0));
        assert_eq!((known.flow.reply, known.flow.id), (truth.reply, truth.id));
        assert!(self.told.remove(&number), "{number} was never told");
    }

    fn read(&mut self) {
        // Events carry no start.
        let bare = |number| Flow { start: None, ..flow(self.kind, number, 0) };
        match self.queue.pop_front() {
            Some(Sent::New(number)) => match self.live.came(&bare(number), Start::Event(self.clock), self.clock) {
                NewOutcome::New => self.tell_new(number),
                NewOutcome::Dying(_) => panic!("nothing here dies as it comes"),
                NewOutcome::Known => assert!(self.told.contains(&number)),
                NewOutcome::Again(known) => {
                    self.tell_destroy(&known);
                    self.tell_new(number);
                }
            },
            Some(Sent::Update(number)) => {
                self.live.changed(&bare(number), self.clock);
                self.told.insert(number);
            }
            // An event of what is not known is told all the same: it is no lie.
            Some(Sent::Destroy(number)) => {
                assert_eq!(self.live.left(&bare(number)).is_some(), self.told.remove(&number))
            }
            Some(Sent::Lost) | None => {}
        }
    }

    fn begin(&mut self) {
        self.datagrams.clear();
        self.cursor = Some(0);
        self.live.begin();
    }

    fn fill(&mut self) {
        let Some(from) = self.cursor.filter(|from| *from < KEYS) else { return };
        let datagram =
            self.table.range(from..(from + DATAGRAM)).map(|(number, (start, _))| (*number, *start)).collect();
        self.datagrams.push_back(datagram);
        self.cursor = Some(from + DATAGRAM);
    }

    fn look(&mut self) {
        // As the engine does; in the other test it is left to chance.
        while self.is_complete && !self.queue.is_empty() {
            self.read();
        }
        for (number, start) in self.datagrams.pop_front().unwrap_or_default() {
            let flow = flow(self.kind, number, start);
            match self.live.in_dump(&flow) {
                DumpOutcome::Known | DumpOutcome::Stale => continue,
                DumpOutcome::Unknown => {}
                DumpOutcome::Again(known) => self.tell_destroy(&known),
            }
            self.live.add(&flow, self.clock);
            self.tell_new(number);
        }
    }

    /// What is left of a pass, and nothing happens meanwhile.
    fn end(&mut self) {
        if self.cursor.take_if(|_| true).is_none() {
            return;
        }
        let mut gone = Vec::new();
        self.live.end(self.clock, |known| gone.push(known));
        gone.iter().for_each(|known| self.tell_destroy(known));
    }

    fn finish_pass(&mut self) {
        self.tell_late();
        while self.cursor.is_some_and(|cursor| cursor < KEYS) {
            self.fill();
        }
        while !self.datagrams.is_empty() {
            self.look();
        }
        while !self.queue.is_empty() {
            self.read();
        }
        self.end();
    }

    fn run(&mut self, op: Op) {
        self.clock += STEP;
        let is_late = self.late.is_some() && matches!(op, Op::Read(_) | Op::Sleep(_) | Op::Lose(_));
        self.step(op);
        if is_late {
            self.tell_late();
        }
        assert_eq!(self.live.len(), self.told.len());
    }

    fn step(&mut self, op: Op) {
        match op {
            Op::Toggle(number) if self.table.contains_key(&number) => self.destroy(number),
            Op::Toggle(number) => self.create(number),
            Op::Recreate(number) => {
                self.destroy(number);
                self.create(number);
            }
            Op::Update(number) => {
                if let Some((_, true)) = self.table.get(&number) {
                    self.tell_late();
                    self.send(Sent::Update(number));
                }
            }
            Op::Lose(count) => self.lose = count,
            Op::Read(count) => (0..count).for_each(|_| self.read()),
            Op::Begin if self.cursor.is_none() => self.begin(),
            Op::Begin => {}
            Op::Fill => self.fill(),
            Op::Look => self.look(),
            Op::End => self.finish_pass(),
            Op::Sleep(steps) => self.clock += STEP * u64::from(steps),
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 500, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn after_a_pass_without_loss_the_reader_knows_the_table(kind in kind(), ops in prop::collection::vec(op(), 0..120)) {
        let mut world = World::new(kind);
        world.begin();
        world.finish_pass();
        prop_assert_eq!(&world.told, &world.table.keys().copied().collect());
        for op in ops {
            world.run(op);
        }
        world.finish_pass();
        world.begin();
        world.finish_pass();
        let table: BTreeSet<u8> = world.table.keys().copied().collect();
        prop_assert_eq!(&world.told, &table);
        prop_assert_eq!(world.live.len(), table.len());
    }

    /// Nothing is lost and nothing is mute: the events alone tell all, and a pass at
    /// any time makes up no end.
    #[test]
    fn without_loss_a_pass_changes_nothing(v6 in any::<bool>(), ops in prop::collection::vec(op(), 0..120)) {
        let mut world = World::new(Kind { v6, has_timestamps: true, mute: 0 });
        world.is_complete = true;
        for op in ops.into_iter().filter(|op| !matches!(op, Op::Lose(_))) {
            world.run(op);
        }
        world.tell_late();
        while !world.queue.is_empty() {
            world.read();
        }
        prop_assert_eq!(&world.told, &world.table.keys().copied().collect());
    }
}

#[test]
fn what_was_made_again_while_events_were_lost_is_told_by_its_timestamp() {
    let kind = Kind { v6: false, has_timestamps: true, mute: 0 };
    let mut live = Live::new(false);
    live.begin();
    live.add(&flow(kind, 0, 1_000), 2_000);
    live.end(2_000, |_| panic!("it is there"));
    live.begin();
    assert_eq!(live.in_dump(&flow(kind, 0, 1_000)), DumpOutcome::Known);
    live.end(3_000, |_| panic!("it is there"));
    live.begin();
    let DumpOutcome::Again(known) = live.in_dump(&flow(kind, 0, 5_000)) else { panic!("made again") };
    assert_eq!((known.start, live.len()), (Start::Kernel(1_000), 0));
}

#[test]
fn the_time_of_an_event_may_be_a_little_early() {
    let kind = Kind { v6: false, has_timestamps: true, mute: 0 };
    let (event, second) = (Flow { start: None, ..flow(kind, 0, 0) }, 1_000_000_000);
    for (start, is_same) in [(10 * second + 5, true), (11 * second + 1, false)] {
        let mut live = Live::new(false);
        live.came(&event, Start::Event(10 * second), 10 * second);
        live.begin();
        assert_eq!(live.in_dump(&flow(kind, 0, start)) == DumpOutcome::Known, is_same);
    }
}

#[test]
fn a_reliable_subscription_may_tell_of_an_entry_late() {
    let kind = Kind { v6: true, has_timestamps: false, mute: 0 };
    for (redelivers, expected) in [(true, true), (false, false)] {
        let mut live = Live::new(redelivers);
        live.add(&flow(kind, 0, 0), 0);
        let came = live.came(&flow(kind, 0, 0), Start::Event(1 << 40), 1 << 40);
        assert_eq!(came == NewOutcome::Known, expected);
    }
}

#[test]
fn tables_take_the_bytes_that_the_documentation_says() {
    for (v6, least, most) in [(false, 48, 112), (true, 72, 167)] {
        let mut live = Live::new(false);
        for number in 0..100_000u32 {
            let mut flow = flow(Kind { v6, has_timestamps: false, mute: 0 }, 0, 0);
            flow.zone_both = Some(u16::try_from(number % 50_000).unwrap());
            flow.orig.l4 = L4::Ports { src: 1, dst: u16::try_from(number / 50_000).unwrap() };
            live.add(&flow, 0);
        }
        let each = live.bytes() / live.len();
        assert!((least..=most).contains(&each) && live.len() == 100_000, "{each}");
    }
}
