//! Occupancy and drops of a socket's receive queue (`SO_MEMINFO`), which neither nix nor socket2
//! offers.

use std::io;
use std::os::fd::{AsFd, AsRawFd};

use nix::libc;

/// The number of `SK_MEMINFO_*` values since Linux 4.12.
const COUNT: usize = 9;

/// Memory of a socket, as the kernel counts it.
#[doc(alias = "SO_MEMINFO")]
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct MemInfo {
    /// Bytes of the queued datagrams, including the kernel's overhead: 1280 for a conntrack event.
    /// A datagram that is being dropped is included for a moment (since Linux 6.16).
    #[doc(alias = "SK_MEMINFO_RMEM_ALLOC")]
    pub used: u32,
    /// The limit of `used`.
    #[doc(alias = "SK_MEMINFO_RCVBUF")]
    pub capacity: u32,
    /// Datagrams that were dropped since the socket was opened, modulo 2³².
    #[doc(alias = "SK_MEMINFO_DROPS")]
    pub drops: u32,
}

impl MemInfo {
    /// Reads the values of `socket`.
    ///
    /// # Errors
    /// An error of getsockopt(2); `Unsupported` before Linux 4.12, which does not report drops.
    pub fn read(socket: &impl AsFd) -> io::Result<Self> {
        let [used, capacity, _, _, _, _, _, _, drops] = sk_meminfo(socket)?;
        Ok(MemInfo { used, capacity, drops })
    }
}

#[allow(unsafe_code)]
fn sk_meminfo(socket: &impl AsFd) -> io::Result<[u32; COUNT]> {
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
