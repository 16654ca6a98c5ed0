//! What a socket's receive queue holds and has refused (`SO_MEMINFO`). No crate
//! offers it: this file is the one system call.

use std::io;
use std::os::fd::{AsFd, AsRawFd};

use nix::libc;

/// Numbers of `SK_MEMINFO_*` that Linux 4.12 and later fill in.
const COUNT: usize = 9;

/// A socket's memory, as the kernel counts it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct MemInfo {
    /// Bytes that the queued datagrams take, with the kernel's own overhead: 1280
    /// for a conntrack event. A delivery that is being refused counts for the
    /// moment that takes (Linux 6.16).
    #[doc(alias = "SK_MEMINFO_RMEM_ALLOC")]
    pub used: u32,
    /// Bytes that may be taken.
    #[doc(alias = "SK_MEMINFO_RCVBUF")]
    pub capacity: u32,
    /// Datagrams that did not fit, since the socket was opened, modulo 2³².
    #[doc(alias = "SK_MEMINFO_DROPS")]
    pub drops: u32,
}

impl MemInfo {
    /// Asks the kernel.
    ///
    /// # Errors
    /// What getsockopt(2) says; `Unsupported` from a kernel before 4.12, which
    /// does not tell the drops.
    pub fn of(socket: &impl AsFd) -> io::Result<Self> {
        let [used, capacity, _, _, _, _, _, _, drops] = read(socket)?;
        Ok(MemInfo { used, capacity, drops })
    }
}

#[allow(unsafe_code)]
fn read(socket: &impl AsFd) -> io::Result<[u32; COUNT]> {
    let mut values = [0_u32; COUNT];
    let whole = size_of_val(&values) as libc::socklen_t;
    let mut length = whole;
    // SAFETY: `values` is writable for `length` bytes, more than which the kernel
    // does not write; any bytes are valid u32s; both outlive the call, and the
    // descriptor is borrowed for as long.
    let result = unsafe {
        libc::getsockopt(
            socket.as_fd().as_raw_fd(),
            libc::SOL_SOCKET,
            libc::SO_MEMINFO,
            values.as_mut_ptr().cast(),
            &raw mut length,
        )
    };
    match result {
        0 if length == whole => Ok(values),
        0 => Err(io::ErrorKind::Unsupported.into()),
        _ => Err(io::Error::last_os_error()),
    }
}
