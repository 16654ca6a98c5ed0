//! The host's TCP connections, from the kernel's socket diagnostics (sock_diag(7)): the only
//! source that needs neither `/proc` nor a privilege.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use netlink_packet_core::{Emitable, NLM_F_DUMP, NLM_F_REQUEST, NLMSG_DONE, NLMSG_ERROR, NetlinkHeader};
use netlink_sys::protocols::NETLINK_SOCK_DIAG;
use netlink_sys::{Socket as RawSocket, SocketAddr as NetlinkAddr};
use nix::errno::Errno;
use nix::libc::{AF_INET, AF_INET6, IPPROTO_TCP};

use super::error::Error;
use super::netns::Netns;

/// `SOCK_DIAG_BY_FAMILY` in include/uapi/linux/sock_diag.h.
const BY_FAMILY: u16 = 20;
/// `TCP_ESTABLISHED` in include/net/tcp_states.h.
const ESTABLISHED: u8 = 1;
/// `struct nlmsghdr`.
const HEADER: usize = 16;
/// `struct inet_diag_req_v2`.
const REQUEST: usize = 56;
/// The kernel fills at most 32 KiB of a dump's datagram.
const BUFFER: usize = 32 * 1024;

/// An established TCP connection of this host. IPv4 addresses are IPv4, also of an IPv6 socket.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TcpSocket {
    /// This host's end.
    pub local: SocketAddr,
    /// The other end.
    pub remote: SocketAddr,
    /// The user who made or accepted it.
    pub uid: u32,
    /// The number that `/proc/PID/fd` shows for it: `socket:[INODE]`.
    pub inode: u32,
}

/// A socket to the kernel's socket diagnostics, of one network namespace.
#[derive(Debug)]
pub struct SockDiag {
    raw: RawSocket,
    sequence: u32,
}

impl SockDiag {
    /// Opens a socket in `netns`.
    ///
    /// # Errors
    /// The namespace cannot be entered; the kernel has no socket diagnostics.
    pub fn open(netns: &Netns) -> Result<Self, Error> {
        let raw = netns.run(|| {
            let mut raw = RawSocket::new(NETLINK_SOCK_DIAG)?;
            raw.bind_auto()?;
            raw.connect(&NetlinkAddr::new(0, 0))?;
            Ok(raw)
        })?;
        Ok(SockDiag { raw: raw.map_err(Error::socket("open a socket to the socket diagnostics"))?, sequence: 0 })
    }

    /// The established connection between `local` and `remote`. A link-local address is not found:
    /// it needs the interface.
    ///
    /// # Errors
    /// What the kernel refuses; `ENOENT` where it has no diagnostics for TCP.
    pub fn find(&mut self, local: SocketAddr, remote: SocketAddr) -> Result<Option<TcpSocket>, Error> {
        let mut found = None;
        match self.request(family(local.ip()), Some((local, remote)), &mut |socket| found = Some(*socket)) {
            // Also where there is no module for TCP: then there is none to be found.
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            result => result.map_err(Error::socket("look up a TCP connection"))?,
        }
        Ok(found.filter(|socket| (socket.local, socket.remote) == (local, remote)))
    }

    /// Passes every established TCP connection to `each`.
    ///
    /// # Errors
    /// What the kernel refuses; `ENOENT` where it has no diagnostics for TCP.
    pub fn established(&mut self, each: &mut dyn FnMut(&TcpSocket)) -> Result<(), Error> {
        for family in [AF_INET, AF_INET6] {
            self.request(family, None, each).map_err(Error::socket("list TCP connections"))?;
        }
        Ok(())
    }

    fn request(
        &mut self,
        family: i32,
        ends: Option<(SocketAddr, SocketAddr)>,
        each: &mut dyn FnMut(&TcpSocket),
    ) -> io::Result<()> {
        self.sequence = self.sequence.wrapping_add(1);
        self.raw.send(&request(self.sequence, family, ends), 0)?;
        let mut buffer = vec![0; BUFFER];
        loop {
            let length = match self.raw.recv(&mut &mut *buffer, 0) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                length => length?,
            };
            let mut rest = buffer.get(..length).unwrap_or_default();
            while let Some((kind, sequence, payload, after)) = message(rest) {
                rest = after;
                if sequence != self.sequence {
                    continue;
                }
                match kind {
                    NLMSG_DONE => return Ok(()),
                    NLMSG_ERROR => return refusal(payload),
                    BY_FAMILY => _ = TcpSocket::parse(payload).map(|socket| each(&socket)),
                    _ => {}
                }
                if ends.is_some() {
                    return Ok(());
                }
            }
        }
    }
}

fn family(address: IpAddr) -> i32 {
    if address.is_ipv4() { AF_INET } else { AF_INET6 }
}

/// A request for one connection, or for all that are established.
fn request(sequence: u32, family: i32, ends: Option<(SocketAddr, SocketAddr)>) -> Vec<u8> {
    let mut header = NetlinkHeader::default();
    header.length = (HEADER + REQUEST) as u32;
    header.message_type = BY_FAMILY;
    header.flags = if ends.is_some() { NLM_F_REQUEST } else { NLM_F_REQUEST | NLM_F_DUMP };
    header.sequence_number = sequence;
    let mut bytes = vec![0; HEADER];
    header.emit(&mut bytes);
    // Families and IPPROTO_TCP fit into a byte.
    bytes.extend([family as u8, IPPROTO_TCP as u8, 0, 0]);
    bytes.extend((1_u32 << ESTABLISHED).to_ne_bytes());
    let any = SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0));
    let (local, remote) = ends.unwrap_or((any, any));
    bytes.extend(local.port().to_be_bytes());
    bytes.extend(remote.port().to_be_bytes());
    bytes.extend(address(local.ip()));
    bytes.extend(address(remote.ip()));
    // No interface; INET_DIAG_NOCOOKIE.
    bytes.extend([0; 4]);
    bytes.extend([0xff; 8]);
    bytes
}

fn address(address: IpAddr) -> [u8; 16] {
    match address {
        IpAddr::V6(address) => address.octets(),
        IpAddr::V4(address) => {
            let mut bytes = [0; 16];
            bytes.iter_mut().zip(address.octets()).for_each(|(to, from)| *to = from);
            bytes
        }
    }
}

/// The first message: its type, sequence number, payload, and what follows it.
fn message(bytes: &[u8]) -> Option<(u16, u32, &[u8], &[u8])> {
    let length = usize::try_from(u32::from_ne_bytes(*bytes.first_chunk()?)).ok()?;
    let kind = u16::from_ne_bytes(*bytes.get(4..)?.first_chunk()?);
    let sequence = u32::from_ne_bytes(*bytes.get(8..)?.first_chunk()?);
    let payload = bytes.get(HEADER..length)?;
    Some((kind, sequence, payload, bytes.get(length.next_multiple_of(4)..).unwrap_or_default()))
}

fn refusal(payload: &[u8]) -> io::Result<()> {
    match payload.first_chunk().map(|code| i32::from_ne_bytes(*code)) {
        Some(0) => Ok(()),
        Some(code) => Err(io::Error::from_raw_os_error(code.saturating_neg())),
        None => Err(Errno::EBADMSG.into()),
    }
}

impl TcpSocket {
    /// Reads a `struct inet_diag_msg`; `None` where it is none, or not of an established connection.
    fn parse(bytes: &[u8]) -> Option<Self> {
        let (family, state) = (i32::from(*bytes.first()?), *bytes.get(1)?);
        let port = |at: usize| bytes.get(at..)?.first_chunk().map(|port| u16::from_be_bytes(*port));
        let word = |at: usize| bytes.get(at..)?.first_chunk().map(|word| u32::from_ne_bytes(*word));
        let address = |at: usize| -> Option<IpAddr> {
            let bytes = bytes.get(at..)?;
            match family {
                AF_INET => Some(Ipv4Addr::from(*bytes.first_chunk::<4>()?).into()),
                AF_INET6 => Some(IpAddr::from(Ipv6Addr::from(*bytes.first_chunk::<16>()?)).to_canonical()),
                _ => None,
            }
        };
        (state == ESTABLISHED).then_some(())?;
        Some(TcpSocket {
            local: SocketAddr::new(address(8)?, port(4)?),
            remote: SocketAddr::new(address(24)?, port(6)?),
            uid: word(64)?,
            inode: word(68)?,
        })
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::net::{TcpListener, TcpStream};

    use super::*;

    #[test]
    fn a_connection_of_this_host_is_found_from_both_ends_and_once_closed_no_more() {
        for listen in ["127.0.0.1:0", "[::1]:0"] {
            let Ok(listener) = TcpListener::bind(listen) else { continue };
            let client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
            let (near, far) = (client.local_addr().unwrap(), client.peer_addr().unwrap());
            let mut diag = SockDiag::open(&Netns::Current).unwrap();
            let found = diag.find(near, far).unwrap().unwrap();
            assert_eq!((found.local, found.remote), (near, far));
            assert_eq!(diag.find(far, near).unwrap().unwrap().remote, near);
            let mut all = Vec::new();
            diag.established(&mut |socket| all.push(*socket)).unwrap();
            assert!(all.contains(&found));
            // The same port, but nobody is connected.
            assert_eq!(diag.find(far, SocketAddr::new(near.ip(), 1)).unwrap(), None);
        }
    }

    #[test]
    fn an_ipv4_connection_to_an_ipv6_socket_has_ipv4_addresses() {
        let Ok(listener) = TcpListener::bind("[::]:0") else { return };
        let port = listener.local_addr().unwrap().port();
        let client = TcpStream::connect(("127.0.0.1", port)).unwrap();
        let (accepted, _) = listener.accept().unwrap();
        let mut diag = SockDiag::open(&Netns::Current).unwrap();
        let found = diag.find(client.peer_addr().unwrap(), client.local_addr().unwrap()).unwrap().unwrap();
        assert_eq!(found.local, SocketAddr::from(([127, 0, 0, 1], port)));
        drop(accepted);
    }

    #[test]
    fn bytes_that_are_no_message_are_none() {
        assert_eq!(TcpSocket::parse(&[2, 1, 0]), None);
        assert!(message(&[200, 0, 0, 0, 1]).is_none());
        assert!(refusal(&[]).is_err());
    }
}
