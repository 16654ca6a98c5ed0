//! A connection: made, written to, checked and drained.

use std::io::{self, Write};
use std::net::{TcpStream, ToSocketAddrs};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;

use nix::errno::Errno;
use nix::sys::socket::{MsgFlags, recv, setsockopt, sockopt};

use super::datagram::DatagramSocket;
use super::framing::{Framing, Packed};
use super::outq::unacknowledged;
use crate::chunk::Chunk;

const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// `TCP_KEEPIDLE` and `TCP_KEEPINTVL` in seconds, and `TCP_KEEPCNT`: tcp(7).
const KEEPALIVE: (u32, u32, u32) = (15, 5, 3);
/// `TCP_USER_TIMEOUT` in milliseconds: a peer that acknowledges nothing for so long is dead.
const USER_TIMEOUT: u32 = 60_000;

/// Where to connect to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Endpoint {
    /// `HOST:PORT`.
    Tcp(String),
    /// A Unix stream socket.
    Unix(PathBuf),
    /// A Unix datagram socket, or a stream socket if the path is one.
    Datagram(PathBuf),
}

/// A connection.
pub enum Connection {
    Tcp(TcpStream),
    Unix(UnixStream),
    Datagram(DatagramSocket),
}

impl AsFd for Connection {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match self {
            Connection::Tcp(stream) => stream.as_fd(),
            Connection::Unix(stream) => stream.as_fd(),
            Connection::Datagram(datagrams) => datagrams.socket.as_fd(),
        }
    }
}

impl Connection {
    /// Connects, and begins a stream with `header`. Also returns the number of bytes sent.
    pub fn open(endpoint: &Endpoint, header: &[u8]) -> io::Result<(Self, u64)> {
        let mut connection = match endpoint {
            Endpoint::Tcp(name) => connect_tcp(name).map(Connection::Tcp)?,
            Endpoint::Unix(path) => UnixStream::connect(path).map(Connection::Unix)?,
            Endpoint::Datagram(path) => connect_datagram(path)?,
        };
        let header = if let Connection::Datagram(_) = connection { &[] } else { header };
        match &mut connection {
            Connection::Tcp(stream) => stream.write_all(header)?,
            Connection::Unix(stream) => stream.write_all(header)?,
            Connection::Datagram(_) => {}
        }
        Ok((connection, header.len() as u64))
    }

    /// Sends a chunk. `packed` is a buffer. Returns the number of bytes sent.
    pub fn send(&mut self, framing: &dyn Framing, packed: &mut Packed, chunk: &Chunk) -> io::Result<u64> {
        packed.bytes.clear();
        packed.ends.clear();
        framing.pack(chunk, packed, matches!(self, Connection::Datagram(_)));
        match self {
            Connection::Tcp(stream) => stream.write_all(&packed.bytes)?,
            Connection::Unix(stream) => stream.write_all(&packed.bytes)?,
            Connection::Datagram(datagrams) => send_datagrams(datagrams, framing, packed)?,
        }
        Ok(packed.bytes.len() as u64)
    }

    /// The number of bytes that are sent and not acknowledged.
    pub fn unacknowledged(&self) -> io::Result<u64> {
        unacknowledged(self).map(|bytes| bytes as u64)
    }

    /// Waits until the peer has everything.
    pub fn drain(&self) -> io::Result<()> {
        let mut delay = Duration::from_micros(20);
        // The queue first, then the end of the stream: a peer that closes its socket discards what
        // it has not read, and the queue is empty then too.
        while unacknowledged(self)? > 0 {
            self.check_stream()?;
            thread::sleep(delay);
            delay = (delay * 2).min(Duration::from_millis(10));
        }
        self.check()
    }

    /// Fails if the peer is gone.
    pub fn check(&self) -> io::Result<()> {
        match self {
            Connection::Datagram(datagrams) if !datagrams.has_same_receiver() => Err(closed_by_peer()),
            _ => self.check_stream(),
        }
    }

    /// Reads and discards what the peer sends; its end of stream is an error.
    fn check_stream(&self) -> io::Result<()> {
        let is_datagram = matches!(self, Connection::Datagram(_));
        let mut discarded = [0; 4096];
        loop {
            match recv(self.as_fd().as_raw_fd(), &mut discarded, MsgFlags::MSG_DONTWAIT) {
                Ok(0) if !is_datagram => return Err(closed_by_peer()),
                Ok(_) => {}
                Err(Errno::EAGAIN | Errno::EINTR) => return Ok(()),
                // The answer for a datagram socket without a name.
                Err(Errno::EINVAL | Errno::ENOTCONN) if is_datagram => return Ok(()),
                Err(errno) => return Err(errno.into()),
            }
        }
    }
}

fn send_datagrams(to: &DatagramSocket, framing: &dyn Framing, packed: &Packed) -> io::Result<()> {
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

fn closed_by_peer() -> io::Error {
    io::Error::new(io::ErrorKind::ConnectionAborted, "the peer has closed the connection")
}

/// A syslog socket is a datagram socket, or rarely a stream socket.
fn connect_datagram(path: &Path) -> io::Result<Connection> {
    match DatagramSocket::connect(path) {
        Err(error) if error.raw_os_error() == Some(nix::libc::EPROTOTYPE) => {
            UnixStream::connect(path).map(Connection::Unix)
        }
        connected => connected.map(Connection::Datagram),
    }
}

fn connect_tcp(name: &str) -> io::Result<TcpStream> {
    let mut failed = io::Error::new(io::ErrorKind::NotFound, "the name has no address");
    for address in name.to_socket_addrs()? {
        match TcpStream::connect_timeout(&address, CONNECT_TIMEOUT) {
            Ok(stream) => return with_timeouts(stream),
            Err(error) => failed = error,
        }
    }
    Err(failed)
}

/// Makes the kernel detect a dead peer, with and without unacknowledged data.
fn with_timeouts(stream: TcpStream) -> io::Result<TcpStream> {
    let (idle, interval, count) = KEEPALIVE;
    setsockopt(&stream, sockopt::KeepAlive, &true)?;
    setsockopt(&stream, sockopt::TcpKeepIdle, &idle)?;
    setsockopt(&stream, sockopt::TcpKeepInterval, &interval)?;
    setsockopt(&stream, sockopt::TcpKeepCount, &count)?;
    setsockopt(&stream, sockopt::TcpUserTimeout, &USER_TIMEOUT)?;
    stream.set_nodelay(true)?;
    Ok(stream)
}
