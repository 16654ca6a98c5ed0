//! Datagrams to a local socket.

use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};

/// A socket that datagrams are sent to, and a way to know whether somebody still reads there:
/// the kernel tells a sender of its end only with the next datagram.
#[derive(Debug)]
pub struct Datagrams {
    pub socket: UnixDatagram,
    path: PathBuf,
    identity: (u64, u64, i64, i64),
}

impl Datagrams {
    pub fn connect(path: &Path) -> io::Result<Self> {
        let socket = UnixDatagram::unbound()?;
        let identity = identity(path)?;
        socket.connect(path)?;
        Ok(Datagrams { socket, path: path.to_owned(), identity })
    }

    /// Whether the one who reads there is the one it was: another one has not got what the
    /// first one had not read.
    pub fn is_same(&self) -> bool {
        identity(&self.path).is_ok_and(|identity| identity == self.identity)
            && UnixDatagram::unbound().and_then(|probe| probe.connect(&self.path)).is_ok()
    }
}

/// A number of a file alone may be given to the next one.
fn identity(path: &Path) -> io::Result<(u64, u64, i64, i64)> {
    fs::metadata(path).map(|it| (it.dev(), it.ino(), it.ctime(), it.ctime_nsec()))
}
