//! TCP connections, with or without TLS.

use std::io;
use std::net::{SocketAddr, TcpStream, ToSocketAddrs};
use std::time::Duration;

#[cfg(feature = "tls")]
use ctnl::clock::Clock;
use nix::sys::socket::{setsockopt, sockopt};

#[cfg(feature = "tls")]
use super::super::address;
#[cfg(feature = "tls")]
use super::super::options::TlsFiles;
#[cfg(feature = "tls")]
use super::super::tls::{TlsClient, TlsStream};

/// For one address, a TLS handshake included.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// `TCP_KEEPIDLE` and `TCP_KEEPINTVL` in seconds, and `TCP_KEEPCNT`: tcp(7).
const KEEPALIVE: (u32, u32, u32) = (15, 5, 3);
/// `TCP_USER_TIMEOUT` in milliseconds: a peer that acknowledges nothing for so long is dead.
const USER_TIMEOUT: u32 = 60_000;

/// Connects to `HOST:PORT`.
pub fn connect(name: &str) -> io::Result<TcpStream> {
    try_addresses(name, |address| TcpStream::connect_timeout(&address, CONNECT_TIMEOUT).and_then(with_timeouts))
}

/// Connects to `HOST:PORT` with TLS.
#[cfg(feature = "tls")]
pub fn connect_tls(name: &str, files: &TlsFiles, clock: &Clock) -> io::Result<TlsStream> {
    try_addresses(name, |address| {
        let client = TlsClient::load(files).map_err(io::Error::other)?;
        let deadline = clock.now().monotonic.plus(CONNECT_TIMEOUT.into());
        let left = || Duration::from_nanos(deadline.since(clock.now().monotonic).0);
        let tcp = TcpStream::connect_timeout(&address, CONNECT_TIMEOUT).and_then(with_timeouts)?;
        TlsStream::connect(tcp, address::host(name), &client, &left)
    })
}

/// The first address to which `connect` succeeds; otherwise the last error.
pub fn try_addresses<T>(name: &str, connect: impl Fn(SocketAddr) -> io::Result<T>) -> io::Result<T> {
    let mut failed = io::Error::new(io::ErrorKind::NotFound, "the name has no address");
    for address in name.to_socket_addrs()? {
        match connect(address) {
            Ok(connected) => return Ok(connected),
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
