//! Property tests with a simulated kernel: a few entries, events of which any may be lost, a
//! dump whose datagrams are read late, and a reader that holds a set made of the records.

#![allow(clippy::unwrap_used, clippy::panic)]

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use proptest::prelude::*;

use super::*;
use crate::model::{L4, Protocol, Tuple};

const KEYS: u8 = 8;
/// Entries in a datagram of the dump.
const DATAGRAM: u8 = 3;
const STEP: u64 = 100_000_000;

#[derive(Debug, Clone, Copy)]
enum Op {
    /// Created, or destroyed where it exists.
    Toggle(u8),
    /// Destroyed and created again at once.
    Recreate(u8),
    Update(u8),
    /// The next events, this many, are lost.
    Lose(u8),
    Read(u8),
    Begin,
    /// The kernel fills the next datagram of the dump; `Apply` reads it.
    Fill,
    Apply,
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
        3 => Just(Op::Apply),
        1 => Just(Op::End),
        1 => (1..30u8).prop_map(Op::Sleep),
    ]
}

/// The properties of a run.
#[derive(Debug, Clone, Copy)]
struct Setup {
    v6: bool,
    has_timestamps: bool,
    /// Entries from before the first subscription, which send no events
    /// (`nf_conntrack_events=2`).
    mute: u8,
}

fn setup() -> impl Strategy<Value = Setup> {
    (any::<bool>(), any::<bool>(), 0..KEYS).prop_map(|(v6, has_timestamps, mute)| Setup { v6, has_timestamps, mute })
}

fn flow(setup: Setup, number: u8, start: u64) -> Flow {
    let [src, dst] = [1, 2].map(|host| match setup.v6 {
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
    flow.start = setup.has_timestamps.then_some(start);
    flow
}

#[derive(Debug, Clone, Copy)]
enum Sent {
    New(u8),
    Update(u8),
    Destroy(u8),
    Lost,
}

struct Simulation {
    setup: Setup,
    clock: u64,
    /// When each entry was created, and whether it sends events.
    table: BTreeMap<u8, (u64, bool)>,
    queue: VecDeque<Sent>,
    lose: u8,
    /// No event is lost and no entry is mute, so every end has an event.
    is_complete: bool,
    /// Sent at the next step: the kernel inserts an entry before it sends the event.
    late: Option<Sent>,
    cursor: Option<u8>,
    datagrams: VecDeque<Vec<(u8, u64)>>,
    live: Live,
    reported: BTreeSet<u8>,
}

impl Simulation {
    fn new(setup: Setup) -> Self {
        let table = (0..setup.mute).map(|number| (number, (0, false))).collect();
        Simulation {
            setup,
            clock: STEP,
            table,
            queue: VecDeque::new(),
            lose: 0,
            is_complete: false,
            late: None,
            cursor: None,
            datagrams: VecDeque::new(),
            live: Live::new(false),
            reported: BTreeSet::new(),
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
        self.send_late();
        self.table.insert(number, (self.clock, true));
        self.late = Some(Sent::New(number));
    }

    fn send_late(&mut self) {
        self.late.take().into_iter().for_each(|event| self.send(event));
    }

    fn destroy(&mut self, number: u8) {
        self.send_late();
        if let Some((_, true)) = self.table.remove(&number) {
            self.send(Sent::Destroy(number));
        }
    }

    fn report_new(&mut self, number: u8) {
        assert!(self.reported.insert(number), "{number} was reported twice");
    }

    fn report_destroy(&mut self, known: &LiveEntry) {
        assert!(!self.is_complete, "an end without an event: {known:?}");
        let number = (0..KEYS).find(|number| flow(self.setup, *number, 0).orig == known.flow.orig).unwrap();
        let truth = flow(self.setup, number, known.flow.start.unwrap_or(0));
        assert_eq!((known.flow.reply, known.flow.id), (truth.reply, truth.id));
        assert!(self.reported.remove(&number), "{number} was never reported");
    }

    fn read(&mut self) {
        // Without CTA_TIMESTAMP: only the dump and destroy events have the start.
        let bare = |number| Flow { start: None, ..flow(self.setup, number, 0) };
        match self.queue.pop_front() {
            Some(Sent::New(number)) => match self.live.on_new(&bare(number), Start::Event(self.clock), self.clock) {
                NewOutcome::New => self.report_new(number),
                NewOutcome::Dying(_) => panic!("no entry of the simulation is dying in its new event"),
                NewOutcome::Known => assert!(self.reported.contains(&number)),
                NewOutcome::Recreated(known) => {
                    self.report_destroy(&known);
                    self.report_new(number);
                }
            },
            Some(Sent::Update(number)) => {
                self.live.on_update(&bare(number), self.clock);
                self.reported.insert(number);
            }
            // The event of an entry that is not in the set is reported all the same.
            Some(Sent::Destroy(number)) => {
                assert_eq!(self.live.on_destroy(&bare(number)).is_some(), self.reported.remove(&number))
            }
            Some(Sent::Lost) | None => {}
        }
    }

    fn begin(&mut self) {
        self.datagrams.clear();
        self.cursor = Some(0);
        self.live.begin_pass();
    }

    fn fill(&mut self) {
        let Some(from) = self.cursor.filter(|from| *from < KEYS) else { return };
        let datagram =
            self.table.range(from..(from + DATAGRAM)).map(|(number, (start, _))| (*number, *start)).collect();
        self.datagrams.push_back(datagram);
        self.cursor = Some(from + DATAGRAM);
    }

    fn apply(&mut self) {
        // As the engine does; in the other test the order is random.
        while self.is_complete && !self.queue.is_empty() {
            self.read();
        }
        for (number, start) in self.datagrams.pop_front().unwrap_or_default() {
            let flow = flow(self.setup, number, start);
            match self.live.on_dumped(&flow) {
                DumpOutcome::Known | DumpOutcome::Stale => continue,
                DumpOutcome::Unknown => {}
                DumpOutcome::Recreated(known) => self.report_destroy(&known),
            }
            self.live.insert_dumped(&flow, self.clock);
            self.report_new(number);
        }
    }

    /// Ends the pass, if one has begun.
    fn end(&mut self) {
        if self.cursor.take_if(|_| true).is_none() {
            return;
        }
        let mut gone = Vec::new();
        self.live.end_pass(self.clock, |known| gone.push(known));
        gone.iter().for_each(|known| self.report_destroy(known));
    }

    fn finish_pass(&mut self) {
        self.send_late();
        while self.cursor.is_some_and(|cursor| cursor < KEYS) {
            self.fill();
        }
        while !self.datagrams.is_empty() {
            self.apply();
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
            self.send_late();
        }
        assert_eq!(self.live.len(), self.reported.len());
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
                    self.send_late();
                    self.send(Sent::Update(number));
                }
            }
            Op::Lose(count) => self.lose = count,
            Op::Read(count) => (0..count).for_each(|_| self.read()),
            Op::Begin if self.cursor.is_none() => self.begin(),
            Op::Begin => {}
            Op::Fill => self.fill(),
            Op::Apply => self.apply(),
            Op::End => self.finish_pass(),
            Op::Sleep(steps) => self.clock += STEP * u64::from(steps),
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 500, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn after_a_pass_without_loss_the_set_is_the_table(setup in setup(), ops in prop::collection::vec(op(), 0..120)) {
        let mut simulation = Simulation::new(setup);
        simulation.begin();
        simulation.finish_pass();
        prop_assert_eq!(&simulation.reported, &simulation.table.keys().copied().collect());
        for op in ops {
            simulation.run(op);
        }
        simulation.finish_pass();
        simulation.begin();
        simulation.finish_pass();
        let table: BTreeSet<u8> = simulation.table.keys().copied().collect();
        prop_assert_eq!(&simulation.reported, &table);
        prop_assert_eq!(simulation.live.len(), table.len());
    }

    /// No event is lost and no entry is mute: the events alone keep the set equal to the
    /// table, and a pass at any time reports no end of its own.
    #[test]
    fn without_loss_a_pass_removes_nothing(v6 in any::<bool>(), ops in prop::collection::vec(op(), 0..120)) {
        let mut simulation = Simulation::new(Setup { v6, has_timestamps: true, mute: 0 });
        simulation.is_complete = true;
        for op in ops.into_iter().filter(|op| !matches!(op, Op::Lose(_))) {
            simulation.run(op);
        }
        simulation.send_late();
        while !simulation.queue.is_empty() {
            simulation.read();
        }
        prop_assert_eq!(&simulation.reported, &simulation.table.keys().copied().collect());
    }
}

#[test]
fn an_entry_created_again_while_events_were_lost_is_detected_by_its_timestamp() {
    let setup = Setup { v6: false, has_timestamps: true, mute: 0 };
    let mut live = Live::new(false);
    live.begin_pass();
    live.insert_dumped(&flow(setup, 0, 1_000), 2_000);
    live.end_pass(2_000, |_| panic!("the entry exists"));
    live.begin_pass();
    assert_eq!(live.on_dumped(&flow(setup, 0, 1_000)), DumpOutcome::Known);
    live.end_pass(3_000, |_| panic!("the entry exists"));
    live.begin_pass();
    let DumpOutcome::Recreated(known) = live.on_dumped(&flow(setup, 0, 5_000)) else { panic!("created again") };
    assert_eq!((known.start, live.len()), (Start::Kernel(1_000), 0));
}

#[test]
fn the_time_of_an_event_may_be_too_early_by_a_second() {
    let setup = Setup { v6: false, has_timestamps: true, mute: 0 };
    let (event, second) = (Flow { start: None, ..flow(setup, 0, 0) }, 1_000_000_000);
    for (start, is_same) in [(10 * second + 5, true), (11 * second + 1, false)] {
        let mut live = Live::new(false);
        live.on_new(&event, Start::Event(10 * second), 10 * second);
        live.begin_pass();
        assert_eq!(live.on_dumped(&flow(setup, 0, start)) == DumpOutcome::Known, is_same);
    }
}

#[test]
fn with_a_reliable_subscription_a_new_event_may_follow_the_dump_by_any_time() {
    let setup = Setup { v6: true, has_timestamps: false, mute: 0 };
    for (redelivers, expected) in [(true, true), (false, false)] {
        let mut live = Live::new(redelivers);
        live.insert_dumped(&flow(setup, 0, 0), 0);
        let outcome = live.on_new(&flow(setup, 0, 0), Start::Event(1 << 40), 1 << 40);
        assert_eq!(outcome == NewOutcome::Known, expected);
    }
}

#[test]
fn the_tables_have_the_size_that_the_documentation_states() {
    for (v6, least, most) in [(false, 48, 112), (true, 72, 167)] {
        let mut live = Live::new(false);
        for number in 0..100_000u32 {
            let mut flow = flow(Setup { v6, has_timestamps: false, mute: 0 }, 0, 0);
            flow.zone_both = Some(u16::try_from(number % 50_000).unwrap());
            flow.orig.l4 = L4::Ports { src: 1, dst: u16::try_from(number / 50_000).unwrap() };
            live.insert_dumped(&flow, 0);
        }
        let each = live.bytes() / live.len();
        assert!((least..=most).contains(&each) && live.len() == 100_000, "{each}");
    }
}
