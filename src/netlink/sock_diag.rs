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
/// Sockets in no state: the kernel answers, and goes through no sockets (`inet_diag_dump_icsk` in
/// net/ipv4/inet_diag.c).
const NO_STATE: u32 = 0;
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
    /// Opens a socket in `netns`, and makes sure that the kernel has diagnostics for TCP.
    ///
    /// # Errors
    /// The namespace cannot be entered. `EPROTONOSUPPORT` where the kernel has no socket diagnostics,
    /// `ENOENT` where it has none for TCP and cannot load the module (`inet_diag_lock_handler` in
    /// net/ipv4/inet_diag.c).
    pub fn open(netns: &Netns) -> Result<Self, Error> {
        let raw = netns.run(|| {
            let mut raw = RawSocket::new(NETLINK_SOCK_DIAG)?;
            raw.bind_auto()?;
            raw.connect(&NetlinkAddr::new(0, 0))?;
            Ok(raw)
        })?;
        let raw = raw.map_err(Error::socket("open a socket to the socket diagnostics"))?;
        let mut diag = SockDiag { raw, sequence: 0 };
        diag.request(AF_INET, NO_STATE, None, &mut |_| {})
            .map_err(Error::socket("open the socket diagnostics of TCP"))?;
        Ok(diag)
    }

    /// The established connection between `local` and `remote`. A link-local address is not found:
    /// it needs the interface.
    ///
    /// # Errors
    /// What the kernel refuses.
    pub fn find(&mut self, local: SocketAddr, remote: SocketAddr) -> Result<Option<TcpSocket>, Error> {
        let mut found = None;
        let ends = Some((local, remote));
        match self.request(family(local.ip()), 1 << ESTABLISHED, ends, &mut |socket| found = Some(*socket)) {
            // No such connection. That there is a module for TCP was made sure of by `open`.
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
            self.request(family, 1 << ESTABLISHED, None, each).map_err(Error::socket("list TCP connections"))?;
        }
        Ok(())
    }

    fn request(
        &mut self,
        family: i32,
        states: u32,
        ends: Option<(SocketAddr, SocketAddr)>,
        each: &mut dyn FnMut(&TcpSocket),
    ) -> io::Result<()> {
        self.sequence = self.sequence.wrapping_add(1);
        self.raw.send(&request(self.sequence, family, states, ends), 0)?;
        let mut buffer = vec![0; BUFFER];
        loop {
            let length = match self.raw.recv(&mut &mut *buffer, 0) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                length => length?,
            };
            let datagram = buffer.get(..length).unwrap_or_default();
            if let Some(result) = read(datagram, self.sequence, ends.is_some(), each) {
                return result;
            }
        }
    }
}

/// Reads a datagram of the reply with the number `wanted`. The result of the request, where it ends with
/// this datagram; a reply that `is_single` ends with its first message.
fn read(datagram: &[u8], wanted: u32, is_single: bool, each: &mut dyn FnMut(&TcpSocket)) -> Option<io::Result<()>> {
    let mut rest = datagram;
    while let Some((kind, sequence, payload, after)) = message(rest) {
        rest = after;
        if sequence != wanted {
            continue;
        }
        match kind {
            // The end of a dump has the error number, too (`netlink_dump_done` in net/netlink/af_netlink.c).
            NLMSG_DONE | NLMSG_ERROR => return Some(refusal(payload)),
            BY_FAMILY => _ = TcpSocket::parse(payload).map(|socket| each(&socket)),
            _ => {}
        }
        if is_single {
            return Some(Ok(()));
        }
    }
    None
}

fn family(address: IpAddr) -> i32 {
    if address.is_ipv4() { AF_INET } else { AF_INET6 }
}

/// A request for one connection, or for all that are in one of `states`.
fn request(sequence: u32, family: i32, states: u32, ends: Option<(SocketAddr, SocketAddr)>) -> Vec<u8> {
    let mut header = NetlinkHeader::default();
    header.length = (HEADER + REQUEST) as u32;
    header.message_type = BY_FAMILY;
    header.flags = if ends.is_some() { NLM_F_REQUEST } else { NLM_F_REQUEST | NLM_F_DUMP };
    header.sequence_number = sequence;
    let mut bytes = vec![0; HEADER];
    header.emit(&mut bytes);
    // Families and IPPROTO_TCP fit into a byte.
    bytes.extend([family as u8, IPPROTO_TCP as u8, 0, 0]);
    bytes.extend(states.to_ne_bytes());
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
            let listener = TcpListener::bind(listen).unwrap();
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
        let listener = TcpListener::bind("[::]:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let client = TcpStream::connect(("127.0.0.1", port)).unwrap();
        let (accepted, _) = listener.accept().unwrap();
        let mut diag = SockDiag::open(&Netns::Current).unwrap();
        let found = diag.find(client.peer_addr().unwrap(), client.local_addr().unwrap()).unwrap().unwrap();
        assert_eq!(found.local, SocketAddr::from(([127, 0, 0, 1], port)));
        drop(accepted);
    }

    #[test]
    fn a_dump_that_ends_with_an_error_number_has_failed() {
        let end = |code: i32| {
            let (length, flags) = (20_u32.to_ne_bytes(), 2_u16.to_ne_bytes());
            let kind = NLMSG_DONE.to_ne_bytes();
            [&length[..], &kind, &flags, &7_u32.to_ne_bytes(), &[0; 4], &code.to_ne_bytes()].concat()
        };
        let result = |code| read(&end(code), 7, false, &mut |_| {}).unwrap();
        // As where the kernel cannot load tcp_diag.
        assert_eq!(result(-2).unwrap_err().kind(), io::ErrorKind::NotFound);
        assert!(result(0).is_ok());
        assert!(read(&end(-2), 8, false, &mut |_| {}).is_none(), "of another request");
    }

    #[test]
    fn bytes_that_are_no_message_are_none() {
        assert_eq!(TcpSocket::parse(&[2, 1, 0]), None);
        assert!(message(&[200, 0, 0, 0, 1]).is_none());
        assert!(refusal(&[]).is_err());
    }
}
