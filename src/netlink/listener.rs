//! A socket that receives multicast messages (events) and never blocks.

use std::io;
use std::os::fd::{AsFd, BorrowedFd};

use nix::errno::Errno;
use nix::sys::socket::{getsockopt, setsockopt, sockopt};

use super::error::Error;
use super::meminfo::MemInfo;
use super::netns::Netns;
use super::socket::Socket;
use super::socket_filter::SocketFilter;

/// Size of a slot: a conntrack event takes some 300 bytes, that of an expectation less than 4096.
const DATAGRAM: usize = 8 * 1024;
/// Datagrams per recvmmsg(2): a fifth faster than one system call per datagram; larger numbers
/// were not faster.
const BATCH: usize = 16;

/// A socket in one network namespace. Poll it for reading.
#[derive(Debug)]
pub struct Listener {
    socket: Socket,
    netns: Netns,
    /// One slot for each datagram of a system call.
    slots: Vec<u8>,
    lengths: [usize; BATCH],
    /// The number of filled slots, and the index of the next one to return.
    filled: usize,
    next: usize,
}

/// The result of a receive.
#[derive(Debug)]
pub enum Received {
    /// A datagram of so many bytes: see [`Listener::datagram`].
    Datagram(usize),
    /// The queue is empty.
    Empty,
    /// The queue was full. Reported once per overrun; the datagrams that were queued before are
    /// still received, and none is queued until the queue is empty (`netlink_overrun` and
    /// `netlink_rcv_wake` in net/netlink/af_netlink.c).
    #[doc(alias = "ENOBUFS")]
    Overrun,
}

impl Listener {
    /// Opens a socket in `netns`, which is pinned. It has not joined a group yet.
    ///
    /// # Errors
    /// As [`super::Connection::open`].
    pub fn open(netns: &Netns) -> Result<Self, Error> {
        let netns = netns.pin()?;
        let socket = netns.run(Socket::open)??;
        let slots = vec![0; BATCH * DATAGRAM];
        Ok(Listener { socket, netns, slots, lengths: [0; BATCH], filled: 0, next: 0 })
    }

    /// The namespace of this socket, pinned.
    #[must_use]
    pub fn netns(&self) -> &Netns {
        &self.netns
    }

    /// Restricts the queue to datagrams that pass `filter`. Attach it before joining a group.
    ///
    /// # Errors
    /// `EINVAL` for a program that the kernel does not accept.
    pub fn attach(&self, filter: &SocketFilter) -> Result<(), Error> {
        filter.attach(&self.socket).map_err(Error::socket("attach a filter to a netlink socket"))
    }

    /// Makes the kernel report to the sender that the queue was full: conntrack then keeps a
    /// destroyed entry and sends its event again (`nf_conntrack_eventmask_report` and
    /// `ecache_work` in net/netfilter/nf_conntrack_ecache.c).
    #[doc(alias = "NETLINK_BROADCAST_ERROR")]
    ///
    /// # Errors
    /// An error of setsockopt(2).
    pub fn set_broadcast_error(&self) -> Result<(), Error> {
        self.socket.set_broadcast_error().map_err(Error::socket("enable reliable events (NETLINK_BROADCAST_ERROR)"))
    }

    /// Joins `group`.
    ///
    /// # Errors
    /// `EPERM` without CAP_NET_ADMIN.
    pub fn join(&self, group: u32) -> Result<(), Error> {
        self.socket.join(group).map_err(Error::socket("subscribe to events (needs CAP_NET_ADMIN)"))
    }

    /// Leaves `group`. No datagram of the group is queued or dropped afterwards.
    ///
    /// # Errors
    /// An error of setsockopt(2).
    pub fn leave(&self, group: u32) -> Result<(), Error> {
        self.socket.leave(group).map_err(Error::socket("unsubscribe from events"))
    }

    /// The largest capacity, one byte less than 1 GiB: the kernel keeps twice the number as a
    /// signed 32-bit integer (`__sock_set_rcvbuf` in net/core/sock.c).
    pub const LARGEST: usize = i32::MAX as usize / 2;

    /// Sets the capacity of the queue in bytes of payload; the kernel reserves twice as many. True
    /// where the capacity was forced (`SO_RCVBUFFORCE`), false where `net.core.rmem_max` may
    /// have clamped it: [`Listener::capacity`] has the result.
    #[doc(alias = "SO_RCVBUFFORCE")]
    ///
    /// # Errors
    /// An error of setsockopt(2).
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

    /// The capacity of the queue in bytes as the kernel counts them.
    #[doc(alias = "SO_RCVBUF")]
    ///
    /// # Errors
    /// An error of getsockopt(2).
    pub fn capacity(&self) -> Result<usize, Error> {
        getsockopt(&self.socket, sockopt::RcvBuf).map_err(refused("read the receive buffer's size"))
    }

    /// Occupancy and drops of the queue.
    ///
    /// # Errors
    /// As [`MemInfo::read`].
    pub fn meminfo(&self) -> Result<MemInfo, Error> {
        MemInfo::read(&self.socket).map_err(Error::socket("read the drops of a socket (SO_MEMINFO)"))
    }

    /// Receives one datagram. With `ahead`, further ones may be received by the same system call;
    /// the next calls return them, and [`Listener::meminfo`] does not count them any more.
    ///
    /// # Errors
    /// An error of recvmmsg(2) other than `EAGAIN` and `ENOBUFS`.
    #[inline]
    pub fn receive(&mut self, ahead: bool) -> Result<Received, Error> {
        if self.next >= self.filled {
            let at_once = if ahead { BATCH } else { 1 };
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
        self.socket.receive_batch(slots, lengths)
    }

    /// The first `length` bytes of the last datagram, or as many as fitted into its slot.
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
