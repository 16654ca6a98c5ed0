//! One netlink socket of netfilter.

use std::io::{self, IoSliceMut};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};

use netlink_sys::protocols::NETLINK_NETFILTER;
use netlink_sys::{Socket as RawSocket, SocketAddr};
use nix::sys::socket::{MsgFlags, MultiHeaders, recvmmsg, setsockopt, sockopt};

use super::error::Error;

/// Makes recv(2) return the length of the datagram also where it exceeds the buffer.
const MSG_TRUNC: i32 = 0x20;

/// An open socket (`NETLINK_NETFILTER`). Not `Clone`: a clone of the inner socket has the same
/// descriptor, and both would close it.
#[doc(alias = "NETLINK_NETFILTER")]
#[derive(Debug)]
pub struct Socket {
    raw: RawSocket,
}

impl Socket {
    /// Opens a socket in the network namespace of the calling thread, in which it stays.
    ///
    /// # Errors
    /// [`Error::Socket`] with the system call that failed.
    pub fn open() -> Result<Self, Error> {
        let mut raw = RawSocket::new(NETLINK_NETFILTER).map_err(Error::socket("open a netlink socket"))?;
        raw.bind_auto().map_err(Error::socket("bind a netlink socket"))?;
        raw.connect(&SocketAddr::new(0, 0)).map_err(Error::socket("connect a netlink socket"))?;
        raw.set_ext_ack(true).map_err(Error::socket("enable extended ACKs"))?;
        Ok(Socket { raw })
    }

    /// Requests a receive queue of `bytes`: forced with CAP_NET_ADMIN, else up to
    /// `net.core.rmem_max`.
    pub fn grow_receive_queue(&self, bytes: usize) {
        if setsockopt(&self.raw, sockopt::RcvBufForce, &bytes).is_err() {
            // Where this fails, the queue keeps its default size.
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

    /// Receives up to `lengths.len()` queued datagrams, each into an equal part of `slots` and with its
    /// length as of [`Socket::receive`], and returns their number. Does not block: `EAGAIN` where
    /// the queue is empty.
    pub(super) fn receive_batch(&self, slots: &mut [u8], lengths: &mut [usize]) -> io::Result<usize> {
        let size = slots.len() / lengths.len().max(1);
        retry(|| {
            let mut buffers: Vec<_> = slots.chunks_exact_mut(size.max(1)).map(|slot| [IoSliceMut::new(slot)]).collect();
            // Without the sender's address: the socket is connected to the kernel.
            let mut headers = MultiHeaders::<()>::preallocate(buffers.len().min(lengths.len()), None);
            let flags = MsgFlags::MSG_TRUNC | MsgFlags::MSG_DONTWAIT;
            let received = recvmmsg(self.raw.as_raw_fd(), &mut headers, &mut buffers, flags, None)?;
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
    /// `EMSGSIZE` where it is larger than the send buffer; another error of send(2).
    pub fn send(&self, bytes: &[u8]) -> io::Result<()> {
        retry(|| self.raw.send(bytes, 0)).map(drop)
    }

    /// Receives one datagram into `buffer` and returns its length, which exceeds the buffer where
    /// the datagram was truncated.
    ///
    /// # Errors
    /// `ENOBUFS` after the kernel has dropped messages; another error of recv(2).
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
