//! Packets made by hand, sent from the calling thread's namespace.

use std::net::Ipv4Addr;
use std::os::fd::{AsRawFd, OwnedFd};

use nix::sys::socket::{
    AddressFamily, MsgFlags, SockFlag, SockProtocol, SockType, SockaddrIn, recv, sendto, setsockopt, socket, sockopt,
};
use nix::sys::time::TimeVal;

const HEADER: usize = 20;

/// Sends `payload` as an IPv4 packet of `protocol`.
pub fn send(protocol: u8, src: Ipv4Addr, dst: Ipv4Addr, payload: &[u8]) {
    let mut packet = vec![0x45, 0];
    let length = u16::try_from(HEADER + payload.len()).expect("a short packet");
    packet.extend(length.to_be_bytes());
    // The kernel fills in identification and checksum.
    packet.extend([0, 0, 0, 0, 64, protocol, 0, 0]);
    packet.extend(src.octets());
    packet.extend(dst.octets());
    packet.extend(payload);
    let sender = raw(SockProtocol::Raw);
    let to = SockaddrIn::from(std::net::SocketAddrV4::new(dst, 0));
    sendto(sender.as_raw_fd(), &packet, &to, MsgFlags::empty()).expect("send");
}

/// Sends an ICMP echo request; the host there will answer.
pub fn ping(src: Ipv4Addr, dst: Ipv4Addr, id: u16) {
    let mut echo = vec![8, 0, 0, 0];
    echo.extend(id.to_be_bytes());
    echo.extend([0, 1]);
    let sum = checksum(&echo);
    echo[2..4].copy_from_slice(&sum.to_be_bytes());
    send(1, src, dst, &echo);
}

/// Copies of the TCP packets that arrive in the calling thread's namespace.
pub struct Sniffer(OwnedFd);

impl Sniffer {
    pub fn new() -> Self {
        let receiver = raw(SockProtocol::Tcp);
        setsockopt(&receiver, sockopt::ReceiveTimeout, &TimeVal::new(10, 0)).expect("timeout");
        Sniffer(receiver)
    }

    /// Of the next packet from `sport` to `dport`: its sequence and
    /// acknowledgement numbers.
    pub fn next(&self, sport: u16, dport: u16) -> (u32, u32) {
        let mut buffer = [0; 2048];
        loop {
            let length = recv(self.0.as_raw_fd(), &mut buffer, MsgFlags::empty()).expect("a packet");
            let tcp = &buffer[usize::from(buffer[0] & 0xf) * 4..length];
            let u16_at = |place: usize| u16::from_be_bytes([tcp[place], tcp[place + 1]]);
            let u32_at = |place: usize| (u32::from(u16_at(place)) << 16) | u32::from(u16_at(place + 2));
            if (u16_at(0), u16_at(2)) == (sport, dport) {
                return (u32_at(4), u32_at(8));
            }
        }
    }
}

/// Sends an RST with the given sequence number.
pub fn reset(from: (Ipv4Addr, u16), to: (Ipv4Addr, u16), sequence: u32) {
    const RST: u8 = 4;
    let mut tcp = Vec::new();
    tcp.extend(from.1.to_be_bytes());
    tcp.extend(to.1.to_be_bytes());
    tcp.extend(sequence.to_be_bytes());
    tcp.extend([0, 0, 0, 0, 0x50, RST, 0, 0, 0, 0, 0, 0]);
    let mut summed = Vec::new();
    summed.extend(from.0.octets());
    summed.extend(to.0.octets());
    summed.extend([0, 6, 0, 20]);
    summed.extend(&tcp);
    let sum = checksum(&summed);
    tcp[16..18].copy_from_slice(&sum.to_be_bytes());
    send(6, from.0, to.0, &tcp);
}

fn raw(protocol: SockProtocol) -> OwnedFd {
    socket(AddressFamily::Inet, SockType::Raw, SockFlag::SOCK_CLOEXEC, protocol).expect("a raw socket")
}

fn checksum(bytes: &[u8]) -> u16 {
    let words = bytes.chunks(2).map(|pair| u32::from(pair[0]) << 8 | pair.get(1).map_or(0, |low| u32::from(*low)));
    let mut sum: u32 = words.sum();
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    !u16::try_from(sum).expect("sixteen bits")
}
