//! Datagrams over UDP. Nothing shows whether one arrives; only what the kernel reports is known.

use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::os::fd::{AsFd, AsRawFd};
use std::thread;
use std::time::Duration;

use nix::errno::Errno;
use nix::libc;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::socket::{MsgFlags, recv, setsockopt, sockopt};

use super::framing::Packed;
use super::tcp::try_addresses;

/// How often, and after what delay, a datagram is sent again that the device's queue did not accept.
const RETRIES: (u32, Duration) = (50, Duration::from_millis(2));
/// How long the answer that nobody has the port is waited for, in milliseconds.
const ANSWER: u16 = 100;

/// Connects to `HOST:PORT`: the kernel then reports ICMP errors of that peer.
pub fn connect(name: &str) -> io::Result<UdpSocket> {
    try_addresses(name, |address| {
        let any: SocketAddr = match address {
            SocketAddr::V4(_) => (Ipv4Addr::UNSPECIFIED, 0).into(),
            SocketAddr::V6(_) => (Ipv6Addr::UNSPECIFIED, 0).into(),
        };
        let socket = UdpSocket::bind(any)?;
        socket.connect(address)?;
        // Without it the kernel hides that a device's queue is full (`udp_send_skb` in net/ipv4/udp.c), and
        // that there is no route (`__udp4_lib_err`).
        match address {
            SocketAddr::V4(_) => setsockopt(&socket, sockopt::Ipv4RecvErr, &true)?,
            SocketAddr::V6(_) => setsockopt(&socket, sockopt::Ipv6RecvErr, &true)?,
        }
        Ok(socket)
    })
}

/// Sends datagrams, and notes those that the kernel does not accept.
pub fn send(to: &UdpSocket, packed: &mut Packed) -> io::Result<()> {
    let mut start = 0;
    for (index, end) in packed.ends.iter().enumerate() {
        let sent = send_one(to, packed.bytes.get(start..*end).unwrap_or_default());
        start = *end;
        match sent {
            Err(error) if is_refused(&error) => packed.refused.push(index),
            sent => sent?,
        }
    }
    Ok(())
}

/// It is too long, or the queue of the device is full.
fn is_refused(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::EMSGSIZE | libc::ENOBUFS))
}

fn send_one(to: &UdpSocket, datagram: &[u8]) -> io::Result<()> {
    let (retries, delay) = RETRIES;
    let mut is_too_long = false;
    for _ in 0..retries {
        match to.send(datagram) {
            Err(error) if error.raw_os_error() == Some(libc::ENOBUFS) => thread::sleep(delay),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            // The first one may be that of an earlier datagram, if a router has reported a smaller MTU.
            Err(error) if error.raw_os_error() == Some(libc::EMSGSIZE) && !is_too_long => {
                is_too_long = true;
                discard_error_queue(to);
            }
            sent => return sent.map(drop),
        }
    }
    Err(Errno::ENOBUFS.into())
}

/// The kernel puts such an error there, too (`ip_local_error` in net/ipv4/ip_sockglue.c).
fn discard_error_queue(socket: &UdpSocket) {
    let flags = MsgFlags::MSG_ERRQUEUE | MsgFlags::MSG_DONTWAIT;
    while recv(socket.as_raw_fd(), &mut [], flags).is_ok() {}
}

/// Fails if the kernel has reported that datagrams do not arrive.
pub fn check(socket: &UdpSocket) -> io::Result<()> {
    let mut discarded = [0; 64];
    loop {
        match recv(socket.as_raw_fd(), &mut discarded, MsgFlags::MSG_DONTWAIT) {
            Ok(_) | Err(Errno::EINTR) => {}
            Err(Errno::EAGAIN) => return Ok(()),
            Err(errno) => return Err(errno.into()),
        }
    }
}

/// Waits a moment for such a report.
pub fn wait_for_errors(socket: &UdpSocket) -> io::Result<()> {
    let _ = poll(&mut [PollFd::new(socket.as_fd(), PollFlags::empty())], PollTimeout::from(ANSWER));
    check(socket)
}
