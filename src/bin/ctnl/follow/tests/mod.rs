//! Tests of the event loop with scripted sources: cases that a real kernel produces only by
//! chance.

mod begins;
mod capacity;
mod heartbeats;
mod losses;
mod namespaces;
mod silent;

use std::collections::VecDeque;
use std::io::Read;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixStream;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use ctnl::age::IdleEstimator;
use ctnl::clock::{Clock, Time};
use ctnl::filter::Filter;
use ctnl::model::{Event, EventKind, Status};
use ctnl::netlink::{Connection, Error};
use ctnl::output::{JSON, SinkState, WriterOptions};
use ctnl::sysctl::Sysctl;
use ctnl::table::{Buffer, Queue, Step};
use ctnl::wire::{DecodeError, DecodeErrorKind, Message};
use serde_json::Value;

use super::source::Source;
use super::streams::Streams;
use super::{
    Environment, FollowOptions, Lines, NamespaceChange, NamespaceStream, Notification, OnGap, Reconcile, RecordKinds,
    StreamEnd, follow,
};
use crate::chunk::{Chunk, Outlet};
use crate::fake::{self, flow};

/// A step of a script.
#[derive(Debug, Clone, Copy)]
enum Scripted {
    New(u16),
    /// A new event whose entry another processor is destroying.
    Dying(u16),
    Destroy(u16),
    Lost(Option<u64>),
    Unreadable,
}

/// A source that returns the steps of a script.
#[derive(Debug, Clone)]
struct Script(Arc<Mutex<State>>, Option<Arc<UnixStream>>);

#[derive(Debug)]
struct State {
    steps: VecDeque<Scripted>,
    queue: Queue,
    requested: Vec<usize>,
    /// How often it was read, and its queue sampled.
    reads: u64,
    samples: u64,
    is_unsubscribed: bool,
    is_broken: bool,
    fails_to_unsubscribe: bool,
}

fn script(steps: impl IntoIterator<Item = Scripted>) -> Script {
    let queue = Queue { used: 0, capacity: 1000, drops: 0 };
    let steps = steps.into_iter().collect();
    let (is_unsubscribed, is_broken, fails_to_unsubscribe) = (false, false, false);
    let state = State {
        steps,
        queue,
        requested: Vec::new(),
        reads: 0,
        samples: 0,
        is_unsubscribed,
        is_broken,
        fails_to_unsubscribe,
    };
    Script(Arc::new(Mutex::new(state)), None)
}

impl Source for Script {
    fn next(&mut self, event: &mut Event) -> Result<Step, Error> {
        let mut state = self.0.lock().unwrap();
        state.reads += 1;
        if state.is_broken {
            return Err(Error::Socket { operation: "receive an event", errno: nix::errno::Errno::EBADF });
        }
        let (kind, port) = match state.steps.pop_front() {
            Some(Scripted::New(port)) => (EventKind::New, port),
            Some(Scripted::Dying(port)) => {
                let mut flow = flow(port);
                flow.status |= Status::Dying;
                *event = Event { kind: EventKind::New, port: 0, flow, is_mark_implied: false };
                return Ok(Step::Event);
            }
            Some(Scripted::Destroy(port)) => (EventKind::Destroy, port),
            Some(Scripted::Lost(lost)) => return Ok(Step::Lost(lost)),
            Some(Scripted::Unreadable) => {
                return Ok(Step::Unreadable(DecodeError {
                    kind: DecodeErrorKind::Missing,
                    attribute: None,
                    offset: 0,
                }));
            }
            None => {
                drop(state);
                self.read_descriptor();
                return Ok(Step::Empty);
            }
        };
        *event = Event { kind, port: 0, flow: flow(port), is_mark_implied: false };
        Ok(Step::Event)
    }

    fn message(&self) -> Option<Message<'_>> {
        None
    }

    fn queue(&self) -> Result<Queue, Error> {
        let mut state = self.0.lock().unwrap();
        state.samples += 1;
        Ok(state.queue)
    }

    fn buffer(&self) -> Buffer {
        let capacity = self.0.lock().unwrap().queue.capacity as usize;
        Buffer { requested: capacity / 2, capacity, forced: true }
    }

    fn grow(&mut self, bytes: usize) -> Result<Buffer, Error> {
        let mut state = self.0.lock().unwrap();
        state.requested.push(bytes);
        state.queue.capacity = u32::try_from(2 * bytes).unwrap();
        drop(state);
        Ok(self.buffer())
    }

    fn unsubscribe(&mut self) -> Result<(), Error> {
        let mut state = self.0.lock().unwrap();
        state.is_unsubscribed = true;
        let error = Error::Socket { operation: "end the subscription to events", errno: nix::errno::Errno::EBADF };
        if state.fails_to_unsubscribe { Err(error) } else { Ok(()) }
    }

    fn descriptor(&self) -> Option<BorrowedFd<'_>> {
        self.1.as_ref().map(|descriptor| descriptor.as_fd())
    }
}

impl Script {
    /// Its descriptor is readable no more.
    fn read_descriptor(&self) {
        while self.1.as_ref().is_some_and(|descriptor| (&**descriptor).read(&mut [0; 64]).is_ok_and(|n| n > 0)) {}
    }
}

/// An environment whose clock advances by the time that is slept, and which ends at a time.
struct TestEnvironment {
    now: Duration,
    end: Duration,
    changes: Vec<(Duration, NamespaceChange)>,
    /// Called at each sleep.
    on_sleep: Box<dyn FnMut(Duration)>,
    is_ready: bool,
    /// The numbers of silent entries that were reported.
    silent: Vec<usize>,
    /// Records and entries at each time for statistics.
    stats: Vec<(u64, Option<u64>, u64)>,
    /// The state of the sinks.
    sinks: Vec<SinkState>,
}

fn env(seconds: u64) -> TestEnvironment {
    let (now, end) = (Duration::ZERO, Duration::from_secs(seconds));
    let (changes, on_sleep, sinks) = (Vec::new(), Box::new(|_| ()), Vec::new());
    TestEnvironment { now, end, changes, on_sleep, is_ready: false, silent: Vec::new(), stats: Vec::new(), sinks }
}

impl Environment for TestEnvironment {
    fn clock(&self) -> Clock {
        let now = Time { monotonic: self.now.into(), realtime: self.now.into() };
        Clock::from_fn(move || now)
    }

    fn stop(&mut self) -> Option<&'static str> {
        (self.now >= self.end).then_some("SIGTERM")
    }

    fn changes(&mut self) -> Vec<NamespaceChange> {
        let now = self.now;
        self.changes.extract_if(.., |(at, _)| *at <= now).map(|(_, change)| change).collect()
    }

    fn notify(&mut self, notification: Notification<'_>) {
        self.is_ready |= matches!(notification, Notification::Ready);
        match notification {
            Notification::Stats(snapshot) => self.stats.push((snapshot.records, snapshot.entries, snapshot.queued)),
            Notification::Silent { entries, .. } => self.silent.push(entries),
            _ => {}
        }
    }

    fn sinks(&mut self) -> Vec<SinkState> {
        self.sinks.clone()
    }

    fn sleep(&mut self, time: Duration) {
        self.now += time;
        (self.on_sleep)(self.now);
    }

    fn wait(&mut self, _: &mut Streams, time: Duration) {
        self.sleep(time.max(Duration::from_millis(1)));
    }
}

/// An outlet that stores its chunks.
#[derive(Clone, Default)]
struct StoredChunks(Arc<Mutex<Vec<Arc<Chunk>>>>, Arc<Mutex<bool>>);

impl Outlet for StoredChunks {
    fn has_capacity(&self) -> bool {
        !*self.1.lock().unwrap()
    }

    fn put(&mut self, chunk: Arc<Chunk>) {
        self.0.lock().unwrap().push(chunk);
    }
}

impl StoredChunks {
    fn records(&self) -> Vec<Value> {
        let chunks = self.0.lock().unwrap();
        let mut next = 1;
        let mut records = Vec::new();
        for chunk in chunks.iter() {
            assert_eq!(chunk.first, next);
            next += u64::from(chunk.lines);
            let lines: Vec<Value> = chunk
                .bytes
                .split_inclusive(|b| *b == b'\n')
                .map(|line| serde_json::from_slice(line).unwrap())
                .collect();
            assert_eq!(lines.len(), chunk.lines as usize);
            records.extend(lines);
        }
        records
    }

    /// The records in short: `new 7`, `gap 3`, `destroy 7 resync`.
    fn story(&self) -> Vec<String> {
        let describe = |record: &Value| {
            let mut words = vec![record["event"].as_str().unwrap().to_owned()];
            let port = &record["flow"]["orig"]["sport"];
            words.extend([port, &record["lost"]].into_iter().filter(|v| v.is_u64()).map(ToString::to_string));
            let reason = if record["event"] == "resync" { &record["reason"] } else { &Value::Null };
            let names = [&record["synthetic"], reason, &record["netns"]];
            words.extend(names.into_iter().filter_map(|v| v.as_str()).map(str::to_owned));
            words.join(" ")
        };
        self.records().iter().map(describe).collect()
    }
}

/// A kernel whose table has these entries.
fn table(ports: &[u16]) -> Connection {
    fake::table(ports.chunks(100).map(|ports| ports.iter().map(|port| flow(*port)).collect()).collect())
}

fn stream(name: Option<&str>, source: &Script, connection: Connection) -> NamespaceStream {
    let ages = IdleEstimator::without_timeouts(0);
    NamespaceStream::new(name.map(str::to_owned), Box::new(source.clone()), connection, ages, None)
}

fn options(seed: bool, on_gap: OnGap) -> FollowOptions {
    FollowOptions {
        kinds: RecordKinds { new: true, destroy: true, ..RecordKinds::default() },
        seed,
        on_gap,
        reconcile: Reconcile::Off,
        buffer_max: 1000,
        reliable: false,
        stats_interval: None,
        heartbeat: None,
        stream: "test".into(),
        version: "0",
        netfilter: Sysctl::at(Sysctl::NETFILTER),
    }
}

fn run(
    options: FollowOptions,
    streams: Vec<NamespaceStream>,
    outlet: &StoredChunks,
    env: &mut TestEnvironment,
) -> StreamEnd {
    try_run(options, streams, outlet, env).unwrap()
}

fn try_run(
    options: FollowOptions,
    streams: Vec<NamespaceStream>,
    outlet: &StoredChunks,
    env: &mut TestEnvironment,
) -> Result<StreamEnd, Error> {
    let writer = JSON.event_writer(WriterOptions::default()).unwrap();
    let mut outlet = outlet.clone();
    let lines = Lines::new(Arc::clone(&options.stream), writer, &mut outlet);
    follow(options, Filter::default(), streams, lines, env)
}
