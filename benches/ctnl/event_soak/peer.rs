//! A peer that reads lines, and is disturbed by turns: it closes the connection and loses what it read
//! last, stops reading, reads slowly, goes away.

use std::io::{self, ErrorKind, Read};
use std::net::TcpListener;
use std::os::unix::net::UnixListener;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use super::received::Received;

/// What a peer that is killed had read and not yet processed.
const UNPROCESSED: usize = 20_000;

/// How lines are packed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Framing {
    Lines,
    /// RFC 5424 messages with their length before them (RFC 6587).
    OctetCounting,
}

/// A peer with its address.
pub struct Peer {
    name: String,
    address: Address,
    framing: Framing,
    received: Mutex<Received>,
    is_disturbed: AtomicBool,
    turn: AtomicU64,
}

enum Address {
    Unix(String),
    Tcp(u16),
}

/// What a peer does during one connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Turn {
    Reads,
    CloseAtOnce,
    ReadsNothing,
    ReadsSlowly,
    GoesAway,
}

impl Turn {
    fn nth(turn: u64) -> Self {
        match turn % 5 {
            0 => Turn::CloseAtOnce,
            1 => Turn::ReadsNothing,
            2 => Turn::GoesAway,
            3 => Turn::ReadsSlowly,
            _ => Turn::Reads,
        }
    }
}

trait Stream: Read {
    fn set_timeout(&self, timeout: Duration) -> io::Result<()>;
}

impl Stream for std::net::TcpStream {
    fn set_timeout(&self, timeout: Duration) -> io::Result<()> {
        self.set_nonblocking(false)?;
        self.set_read_timeout(Some(timeout))
    }
}

impl Stream for std::os::unix::net::UnixStream {
    fn set_timeout(&self, timeout: Duration) -> io::Result<()> {
        self.set_nonblocking(false)?;
        self.set_read_timeout(Some(timeout))
    }
}

impl Peer {
    pub fn unix(path: String, framing: Framing) -> Self {
        Peer::new(format!("unix:{path}"), Address::Unix(path), framing)
    }

    /// `kind` is the part of the sink before the address.
    pub fn tcp(kind: &str, port: u16, framing: Framing) -> Self {
        Peer::new(format!("{kind}:127.0.0.1:{port}"), Address::Tcp(port), framing)
    }

    fn new(name: String, address: Address, framing: Framing) -> Self {
        let (is_disturbed, turn) = (AtomicBool::new(true), AtomicU64::new(0));
        Peer { name, address, framing, received: Mutex::default(), is_disturbed, turn }
    }

    /// The argument of `--to`.
    pub fn sink(&self) -> String {
        self.name.clone()
    }

    /// From now on it reads everything.
    pub fn recover(&self) {
        self.is_disturbed.store(false, Ordering::Relaxed);
    }

    pub fn into_received(self) -> (String, Received) {
        (self.name, self.received.into_inner().unwrap_or_default())
    }

    /// Accepts connections and reads until `stop`.
    pub fn serve(&self, stop: &AtomicBool) {
        while !stop.load(Ordering::Relaxed) {
            let served = match &self.address {
                Address::Unix(path) => {
                    let _ = std::fs::remove_file(path);
                    UnixListener::bind(path).and_then(|listener| {
                        listener.set_nonblocking(true)?;
                        self.accept(stop, || Ok(Box::new(listener.accept()?.0) as Box<dyn Stream>))
                    })
                }
                Address::Tcp(port) => TcpListener::bind(("127.0.0.1", *port)).and_then(|listener| {
                    listener.set_nonblocking(true)?;
                    self.accept(stop, || Ok(Box::new(listener.accept()?.0) as Box<dyn Stream>))
                }),
            };
            if let Err(error) = served {
                crate::print::note(&format!("{}: {error}", self.name));
                thread::sleep(Duration::from_millis(200));
            } else {
                thread::sleep(Duration::from_secs(4));
            }
        }
    }

    /// Until it is this peer's turn to go away.
    fn accept(&self, stop: &AtomicBool, accept: impl Fn() -> io::Result<Box<dyn Stream>>) -> io::Result<()> {
        while !stop.load(Ordering::Relaxed) {
            match accept() {
                Ok(stream) => {
                    let turn = self.turn.fetch_add(1, Ordering::Relaxed);
                    stream.set_timeout(Duration::from_millis(50))?;
                    self.read(stream, turn, stop)?;
                    if Turn::nth(turn) == Turn::GoesAway && self.is_disturbed.load(Ordering::Relaxed) {
                        return Ok(());
                    }
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => thread::sleep(Duration::from_millis(5)),
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// Reads one connection to its end, or until its turn ends.
    fn read(&self, mut stream: Box<dyn Stream>, number: u64, stop: &AtomicBool) -> io::Result<()> {
        let (begin, turn) = (Instant::now(), Turn::nth(number));
        let length = Duration::from_millis(1000 + number.wrapping_mul(617) % 4000);
        let (mut pending, mut piece) = (Vec::new(), vec![0; 16 << 10]);
        while !stop.load(Ordering::Relaxed) {
            let is_disturbed = self.is_disturbed.load(Ordering::Relaxed);
            let is_over = begin.elapsed() > length;
            if is_disturbed && is_over && matches!(turn, Turn::CloseAtOnce | Turn::GoesAway) {
                // What is still pending is lost.
                return Ok(());
            }
            if is_disturbed && is_over && begin.elapsed() > 4 * length {
                break;
            }
            if is_disturbed && !is_over && turn == Turn::ReadsNothing {
                thread::sleep(Duration::from_millis(50));
                continue;
            }
            if is_disturbed && !is_over && turn == Turn::ReadsSlowly {
                thread::sleep(Duration::from_millis(50));
            }
            match stream.read(&mut piece) {
                Ok(0) => break,
                Ok(count) => pending.extend_from_slice(piece.get(..count).unwrap_or_default()),
                Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {}
                Err(error) if error.kind() == ErrorKind::ConnectionReset => break,
                Err(error) => return Err(error),
            }
            let loses = is_disturbed && matches!(turn, Turn::CloseAtOnce | Turn::GoesAway);
            self.process(&mut pending, if loses { UNPROCESSED } else { 0 });
        }
        self.process(&mut pending, 0);
        Ok(())
    }

    /// Takes whole lines from the front of `pending`, as long as more than `keep` bytes are left.
    fn process(&self, pending: &mut Vec<u8>, keep: usize) {
        let Ok(mut received) = self.received.lock() else { return };
        let mut done = 0;
        while pending.len() - done > keep
            && let Some((line, length)) = self.framing.next(pending.get(done..).unwrap_or_default())
        {
            received.add(line);
            done += length;
        }
        pending.drain(..done);
    }
}

impl Framing {
    /// The first line of `bytes`, and how many bytes it takes.
    fn next(self, bytes: &[u8]) -> Option<(&[u8], usize)> {
        match self {
            Framing::Lines => {
                let end = bytes.iter().position(|byte| *byte == b'\n')?;
                Some((bytes.get(..end)?, end + 1))
            }
            Framing::OctetCounting => {
                let space = bytes.iter().position(|byte| *byte == b' ')?;
                let length: usize = std::str::from_utf8(bytes.get(..space)?).ok()?.parse().ok()?;
                let message = bytes.get(space + 1..space + 1 + length)?;
                let begin = message.windows(5).position(|part| part == b"{\"v\":").unwrap_or(0);
                Some((message.get(begin..)?, space + 1 + length))
            }
        }
    }
}
