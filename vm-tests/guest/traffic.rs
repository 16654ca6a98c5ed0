//! Connections in use: every byte that is sent must be echoed.

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

/// Longer than retransmits on a busy machine.
const TIMEOUT: Duration = Duration::from_secs(30);
const BLOCK: usize = 512;
const PAUSE: Duration = Duration::from_millis(100);

/// Connections through the router on which blocks are echoed until they are stopped.
pub struct Traffic {
    stop: Arc<AtomicBool>,
    last_received: Vec<Arc<LastReceived>>,
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
            last_received: Vec::new(),
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
        let (stop, last) = (Arc::clone(&self.stop), Arc::new(LastReceived::new()));
        self.last_received.push(Arc::clone(&last));
        self.threads.push(thread::spawn(move || send_blocks(client, seed, &stop, || last.update())));
    }

    /// The longest current silence of a connection.
    pub fn silence(&self) -> Duration {
        self.last_received.iter().map(|last| last.silence()).max().unwrap_or_default()
    }

    /// The number of connections that were once silent for `time`, so that a flush may delete them. That
    /// only happens when the machine is suspended.
    pub fn silent_for(&self, time: Duration) -> u64 {
        self.last_received.iter().map(|last| u64::from(last.longest_silence() >= time)).sum()
    }

    fn entries_of(&self, netns: &TestNetns) -> Vec<Flow> {
        let (mut connection, entry) = (netns.connection(), "the entry of a connection in use");
        self.tuples.iter().map(|tuple| table::get(&mut connection, tuple, 0).expect(entry).expect(entry)).collect()
    }

    /// Stops all connections. Fails unless every block was echoed unchanged, and the entry of every
    /// connection that was never silent for `older` is the same as at the start. Returns the number of
    /// echoed bytes.
    pub fn finish(self, netns: &TestNetns, older: Duration) -> u64 {
        let now = self.entries_of(netns);
        self.stop.store(true, Ordering::Relaxed);
        let bytes = self.threads.into_iter().map(|thread| thread.join().expect("a connection lost bytes")).sum();
        let in_use = self.last_received.iter().map(|last| last.longest_silence() < older);
        for ((before, now), _) in self.entries.iter().zip(&now).zip(in_use).filter(|(_, in_use)| *in_use) {
            assert!(before.start.is_some(), "nf_conntrack_timestamp is on");
            assert_eq!(
                (before.orig, before.start, before.id),
                (now.orig, now.start, now.id),
                "the entry was deleted and created again"
            );
        }
        bytes
    }
}

fn echo(mut server: TcpStream) {
    let mut block = [0; BLOCK];
    while server.read_exact(&mut block).is_ok() && server.write_all(&block).is_ok() {}
}

/// When data was received on a connection, in milliseconds since its start.
struct LastReceived {
    started: Instant,
    last: AtomicU64,
    longest: AtomicU64,
}

impl LastReceived {
    fn new() -> Self {
        LastReceived { started: Instant::now(), last: AtomicU64::new(0), longest: AtomicU64::new(0) }
    }

    fn now(&self) -> u64 {
        u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    fn update(&self) {
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

/// Sends blocks and receives their echo. Returns the number of bytes.
fn send_blocks(mut client: TcpStream, seed: u64, stop: &AtomicBool, on_received: impl Fn()) -> u64 {
    let (mut bytes, mut round) = (0, seed << 32);
    while !stop.load(Ordering::Relaxed) {
        let sent: Vec<u8> = round.to_be_bytes().into_iter().cycle().take(BLOCK).collect();
        let mut received = [0; BLOCK];
        client.write_all(&sent).expect("send");
        client.read_exact(&mut received).unwrap_or_else(|error| panic!("after {bytes} bytes: {error}"));
        assert_eq!(received[..], sent[..], "after {bytes} bytes");
        on_received();
        (bytes, round) = (bytes + BLOCK as u64, round + 1);
        thread::sleep(PAUSE);
    }
    bytes
}
