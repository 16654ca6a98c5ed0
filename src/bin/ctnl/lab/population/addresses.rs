//! Who talks to whom: addresses and ports.
//!
//! No two entries of a population may share a tuple, in either direction, and
//! none of them is remembered. So the number of an entry is written into its
//! tuple: 64,512 entries in a row differ in the client's port, and each such row
//! (an "epoch") has servers of its own.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::draw::Sampler;

/// Ports from 1024 to 65535.
const EPHEMERAL: u64 = 64_512;

/// Servers of one epoch, of which a few are popular.
const SERVERS: u32 = 40;

/// The one who fills the table.
const HEAVY_HITTER: u32 = u32::from_be_bytes([10, 66, 6, 6]);

/// Popular ports first.
const TCP_SERVICES: [(u32, u16); 11] = [
    (140, 80),
    (60, 22),
    (50, 5432),
    (40, 25),
    (40, 8080),
    (30, 3306),
    (30, 6379),
    (20, 8443),
    (20, 993),
    (15, 21),
    (15, 53),
];
const UDP_SERVICES: [(u32, u16); 6] = [(250, 443), (100, 123), (30, 51820), (20, 161), (20, 1194), (20, 514)];

/// What an entry's number and the size of its population say about addresses.
#[derive(Debug, Clone, Copy)]
pub struct Place {
    /// Place within the epoch.
    place: u64,
    epoch: u32,
    /// Number of clients.
    clients: u32,
}

impl Place {
    pub fn new(seed: u64, index: u64, count: u64) -> Self {
        Place {
            place: (index + seed % EPHEMERAL) % EPHEMERAL,
            // 1024 epochs fill the plan: 66 million entries.
            epoch: u32::try_from((index + seed % EPHEMERAL) / EPHEMERAL % 1024).unwrap_or(0),
            clients: u32::try_from(count / 40).unwrap_or(u32::MAX).clamp(16, 1 << 16),
        }
    }

    /// The client's port, query id or call id: unique in its epoch.
    pub fn port(self) -> u16 {
        self.scattered(36_871)
    }

    /// The same after source NAT.
    pub fn nat_port(self) -> u16 {
        self.scattered(11_003)
    }

    /// `factor` shares no divisor with the number of ports, so that no two
    /// places get the same.
    fn scattered(self, factor: u64) -> u16 {
        u16::try_from(1024 + self.place * factor % EPHEMERAL).unwrap_or(u16::MAX)
    }

    /// A client behind this host.
    pub fn client(self, draw: &mut Sampler, v6: bool) -> IpAddr {
        let index = match draw.weighted(0, &[(120, 1), (400, 2)]) {
            1 if !v6 => return v4(HEAVY_HITTER),
            2 => draw.skewed(self.clients),
            _ => draw.below(self.clients),
        };
        if v6 {
            return inside([0x2001, 0xdb8, 1, 0], index + 10);
        }
        v4(u32::from_be_bytes([10, 0, 0, 10]) + index)
    }

    /// A server elsewhere.
    pub fn server(self, draw: &mut Sampler, v6: bool) -> IpAddr {
        let index = draw.skewed(SERVERS);
        if v6 {
            let epoch = u16::try_from(self.epoch).unwrap_or(0);
            return inside([0x2001, 0xdb8, 0xffff, epoch], index + 1);
        }
        v4(u32::from_be_bytes([198, 18, 0, 1]) + self.epoch * 128 + index)
    }

    /// A client elsewhere, who comes to a service behind this host.
    pub fn outsider(self, draw: &mut Sampler) -> IpAddr {
        let index = draw.below(1 << 12);
        v4(u32::from_be_bytes([100, 64, 0, 0]) + (self.epoch << 12) + index)
    }

    /// Who answers an outsider.
    pub fn backend(self, draw: &mut Sampler) -> (IpAddr, u16) {
        (v4(u32::from_be_bytes([10, 200, 0, 0]) + self.epoch * 8 + draw.below(8)), 8443)
    }

    /// A host whose protocol has no ports: unique in its epoch by itself.
    pub fn portless(self, v6: bool) -> IpAddr {
        let host = u32::try_from(self.place).unwrap_or(0);
        if v6 { inside([0x2001, 0xdb8, 2, 0], host + 1) } else { v4(u32::from_be_bytes([172, 16, 0, 1]) + host) }
    }
}

/// What source NAT makes of a client. Those whose port it moves have addresses
/// of their own, so that no moved port meets a kept one.
pub fn nat_address(draw: &mut Sampler, v6: bool, moves_port: bool) -> IpAddr {
    let index = draw.skewed(4) + if moves_port { 64 } else { 0 };
    if v6 { inside([0x2001, 0xdb8, 3, 0], index + 1) } else { v4(u32::from_be_bytes([192, 0, 2, 1]) + index) }
}

/// The address that outsiders know.
pub fn virtual_service() -> (IpAddr, u16) {
    (v4(u32::from_be_bytes([203, 0, 113, 80])), 443)
}

pub fn tcp_service(draw: &mut Sampler) -> u16 {
    draw.weighted(443, &TCP_SERVICES)
}

pub fn udp_service(draw: &mut Sampler) -> u16 {
    draw.weighted(53, &UDP_SERVICES)
}

fn v4(bits: u32) -> IpAddr {
    Ipv4Addr::from_bits(bits).into()
}

fn inside(prefix: [u16; 4], host: u32) -> IpAddr {
    let [a, b, c, d] = prefix;
    let [high, low] = [(host >> 16) as u16, host as u16];
    Ipv6Addr::new(a, b, c, d, 0, 0, high, low).into()
}
