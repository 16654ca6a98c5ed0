//! `SIOCOUTQ`: how much of what was written to a socket is not acknowledged.
//!
//! A system call that needs unsafe code: no crate in use wraps it.

#![allow(unsafe_code, reason = "one ioctl that fills in an integer")]

use std::io;
use std::os::fd::{AsFd, AsRawFd};

use nix::libc;

nix::ioctl_read_bad!(outq, libc::TIOCOUTQ, libc::c_int);

/// Over TCP the bytes that the peer's kernel has not acknowledged (`tcp_ioctl` in net/ipv4/tcp.c).
/// On a Unix socket the memory of what the peer's process has not read (`unix_outq_len` in
/// net/unix/af_unix.c): not the exact number of bytes, but 0 once all is read.
pub fn unacknowledged(socket: &impl AsFd) -> io::Result<usize> {
    let mut bytes: libc::c_int = 0;
    // SAFETY: the descriptor is open for as long as `socket` is borrowed, and SIOCOUTQ (the same
    // number as TIOCOUTQ) writes one c_int to the pointer, which is to our own variable.
    unsafe { outq(socket.as_fd().as_raw_fd(), &raw mut bytes) }?;
    Ok(usize::try_from(bytes).unwrap_or(0))
}
