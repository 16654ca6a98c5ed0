//! Requests and their replies over one socket.

use std::collections::VecDeque;
use std::fmt;

use netlink_packet_core::{NLM_F_ACK, NLM_F_DUMP, NLM_F_DUMP_INTR};

use super::error::{Error, KernelError};
use super::netns::Netns;
use super::socket::Socket;
use crate::wire::{Answer, AttributeWriter, Batch, DecodeError, Header, Message, MessageClass, Messages};

/// Size of the receive buffer. A datagram of a dump has at most 32 KiB. The size is constant, since
/// the kernel sizes the datagrams of a dump by the largest receive buffer so far (`netlink_dump`
/// in net/netlink/af_netlink.c) and a smaller buffer would truncate them.
const BUFFER: usize = 64 * 1024;

/// Size of the receive queue in bytes. The ACKs of a batch have to fit: each takes 832 bytes of the
/// queue, and those that do not fit are dropped.
const RECEIVE_QUEUE: usize = 1024 * 1024;

/// A replacement of the kernel in tests: request bytes to reply datagrams.
type FakeKernel = Box<dyn FnMut(&[u8]) -> Vec<Vec<u8>> + Send>;

enum Link {
    Kernel(Socket),
    Fake { kernel: FakeKernel, queue: VecDeque<Vec<u8>> },
}

/// A connection to the kernel in one network namespace, for one request or dump at a time.
pub struct Connection {
    link: Link,
    netns: Netns,
    buffer: Vec<u8>,
    sequence: u32,
    /// A dump was dropped before its end: its remaining datagrams precede those of the next reply.
    abandoned: bool,
}

impl fmt::Debug for Connection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connection")
            .field("netns", &self.netns)
            .field("sequence", &self.sequence)
            .finish_non_exhaustive()
    }
}

impl Connection {
    /// Opens a connection to the kernel's netfilter subsystems in `netns`.
    ///
    /// # Errors
    /// The namespace cannot be entered, or the socket cannot be opened.
    pub fn open(netns: &Netns) -> Result<Self, Error> {
        let netns = netns.pin()?;
        let socket = open_socket(&netns)?;
        Ok(Self::new(Link::Kernel(socket), netns))
    }

    /// Opens a second connection to the same namespace, also where its path refers to another
    /// namespace by now.
    ///
    /// # Errors
    /// As [`Connection::open`].
    pub fn reopen(&self) -> Result<Self, Error> {
        Self::open(&self.netns)
    }

    /// A connection to `kernel`, which returns the reply datagrams of each datagram that is sent.
    #[must_use]
    pub fn fake(kernel: impl FnMut(&[u8]) -> Vec<Vec<u8>> + Send + 'static) -> Self {
        Self::new(Link::Fake { kernel: Box::new(kernel), queue: VecDeque::new() }, Netns::Current)
    }

    fn new(link: Link, netns: Netns) -> Self {
        Connection { link, netns, buffer: vec![0; BUFFER], sequence: 0, abandoned: false }
    }

    /// The namespace of this connection, pinned.
    #[must_use]
    pub fn netns(&self) -> &Netns {
        &self.netns
    }

    /// The next sequence number. Never 0, which is that of events.
    pub fn next_sequence(&mut self) -> u32 {
        self.sequence = self.sequence.checked_add(1).unwrap_or(1);
        self.sequence
    }

    /// Sends a batch of requests as one datagram.
    ///
    /// # Errors
    /// An error of send(2).
    pub fn send(&mut self, operation: &'static str, batch: &Batch) -> Result<(), Error> {
        if std::mem::take(&mut self.abandoned) {
            self.renew_socket()?;
        }
        match &mut self.link {
            Link::Kernel(socket) => socket.send(batch.as_bytes()).map_err(Error::socket(operation)),
            Link::Fake { kernel, queue } => {
                queue.extend(kernel(batch.as_bytes()));
                Ok(())
            }
        }
    }

    /// Receives one datagram.
    ///
    /// # Errors
    /// An error of recv(2); a datagram that is larger than the buffer.
    pub fn receive(&mut self, operation: &'static str) -> Result<Messages<'_>, Error> {
        let length = match &mut self.link {
            Link::Kernel(socket) => socket.receive(&mut self.buffer).map_err(Error::socket(operation))?,
            Link::Fake { queue, .. } => receive_fake(queue, &mut self.buffer),
        };
        match self.buffer.get(..length) {
            Some(datagram) => Ok(Messages::new(datagram)),
            None => Err(Error::Oversized { operation, length, capacity: self.buffer.len() }),
        }
    }

    /// Sends one request and receives its reply up to the ACK. `each` is called with each data
    /// message.
    ///
    /// # Errors
    /// The error number and the message of the kernel; malformed bytes; an error of `each`.
    pub fn request(
        &mut self,
        operation: &'static str,
        header: Header,
        fill: impl FnOnce(&mut AttributeWriter<'_>),
        mut each: impl FnMut(&Message<'_>) -> Result<(), DecodeError>,
    ) -> Result<(), Error> {
        let sequence = self.start(operation, Header { flags: header.flags | NLM_F_ACK, ..header }, fill)?;
        loop {
            for message in self.receive(operation)? {
                let message = message.map_err(Error::decode(operation))?;
                if message.sequence != sequence {
                    continue;
                }
                match message.classify().map_err(Error::decode(operation))? {
                    MessageClass::Data => each(&message).map_err(Error::decode(operation))?,
                    MessageClass::Answer(answer) => return accept(operation, &answer),
                    MessageClass::Overrun => return Err(Error::Overrun { operation }),
                    MessageClass::Done(_) | MessageClass::Noop => {}
                }
            }
        }
    }

    /// Starts a dump.
    ///
    /// # Errors
    /// An error of send(2).
    pub fn dump(
        &mut self,
        operation: &'static str,
        header: Header,
        fill: impl FnOnce(&mut AttributeWriter<'_>),
    ) -> Result<DumpStream<'_>, Error> {
        let sequence = self.start(operation, Header { flags: header.flags | NLM_F_DUMP, ..header }, fill)?;
        self.abandoned = true;
        Ok(DumpStream { connection: self, operation, sequence, done: false, interrupted: false })
    }

    fn start(
        &mut self,
        operation: &'static str,
        header: Header,
        fill: impl FnOnce(&mut AttributeWriter<'_>),
    ) -> Result<u32, Error> {
        let sequence = self.next_sequence();
        let mut batch = Batch::new();
        batch.push(Header { sequence, ..header }, fill);
        self.send(operation, &batch)?;
        Ok(sequence)
    }

    /// Opens another socket: a dump can only be cancelled by closing its socket.
    fn renew_socket(&mut self) -> Result<(), Error> {
        match &mut self.link {
            Link::Kernel(socket) => *socket = open_socket(&self.netns)?,
            Link::Fake { queue, .. } => queue.clear(),
        }
        Ok(())
    }
}

/// The datagrams of a dump, one at a time. Drop it to cancel the dump.
#[derive(Debug)]
pub struct DumpStream<'c> {
    connection: &'c mut Connection,
    operation: &'static str,
    sequence: u32,
    done: bool,
    interrupted: bool,
}

impl DumpStream<'_> {
    /// Receives the next datagram and calls `each` with each of its data messages; false at the
    /// end of the dump. An error of `each` ends the dump.
    ///
    /// # Errors
    /// An error of the kernel; malformed bytes; dropped messages; an error of `each`.
    pub fn next_datagram(
        &mut self,
        mut each: impl FnMut(&Message<'_>) -> Result<(), DecodeError>,
    ) -> Result<bool, Error> {
        if self.done {
            return Ok(false);
        }
        let operation = self.operation;
        for message in self.connection.receive(operation)? {
            let message = message.map_err(Error::decode(operation))?;
            if message.sequence != self.sequence {
                continue;
            }
            self.interrupted |= message.flags & NLM_F_DUMP_INTR != 0;
            match message.classify().map_err(Error::decode(operation))? {
                MessageClass::Data => each(&message).map_err(Error::decode(operation))?,
                MessageClass::Done(errno) => {
                    self.done = true;
                    accept(operation, &Answer { errno, ..Answer::default() })?;
                }
                MessageClass::Answer(answer) => {
                    self.done = true;
                    accept(operation, &answer)?;
                }
                MessageClass::Overrun => return Err(Error::Overrun { operation }),
                MessageClass::Noop => {}
            }
        }
        if self.done {
            self.connection.abandoned = false;
        }
        Ok(!self.done)
    }

    /// Whether the kernel reported that the table changed during the dump (`NLM_F_DUMP_INTR`).
    /// Conntrack dumps never set the flag; those of nf_tables do.
    #[doc(alias = "NLM_F_DUMP_INTR")]
    #[must_use]
    pub fn is_interrupted(&self) -> bool {
        self.interrupted
    }
}

fn accept(operation: &'static str, answer: &Answer<'_>) -> Result<(), Error> {
    KernelError::from_answer(operation, answer).map_or(Ok(()), |error| Err(Error::Refused(error)))
}

fn open_socket(netns: &Netns) -> Result<Socket, Error> {
    let socket = netns.run(Socket::open)??;
    socket.grow_receive_queue(RECEIVE_QUEUE);
    Ok(socket)
}

/// The next datagram of a fake kernel. Where a test expects a reply that the queue does not have,
/// it is one malformed byte: an error instead of a hang.
fn receive_fake(queue: &mut VecDeque<Vec<u8>>, buffer: &mut [u8]) -> usize {
    let datagram = queue.pop_front().unwrap_or_else(|| vec![0; 1]);
    buffer.iter_mut().zip(&datagram).for_each(|(to, from)| *to = *from);
    datagram.len()
}
