//! One TLS connection.

use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::sync::Arc;
use std::time::Duration;

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::socket::{MsgFlags, recv};
use rustls::ClientConnection;
use rustls::pki_types::ServerName;

use super::config::{Identity, TlsClient};
use super::error::{ClientAuth, describe, rejected};

/// Bytes that are encrypted at a time: less than the 64 KiB that rustls buffers by default.
const PART: usize = 32 << 10;
/// How long a server that has requested a client certificate is waited for: in TLS 1.3 it answers to it after
/// the client's last message, and some answer only if they reject it.
const VERDICT: Duration = Duration::from_secs(1);

/// A connection whose server is verified. Nothing stays in the buffers of rustls: what was sent is in the
/// socket's queue.
pub struct TlsStream {
    tcp: TcpStream,
    tls: ClientConnection,
    identity: Arc<Identity>,
}

impl AsFd for TlsStream {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.tcp.as_fd()
    }
}

impl TlsStream {
    /// Runs the handshake with `host`. `left` is the time that it may still take.
    pub fn connect(tcp: TcpStream, host: &str, client: &TlsClient, left: &dyn Fn() -> Duration) -> io::Result<Self> {
        let name = server_name(host).map_err(io::Error::other)?;
        let tls = ClientConnection::new(Arc::clone(&client.config), name).map_err(io::Error::other)?;
        let mut stream = TlsStream { tcp, tls, identity: Arc::clone(&client.identity) };
        stream.handshake(left)?;
        Ok(stream)
    }

    fn handshake(&mut self, left: &dyn Fn() -> Duration) -> io::Result<()> {
        while self.tls.is_handshaking() {
            self.flush()?;
            if !self.wait_for_data(left())? {
                let why = "no answer to the TLS handshake\n  hint: does the server expect TLS at this port?";
                return Err(io::Error::new(io::ErrorKind::TimedOut, why));
            }
            self.receive().map_err(|error| self.explain_end(error))?;
        }
        self.flush()?;
        if self.identity.is_requested() && self.wait_for_data(left().min(VERDICT))? {
            self.receive().map_err(|error| self.explain_end(error))?;
        }
        Ok(())
    }

    /// A server without TLS, and one that misses a certificate, may just close the connection.
    fn explain_end(&self, error: io::Error) -> io::Error {
        if !matches!(error.kind(), io::ErrorKind::ConnectionAborted | io::ErrorKind::ConnectionReset) {
            return error;
        }
        let ClientAuth { has_certificate, is_requested } = self.identity.client_auth();
        if is_requested && !has_certificate {
            io::Error::new(error.kind(), rejected(&error.to_string()))
        } else if self.tls.is_handshaking() {
            let hint = "does the server expect TLS at this port?";
            io::Error::new(error.kind(), format!("TLS handshake: {error}\n  hint: {hint}"))
        } else {
            error
        }
    }

    fn wait_for_data(&self, timeout: Duration) -> io::Result<bool> {
        let timeout = PollTimeout::try_from(timeout).unwrap_or(PollTimeout::MAX);
        match poll(&mut [PollFd::new(self.tcp.as_fd(), PollFlags::POLLIN)], timeout) {
            Err(Errno::EINTR) => Ok(true),
            ready => Ok(ready? > 0),
        }
    }

    /// Sends all of `bytes`. Returns the number of encrypted bytes.
    pub fn send(&mut self, bytes: &[u8]) -> io::Result<u64> {
        let mut sent = 0;
        for part in bytes.chunks(PART) {
            self.tls.writer().write_all(part)?;
            sent += self.flush()?;
        }
        Ok(sent)
    }

    /// Writes what is encrypted to the socket.
    fn flush(&mut self) -> io::Result<u64> {
        let mut written = 0;
        while self.tls.wants_write() {
            match self.tls.write_tls(&mut self.tcp) {
                Ok(bytes) => written += bytes as u64,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(written)
    }

    /// Reads and discards what the server has sent; an error, an alert and the end of the stream are
    /// errors.
    pub fn receive(&mut self) -> io::Result<()> {
        let mut received = [0; 4096];
        loop {
            match recv(self.tcp.as_raw_fd(), &mut received, MsgFlags::MSG_DONTWAIT) {
                Ok(0) => return Err(closed()),
                Ok(length) => self.process(received.get(..length).unwrap_or_default())?,
                Err(Errno::EINTR) => {}
                // The answer to a renewed key.
                Err(Errno::EAGAIN) => return self.flush().map(drop),
                Err(errno) => return Err(errno.into()),
            }
        }
    }

    fn process(&mut self, mut bytes: &[u8]) -> io::Result<()> {
        while !bytes.is_empty() {
            self.tls.read_tls(&mut bytes)?;
            let state = match self.tls.process_new_packets() {
                Ok(state) => state,
                Err(error) => {
                    // The server gets an alert with the reason, if its queue accepts it.
                    let _ = self.flush();
                    let why = describe(&error, self.identity.client_auth());
                    return Err(io::Error::new(io::ErrorKind::InvalidData, why));
                }
            };
            let plain = state.plaintext_bytes_to_read() as u64;
            io::copy(&mut self.tls.reader().take(plain), &mut io::sink())?;
            if state.peer_has_closed() {
                return Err(closed());
            }
        }
        Ok(())
    }

    /// Ends the stream (`close_notify`): the server can distinguish it from a broken one.
    pub fn close(&mut self) {
        self.tls.send_close_notify();
        if self.tcp.set_nonblocking(true).is_ok() {
            let _ = self.flush();
        }
    }
}

/// The name that a server's certificate must have: of a host, or its address.
pub fn server_name(host: &str) -> Result<ServerName<'static>, String> {
    ServerName::try_from(host.to_owned()).map_err(|_| format!("invalid host name '{host}'"))
}

fn closed() -> io::Error {
    io::Error::new(io::ErrorKind::ConnectionAborted, "the peer has closed the connection")
}
