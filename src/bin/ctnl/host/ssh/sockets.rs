//! The established TCP connections of the host.

use std::fs;
use std::net::SocketAddr;

use ctnl::host::Host;
use ctnl::netlink::{Error, Netns, SockDiag, TcpSocket};
use nix::errno::Errno;

/// What lists the connections of a host: the kernel, or a test.
pub trait Sockets {
    /// The connection between `local` and `remote`.
    fn find(&mut self, local: SocketAddr, remote: SocketAddr) -> Option<TcpSocket>;

    /// Whether the kernel has socket diagnostics.
    fn are_available(&self) -> bool;

    /// Passes each to `each`.
    fn for_each(&mut self, each: &mut dyn FnMut(&TcpSocket));
}

/// The connections of this process's network namespace, and of process 1's, in which sshd runs where
/// this process is in another. Not those of `--netns`: there is no terminal there.
#[derive(Debug)]
pub struct HostSockets(Vec<SockDiag>);

impl HostSockets {
    /// Opens the kernel's socket diagnostics. Where it has none, they are not available.
    ///
    /// # Errors
    /// No file descriptor is left, and what else socket(2) may return.
    pub fn open(host: &Host) -> Result<Self, Error> {
        let current = match SockDiag::open(&Netns::Current) {
            Err(error) if error.errno() == Some(Errno::EPROTONOSUPPORT) => return Ok(HostSockets(Vec::new())),
            opened => opened?,
        };
        let first = host.proc().join("1/ns/net");
        let own = fs::read_link(host.proc().join("thread-self/ns/net")).ok();
        let is_another = own.is_some() && fs::read_link(&first).is_ok_and(|first| Some(first) != own);
        // To enter it takes CAP_SYS_ADMIN.
        let other = is_another.then(|| SockDiag::open(&Netns::Path(first)).ok()).flatten();
        Ok(HostSockets(std::iter::once(current).chain(other).collect()))
    }
}

impl Sockets for HostSockets {
    fn find(&mut self, local: SocketAddr, remote: SocketAddr) -> Option<TcpSocket> {
        if let SocketAddr::V6(address) = local
            && address.ip().is_unicast_link_local()
        {
            let mut found = None;
            self.for_each(&mut |socket| {
                if (socket.local, socket.remote) == (local, remote) {
                    found = Some(*socket);
                }
            });
            return found;
        }
        self.0.iter_mut().find_map(|diag| diag.find(local, remote).ok().flatten())
    }

    fn are_available(&self) -> bool {
        !self.0.is_empty()
    }

    fn for_each(&mut self, each: &mut dyn FnMut(&TcpSocket)) {
        for diag in &mut self.0 {
            // Some are better than none.
            let _ = diag.established(each);
        }
    }
}
