//! How much of what was written to a socket has not arrived.
//!
//! The one system call of the program that needs unsafe code: no crate here wraps it.

#![allow(unsafe_code, reason = "one ioctl that fills in an integer")]

use std::io;
use std::os::fd::{AsFd, AsRawFd};

use nix::libc;

nix::ioctl_read_bad!(outq, libc::TIOCOUTQ, libc::c_int);

/// What the other side has not taken: over TCP what its kernel has not acknowledged, in bytes;
/// of a local socket what the process has not read, where only 0 is exact.
pub fn unsent(socket: &impl AsFd) -> io::Result<usize> {
    let mut bytes: libc::c_int = 0;
    // SAFETY: the descriptor is open for as long as `socket` is borrowed, and SIOCOUTQ (the same
    // number as TIOCOUTQ) writes one c_int to where the pointer goes, which is ours.
    unsafe { outq(socket.as_fd().as_raw_fd(), &raw mut bytes) }?;
    Ok(usize::try_from(bytes).unwrap_or(0))
}
