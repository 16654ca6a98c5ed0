//! What a deleter sends and what it does not, with a made-up kernel and a held clock.
#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::channel;
use std::sync::{Arc, Mutex, MutexGuard};

use netlink_packet_core::{NLM_F_ACK, NLMSG_ERROR};
use nix::errno::Errno;

use super::{
    Action, DatagramTime, Deleter, Deletions, Judgement, MAX_AGE, MAX_AGE_WITHOUT_QUEUE, Patch, Recheck, SampledAt,
    Target,
};
use crate::clock::{Clock, Time};
use crate::model::{Flow, L4, Protocol, Status, Tuple};
use crate::netlink::{Connection, Error};
use crate::units::Nanos;
use crate::wire::uapi::{cta, ipctnl_msg_ct, nfnl_subsys};
use crate::wire::{Batch, Header, Message, Messages};

const GET: u8 = ipctnl_msg_ct::GET;

/// An idle flow: 100 of 600 seconds are left. Its id is its source port.
fn flow(port: u16) -> Flow {
    let [src, dst] = [[10, 0, 0, 1], [10, 0, 0, 2]].map(Into::into);
    let orig = Tuple { src, dst, protocol: Protocol::Udp, l4: L4::Ports { src: port, dst: 53 }, ..Tuple::UNSPECIFIED };
    Flow { id: Some(port.into()), timeout: Some(100), ..Flow::new(orig, orig.inverse()) }
}

/// A table, its clock, and what happens to both.
#[derive(Clone, Default)]
struct FakeTable {
    flows: Arc<Mutex<Vec<Flow>>>,
    now: Arc<AtomicU64>,
    /// How much later it is after each reading of the clock, and after each datagram of deletes.
    per_reading: u64,
    per_delete: u64,
    gets: Arc<AtomicU64>,
    /// The version of the settings.
    version: Arc<AtomicU64>,
    /// Runs when the first deletes arrive, before they are answered.
    on_first_delete: OnFirstDelete,
}

type OnFirstDelete = Arc<Mutex<Option<Box<dyn FnOnce() + Send>>>>;

/// Chooses flows of which less than 200 seconds are left.
struct IsIdle(FakeTable);

impl Recheck for IsIdle {
    fn settings(&mut self, _: Nanos) -> Result<u64, Error> {
        Ok(self.0.version.load(Ordering::Relaxed))
    }

    fn is_still_chosen(&mut self, flow: &Flow, time: &DatagramTime) -> bool {
        assert_eq!(time.sampled.earliest.0 + self.0.per_reading, time.sampled.latest.0);
        flow.timeout < Some(200)
    }
}

impl FakeTable {
    fn of(ports: std::ops::Range<u16>) -> Self {
        let table = FakeTable::default();
        table.flows().extend(ports.map(flow));
        table
    }

    fn flows(&self) -> MutexGuard<'_, Vec<Flow>> {
        self.flows.lock().unwrap()
    }

    fn ports(&self) -> Vec<u16> {
        self.flows().iter().filter_map(|flow| flow.orig.sport()).collect()
    }

    fn clock(&self) -> Clock {
        let (now, step) = (Arc::clone(&self.now), self.per_reading);
        Clock::from_fn(move || Time { monotonic: Nanos(now.fetch_add(step, Ordering::Relaxed)), ..Time::default() })
    }

    fn connection(&self) -> Connection {
        let table = self.clone();
        Connection::fake(move |request| {
            let requests: Vec<Message<'_>> = Messages::new(request).map(Result::unwrap).collect();
            if requests.iter().all(|request| !is_get(request)) {
                table.now.fetch_add(table.per_delete, Ordering::Relaxed);
                let first = table.on_first_delete.lock().unwrap().take();
                first.into_iter().for_each(|run| run());
            }
            requests.iter().filter_map(|request| table.answer(request)).collect()
        })
    }

    fn answer(&self, request: &Message<'_>) -> Option<Vec<u8>> {
        let attributes = || request.attributes().map(Result::unwrap);
        let orig = attributes().find(|attribute| attribute.kind == cta::TUPLE_ORIG).unwrap();
        let orig = Tuple::decode(&orig).unwrap();
        let id = attributes().find(|attribute| attribute.kind == cta::ID).map(|id| id.be32().unwrap());
        let mut flows = self.flows();
        let place = flows.iter().position(|flow| flow.orig == orig);
        if is_get(request) {
            self.gets.fetch_add(1, Ordering::Relaxed);
            return Some(place.map_or_else(|| error(request, Errno::ENOENT as i32), |at| entry(request, &flows[at])));
        }
        match place.filter(|at| flows[*at].id == id) {
            None => Some(error(request, Errno::ENOENT as i32)),
            Some(at) if request.kind.to_be_bytes()[1] == ipctnl_msg_ct::NEW => change(request, &mut flows[at]),
            Some(at) => {
                flows.remove(at);
                (request.flags & NLM_F_ACK != 0).then(|| error(request, 0))
            }
        }
    }

    /// Deletes all flows, which were judged `age` ago by the settings of version 0; `meanwhile` happens
    /// after that.
    fn flush(&self, age: u64, meanwhile: impl FnOnce(&FakeTable)) -> Deletions {
        self.run(Action::Delete, age, meanwhile)
    }

    fn run(&self, action: Action, age: u64, meanwhile: impl FnOnce(&FakeTable)) -> Deletions {
        let targets: Vec<Target> = self.flows().iter().map(|flow| Target::of(flow).unwrap()).collect();
        let earliest = Nanos(self.now.fetch_add(age, Ordering::Relaxed));
        meanwhile(self);
        let recheck = IsIdle(self.clone());
        let mut deleter = Deleter::start(self.connection(), action, &self.clock(), recheck).unwrap();
        let judgement = Judgement { sampled: SampledAt { earliest, latest: earliest }, settings: 0 };
        targets.into_iter().for_each(|target| deleter.push(target, judgement));
        let (deletions, ended) = deleter.finish();
        ended.unwrap();
        deletions
    }

    fn gets(&self) -> u64 {
        self.gets.load(Ordering::Relaxed)
    }
}

/// As the kernel does it: a status must have the bits that the entry has.
fn change(request: &Message<'_>, flow: &mut Flow) -> Option<Vec<u8>> {
    for attribute in request.attributes().map(Result::unwrap) {
        match attribute.kind {
            cta::TIMEOUT => flow.timeout = Some(attribute.be32().unwrap()),
            cta::STATUS => {
                let status = Status::from_bits_retain(attribute.be32().unwrap());
                if !status.contains(flow.status) {
                    return Some(error(request, Errno::EBUSY as i32));
                }
                flow.status = status;
            }
            _ => {}
        }
    }
    (request.flags & NLM_F_ACK != 0).then(|| error(request, 0))
}

fn is_get(request: &Message<'_>) -> bool {
    request.kind == u16::from_be_bytes([nfnl_subsys::CTNETLINK, GET])
}

fn entry(request: &Message<'_>, flow: &Flow) -> Vec<u8> {
    let (subsystem, command) = (nfnl_subsys::CTNETLINK, ipctnl_msg_ct::NEW);
    let header = Header { subsystem, command, flags: 0, family: flow.family, sequence: request.sequence };
    let mut batch = Batch::new();
    batch.push(header, |writer| {
        flow.orig.emit(writer, cta::TUPLE_ORIG);
        flow.reply.emit(writer, cta::TUPLE_REPLY);
        writer.put(cta::STATUS, &flow.status.bits().to_be_bytes());
        flow.id.into_iter().for_each(|id| writer.put(cta::ID, &id.to_be_bytes()));
        flow.timeout.into_iter().for_each(|left| writer.put(cta::TIMEOUT, &left.to_be_bytes()));
    });
    batch.as_bytes().to_vec()
}

fn error(request: &Message<'_>, errno: i32) -> Vec<u8> {
    let payload = [&(-errno).to_ne_bytes()[..], &[0; 16]].concat();
    let length = u32::try_from(16 + payload.len()).unwrap();
    let head = [&length.to_ne_bytes()[..], &NLMSG_ERROR.to_ne_bytes(), &[0; 2]].concat();
    [&head[..], &request.sequence.to_ne_bytes(), &[0; 4], &payload].concat()
}

#[test]
fn a_target_whose_sample_is_recent_is_deleted_without_being_fetched_again() {
    let table = FakeTable::of(0..500);
    let done = table.flush(MAX_AGE_WITHOUT_QUEUE.0, |_| {});
    assert_eq!((done.outcome.done, done.rechecked, table.gets()), (500, 0, 0));
    assert_eq!((done.window, table.ports()), (MAX_AGE_WITHOUT_QUEUE, vec![]));
}

#[test]
fn a_target_whose_sample_is_too_old_is_fetched_and_judged_again() {
    let table = FakeTable::of(0..100);
    let done = table.flush(MAX_AGE_WITHOUT_QUEUE.0 + 1, |table| {
        let mut flows = table.flows();
        // A packet: the timeout is whole again.
        flows[10].timeout = Some(600);
        flows[90].timeout = Some(600);
        // Deleted and created again.
        flows[20].id = Some(1_000_020);
        flows.remove(30);
    });
    assert_eq!((done.rechecked, done.no_longer_matching, table.gets()), (100, 2, 100));
    assert_eq!((done.outcome.done, done.outcome.gone, done.outcome.unsent), (96, 2, 0));
    assert_eq!(table.ports(), [10, 20, 90]);
    assert_eq!(done.window, Nanos(0));
}

#[test]
fn a_target_that_others_wait_behind_is_sent_while_its_sample_is_younger_than_the_maximum() {
    let table = FakeTable::of(0..750);
    let ((begin, begun), (go_on, goes_on)) = (channel(), channel());
    *table.on_first_delete.lock().unwrap() = Some(Box::new(move || {
        begin.send(()).unwrap();
        goes_on.recv().unwrap();
    }));
    let targets: Vec<Target> = table.flows().iter().map(|flow| Target::of(flow).unwrap()).collect();
    let recheck = IsIdle(table.clone());
    let mut deleter = Deleter::start(table.connection(), Action::Delete, &table.clock(), recheck).unwrap();
    let mut batches = targets.chunks(250).map(|batch| {
        batch.iter().for_each(|target| deleter.push(*target, Judgement::default()));
        assert!(deleter.end_datagram().is_continue());
    });
    batches.next().unwrap();
    begun.recv().unwrap();
    // The first batch is being deleted; the second one has the third behind it.
    table.now.store(MAX_AGE.0, Ordering::Relaxed);
    assert_eq!(batches.count(), 2);
    go_on.send(()).unwrap();
    let (done, ended) = deleter.finish();
    ended.unwrap();
    // Of the first batch, 50 were not sent yet.
    assert_eq!((done.outcome.done, done.rechecked, done.window), (750, 300, MAX_AGE));
}

#[test]
fn a_target_that_was_judged_by_other_settings_is_judged_again() {
    let table = FakeTable::of(0..10);
    let done = table.flush(0, |table| {
        table.version.store(1, Ordering::Relaxed);
        table.flows()[3].timeout = Some(600);
    });
    assert_eq!((done.rechecked, done.no_longer_matching, done.outcome.done), (10, 1, 9));
    assert_eq!(table.ports(), [3]);
}

#[test]
fn the_window_is_the_longest_time_from_a_sample_to_the_return_of_its_delete() {
    let table = FakeTable { per_delete: MAX_AGE_WITHOUT_QUEUE.0 / 4, ..FakeTable::of(0..250) };
    let done = table.flush(MAX_AGE_WITHOUT_QUEUE.0 / 2, |_| {});
    // The second datagram of deletes begins when the first one has ended.
    assert_eq!((done.outcome.done, done.rechecked, done.window), (250, 0, MAX_AGE_WITHOUT_QUEUE));
}

#[test]
fn deletes_that_take_long_do_not_make_the_samples_of_the_next_ones_too_old() {
    let per_delete = MAX_AGE_WITHOUT_QUEUE.0;
    let table = FakeTable { per_delete, ..FakeTable::of(0..250) };
    let done = table.flush(per_delete, |_| {});
    assert_eq!((done.outcome.done, done.rechecked, done.window), (250, 50, Nanos(2 * per_delete)));
}

#[test]
fn a_host_that_is_always_too_slow_deletes_nothing_and_counts_it() {
    let table = FakeTable { per_reading: MAX_AGE.0, ..FakeTable::of(0..40) };
    let done = table.flush(MAX_AGE.0 + 1, |_| {});
    assert_eq!((done.outcome.done, done.outcome.unsent, done.rechecked), (0, 40, 40));
    assert_eq!(table.ports().len(), 40);
}

#[test]
fn an_update_of_an_entry_that_was_read_too_long_ago_repeats_the_status_that_it_has_now() {
    let action = Action::Update(Patch { add_status: Status::Assured, ..Patch::timeout(50) });
    let replied = |table: &FakeTable| table.flows()[0].status = Status::SeenReply;
    let table = FakeTable::of(1..4);
    let done = table.run(action, MAX_AGE.0 + 1, replied);
    assert_eq!((done.outcome.done, done.rechecked, table.gets()), (3, 3, 3));
    assert_eq!(table.flows()[0].status, Status::SeenReply | Status::Assured);
    assert!(table.flows().iter().all(|flow| flow.timeout == Some(50) && flow.status.contains(Status::Assured)));
    // Meanwhile, after the last reading: nothing is set that would clear a bit, and the part that was applied is counted.
    let table = FakeTable::of(1..4);
    let done = table.run(action, 0, replied);
    assert_eq!((done.outcome.done, done.outcome.partly, table.gets()), (2, 1, 0));
    assert_eq!(done.outcome.failed, [(Errno::EBUSY as i32, 1)].into());
    let first = table.flows()[0].clone();
    assert_eq!((first.status, first.timeout), (Status::SeenReply, Some(50)));
}
