//! A connection: made, written to, checked and drained.

use std::io::{self, Write};
use std::net::{TcpStream, UdpSocket};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;

use ctnl::clock::Clock;
use nix::errno::Errno;
use nix::sys::socket::{MsgFlags, recv};

use super::super::address;
use super::super::options::SinkOptions;
#[cfg(feature = "tls")]
use super::super::options::TlsFiles;
#[cfg(feature = "tls")]
use super::super::tls::{TlsStream, check_tls};
use super::datagram::DatagramSocket;
use super::framing::{Framing, Packed};
use super::outq::unacknowledged;
use super::{tcp, udp};
use crate::chunk::Chunk;

/// Where to connect to.
#[derive(Debug, Clone)]
pub enum Endpoint {
    /// `HOST:PORT`.
    Tcp(String),
    /// `HOST:PORT`, with TLS.
    #[cfg(feature = "tls")]
    Tls(String, TlsFiles),
    /// `HOST:PORT`.
    Udp(String),
    /// A Unix stream socket.
    Unix(PathBuf),
    /// A Unix datagram socket, or a stream socket if the path is one.
    Datagram(PathBuf),
}

impl Endpoint {
    /// `HOST:PORT`, with TLS. An error if the files for it cannot be used.
    #[cfg(feature = "tls")]
    pub fn tls(address: String, options: &SinkOptions) -> Result<Self, String> {
        check_tls(&options.tls, address::host(&address))?;
        Ok(Endpoint::Tls(address, options.tls.clone()))
    }

    /// This build has no TLS.
    #[cfg(not(feature = "tls"))]
    pub fn tls(address: String, _: &SinkOptions) -> Result<Self, String> {
        validate_tls(&address, None).and(Err(address))
    }
}

/// Checks the address of a server with TLS.
pub fn validate_tls(address: &str, default_port: Option<u16>) -> Result<(), String> {
    if cfg!(not(feature = "tls")) {
        return Err("this ctnl was built without TLS (cargo build --features tls)".into());
    }
    address::validate(address, default_port)
}

/// A connection.
pub enum Connection {
    Tcp(TcpStream),
    #[cfg(feature = "tls")]
    Tls(Box<TlsStream>),
    Udp(UdpSocket),
    Unix(UnixStream),
    Datagram(DatagramSocket),
}

/// What shows that the peer has received something.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Confirmation {
    /// Its kernel acknowledges each byte, some time later.
    Acknowledgement,
    /// The queue is empty when its process has read everything.
    EmptyQueue,
    /// Nothing does.
    None,
}

impl AsFd for Connection {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match self {
            Connection::Tcp(stream) => stream.as_fd(),
            #[cfg(feature = "tls")]
            Connection::Tls(stream) => stream.as_fd(),
            Connection::Udp(socket) => socket.as_fd(),
            Connection::Unix(stream) => stream.as_fd(),
            Connection::Datagram(datagrams) => datagrams.socket.as_fd(),
        }
    }
}

impl Connection {
    /// Connects, and begins a stream with `header`. Also returns the number of bytes sent.
    pub fn open(endpoint: &Endpoint, header: &[u8], clock: &Clock) -> io::Result<(Self, u64)> {
        #[cfg(not(feature = "tls"))]
        let _ = clock;
        let mut connection = match endpoint {
            Endpoint::Tcp(name) => tcp::connect(name).map(Connection::Tcp)?,
            #[cfg(feature = "tls")]
            Endpoint::Tls(name, files) => Connection::Tls(Box::new(tcp::connect_tls(name, files, clock)?)),
            Endpoint::Udp(name) => udp::connect(name).map(Connection::Udp)?,
            Endpoint::Unix(path) => UnixStream::connect(path).map(Connection::Unix)?,
            Endpoint::Datagram(path) => connect_datagram(path)?,
        };
        let sent = if connection.is_datagram() { 0 } else { connection.write(header)? };
        Ok((connection, sent))
    }

    /// Writes to a stream. Returns the number of bytes that the socket got.
    fn write(&mut self, bytes: &[u8]) -> io::Result<u64> {
        match self {
            Connection::Tcp(stream) => stream.write_all(bytes)?,
            Connection::Unix(stream) => stream.write_all(bytes)?,
            #[cfg(feature = "tls")]
            Connection::Tls(stream) => return stream.send(bytes),
            Connection::Udp(_) | Connection::Datagram(_) => {}
        }
        Ok(bytes.len() as u64)
    }

    /// Sends a chunk. `packed` is a buffer; it then has the refused datagrams. Returns the number of bytes
    /// sent.
    pub fn send(&mut self, framing: &dyn Framing, packed: &mut Packed, chunk: &Chunk) -> io::Result<u64> {
        packed.clear();
        framing.pack(chunk, packed, self.is_datagram());
        match self {
            Connection::Udp(socket) => udp::send(socket, packed)?,
            Connection::Datagram(datagrams) => send_datagrams(datagrams, framing, packed)?,
            _ => return self.write(&packed.bytes),
        }
        Ok(packed.bytes.len() as u64)
    }

    fn is_datagram(&self) -> bool {
        matches!(self, Connection::Datagram(_) | Connection::Udp(_))
    }

    /// What shows that the peer has received something.
    pub fn confirmation(&self) -> Confirmation {
        match self {
            Connection::Tcp(_) => Confirmation::Acknowledgement,
            #[cfg(feature = "tls")]
            Connection::Tls(_) => Confirmation::Acknowledgement,
            Connection::Udp(_) => Confirmation::None,
            Connection::Unix(_) | Connection::Datagram(_) => Confirmation::EmptyQueue,
        }
    }

    /// The number of bytes that are sent and not acknowledged. With TLS they are encrypted ones, as are
    /// those that [`Connection::send`] counts.
    pub fn unacknowledged(&self) -> io::Result<u64> {
        unacknowledged(self).map(|bytes| bytes as u64)
    }

    /// Waits until the peer has everything, as far as that can be known.
    pub fn drain(&mut self) -> io::Result<()> {
        let mut delay = Duration::from_micros(20);
        // The queue first, then the end of the stream: a peer that closes its socket discards what
        // it has not read, and the queue is empty then too.
        while unacknowledged(self)? > 0 {
            self.check_stream()?;
            thread::sleep(delay);
            delay = (delay * 2).min(Duration::from_millis(10));
        }
        match self {
            Connection::Udp(socket) => udp::wait_for_errors(socket),
            _ => self.check(),
        }
    }

    /// Ends a connection over which everything was sent.
    pub fn close(&mut self) {
        #[cfg(feature = "tls")]
        if let Connection::Tls(stream) = self {
            stream.close();
        }
    }

    /// Fails if the peer is gone.
    pub fn check(&mut self) -> io::Result<()> {
        match self {
            Connection::Datagram(datagrams) if !datagrams.has_same_receiver() => Err(closed_by_peer()),
            _ => self.check_stream(),
        }
    }

    /// Reads and discards what the peer sends; its end of stream is an error.
    fn check_stream(&mut self) -> io::Result<()> {
        let is_datagram = match self {
            #[cfg(feature = "tls")]
            Connection::Tls(stream) => return stream.receive(),
            Connection::Udp(socket) => return udp::check(socket),
            Connection::Datagram(_) => true,
            Connection::Tcp(_) | Connection::Unix(_) => false,
        };
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
