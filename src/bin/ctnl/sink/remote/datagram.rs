//! Datagrams to a Unix socket.

use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};

/// A connected datagram socket that can check whether its receiver is still the same: the kernel
/// reports the receiver's end only with the next datagram.
#[derive(Debug)]
pub struct DatagramSocket {
    pub socket: UnixDatagram,
    path: PathBuf,
    identity: (u64, u64, i64, i64),
}

impl DatagramSocket {
    pub fn connect(path: &Path) -> io::Result<Self> {
        let socket = UnixDatagram::unbound()?;
        let identity = identity(path)?;
        socket.connect(path)?;
        Ok(DatagramSocket { socket, path: path.to_owned(), identity })
    }

    /// Whether the receiver is the one that was connected to. What an earlier one had not read
    /// another one does not have.
    pub fn has_same_receiver(&self) -> bool {
        identity(&self.path).is_ok_and(|identity| identity == self.identity)
            && UnixDatagram::unbound().and_then(|probe| probe.connect(&self.path)).is_ok()
    }
}

/// Device, inode and change time: an inode number alone may be reused.
fn identity(path: &Path) -> io::Result<(u64, u64, i64, i64)> {
    fs::metadata(path).map(|it| (it.dev(), it.ino(), it.ctime(), it.ctime_nsec()))
}
