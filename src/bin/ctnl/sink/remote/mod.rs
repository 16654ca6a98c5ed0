//! Sinks behind a socket, whose peer may be down for a while.
//!
//! A line counts as received when the process has read it (Unix socket) or when the peer's kernel
//! has acknowledged it (TCP). Until then it is kept, and sent again over the next connection if
//! this one breaks. A receiver may also crash with what it has read, or with what its kernel has
//! queued for it: so what was sent in the last ten seconds (8 MiB at most, see `recent`) is sent
//! again too, before anything else. Lines are repeated by that, and a line is lost only if a
//! receiver leaves more than that unprocessed.
//!
//! With TLS, what counts is that the peer's kernel has acknowledged the encrypted bytes: none of them stay in
//! the TLS layer. Over UDP nothing shows what was received. If the kernel reports that nobody has the port,
//! the last ten seconds are sent again; what it refuses to send is reported line by line.
//!
//! A peer that closes its sending direction counts as gone. A peer that reads nothing is waited
//! for, over TCP for a minute: a dead host looks the same.

mod connection;
mod datagram;
mod framing;
mod outq;
mod recent;
mod tcp;
mod udp;

use std::io;
use std::sync::Arc;

use ctnl::clock::Clock;

use self::connection::{Confirmation, Connection};
use self::framing::PlainFraming;
use self::recent::RecentChunks;
use super::deliver::{Deliver, DeliveryError};
use super::options::SinkOptions;
use crate::chunk::Chunk;

pub use self::connection::{Endpoint, validate_tls};
pub use self::datagram::DatagramSocket;
pub use self::framing::{Framing, Packed};

/// The sink.
pub struct Remote {
    endpoint: Endpoint,
    framing: Box<dyn Framing>,
    clock: Clock,
    connection: Option<Connection>,
    /// Bytes sent over the connection.
    sent: u64,
    recent: RecentChunks,
    /// The recent chunks were sent over a connection that broke: they must be sent again first.
    needs_replay: bool,
    packed: Packed,
    /// The numbers of the lines that the kernel refused to send.
    refused: Vec<u64>,
}

impl Remote {
    /// A sink that connects later.
    pub fn new(endpoint: Endpoint, framing: Box<dyn Framing>, clock: Clock) -> Self {
        Remote {
            endpoint,
            framing,
            clock,
            connection: None,
            sent: 0,
            recent: RecentChunks::default(),
            needs_replay: false,
            packed: Packed::default(),
            refused: Vec::new(),
        }
    }

    /// A sink for lines as they are.
    pub fn plain(endpoint: Endpoint, options: &SinkOptions) -> Self {
        let framing = PlainFraming { header: Arc::clone(&options.header) };
        Remote::new(endpoint, Box::new(framing), options.clock.clone())
    }

    /// Connects if necessary, then runs `operation`. An error closes the connection.
    fn with_connection(
        &mut self,
        attempted: &str,
        operation: impl FnOnce(&mut Self) -> io::Result<()>,
    ) -> Result<(), DeliveryError> {
        let done = self.ensure_connected().and_then(|()| operation(self));
        done.map_err(|error| {
            if self.connection.take().is_some() {
                self.sent = 0;
                self.recent.evict(self.clock.now().monotonic);
                self.needs_replay = true;
            }
            DeliveryError::io(attempted, &error)
        })
    }

    fn ensure_connected(&mut self) -> io::Result<()> {
        if self.connection.is_none() {
            let (connection, sent) = Connection::open(&self.endpoint, self.framing.header(), &self.clock)?;
            self.sent = sent;
            self.connection = Some(connection);
        }
        if self.needs_replay {
            self.replay()?;
            self.needs_replay = false;
        }
        Ok(())
    }

    /// Sends the recent chunks again, and waits until the peer has them.
    fn replay(&mut self) -> io::Result<()> {
        let connection = self.connection.as_mut().ok_or(io::ErrorKind::NotConnected)?;
        self.recent.confirm(0);
        for (chunk, sent_at, end) in self.recent.iter_mut() {
            self.sent += connection.send(&*self.framing, &mut self.packed, chunk)?;
            *end = self.sent;
            *sent_at = self.clock.now().monotonic;
        }
        self.drain()
    }

    fn send(&mut self, chunk: &Chunk) -> io::Result<()> {
        let connection = self.connection.as_mut().ok_or(io::ErrorKind::NotConnected)?;
        self.sent += connection.send(&*self.framing, &mut self.packed, chunk)?;
        self.update_confirmed()?;
        // Only now: after an error, the whole chunk follows again.
        self.refused.extend(self.packed.refused.iter().map(|index| chunk.first + *index as u64));
        Ok(())
    }

    /// Waits until the peer has everything.
    fn drain(&mut self) -> io::Result<()> {
        self.connection.as_mut().ok_or(io::ErrorKind::NotConnected)?.drain()?;
        self.recent.confirm(self.sent);
        Ok(())
    }

    /// Acknowledgements may come later. On a Unix socket the kernel only shows whether everything was
    /// read, so that is waited for.
    fn update_confirmed(&mut self) -> io::Result<()> {
        let connection = self.connection.as_mut().ok_or(io::ErrorKind::NotConnected)?;
        let unconfirmed = match connection.confirmation() {
            Confirmation::EmptyQueue => return self.drain(),
            Confirmation::Acknowledgement => {
                connection.check()?;
                connection.unacknowledged()?
            }
            Confirmation::None => {
                connection.check()?;
                0
            }
        };
        self.recent.confirm(self.sent.saturating_sub(unconfirmed));
        Ok(())
    }

    fn has_nothing_to_check(&self) -> bool {
        self.connection.is_none() && !self.needs_replay
    }
}

impl Deliver for Remote {
    fn deliver(&mut self, chunk: &Chunk) -> Result<(), DeliveryError> {
        self.with_connection("send", |remote| remote.send(chunk))?;
        self.recent.push(chunk, self.sent, self.clock.now().monotonic);
        Ok(())
    }

    fn unconfirmed(&mut self) -> usize {
        if self.needs_replay { self.recent.bytes() } else { self.recent.unconfirmed() }
    }

    fn recent(&mut self) -> usize {
        self.recent.bytes()
    }

    fn idle(&mut self) -> Result<(), DeliveryError> {
        if self.has_nothing_to_check() {
            return Ok(());
        }
        self.with_connection("check the connection", Remote::update_confirmed)
    }

    fn finish(&mut self) -> Result<(), DeliveryError> {
        if self.has_nothing_to_check() {
            return Ok(());
        }
        self.with_connection("wait for acknowledgements", Remote::drain)?;
        self.connection.iter_mut().for_each(Connection::close);
        Ok(())
    }

    fn take_refused(&mut self) -> Vec<u64> {
        std::mem::take(&mut self.refused)
    }
}
