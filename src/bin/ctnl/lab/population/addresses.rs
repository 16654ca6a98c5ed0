//! Addresses and ports of the entries.
//!
//! No two entries of a population share a tuple, in either direction, and no set of
//! used tuples is kept. Instead the tuple encodes the entry's index: 64,512
//! consecutive entries differ in the client's port, and each such block (an "epoch")
//! has its own servers.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::sampler::Sampler;

/// Ports from 1024 to 65535.
const EPHEMERAL: u64 = 64_512;

/// Servers of one epoch; a few of them get most connections.
const SERVERS: u32 = 40;

/// The client with by far the most entries.
const HEAVY_HITTER: u32 = u32::from_be_bytes([10, 66, 6, 6]);

/// Destination ports with their probability in 1000; the rest is 443.
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
/// Destination ports with their probability in 1000; the rest is 53.
const UDP_SERVICES: [(u32, u16); 6] = [(250, 443), (100, 123), (30, 51820), (20, 161), (20, 1194), (20, 514)];

/// The addresses and ports of one entry, derived from its index and the population's size.
#[derive(Debug, Clone, Copy)]
pub struct EntryAddresses {
    /// Index within the epoch.
    offset: u64,
    epoch: u32,
    /// Number of clients.
    clients: u32,
}

impl EntryAddresses {
    pub fn new(seed: u64, index: u64, count: u64) -> Self {
        EntryAddresses {
            offset: (index + seed % EPHEMERAL) % EPHEMERAL,
            // The address ranges hold 1024 epochs: 66 million entries.
            epoch: u32::try_from((index + seed % EPHEMERAL) / EPHEMERAL % 1024).unwrap_or(0),
            clients: u32::try_from(count / 40).unwrap_or(u32::MAX).clamp(16, 1 << 16),
        }
    }

    /// The client's port, ICMP id or GRE key: unique in its epoch.
    pub fn port(self) -> u16 {
        self.scattered(36_871)
    }

    /// The client's port after source NAT: unique in its epoch.
    pub fn nat_port(self) -> u16 {
        self.scattered(11_003)
    }

    /// `factor` and the number of ports are coprime, so that the mapping is one-to-one.
    fn scattered(self, factor: u64) -> u16 {
        u16::try_from(1024 + self.offset * factor % EPHEMERAL).unwrap_or(u16::MAX)
    }

    /// A client behind this host.
    pub fn client(self, sampler: &mut Sampler, v6: bool) -> IpAddr {
        let index = match sampler.weighted(0, &[(120, 1), (400, 2)]) {
            1 if !v6 => return v4_address(HEAVY_HITTER),
            2 => sampler.skewed(self.clients),
            _ => sampler.below(self.clients),
        };
        if v6 {
            return v6_address([0x2001, 0xdb8, 1, 0], index + 10);
        }
        v4_address(u32::from_be_bytes([10, 0, 0, 10]) + index)
    }

    /// An external server.
    pub fn server(self, sampler: &mut Sampler, v6: bool) -> IpAddr {
        let index = sampler.skewed(SERVERS);
        if v6 {
            let epoch = u16::try_from(self.epoch).unwrap_or(0);
            return v6_address([0x2001, 0xdb8, 0xffff, epoch], index + 1);
        }
        v4_address(u32::from_be_bytes([198, 18, 0, 1]) + self.epoch * 128 + index)
    }

    /// An external client of a service behind this host.
    pub fn external_client(self, sampler: &mut Sampler) -> IpAddr {
        let index = sampler.below(1 << 12);
        v4_address(u32::from_be_bytes([100, 64, 0, 0]) + (self.epoch << 12) + index)
    }

    /// The server behind destination NAT.
    pub fn backend(self, sampler: &mut Sampler) -> (IpAddr, u16) {
        (v4_address(u32::from_be_bytes([10, 200, 0, 0]) + self.epoch * 8 + sampler.below(8)), 8443)
    }

    /// The source of a protocol without ports: unique in its epoch.
    pub fn portless_source(self, v6: bool) -> IpAddr {
        let host = u32::try_from(self.offset).unwrap_or(0);
        if v6 {
            v6_address([0x2001, 0xdb8, 2, 0], host + 1)
        } else {
            v4_address(u32::from_be_bytes([172, 16, 0, 1]) + host)
        }
    }
}

/// The source address after NAT. Entries whose port is translated too use a separate range,
/// so that a translated port never collides with a kept one.
pub fn nat_address(sampler: &mut Sampler, v6: bool, translates_port: bool) -> IpAddr {
    let index = sampler.skewed(4) + if translates_port { 64 } else { 0 };
    if v6 {
        v6_address([0x2001, 0xdb8, 3, 0], index + 1)
    } else {
        v4_address(u32::from_be_bytes([192, 0, 2, 1]) + index)
    }
}

/// The address and port that external clients connect to.
pub fn virtual_service() -> (IpAddr, u16) {
    (v4_address(u32::from_be_bytes([203, 0, 113, 80])), 443)
}

pub fn tcp_service(sampler: &mut Sampler) -> u16 {
    sampler.weighted(443, &TCP_SERVICES)
}

pub fn udp_service(sampler: &mut Sampler) -> u16 {
    sampler.weighted(53, &UDP_SERVICES)
}

fn v4_address(bits: u32) -> IpAddr {
    Ipv4Addr::from_bits(bits).into()
}

fn v6_address(prefix: [u16; 4], host: u32) -> IpAddr {
    let [a, b, c, d] = prefix;
    let [high, low] = [(host >> 16) as u16, host as u16];
    Ipv6Addr::new(a, b, c, d, 0, 0, high, low).into()
}
