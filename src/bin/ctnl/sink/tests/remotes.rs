//! Receivers that disconnect and return.

use std::io::{BufRead, BufReader, Read};
use std::net::{Shutdown, TcpListener};
use std::os::unix::net::{UnixDatagram, UnixListener};
use std::path::PathBuf;

use super::*;

/// Where one receiver after the other listens.
enum Port {
    Unix(PathBuf),
    Tcp(u16),
}

enum Listener {
    Unix(UnixListener),
    Tcp(TcpListener),
}

impl Port {
    /// Listens again.
    fn listen(&self) -> Listener {
        match self {
            Port::Unix(path) => {
                let _ = fs::remove_file(path);
                Listener::Unix(UnixListener::bind(path).unwrap())
            }
            Port::Tcp(port) => Listener::Tcp(TcpListener::bind(("127.0.0.1", *port)).unwrap()),
        }
    }

    fn spec(&self) -> String {
        match self {
            Port::Unix(path) => format!("unix:{}", path.display()),
            Port::Tcp(port) => format!("tcp:127.0.0.1:{port}"),
        }
    }
}

trait Stream: Read + Send {}
impl<T: Read + Send> Stream for T {}

impl Listener {
    fn accept(&self) -> BufReader<Box<dyn Stream>> {
        BufReader::with_capacity(
            100,
            match self {
                Listener::Unix(listener) => Box::new(listener.accept().unwrap().0),
                Listener::Tcp(listener) => Box::new(listener.accept().unwrap().0),
            },
        )
    }
}

fn both(test: impl Fn(Port)) {
    let folder = tempfile::tempdir().unwrap();
    test(Port::Unix(folder.path().join("socket")));
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    test(Port::Tcp(port));
}

/// Without repeated lines.
fn once(lines: impl IntoIterator<Item = String>) -> Vec<String> {
    let mut seen = std::collections::HashSet::new();
    lines.into_iter().filter(|line| seen.insert(line.clone())).collect()
}

#[test]
fn a_stream_receiver_that_is_killed_and_restarted_misses_no_line() {
    both(|port| {
        let spool = tempfile::tempdir().unwrap();
        let listener = port.listen();
        let mut sinks = open(&port.spec(), &spooling(spool.path(), 1 << 20));
        sinks.put(chunk(1, 1000));
        let mut receiver = listener.accept();
        // It dies with what it has read and with what its kernel has queued.
        let mut seen: Vec<String> = receiver.by_ref().lines().take(300).map(Result::unwrap).collect();
        assert_eq!(seen, lines("s", 1..=300));
        for first in (1001..5001).step_by(100) {
            sinks.put(chunk(first, 100));
        }
        drop((listener, receiver));
        until_down(&sinks);
        for first in (5001..9001).step_by(100) {
            sinks.put(chunk(first, 100));
        }
        until(|| sinks.statistics()[0].spooled > 0 && sinks.statistics()[0].queued < 50_000);
        let listener = port.listen();
        let receiver = listener.accept();
        let reading = thread::spawn(move || receiver.lines().map(Result::unwrap).collect::<Vec<_>>());
        until_up(&sinks);
        assert_eq!(finish(sinks), []);
        let again = reading.join().unwrap();
        // Each connection is in order, and together they have everything.
        assert_eq!(once(again.clone()), again);
        seen.extend(again);
        assert_eq!(once(seen), lines("s", 1..=9000));
    });
}

/// Nothing is being sent when it dies: only the idle check detects that.
#[test]
fn unprocessed_lines_are_sent_again_although_there_are_no_new_ones() {
    both(|port| {
        let listener = port.listen();
        let mut sinks = open(&port.spec(), &options());
        sinks.put(chunk(1, 10));
        let mut receiver = listener.accept();
        let mut first = String::new();
        receiver.read_line(&mut first).unwrap();
        assert_eq!(first, "s 1\n");
        let mut rest = vec![0; 9 * 4 + 1];
        receiver.read_exact(&mut rest).unwrap();
        until_delivered(&sinks, 10);
        drop(receiver);
        let mut again = listener.accept();
        assert_eq!(again.by_ref().lines().take(10).map(Result::unwrap).collect::<Vec<_>>(), lines("s", 1..=10));
        assert_eq!(finish(sinks), []);
    });
}

/// It and the program end at nearly the same time, as with their host.
#[test]
fn lines_that_a_receiver_had_read_before_it_died_are_sent_again_by_the_next_run() {
    both(|port| {
        let folder = temporary();
        let listener = port.listen();
        let mut sinks = open(&port.spec(), &spooling(folder.path(), 1 << 20));
        sinks.put(chunk(1, 10));
        let receiver = listener.accept();
        assert_eq!(receiver.lines().take(10).map(Result::unwrap).collect::<Vec<_>>(), lines("s", 1..=10));
        until_down(&sinks);
        let left = finish(sinks);
        assert_eq!(left.iter().map(|left| left.lost).collect::<Vec<_>>(), [0]);

        let sinks = open(&port.spec(), &spooling(folder.path(), 1 << 20));
        let mut again = listener.accept();
        assert_eq!(again.by_ref().lines().take(10).map(Result::unwrap).collect::<Vec<_>>(), lines("s", 1..=10));
        assert_eq!(finish(sinks), []);
    });
}

#[test]
fn a_receiver_that_reads_nothing_causes_no_backpressure_and_its_lines_are_spooled() {
    let folder = tempfile::tempdir().unwrap();
    let port = Port::Unix(folder.path().join("socket"));
    let listener = port.listen();
    let mut sinks = open(&port.spec(), &SinkOptions { queue_max: 100_000, ..spooling(folder.path(), 64 << 20) });
    for first in (1..100_000).step_by(1000) {
        assert!(sinks.has_capacity());
        sinks.put(chunk(first, 1000));
        // No faster than the disk.
        until(|| sinks.statistics()[0].queued < 90_000);
    }
    let receiver = listener.accept();
    let reading = thread::spawn(move || receiver.lines().map(Result::unwrap).collect::<Vec<_>>());
    assert_eq!(finish(sinks), []);
    assert_eq!(reading.join().unwrap(), lines("s", 1..=100_000));
}

/// Bytes in the send queue are written, and the peer does not have them.
#[test]
fn lines_that_a_peer_has_not_acknowledged_at_the_end_are_spooled() {
    use nix::sys::socket::{MsgFlags, recv};
    use std::os::fd::AsRawFd;

    const CHUNKS: u64 = 200;
    let wide = |first: u64| {
        let bytes = (first..first + 100).map(|number| format!("{number:0>999}\n")).collect::<String>();
        Arc::new(Chunk { stream: "s".into(), first, lines: 100, bytes: bytes.into() })
    };
    let folder = tempfile::tempdir().unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let spec = format!("tcp:{}", listener.local_addr().unwrap());
    let options = SinkOptions { queue_max: 64 << 20, ..spooling(folder.path(), 1 << 30) };
    let mut sinks = open(&spec, &options);
    for number in 0..CHUNKS {
        sinks.put(wide(number * 100 + 1));
    }
    let (stalled, _) = listener.accept().unwrap();
    until(|| sinks.statistics()[0].delivered > 1000);
    let left = sinks.finish(Duration::from_millis(300));
    assert!(left[0].lost == 0 && left[0].spooled > 0, "{left:?}");
    let mut arrived = vec![0; 64 << 20];
    let length = recv(stalled.as_raw_fd(), &mut arrived, MsgFlags::MSG_PEEK | MsgFlags::MSG_DONTWAIT).unwrap();
    let arrived = length as u64 / 1000;

    let sinks = open(&spec, &options);
    let (again, _) = listener.accept().unwrap();
    let reading = thread::spawn(move || BufReader::new(again).lines().map(|line| line.unwrap()).collect::<Vec<_>>());
    until_delivered(&sinks, 1);
    assert_eq!(finish(sinks), []);
    let numbers: Vec<u64> = reading.join().unwrap().iter().map(|line| line.parse().unwrap()).collect();
    let first = numbers[0];
    assert!(first <= arrived + 1, "{arrived} lines arrived, and the next run began with {first}");
    assert_eq!(numbers, (first..=CHUNKS * 100).collect::<Vec<_>>());
}

#[test]
fn a_datagram_receiver_that_dies_with_unread_messages_gets_them_again() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("log");
    let mut sinks = open(&format!("syslog:{}", path.display()), &options());
    let receive = |socket: &UnixDatagram| {
        let mut bytes = [0; 1000];
        let length = socket.recv(&mut bytes).unwrap();
        let text = String::from_utf8(bytes[..length].to_vec()).unwrap();
        text.rsplit_once("] ").unwrap().1.to_owned()
    };
    let first = UnixDatagram::bind(&path).unwrap();
    sinks.put(chunk(1, 5));
    assert_eq!(receive(&first), "s 1");
    // Bound again before the first one is gone: the path exists all the time and no send fails.
    fs::remove_file(&path).unwrap();
    let second = UnixDatagram::bind(&path).unwrap();
    drop(first);
    second.set_read_timeout(Some(LONG)).unwrap();
    assert_eq!((1..=5).map(|_| receive(&second)).collect::<Vec<_>>(), lines("s", 1..=5));
    assert_eq!(finish(sinks), []);
}

#[test]
fn without_a_spool_a_full_queue_becomes_a_gap_with_exact_numbers() {
    both(|port| {
        let mut sinks = open(&port.spec(), &SinkOptions { queue_max: 1000, ..options() });
        until(|| {
            sinks.put(chunk(0, 0));
            sinks.statistics()[0].down_since.is_some() || sinks.statistics()[0].queued == 0
        });
        sinks.put(chunk(1, 10));
        until_down(&sinks);
        for first in (11..1011).step_by(100) {
            assert!(sinks.has_capacity());
            sinks.put(chunk(first, 100));
        }
        let queued = sinks.statistics()[0].clone();
        assert!(queued.dropped > 0 && queued.why.is_some(), "{queued:?}");
        let listener = port.listen();
        let reader = listener.accept();
        let reading = thread::spawn(move || reader.lines().map(Result::unwrap).collect::<Vec<_>>());
        until(|| sinks.statistics()[0].queued == 0);
        sinks.put(chunk(1011, 1));
        assert_eq!(finish(sinks), []);
        let first = 1011 - queued.dropped;
        let mut expected = lines("s", 1..first);
        expected.push(format!("s gap {first} {} Queue", queued.dropped));
        expected.extend(lines("s", [1011]));
        assert_eq!(reading.join().unwrap(), expected);
    });
}

#[test]
fn a_peer_that_sends_data_is_connected_and_one_that_shuts_down_its_side_is_gone() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let mut sinks = open(&format!("tcp:{}", listener.local_addr().unwrap()), &options());
    sinks.put(chunk(1, 1));
    let (mut stream, _) = listener.accept().unwrap();
    std::io::Write::write_all(&mut stream, b"hello").unwrap();
    until_delivered(&sinks, 1);
    stream.shutdown(Shutdown::Write).unwrap();
    let (again, _) = listener.accept().unwrap();
    assert_eq!(BufReader::new(again).lines().next().unwrap().unwrap(), "s 1");
    finish(sinks);
}

/// Such as a proxy without a server behind it.
#[test]
fn a_peer_that_accepts_reads_and_disconnects_for_long_gets_every_line_at_last() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    listener.set_nonblocking(true).unwrap();
    let time = Arc::new(AtomicU64::new(1));
    let clock = Arc::clone(&time);
    let clock = Clock::from_fn(move || Time {
        monotonic: Nanos(clock.load(Ordering::Relaxed)),
        realtime: Nanos(clock.load(Ordering::Relaxed)),
    });
    let mut sinks = open(&format!("tcp:{}", listener.local_addr().unwrap()), &SinkOptions { clock, ..options() });
    sinks.put(chunk(1, 100));
    for _ in 0..4 {
        let mut accepted = None;
        until(|| {
            accepted = listener.accept().ok();
            accepted.is_some()
        });
        let receiver = accepted.unwrap().0;
        receiver.set_read_timeout(Some(LONG)).unwrap();
        let receiver = BufReader::new(receiver);
        assert_eq!(receiver.lines().take(100).map(Result::unwrap).collect::<Vec<_>>(), lines("s", 1..=100));
        // The lines count as delivered, and the connection breaks. It takes six seconds to the next one.
        until_down(&sinks);
        time.fetch_add(6 * Nanos::PER_SECOND, Ordering::Relaxed);
    }
    sinks.finish(Duration::ZERO);
}

#[test]
fn the_journal_gets_fields_in_a_datagram_and_a_long_line_in_a_memory_file() {
    use nix::sys::socket::{ControlMessageOwned, MsgFlags, UnixAddr, recvmsg};
    use std::os::fd::AsRawFd;

    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("journal");
    let journal = UnixDatagram::bind(&path).unwrap();
    journal.set_read_timeout(Some(LONG)).unwrap();
    let mut sinks = open(&format!("journald:{}", path.display()), &options());
    let long = "x".repeat(1 << 20);
    let bytes = format!("{{\"v\":1,\"seq\":7,\"event\":\"new\"}}\n{long}\n").into_bytes();
    sinks.put(Arc::new(Chunk { stream: "s".into(), first: 7, lines: 2, bytes }));
    let mut datagram = [0; 1000];
    let length = journal.recv(&mut datagram).unwrap();
    let fields = "PRIORITY=6\nSYSLOG_FACILITY=3\nSYSLOG_IDENTIFIER=ctnl\nCTNL_STREAM=s\n";
    let expected = format!("MESSAGE={{\"v\":1,\"seq\":7,\"event\":\"new\"}}\n{fields}CTNL_SEQ=7\nCTNL_EVENT=new\n");
    assert_eq!(String::from_utf8_lossy(&datagram[..length]), expected);

    let mut space = nix::cmsg_space!(std::os::fd::RawFd);
    let message = recvmsg::<UnixAddr>(journal.as_raw_fd(), &mut [], Some(&mut space), MsgFlags::empty()).unwrap();
    let Some(ControlMessageOwned::ScmRights(descriptors)) = message.cmsgs().unwrap().next() else {
        panic!("no file descriptor")
    };
    let text = fs::read_to_string(format!("/proc/self/fd/{}", descriptors[0])).unwrap();
    assert_eq!(text, format!("MESSAGE={long}\n{fields}CTNL_SEQ=8\n"));
    assert_eq!(finish(sinks), []);
}
