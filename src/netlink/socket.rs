//! One netfilter netlink socket.

use std::io::{self, IoSliceMut};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};

use netlink_sys::protocols::NETLINK_NETFILTER;
use netlink_sys::{Socket as RawSocket, SocketAddr};
use nix::sys::socket::{MsgFlags, MultiHeaders, recvmmsg, setsockopt, sockopt};

use super::error::Error;

/// `MSG_TRUNC`: a receive returns the datagram's true length.
const MSG_TRUNC: i32 = 0x20;

/// An open socket. Not `Clone`: a clone of the socket inside would share the
/// descriptor, and both would close it.
#[derive(Debug)]
pub struct Socket {
    raw: RawSocket,
}

impl Socket {
    /// Opens a socket in the network namespace of the calling thread. It stays
    /// in that namespace wherever it is used.
    ///
    /// # Errors
    /// The socket call that failed.
    pub fn open() -> Result<Self, Error> {
        let mut raw = RawSocket::new(NETLINK_NETFILTER).map_err(Error::socket("open a netlink socket"))?;
        raw.bind_auto().map_err(Error::socket("bind a netlink socket"))?;
        raw.connect(&SocketAddr::new(0, 0)).map_err(Error::socket("connect a netlink socket"))?;
        raw.set_ext_ack(true).map_err(Error::socket("ask for extended ACKs"))?;
        Ok(Socket { raw })
    }

    /// Asks for a receive queue of `bytes`: by force where the caller may, else
    /// as far as `net.core.rmem_max` allows.
    pub fn grow_receive_queue(&self, bytes: usize) {
        if setsockopt(&self.raw, sockopt::RcvBufForce, &bytes).is_err() {
            // Nothing to do about a refusal: the default queue is what there is.
            let _ = setsockopt(&self.raw, sockopt::RcvBuf, &bytes);
        }
    }

    /// Joins a multicast group.
    pub(super) fn join(&self, group: u32) -> io::Result<()> {
        self.raw.add_membership(group)
    }

    /// Leaves a multicast group.
    pub(super) fn leave(&self, group: u32) -> io::Result<()> {
        self.raw.drop_membership(group)
    }

    /// Sets `NETLINK_BROADCAST_ERROR`.
    pub(super) fn set_broadcast_error(&self) -> io::Result<()> {
        self.raw.set_broadcast_error(true)
    }

    /// Receives as many datagrams as there are lengths, or as are queued: each into a slot of
    /// its own, all of which are `slots`, and its whole length, as [`Socket::receive`]. How many
    /// came. Never waits: `EAGAIN` where nothing is queued.
    pub(super) fn receive_now(&self, slots: &mut [u8], lengths: &mut [usize]) -> io::Result<usize> {
        let size = slots.len() / lengths.len().max(1);
        retry(|| {
            let mut places: Vec<_> = slots.chunks_exact_mut(size.max(1)).map(|slot| [IoSliceMut::new(slot)]).collect();
            // Nobody asks who sent it: without privileges only the kernel can.
            let mut headers = MultiHeaders::<()>::preallocate(places.len().min(lengths.len()), None);
            let flags = MsgFlags::MSG_TRUNC | MsgFlags::MSG_DONTWAIT;
            let received = recvmmsg(self.raw.as_raw_fd(), &mut headers, &mut places, flags, None)?;
            let mut count = 0;
            for (length, message) in lengths.iter_mut().zip(received) {
                *length = message.bytes;
                count += 1;
            }
            Ok(count)
        })
    }

    /// Sends `bytes` as one datagram.
    ///
    /// # Errors
    /// `EMSGSIZE` when it is larger than the send buffer, and what else send(2) may say.
    pub fn send(&self, bytes: &[u8]) -> io::Result<()> {
        retry(|| self.raw.send(bytes, 0)).map(drop)
    }

    /// Receives one datagram into `buffer` and returns its true length, which is
    /// larger than the buffer when it did not fit.
    ///
    /// # Errors
    /// `ENOBUFS` after the kernel has dropped messages, and what else recv(2) may say.
    pub fn receive(&self, buffer: &mut [u8]) -> io::Result<usize> {
        retry(|| self.raw.recv(&mut &mut *buffer, MSG_TRUNC))
    }
}

impl AsFd for Socket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.raw.as_fd()
    }
}

fn retry(mut call: impl FnMut() -> io::Result<usize>) -> io::Result<usize> {
    loop {
        match call() {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            result => return result,
        }
    }
}
