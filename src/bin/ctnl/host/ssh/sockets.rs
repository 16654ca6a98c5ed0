//! The established TCP connections of the host.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::path::Path;

use ctnl::host::Host;
use ctnl::netlink::{Error, Netns, SockDiag, TcpSocket};
use nix::errno::Errno;

/// What lists the connections of a host: the kernel, or a test.
pub trait Sockets {
    /// The connection between `local` and `remote`.
    ///
    /// # Errors
    /// What the kernel refuses.
    fn find(&mut self, local: SocketAddr, remote: SocketAddr) -> Result<Option<TcpSocket>, Error>;

    /// Whether the kernel has socket diagnostics for TCP. Where it has none, no connection is found.
    fn are_available(&self) -> bool;

    /// Passes each to `each`.
    ///
    /// # Errors
    /// What the kernel refuses. Some may have been passed.
    fn for_each(&mut self, each: &mut dyn FnMut(&TcpSocket)) -> Result<(), Error>;
}

/// The connections of this process's network namespace, and of process 1's, in which sshd runs where
/// this process is in another. Not those of `--netns`: there is no terminal there.
#[derive(Debug)]
pub struct HostSockets(Vec<SockDiag>);

impl HostSockets {
    /// Opens the kernel's socket diagnostics. Where it has none for TCP, they are not available.
    ///
    /// # Errors
    /// No file descriptor is left, and what else socket(2) and the kernel may return.
    pub fn open(host: &Host) -> Result<Self, Error> {
        let current = match SockDiag::open(&Netns::Current) {
            Err(error) if matches!(error.errno(), Some(Errno::EPROTONOSUPPORT | Errno::ENOENT)) => {
                return Ok(HostSockets(Vec::new()));
            }
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
    fn find(&mut self, local: SocketAddr, remote: SocketAddr) -> Result<Option<TcpSocket>, Error> {
        if let SocketAddr::V6(address) = local
            && address.ip().is_unicast_link_local()
        {
            let mut found = None;
            self.for_each(&mut |socket| {
                if (socket.local, socket.remote) == (local, remote) {
                    found = Some(*socket);
                }
            })?;
            return Ok(found);
        }
        for diag in &mut self.0 {
            if let Some(found) = diag.find(local, remote)? {
                return Ok(Some(found));
            }
        }
        Ok(None)
    }

    fn are_available(&self) -> bool {
        !self.0.is_empty()
    }

    fn for_each(&mut self, each: &mut dyn FnMut(&TcpSocket)) -> Result<(), Error> {
        self.0.iter_mut().try_for_each(|diag| diag.established(each))
    }
}

/// The local ports of the listening TCP sockets among `inodes`, as far as `/proc` shows them: in this
/// process's network namespace and in that of process 1.
pub fn listening_ports(proc: &Path, inodes: &BTreeSet<u32>) -> BTreeSet<u16> {
    let files = ["self", "1"].into_iter().flat_map(|process| ["tcp", "tcp6"].map(|name| (process, name)));
    let mut ports = BTreeSet::new();
    for (process, name) in files {
        let Ok(file) = File::open(proc.join(process).join("net").join(name)) else { continue };
        let lines = BufReader::new(file).lines().skip(1).map_while(Result::ok);
        // Those that listen are first (`tcp_get_idx` in net/ipv4/tcp_ipv4.c).
        ports.extend(
            lines.map_while(|line| listener(&line)).filter(|(_, inode)| inodes.contains(inode)).map(|(port, _)| port),
        );
    }
    ports
}

/// The port and the inode of a listening socket in a line of `/proc/net/tcp` (`get_tcp4_sock` in
/// net/ipv4/tcp_ipv4.c); `None` for another socket.
fn listener(line: &str) -> Option<(u16, u32)> {
    const LISTEN: &str = "0A";
    let fields: Vec<&str> = line.split_ascii_whitespace().collect();
    let (_, port) = fields.get(1)?.rsplit_once(':')?;
    (*fields.get(3)? == LISTEN).then_some(())?;
    Some((u16::from_str_radix(port, 16).ok()?, fields.get(9)?.parse().ok()?))
}
