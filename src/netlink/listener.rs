//! A socket that receives what the kernel sends to groups, and never waits.

use std::io;
use std::os::fd::{AsFd, BorrowedFd};

use nix::errno::Errno;
use nix::sys::socket::{getsockopt, setsockopt, sockopt};

use super::error::Error;
use super::meminfo::MemInfo;
use super::netns::Netns;
use super::socket::Socket;
use super::socket_filter::SocketFilter;

/// A conntrack event takes some 300 bytes, an expectation's less than 4096.
const DATAGRAM: usize = 8 * 1024;
/// Datagrams of one system call: it costs a fifth less than one for each. More gain nothing.
const AT_ONCE: usize = 16;

/// A socket in one namespace. Poll it for reading.
#[derive(Debug)]
pub struct Listener {
    socket: Socket,
    netns: Netns,
    /// A slot for each datagram of a system call.
    slots: Vec<u8>,
    lengths: [usize; AT_ONCE],
    /// How many slots are filled, and the one after the last that was handed out.
    filled: usize,
    next: usize,
}

/// What a look into the queue brought.
#[derive(Debug)]
pub enum Received {
    /// A datagram of that many bytes: [`Listener::datagram`].
    Datagram(usize),
    /// Nothing is queued.
    Empty,
    /// The queue was full (`ENOBUFS`). Said once; what was queued before is still
    /// there, and nothing is added to it until it is empty.
    Overrun,
}

impl Listener {
    /// Opens a socket in `netns`, which is held. It is in no group yet.
    ///
    /// # Errors
    /// As [`super::Connection::open`].
    pub fn open(netns: &Netns) -> Result<Self, Error> {
        let netns = netns.pin()?;
        let socket = netns.run(Socket::open)??;
        let slots = vec![0; AT_ONCE * DATAGRAM];
        Ok(Listener { socket, netns, slots, lengths: [0; AT_ONCE], filled: 0, next: 0 })
    }

    /// The namespace that this socket is in, kept open.
    #[must_use]
    pub fn netns(&self) -> &Netns {
        &self.netns
    }

    /// Lets only what passes `filter` be queued. For before a group is joined.
    ///
    /// # Errors
    /// `EINVAL` for a program that the kernel does not take.
    pub fn attach(&self, filter: &SocketFilter) -> Result<(), Error> {
        filter.attach(&self.socket).map_err(Error::socket("attach a filter to a netlink socket"))
    }

    /// Has the kernel tell the sender when a datagram did not fit
    /// (`NETLINK_BROADCAST_ERROR`): conntrack sends a destroy event again then.
    ///
    /// # Errors
    /// What setsockopt(2) says.
    pub fn set_broadcast_error(&self) -> Result<(), Error> {
        self.socket.set_broadcast_error().map_err(Error::socket("ask for reliable events (NETLINK_BROADCAST_ERROR)"))
    }

    /// Joins `group`.
    ///
    /// # Errors
    /// `EPERM` without CAP_NET_ADMIN.
    pub fn join(&self, group: u32) -> Result<(), Error> {
        self.socket.join(group).map_err(Error::socket("subscribe to events (needs CAP_NET_ADMIN)"))
    }

    /// Leaves `group`: when this returns, nothing more of it is queued or refused.
    ///
    /// # Errors
    /// What setsockopt(2) says.
    pub fn leave(&self, group: u32) -> Result<(), Error> {
        self.socket.leave(group).map_err(Error::socket("end the subscription to events"))
    }

    /// The largest queue, a byte less than 1 GiB: the kernel takes twice that, as a signed number.
    pub const LARGEST: usize = i32::MAX as usize / 2;

    /// Sets the queue to `bytes` of payload, for which the kernel takes twice as
    /// many. True where that was by force, false where `net.core.rmem_max` may
    /// have clamped it: see [`Listener::meminfo`] for what came of it.
    ///
    /// # Errors
    /// What setsockopt(2) says.
    pub fn set_capacity(&self, bytes: usize) -> Result<bool, Error> {
        let bytes = bytes.min(Self::LARGEST);
        match setsockopt(&self.socket, sockopt::RcvBufForce, &bytes) {
            Ok(()) => Ok(true),
            Err(Errno::EPERM) => {
                let result = setsockopt(&self.socket, sockopt::RcvBuf, &bytes);
                result.map(|()| false).map_err(refused("set the receive buffer"))
            }
            Err(errno) => Err(refused("force the receive buffer")(errno)),
        }
    }

    /// Bytes that the queue may take, as the kernel counts them.
    ///
    /// # Errors
    /// What getsockopt(2) says.
    pub fn capacity(&self) -> Result<usize, Error> {
        getsockopt(&self.socket, sockopt::RcvBuf).map_err(refused("read the receive buffer's size"))
    }

    /// What the queue holds and has refused.
    ///
    /// # Errors
    /// As [`MemInfo::of`].
    pub fn meminfo(&self) -> Result<MemInfo, Error> {
        MemInfo::of(&self.socket).map_err(Error::socket("read the drops of a socket (SO_MEMINFO)"))
    }

    /// Takes a datagram from the queue. With `ahead`, others may be taken with it, which the
    /// next calls hand out: those are in no [`Listener::meminfo`] then.
    ///
    /// # Errors
    /// What recv(2) says, apart from the queue being empty or having been full.
    #[inline]
    pub fn receive(&mut self, ahead: bool) -> Result<Received, Error> {
        if self.next >= self.filled {
            let at_once = if ahead { AT_ONCE } else { 1 };
            let filled = match self.fill(at_once) {
                Ok(0) => return Ok(Received::Empty),
                Ok(filled) => filled,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(Received::Empty),
                Err(error) if error.raw_os_error() == Some(Errno::ENOBUFS as i32) => return Ok(Received::Overrun),
                Err(error) => return Err(Error::socket("receive an event")(error)),
            };
            (self.filled, self.next) = (filled, 0);
        }
        let length = self.lengths.get(self.next).copied().unwrap_or(0);
        self.next += 1;
        Ok(Received::Datagram(length))
    }

    fn fill(&mut self, at_once: usize) -> io::Result<usize> {
        let slots = self.slots.get_mut(..at_once * DATAGRAM).unwrap_or_default();
        let lengths = self.lengths.get_mut(..at_once).unwrap_or_default();
        self.socket.receive_now(slots, lengths)
    }

    /// The first `length` bytes of the last datagram; what there is of one that
    /// was too large.
    #[must_use]
    #[inline]
    pub fn datagram(&self, length: usize) -> &[u8] {
        let start = self.next.saturating_sub(1) * DATAGRAM;
        self.slots.get(start..start + length.min(DATAGRAM)).unwrap_or_default()
    }
}

fn refused(operation: &'static str) -> impl FnOnce(Errno) -> Error {
    move |errno| Error::Socket { operation, errno }
}

impl AsFd for Listener {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}
