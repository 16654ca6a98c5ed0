//! Whoever is at the other end of a socket, and may be away for a while.
//!
//! A line has arrived, for a local socket, once its process has read it; over TCP, once its
//! kernel has acknowledged it. Up to that it is kept, and sent again over the next connection
//! where this one broke. But a process may die with what it has read, or with what its kernel
//! has for it: so what was delivered in the last ten seconds (8 MiB at most) is sent again
//! too, before anything else. Lines come twice by that, and none is missing but to a process
//! that lets more lie around.
//!
//! A peer that closes its sending side counts as gone. One that is alive and reads nothing is
//! waited for; over TCP for a minute, since a dead host looks the same.

use std::io::{self, Write};
use std::net::{TcpStream, ToSocketAddrs};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::Result;
use nix::errno::Errno;
use nix::sys::socket::{MsgFlags, recv, setsockopt, sockopt};

use super::local::Datagrams;
use super::recent::Recent;
use super::unsent::unsent;
use super::{Deliver, Down, Options, Word};
use crate::chunk::Chunk;

const CONNECT: Duration = Duration::from_secs(5);
/// Seconds without traffic after which the peer's host is asked whether it is there, seconds
/// between two questions, and questions.
const KEEPALIVE: (u32, u32, u32) = (15, 5, 3);
/// Milliseconds after which a peer that acknowledges nothing is dead.
const DEAD: u32 = 60_000;

/// Where to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Address {
    /// `HOST:PORT`.
    Tcp(String),
    /// A stream socket.
    Unix(PathBuf),
    /// A socket for datagrams, or else for a stream.
    Datagram(PathBuf),
}

/// How lines are packed. A stream takes the bytes; each datagram ends at one of `ends`.
pub trait Framing: Send {
    /// What each stream begins with.
    fn header(&self) -> &[u8] {
        &[]
    }

    /// Packs a chunk for a stream or for datagrams.
    fn pack(&self, chunk: &Chunk, packed: &mut Packed, datagrams: bool);

    /// Sends one datagram that is too long for the socket.
    fn send_long(&self, _: &Datagrams, _: &[u8], error: io::Error) -> io::Result<()> {
        Err(error)
    }
}

/// Bytes, and where in them each piece ends.
#[derive(Debug, Default)]
pub struct Packed {
    pub bytes: Vec<u8>,
    pub ends: Vec<usize>,
}

/// Lines as they are.
struct Lines {
    header: Arc<[u8]>,
}

impl Lines {
    fn of(options: &Options) -> Box<dyn Framing> {
        Box::new(Lines { header: Arc::clone(&options.header) })
    }
}

impl Framing for Lines {
    fn header(&self) -> &[u8] {
        &self.header
    }

    fn pack(&self, chunk: &Chunk, packed: &mut Packed, _: bool) {
        packed.bytes.extend_from_slice(&chunk.bytes);
        packed.ends.push(packed.bytes.len());
    }
}

/// A connection.
enum Connection {
    Tcp(TcpStream),
    Unix(UnixStream),
    Datagrams(Datagrams),
}

impl AsFd for Connection {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match self {
            Connection::Tcp(stream) => stream.as_fd(),
            Connection::Unix(stream) => stream.as_fd(),
            Connection::Datagrams(datagrams) => datagrams.socket.as_fd(),
        }
    }
}

/// The sink.
pub struct Remote {
    name: String,
    address: Address,
    framing: Box<dyn Framing>,
    connection: Option<Connection>,
    /// Bytes that went over the connection.
    sent: u64,
    recent: Recent,
    /// What was delivered last was delivered over a connection that broke.
    owes: bool,
    packed: Packed,
}

pub fn tcp(word: &Word, options: &Options) -> Result<Box<dyn Deliver>> {
    Ok(Box::new(Remote::new(word.name(), Address::Tcp(word.rest.clone()), Lines::of(options))))
}

pub fn unix(word: &Word, options: &Options) -> Result<Box<dyn Deliver>> {
    Ok(Box::new(Remote::new(word.name(), Address::Unix(word.rest.clone().into()), Lines::of(options))))
}

impl Remote {
    /// A place with this `name` in messages. It is not connected yet.
    pub fn new(name: String, address: Address, framing: Box<dyn Framing>) -> Self {
        let (recent, packed) = (Recent::default(), Packed::default());
        Remote { name, address, framing, connection: None, sent: 0, recent, owes: false, packed }
    }

    /// Does `work` over the connection, which is made where there is none. The connection is
    /// given up where it fails.
    fn over<T>(&mut self, tried: &str, work: impl FnOnce(&mut Self) -> io::Result<T>) -> Result<T, Down> {
        let done = self.connected().and_then(|()| work(self));
        done.map_err(|error| {
            if self.connection.take().is_some() {
                self.sent = 0;
                self.recent.forget(Instant::now());
                self.owes = true;
            }
            Down::of(format_args!("{}: {tried}", self.name), &error)
        })
    }

    fn connected(&mut self) -> io::Result<()> {
        if self.connection.is_none() {
            let mut connection = connect(&self.address)?;
            self.sent = begin(&mut connection, self.framing.header())?;
            self.connection = Some(connection);
        }
        if self.owes {
            self.recent.confirm(0);
            for (chunk, end) in self.recent.iter_mut() {
                self.sent += send(self.connection.as_mut(), &*self.framing, &mut self.packed, chunk)?;
                *end = self.sent;
            }
            self.settle()?;
            self.owes = false;
        }
        Ok(())
    }

    /// Waits until the other side has it all.
    fn settle(&mut self) -> io::Result<()> {
        settle(self.connection.as_ref())?;
        self.recent.confirm(self.sent);
        Ok(())
    }

    /// Over TCP acknowledgements may take their time; a local socket tells nothing but that
    /// all is read.
    fn note_arrival(&mut self) -> io::Result<()> {
        match &self.connection {
            Some(connection @ Connection::Tcp(_)) => {
                check(connection)?;
                let unsent = unsent(connection)? as u64;
                self.recent.confirm(self.sent.saturating_sub(unsent));
                Ok(())
            }
            _ => self.settle(),
        }
    }
}

impl Deliver for Remote {
    fn deliver(&mut self, chunk: &Chunk) -> Result<(), Down> {
        self.over("send", |this| {
            this.sent += send(this.connection.as_mut(), &*this.framing, &mut this.packed, chunk)?;
            this.note_arrival()
        })?;
        self.recent.push(chunk, self.sent, Instant::now());
        Ok(())
    }

    fn unconfirmed(&mut self) -> usize {
        if self.owes { self.recent.bytes() } else { self.recent.unconfirmed() }
    }

    fn idle(&mut self) -> Result<(), Down> {
        if self.connection.is_none() && !self.owes {
            return Ok(());
        }
        self.over("look for the peer", Remote::note_arrival)
    }

    fn finish(&mut self) -> Result<(), Down> {
        if self.connection.is_none() && !self.owes {
            return Ok(());
        }
        self.over("wait for the peer", Remote::settle)
    }
}

/// Begins a stream. How many bytes went over the connection.
fn begin(to: &mut Connection, header: &[u8]) -> io::Result<u64> {
    match to {
        Connection::Tcp(stream) => stream.write_all(header)?,
        Connection::Unix(stream) => stream.write_all(header)?,
        Connection::Datagrams(_) => return Ok(0),
    }
    Ok(header.len() as u64)
}

/// How many bytes went over the connection.
fn send(to: Option<&mut Connection>, framing: &dyn Framing, packed: &mut Packed, chunk: &Chunk) -> io::Result<u64> {
    let to = to.ok_or(io::ErrorKind::NotConnected)?;
    packed.bytes.clear();
    packed.ends.clear();
    framing.pack(chunk, packed, matches!(to, Connection::Datagrams(_)));
    match to {
        Connection::Tcp(stream) => stream.write_all(&packed.bytes)?,
        Connection::Unix(stream) => stream.write_all(&packed.bytes)?,
        Connection::Datagrams(datagrams) => send_each(datagrams, framing, packed)?,
    }
    Ok(packed.bytes.len() as u64)
}

fn send_each(to: &Datagrams, framing: &dyn Framing, packed: &Packed) -> io::Result<()> {
    let mut start = 0;
    for end in &packed.ends {
        let datagram = packed.bytes.get(start..*end).unwrap_or_default();
        start = *end;
        match to.socket.send(datagram) {
            Err(error) if matches!(error.raw_os_error(), Some(nix::libc::EMSGSIZE | nix::libc::ENOBUFS)) => {
                framing.send_long(to, datagram, error)?;
            }
            sent => drop(sent?),
        }
    }
    Ok(())
}

/// Waits until the other side has it all.
fn settle(connection: Option<&Connection>) -> io::Result<()> {
    let connection = connection.ok_or(io::ErrorKind::NotConnected)?;
    let mut nap = Duration::from_micros(20);
    // First the one, then the other: a socket that is closed forgets what was not read.
    while unsent(connection)? > 0 {
        check_stream(connection)?;
        thread::sleep(nap);
        nap = (nap * 2).min(Duration::from_millis(10));
    }
    check(connection)
}

/// An error where the other side is gone.
fn check(connection: &Connection) -> io::Result<()> {
    match connection {
        Connection::Datagrams(datagrams) if !datagrams.is_same() => Err(gone()),
        _ => check_stream(connection),
    }
}

/// What a peer of a stream says is of no interest, but for its end.
fn check_stream(connection: &Connection) -> io::Result<()> {
    let mut said = [0; 4096];
    loop {
        match recv(connection.as_fd().as_raw_fd(), &mut said, MsgFlags::MSG_DONTWAIT) {
            Ok(0) if !matches!(connection, Connection::Datagrams(_)) => return Err(gone()),
            Ok(_) => {}
            Err(Errno::EAGAIN | Errno::EINTR) => return Ok(()),
            // A socket for datagrams without a name.
            Err(Errno::EINVAL | Errno::ENOTCONN) if matches!(connection, Connection::Datagrams(_)) => return Ok(()),
            Err(errno) => return Err(errno.into()),
        }
    }
}

fn gone() -> io::Error {
    io::Error::new(io::ErrorKind::ConnectionAborted, "the other side has closed it")
}

fn connect(address: &Address) -> io::Result<Connection> {
    match address {
        Address::Tcp(name) => connect_tcp(name).map(Connection::Tcp),
        Address::Unix(path) => UnixStream::connect(path).map(Connection::Unix),
        Address::Datagram(path) => connect_local(path),
    }
}

/// A syslog socket takes datagrams, or seldom a stream.
fn connect_local(path: &Path) -> io::Result<Connection> {
    match Datagrams::connect(path) {
        Err(error) if error.raw_os_error() == Some(nix::libc::EPROTOTYPE) => {
            UnixStream::connect(path).map(Connection::Unix)
        }
        connected => connected.map(Connection::Datagrams),
    }
}

fn connect_tcp(name: &str) -> io::Result<TcpStream> {
    let mut failed = io::Error::new(io::ErrorKind::NotFound, "the name has no address");
    for address in name.to_socket_addrs()? {
        match TcpStream::connect_timeout(&address, CONNECT) {
            Ok(stream) => return watched(stream),
            Err(error) => failed = error,
        }
    }
    Err(failed)
}

/// A dead peer is noticed, with data on its way and without.
fn watched(stream: TcpStream) -> io::Result<TcpStream> {
    let (after, every, times) = KEEPALIVE;
    setsockopt(&stream, sockopt::KeepAlive, &true)?;
    setsockopt(&stream, sockopt::TcpKeepIdle, &after)?;
    setsockopt(&stream, sockopt::TcpKeepInterval, &every)?;
    setsockopt(&stream, sockopt::TcpKeepCount, &times)?;
    setsockopt(&stream, sockopt::TcpUserTimeout, &DEAD)?;
    stream.set_nodelay(true)?;
    Ok(stream)
}
