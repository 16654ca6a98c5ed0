//! Connections in use: every byte that is sent must come back.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use ctnl::model::{Flow, Tuple};
use ctnl::table;

use ctnl_test_support::connections::Tcp;
use ctnl_test_support::harness::TestNetns;
use ctnl_test_support::net::{Net, OUTSIDE, OUTSIDE6};

/// A dead connection is noticed by this; retransmits on a busy machine take less.
const TIMEOUT: Duration = Duration::from_secs(30);
const BLOCK: usize = 512;
const PAUSE: Duration = Duration::from_millis(100);

/// Connections through the router on which blocks go to and fro until it is stopped.
pub struct Traffic {
    stop: Arc<AtomicBool>,
    pulses: Vec<Arc<Pulse>>,
    threads: Vec<JoinHandle<u64>>,
    tuples: Vec<Tuple>,
    entries: Vec<Flow>,
}

impl Traffic {
    /// Starts `count` connections; every second one over IPv6.
    pub fn start(net: &Net<'_>, count: usize) -> Self {
        let listeners = [OUTSIDE.into(), OUTSIDE6.into()]
            .map(|address: std::net::IpAddr| net.outside.run(|| TcpListener::bind((address, 0)).expect("listen")));
        let mut traffic = Traffic {
            stop: Arc::default(),
            pulses: Vec::new(),
            threads: Vec::new(),
            tuples: Vec::new(),
            entries: Vec::new(),
        };
        for number in 0..count {
            let listener = &listeners[number % 2];
            let target: SocketAddr = listener.local_addr().expect("address");
            let mut connection = Tcp::through(net, listener, target);
            connection.exchange();
            traffic.tuples.push(connection.tuple());
            traffic.run(connection, number as u64);
        }
        traffic.entries = traffic.entries_of(net.netns);
        traffic
    }

    fn run(&mut self, connection: Tcp, seed: u64) {
        let Tcp { client, server } = connection;
        for socket in [&client, &server] {
            socket.set_read_timeout(Some(TIMEOUT)).expect("timeout");
        }
        thread::spawn(move || echo(server));
        let (stop, pulse) = (Arc::clone(&self.stop), Arc::new(Pulse::new()));
        self.pulses.push(Arc::clone(&pulse));
        self.threads.push(thread::spawn(move || talk(client, seed, &stop, || pulse.beat())));
    }

    /// For how long nothing has come back on the connection that is silent longest.
    pub fn silence(&self) -> Duration {
        self.pulses.iter().map(|pulse| pulse.silence()).max().unwrap_or_default()
    }

    /// How many were once silent for so long: a flush that names less means them. It takes
    /// a machine that stands still, as a virtual one does while it is saved.
    pub fn silent_for(&self, time: Duration) -> u64 {
        self.pulses.iter().map(|pulse| u64::from(pulse.longest_silence() >= time)).sum()
    }

    fn entries_of(&self, netns: &TestNetns) -> Vec<Flow> {
        let (mut connection, entry) = (netns.connection(), "the entry of a connection in use");
        self.tuples.iter().map(|tuple| table::get(&mut connection, tuple, 0).expect(entry).expect(entry)).collect()
    }

    /// Ends all of them. Every block must have come back as it was sent, and every entry
    /// of a connection that was never silent for `meant` must be the one that it was:
    /// made at the same time.
    pub fn finish(self, netns: &TestNetns, meant: Duration) -> u64 {
        let now = self.entries_of(netns);
        self.stop.store(true, Ordering::Relaxed);
        let bytes = self.threads.into_iter().map(|thread| thread.join().expect("a connection lost bytes")).sum();
        let in_use = self.pulses.iter().map(|pulse| pulse.longest_silence() < meant);
        for ((before, now), _) in self.entries.iter().zip(&now).zip(in_use).filter(|(_, in_use)| *in_use) {
            assert!(before.start.is_some(), "nf_conntrack_timestamp is on");
            assert_eq!((before.orig, before.start, before.id), (now.orig, now.start, now.id), "made anew");
        }
        bytes
    }
}

fn echo(mut server: TcpStream) {
    let mut block = [0; BLOCK];
    while server.read_exact(&mut block).is_ok() && server.write_all(&block).is_ok() {}
}

/// When a connection was heard. In milliseconds since its start.
struct Pulse {
    started: Instant,
    last: AtomicU64,
    longest: AtomicU64,
}

impl Pulse {
    fn new() -> Self {
        Pulse { started: Instant::now(), last: AtomicU64::new(0), longest: AtomicU64::new(0) }
    }

    fn now(&self) -> u64 {
        u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    fn beat(&self) {
        let now = self.now();
        let silent = now.saturating_sub(self.last.swap(now, Ordering::Relaxed));
        self.longest.fetch_max(silent, Ordering::Relaxed);
    }

    fn silence(&self) -> Duration {
        Duration::from_millis(self.now().saturating_sub(self.last.load(Ordering::Relaxed)))
    }

    fn longest_silence(&self) -> Duration {
        self.silence().max(Duration::from_millis(self.longest.load(Ordering::Relaxed)))
    }
}

/// How many bytes came back.
fn talk(mut client: TcpStream, seed: u64, stop: &AtomicBool, heard: impl Fn()) -> u64 {
    let (mut bytes, mut round) = (0, seed << 32);
    while !stop.load(Ordering::Relaxed) {
        let sent: Vec<u8> = round.to_be_bytes().into_iter().cycle().take(BLOCK).collect();
        let mut received = [0; BLOCK];
        client.write_all(&sent).expect("send");
        client.read_exact(&mut received).unwrap_or_else(|error| panic!("after {bytes} bytes: {error}"));
        assert_eq!(received[..], sent[..], "after {bytes} bytes");
        heard();
        (bytes, round) = (bytes + BLOCK as u64, round + 1);
        thread::sleep(PAUSE);
    }
    bytes
}
